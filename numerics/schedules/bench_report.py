"""The benchmark's arithmetic and its table: paired differences with intervals, wins, ties, losses."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

Array = NDArray[np.float64]
OURS = "late decay"
#: these pages stand outside the site's table of contents
FRONT = ("---", "orphan: true", "---", "")


@dataclass(frozen=True)
class Result:
    """One policy on one task at the learning rate that its validation loss chose: test losses ``(S,)``, and how long
    it took.
    """

    policy: str
    eta: float
    test: Array
    seconds: float
    notes: tuple[str, ...] = ()

    @classmethod
    def chosen(
        cls, policy: str, rates: tuple[float, ...], valid: Array, test: Array, seconds: float, notes: list[str]
    ) -> "Result":
        """From losses ``(R,)``, rates outermost: the rate of least mean validation loss; a diverged replica rules it
        out.
        """
        held = valid.reshape(len(rates), -1).mean(axis=1)
        best = int(np.argmin(np.where(np.isfinite(held), held, np.inf)))
        seeds = len(test) // len(rates)
        own = slice(best * seeds, (best + 1) * seeds)
        return cls(policy, rates[best], test[own], seconds, tuple(notes[own]))

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "test": self.test.tolist(), "notes": list(self.notes)}

    @classmethod
    def read(cls, record: dict[str, Any]) -> "Result":
        """From JSON; null is a diverged replica."""
        test = np.array([np.nan if value is None else value for value in record["test"]], dtype=np.float64)
        return cls(record["policy"], record["eta"], test, record["seconds"], tuple(record["notes"]))


def interval(values: Array) -> tuple[float, float]:
    """Mean and half-width of its 95 % Student interval."""
    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(half)


def verdict(ours: Array, other: Array) -> str:
    """win, tie or loss of ours: whether the 95 % interval of the paired difference excludes zero. A diverged rival
    loses.
    """
    if not np.all(np.isfinite(other)):
        return "win" if np.all(np.isfinite(ours)) else "tie"
    if not np.all(np.isfinite(ours)):
        return "loss"
    mean, half = interval(ours - other)
    return "win" if mean + half < 0 else "loss" if mean - half > 0 else "tie"


def tally(results: dict[str, list[Result]]) -> dict[str, dict[str, int]]:
    """For each rival: tasks won, tied and lost."""
    counts: dict[str, dict[str, int]] = {}
    for task in results.values():
        ours = next(result for result in task if result.policy == OURS)
        for rival in task:
            if rival.policy != OURS:
                row = counts.setdefault(rival.policy, {"win": 0, "tie": 0, "loss": 0})
                row[verdict(ours.test, rival.test)] += 1
    return counts


def markdown(results: dict[str, list[Result]], budgets: dict[str, str]) -> str:
    """The whole report."""
    rows = [line for name, task in results.items() for line in _task_rows(name, task, budgets[name])]
    head = (
        "| task | policy | eta | mean final test loss ± 95 % | late decay minus it, paired, ± 95 % | late decay | s |"
    )
    counts = [f"| {rival} | {row['win']} | {row['tie']} | {row['loss']} |" for rival, row in tally(results).items()]
    return "\n".join(
        [
            *FRONT,
            "# Schedules benchmark",
            "",
            "Written by `python -m numerics.run schedules-bench`. " + _HOW,
            "",
            "| rival | wins of late decay | ties | losses |",
            "| --- | --- | --- | --- |",
            *counts,
            "",
            head,
            "| --- | --- | --- | --- | --- | --- | --- |",
            *rows,
            "",
            "## What the monitor said",
            "",
            *[line for name, task in results.items() for line in _said(name, task)],
            "",
        ]
    )


_HOW = """Equal step budgets; paired seeds (same start, batches and label noise under every
policy); every policy chooses between the large learning rate and a third of it (schedule-free also three times it) by
validation loss; the table shows the test loss of clean labels at the end of the budget. `late decay` and `plateau`
look at the validation loss 50 times a run, `late decay, blind` never does. The looks were added after a first run of
this table showed that the blind form overtrains where the test loss turns; their constants were set on other tasks.
Win, tie, loss: whether the 95 % interval of the paired difference excludes zero, one comparison at a time, so about one
in twenty decisions between equals is chance. Long training at the large rate has nothing to give where the loss falls
to zero or the test loss turns early: there the plateau rule tends to be better. Seconds: one stack of all replicas of a
policy, on a machine shared with other work."""


def _task_rows(name: str, task: list[Result], budget: str) -> list[str]:
    ours = next(result for result in task if result.policy == OURS)
    rows = []
    for k, result in enumerate(task):
        mean, half = interval(result.test)
        gap, reach = interval(ours.test - result.test)
        compared = "" if result is ours else f"{gap:+.4f} ± {reach:.4f}"
        outcome = "" if result is ours else verdict(ours.test, result.test)
        shown = f"{name} ({budget})" if k == 0 else ""
        cells = (
            shown,
            result.policy,
            f"{result.eta:.3g}",
            f"{mean:.4f} ± {half:.4f}",
            compared,
            outcome,
            f"{result.seconds:.0f}",
        )
        rows.append("| " + " | ".join(cells) + " |")
    return rows


def _said(name: str, task: list[Result]) -> list[str]:
    """The sentences of our policy's monitor, numbers dropped, with how many seeds heard each."""
    notes = next(result for result in task if result.policy == OURS).notes
    kinds = [_kind(note) for note in notes]
    counts = ", ".join(f"{kinds.count(kind)} of {len(kinds)}: {kind}" for kind in dict.fromkeys(kinds))
    return [f"- {name}: {counts}"]


def _kind(note: str) -> str:
    if note.startswith("Phase II"):
        return "Phase II, " + note.rsplit("; ", 1)[-1]
    return note.split(" (")[0].split(": decay at step")[0]
