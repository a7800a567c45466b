"""The monitor on a network and data set outside the benchmark, beside the decays that it did not choose."""

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

TASK = Task(
    "Sparse teacher (3 of 30 inputs), 3 x 32 ReLU, mse, label noise 0.5",
    *("sparse", 100, "deep", "squared", "gauss", 0.5, 10, 0.03, 8000),
)
BUDGET, TOLERANCE = 3000, 0.15
DECAYS = (0, 125, 250, 500, 1000, 2000, 4000, 8000)


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


@dataclass(frozen=True)
class _Own:
    """What the monitor chose, and how it ended: decay steps, test losses ``(S,)``, and the first seed's last word."""

    kind: str
    steps: list[int | None]
    cooldowns: list[int]
    test: Array
    verdict: str

    @classmethod
    def trained(cls, stack: Stack, kind: str, rule: Rule) -> "_Own":
        """Train a stack under the monitor."""
        late = Late(stack, rule, looks=False)
        test = stack.losses(train(stack, late), held="test")
        steps = [controller.decay_at for controller in late.controllers]
        cooldowns = [controller.cooldown for controller in late.controllers if controller.cooldown is not None]
        return cls(kind, steps, cooldowns, test, late.controllers[0].verdict)

    def lines(self) -> list[str]:
        """As text."""
        chosen = ", ".join("none yet" if step is None else f"{step:,}" for step in self.steps)
        mean, half = interval(self.test)
        loss = f"Final test loss {mean:.4f} ± {half:.4f} (95 %)."
        return [f"- {self.kind}: decay at step {chosen}. {loss} The first seed's monitor: {self.verdict}."]


def demonstration(seeds: tuple[int, ...], *, shorter: int = 1) -> str:
    """Train with the monitor, then with every decay of DECAYS and its median cooldown.

    ``shorter`` divides all steps.
    """
    task = replace(TASK, steps=TASK.steps // shorter)
    stack = Stack.of(task, load(task, seed=seeds[0]), seeds, (task.eta,))
    own = [
        _Own.trained(stack, f"budget of {BUDGET // shorter:,} steps", Rule(total=BUDGET // shorter)),
        _Own.trained(stack, f"no budget, tolerance {TOLERANCE:.0%}", Rule(tolerance=TOLERANCE)),
    ]
    cooldowns = own[0].cooldowns + own[1].cooldowns
    cooldown = int(np.median(cooldowns)) if cooldowns else max(1, task.steps // 10)
    decays = tuple(k // shorter for k in DECAYS)
    longer = replace(task, steps=decays[-1] + cooldown)
    given = Stack(longer, stack.split, stack.model, seeds, np.full(len(decays) * len(seeds), task.eta))
    theirs = given.losses(train(given, _Given(decays, cooldown, len(seeds))), held="test")
    return _text(own, cooldown, decays, theirs.reshape(len(decays), -1))


def _text(own: list[_Own], cooldown: int, decays: tuple[int, ...], theirs: Array) -> str:
    rows = []
    for k, losses in zip(decays, theirs, strict=True):
        gaps = ["{:+.4f} ± {:.4f}".format(*interval(one.test - losses)) for one in own]
        cells = [f"{k:,}", "{:.4f} ± {:.4f}".format(*interval(losses)), *gaps]
        rows.append("| " + " | ".join(cells) + " |")
    kinds = " | ".join(f"{one.kind}, minus it" for one in own)
    return "\n".join(
        [
            *FRONT,
            "# The monitor on a network and data set outside the benchmark",
            "",
            f"Written by `python -m numerics.run schedules-bench --shown`. {TASK.name}, batch {TASK.batch}.",
            f"{theirs.shape[1]} seeds, paired. The tolerance is the fall of tr H in as many steps again.",
            "",
            *[line for one in own for line in one.lines()],
            "",
            f"The decays it did not choose, each with the median cooldown of {cooldown:,} steps; ± 95 %:",
            "",
            f"| decay at step | final test loss | {kinds} |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
        ]
    )
