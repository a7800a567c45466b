"""SGD kernels against a loop in Python at equal draws, against each other, and against how work is cut up."""

import numpy as np
import pytest

from numerics import start
from numerics.problem import Problem
from numerics.radial_manifold import RadialManifold
from numerics.schedule import Constant, StepDecay
from numerics.sgd import DIVERGED, FullRadialSGD, Noise, RadialSGD, SeparableSGD, simulate
from tests import naive
from theory import lower
from theory.parametrization import named

DEPTHS = [1, 2, 2.5, 3, 5]


def make_problem(n=4, d=11, seed=0):
    draw = np.random.default_rng(seed)
    X = draw.standard_normal((n, d))
    w_star = draw.standard_normal(d) / np.sqrt(d)
    return Problem(X, X @ w_star, w_star=w_star)


def radial_start(problem, parametrization, rho0=1.2):
    direction = start.null_direction(problem, 1)
    w = start.on_manifold(problem, rho0, direction)
    manifold = RadialManifold(parametrization, problem.gram, problem.y, problem.norm_w_mn)
    return direction, start.radial_from_predictor(w, manifold.radius(rho0))


def radial_pair(problem, depth):
    parametrization = named("radial", depth)
    direction, u = radial_start(problem, parametrization)
    return RadialSGD(problem.reduced(direction), parametrization, 2.0), FullRadialSGD(problem, parametrization, 2.0), u


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("batch", [1, 3])
def test_the_full_radial_kernel_is_the_definition(depth, batch):
    problem = make_problem()
    _, full, u = radial_pair(problem, depth)
    states, etas = full.start(u, 2), np.full(40, 0.02)
    full.advance(states, np.arange(2), etas, Noise(batch, 0.1, 9), 5)

    def predict(v, i):
        return np.linalg.norm(v) ** (depth - 1) * (problem.X[i] @ v)

    def gradient(v, i):
        r = np.linalg.norm(v)
        return r ** (depth - 1) * problem.X[i] + (depth - 1) * r ** (depth - 3) * (problem.X[i] @ v) * v

    for replica in range(2):
        expected = naive.label_noise_sgd(
            u, predict, gradient, problem.y, etas, batch=batch, sigma=0.1, seed=9, replica=replica, first_step=5
        )
        np.testing.assert_allclose(states[replica], expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", ["coordinatewise", "diagonal-difference", "diagonal-product", "sinh", "tanh"])
def test_the_separable_kernel_is_the_definition(name, batch):
    problem, parametrization = make_problem(), named(name, 3)
    model = SeparableSGD(problem, parametrization, 10.0)
    functions = lower.python(lower.functions(parametrization))
    m, d = model.factors, problem.d
    u = 0.4 + 0.3 * np.random.default_rng(2).standard_normal(m * d)
    slopes = [functions[f"slope_{factor}"] for factor in parametrization.factors]

    def predict(v, i):
        return sum(problem.X[i, j] * functions["value"](*v[j::d]) for j in range(d))

    def gradient(v, i):
        return np.array([problem.X[i, k % d] * slopes[k // d](*v[k % d :: d]) for k in range(m * d)])

    states, etas = model.start(u, 2), np.full(30, 0.02)
    model.advance(states, np.arange(2), etas, Noise(batch, 0.1, 3), 1)
    for replica in range(2):
        expected = naive.label_noise_sgd(
            u, predict, gradient, problem.y, etas, batch=batch, sigma=0.1, seed=3, replica=replica, first_step=1
        )
        np.testing.assert_allclose(states[replica].ravel(), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("depth", "batch", "n", "d"), [(2, 1, 6, 30), (3, 4, 12, 200), (2.5, 2, 1, 40), (1, 3, 5, 9)])
def test_reduced_and_full_paths_agree_to_1e_10_over_10_000_steps(depth, batch, n, d):
    """C12: the path stays in span(rows of X, u_0)."""
    problem = make_problem(n, d)
    reduced, full, u = radial_pair(problem, depth)
    eta = 0.2 * n / np.linalg.norm(problem.gram, 2) / np.linalg.norm(u) ** (2 * depth - 2)
    etas, noise = np.full(10_000, eta), Noise(batch, 0.1, 17)
    small, large = reduced.start(u, 2), full.start(u, 2)
    reduced.advance(small, np.arange(2), etas, noise, 0)
    full.advance(large, np.arange(2), etas, noise, 0)
    scores, squares = large @ problem.X.T, np.sum(large**2, axis=1)
    scale = np.abs(scores).max()
    np.testing.assert_allclose(small[:, :n], scores, rtol=1e-10, atol=1e-10 * scale)
    np.testing.assert_allclose(small[:, n], squares, rtol=1e-10)
    np.testing.assert_allclose(small[:, n + 1], large @ reduced.reduced.direction, rtol=1e-10, atol=1e-12)
    ours, theirs = reduced.observe(small), full.observe(large)
    for name in theirs:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-9)


def test_bits_depend_on_neither_threads_nor_chunks_nor_company():
    problem = make_problem()
    reduced, _, u = radial_pair(problem, 3)
    noise, schedule = Noise(2, 0.1, 4), StepDecay(0.02, 700, 10.0)

    def final(threads, steps, replicas=7):
        states = reduced.start(u, replicas)
        simulate(reduced, states, schedule, np.array(steps), noise=noise, threads=threads)
        return states

    reference = final(1, [0, 1000])
    assert np.array_equal(reference, final(2, [0, 1000]))
    assert np.array_equal(reference, final(5, [0, 1, 2, 699, 700, 701, 1000]))
    assert np.array_equal(reference[:3], final(2, [0, 1000], replicas=3))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", ["coordinatewise", "diagonal-product"])
def test_a_separable_path_depends_on_neither_calls_nor_company(name, batch):
    """Nor on a neighbour that diverges: a step that waits for the next row belongs to one replica."""
    problem = make_problem()
    model = SeparableSGD(problem, named(name, 3), 10.0)
    u = 0.4 + 0.3 * np.random.default_rng(2).standard_normal(model.factors * problem.d)

    def final(steps, replicas=5, wild=None):
        states = model.start(u, replicas)
        if wild is not None:
            states[wild] *= 1e9
        simulate(model, states, Constant(0.02), np.array(steps), noise=Noise(batch, 0.1, 4), threads=1)
        return states

    reference = final([0, 300])
    assert np.array_equal(reference, final([0, 1, 2, 130, 300]))
    assert np.array_equal(reference[:2], final([0, 300], replicas=2))
    beside = final([0, 300], wild=1)
    assert np.isnan(beside[1]).all()
    assert np.array_equal(np.delete(reference, 1, 0), np.delete(beside, 1, 0))


def test_the_bound_on_a_separable_predictor_is_each_coordinates():
    """A sum of |w_j| beyond the limit stops nothing; one |w_j| does."""
    problem, shape = make_problem(), named("coordinatewise", 3)
    u = np.linspace(0.5, 0.9, problem.d)
    largest, total = np.max(u**3), np.sum(u**3)
    assert 1.5 * largest < total

    def final(limit):
        states = (model := SeparableSGD(problem, shape, limit / DIVERGED)).start(u, 1)
        model.advance(states, np.arange(1), np.full(20, 1e-4), Noise(1, 0.1, 4), 0)
        return states

    assert np.array_equal(final(1.5 * largest), final(10 * total))
    assert np.isnan(final(0.9 * largest)).all()


def test_the_decay_takes_effect_at_its_own_step():
    """One step with the large rate, then one with the small: the same as by hand."""
    problem = make_problem()
    _, full, u = radial_pair(problem, 2)
    noise = Noise(1, 0.1, 4)
    states = full.start(u, 2)
    simulate(full, states, StepDecay(0.02, 1, 10.0), np.array([0, 2]), noise=noise, threads=1)
    by_hand = full.start(u, 2)
    full.advance(by_hand, np.arange(2), np.array([0.02, 0.002]), noise, 0)
    assert np.array_equal(states, by_hand)


def test_observations_keep_what_they_saw():
    """A view of the states would change under later steps."""
    problem = make_problem()
    reduced, _, u = radial_pair(problem, 3)
    states = reduced.start(u, 2)
    seen = reduced.observe(states)
    before = {name: values.copy() for name, values in seen.items()}
    reduced.advance(states, np.arange(2), np.full(50, 0.02), Noise(1, 0.1, 0), 0)
    for name in seen:
        assert np.array_equal(seen[name], before[name]), name


def test_divergence_stops_and_is_marked():
    problem = make_problem()
    reduced, full, u = radial_pair(problem, 3)
    for model in (reduced, full):
        states = model.start(u, 3)
        table = simulate(model, states, Constant(5.0), np.arange(0, 2001, 100), noise=Noise(1, 0.1, 0), threads=1)
        assert np.all(np.isnan(table["loss"][-1]))
        assert np.all(np.isfinite(table["loss"][0]))


def test_without_noise_on_the_manifold_nothing_moves():
    """C10: sigma = 0 on M."""
    problem = make_problem()
    _, full, u = radial_pair(problem, 2.5)
    states = full.start(u, 2)
    full.advance(states, np.arange(2), np.full(500, 0.02), Noise(2, 0.0, 0), 0)
    np.testing.assert_allclose(states, np.tile(u, (2, 1)), rtol=1e-12, atol=1e-13)


def test_depth_one_keeps_the_null_part_exactly():
    """C10: a linear model does not drift along ker X."""
    problem = make_problem()
    reduced, _, u = radial_pair(problem, 1)
    states = reduced.start(u, 2)
    null = states[:, -1].copy()
    reduced.advance(states, np.arange(2), np.full(500, 0.02), Noise(2, 0.3, 0), 0)
    assert np.array_equal(states[:, -1], null)
