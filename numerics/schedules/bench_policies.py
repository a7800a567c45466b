"""The policies that the benchmark compares, each for a stack of replicas."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from numerics.schedule import Constant, Cosine, Linear, Schedule, WarmupStableDecay
from numerics.schedules.average import RunningMean
from numerics.schedules.controller import Controller
from numerics.schedules.rule import Rule

Array = NDArray[np.float64]
PROBES = 4
#: looks at the validation loss per run, for the policies that look
LOOKS = 50


@dataclass(frozen=True)
class Closed:
    """A schedule known beforehand, the same for all replicas."""

    schedule: Schedule

    def factors(self, step: int) -> Array:
        """Its closed form."""
        return self.schedule(step)

    def after(self, step: int, losses: Any, watched: Any) -> None:
        """Nothing to learn."""


class Late:
    """Our `Controller`, one per replica, with its curvature probes; it may look at held-out data as often as
    `Plateau`, at the mean of the recent weights.
    """

    def __init__(self, stack: Any, rule: Rule, *, looks: bool) -> None:
        self.every = max(1, stack.task.steps // LOOKS) if looks else 0
        residuals = len(stack.split.x) * stack.split.y.shape[1]
        self.mean: RunningMean | None = None
        effective = stack.rates / (1 - stack.task.momentum)
        self.controllers = [Controller(rule, eta=float(e), residuals=residuals, probes=PROBES) for e in effective]

    def factors(self, step: int) -> Array:
        """Each replica's own."""
        return np.array([controller.factor for controller in self.controllers])

    def after(self, step: int, losses: Any, watched: Any) -> None:
        """Advance every controller; probe those that are due."""
        for controller, loss in zip(self.controllers, losses.tolist(), strict=True):
            controller.advance(loss)
        if self.every:
            self._look(step + 1, watched)
        due = [k for k, controller in enumerate(self.controllers) if controller.probe_due]
        if due:
            for k, values in zip(due, watched.stack.traces(watched.theta[due], PROBES), strict=True):
                self.controllers[k].measured(values)

    def _look(self, taken: int, watched: Any) -> None:
        """Sample the mean weights where that is due, and show the held-out loss there."""
        self.mean = self.mean or RunningMean([watched.theta])
        if taken >= self.mean.next:
            self.mean.sample(taken)
        if taken % self.every == 0:
            found = watched.stack.losses(self.mean.values[0], held="valid")
            for controller, held in zip(self.controllers, found, strict=True):
                controller.looked(float(held))


class Plateau:
    """torch's ReduceLROnPlateau on the validation loss, seen 50 times a run: factor 0.1, patience 5 looks."""

    def __init__(self, stack: Any) -> None:
        self.every = max(1, stack.task.steps // LOOKS)
        self.optimizers = [torch.optim.SGD([torch.zeros(1)], lr=1.0) for _ in range(stack.count)]
        kind = torch.optim.lr_scheduler.ReduceLROnPlateau
        self.schedulers = [kind(optimizer, factor=0.1, patience=5) for optimizer in self.optimizers]

    def factors(self, step: int) -> Array:
        """Each replica's own."""
        return np.array([optimizer.param_groups[0]["lr"] for optimizer in self.optimizers])

    def after(self, step: int, losses: Any, watched: Any) -> None:
        """Show torch's scheduler the validation loss."""
        if (step + 1) % self.every == 0:
            for scheduler, loss in zip(self.schedulers, watched.stack.losses(watched.theta, held="valid"), strict=True):
                scheduler.step(float(loss))


def _wsd(fraction: float) -> Callable[[Any], Any]:
    return lambda stack: Closed(WarmupStableDecay.from_fractions(1.0, stack.task.steps, 0.0, fraction, 0.0))


POLICIES: dict[str, Callable[[Any], Any]] = {
    "late decay": lambda stack: Late(stack, Rule(total=stack.task.steps), looks=True),
    "late decay, blind": lambda stack: Late(stack, Rule(total=stack.task.steps), looks=False),
    "constant": lambda stack: Closed(Constant(1.0)),
    "cosine": lambda stack: Closed(Cosine(1.0, stack.task.steps, 0.0)),
    "linear": lambda stack: Closed(Linear(1.0, stack.task.steps, 0.0)),
    "WSD 10%": _wsd(0.1),
    "WSD 20%": _wsd(0.2),
    "plateau": Plateau,
    "schedule-free": lambda stack: Closed(Constant(1.0)),
}
