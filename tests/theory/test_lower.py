"""The generated functions are the expressions: in plain Python, in numba, and with the same text in every process."""

import os
import random
import subprocess
import sys
from fractions import Fraction

import numba
import pytest
import sympy

from theory import lower, notation
from theory.parametrization import NAMES, Coordinatewise, DiagonalNetwork, Radial, named

DEPTHS = (1, 1.5, 2, 2.5, 3, 5)
DEPTHLESS = ("diagonal-product", "sinh", "tanh")
CASES = {
    f"{name}-{depth}": named(name, depth) for name in NAMES for depth in (DEPTHS if name not in DEPTHLESS else (1,))
}
CASES["tanh-gain"] = Radial("tanh-gain", sympy.tanh(notation.r))
CASES["soft"] = Radial("soft", sympy.sqrt(1 + notation.r**2))
CASES["irrational"] = named("radial", "2.71828182845904")


def _point(arguments, draw):
    """Random rationals; r, q and rho positive, rho below the norm it is a part of."""
    point = {x: sympy.Rational(Fraction(draw.randint(21, 60), 20)) for x in arguments}
    for x in arguments:
        if x is notation.rho:
            point[x] = point[notation.r] / 3
        elif not x.is_positive:
            point[x] *= draw.choice((-1, 1)) * sympy.Rational(2, 3)
    return point


@pytest.mark.parametrize("case", CASES)
def test_python_and_numba_equal_the_expression_at_random_points(case):
    draw = random.Random(case)
    functions = lower.functions(CASES[case])
    plain = lower.python(functions)
    compiled_names = ("mobility", "gain", "value", "curvature_ab", "curvature_uu")  # compiling all would take minutes
    compiled = {name: numba.njit(plain[name]) for name in compiled_names if name in plain}
    for name, (arguments, expression) in functions.items():
        for _ in range(3):
            point = _point(arguments, draw)
            exact = float(sympy.N(expression.subs(point), 30))
            numbers = [float(point[x]) for x in arguments]
            assert plain[name](*numbers) == pytest.approx(exact, rel=1e-12, abs=1e-300), (name, point)
            if name in compiled:
                assert compiled[name](*numbers) == pytest.approx(exact, rel=1e-12, abs=1e-300), (name, point)


def test_numba_compiles_every_function_of_a_radial_module():
    functions = lower.functions(named("radial", 2.5))
    for name, function in lower.python(functions).items():
        numbers = (1.5, 0.25)[: len(functions[name][0])]
        assert numba.njit(function)(*numbers) == pytest.approx(function(*numbers), rel=1e-15), name


@pytest.mark.parametrize("depth", DEPTHS)
def test_slopes_and_curvatures_are_the_derivatives_on_both_sides_of_zero(depth):
    """Independent of sympy's differentiation: central differences, error h^2 f'''/6 below 1e-7 here."""
    f = lower.python(lower.functions(named("coordinatewise", depth)))
    h = 1e-5
    for u in (-1.25, -0.75, 0.5, 1.75):
        assert f["slope_u"](u) == pytest.approx((f["value"](u + h) - f["value"](u - h)) / (2 * h), abs=1e-7)
        assert f["curvature_uu"](u) == pytest.approx((f["slope_u"](u + h) - f["slope_u"](u - h)) / (2 * h), abs=1e-7)
        assert f["value"](-u) == -f["value"](u)
        assert f["value"](u) == pytest.approx((1 if u > 0 else -1) * abs(u) ** depth)


@pytest.mark.parametrize("depth", [1, 2, 2.5, 3, 5])
def test_coordinatewise_is_finite_at_zero(depth):
    f = lower.python(lower.functions(named("coordinatewise", depth)))
    assert [f[name](0.0) for name in ("value", "slope_u", "curvature_uu")] == [0.0, float(depth == 1), 0.0]


def test_radial_depth_three_is_as_cheap_as_written_by_hand():
    functions = lower.functions(named("radial", 3))
    assert functions["gain"] == ((notation.q,), notation.q)
    assert functions["gain_slope"][1] == 2
    assert "**" not in lower.source(functions)


def test_no_generalised_function_is_left():
    for parametrization in CASES.values():
        text = lower.source(lower.functions(parametrization))
        assert not any(word in text for word in ("Dirac", "Derivative", "Integral", "sympy", "numpy"))


def test_the_text_is_the_same_in_every_process():
    program = (
        "import sympy; from theory import lower, notation as N; from theory.parametrization import *\n"
        "for p in (named('radial', 2.5), named('diagonal-difference', 3), Radial('t', sympy.tanh(N.r))):\n"
        "    print(lower.source(lower.functions(p)))"
    )
    texts = set()
    for seed in ("0", "1", "77"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        texts.add(done.stdout)
    assert len(texts) == 1


def test_an_invariant_without_closed_form_is_left_out():
    assert "log_invariant" not in lower.functions(CASES["tanh-gain"])
    assert "log_invariant" in lower.functions(CASES["soft"])


def test_a_symbol_left_over_is_refused():
    with pytest.raises(ValueError, match="still has the symbol D; put a number in its place"):
        lower.functions(named("radial", notation.D))


def test_a_function_without_a_math_call_is_refused():
    with pytest.raises(ValueError, match=r"no math\. call for besselj"):
        lower.functions(Coordinatewise("bessel", sympy.besselj(0, notation.u)))


def test_powers_beyond_products_still_lower():
    f = lower.python(lower.functions(named("radial", 80)))
    assert f["norm"](1.01) == pytest.approx(1.01**80, rel=1e-12)


def test_mixed_curvature_of_a_network_of_two_factors():
    network = DiagonalNetwork("cubic", notation.a**2 * notation.b)
    f = lower.python(lower.functions(network))
    assert (f["curvature_aa"](2.0, 3.0), f["curvature_ab"](2.0, 3.0), f["curvature_bb"](2.0, 3.0)) == (6.0, 4.0, 0.0)
