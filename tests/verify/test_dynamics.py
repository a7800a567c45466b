"""Every dynamics beside SGD against its definition, written as a loop on the same draws."""

from collections.abc import Iterator
from itertools import count

import numpy as np
import numpy.typing as npt
import pytest

from numerics import sgd, streams
from numerics.dynamics import EulerMaruyama, Variant, VariantSGD, compact
from numerics.errors import InputError
from numerics.momentum_law import MomentumFluctuations, momentum_stability_limit
from numerics.problem import Problem
from numerics.schedule import Constant
from verify import oracle
from verify.case import Case, Setup

FloatArray = npt.NDArray[np.float64]
STEPS, ETA, BATCH, SIGMA, SEED, REPLICA = 25, 0.03, 3, 0.2, 7, 2


@pytest.fixture(scope="module")
def setup() -> Setup:
    return Case(depth=3.0, n=3, extra=2, seed=4).setup()


def simulated(model: sgd.Model, states: FloatArray) -> FloatArray:
    sgd.simulate(model, states, Constant(ETA), np.array([0, STEPS]), noise=sgd.Noise(BATCH, SIGMA, SEED), threads=1)
    return states


def draws(per_step: int) -> Iterator[tuple[FloatArray, npt.NDArray[np.uint64]]]:
    """Normals and words of one step after another."""
    for k in count():
        yield streams.samples(seed=SEED, purpose="sgd", replica=REPLICA, first=k * per_step, count=per_step)


def naive(problem: Problem, u: FloatArray, depth: float, variant: Variant) -> FloatArray:
    """u and p after STEPS steps, from the definition."""
    n, d = problem.X.shape
    p = np.zeros(d)
    source = draws(2 * BATCH + d)
    for _ in range(STEPS):
        normals, words = next(source)
        gradient = np.zeros(d)
        for b in range(BATCH):
            row = int(words[2 * b] * np.uint64(n) >> np.uint64(32))
            slope = problem.X[row] @ oracle.jacobian(u, depth)
            f = problem.X[row] @ oracle.predictor(u, depth)
            if variant.flip is None:
                error = f - problem.y[row] - SIGMA * normals[2 * b]
            else:
                label = -problem.y[row] if words[2 * b + 1] / 2**32 < variant.flip else problem.y[row]
                error = -label / (1 + np.exp(label * f))
            gradient += error * slope / BATCH
        if variant.isotropic:
            gradient = gradient + variant.isotropic * normals[2 * BATCH :]
        p = variant.momentum * p + gradient
        u = u - ETA * (p + variant.weight_decay * u)
    return np.concatenate([u, p])


@pytest.mark.parametrize(
    "variant",
    [
        Variant(),
        Variant(momentum=0.8),
        Variant(weight_decay=0.3),
        Variant(isotropic=0.5),
        Variant(flip=0.2),
        Variant(momentum=0.5, isotropic=0.1, weight_decay=0.1),
    ],
)
def test_variant_is_its_definition(setup: Setup, variant: Variant) -> None:
    problem = setup.problem if variant.flip is None else Problem(setup.problem.X, np.sign(setup.problem.y))
    model = VariantSGD(problem, setup.parametrization, 10.0, variant)
    states = simulated(model, model.start(setup.u0, REPLICA + 1))
    expected = naive(problem, setup.u0, setup.depth, variant)
    np.testing.assert_allclose(states[REPLICA], expected, rtol=1e-11, atol=1e-12)


def test_variant_without_terms_is_plain_sgd_in_distribution_of_steps(setup: Setup) -> None:
    """One step from M: the mean square of the step is that of plain SGD, whatever the addresses of the draws."""
    ends = []
    for model in (
        VariantSGD(setup.problem, setup.parametrization, 10.0, Variant()),
        sgd.FullRadialSGD(setup.problem, setup.parametrization, 10.0),
    ):
        states = model.start(setup.u0, 20_000)
        sgd.simulate(model, states, Constant(ETA), np.array([0, 1]), noise=sgd.Noise(BATCH, SIGMA, SEED), threads=1)
        ends.append(np.sum((states[:, : setup.problem.d] - setup.u0) ** 2, axis=1))
    difference = ends[0].mean() - ends[1].mean()
    sem = np.sqrt((ends[0].var() + ends[1].var()) / 20_000)
    assert abs(difference) < 5 * sem  # false alarm 6e-7


def naive_sde(problem: Problem, u: FloatArray, depth: float, eta: float, corrected: bool) -> FloatArray:
    """Euler-Maruyama with a symmetric n x n root in place of the kernel's rank-one form."""
    n = problem.n
    source = draws(n)
    for _ in range(STEPS):
        xi = next(source)[0]
        A = problem.X @ oracle.jacobian(u, depth)
        e = problem.X @ oracle.predictor(u, depth) - problem.y
        force = A.T @ e / n
        if corrected:
            force = force + eta / 2 * oracle.train_hessian(problem.X, problem.y, u, depth) @ force
        a = np.sqrt((e**2 + SIGMA**2) / n)
        v = e / (n * a)
        share = v @ v
        root = np.eye(n) - (1 - np.sqrt(1 - share)) / share * np.outer(v, v)
        covariance = np.diag(a) @ root @ root @ np.diag(a)
        np.testing.assert_allclose(covariance, np.diag(a**2) - np.outer(e, e) / n**2, atol=1e-12)
        u = u - ETA * force + np.sqrt(ETA * eta / BATCH) * (a * (root @ xi)) @ A
    return u


@pytest.mark.parametrize("corrected", [False, True])
def test_sde_is_its_definition(setup: Setup, corrected: bool) -> None:
    model = EulerMaruyama(setup.problem, setup.parametrization, 10.0, 0.05, corrected)
    start = 1.1 * setup.u0
    states = simulated(model, model.start(start, REPLICA + 1))
    expected = naive_sde(setup.problem, start, setup.depth, 0.05, corrected)
    np.testing.assert_allclose(states[REPLICA], expected, rtol=1e-6)


def test_compact_coordinates_give_the_same_path(setup: Setup) -> None:
    reduced = setup.problem.reduced(setup.direction)
    model = EulerMaruyama(setup.problem, setup.parametrization, 10.0, 0.05, False)
    small = EulerMaruyama(compact(reduced), setup.parametrization, 10.0, 0.05, False)
    full = simulated(model, model.start(setup.u0, 1))
    few = simulated(small, small.start(reduced.coordinates(setup.u0), 1))
    np.testing.assert_allclose(reduced.expand(few), full, rtol=1e-10, atol=1e-12)


def test_a_diverged_replica_is_nan(setup: Setup) -> None:
    model = VariantSGD(setup.problem, setup.parametrization, 10.0, Variant())
    states = model.start(1e9 * setup.u0, 2)
    assert np.isnan(simulated(model, states)).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"momentum": 1.0}, "momentum = 1 is not in"), ({"flip": 0.5}, "flip = 0.5 is not in")],
)
def test_impossible_variants_are_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Variant(**arguments)


def test_momentum_above_its_limit_is_refused(setup: Setup) -> None:
    limit = momentum_stability_limit(setup.kernel0, batch=1, momentum=0.9)
    with pytest.raises(InputError, match="exceeds the mean-square stability limit at momentum"):
        MomentumFluctuations(setup.kernel0, 1.01 * limit, 1, 0.9).covariance(1.0)
