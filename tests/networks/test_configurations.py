"""The paper's configurations start: their learning rate goes with the scale of their first weights."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from numerics.networks.configurations import named  # noqa: E402
from numerics.networks.data import standardised  # noqa: E402
from numerics.networks.train import DivergedError, Program, Replicas  # noqa: E402


def photographs():
    """scikit-learn's two photographs cut into 1900 images of CIFAR's size, classes by brightness."""
    from sklearn.datasets import load_sample_images

    corners = [(row, column) for row in range(0, 395, 16) for column in range(0, 608, 16)]
    cut = [image[r : r + 32, c : c + 32] for image in load_sample_images().images for r, c in corners]
    images = np.stack(cut).transpose(0, 3, 1, 2) / np.float32(255)
    labels = np.argsort(np.argsort(images.mean(axis=(1, 2, 3)))) * 10 // len(images)
    order = np.random.default_rng(0).permutation(len(images))
    train, held_out = order[:1500], order[1500:]
    return standardised(images[train], labels[train], images[held_out], labels[held_out], 10)


def losses(chosen, steps):
    examples = photographs()
    plan = chosen.plan(kinds=("none",), full_batch=False, seed=0)
    replicas = Replicas((0,), (chosen.eta,), ("none",), 0.0, False)
    program = Program(chosen.model(examples), examples, plan.recipe, replicas, dtype=torch.float32, stream=0)
    return program.advance(program.start(gain=chosen.gain), steps)[1][:, 0]


@pytest.mark.full
@pytest.mark.parametrize("name", ["cifar10", "cifar10-small"])
def test_the_papers_learning_rate_lowers_the_loss_on_photographs_and_not_from_larger_weights(name):
    found = losses(named(name), 30)  # VGG-11 stays at chance for twenty steps
    assert found[-3:].mean() < found[0]
    assert found.max() < 1.1 * found[0]
    with pytest.raises(DivergedError):
        losses(replace(named(name), gain=float(np.sqrt(2))), 12)
