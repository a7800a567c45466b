"""The curvature probe: right in the mean, paired over steps, cheap, and without a trace in the run."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from numerics.errors import InputError  # noqa: E402
from numerics.networks.curvature import (  # noqa: E402
    gauss_newton_product,
    hessian_product,
    trace_exact,
    trace_hutchinson,
)
from numerics.networks.flat import FlatModel  # noqa: E402
from numerics.networks.losses import LOSSES  # noqa: E402
from numerics.schedules.probe import TraceProbe  # noqa: E402

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
CASES = [("squared", 3), ("mse", 3), ("cross-entropy", 4), ("cross-entropy", 1)]


def network(outputs):
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(5, 6), torch.nn.Tanh(), torch.nn.Linear(6, outputs)).double()
    return model, torch.randn(7, 5, dtype=torch.float64)


def exact_trace(model, x, kind, outputs):
    """tr of the Gauss-Newton matrix from p products with unit vectors."""
    flat = FlatModel(model)
    theta, y = flat.own_parameters(), torch.zeros(7, outputs, dtype=torch.float64)
    y[:, 0] = 1.0  # the first class, or the sign of a logit
    return trace_exact(gauss_newton_product(flat, LOSSES[kind], x, y, theta), theta)


@pytest.mark.parametrize(("kind", "outputs"), CASES)
def test_the_mean_over_probes_is_the_gauss_newton_trace(kind, outputs):
    model, x = network(outputs)
    values = np.array(TraceProbe(model, x, kind, 7, probes=1500)())
    sem = values.std(ddof=1) / np.sqrt(len(values))
    truth = exact_trace(model, x, kind, outputs)
    assert abs(values.mean() - truth) < 4 * sem  # false alarm 6e-5
    assert sem < 0.06 * truth


def test_where_the_network_interpolates_it_is_hutchinsons_trace_of_the_hessian():
    model, x = network(2)
    flat = FlatModel(model)
    theta, y = flat.own_parameters(), model(x).detach()
    hessian = hessian_product(flat, LOSSES["squared"], x, y, theta)
    told = trace_hutchinson(hessian, theta, probes=400, seed=0)
    values = np.array(TraceProbe(model, x, "squared", 7, probes=400)())
    assert abs(values.mean() - told.value) < 4 * np.hypot(told.sem, values.std(ddof=1) / 20)


def test_a_probe_leaves_weights_gradients_mode_and_random_state_alone():
    model, x = network(3)
    model.append(torch.nn.Dropout(0.5))
    model(x).sum().backward()
    before = [weight.grad.clone() for weight in model.parameters()]
    state, weights = torch.get_rng_state(), torch.nn.utils.parameters_to_vector(model.parameters()).clone()
    probe = TraceProbe(model, x, "cross-entropy", 7)
    assert probe() == probe()
    assert model.training
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(weights, torch.nn.utils.parameters_to_vector(model.parameters()))
    assert all(torch.equal(a, weight.grad) for a, weight in zip(before, model.parameters(), strict=True))


def test_residuals_are_examples_times_outputs():
    model, x = network(3)
    assert TraceProbe(model, x, "mse", 50).residuals() == 150


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "hinge"}, "loss kind = hinge is not known; choose one of squared, mse, cross-entropy"),
        ({"probes": 0}, "probes = 0 measures nothing"),
        ({"examples": 3}, "examples = 3 is below the 7 inputs of the probe; give the number of examples"),
    ],
)
def test_a_senseless_probe_is_refused(change, message):
    model, x = network(3)
    with pytest.raises(InputError) as refusal:
        TraceProbe(**({"model": model, "inputs": x, "kind": "mse", "examples": 7} | change))
    assert message in str(refusal.value)
