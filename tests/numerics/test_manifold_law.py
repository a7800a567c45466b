"""The law on a manifold of minima for every way of stepping: against finite differences, and against simulations."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from numerics.check import mean_and_sem
from numerics.dynamics import EulerMaruyama, Variant, VariantSGD, Watched, WeakSecondOrder, trajectory
from numerics.epoch_law import EpochMoments
from numerics.manifold_law import ManifoldLaw
from numerics.moments import BatchMoments, MomentumMoments, SdeMoments, Stationary
from numerics.predictions import Way
from numerics.problem import Problem
from numerics.schedule import Constant
from numerics.separable_manifold import SeparableManifold
from numerics.sgd import Noise
from numerics.start import null_direction, on_manifold
from tests import naive
from theory.parametrization import named
from verify import oracle

#: standard errors that an agreement allows: false alarm 6e-7 each
Z = 5
BATCH, SIGMA = 2, 0.02


@pytest.fixture(scope="module")
def cubic():
    """w_j = u_j^3, n = 4, d = 9, and a point of its manifold."""
    draw = np.random.default_rng(1)
    X, w_star = draw.standard_normal((4, 9)), draw.standard_normal(9)
    problem = Problem(X, X @ w_star / np.linalg.norm(w_star))
    w = on_manifold(problem, 1.0, null_direction(problem, 2))
    manifold = SeparableManifold(problem, named("coordinatewise", 3))
    return manifold, manifold.onto_manifold(np.cbrt(w))


def test_under_shuffling_the_drift_is_that_of_finite_differences_with_what_drawn_rows_see(cubic):
    """C by a recursion over sets of rows, not symmetric; with its mean in its place the drift is another."""
    manifold, u = cubic
    law = ManifoldLaw(manifold, EpochMoments(BATCH, 0.3))
    eta = 0.6 * law.stability_limit(u)
    problem = manifold.problem

    def differences(which):
        def seen(K):
            return oracle.epoch_stationary(K, eta, BATCH, 0.3)[which]

        return naive.drift_of(u, lambda v: v**3, problem.X, problem.y, eta, seen, h=2e-3)

    drift = law.drift(u, eta)
    np.testing.assert_allclose(drift, differences(1), rtol=1e-6, atol=1e-7 * np.abs(drift).max())
    assert np.linalg.norm(drift - differences(0)) > 0.02 * np.linalg.norm(drift)


@pytest.mark.parametrize("corrected", [False, True])
def test_the_drift_of_an_equation_is_the_third_derivative_of_its_potential(cubic, corrected):
    """-1/2 P_T d^3V[S] by differences of grad V along the axes of S, V = L or L + (eta/4)|grad L|^2."""
    manifold, u = cubic
    moments = SdeMoments(BATCH, 0.3, corrected)
    law = ManifoldLaw(manifold, moments, corrected=corrected)
    X, y, n = manifold.problem.X, manifold.problem.y, 4
    A = X * (3 * u**2)
    K = A @ A.T
    eta = 0.4 * BatchMoments(BATCH, 0.3).limit(K)

    def slope(v):
        q, B = X @ v**3 - y, X * (3 * v**2)
        force = B.T @ q / n
        return force + (eta / 2 * (B.T @ B + np.diag(6 * v * (q @ X))) @ force / n if corrected else 0)

    spread = A.T @ np.linalg.solve(K, moments.stationary(K, eta).covariance) @ np.linalg.solve(K, A)
    values, axes = np.linalg.eigh(spread)
    h = 1e-3
    bend = sum(
        s * (slope(u + h * a) + slope(u - h * a) - 2 * slope(u)) / h**2 for s, a in zip(values, axes.T, strict=True)
    )
    expected = -eta / 2 * (bend - A.T @ np.linalg.solve(K, A @ bend))
    np.testing.assert_allclose(law.drift(u, eta), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


class SmallEta:
    """The second moments in the limit eta -> 0."""

    def stationary(self, K, eta):
        C = eta * SIGMA**2 / (2 * BATCH) * K
        return Stationary(C, C)

    def limit(self, K):
        raise NotImplementedError


class MeanSeen(EpochMoments):
    """Shuffled epochs, the drift taking the mean covariance that the loss sees."""

    def stationary(self, K, eta):
        C = super().stationary(K, eta).covariance
        return Stationary(C, C)


@dataclass(frozen=True)
class Stepping:
    """A way of stepping: its dynamics at eta, its second moments, settings of its law, and a law to be refused.

    The wrong law has its own moments and settings; ``substeps`` are those of a scheme in a step.
    """

    make: Any
    moments: Any
    wrong: Any
    settings: dict[str, Any] = field(default_factory=dict)
    wrong_settings: dict[str, Any] = field(default_factory=dict)
    load: float = 0.5
    share: float = 0.1
    substeps: int = 1
    replicas: int = 256


def sgd(**terms):
    return lambda problem, kind, eta: VariantSGD(problem, kind, 10.0, Variant(**terms))


def sde(scheme, corrected):
    return lambda problem, kind, eta: scheme(problem, kind, 10.0, eta, corrected)


CASES = {
    "sgd": Stepping(sgd(), BatchMoments(BATCH, SIGMA), SmallEta()),
    "distinct rows": Stepping(
        sgd(sampling="without-replacement"), BatchMoments(BATCH, SIGMA, replace=False), BatchMoments(BATCH, SIGMA)
    ),
    "shuffled": Stepping(
        sgd(sampling="shuffle", label="student"), EpochMoments(BATCH, SIGMA), MeanSeen(BATCH, SIGMA), replicas=768
    ),
    "momentum": Stepping(
        sgd(momentum=0.7, label="rademacher"), MomentumMoments(BATCH, SIGMA, 0.7), BatchMoments(BATCH, SIGMA),
        load=0.3, settings={"lag": 0.3}, wrong_settings={"scale": 1 / 0.3},
    ),
    "shuffled momentum": Stepping(
        sgd(momentum=0.7, sampling="shuffle"), EpochMoments(BATCH, SIGMA, momentum=0.7),
        MomentumMoments(BATCH, SIGMA, 0.7), load=0.3, settings={"lag": 0.3}, wrong_settings={"lag": 0.3},
    ),
    "Euler-Maruyama": Stepping(
        sde(EulerMaruyama, False), SdeMoments(BATCH, SIGMA, False, 4), SdeMoments(BATCH, SIGMA, False), substeps=4
    ),
    "corrected equation": Stepping(
        sde(WeakSecondOrder, True), SdeMoments(BATCH, SIGMA, True), SdeMoments(BATCH, SIGMA, True),
        settings={"corrected": True}, substeps=6, share=0.05, replicas=64,
    ),
}  # fmt: skip
LONG = ("momentum", "shuffled momentum", "Euler-Maruyama", "corrected equation")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.full] if name in LONG else []) for name in CASES]
)
def test_a_simulation_has_the_floor_of_its_law_and_comes_as_far_along_its_way(cubic, name):
    """At a share of the stability limit, within sampling error and what the law neglects; the wrong law is refused."""
    (manifold, u), case = cubic, CASES[name]
    law = ManifoldLaw(manifold, case.moments, **case.settings)
    eta = case.load * min(law.stability_limit(u), BatchMoments(BATCH, SIGMA).limit(manifold.kernel(u)))
    end = int(law.steps_until_moved(case.share, u, eta))
    steps = np.linspace(0, end, 101).astype(np.int64)
    path = law.path(u, eta, steps)
    way = Way(path.w[0], path.w[-1] - path.w[0])
    dynamics = case.make(manifold.problem, manifold.parametrization, eta)
    table = trajectory(
        dynamics, u, Constant(eta / case.substeps), steps * case.substeps, noise=Noise(BATCH, SIGMA, 3),
        replicas=case.replicas, threads=2, watched=Watched(dynamics, way.share),
    )  # fmt: skip
    come, sem = mean_and_sem(table["progress"].values[-1])
    step = eta * np.linalg.eigvalsh(manifold.kernel(u))[-1] / 4 / case.substeps
    scheme = step**2 / 2 if name == "corrected equation" else 0.0
    neglected = path.remainder[-1] / case.share + scheme
    assert Z * sem + neglected < 0.5 * abs(gap(manifold, u, eta, steps, way, case)), "the sample sees the wrong law"
    assert abs(come - 1) < Z * sem + neglected
    late = steps > 5 * law.relaxation(u, eta)
    floor, floor_sem = mean_and_sem(table["fluctuation"].values[late].mean(axis=0))
    assert abs(floor / path.floor[late].mean() - 1) < Z * floor_sem / floor + path.remainder[-1] + scheme
    assert floor_sem < 0.02 * floor


def gap(manifold, u, eta, steps, way, case):
    """How much farther or less far the wrong law comes."""
    wrong = ManifoldLaw(manifold, case.wrong, **case.wrong_settings)
    return way.share(wrong.path(u, eta, steps).w[-1]) - 1
