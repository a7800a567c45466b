"""The benchmark's arithmetic and its table: paired differences with intervals, wins, ties, losses."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

Array = NDArray[np.float64]
OURS = "late decay"
#: ours without looks at held-out data, to be judged against policies that do not look either
BLIND = "late decay, blind"
#: policies that look at held-out data
LOOKING = (OURS, "plateau")
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


def tally(results: dict[str, list[Result]], ours: str = OURS) -> dict[str, dict[str, int]]:
    """For each rival of one of our two policies: tasks won, tied and lost."""
    counts: dict[str, dict[str, int]] = {}
    for task in results.values():
        own = next(result for result in task if result.policy == ours)
        for rival in task:
            if rival.policy != ours:
                row = counts.setdefault(rival.policy, {"win": 0, "tie": 0, "loss": 0})
                row[verdict(own.test, rival.test)] += 1
    return counts


def _tallies(results: dict[str, list[Result]]) -> list[str]:
    """Both of ours against everyone, one rival a row."""
    looking, blind = tally(results), tally(results, BLIND)
    rivals = [result.policy for result in next(iter(results.values())) if result.policy not in (OURS, BLIND)]
    rows = [f"| {BLIND} | no | {_counts(looking[BLIND])} | |"]
    for rival in rivals:
        looks = "yes" if rival in LOOKING else "no"
        rows.append(f"| {rival} | {looks} | {_counts(looking[rival])} | {_counts(blind[rival])} |")
    head = f"| rival | looks | {OURS}: won, tied, lost | {BLIND}: won, tied, lost |"
    return [head, "| --- | --- | --- | --- |", *rows]


def _counts(row: dict[str, int]) -> str:
    return f"{row['win']}, {row['tie']}, {row['loss']}"


def markdown(results: dict[str, list[Result]], budgets: dict[str, str], left_out: tuple[str, ...] = ()) -> str:
    """The whole report; ``left_out`` names the tasks that were not run."""
    rows = [line for name, task in results.items() for line in _task_rows(name, task, budgets[name])]
    head = (
        "| task | policy | eta | mean final test loss ± 95 % | late decay minus it, paired, ± 95 % | late decay | s |"
    )
    return "\n".join(
        [
            *FRONT,
            "# Schedules benchmark",
            "",
            "Written by `python -m numerics.run schedules-bench`. " + _HOW,
            "",
            *([f"Not run for this table: {', '.join(left_out)}.", ""] if left_out else []),
            *_tallies(results),
            "",
            *_unhelpful(results),
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
look at the validation loss 50 times a run, `late decay` at the mean of the recent weights; no other policy looks before
the end, so that `late decay, blind` is the one to compare with them. The rule was set on other data (wine, anes96,
sunspots, spirals, a sparse teacher) and this table run once, on seeds and splits that had not been used; what led to
the new rule is that an earlier one had lost to plateau on these tasks. All seeds of a task share one split, so that
intervals leave out what another split would change.
Win, tie, loss: whether the 95 % interval of the paired difference excludes zero, one comparison at a time, so about one
in twenty decisions between equals is chance. Seconds: one stack of all replicas of a policy, on a machine shared with
other work."""


def _unhelpful(results: dict[str, list[Result]]) -> list[str]:
    """Where late decay loses to a rival: computed, not typed in."""
    lines = []
    for form in (OURS, BLIND):
        lost = {name: _lost(task, form) for name, task in results.items()}
        told = "; ".join(f"{name} (to {', '.join(rivals)})" for name, rivals in lost.items() if rivals)
        lines.append(f"- `{form}` does not help: {told or 'it loses nowhere'}.")
    return lines


def _lost(task: list[Result], form: str) -> list[str]:
    own = next(result for result in task if result.policy == form)
    others = [result for result in task if result.policy not in (OURS, BLIND)]
    return [result.policy for result in others if verdict(own.test, result.test) == "loss"]


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
