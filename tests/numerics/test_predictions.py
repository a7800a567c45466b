"""Laws of the samplings and noise models against independent computations, and what is said where there is none."""

from itertools import permutations, product

import numpy as np
import pytest

from numerics.dynamics import trajectory
from numerics.epoch_law import EpochFluctuations, EpochMoments, orders
from numerics.errors import InputError
from numerics.moments import BatchMoments, MomentumMoments
from numerics.noise_floor import Fluctuations, without_replacement
from numerics.noise_laws import dropout_path
from numerics.predictions import NoPrediction, Request, law_of
from numerics.ray_law import RayLaw
from numerics.scalar_law import RadialLaw
from numerics.schedule import Constant, StepDecay
from numerics.sgd import Noise
from numerics.slow_dynamics import SlowLaw
from verify import oracle
from verify.case import Case


@pytest.fixture(scope="module")
def setup():
    return Case(depth=2.0, n=3, extra=3, batch=2, load=0.5, seed=1).setup()


def kernel(n, seed=0):
    X = np.random.default_rng(seed).standard_normal((n, 2 * n))
    return X @ X.T


def test_sampled_orders_agree_with_the_recursion_over_sets():
    """n = 8, B = 1: 40 320 orders, sampled in groups; 5 standard errors of eight groups, false alarm 2e-3 at most."""
    K, sigma = kernel(8), 0.3
    moments = EpochMoments(1, sigma)
    eta = 0.5 * moments.limit(K)
    exact, _ = oracle.epoch_stationary(K, eta, 1, sigma)
    radius = oracle.epoch_radius(K, eta, 1)
    groups = [np.trace(group.stationary(K, eta).covariance) for group in moments.groups(8)]
    assert len(groups) == 8
    sem = np.std(groups, ddof=1) / np.sqrt(8)
    assert abs(np.mean(groups) - np.trace(exact)) < 5 * sem
    assert sem < 0.01 * np.trace(exact)
    assert abs(EpochFluctuations(K, eta, orders(8, 1)[0]).spectral_radius - radius) < 0.01


def test_a_full_batch_without_replacement_is_gradient_descent_with_fresh_labels():
    """C = eta sigma^2 K (2n - eta K)^-1, by either sampling; nothing is left of the choice of rows."""
    K, n, sigma = kernel(5), 5, 0.4
    eta = n / np.linalg.eigvalsh(K)[-1]
    want = eta * sigma**2 * K @ np.linalg.inv(2 * n * np.eye(n) - eta * K)
    np.testing.assert_allclose(BatchMoments(n, sigma, replace=False).stationary(K, eta).covariance, want, rtol=1e-10)
    found = EpochMoments(n, sigma).stationary(K, eta)
    np.testing.assert_allclose(found.covariance, want, rtol=1e-10)
    np.testing.assert_allclose(found.seen, want, rtol=1e-10)


def test_momentum_zero_without_replacement_is_sgd_without_replacement():
    K, sigma = kernel(4), 0.2
    eta = 0.5 * BatchMoments(2, sigma, replace=False).limit(K)
    heavy = MomentumMoments(2, sigma, 0.0, replace=False).stationary(K, eta).covariance
    np.testing.assert_allclose(heavy, BatchMoments(2, sigma, replace=False).stationary(K, eta).covariance, rtol=1e-9)


def test_heavy_ball_under_shuffling_has_the_moments_of_every_order_in_turn():
    """n = 3, B = 1: six orders, the map of (q, A p) written out step by step; the drift's column i when i is drawn."""
    K, eta, beta, sigma, n = kernel(3), 0.02, 0.6, 0.3, 3

    def steps(order):
        for i in order:
            g = np.outer(K[:, i], np.eye(n)[i])
            M = np.block([[np.eye(n) - eta * g, -eta * beta * np.eye(n)], [g, beta * np.eye(n)]])
            enter = sigma * np.concatenate([eta * K[:, i], -K[:, i]])
            yield i, M, np.outer(enter, enter)

    transfer, source = np.zeros((36, 36)), np.zeros((6, 6))
    for order in permutations(range(n)):
        whole, left = np.eye(6), np.zeros((6, 6))
        for _, M, noise in steps(order):
            whole, left = M @ whole, M @ left @ M.T + noise
        transfer, source = transfer + np.kron(whole, whole) / 6, source + left / 6
    rest = np.linalg.solve(np.eye(36) - transfer, source.ravel()).reshape(6, 6)
    mean, seen = np.zeros((n, n)), np.zeros((n, n))
    for order in permutations(range(n)):
        Z = rest
        for i, M, noise in steps(order):
            mean, seen[:, i] = mean + Z[:n, :n] / 18, seen[:, i] + Z[:n, i] / 6
            Z = M @ Z @ M.T + noise
    found = EpochMoments(1, sigma, momentum=beta).stationary(K, eta)
    np.testing.assert_allclose(found.covariance, mean, rtol=1e-10)
    np.testing.assert_allclose(found.seen, seen, rtol=1e-10)
    limit = EpochMoments(1, sigma, momentum=beta).limit(K)
    with pytest.raises(InputError, match="under epoch shuffling"):
        EpochMoments(1, sigma, momentum=beta).stationary(K, 1.01 * limit)
    EpochMoments(1, sigma, momentum=beta).stationary(K, 0.99 * limit)


