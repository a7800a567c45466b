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
        at_decay=float(np.corrcoef(at_decay.ravel(), final.ravel())[0, 1]),
    )


def _rank_correlation(first: NDArray[Any], second: Array) -> float:
    return float(stats.spearmanr(first, second).statistic)


def saturation(steps: NDArray[np.int64], observed: Array, *, within: float) -> int | None:
    """The first of ``steps (m,)`` from which the observed loss ``(m,)`` stays within the share ``within`` of its end.

    ``observed[k]`` is the mean from ``steps[k − 1]`` to ``steps[k]``; the end is the mean of the last quarter.
    None where it never settles.
    """
    end = observed[-max(1, len(observed) // 4) :].mean()
    off = np.flatnonzero(observed > end * (1 + within))
    first = int(off[-1]) + 1 if len(off) else 0
    return int(steps[first]) if first < len(steps) else None
