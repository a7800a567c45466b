"""Label-noise SGD of many networks at once: one stack of weights ``(R, p)``, one batched program per step.

A replica is a seed with its own noise level and learning rate. Replicas with the same seed see the same batches and
the same unit noise, so their differences are paired. Written from the definition of SGD; imports no law.
A batch whose activations would take too much memory is gone through in blocks of examples.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import grad_and_value, vmap

from numerics.errors import InputError
from numerics.networks.data import Array, Examples
from numerics.networks.draws import BLOCK, BatchSampler, flips, normals
from numerics.networks.flat import FlatModel
from numerics.networks.losses import LOSSES
from numerics.networks.pieces import footprint, for_training, spans

Rates = Callable[[NDArray[np.int64]], Array]
NOISES = ("fresh", "static", "none")


@dataclass(frozen=True)
class Recipe:
    """What all replicas of a program share: loss, batch size (None: all examples), sampling, momentum, weight decay."""

    loss: str
    batch: int | None
    epochs: bool
    momentum: float
    weight_decay: float

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise InputError("loss", self.loss, "is not known", f"choose one of {', '.join(LOSSES)}")
        if self.batch is not None and self.batch < 1:
            raise InputError("batch", self.batch, "is below 1", "give at least one example per step")
        if not 0 <= self.momentum < 1:
            raise InputError("momentum", self.momentum, "must lie in [0, 1)", "give a value such as 0.9")
        if self.weight_decay < 0:
            raise InputError("weight decay", self.weight_decay, "is negative", "give 0 or a small positive value")


@dataclass(frozen=True)
class Replicas:
    """One row per network: seed, learning rate, label-noise kind and size (deviation, or flip probability).

    ``flip`` says that noise exchanges classes with probability ``size`` instead of adding ``size``·N(0, 1).
    """

    seeds: tuple[int, ...]
    eta: tuple[float, ...]
    noise: tuple[str, ...]
    size: float
    flip: bool

    def __post_init__(self) -> None:
        if not len(self.seeds) == len(self.eta) == len(self.noise) > 0:
            counts = (len(self.seeds), len(self.eta), len(self.noise))
            raise InputError("replicas", counts, "differ in number or are none", "give one of each per replica")
        for kind in self.noise:
            if kind not in NOISES:
                raise InputError("noise", kind, "is not known", f"choose one of {', '.join(NOISES)}")
        if not min(self.eta) > 0:
            raise InputError("eta", min(self.eta), "is not positive", "give a positive learning rate")
        if self.size < 0 or (self.flip and self.size > 1):
            raise InputError("noise size", self.size, "must be ≥ 0, and ≤ 1 for flips", "give a valid size")

    def part(self, rows: slice) -> "Replicas":
        """Some of them."""
        return replace(self, seeds=self.seeds[rows], eta=self.eta[rows], noise=self.noise[rows])


@dataclass(frozen=True)
class State:
    """Weights and momentum ``(R, p)`` before step ``step``; with the seeds, that is the whole state of a run."""

    theta: Tensor
    velocity: Tensor
    step: int


class DivergedError(ArithmeticError):
    """A loss that is not finite: at which step, learning rate and seed."""

    def __init__(self, step: int, eta: float, seed: int) -> None:
        super().__init__(step, eta, seed)
        self.step, self.eta, self.seed = step, eta, seed

    def __str__(self) -> str:
        return f"loss is not finite at step {self.step} with learning rate {self.eta:.6g} (seed {self.seed}); lower eta"


class Program:
    """The training of R replicas on one training set; every step is one batched gradient.

    ``stream`` keeps programs with the same seeds independent (0 trunk, 1 branches).
    """

    def __init__(
        self,
        model: FlatModel,
        examples: Examples,
        recipe: Recipe,
        replicas: Replicas,
        *,
        dtype: torch.dtype,
        stream: int,
    ) -> None:
        self.model, self.examples, self.recipe, self.replicas = model, examples, recipe, replicas
        self.dtype, self.stream = dtype, stream
        n = len(examples.x)
        if recipe.batch is not None and recipe.batch > n:
            raise InputError("batch", recipe.batch, f"exceeds the {n} training examples", "lower it, or train on all")
        self._sampler = BatchSampler(n, recipe.batch or n, recipe.epochs)
        found = footprint(model, examples.shape)
        self._block = for_training(found, len(replicas.seeds), self._sampler.size, dtype.itemsize).examples
        self._x = torch.as_tensor(examples.x, dtype=dtype)
        self._unique, inverse = np.unique(replicas.seeds, return_inverse=True)
        self._row = torch.as_tensor(inverse)
        self._classes = np.stack([self._static_labels(seed, kind) for seed, kind in self._pairs()])
        self._targets = torch.as_tensor(np.stack([self._static_targets(k) for k in range(self.count)]), dtype=dtype)
        self._fresh = torch.tensor([kind == "fresh" for kind in replicas.noise], dtype=dtype) * replicas.size
        self._gradient = vmap(grad_and_value(self._loss), in_dims=(0, None if recipe.batch is None else 0, 0))

    @property
    def count(self) -> int:
        """R."""
        return len(self.replicas.seeds)

    def _pairs(self) -> Iterator[tuple[int, str]]:
        return zip(self.replicas.seeds, self.replicas.noise, strict=True)

    def _loss(self, theta: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """The share of a block of the batch in the batch's mean loss."""
        return LOSSES[self.recipe.loss](self.model(theta, x), y) * (len(y) / self._sampler.size)

    def _whole_gradient(self, theta: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients ``(R, p)`` and losses ``(R,)`` of the batches: sums over blocks of their examples."""
        parts = (self._gradient(theta, *self._rows(x, y, rows)) for rows in spans(self._sampler.size, self._block))
        gradient, loss = next(parts)
        for more, share in parts:
            gradient.add_(more)
            loss.add_(share)
        return gradient, loss

    def _static_labels(self, seed: int, kind: str) -> NDArray[np.int64]:
        """Classes ``(n,)`` of a replica, flipped once and for all where its noise is static flips."""
        labels = self.examples.labels
        if kind != "static" or not self.replicas.flip:
            return labels
        uniform, offset = flips(seed, 2, 0, labels.shape, self.examples.classes)
        return np.where(uniform[0] < self.replicas.size, (labels + offset[0]) % self.examples.classes, labels)

    def _static_targets(self, replica: int) -> Array:
        """Targets ``(n, C)`` of a replica, with Gaussian static noise where it has that."""
        y = self.examples.targets(self._classes[replica])
        if self.replicas.noise[replica] != "static" or self.replicas.flip:
            return y
        noise: Array = self.replicas.size * normals(self.replicas.seeds[replica], 2, 0, y.shape)[0]
        return y + noise

    def _rows(self, x: Tensor, y: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        """A block of the batch's examples; all replicas share x where the batch is the whole set."""
        return x[rows] if self.recipe.batch is None else x[:, rows], y[:, rows]

    def start(self, *, gain: float) -> State:
        """Every replica at the random weights of its seed, at rest."""
        theta = np.stack([self.model.initial(seed, gain=gain) for seed in self.replicas.seeds])
        weights = torch.as_tensor(theta, dtype=self.dtype)
        return State(weights, torch.zeros_like(weights), 0)

    def advance(self, state: State, steps: int, rates: Rates | None = None) -> tuple[State, Array]:
        """``steps`` SGD steps from ``state``: the new state, and each step's training loss ``(steps, R)``.

        ``rates`` maps step numbers ``(k,)`` to factors ``(k,)`` on the learning rates; default 1.
        Raises DivergedError at the first loss that is not finite; ``state`` itself is left as it was.
        """
        theta, velocity = state.theta.clone(), state.velocity.clone()
        losses, step, last = [], state.step, state.step + steps
        while step < last:
            stop = min(last, (step // BLOCK + 1) * BLOCK)
            factors = np.ones(stop - step) if rates is None else rates(np.arange(step, stop))
            losses.append(self._advance_block(theta, velocity, step, stop, factors))
            step = stop
        joined = torch.cat(losses).double().numpy() if losses else np.empty((0, self.count))
        return State(theta, velocity, step), joined

    def _advance_block(self, theta: Tensor, velocity: Tensor, step: int, stop: int, factors: Array) -> Tensor:
        """Steps ``step … stop − 1`` of one block, in place; losses ``(stop − step, R)``."""
        indices, noise, classes = self._draws(step // BLOCK)
        eta = torch.tensor(self.replicas.eta, dtype=self.dtype)[:, None]
        losses = []
        for k in range(step, stop):
            x, y = self._batch(k % BLOCK, indices, noise, classes)
            gradient, loss = self._whole_gradient(theta, x, y)
            if self.recipe.weight_decay:
                gradient.add_(theta, alpha=self.recipe.weight_decay)
            velocity.mul_(self.recipe.momentum).add_(gradient)
            theta.addcmul_(velocity, eta, value=-float(factors[k - step]))
            losses.append(loss)
        stacked = torch.stack(losses)
        self._refuse_divergence(stacked, step, factors)
        return stacked

    def _draws(self, block: int) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Indices ``(BLOCK, R, B)``, and noise ``(BLOCK, R, B, C)`` or flip shifts ``(BLOCK, R, B)`` of a block."""
        seeds = [int(seed) for seed in self._unique]
        indices = None
        if self.recipe.batch is not None:
            drawn = np.stack([self._sampler.indices(seed, self.stream, block) for seed in seeds], axis=1)
            indices = torch.as_tensor(drawn)[:, self._row]
        if not self._fresh.any():
            return indices, None, None
        shape = (self._sampler.size, self._targets.shape[-1])
        if self.replicas.flip:
            return indices, None, self._shifts(seeds, block, shape[:1])
        unit = np.stack([normals(seed, self.stream, block, shape) for seed in seeds], axis=1)
        return indices, torch.as_tensor(unit, dtype=self.dtype)[:, self._row] * self._fresh[:, None, None], None

    def _shifts(self, seeds: list[int], block: int, shape: tuple[int, ...]) -> Tensor:
        drawn = [flips(seed, self.stream, block, shape, self.examples.classes) for seed in seeds]
        uniform = torch.as_tensor(np.stack([pair[0] for pair in drawn], axis=1))[:, self._row]
        offset = torch.as_tensor(np.stack([pair[1] for pair in drawn], axis=1))[:, self._row]
        return torch.where(uniform < self._fresh[:, None].double(), offset, 0)

    def _batch(
        self, k: int, indices: Tensor | None, noise: Tensor | None, shifts: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Inputs and noisy targets of step ``k`` of a block, ``(R, B, ...)`` and ``(R, B, C)``."""
        if indices is None:
            x, y = self._x, self._targets
        else:
            x, y = self._x[indices[k]], self._targets[torch.arange(self.count)[:, None], indices[k]]
        if noise is not None:
            return x, y + noise[k]
        return x, y if shifts is None else _flipped(y, shifts[k])

    def _refuse_divergence(self, losses: Tensor, step: int, factors: Array) -> None:
        bad = torch.nonzero(~torch.isfinite(losses))
        if len(bad):
            at, replica = (int(value) for value in bad[0])
            eta = self.replicas.eta[replica] * float(factors[at])
            raise DivergedError(step + at, eta, self.replicas.seeds[replica])


def _flipped(y: Tensor, shifts: Tensor) -> Tensor:
    """One-hot rows ``(R, B, C)`` rolled by their shift, or ±1 columns with their sign changed."""
    classes = y.shape[-1]
    if classes == 1:
        return torch.where(shifts[..., None] > 0, -y, y)
    position = (torch.arange(classes) - shifts[..., None]) % classes
    return torch.gather(y, -1, position)


def with_rates(replicas: Replicas, eta: tuple[float, ...]) -> Replicas:
    """The same replicas at other learning rates."""
    return replace(replicas, eta=eta)
