"""The law on networks: against dense Hessians, closed forms, its small-eta limit, and SGD itself."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from numerics.errors import InputError  # noqa: E402
from numerics.networks import slow_law  # noqa: E402
from numerics.networks.curvature import jacobian, sharpness  # noqa: E402
from numerics.networks.flat import FlatModel  # noqa: E402
from numerics.networks.law_comparison import Bench, Case, compare, late_decay  # noqa: E402
from numerics.networks.manifold import project, tangent  # noqa: E402
from numerics.networks.slow_law import Setting, drift, integrate, weighted_hessians  # noqa: E402
from tests.networks import naive, small  # noqa: E402

CASE = Case(
    n=8,
    components=6,
    classes=2,
    widths=(10,),
    activation="tanh",
    gain=2.0,
    stability=0.3,
    batch=4,
    sigma=0.05,
    steps=4000,
    records=2,
    runs=4,
    seed=0,
    tolerance=0.02,
)


def network(outputs=3, widths=(9,), eta=0.05, batch=2, sigma=0.2):
    """A network on M with its setting."""
    data = small.examples(classes=max(outputs, 2), n=6)
    model = small.mlp(widths=widths, outputs=outputs)
    x, y = torch.as_tensor(data.x), torch.as_tensor(data.targets(data.labels))
    setting = Setting(model, x, y, eta, batch, sigma)
    return setting, project(model, small.weights(model), x, y)


def product_network(eta, sigma, ratio=2.0):
    """f = u v x on x = 1, y = 1, started at u/v = ratio²."""
    one = torch.ones(1, 1, dtype=torch.float64)
    setting = Setting(FlatModel(naive.Product()), one, one, eta, 1, sigma)
    return setting, torch.tensor([ratio, 1 / ratio], dtype=torch.float64)


def test_projection_reaches_m_along_the_normal_space():
    setting, point = network()
    torch.manual_seed(0)
    step = 1e-3 * torch.randn_like(point.theta)
    back = project(setting.f, point.theta + step, setting.x, setting.y)
    assert float((setting.f(back.theta, setting.x) - setting.y).abs().max()) <= 1e-11
    kept = tangent(point, back.theta - point.theta - step)
    assert float(kept.norm()) < 0.01 * float(step.norm())


def test_a_network_too_small_to_interpolate_is_refused():
    data = small.examples(n=12)
    model = small.mlp(widths=(2,))
    x, y = torch.as_tensor(data.x), torch.as_tensor(data.targets(data.labels))
    with pytest.raises(InputError, match="parameters p = 19 is not above the 36 outputs"):
        project(model, small.weights(model), x, y)


@pytest.mark.parametrize("outputs", [1, 3])
def test_weighted_hessians_are_the_dense_hessians_contracted(outputs):
    setting, point = network(outputs)
    v = torch.as_tensor(np.random.default_rng(0).standard_normal((6, setting.y.shape[1], len(point.theta))))
    dense = torch.einsum("ncpq,ncq->p", naive.hessians(setting.f, point.theta, setting.x), v)
    found = weighted_hessians(setting.f, point.theta, setting.x, v)
    np.testing.assert_allclose(found, dense, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("outputs", [1, 3])
def test_the_drift_is_the_formula_written_out(outputs):
    """−(eta/2) P_T (2/n) Σ ∇²f S g with dense Hessians, dense S and C from the full linear system."""
    setting, point = network(outputs)
    a, n, c_outputs = naive.jacobian(setting.f, point.theta, setting.x), 6, setting.y.shape[1]
    k = a @ a.T
    c = torch.as_tensor(naive.residual_covariance(k.numpy(), c_outputs, setting.eta, setting.batch, setting.sigma))
    inverse = torch.linalg.inv(k)
    s = a.T @ inverse @ c @ inverse @ a
    h = (2 / n) * torch.einsum(
        "ncpq,qr,ncr->p", naive.hessians(setting.f, point.theta, setting.x), s, a.reshape(n, c_outputs, -1)
    )
    expected = -(setting.eta / 2) * (h - a.T @ inverse @ (a @ h))
    found, _ = drift(setting, point)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-14)


@pytest.mark.parametrize("outputs", [1, 3])
def test_at_small_eta_the_drift_descends_the_trace_of_the_hessian(outputs):
    """Li, Wang, Arora 2022: −(eta² sigma²/4B) P_T ∇ tr H; the remainder is of relative order eta λ_max.

    Model part of both tolerances: the expansion's next order, (eta λ_max) for the error and for its ratio to 2.
    """
    setting, point = network(outputs)
    weights = point.theta.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(sharpness(setting.f, weights, setting.x), weights)
    errors, rates = [], (2e-3, 1e-3)
    model = rates[0] * float(torch.linalg.eigvalsh(point.k)[-1]) / len(setting.x)
    for eta in rates:
        expected = -(eta**2 * setting.sigma**2 / (4 * setting.batch)) * tangent(point, gradient)
        found, _ = drift(replace(setting, eta=eta), point)
        errors.append(float((found - expected).norm() / expected.norm()))
    assert errors[1] < model
    assert errors[0] / errors[1] == pytest.approx(2, rel=model)


def test_uv_follows_its_pathwise_law():
    """f = uv: u² − v² shrinks by eta² E r² = eta² sigma²/(1 − eta (u²+v²)/2) a step (C16, theory.md §2)."""
    setting, theta = product_network(0.1, 0.3)
    point = project(setting.f, theta, setting.x, setting.y)
    velocity, c = drift(setting, point)
    u, v = (float(value) for value in point.theta)
    h = u**2 + v**2
    assert 2 * (u * velocity[0] - v * velocity[1]) == pytest.approx(-(0.1**2) * 0.09 / (1 - 0.05 * h) * (u**2 - v**2))
    assert float(c[0, 0]) + 0.09 == pytest.approx(0.09 / (1 - 0.05 * h), rel=1e-10)


def test_uv_integrated_is_the_ode_of_one_variable():
    from scipy.integrate import solve_ivp

    setting, theta = product_network(0.1, 0.3)
    steps = np.array([0.0, 300.0, 1500.0])
    path = integrate(setting, theta, steps, tolerance=0.01)

    def slope(_, difference):
        h = np.sqrt(difference**2 + 4)
        return -0.01 * 0.09 / (1 - 0.05 * h) * difference

    exact = solve_ivp(slope, (0, 1500), [4 - 0.25], t_eval=steps, rtol=1e-10, atol=1e-12).y[0]
    found = (path.theta[:, 0] ** 2 - path.theta[:, 1] ** 2).numpy()
    np.testing.assert_allclose(found, exact, rtol=2e-4)
    assert path.error < 1e-3


def test_integration_converges_and_its_own_error_is_honest():
    setting, point = network()
    steps = np.array([0.0, 4000.0])
    fine = integrate(setting, point.theta, steps, tolerance=1e-3)
    length = float((fine.theta[-1] - fine.theta[0]).norm())
    previous = np.inf
    for tolerance in (0.3, 0.05):
        path = integrate(setting, point.theta, steps, tolerance=tolerance)
        error = float((path.theta[-1] - fine.theta[-1]).norm()) / length
        assert error < previous
        assert error < 2 * path.error + 1e-6
        previous = error


def test_integration_stays_on_m():
    setting, point = network()
    path = integrate(setting, point.theta, np.array([0.0, 1000.0, 2000.0]), tolerance=0.05)
    for theta in path.theta:
        assert float((setting.f(theta, setting.x) - setting.y).abs().max()) <= 1e-11
    assert (np.diff(path.sharpness) < 0).all()


def test_without_noise_or_without_depth_nothing_moves():
    setting, point = network()
    assert float(drift(replace(setting, sigma=0.0), point)[0].norm()) == 0
    data = small.examples(n=3, classes=3)
    linear = small.mlp(widths=())
    x, y = torch.as_tensor(data.x), torch.as_tensor(data.targets(data.labels))
    flat = project(linear, small.weights(linear), x, y)
    assert float(drift(Setting(linear, x, y, 0.05, 2, 0.2), flat)[0].norm()) < 1e-15


def test_above_the_stability_limit_there_is_no_law():
    setting, point = network()
    top = float(torch.linalg.eigvalsh(point.k)[-1]) / 6
    with pytest.raises(InputError, match="mean-square stability limit"):
        drift(replace(setting, eta=2.0 / top), point)


def test_steps_that_do_not_increase_are_refused():
    setting, point = network()
    with pytest.raises(InputError, match="do not increase"):
        integrate(setting, point.theta, np.array([0.0, 5.0, 5.0]), tolerance=0.1)


def test_the_law_predicts_sgd_on_digit_parity():
    """4 runs of 4000 steps: tr H and test loss within 1 %, the path within 5 % and what 4 short runs explain.

    The sampling part is the standard error of the mean path; half more is beyond any plausible draw in 81 dimensions.
    """
    found, states = compare(Bench.of(CASE), lambda _: None)
    assert abs(found.trace_error[-1]) < 0.01
    assert abs(found.test_error[-1]) < 0.01
    moved = 1 - found.law.sharpness[-1] / found.law.sharpness[0]
    assert moved > 0.03  # the prediction that nothing moves would fail
    assert found.distance[-1] < 0.05 + 1.5 * found.sampling[-1]
    assert 0 < found.sampling[-1] < 0.1
    curve = late_decay(Bench.of(CASE), found, states, factor=20.0, branch_steps=500, report=lambda _: None)
    sem = curve.simulated.std(axis=1, ddof=1) / np.sqrt(CASE.runs)
    assert (np.abs(curve.predicted / curve.simulated.mean(axis=1) - 1) < 0.01 + 3 * sem).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": 3}, "classes = 3 is neither 2"),
        ({"sigma": 0.0}, "sigma = 0 is not positive"),
        ({"runs": 1}, "runs = 1 leave no standard error"),
    ],
)
def test_bad_cases_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        replace(CASE, **change)


@pytest.mark.full
@pytest.mark.parametrize(
    "change",
    [
        {"n": 60, "widths": (40,), "sigma": 0.1, "steps": 40_000},
        {"n": 100, "widths": (900,), "sigma": 0.5, "steps": 30_000},
        {"n": 20, "widths": (40,), "sigma": 0.05, "steps": 160_000, "classes": 10},
    ],
    ids=["p = 881", "p = 19801", "ten outputs"],
)
def test_the_law_reaches_its_accuracy_at_length(change):
    """eta λ_max/2 = .3: tr H and test loss within 1 %, path within 5 %, where the test loss moves.

    With ten outputs sigma = .1 is beyond the law's first order: docs/howto/runs/ten-outputs.txt.
    """
    found, _ = compare(Bench.of(replace(CASE, components=20, batch=5, records=3, runs=8, **change)), lambda _: None)
    assert np.abs(found.trace_error).max() < 0.01
    assert np.abs(found.test_error).max() < 0.01
    assert found.distance[-1] < 0.05
    assert found.law_test_loss[-1] < 0.9 * found.law_test_loss[0]


def test_the_jacobian_at_the_projection_is_the_jacobian_there():
    setting, point = network()
    np.testing.assert_allclose(point.a, jacobian(setting.f, point.theta, setting.x), rtol=1e-13)


def test_where_the_speed_jumps_the_integration_ends_and_its_error_says_so(monkeypatch):
    """A ReLU network: no stride is accurate at a kink, so the shortest one is taken and counted as error."""
    monkeypatch.setattr(slow_law, "_LEAST_STRIDE", 1 / 8)
    data = small.examples(classes=2, n=5)
    model = small.mlp(widths=(12,), outputs=1, activation="relu")
    x, y = torch.as_tensor(data.x), torch.as_tensor(data.targets(data.labels))
    start = project(model, small.weights(model), x, y)
    setting = Setting(model, x, y, 0.6 * 5 / float(torch.linalg.eigvalsh(start.k)[-1]), 2, 0.3)
    path = integrate(setting, start.theta, np.array([0.0, 3000.0]), tolerance=1e-9)
    assert float((model(path.theta[-1], x) - y).abs().max()) <= 1e-11
    assert path.error > 1e-9
