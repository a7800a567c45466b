"""The law for separable parametrizations against finite differences, and against SGD."""

import numpy as np
import pytest

from numerics import start
from numerics.check import mean_and_sem
from numerics.problem import Problem
from numerics.schedule import Constant
from numerics.sgd import Noise, SeparableSGD, simulate
from numerics.slow_law import SeparableLaw
from tests import naive
from theory import lower
from theory.parametrization import named

NAMES = [("coordinatewise", 3), ("coordinatewise", 2), ("diagonal-difference", 2), ("diagonal-product", 1), ("sinh", 1)]
Z = 4.4


def make_law(name, depth, batch=2, sigma=0.02, n=5, d=12):
    draw = np.random.default_rng(0)
    X = draw.standard_normal((n, d))
    w_star = draw.standard_normal(d)
    problem = Problem(X, X @ (w_star / np.linalg.norm(w_star)), w_star=w_star / np.linalg.norm(w_star))
    return SeparableLaw(problem, named(name, depth), batch, sigma)


def start_on_manifold(law, rho0=1.0):
    w = start.on_manifold(law.problem, rho0, start.null_direction(law.problem, 1))
    if law.parametrization.name == "diagonal-product":
        return law.onto_manifold(start.diagonal_product_from_predictor(w))
    if law.parametrization.name == "diagonal-difference":
        return law.onto_manifold(start.diagonal_power_from_predictor(w, 2, offset=0.3))
    functions = lower.python(lower.functions(law.parametrization))
    value, slope = np.vectorize(functions["value"]), np.vectorize(functions["slope_u"])
    return law.onto_manifold(start.separable_from_predictor(value, slope, w))


@pytest.mark.parametrize(("name", "depth"), NAMES)
def test_the_drift_is_that_of_finite_differences(name, depth):
    law = make_law(name, depth, n=2, d=5, sigma=0.3)
    u = start_on_manifold(law)
    u = u + 0.05 * np.sign(u) * (np.abs(u) < 0.05)  # f(u) = u|u| has no third derivative at 0
    eta = 0.6 * law.stability_limit(u)
    factors = lower.python(lower.functions(law.parametrization))

    def predictor(v):
        d = law.problem.d
        return np.array([factors["value"](*v[j::d]) for j in range(d)])

    expected = naive.slow_drift(u, predictor, law.problem.X, law.problem.y, eta, 2, 0.3, h=2e-3)
    np.testing.assert_allclose(law.drift(u, eta), expected, rtol=1e-6, atol=1e-7 * np.abs(expected).max())


@pytest.mark.parametrize(("name", "depth"), NAMES)
def test_the_small_eta_drift_is_the_limit_and_descends_the_trace_of_the_hessian(name, depth):
    law = make_law(name, depth)
    u = start_on_manifold(law)
    eta = 1e-4 * law.stability_limit(u)
    small = law.drift_small_eta(u, eta)
    np.testing.assert_allclose(law.drift(u, eta), small, rtol=0, atol=1e-3 * np.abs(small).max())
    step = 1e-4 * np.linalg.norm(u) / np.linalg.norm(small)
    assert law.trace_hessian(law.onto_manifold(u + step * small)) < law.trace_hessian(u)


@pytest.mark.parametrize(("name", "depth"), NAMES)
def test_sgd_follows_the_law(name, depth):
    """Reference case: coordinatewise D=3, n=5, d=12; error within sampling error well above small eta."""
    law = make_law(name, depth)
    u = start_on_manifold(law)
    eta = 0.4 * law.stability_limit(u)
    steps = np.array([0, 4000, 12000])
    path = law.path(u, Constant(eta), steps)
    model = SeparableSGD(law.problem, law.parametrization, float(np.hypot(law.problem.norm_w_mn, 1.0)))
    table = simulate(model, model.start(u, 24), Constant(eta), steps, noise=Noise(2, 0.02, 6), threads=2)
    mean, sem = mean_and_sem(table["rho"])
    assert np.all(np.abs(mean - path.rho)[1:] < (Z * sem + path.rho * path.remainder)[1:])
    assert path.rho[-1] < 0.99 * path.rho[0], "the law predicts a drift that the sample can see"
    assert Z * sem[-1] < 0.5 * abs(path.rho[-1] - path.rho[0])
