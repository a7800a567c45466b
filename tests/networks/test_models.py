"""Networks: shapes, sizes, what is refused; configurations are complete."""

from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from numerics.errors import InputError  # noqa: E402
from numerics.networks.configurations import CONFIGURATIONS, made_small, named  # noqa: E402
from numerics.networks.flat import FlatModel  # noqa: E402
from numerics.networks.models import VGG11, VGG_SMALL, Architecture, build  # noqa: E402


@pytest.mark.parametrize(
    ("architecture", "inputs"),
    [
        (Architecture("mlp", (7, 5), "relu", 10), (20,)),
        (Architecture("mlp", (), "tanh", 1), (1, 8, 8)),
        (Architecture("cnn", (4, 6), "relu", 10), (1, 8, 8)),
        (Architecture("cnn", (4, 6), "gelu", 10), (1, 40)),
        (Architecture("vgg", VGG_SMALL, "relu", 10), (1, 28, 28)),
        (Architecture("vgg", VGG11, "relu", 10), (3, 32, 32)),
    ],
)
def test_outputs_are_one_row_per_example(architecture, inputs):
    model = FlatModel(build(architecture, inputs))
    theta = torch.as_tensor(model.initial(0, gain=1.0)).float()
    x = torch.zeros(2, *inputs)
    outputs = model(theta, x)
    assert outputs.shape == (2, architecture.outputs)
    assert not any(isinstance(layer, torch.nn.modules.batchnorm._BatchNorm) for layer in model.module.modules())


def test_vgg11_has_its_published_size_without_batch_norm():
    """Eight 3×3 convolutions 3→64→128→256→256→512⁴ and one 512→10 layer (Simonyan, Zisserman 2015, A)."""
    widths = [3, 64, 128, 256, 256, 512, 512, 512, 512]
    expected = sum(9 * a * b + b for a, b in pairwise(widths)) + 512 * 10 + 10
    assert FlatModel(build(Architecture("vgg", VGG11, "relu", 10), (3, 32, 32))).size == expected


def test_a_flat_vector_is_the_modules_own_weights():
    model = FlatModel(build(Architecture("cnn", (3,), "tanh", 4), (1, 6, 6)))
    x = torch.as_tensor(np.random.default_rng(0).standard_normal((5, 1, 6, 6))).float()
    torch.testing.assert_close(model(model.own_parameters(), x), model.module(x))
    assert model.own_parameters().numel() == model.size


def test_initial_weights_have_their_scale_and_seed():
    model = FlatModel(build(Architecture("mlp", (300,), "relu", 10), (100,)))
    theta = model.initial(1, gain=2.0)
    sampling = 4 / np.sqrt(2 * 300 * 100)  # a deviation from m normal values is off by 1/√(2m)
    assert theta[: 300 * 100].std() == pytest.approx(2 / np.sqrt(100), rel=sampling)
    assert (theta[300 * 100 : 300 * 101] == 0).all()
    np.testing.assert_array_equal(theta, model.initial(1, gain=2.0))
    assert not np.array_equal(theta, model.initial(2, gain=2.0))


@pytest.mark.parametrize(
    ("arguments", "inputs", "message"),
    [
        (("rnn", (3,), "relu", 2), (4,), "model = rnn is not known"),
        (("mlp", (3,), "sine", 2), (4,), "activation = sine is not known"),
        (("mlp", (3, 0), "relu", 2), (4,), "holds a width below 1"),
        (("cnn", (3,), "relu", 2), (4,), r"needs images, not inputs of shape \(4,\)"),
        (("vgg", (4, 0, 4, 0, 4, 0, 4, 0), "relu", 2), (1, 8, 8), "pools images of shape .* away"),
    ],
)
def test_bad_networks_are_refused(arguments, inputs, message):
    with pytest.raises(InputError, match=message):
        build(Architecture(*arguments), inputs)


@pytest.mark.parametrize("name", list(CONFIGURATIONS))
def test_every_configuration_makes_a_plan(name):
    chosen = named(name)
    plan = chosen.plan(kinds=("fresh",), full_batch=False, seed=0)
    assert plan.decay_steps[0] == 0
    assert plan.decay_steps[-1] == chosen.last_decay
    assert made_small(chosen).last_decay < chosen.last_decay
    assert chosen.origin


def test_the_published_small_variant_has_its_numbers():
    chosen = named("cifar10-small")
    assert (chosen.n_train, chosen.batch, chosen.eta, chosen.momentum) == (10 * 500, 125, 0.1, 0.9)
    assert (chosen.weight_decay, chosen.loss, chosen.architecture.widths) == (1e-4, "mse", VGG11)


def test_an_unknown_configuration_is_refused():
    with pytest.raises(InputError, match="configuration = imagenet is not known; choose one of digits"):
        named("imagenet")
