"""Small data sets and networks that several tests use."""

import numpy as np
import torch

from numerics.networks.data import Examples
from numerics.networks.flat import FlatModel
from numerics.networks.models import Architecture, build


def examples(classes=3, n=12, features=4, held_out=9, seed=0):
    """Gaussian inputs with class-dependent means."""
    source = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    labels_test = np.arange(held_out) % classes
    means = source.standard_normal((classes, features))
    x = means[labels] + 0.5 * source.standard_normal((n, features))
    x_test = means[labels_test] + 0.5 * source.standard_normal((held_out, features))
    return Examples(x, labels, x_test, labels_test, classes)


def mlp(inputs=4, widths=(5,), outputs=3, activation="tanh"):
    """An MLP on flat inputs."""
    return FlatModel(build(Architecture("mlp", widths, activation, outputs), (inputs,)))


def weights(model, seed=0, gain=1.0):
    """Random weights ``(p,)`` in double precision, biases included."""
    drawn = torch.as_tensor(model.initial(seed, gain=gain))
    return drawn + 0.1 * torch.as_tensor(np.random.default_rng(seed).standard_normal(len(drawn)))
