"""The monitor on a network and data set outside the benchmark, beside the decays that it did not choose."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numerics.schedule import WarmupStableDecay
from numerics.schedules.bench_policies import Late
from numerics.schedules.bench_report import interval
from numerics.schedules.bench_tasks import Task, load
from numerics.schedules.bench_train import Stack, train
from numerics.schedules.rule import Rule

Array = NDArray[np.float64]

TASK = Task("wine, 3 x 24 tanh, mse, label noise 0.5", "wine", 80, "deep", "squared", "gauss", 0.5, 10, 0.05, 12_000)
RULE = Rule(tolerance=0.15)
DECAYS = (0, 125, 250, 500, 1000, 2000, 4000, 8000, 12_000)


class _Given:
    """Decays at given steps, one after the other, all seeds each; frozen after the cooldown."""

    def __init__(self, decays: tuple[int, ...], cooldown: int, seeds: int) -> None:
        self.schedules = [WarmupStableDecay(1.0, k + cooldown, 0, cooldown, 0.0, RULE.shape) for k in decays]
        self.seeds = seeds

    def factors(self, step: int) -> Array:
        """Each replica's own."""
        return np.repeat([float(schedule(step)) for schedule in self.schedules], self.seeds)

    def after(self, step: int, losses: Any, watched: Any) -> None:
        """Nothing to learn."""


def demonstration(seeds: tuple[int, ...], *, shorter: int = 1) -> str:
    """Train with the monitor, then with every decay of DECAYS and the cooldown it chose; ``shorter`` divides all
    steps.
    """
    task = replace(TASK, steps=TASK.steps // shorter)
    stack = Stack.of(task, load(task, seed=seeds[0]), seeds, (task.eta,))
    late = Late(stack, RULE, looks=False)
    ours = stack.losses(train(stack, late), held="test")
    found = [controller.decay_at for controller in late.controllers]
    cooldowns = [controller.cooldown for controller in late.controllers if controller.cooldown is not None]
    cooldown = int(np.median(cooldowns)) if cooldowns else max(1, task.steps // 10)
    decays = tuple(k // shorter for k in DECAYS)
    longer = replace(task, steps=decays[-1] + cooldown)
    given = Stack(longer, stack.split, stack.model, seeds, np.full(len(decays) * len(seeds), task.eta))
    theirs = given.losses(train(given, _Given(decays, cooldown, len(seeds))), held="test")
    return _text(found, cooldown, ours, decays, theirs.reshape(len(decays), -1), late.controllers[0].verdict)


def _text(
    found: list[int | None], cooldown: int, ours: Array, decays: tuple[int, ...], theirs: Array, verdict: str
) -> str:
    chosen = ", ".join("none yet" if k is None else f"{k:,}" for k in found)
    mean, half = interval(ours)
    rows = []
    for k, losses in zip(decays, theirs, strict=True):
        level, reach = interval(losses)
        gap, width = interval(ours - losses)
        rows.append(f"| {k:,} | {level:.4f} ± {reach:.4f} | {gap:+.4f} ± {width:.4f} |")
    return "\n".join(
        [
            "# The monitor on a network and data set outside the benchmark",
            "",
            f"Written by `python -m numerics.run schedules-bench --shown`. {TASK.name}, batch {TASK.batch}, no budget, "
            f"tolerance {RULE.tolerance:.0%} per doubling of the run; {len(ours)} seeds, paired.",
            "",
            f"Decay chosen at step: {chosen}. Final test loss {mean:.4f} ± {half:.4f} (95 %).",
            f"Last word of the first seed's monitor: {verdict}.",
            "",
            f"The decays it did not choose, each with the median cooldown of {cooldown:,} steps:",
            "",
            "| decay at step | final test loss ± 95 % | chosen minus it, paired, ± 95 % |",
            "| --- | --- | --- |",
            *rows,
            "",
        ]
    )
