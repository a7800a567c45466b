"""What a late-decay experiment is: trunk, decay steps, branches, noise, precision, how often it is saved."""

from dataclasses import dataclass

import torch

from numerics.errors import InputError
from numerics.networks.train import Recipe, Replicas

PRECISIONS = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class Plan:
    """A late-decay experiment: what the trunk is, when branches leave it, and how they go on.

    ``kinds`` are label-noise kinds; each of them, with each of ``seeds``, is one replica of the trunk. A branch divides
    ``eta`` by ``factor`` at its decay step and runs ``branch_steps``, its momentum kept or reset.
    """

    recipe: Recipe
    seeds: tuple[int, ...]
    kinds: tuple[str, ...]
    eta: float
    noise: float
    flip: bool
    gain: float
    decay_steps: tuple[int, ...]
    path_steps: tuple[int, ...]
    factor: float
    branch_steps: int
    keep_momentum: bool
    precision: str
    save_every: int

    def __post_init__(self) -> None:
        if not self.decay_steps or list(self.decay_steps) != sorted(set(self.decay_steps)) or self.decay_steps[0] < 0:
            raise InputError("decay steps", self.decay_steps, "are not increasing", "list each step once, in order")
        if self.factor <= 1:
            raise InputError("decay factor", self.factor, "does not lower the learning rate", "give a factor above 1")
        if min(self.branch_steps, self.save_every) < 1:
            raise InputError("branch steps", self.branch_steps, "is below 1", "give at least one step")
        if self.precision not in PRECISIONS:
            raise InputError("precision", self.precision, "is not known", "choose float32 or float64")

    @property
    def replicas(self) -> Replicas:
        """The trunk's replicas, kind by kind, seeds within."""
        count = len(self.kinds) * len(self.seeds)
        kinds = tuple(kind for kind in self.kinds for _ in self.seeds)
        return Replicas(self.seeds * len(self.kinds), (self.eta,) * count, kinds, self.noise, self.flip)

    @property
    def branches(self) -> Replicas:
        """The branches' replicas: decay step by decay step, the trunk's replicas within."""
        trunk, times = self.replicas, len(self.decay_steps)
        rates = (self.eta / self.factor,) * (times * len(trunk.seeds))
        return Replicas(trunk.seeds * times, rates, trunk.noise * times, self.noise, self.flip)

    @property
    def work(self) -> int:
        """Steps of single networks, in trunk and branches together."""
        trunk, branches = len(self.replicas.seeds), len(self.branches.seeds)
        return trunk * self.saved_steps[-1] + branches * self.branch_steps

    @property
    def saved_steps(self) -> tuple[int, ...]:
        """The trunk's steps whose full state is kept: decay steps and path steps."""
        return tuple(sorted({0, *self.decay_steps, *self.path_steps}))
