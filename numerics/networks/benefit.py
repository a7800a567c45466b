"""What late decay gains, from the final losses of branches: rank correlation, reduction, and the control's drift."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from numerics.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Change:
    """Relative change from the first to the last decay step, paired by seed: mean, standard error, 95 % interval."""

    mean: float
    sem: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """What the interval says in words."""
        if self.high < 0:
            return "late decay ends lower"
        return "late decay ends higher" if self.low > 0 else "no change can be told"


@dataclass(frozen=True)
class Benefit:
    """One kind of noise, over decay steps ``steps``.

    ``correlation``: Spearman's, decay step against seed-mean final loss; ``pooled`` over all branches; ``per_seed`` its
    mean over single seeds, with standard error ``per_seed_sem``. ``monotone``: the mean falls at every decay step.
    ``change``: last decay against the first after saturation. ``at_decay``: Pearson's correlation of test loss at decay
    and final test loss, all branches.
    """

    steps: tuple[int, ...]
    mean: Array
    sem: Array
    correlation: float
    pooled: float
    per_seed: float
    per_seed_sem: float
    monotone: bool
    change: Change
    at_decay: float


def paired_change(first: Array, last: Array) -> Change:
    """Mean of (last − first)/mean(first) over seeds ``(s,)`` with a Student interval. Needs at least 2 seeds."""
    if len(first) < 2:
        raise InputError("seeds", len(first), "leave no standard error", "use at least 2 seeds")
    ratio = (last - first) / first.mean()
    sem = float(ratio.std(ddof=1) / np.sqrt(len(ratio)))
    half = float(stats.t.ppf(0.975, len(ratio) - 1)) * sem
    return Change(float(ratio.mean()), sem, float(ratio.mean()) - half, float(ratio.mean()) + half)


def benefit(steps: NDArray[np.int64], final: Array, at_decay: Array, *, saturated: int) -> Benefit:
    """From decay steps ``(k,)``, final test losses ``(k, seeds)`` and test losses at decay ``(k, seeds)``.

    ``saturated`` is the decay step from which the change is counted. Raises InputError below 2 seeds.
    """
    first = int(np.searchsorted(steps, saturated))
    single = np.array([_rank_correlation(steps, column) for column in final.T])
    mean = final.mean(axis=1)
    return Benefit(
        steps=tuple(int(step) for step in steps),
        mean=mean,
        sem=final.std(axis=1, ddof=1) / np.sqrt(final.shape[1]),
        correlation=_rank_correlation(steps, mean),
        pooled=_rank_correlation(np.repeat(steps, final.shape[1]), final.ravel()),
        per_seed=float(single.mean()),
        per_seed_sem=float(single.std(ddof=1) / np.sqrt(len(single))),
        monotone=bool((np.diff(mean) < 0).all()),
        change=paired_change(final[first], final[-1]),
        at_decay=_correlation(at_decay.ravel(), final.ravel()),
    )


def _rank_correlation(first: NDArray[Any], second: Array) -> float:
    return _correlation(stats.rankdata(first), stats.rankdata(second))


def _correlation(first: Array, second: Array) -> float:
    """Pearson's; NaN where either side does not vary at all, as without noise."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])


def saturation(steps: NDArray[np.int64], left: Array, noisy: Array, *, false_alarm: float) -> int | None:
    """The first of ``steps (m,)`` from which the loss left to fit is lost in the noise: Phase I is over.

    ``left (m, s)``: what training still removes; ``noisy (m, s)``: the training loss it is looked for in, s seeds each.
    Saturated while a one-sided t test at level ``false_alarm`` could not tell a shift of noisy by the mean of left from
    none: mean(left) ≤ t · standard error(noisy). None where that never holds to the end.
    """
    critical = float(stats.t.ppf(1 - false_alarm, noisy.shape[1] - 1))
    resolution = critical * noisy.std(axis=1, ddof=1) / np.sqrt(noisy.shape[1])
    off = np.flatnonzero(left.mean(axis=1) > resolution)
    first = int(off[-1]) + 1 if len(off) else 0
    return int(steps[first]) if first < len(steps) else None
