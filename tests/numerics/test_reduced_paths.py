"""Reduced kernels, which step many replicas side by side, against full paths on the same draws: SGD and SDE."""

import numpy as np
import pytest

from numerics import start
from numerics.dynamics import EulerMaruyama, PlaneEulerMaruyama, compact, trajectory
from numerics.errors import InputError
from numerics.noise_floor import stability_limit
from numerics.problem import Problem
from numerics.radial_manifold import RadialManifold
from numerics.schedule import Constant
from numerics.sde import ReducedEulerMaruyama
from numerics.sgd import FullRadialSGD, Noise, RadialSGD, simulate
from theory.parametrization import named

SHAPE = named("radial", 3)
#: one sample a step has a path of its own in the kernel
BATCHES = pytest.mark.parametrize("batch", [1, 3])


def make_problem(n=5, d=17, condition=1.0):
    """Singular values of X from 1 down to 1/condition."""
    draw = np.random.default_rng(3)
    left, right = np.linalg.qr(draw.standard_normal((n, n)))[0], np.linalg.qr(draw.standard_normal((d, n)))[0]
    X = left * np.geomspace(1, 1 / condition, n) @ right.T
    return Problem(X, X @ draw.standard_normal(d))


def models(problem, precision="float64"):
    direction = start.null_direction(problem, 1)
    u = start.radial_from_predictor(start.on_manifold(problem, 1.0, direction), 1.3)
    reduced = RadialSGD(problem.reduced(direction), SHAPE, 3.0, precision)
    return reduced, FullRadialSGD(problem, SHAPE, 3.0), u


def largest_gap(problem, small, large):
    """Of scores and |u|^2, relative to the largest."""
    scores, squares = large @ problem.X.T, np.sum(large**2, axis=1)
    n = problem.n
    gap = np.abs(small[:, :n] - scores).max() / np.abs(scores).max()
    return np.max([gap, np.abs(small[:, n] / squares - 1).max()])  # NaN if one is


@BATCHES
@pytest.mark.parametrize("condition", [10.0, 1e3, 1e5])
def test_an_ill_conditioned_gram_matrix_costs_no_digits(condition, batch):
    """Condition of X X^T up to 1e10: 20 000 steps, to 1e-10."""
    problem = make_problem(condition=condition)
    reduced, full, u = models(problem)
    small, large = reduced.start(u, 2), full.start(u, 2)
    etas, noise = np.full(20_000, 0.1 / float(u @ u) ** 2), Noise(batch, 0.1, 5)
    reduced.advance(small, np.arange(2), etas, noise, 0)
    full.advance(large, np.arange(2), etas, noise, 0)
    assert largest_gap(problem, small, large) < 1e-10


@BATCHES
def test_near_the_stability_limit_paths_agree(batch):
    """At 0.97 of the mean-square limit excursions are large; 5 000 steps, to 1e-9."""
    problem = make_problem()
    reduced, full, u = models(problem)
    kernel = RadialManifold(SHAPE, problem.gram, problem.y, problem.norm_w_mn).kernel(1.0)
    eta = 0.97 * stability_limit(kernel, batch=batch)
    small, large = reduced.start(u, 3), full.start(u, 3)
    etas, noise = np.full(5000, eta), Noise(batch, 0.02, 5)
    reduced.advance(small, np.arange(3), etas, noise, 0)
    full.advance(large, np.arange(3), etas, noise, 0)
    assert np.array_equal(np.isnan(small[:, 0]), np.isnan(large[:, 0]))
    alive = ~np.isnan(small[:, 0])
    assert largest_gap(problem, small[alive], large[alive]) < 1e-9


@BATCHES
def test_the_square_stays_that_of_the_scores(batch):
    """Each is updated by itself: after 10^6 steps |u|^2 is that of X u and the null coordinate, to 1e-12."""
    problem = make_problem(n=12, d=14)
    reduced, _, u = models(problem)
    states = reduced.start(u, 4)
    reduced.advance(states, np.arange(4), np.full(10**6, 0.2 / float(u @ u) ** 2), Noise(batch, 0.05, 5), 0)
    scores, null = states[:, :12], states[:, 13]
    squares = np.sum(scores * np.linalg.solve(problem.gram, scores.T).T, axis=1) + null**2
    np.testing.assert_allclose(states[:, 12], squares, rtol=1e-12)


