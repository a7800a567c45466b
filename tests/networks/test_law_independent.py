"""Issue 4: the law compared with an independent implementation on another network (a sine network, plain numpy)."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from numerics.networks.flat import FlatModel  # noqa: E402
from numerics.networks.manifold import project  # noqa: E402
from numerics.networks.slow_law import Setting, drift, integrate  # noqa: E402
from tests.networks import sine_network  # noqa: E402

N, D, UNITS, BATCH, SIGMA = 6, 3, 10, 2, 0.1
STOPS = np.array([1000.0, 4000.0])
TOLERANCE = 0.01


class Sine(torch.nn.Module):
    """The same network for torch's automatic differentiation."""

    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.zeros(UNITS, D))
        self.b = torch.nn.Parameter(torch.zeros(UNITS))
        self.v = torch.nn.Parameter(torch.zeros(UNITS))

    def forward(self, x):
        return (torch.sin(x @ self.w.T + self.b) @ self.v)[:, None]


@pytest.fixture(scope="module")
def problem():
    """Data, a point of M found by numpy, and the learning rate with eta λ_max/2 = .3 there."""
    source = np.random.default_rng(3)
    x, y = source.standard_normal((N, D)), source.choice([-1.0, 1.0], size=N)
    theta = sine_network.on_manifold(0.8 * source.standard_normal(UNITS * (D + 2)), x, y)
    a = sine_network.gradients(theta, x)
    return x, y, theta, 2 * 0.3 * N / np.linalg.eigvalsh(a @ a.T)[-1]


def setting(problem):
    x, y, _, eta = problem
    return Setting(FlatModel(Sine()), torch.as_tensor(x), torch.as_tensor(y)[:, None], eta, BATCH, SIGMA)


def test_the_hand_written_derivatives_are_those_of_finite_differences(problem):
    """Central differences of step 1e-5: rounding 1e-16/1e-5 and truncation 1e-10, both far below 1e-8."""
    x, _, theta, _ = problem
    step = 1e-5 * np.eye(len(theta))
    slopes = [(sine_network.outputs(theta + s, x) - sine_network.outputs(theta - s, x)) / 2e-5 for s in step]
    np.testing.assert_allclose(sine_network.gradients(theta, x), np.transpose(slopes), atol=1e-8)
    bends = [(sine_network.gradients(theta + s, x[:1]) - sine_network.gradients(theta - s, x[:1])) / 2e-5 for s in step]
    np.testing.assert_allclose(sine_network.hessian(theta, x[0]), np.array(bends)[:, 0], atol=1e-8)


def test_the_drift_is_the_independent_one(problem):
    """Rounding only: condition number of K (below 1e3) times 1e-12, the tolerance of C's iterative solution."""
    x, _, theta, eta = problem
    law = setting(problem)
    found, _ = drift(law, project(law.f, torch.as_tensor(theta), law.x, law.y))
    expected = sine_network.drift(theta, x, eta, BATCH, SIGMA)
    assert np.linalg.norm(found.numpy() - expected) < 1e-9 * np.linalg.norm(expected)


def test_the_integrated_path_is_the_independent_one(problem):
    """Part of the tolerance: the library's own error, and the Runge–Kutta path's (its change on halved steps)."""
    x, y, theta, eta = problem
    paths = [sine_network.path(theta, x, y, eta, BATCH, SIGMA, STOPS, pieces) for pieces in (10, 20)]
    found = integrate(setting(problem), torch.as_tensor(theta), np.array([0.0, *STOPS]), tolerance=TOLERANCE)
    length = np.linalg.norm(paths[1][-1] - theta)
    reference = np.linalg.norm(paths[1] - paths[0], axis=1).max() / length
    off = np.linalg.norm(found.theta[1:].numpy() - paths[1], axis=1).max() / length
    assert off < found.error + reference + 1e-9
    traces = [np.square(sine_network.gradients(row, x)).sum() / N for row in paths[1]]
    np.testing.assert_allclose(found.sharpness[1:], traces, rtol=found.error + reference)
    assert traces[-1] < 0.97 * np.square(sine_network.gradients(theta, x)).sum() / N


def test_independent_sgd_follows_the_law(problem):
    """12 runs of 4000 steps: tr H on M against the law within 4.5 standard errors; standing still is excluded."""
    x, y, theta, eta = problem
    found = integrate(setting(problem), torch.as_tensor(theta), np.array([0.0, STOPS[-1]]), tolerance=TOLERANCE)
    traces = []
    for seed in range(12):
        end = sine_network.sgd(theta, x, y, eta, BATCH, SIGMA, int(STOPS[-1]), seed)
        traces.append(np.square(sine_network.gradients(sine_network.on_manifold(end, x, y), x)).sum() / N)
    sem = np.std(traces, ddof=1) / np.sqrt(len(traces))
    assert abs(np.mean(traces) - found.sharpness[-1]) < 4.5 * sem
    assert found.sharpness[0] - np.mean(traces) > 9 * sem