def test_isotropic_noise_has_its_floor_from_the_definition():
    """One step averaged over rows, with tau^2 K added, reproduces the covariance."""
    K, tau, batch = kernel(3), 0.3, 2
    eta = 0.4 * BatchMoments(batch, 0.0).limit(K)
    C = BatchMoments(batch, 0.0, isotropic=tau).stationary(K, eta).covariance
    after = (oracle.second_moment_map(K, eta, batch) @ C.ravel()).reshape(3, 3) + (eta * tau) ** 2 * K
    np.testing.assert_allclose(after, C, rtol=1e-10)


def test_rows_of_an_epoch_are_refused_where_they_do_not_fit():
    with pytest.raises(InputError, match="batch = 2 does not divide the 5 rows"):
        orders(5, 2)
    with pytest.raises(InputError, match="n = 40 is above 32"):
        orders(40, 1)
    with pytest.raises(InputError, match="batch = 6 exceeds the 5 rows"):
        without_replacement(5, 6)


def test_above_its_limit_an_epoch_has_no_covariance():
    K = kernel(3)
    with pytest.raises(InputError, match="exceeds the mean-square stability limit under epoch shuffling"):
        EpochMoments(1, 0.1).stationary(K, 1.01 * EpochMoments(1, 0.1).limit(K))
    above = Fluctuations(K, 1.01 * BatchMoments(2, 0.1, replace=False).limit(K), 2, without_replacement(3, 2))
    with pytest.raises(InputError, match="exceeds the mean-square stability limit"):
        above.covariance(0.1)


def test_with_replacement_the_law_on_the_ray_is_the_radial_law(setup):
    law = RayLaw(setup.manifold, BatchMoments(setup.batch, setup.sigma))
    plain = RadialLaw(setup.manifold, setup.batch, setup.sigma)
    steps = np.array([0, 5000, 40_000])
    path = law.path(setup.rho0, setup.eta, steps)
    want = plain.path(setup.rho0, Constant(setup.eta), steps)
    np.testing.assert_allclose(path.rho, want.rho, rtol=1e-6)
    np.testing.assert_allclose(path.floor, want.floor, rtol=1e-5)


def test_the_slow_law_as_a_dynamics_is_the_law_through_a_decay(setup):
    law = RayLaw(setup.manifold, BatchMoments(setup.batch, setup.sigma))
    reduced, schedule = setup.problem.reduced(setup.direction), StepDecay(setup.eta, 20_000, 10.0)
    steps = np.array([0, 10_000, 20_000, 40_000])
    table = trajectory(
        SlowLaw(law, setup.eta, reduced), reduced.coordinates(setup.u0), schedule, steps,
        noise=Noise(1, 0.0, 0), replicas=9, threads=1,
    )  # fmt: skip
    want = RadialLaw(setup.manifold, setup.batch, setup.sigma).path(setup.rho0, schedule, steps)
    assert table.sizes["replica"] == 1
    np.testing.assert_allclose(table["rho"].values[:, 0], want.rho, rtol=1e-8)
    np.testing.assert_allclose(table["loss"].values[-1, 0], want.floor[-1], rtol=1e-8)


def test_dropouts_averaged_flow_descends_the_loss_averaged_over_every_mask():
    """d = 4: the first piece of the flow against the mean over 16 masks of each row's gradient, by differences."""
    setup = Case(depth=2.0, n=2, extra=2, seed=5).setup()
    problem, p, u, t = setup.problem, 0.3, setup.u0, 1e-5
    masks = np.array(list(product((0.0, 1.0), repeat=4)))
    weights = np.prod(np.where(masks == 1, 1 - p, p), axis=1)

    def mean_loss(v):
        outputs = (masks / (1 - p)) @ (problem.X * oracle.predictor(v, 2.0)).T
        return weights @ np.mean((outputs - problem.y) ** 2, axis=1) / 2

    gradient = np.array([(mean_loss(u + h) - mean_loss(u - h)) / 2e-5 for h in 1e-5 * np.eye(4)])
    path = dropout_path(problem, setup.parametrization, u, dropout=p, times=np.array([0.0, t]))
    want = np.linalg.norm(problem.null_part(oracle.predictor(u - t * gradient, 2.0)))
    assert (path.rho[1] - path.rho[0]) / (want - path.rho[0]) == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"noise": "minibatch"}, "not noise on labels"),
        ({"noise": "dropout"}, "not noise on labels"),
    ],
)
def test_where_there_is_no_law_it_is_said_why(setup, changes, why):
    asked = {"dynamics": "sgd", "noise": "gaussian", "sampling": "with-replacement", "batch": 1, "sigma": 0.1}
    found = law_of(Request(**{**asked, **changes}), setup.manifold)
    assert isinstance(found, NoPrediction)
    assert why in found.why
