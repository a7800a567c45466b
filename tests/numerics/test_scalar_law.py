"""The scalar law against an independent dense computation, its own invariants, and the reference figures."""

import numpy as np
import pytest
import sympy
from scipy.integrate import solve_ivp

from numerics import start
from numerics.check import mean_and_sem
from numerics.problem import Problem
from numerics.radial_manifold import RadialManifold
from numerics.scalar_law import RadialLaw
from numerics.schedule import Constant, Cosine, StepDecay
from numerics.sgd import Noise, RadialSGD, simulate
from tests import naive
from theory import notation
from theory.parametrization import Radial, named

Z = 4.4  # two-sided 1e-5 false alarms per comparison; a few dozen comparisons here


def make_problem(n, d, seed=0):
    draw = np.random.default_rng(seed)
    X = draw.standard_normal((n, d))
    w_star = draw.standard_normal(d)
    w_star /= np.linalg.norm(w_star)
    return Problem(X, X @ w_star, w_star=w_star)


def make_law(problem, depth, batch, sigma):
    parametrization = named("radial", depth)
    manifold = RadialManifold(parametrization, problem.gram, problem.y, problem.norm_w_mn)
    return RadialLaw(manifold, batch, sigma)


def simulated(problem, law, rho0, eta, steps, *, replicas, seed):
    """Relaxed rho ``(steps, R)``."""
    manifold, direction = law.manifold, start.null_direction(problem, seed)
    w = start.on_manifold(problem, rho0, direction)
    u = start.radial_from_predictor(w, manifold.radius(rho0))
    model = RadialSGD(problem.reduced(direction), manifold.parametrization, float(np.linalg.norm(w)))
    noise = Noise(law.batch, law.sigma, seed)
    table = simulate(model, model.start(u, replicas), Constant(eta), np.asarray(steps), noise=noise, threads=2)
    return manifold.relaxed(table["nu"], table["r"])


@pytest.mark.parametrize("depth", [1.5, 2, 3, 4.5])
@pytest.mark.parametrize("batch", [1, 3])
def test_the_rate_is_that_of_a_dense_computation_in_all_coordinates(depth, batch):
    """C3 by finite differences in d dimensions, projected on the ray, equals C4 to 1e-8."""
    problem = make_problem(3, 6)
    law = make_law(problem, depth, batch, 0.2)
    direction = start.null_direction(problem, 1)
    rho = 0.8
    eta = 0.7 * law.stability_limit(rho, rho)
    w = start.on_manifold(problem, rho, direction)
    u = start.radial_from_predictor(w, law.manifold.radius(rho))

    def predictor(v):
        return np.linalg.norm(v) ** (depth - 1) * v

    moved = naive.slow_drift(u, predictor, problem.X, problem.y, eta, batch, 0.2, h=2e-3)
    r = np.linalg.norm(u)
    w_moved = r ** (depth - 1) * moved + (depth - 1) * r ** (depth - 3) * (u @ moved) * u
    assert w_moved @ direction == pytest.approx(rho * law.log_rate(rho, eta), rel=1e-8)
    np.testing.assert_allclose(problem.X @ w_moved, 0, atol=1e-10 * np.linalg.norm(w_moved))
    off_ray = problem.null_part(w_moved) - (w_moved @ direction) * direction
    assert np.linalg.norm(off_ray) < 1e-8 * np.linalg.norm(w_moved)


