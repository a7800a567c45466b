"""`LateDecay`: a torch learning-rate scheduler that holds the rate, watches the run, and decays once.

scheduler = LateDecay(optimizer, Rule(total=10_000), probe=TraceProbe(model, inputs, "cross-entropy", examples=50_000))
for inputs, targets in batches:
    loss = ...
    loss.backward(); optimizer.step(); optimizer.zero_grad()
    scheduler.observe(loss)
    scheduler.step()
"""

import logging
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from numerics.errors import InputError
from numerics.schedules.average import RunningMean
from numerics.schedules.controller import Controller, Phase, mark_of, refuse_other
from numerics.schedules.probe import TraceProbe
from numerics.schedules.rule import Rule

#: losses read at a time while nothing can happen
_TOGETHER = 64
_NEVER = 1 << 62
_LOG = logging.getLogger("latedecay")


class LateDecay(LRScheduler):
    """The rate of a step is base rate times `Rule.factor`, a closed form of the step and of one decision, made once.

    Without a probe the curvature is unknown: a budget is then required and the cooldown has its longest length. With
    ``looks`` it keeps a mean of the weights (one copy of them), and `look` may begin the decay earlier. Counts
    optimizer steps: call ``step()`` after every ``optimizer.step()``. Raises InputError where it is called once per
    epoch, given an epoch, driven past its budget, or handed the state of another schedule.
    """

    def __init__(
        self, optimizer: Optimizer, rule: Rule, *, probe: TraceProbe | None = None, looks: bool = False
    ) -> None:
        self.rule, self.probe = rule, probe
        group = optimizer.param_groups[0]
        momentum = group.get("momentum", group.get("betas", (0.0,))[0] if "momentum" not in group else 0.0)
        adaptive = "betas" in group  # Adam's steps are not gradient steps: no relaxation time follows from tr H
        rate = float(group.get("initial_lr", group["lr"])) / (1 - momentum)
        residuals = None if probe is None else probe.residuals()
        self.controller = Controller(rule, eta=rate, residuals=residuals, probes=0 if probe is None else probe.probes)
        if adaptive:
            self.controller.relaxes = False
        self._shown: list[Tensor | float] = []
        self._waiting: list[list[Tensor | float]] = []
        self._event = self._taken = 0
        self._handle = optimizer.register_step_post_hook(_counter(weakref.ref(self)))
        self._factor = float("nan")
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        self._mean = RunningMean(weights) if looks else None
        self._sampling = 0 if looks else _NEVER
        super().__init__(optimizer)

    def observe(self, loss: Tensor | float) -> None:
        """Show the training loss of a step (of each part of it, where gradients are accumulated).

        It is read later, together with others: no step waits for the device.
        """
        self._shown.append(loss.detach() if isinstance(loss, Tensor) else loss)

    def look(self, evaluate: Callable[[], Tensor | float]) -> float:
        """Show the held-out loss that ``evaluate()`` finds, now and then, about 50 times a run.

        It is called with the mean of the recent weights in the model: the loss there is what a decay would end with.
        Once it has stopped falling the decay begins, whatever the budget. Returns the loss. Raises InputError for a
        scheduler made without ``looks=True``, which keeps no mean.
        """
        if self._mean is None:
            remedy = "make the scheduler with looks=True: it then keeps a mean of the weights"
            raise InputError("looks", False, "leaves no mean weights to look at", remedy)
        self._read()
        with self._mean.inside(), torch.no_grad():
            found = float(evaluate())
        self.controller.looked(found)
        self._event, self._sampling = 0, self._next_sample
        return found

    def decay_now(self) -> None:
        """Begin the cooldown with the next step: for a run that has to end before the monitor would decay."""
        self._read()
        self.controller.decay_now()
        self._event, self._sampling = 0, self._next_sample

    def step(self, epoch: int | None = None) -> None:
        """After every optimizer step: set the learning rate of the next one."""
        if epoch is not None:
            remedy = "call step() without arguments after every optimizer.step()"
            raise InputError("epoch", epoch, "was given to a schedule that counts optimizer steps, not epochs", remedy)
        if self._is_initial:
            super().step()
            return
        if self._taken > 1:
            self._refuse_epochs()
        self._taken = 0
        self._waiting.append(self._shown)
        self._shown = []
        self.last_epoch += 1
        self._step_count += 1
        if self.last_epoch >= self._sampling and self._mean is not None:
            self._mean.sample(self.last_epoch)
            self._sampling = self._next_sample
        if self.last_epoch >= self._event:
            self._advance()

    def _refuse_epochs(self) -> None:
        rule = "says that step() is called once per epoch, while this schedule counts optimizer steps"
        remedy = "call it after every optimizer.step() (Lightning: interval='step')"
        raise InputError("optimizer steps between two scheduler steps", self._taken, rule, remedy)

    def _refuse_beyond(self, total: int) -> None:
        remedy = "count the budget in optimizer steps, not epochs: epochs times batches per epoch"
        raise InputError("step", total + 1, f"lies outside the budget of {total} steps", remedy)

    def _advance(self) -> None:
        """Read the waiting losses, decide, and set the next step's learning rate."""
        decided = self.controller.decay_at is not None
        if self.rule.total is not None and self.last_epoch > self.rule.total:
            self._refuse_beyond(self.rule.total)
        self._read()
        if self.probe is not None and self.controller.probe_due:
            self.controller.measured(self.probe())
        if not decided and self.controller.decay_at is not None:
            where = f"decay at step {self.controller.decay_at}, over {self.controller.cooldown} steps"
            _LOG.warning("%s. %s", where, self.verdict)
        self._event = min(self.last_epoch + _TOGETHER, self.controller.quiet_until)
        self._sampling = self._next_sample
        self._set_rates()

    def _read(self) -> None:
        """Hand the losses of the steps taken so far to the controller."""
        if self._waiting:
            self.controller.advance(*_means(self._waiting))
            self._waiting = []

    @property
    def _next_sample(self) -> int:
        """The step after which the mean takes its next sample; none once the decay is decided."""
        return _NEVER if self._mean is None or self.controller.decay_at is not None else self._mean.next

    def _set_rates(self) -> None:
        factor = self.controller.factor
        if factor == self._factor:
            return
        self._factor = factor
        for group, rate in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def get_lr(self) -> list[float | Tensor]:
        """The next step's learning rate of every parameter group."""
        factor = self.controller.factor
        return [base * factor for base in self.base_lrs]

    _get_closed_form_lr = get_lr

    @property
    def phase(self) -> Phase:
        """I, II, cooldown or done."""
        self._read()
        return self.controller.phase

    @property
    def verdict(self) -> str:
        """What the monitor has to say, in one line."""
        self._read()
        return self.controller.verdict

    @property
    def mark(self) -> str:
        """SHA-256 of the rule, the large learning rates and the probe's size: what a state must agree with."""
        rates = [float(base) for base in self.base_lrs]
        return mark_of(self.rule.mark, rates, self.controller.probes, self.controller.residuals, self._mean is not None)

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers, texts and lists (with ``looks`` tensors too): loads with ``weights_only=True``."""
        self._read()
        return {
            "mark": self.mark,
            "last_epoch": self.last_epoch,
            "step_count": self._step_count,
            "shown": [float(loss) for loss in self._shown],
            "controller": self.controller.state(),
            "mean": None if self._mean is None else self._mean.state(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on exactly where the state was taken. Raises InputError for the state of another schedule."""
        refuse_other(str(state_dict.get("mark", "none")), self.mark)
        self.controller.restore(state_dict["controller"])
        if self._mean is not None:
            self._mean.restore(state_dict["mean"])
        self._sampling = self._next_sample
        self.last_epoch, self._step_count = state_dict["last_epoch"], state_dict["step_count"]
        self._shown, self._waiting = list(state_dict["shown"]), []
        self._event = self._taken = 0
        self._factor = float("nan")  # the optimizer may hold any rate
        self._set_rates()


def _means(steps: list[list[Tensor | float]]) -> list[float | None]:
    """The mean loss of each step's parts, None where none was shown; tensors are read in one go."""
    shown = [part for parts in steps for part in parts]
    if all(isinstance(part, Tensor) for part in shown) and shown:
        read = iter(torch.stack(shown).double().tolist())  # type: ignore[arg-type]
    else:
        read = iter([float(part) for part in shown])
    return [sum(next(read) for _ in parts) / len(parts) if parts else None for parts in steps]


def _counter(scheduler: "weakref.ref[LateDecay]") -> Any:
    """A hook that counts optimizer steps, without keeping the scheduler alive."""

    def hook(*_: Any) -> None:
        owner = scheduler()
        if owner is not None:
            owner._taken += 1

    return hook
