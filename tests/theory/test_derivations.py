"""Every derivation is proved, for every parametrization, and the test for zero says no to what is not."""

import dataclasses

import pytest
import sympy

from theory import (
    classification,
    controls,
    decay_time,
    invariants,
    landscape,
    momentum,
    momentum_epochs,
    noise_floor,
    notation,
    pathwise,
    sampling,
    scalar_law,
    selection,
    slow_law,
)
from theory.__main__ import chain
from theory.claims import CLAIMS
from theory.derivation import Derivation, entries
from theory.identity import vanishes
from theory.parametrization import Coordinatewise, DiagonalNetwork, Radial, named

r, u, a, b, D = notation.r, notation.u, notation.a, notation.b, notation.D
j0, j1, j2 = sympy.symbols("g0 g1 g2", positive=True)
# A quadratic with arbitrary coefficients has the 2-jet of any g at r, and only the 2-jet occurs: this is "any g".
ANY_G = Radial("any-g", j0 + j1 * (r - 1) + j2 * (r - 1) ** 2 / 2)
RADIAL = {
    "symbolic depth": named("radial", D),
    "depth 1": named("radial", 1),
    "tanh gain": Radial("tanh-gain", sympy.tanh(r)),
    "soft gain": Radial("soft", sympy.sqrt(1 + r**2)),
}
SEPARABLE = {
    "coordinatewise": named("coordinatewise", D),
    "difference": named("diagonal-difference", D),
    "product": named("diagonal-product", 2),
    "sinh": named("sinh", 2),
    "tanh": named("tanh", 2),
    "new": Coordinatewise("new", u + u**3),
}


def _unproved(steps):
    return [step.name for step in steps if not step.proved]


@pytest.mark.parametrize("case", [*RADIAL, *SEPARABLE])
def test_landscape_slow_law_and_invariants_are_proved(case):
    parametrization = {**RADIAL, **SEPARABLE}[case]
    assert not _unproved(landscape.derivations(parametrization))
    assert not _unproved(slow_law.derivations(parametrization))
    assert not _unproved(invariants.derivations(parametrization))


@pytest.mark.parametrize("case", RADIAL)
def test_scalar_law_and_threshold_are_proved(case):
    assert not _unproved(scalar_law.derivations(RADIAL[case]))
    assert not _unproved(selection.derivations(RADIAL[case]))


@pytest.mark.parametrize(
    "derive",
    [
        landscape.derive_jacobian,
        landscape.derive_kernel,
        scalar_law.derive_ray,
        scalar_law.derive_straight,
        scalar_law.derive_kernel_slope,
        scalar_law.derive_second_way,
        invariants.derive_radial_invariant,
        invariants.derive_relaxation,
    ],
)
def test_radial_steps_are_proved_for_any_gain(derive):
    """At |u| = 1, which a change of unit of u reaches: g there has arbitrary value, slope and second derivative."""
    unit = {sympy.Symbol("u3", real=True): sympy.Rational(12, 13), sympy.Symbol("u4", real=True): 0, r: 1}
    unit |= {sympy.Symbol("u1", real=True): sympy.Rational(3, 13), sympy.Symbol("u2", real=True): sympy.Rational(4, 13)}
    for part in derive(ANY_G).residual:
        assert vanishes(part.subs(unit))


@pytest.mark.parametrize(
    "module",
    [noise_floor, sampling, decay_time, controls, classification, momentum, momentum_epochs, pathwise],
)
def test_steps_without_a_parametrization_are_proved(module):
    assert not _unproved(module.derivations())


def test_names_are_unique_and_every_claim_asked_for_is_there():
    steps = [step for _, section in chain(RADIAL["symbolic depth"]) for step in section]
    assert len({step.name for step in steps}) == len(steps)
    claims = {claim for step in steps for claim in step.claim.split(", ")}
    assert claims >= {claim.number for claim in CLAIMS}


X = sympy.Symbol("x", positive=True)
S3 = sympy.symbols("u1:4", real=True)
ROOT = sympy.sqrt(sum(s**2 for s in S3))


@pytest.mark.parametrize(
    "zero",
    [
        X ** (2 * D - 3) * X**3 - (X**D) ** 2,
        (ROOT - 1) * (ROOT + 1) - sum(s**2 for s in S3) + 1,
        ROOT ** (D - 1) * ROOT - ROOT**D,
        X ** sympy.Rational(5, 2) - X**2 * sympy.sqrt(X),
        1 / (1 - X) + 1 / (1 + X) - 2 / (1 - X**2),
        sympy.cosh(X) ** 2 - sympy.sinh(X) ** 2 - 1,
        sympy.tanh(ROOT) * ROOT - ROOT * sympy.tanh(ROOT),
        sympy.S.Zero,
    ],
)
def test_what_is_zero_vanishes(zero):
    assert vanishes(zero)


@pytest.mark.parametrize(
    "nonzero",
    [
        X ** (2 * D - 3) - X ** (2 * D - 2),
        ROOT - S3[0],
        1 / (1 - X) + 1 / (1 + X) - 2 / (1 + X**2),
        sympy.Rational(1, 10**9) * X,
        sympy.Rational(1, 10**30) + 0 * X,
        sympy.S.One,
    ],
)
def test_what_is_not_zero_does_not_vanish(nonzero):
    assert not vanishes(nonzero)


def test_a_wrong_statement_is_not_proved():
    """Negative control: the residual of a derivation moved by a millionth of one symbol."""
    step = scalar_law.derive_ray(RADIAL["symbolic depth"])
    symbol = min(step.residual[0].free_symbols, key=str)
    wrong = (step.residual[0] + symbol / 10**6, *step.residual[1:])
    assert step.proved
    assert not dataclasses.replace(step, residual=wrong).proved


def test_an_empty_residual_proves_nothing():
    assert not Derivation("empty", "", "", sympy.S.One, ()).proved


def test_wrong_matrix_forms_leave_a_residual():
    """Negative controls: K without its rank-one part, H without the residuals' curvature, C2 without the square."""
    radial = RADIAL["symbolic depth"]
    p, A = landscape.parameters(radial, 2), sympy.Matrix([[X, 2]])
    J = landscape.jacobian(radial, p)
    gram = (J * J.T - radial.g.subs(r, landscape.radius(p)) ** 2 * sympy.eye(2)).tolist()
    assert not all(vanishes(entry) for row in gram for entry in row)
    y = sympy.Matrix([0])
    hessian = sympy.hessian(landscape.loss(radial, p, A, y), list(p)) - J.T * A.T * A * J
    assert not all(vanishes(entry) for entry in entries(hessian))
    C, K = sympy.Matrix([[X]]), sympy.Matrix([[2]])
    change = noise_floor.next_covariance(C, K, notation.eta, 1, notation.sigma) - C
    wrong = notation.eta * (K * C + C * K) - notation.eta**2 * notation.sigma**2 * K**2
    assert not vanishes((change + wrong)[0])


def test_another_diagonal_network_has_its_law_but_no_known_invariant():
    network = DiagonalNetwork("cubic", a**2 * b)
    assert not _unproved(slow_law.derivations(network))
    assert [step.name for step in invariants.derivations(network)] == ["law-from-invariant"]
