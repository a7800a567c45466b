"""The monitor on networks and data outside the benchmark, beside the decays that it did not choose."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numerics.schedule import WarmupStableDecay
from numerics.schedules.bench_policies import Late
from numerics.schedules.bench_report import FRONT, interval
from numerics.schedules.bench_tasks import Task, load
from numerics.schedules.bench_train import Stack, train
from numerics.schedules.rule import Rule

Array = NDArray[np.float64]

#: ``steps`` is the budget; the form without a budget may go on for twice as long
TASKS = (
    Task("Star98, 3 x 32 ReLU, mse, noise", "star98", 100, "deep", "squared", "gauss", 0.5, 10, 0.02, 3000),
    Task("Fair, 3 x 32 ReLU, flips", "fair", 300, "deep", "cross-entropy", "flip", 0.2, 15, 0.03, 3000),
    Task(
        "Sparse teacher, 3 x 32 ReLU, mse, label noise", "sparse", 100, "deep", "squared", "gauss", 0.5, 10, 0.03, 3000
    ),
)
#: decays that the monitor did not choose, as shares of the budget
SHARES = (0.0, 0.04, 0.08, 0.16, 0.33, 0.67, 1.0, 2.0)
TOLERANCE = 0.15
_PATIENCE = 2  # budgets that the form without a budget may take


class _Given:
    """Decays at given steps, one after the other, all seeds each; frozen after the cooldown."""

    def __init__(self, decays: tuple[int, ...], cooldown: int, seeds: int) -> None:
        self.schedules = [WarmupStableDecay(1.0, k + cooldown, 0, cooldown, 0.0, Rule().shape) for k in decays]
        self.seeds = seeds

    def factors(self, step: int) -> Array:
        """Each replica's own."""
        return np.repeat([float(schedule(step)) for schedule in self.schedules], self.seeds)

    def after(self, step: int, losses: Any, watched: Any) -> None:
        """Nothing to learn."""


class _Ended(Late):
    """Late decay whose undecided replicas begin the cooldown at a last step."""

    def __init__(self, stack: Any, rule: Rule, *, looks: bool, last: int) -> None:
        super().__init__(stack, rule, looks=looks)
        self.last, self.undecided = last, 0

    def after(self, step: int, losses: Any, watched: Any) -> None:
        """As always, and at the last step `Controller.decay_now`."""
        super().after(step, losses, watched)
        if step + 1 == self.last:
            waiting = [controller for controller in self.controllers if controller.decay_at is None]
            self.undecided = len(waiting)
            for controller in waiting:
                controller.decay_now()


@dataclass(frozen=True)
class _Own:
    """What one form of the monitor chose, and how it ended: decay steps, cooldowns, test losses ``(S,)``."""

    form: str
    steps: list[int]
    cooldowns: list[int]
    test: Array
    undecided: int
    verdict: str

    @classmethod
    def trained(cls, stack: Stack, form: str, rule: Rule, *, looks: bool, last: int) -> "_Own":
        """Train a stack under the monitor."""
        late = _Ended(stack, rule, looks=looks, last=last)
        test = stack.losses(train(stack, late), held="test")
        decided = [(c.decay_at, c.cooldown) for c in late.controllers if c.decay_at is not None and c.cooldown]
        steps, cooldowns = [step for step, _ in decided], [length or 0 for _, length in decided]
        return cls(form, steps, cooldowns, test, late.undecided, late.controllers[0].verdict)

    def line(self, best: Array) -> str:
        """As text, with what it loses against the best decay in hindsight."""
        mean, half = interval(self.test)
        gap, reach = interval(self.test - best)
        waited = f" ({self.undecided} told to at the end)" if self.undecided else ""
        return (
            f"- {self.form}: decays from step {min(self.steps):,} to {max(self.steps):,}, median "
            f"{int(np.median(self.steps)):,}{waited}. Final test loss {mean:.4f} ± {half:.4f}; against the best of the "
            f"decays below, chosen in hindsight: {gap:+.4f} ± {reach:.4f} ({gap / best.mean():+.1%}). "
            f"The first seed's monitor: {self.verdict}."
        )


def demonstration(seeds: tuple[int, ...], parts: list[str]) -> str:
    """The page: what it is, and every task's part."""
    head = [
        *FRONT,
        "# The monitor on networks and data outside the benchmark",
        "",
        "Written by `python -m numerics.run schedules-bench --shown`. "
        f"{len(seeds)} paired seeds; ± is half a 95 % interval. Star98: the share of",
        "pupils above the national median in Californian school districts; Fair: whether a survey reports an affair;",
        "sparse teacher: made up, 3 of 30 inputs matter. None of them is in the benchmark, nor was any rule set on",
        f"the first two. Without a budget the tolerance is a fall of tr H by {TOLERANCE:.0%} in as many steps again,",
        "and a run that has not decided after two budgets is told to decay then.",
        "",
    ]
    return "\n".join([*head, *parts])


def shown(task: Task, seeds: tuple[int, ...]) -> str:
    """One task: the forms, and the decays that they did not choose."""
    stack = Stack.of(task, load(task, seed=seeds[0]), seeds, (task.eta,))
    last = _PATIENCE * task.steps
    free = replace(stack, task=replace(task, steps=last + round(Rule().longest * last)))
    own = [
        _Own.trained(stack, "budget", Rule(total=task.steps), looks=False, last=task.steps),
        _Own.trained(stack, "budget and looks", Rule(total=task.steps), looks=True, last=task.steps),
        _Own.trained(free, "no budget", Rule(tolerance=TOLERANCE), looks=False, last=last),
    ]
    cooldown = int(np.median([length for one in own for length in one.cooldowns]))
    decays = tuple(round(share * task.steps) for share in SHARES)
    longer = replace(task, steps=decays[-1] + cooldown)
    given = Stack(longer, stack.split, stack.model, seeds, np.full(len(decays) * len(seeds), task.eta))
    theirs = given.losses(train(given, _Given(decays, cooldown, len(seeds))), held="test").reshape(len(decays), -1)
    return _text(task, own, cooldown, decays, theirs)


def _text(task: Task, own: list[_Own], cooldown: int, decays: tuple[int, ...], theirs: Array) -> str:
    best = theirs[int(np.argmin(theirs.mean(axis=1)))]
    rows = []
    for k, losses in zip(decays, theirs, strict=True):
        gaps = ["{:+.4f} ± {:.4f}".format(*interval(one.test - losses)) for one in own]
        rows.append("| " + " | ".join([f"{k:,}", "{:.4f} ± {:.4f}".format(*interval(losses)), *gaps]) + " |")
    forms = " | ".join(f"{one.form}, minus it" for one in own)
    lines = [f"## {task.name}", "", f"Budget {task.steps:,} steps, batch {task.batch}.", ""]
    lines += [one.line(best) for one in own]
    lines += ["", f"The decays it did not choose, each with the median cooldown of {cooldown:,} steps:", ""]
    return "\n".join([*lines, f"| decay at step | final test loss | {forms} |", "| --- " * 5 + "|", *rows, ""])
