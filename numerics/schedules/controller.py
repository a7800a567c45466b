"""When to decay, decided step by step from what the monitor sees. Knows no framework: losses and probes in, factors
out.
"""

import hashlib
import json
import math
from typing import Any, Literal

from numerics.errors import InputError
from numerics.schedules.monitor import FEWEST_LOSSES, HeldOutRecord, LossRecord, TraceRecord
from numerics.schedules.rule import Rule

Phase = Literal["I", "II", "cooldown", "done"]

#: extra gradients for curvature per training step, at most
OVERHEAD = 0.01
#: the verdict where the loss falls towards zero
NOTHING_TO_GAIN = "no gradient noise survives: the loss falls towards zero, and when to decay makes no difference here"
_GROWTH = 0.1
_KEPT = ("step", "next_probe", "next_look", "decay_at", "cooldown", "phase_one_end")


def mark_of(*settings: Any) -> str:
    """SHA-256 of what a state must agree with."""
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()


def refuse_other(found: str, own: str) -> None:
    """Raise InputError where a state bears another schedule's mark."""
    if found != own:
        rule = f"is that of another schedule: this one is {own[:12]}"
        raise InputError("scheduler state", found[:12], rule, "restore it with the same rule, learning rates and probe")


class Controller:
    """One run under a `Rule`: counts steps, keeps the records, starts the cooldown once, gives the factor of each
    step.

    ``eta`` is the large learning rate with momentum counted in, eta/(1 - beta) (C13); ``residuals`` the number of
    training examples times outputs: tr H over it is the mean nonzero eigenvalue, whose inverse rate is the relaxation
    time (C7).
    """

    def __init__(self, rule: Rule, *, eta: float, residuals: int | None, probes: int) -> None:
        if rule.total is None and (probes == 0 or residuals is None):
            remedy = "give a curvature probe and the number of examples, or a budget"
            raise InputError("total", None, "leaves the decay to the monitor, which has no curvature to go by", remedy)
        self.rule, self.eta, self.residuals, self.probes = rule, eta, residuals, probes
        self.relaxes = True  # whether residuals/(eta tr H) is a time: not for optimizers that rescale gradients
        self.losses, self.traces, self.held_out = LossRecord(), TraceRecord(), HeldOutRecord()
        self.step, self.next_probe, self.next_look = 0, self._interval(0), 0
        self.decay_at: int | None = None
        self.cooldown: int | None = None
        self.phase_one_end: int | None = None

    def _interval(self, step: int) -> int:
        """Steps to the next probe: a tenth of the run so far, never so few that probing exceeds OVERHEAD."""
        return max(math.ceil(self.probes / OVERHEAD), round(_GROWTH * step))

    @property
    def probe_due(self) -> bool:
        """Whether a curvature probe is wanted before the next step; never in the cooldown."""
        return self.probes > 0 and self.decay_at is None and self.step >= self.next_probe

    def measured(self, values: list[float]) -> None:
        """The probes' values of tr H at this step."""
        self.traces.add(self.step, values)
        self.next_probe = self.step + self._interval(self.step)
        if self.rule.total is None and self.decay_at is None and self.step > self.rule.warmup and self.drift_is_over:
            self._begin(self.step, self.rule.cooldown(self.relaxation, self.step))

    def looked(self, loss: float) -> None:
        """A held-out loss at the mean of the recent weights: once it has turned, the cooldown begins.

        It is then the shortest that the rule allows, in units of the steps so far: every further step does harm.
        """
        if self.decay_at is None:
            self.held_out.add(loss)
            if self.held_out.turned and self.step > self.rule.warmup:
                self._begin(self.step, self.rule.cooldown(0.0, self.step, budgeted=False))

    def decay_now(self) -> None:
        """Begin the cooldown here, as long as relaxation takes, unless one was begun."""
        if self.decay_at is None:
            self._begin(self.step, self.rule.cooldown(self.relaxation, self.step, budgeted=False))

    @property
    def quiet_until(self) -> int:
        """The step before which nothing can happen: no decision, no probe, no change of the learning rate.

        Losses may be handed to `advance` together up to there.
        """
        if self.step < self.rule.warmup or self.decay_at is not None:
            return self.step + 1
        events = [self.next_look, self.next_probe] if self.probes else [self.next_look]
        return max(self.step + 1, min([*events, *self._decision]))

    @property
    def _decision(self) -> list[int]:
        return [] if self.rule.decision_step is None else [self.rule.decision_step]

    def advance(self, *losses: float | None) -> None:
        """Training steps were taken, with these losses; decide whether the next one begins the cooldown.

        More than one only up to `quiet_until`.
        """
        self.losses.add([loss for loss in losses if loss is not None])
        self.step += len(losses)
        if self.decay_at is None:
            self._look()
            self._decide()

    def _look(self) -> None:
        """Ask at steps a tenth apart whether Phase I is over: asked at every step, chance would say so too early."""
        if self.step < self.next_look:
            return
        self.next_look = self.step + max(FEWEST_LOSSES, round(_GROWTH * self.step))
        fall = self.losses.fall()
        if fall is None:
            return
        if self.losses.falls(fall) or self.losses.gone:
            self.phase_one_end = None
        elif self.phase_one_end is None and self.losses.at_floor(fall):
            self.phase_one_end = self.step

    def _decide(self) -> None:
        """With a budget: at the last step at which the longest cooldown still fits."""
        if self.rule.total is not None and self.step >= (self.rule.decision_step or 0):
            cooldown = self.rule.cooldown(self.relaxation, self.step)
            self._begin(self.rule.total - cooldown, cooldown)

    def _begin(self, decay_at: int, cooldown: int) -> None:
        self.decay_at, self.cooldown = decay_at, cooldown

    @property
    def relaxation(self) -> float | None:
        """Relaxation time in steps at the large learning rate: residuals/(eta tr H) (C7); None if tr H is unknown."""
        trace = self.traces.latest()
        if trace is None or self.residuals is None or not trace > 0 or not self.relaxes:
            return None
        return self.residuals / (self.eta * trace)

    @property
    def drift_is_over(self) -> bool:
        """Phase II has little left to give: the remaining gain was below the tolerance at two measurements running.

        The estimate itself decides, not its upper bound: decaying late costs as much as decaying early.
        """
        if self.phase_one_end is None:
            return False
        gains = [self.traces.gain(), self.traces.gain(before_last=True)]
        return all(gain is not None and gain.value < self.rule.tolerance for gain in gains)

    @property
    def phase(self) -> Phase:
        """I (the loss still falls), II (drift at the floor), cooldown, done."""
        if self.decay_at is not None and self.cooldown is not None and self.step >= self.decay_at:
            return "done" if self.step >= self.decay_at + self.cooldown else "cooldown"
        return "I" if self.phase_one_end is None else "II"

    @property
    def factor(self) -> float:
        """The next step's learning rate over the large one."""
        return self.rule.factor(self.step, self.decay_at, self.cooldown)

    @property
    def verdict(self) -> str:
        """What the monitor has to say, in one line."""
        if self.step > 0 and self.losses.filled == 0 and not self.losses.means:
            return "no loss was shown: call observe(loss) at every step"
        if self.held_out.turned:
            return f"the held-out loss of the mean weights had stopped falling: decay at step {self.decay_at}"
        if self.losses.gone or (self.phase_one_end is None and self.step > 0):
            fall = self.losses.fall()
            shown = "too few steps to tell" if fall is None else f"{fall.value:.0%} over the last half of the run"
            if self.losses.gone or (fall is not None and fall.value > 0.5 and self._small):
                return NOTHING_TO_GAIN
            return f"Phase I: the loss has not reached its floor (fall {shown})"
        gain = self.traces.gain()
        if gain is None:
            return f"Phase II since step {self.phase_one_end}; curvature not measured often enough to know its drift"
        more = f"tr H would fall by {gain.value:.1%} ± {gain.sem:.1%} in as many steps again"
        tail = "nothing to gain from waiting" if self.drift_is_over else "waiting pays"
        return f"Phase II since step {self.phase_one_end}: {more}; {tail}"

    @property
    def _small(self) -> bool:
        """The loss has come down to a hundredth of its start."""
        means = self.losses.means
        return len(means) > 1 and means[-1] < 1e-2 * self.losses.first

    def state(self) -> dict[str, Any]:
        """Plain numbers and lists: everything needed to go on exactly."""
        return {
            **{name: getattr(self, name) for name in _KEPT},
            "losses": dict(vars(self.losses), means=list(self.losses.means)),
            "held_out": list(self.held_out.values),
            "traces": {"steps": list(self.traces.steps), "values": [list(row) for row in self.traces.values]},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        for name in _KEPT:
            setattr(self, name, state[name])
        vars(self.losses).update(dict(state["losses"], means=list(state["losses"]["means"])))
        self.held_out.values = list(state["held_out"])
        self.traces.steps = list(state["traces"]["steps"])
        self.traces.values = [list(row) for row in state["traces"]["values"]]
