"""How much the batched programs gain over one network after another, measured here and now at the same thread count.

The rival is ordinary torch: a module, autograd, ``torch.optim.SGD``; for landscapes, one forward pass per grid point
with the weights copied into the module. Both sides do the same arithmetic on the same data.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn.utils import vector_to_parameters

from numerics.networks.configurations import Configuration
from numerics.networks.data import Examples
from numerics.networks.flat import FlatModel
from numerics.networks.landscape import Field
from numerics.networks.losses import LOSSES
from numerics.networks.pieces import TRAINING, footprint, for_training
from numerics.networks.plan import PRECISIONS
from numerics.networks.planes import random_plane
from numerics.networks.train import Program, Replicas

ROUNDS = 5


@dataclass(frozen=True)
class Gain:
    """Seconds per unit of work, batched and one after another: medians over rounds, taken in turn."""

    batched: float
    single: float

    @property
    def ratio(self) -> float:
        """How many times faster the batched program is."""
        return self.single / self.batched


def _median_seconds(first: Callable[[], int], second: Callable[[], int]) -> Gain:
    """Both do work and return how much; timed alternately after one warm-up each."""
    first(), second()
    times = np.array([[_seconds(first), _seconds(second)] for _ in range(ROUNDS)])
    return Gain(*(float(value) for value in np.median(times, axis=0)))


def _seconds(work: Callable[[], int]) -> float:
    started = time.perf_counter()
    done = work()
    return (time.perf_counter() - started) / done


def training_gain(configuration: Configuration, examples: Examples, *, seed: int, steps: int) -> Gain:
    """Seconds per network and step: as many branches at once as fit, against each in plain torch."""
    model = configuration.model(examples)
    plan = configuration.plan(kinds=("fresh", "none"), full_batch=False, seed=seed)
    dtype = PRECISIONS[plan.precision]
    size = for_training(footprint(model, examples.shape), len(plan.branches.seeds), configuration.batch, dtype.itemsize)
    branches = plan.branches.part(slice(0, size.networks))
    program = Program(model, examples, plan.recipe, branches, dtype=dtype, stream=1)
    state = program.start(gain=configuration.gain)

    def batched() -> int:
        program.advance(state, steps)
        return steps * program.count

    return _median_seconds(batched, _plain_training(configuration, examples, branches, dtype, steps))


def _plain_training(
    configuration: Configuration, examples: Examples, replicas: Replicas, dtype: torch.dtype, steps: int
) -> Callable[[], int]:
    model = configuration.model(examples)
    module = model.module.to(dtype)
    vector_to_parameters(torch.as_tensor(model.initial(0, gain=configuration.gain), dtype=dtype), module.parameters())
    optimizer = torch.optim.SGD(module.parameters(), lr=replicas.eta[0], momentum=configuration.momentum)
    x = torch.as_tensor(examples.x, dtype=dtype)
    y = torch.as_tensor(examples.targets(examples.labels), dtype=dtype)
    loss = LOSSES[configuration.loss]

    def plain() -> int:
        for _ in range(steps):
            rows = torch.randint(len(x), (configuration.batch,))
            targets = y[rows]
            if not configuration.flip:
                targets = targets + configuration.noise * torch.randn_like(targets)
            optimizer.zero_grad()
            loss(module(x[rows]), targets).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return steps

    return plain


def landscape_gain(configuration: Configuration, examples: Examples, *, seed: int, points: int, held_out: int) -> Gain:
    """Seconds per grid point, train and held-out loss: batched, against one forward pass per point in a loop."""
    model = configuration.model(examples)
    field = Field.of(model, examples, configuration.loss, torch.float32, held_out=held_out)
    origin = torch.as_tensor(model.initial(seed, gain=configuration.gain), dtype=torch.float32)
    plane = random_plane(origin, seed=seed)
    coordinates = torch.linspace(-1, 1, 2 * points).reshape(points, 2)

    def batched() -> int:
        for part in (0, 1):
            field.over(plane, part)(coordinates)
        return points

    return _median_seconds(batched, _plain_grid(model, field, plane.points(coordinates)))


def _plain_grid(model: FlatModel, field: Field, weights: torch.Tensor) -> Callable[[], int]:
    module = model.module.float()
    loss = LOSSES[field.loss]

    def plain() -> int:
        with torch.no_grad():
            for row in weights:
                vector_to_parameters(row, module.parameters())
                for x, y in zip(field.inputs, field.targets, strict=True):
                    loss(module(x), y).item()
        return len(weights)

    return plain


def lines(configuration: Configuration, *, folder: Path | None, seed: int) -> list[str]:
    """Both gains as text."""
    examples = configuration.examples(seed=seed, folder=folder)
    training = training_gain(configuration, examples, seed=seed, steps=64)
    points = max(1, min(256, TRAINING // (4 * configuration.model(examples).size)))  # the rival holds their weights
    grids = {
        count: landscape_gain(configuration, examples, seed=seed, points=points, held_out=count)
        for count in (len(examples.x), len(examples.x_test))
    }
    threads = f"{torch.get_num_threads()} threads"
    return [
        f"training, {configuration.name}, {threads}: {1e6 * training.batched:.1f} µs per network and step batched, "
        f"{1e6 * training.single:.1f} µs one after another: {training.ratio:.1f} times faster",
        *(
            f"landscape, {configuration.name}, {len(examples.x)} training and {count} held-out examples, {threads}: "
            f"{1e3 * gain.batched:.3f} ms per point batched, {1e3 * gain.single:.3f} ms one after another: "
            f"{gain.ratio:.1f} times faster"
            for count, gain in grids.items()
        ),
    ]