def test_the_path_is_that_of_an_independent_dense_integration():
    """K, C from n^2 equations, the printed formula of C4 for depth D, another integrator: equal to 1e-8."""
    n, D, batch, sigma, rho0 = 4, 2.5, 2, 0.1, 1.5
    problem = make_problem(n, 9)
    law = make_law(problem, D, batch, sigma)
    eta = 0.8 * law.stability_limit(0, rho0)
    G, y, m = problem.gram, problem.y, problem.norm_w_mn

    diagonal, unit = np.diag(np.eye(n).ravel()), np.eye(n)

    def rate(_, rho):
        r = (m**2 + rho[0] ** 2) ** (1 / (2 * D))
        K = r ** (2 * D - 2) * G + (D**2 - 1) / r**2 * np.outer(y, y)
        both = np.kron(K, K)
        left = eta / n * (np.kron(K, unit) + np.kron(unit, K))
        left -= eta**2 * ((1 - 1 / batch) / n**2 * both + both @ diagonal / (batch * n))
        C = np.linalg.solve(left, eta**2 * sigma**2 / (batch * n) * (K @ K).ravel()).reshape(n, n)
        inner = (D - 1) / r * K - D * (D**2 - 1) / r**3 * np.outer(y, y)
        pull = (2 / n) * np.trace(inner @ np.linalg.inv(K) @ C)
        return [-(eta / 2) * pull * rho[0] / (D * r * (1 - (1 - D**-2) * rho[0] ** 2 / r ** (2 * D)))]

    rest = law.resting_rho(rho0, eta)
    total = int(law.steps_between(rho0, rest + 0.1 * (rho0 - rest), eta))
    steps = np.linspace(0, total, 6).astype(np.int64)
    dense = solve_ivp(rate, (0, total), [rho0], t_eval=steps, method="LSODA", rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(law.path(rho0, Constant(eta), steps).rho, dense.y[0], rtol=1e-8)


def test_steps_between_is_the_inverse_of_the_path():
    """C6."""
    problem = make_problem(5, 12)
    law = make_law(problem, 3, 2, 0.1)
    eta = 0.5 * law.stability_limit(0, 1.4)
    steps = np.array([0, 4000, 9000])
    rho = law.path(1.4, Constant(eta), steps).rho
    for k in (1, 2):
        assert law.steps_between(1.4, float(rho[k]), eta) == pytest.approx(steps[k], rel=1e-7)


def test_decaying_eta_by_ten_slows_the_small_eta_drift_by_a_hundred():
    """C6, and exactly so in the limit."""
    law = make_law(make_problem(5, 12), 3, 2, 0.1)
    assert law.log_rate_small_eta(1.0, 0.01) / law.log_rate_small_eta(1.0, 0.001) == pytest.approx(100, rel=1e-12)
    assert law.log_rate(1.0, 1e-5) / law.log_rate_small_eta(1.0, 1e-5) == pytest.approx(1, rel=1e-3)


def test_the_law_follows_schedules_through_their_kinks():
    problem = make_problem(4, 9)
    law = make_law(problem, 2, 2, 0.1)
    eta = 0.5 * law.stability_limit(0, 1.2)
    steps = np.array([0, 3000, 6000])
    decayed = law.path(1.2, StepDecay(eta, 3000, 10.0), steps).rho
    first = law.path(1.2, Constant(eta), np.array([0, 3000])).rho
    second = law.path(float(first[1]), Constant(eta / 10), np.array([3000, 6000])).rho
    np.testing.assert_allclose(decayed, [1.2, first[1], second[1]], rtol=1e-9)
    cosine = law.path(1.2, Cosine(eta, 6000, 0.01 * eta), steps).rho
    assert first[1] < cosine[1] < 1.2


@pytest.mark.parametrize(
    "parametrization", [named("radial", 2), named("radial", 3.5), Radial("tanh-gain", sympy.tanh(notation.r))]
)
def test_the_relaxation_map_is_where_gradient_flow_ends(parametrization):
    problem = make_problem(3, 7)
    manifold = RadialManifold(parametrization, problem.gram, problem.y, problem.norm_w_mn)
    direction = start.null_direction(problem, 2)
    g = sympy.lambdify(notation.r, parametrization.g)
    slope = sympy.lambdify(notation.r, parametrization.g.diff(notation.r))
    u0 = 0.9 * direction + 0.5 * problem.w_mn / problem.norm_w_mn + 0.2 * problem.row_basis[0]

    def velocity(_, u):
        r, scores = np.linalg.norm(u), problem.X @ u
        error = g(r) * scores - problem.y
        return -(g(r) * problem.X.T @ error + slope(r) / r * (scores @ error) * u) / problem.n

    end = solve_ivp(velocity, (0, 3000), u0, method="LSODA", rtol=1e-12, atol=1e-14).y[:, -1]
    w = g(np.linalg.norm(end)) * end
    np.testing.assert_allclose(problem.X @ w, problem.y, atol=1e-9)
    found = manifold.relaxed(np.array([u0 @ direction]), np.array([np.linalg.norm(u0)]))[0]
    assert found == pytest.approx(w @ direction, rel=1e-8)


def test_the_relaxation_map_leaves_the_manifold_alone_and_keeps_signs():
    manifold = make_law(make_problem(3, 7), 3, 1, 0.1).manifold
    rho = np.array([-1.3, 0.0, 0.2, 4.0])
    r = np.array([manifold.radius(float(x)) for x in rho])
    np.testing.assert_allclose(manifold.relaxed(rho / r**2, r), rho, rtol=1e-12)
    assert np.isnan(manifold.relaxed(np.array([np.nan]), np.array([1.0]))[0])


def test_the_mean_residual_balances_the_pull():
    """Second order in sigma: E q of SGD against -(n/2) K^-1 A h, at a small learning rate."""
    problem = make_problem(3, 8, seed=3)
    law = make_law(problem, 3, 1, 0.1)
    eta = 0.05 * law.stability_limit(1.0, 1.0)
    direction, replicas = start.null_direction(problem, 1), 2048
    w = start.on_manifold(problem, 1.0, direction)
    u = start.radial_from_predictor(w, law.manifold.radius(1.0))
    model = RadialSGD(problem.reduced(direction), law.manifold.parametrization, 2.0)
    states, means = model.start(u, replicas), []
    for k in range(90):
        model.advance(states, np.arange(replicas), np.full(100, eta), Noise(1, 0.1, 1), 100 * k)
        level = states[:, 3] ** 1.0  # g = r^2
        means.append(level[:, None] * states[:, :3] - problem.y)
    found, sem = mean_and_sem(np.mean(means[8:], axis=0), axis=0)
    rho = float(law.manifold.relaxed(states[:, 4], np.sqrt(states[:, 3])).mean())
    K = law.manifold.kernel(rho)
    predicted = law.mean_residual(rho, naive.stationary_covariance(K, eta, 1, 0.1)[0])
    assert np.linalg.norm(predicted) > 3 * np.linalg.norm(sem), "the sample sees it"
    assert np.all(np.abs(found - predicted) < Z * sem + 0.1 * np.linalg.norm(predicted))


class TestSelection:
    """C5: the flattest point, and where the drift stops, at n around the threshold."""

    @pytest.mark.parametrize(("n", "depth", "selected"), [(1, 3, False), (2, 3, False), (3, 2, True)])
    def test_sgd_stops_where_the_law_says(self, n, depth, selected):
        problem = make_problem(n, 40, seed={1: 4, 2: 3, 3: 5}[n])
        law = make_law(problem, depth, 1, 0.05)
        rho0 = 1.0
        eta = 0.4 * law.stability_limit(0, rho0)
        rest = law.resting_rho(rho0, eta)
        assert law.manifold.selects_minimum_norm() is selected
        assert (rest == 0) is selected
        target = 0.2 if selected else rest + 0.03 * (rho0 - rest)
        total = int(law.steps_between(rho0, target, eta))
        rho = simulated(problem, law, rho0, eta, [0, total], replicas=16, seed=n)[-1]
        mean, sem = mean_and_sem(rho)
        path = law.path(rho0, Constant(eta), np.array([0, total]))
        assert abs(mean - path.rho[-1]) < Z * sem + path.rho[-1] * path.remainder[-1]
        assert Z * sem < 0.02 * rho0

    def test_the_stopping_point_has_the_norm_of_the_threshold(self):
        """Small eta: |w|^2 = (D + 1)|y|^2 / |X|_F^2."""
        problem = make_problem(1, 40, seed=4)
        law = make_law(problem, 3, 1, 0.03)
        rho = law.manifold.flattest_rho(2.0)
        norm = problem.norm_w_mn**2 + rho**2
        assert norm == pytest.approx(4 * problem.y @ problem.y / np.sum(problem.X**2), rel=1e-10)
        assert law.resting_rho(2.0, 1e-6) == pytest.approx(rho, rel=1e-4)

    def test_a_stable_rank_of_depth_plus_one_suffices(self):
        for seed in range(20):
            problem = make_problem(6, 40, seed)
            if problem.stable_rank >= 3:
                assert make_law(problem, 2, 1, 0.1).manifold.selects_minimum_norm()


@pytest.fixture(scope="module", name="case")
def _case():
    problem = make_problem(6, 30, seed=6)
    law = make_law(problem, 2, 4, 0.02)
    eta = 0.8 * law.stability_limit(0, 1.5)
    rest = law.resting_rho(1.5, eta)
    total = int(law.steps_between(1.5, rest + 0.1 * (1.5 - rest), eta))
    steps = np.linspace(0, total, 9).astype(np.int64)
    rho = simulated(problem, law, 1.5, eta, steps, replicas=32, seed=3)
    return law.path(1.5, Constant(eta), steps), rho


def test_a_large_learning_rate_can_move_the_selection_threshold():
    """At small eta this problem selects w_mn; at 80 % of the stability limit the drift stops short of it."""
    law = make_law(make_problem(6, 30, seed=1), 2, 4, 0.02)
    eta = 0.8 * law.stability_limit(0, 1.5)
    assert law.manifold.selects_minimum_norm()
    assert law.resting_rho(1.5, 0.01 * eta) == 0
    rest = law.resting_rho(1.5, eta)
    assert rest > 0.03
    assert abs(law.log_rate(rest, eta)) < 1e-10 * abs(law.log_rate(1.5, eta))


class TestAtLargeLearningRates:
    """At 80 % of the stability limit: SGD follows the law, while its small-eta limit is off by more than 20 %."""

    def test_the_law_holds_within_sampling_error(self, case):
        path, rho = case
        mean, sem = mean_and_sem(rho)
        remainder = path.rho * path.remainder
        assert np.all(np.abs(mean - path.rho)[1:] < (Z * sem + remainder)[1:])
        assert np.all(Z * sem < 0.01 * path.rho), "the sample resolves one per cent"

    def test_the_small_eta_limit_does_not(self, case):
        path, rho = case
        mean, sem = mean_and_sem(rho)
        off = path.rho_small_eta / path.rho - 1
        assert off[-1] > 0.2
        assert np.all((path.rho_small_eta - mean)[1:] > 10 * sem[1:])


def test_slow_time_collapses_three_learning_rates():
    """Reference case n=10, d=40, D=3, rho_0=2, sigma=.5, B=1 at eta lambda_max = .005, .01, .02."""
    problem = make_problem(10, 40, seed=1)
    law = make_law(problem, 3, 1, 0.5)
    top = np.linalg.eigvalsh(law.manifold.kernel(2.0))[-1] / 10
    for i, product in enumerate((0.005, 0.01, 0.02)):
        eta = product / top
        steps = np.array([0, int(2.0 / eta**2 / 50), int(2.0 / eta**2 / 5)])
        path = law.path(2.0, Constant(eta), steps)
        mean, sem = mean_and_sem(simulated(problem, law, 2.0, eta, steps, replicas=8, seed=20 + i))
        assert np.all(np.abs(mean - path.rho)[1:] < (Z * sem + path.rho * path.remainder)[1:])
