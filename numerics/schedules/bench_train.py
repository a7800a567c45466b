"""Training of many replicas at once for the benchmark: seeds times learning rates as one stack, one policy each.

Replicas with the same seed see the same weights at the start, batches and label noise under every policy: paired.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from numerics.networks.draws import BLOCK, BatchSampler, flips, normals
from numerics.networks.losses import LOSSES
from numerics.networks.train import _flipped
from numerics.schedules.bench_models import StackedNetwork
from numerics.schedules.bench_tasks import Split, Task, model_of
from numerics.schedules.probe import probe_gradient_loss, probe_uniforms

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Watched:
    """A stack with its present weights, for policies that look at them."""

    stack: "Stack"
    theta: Tensor


class Policy(Protocol):
    """A way to set the learning rate of a stack of R replicas."""

    def factors(self, step: int) -> Array:
        """Learning rates of a step over the large ones: ``(R,)`` or a scalar array."""

    def after(self, step: int, losses: Tensor, watched: Watched) -> None:
        """Told the training losses ``(R,)`` after every step."""


@dataclass(frozen=True)
class Stack:
    """R = seeds x rates replicas of a task's network and the numbers they draw."""

    task: Task
    split: Split
    model: StackedNetwork
    seeds: tuple[int, ...]
    rates: Array

    @classmethod
    def of(cls, task: Task, split: Split, seeds: tuple[int, ...], rates: tuple[float, ...]) -> "Stack":
        """Rates outermost: replica r has seed r mod len(seeds)."""
        return cls(task, split, model_of(task, split), seeds, np.repeat(rates, len(seeds)))

    @property
    def count(self) -> int:
        """R."""
        return len(self.rates)

    def start(self) -> Tensor:
        """Weights ``(R, p)``, equal for equal seeds."""
        own = np.stack([self.model.initial(seed, self.task.gain) for seed in self.seeds])
        return torch.as_tensor(np.tile(own, (self.count // len(own), 1)), dtype=torch.float32)

    def block(self, block: int) -> tuple[Tensor, Tensor]:
        """Inputs ``(BLOCK, S, B, ...)`` and noisy targets ``(BLOCK, S, B, C)`` of one block of steps, S seeds."""
        task, split = self.task, self.split
        sampler = BatchSampler(len(split.x), task.batch, epochs=True)
        rows = np.stack([sampler.indices(seed, 0, block) for seed in self.seeds], axis=1)
        x, y = torch.as_tensor(split.x[rows], dtype=torch.float32), torch.as_tensor(split.y[rows], dtype=torch.float32)
        shape = (task.batch, y.shape[-1])
        if task.noise == "gauss":
            unit = np.stack([normals(seed, 0, block, shape) for seed in self.seeds], axis=1)
            y = y + task.size * torch.as_tensor(unit, dtype=torch.float32)
        if task.noise == "flip":
            drawn = [flips(seed, 0, block, shape[:1], max(split.classes, 2)) for seed in self.seeds]
            chance, offset = (torch.as_tensor(np.stack([pair[k] for pair in drawn], axis=1)) for k in (0, 1))
            shift = torch.where(chance < task.size, offset, 0)
            y = torch.stack([_flipped(rows, moved) for rows, moved in zip(y, shift, strict=True)])
        return x, y

    def losses(self, theta: Tensor, *, held: str) -> Array:
        """Clean loss ``(R,)`` on the part called valid, test or train."""
        parts = {"valid": ("x_valid", "y_valid"), "test": ("x_test", "y_test"), "train": ("x", "y")}
        x, y = (torch.as_tensor(getattr(self.split, name), dtype=torch.float32) for name in parts[held])
        with torch.no_grad():
            outputs = [self.model(part, x.expand(len(part), *x.shape)) for part in torch.split(theta, 8)]
        return np.asarray(
            torch.func.vmap(LOSSES[self.task.loss], in_dims=(0, None))(torch.cat(outputs), y).double().numpy()
        )

    def traces(self, theta: Tensor, probes: int) -> list[list[float]]:
        """tr H of every replica by each probe on the first B training rows: the stacked twin of `TraceProbe`."""
        x = torch.as_tensor(self.split.x[: self.task.batch], dtype=torch.float32)
        weights, values = theta.clone().requires_grad_(), []
        for probe in range(probes):
            drawn = torch.as_tensor(probe_uniforms(0, probe, (len(x), self.split.y.shape[1])), dtype=torch.float32)
            outputs = self.model(weights, x.expand(len(theta), *x.shape))
            total = torch.stack([probe_gradient_loss(one, drawn, self.task.loss) for one in outputs]).sum()
            (gradient,) = torch.autograd.grad(total, weights)
            values.append(gradient.square().sum(dim=1) * len(x))
        return [[float(value) for value in row] for row in torch.stack(values, dim=1)]


def train(stack: Stack, policy: Policy) -> Tensor:
    """SGD with momentum under a policy: final weights ``(R, p)``, NaN where a replica diverged."""
    theta = stack.start()
    velocity = torch.zeros_like(theta)
    rates = torch.as_tensor(stack.rates, dtype=torch.float32)

    def step(k: int, gradient: Tensor) -> None:
        velocity.mul_(stack.task.momentum).add_(gradient)
        eta = rates * torch.as_tensor(policy.factors(k), dtype=torch.float32)
        theta.addcmul_(velocity, eta[:, None], value=-1.0)

    _run(stack, policy, theta, lambda: theta, step)
    return theta


def train_schedule_free(stack: Stack, policy: Policy, beta: float = 0.9) -> Tensor:
    """Schedule-free SGD: gradients at y = (1 - beta) z + beta x, z -= gamma g, x the running mean of z; returns x.

    gamma = eta/(1 - momentum), the plain step that momentum SGD amounts to. Source: Defazio et al. 2024, without
    warm-up.
    """
    x = stack.start()
    z = x.clone()
    rates = torch.as_tensor(stack.rates, dtype=torch.float32) / (1 - stack.task.momentum)

    def step(k: int, gradient: Tensor) -> None:
        z.addcmul_(gradient, rates[:, None], value=-1.0)
        x.lerp_(z, 1 / (k + 1))

    _run(stack, policy, x, lambda: torch.lerp(z, x, beta), step)
    return x


def _run(stack: Stack, policy: Policy, theta: Tensor, where: Any, step: Any) -> None:
    copies = stack.count // len(stack.seeds)
    each = mean_losses(stack.task.loss)
    for k in range(stack.task.steps):
        if k % BLOCK == 0:
            inputs, targets = (part.repeat(1, copies, *[1] * (part.dim() - 2)) for part in stack.block(k // BLOCK))
        point = where().detach().requires_grad_()
        losses = each(stack.model(point, inputs[k % BLOCK]), targets[k % BLOCK])
        (gradient,) = torch.autograd.grad(losses.sum(), point)
        step(k, gradient)
        policy.after(k, losses.detach(), Watched(stack, theta))


def mean_losses(kind: str) -> Any:
    """Outputs and targets ``(R, b, C)`` to losses ``(R,)``, the same as `LOSSES` one by one."""
    return torch.func.vmap(LOSSES[kind])