def test_float32_follows_float64_to_single_precision():
    """Same draws, 20 000 steps: |u|^2 and scores to 1e-4, and float32 really is another arithmetic."""
    problem = make_problem(n=20, d=60)
    single, _, u = models(problem, "float32")
    double = models(problem)[0]
    a, b = single.start(u, 40), double.start(u, 40)
    etas, noise = np.full(20_000, 0.2 / float(u @ u) ** 2), Noise(1, 0.1, 5)
    single.advance(a, np.arange(40), etas, noise, 0)
    double.advance(b, np.arange(40), etas, noise, 0)
    gap = np.abs(a - b).max() / np.abs(b).max()
    assert 1e-9 < gap < 1e-4


def test_another_precision_is_refused():
    with pytest.raises(InputError, match="precision = float16 is not one of float64, float32"):
        models(make_problem(), "float16")


def sde_pair(problem, precision="float64"):
    reduced, _, u = models(problem)
    plane = ReducedEulerMaruyama(reduced.reduced, SHAPE, 3.0, precision, eta=0.05)
    return plane, EulerMaruyama(problem, SHAPE, 3.0, 0.05, False), u


@pytest.mark.parametrize(
    ("n", "condition", "sigma"),
    [
        (5, 3.0, 0.1),
        (5, 1e4, 0.1),
        (5, 3.0, 0.0),
        *((n, 3.0, 0.1) for n in (1, 2, 4, 7)),
    ],  # rows come by fours and twos
)
def test_reduced_and_full_sde_agree_on_the_same_draws(n, condition, sigma):
    problem = make_problem(n=n, condition=condition)
    reduced, full, u = sde_pair(problem)
    small, large = reduced.start(1.1 * u, 35), full.start(1.1 * u, 35)
    times, noise = np.full(2000, 0.05), Noise(2, sigma, 5)
    reduced.advance(small, np.arange(35), times, noise, 3)
    full.advance(large, np.arange(35), times, noise, 3)
    assert largest_gap(problem, small, large) < 1e-10


def test_the_dynamics_in_the_plane_observes_what_the_compact_one_does_on_the_same_draws():
    problem = make_problem(condition=3.0)
    _, _, u = models(problem)
    reduced = problem.reduced(start.null_direction(problem, 1))
    plane = PlaneEulerMaruyama(reduced, SHAPE, 3.0, eta=0.05)
    full = EulerMaruyama(compact(reduced), SHAPE, 3.0, 0.05, False)
    settings = (Constant(0.05), np.array([0, 40, 400]))
    kept = {"noise": Noise(2, 0.1, 5), "replicas": 5, "threads": 1}
    small = trajectory(plane, 1.1 * u, *settings, **kept)
    large = trajectory(full, reduced.coordinates(1.1 * u), *settings, **kept)
    assert set(small.variables) == set(large.variables)
    for name in small.data_vars:
        np.testing.assert_allclose(small[name], large[name], rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize(("kind", "batch", "n"), [("sgd", 1, 5), ("sgd", 3, 5), ("sgd", 1, 40), ("sde", 3, 5)])
def test_bits_depend_on_neither_lanes_nor_calls_nor_threads(kind, batch, n, precision):
    """150 replicas fill several groups of lanes and part of another; with 40 rows groups are smaller."""
    problem = make_problem(n=n, d=n + 12)
    model, _, u = models(problem, precision) if kind == "sgd" else sde_pair(problem, precision)

    def final(replicas, threads, steps):
        states = model.start(u, replicas)
        simulate(model, states, Constant(0.05), np.array(steps), noise=Noise(batch, 0.1, 4), threads=threads)
        return states

    reference = final(150, 1, [0, 100])
    assert np.array_equal(reference, final(150, 5, [0, 1, 2, 37, 100]))
    assert np.array_equal(reference[:3], final(3, 1, [0, 100]))


@pytest.mark.parametrize(("kind", "batch"), [("sgd", 1), ("sgd", 3), ("sde", 3)])
def test_a_diverged_replica_leaves_its_neighbours_alone(kind, batch):
    problem = make_problem()
    model, _, u = models(problem) if kind == "sgd" else sde_pair(problem)
    together, alone = model.start(u, 20), model.start(u, 20)
    together[7, :] *= 1e4
    together[11, :] = np.nan
    etas, noise = np.full(50, 0.02), Noise(batch, 0.1, 4)
    model.advance(together, np.arange(20), etas, noise, 0)
    model.advance(alone, np.arange(20), etas, noise, 0)
    assert np.isnan(together[[7, 11]]).all()
    others = np.delete(np.arange(20), [7, 11])
    assert np.array_equal(together[others], alone[others])
