"""`LateDecay`: a torch learning-rate scheduler that holds the rate, watches the run, and decays once.

scheduler = LateDecay(optimizer, Rule(total=10_000), probe=TraceProbe(model, inputs, "cross-entropy", examples=50_000))
for inputs, targets in batches:
    loss = ...
    loss.backward(); optimizer.step(); optimizer.zero_grad()
    scheduler.observe(loss)
    scheduler.step()
"""

import hashlib
import json
import logging
import weakref
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from numerics.errors import InputError
from numerics.schedules.controller import Controller, Phase
from numerics.schedules.probe import TraceProbe
from numerics.schedules.rule import Rule

_LOG = logging.getLogger("latedecay")


class LateDecay(LRScheduler):
    """The rate of a step is base rate times `Rule.factor`, a closed form of the step and of one decision, made once.

    Without a probe the curvature is unknown: a budget is then required and the cooldown has its longest length. Counts
    optimizer steps: call ``step()`` after every ``optimizer.step()``. Raises InputError where it is called once per
    epoch, given an epoch, driven past its budget, or handed the state of another schedule.
    """

    def __init__(self, optimizer: Optimizer, rule: Rule, *, probe: TraceProbe | None = None) -> None:
        self.rule, self.probe = rule, probe
        group = optimizer.param_groups[0]
        momentum = group.get("momentum", group.get("betas", (0.0,))[0] if "momentum" not in group else 0.0)
        adaptive = "betas" in group  # Adam's steps are not gradient steps: no relaxation time follows from tr H
        rate = float(group.get("initial_lr", group["lr"])) / (1 - momentum)
        residuals = None if probe is None else probe.residuals()
        self.controller = Controller(rule, eta=rate, residuals=residuals, probes=0 if probe is None else probe.probes)
        if adaptive:
            self.controller.relaxes = False
        self._shown: list[float] = []
        self._taken = 0
        self._handle = optimizer.register_step_post_hook(_counter(weakref.ref(self)))
        super().__init__(optimizer)

    def observe(self, loss: Tensor | float) -> None:
        """Show the training loss of a step (of each part of it, where gradients are accumulated)."""
        self._shown.append(float(loss.detach()) if isinstance(loss, Tensor) else float(loss))

    def look(self, held_out_loss: Tensor | float) -> None:
        """Show a held-out loss, now and then: when it begins to rise the decay begins, whatever the budget."""
        self.controller.looked(float(held_out_loss))

    def step(self, epoch: int | None = None) -> None:
        """After every optimizer step: set the learning rate of the next one."""
        if epoch is not None:
            remedy = "call step() without arguments after every optimizer.step()"
            raise InputError("epoch", epoch, "was given to a schedule that counts optimizer steps, not epochs", remedy)
        if not self._is_initial:
            self._refuse_confusion()
            self._advance()
        super().step()

    def _refuse_confusion(self) -> None:
        taken, self._taken = self._taken, 0
        if taken > 1:
            rule = "says that step() is called once per epoch, while this schedule counts optimizer steps"
            remedy = "call it after every optimizer.step() (Lightning: interval='step')"
            raise InputError("optimizer steps between two scheduler steps", taken, rule, remedy)
        if self.rule.total is not None and self.controller.step >= self.rule.total:
            rule = f"lies outside the budget of {self.rule.total} steps"
            remedy = "count the budget in optimizer steps, not epochs: epochs times batches per epoch"
            raise InputError("step", self.controller.step + 1, rule, remedy)

    def _advance(self) -> None:
        decided = self.controller.decay_at is not None
        loss = sum(self._shown) / len(self._shown) if self._shown else None
        self._shown.clear()
        self.controller.advance(loss)
        if self.probe is not None and self.controller.probe_due:
            self.controller.measured(self.probe())
        if not decided and self.controller.decay_at is not None:
            where = f"decay at step {self.controller.decay_at}, over {self.controller.cooldown} steps"
            _LOG.warning("%s. %s", where, self.verdict)

    def get_lr(self) -> list[float | Tensor]:
        """The next step's learning rate of every parameter group."""
        return [base * self.controller.factor for base in self.base_lrs]

    _get_closed_form_lr = get_lr

    @property
    def phase(self) -> Phase:
        """I, II, cooldown or done."""
        return self.controller.phase

    @property
    def verdict(self) -> str:
        """What the monitor has to say, in one line."""
        return self.controller.verdict

    @property
    def mark(self) -> str:
        """SHA-256 of the rule, the large learning rates and the probe's size: what a state must agree with."""
        own = [
            self.rule.mark,
            [float(base) for base in self.base_lrs],
            self.controller.probes,
            self.controller.residuals,
        ]
        return hashlib.sha256(json.dumps(own).encode()).hexdigest()

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers, texts and lists: goes through ``torch.save`` and ``weights_only=True``, or JSON."""
        return {
            "mark": self.mark,
            "last_epoch": self.last_epoch,
            "step_count": self._step_count,
            "shown": list(self._shown),
            "controller": self.controller.state(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on exactly where the state was taken. Raises InputError for the state of another schedule."""
        mark = str(state_dict.get("mark", "none"))
        if mark != self.mark:
            rule = f"is that of another schedule: this one is {self.mark[:12]}"
            raise InputError(
                "scheduler state", mark[:12], rule, "restore it with the same rule, learning rates and probe"
            )
        self.controller.restore(state_dict["controller"])
        self.last_epoch, self._step_count = state_dict["last_epoch"], state_dict["step_count"]
        self._shown, self._taken = list(state_dict["shown"]), 0
        for group, rate in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]


def _counter(scheduler: "weakref.ref[LateDecay]") -> Any:
    """A hook that counts optimizer steps, without keeping the scheduler alive."""

    def hook(*_: Any) -> None:
        owner = scheduler()
        if owner is not None:
            owner._taken += 1

    return hook
