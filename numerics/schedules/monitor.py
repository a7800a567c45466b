"""What a run says about its phase: the loss at its floor (Phase I over), and tr H drifting down (Phase II).

Two records of bounded size, both plain lists so that any checkpoint can hold them: block means of the training loss,
and curvature probes at growing intervals; and, where the user looks at held-out data, those losses. Each question is
answered with a one-sided 95 % confidence bound.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.stats import t

#: blocks of the loss record: when it is full, neighbours merge and the block length doubles
BLOCKS = 64
#: Phase I is over once the loss's fall over the last half of the run is, at 95 % confidence, below this fraction of
#: the loss
#: itself (a loss without noise never stops falling by factors) ...
FALL = 0.15
#: ... and below this fraction of all that it has fallen (fresh label noise adds a constant that hides the rest)
FALL_OF_ALL = 0.05
#: a loss below this fraction of its start counts as gone: what is left is rounding
GONE = 1e-8
#: looks without a new least held-out loss that count as its turn: at least so many, and this share of all looks
PATIENCE = 4
PATIENCE_SHARE = 0.2
_LEVEL = 0.95
_FEWEST_BLOCKS = 12
#: losses that are needed before a fall can be told
FEWEST_LOSSES = 2 * _FEWEST_BLOCKS
_FEWEST_PROBES = 4


@dataclass(frozen=True)
class Bound:
    """An estimate with its standard error and its one-sided 95 % upper bound."""

    value: float
    sem: float
    upper: float


class LossRecord:
    """Means of the loss over equal blocks of steps: at most `BLOCKS` of them, however long the run."""

    def __init__(self) -> None:
        self.means: list[float] = []
        self.length, self.filled, self.total = 1, 0, 0.0
        self.first = 0.0

    def add(self, losses: Sequence[float]) -> None:
        """The losses of the next steps, one by one: how they are cut into calls changes no bit."""
        if not self.means and self.filled == 0 and losses:
            self.first = losses[0]
        for loss in losses:
            self.total += loss
            self.filled += 1
            if self.filled == self.length:
                self._close_block()

    def _close_block(self) -> None:
        self.means.append(self.total / self.length)
        self.filled, self.total = 0, 0.0
        if len(self.means) == BLOCKS:
            self.means = [(a + b) / 2 for a, b in zip(self.means[::2], self.means[1::2], strict=True)]
            self.length *= 2

    def fall(self) -> Bound | None:
        """Relative fall of the loss over the last half of the run, by regression; None for too few blocks."""
        late = np.array(self.means[len(self.means) // 2 :])
        if len(late) < _FEWEST_BLOCKS or not np.mean(late) > 0:
            return None
        slope = _slope(np.arange(len(late), dtype=float), late / np.mean(late))
        span = float(len(late) - 1)
        return Bound(-slope.value * span, slope.sem * span, -slope.value * span + slope.upper * span)

    def at_floor(self, fall: Bound) -> bool:
        """Phase I is over: the loss is shown, at 95 % confidence, to have all but stopped falling."""
        if not fall.upper < FALL:
            return False
        late = float(np.mean(self.means[len(self.means) // 2 :]))
        return fall.upper * late < FALL_OF_ALL * (self.first - late)

    def falls(self, fall: Bound) -> bool:
        """The loss is shown, at 95 % confidence, to fall by more than FALL of itself: not its floor after all."""
        return 2 * fall.value - fall.upper > FALL

    @property
    def gone(self) -> bool:
        """The loss has fallen to rounding: no gradient noise survives."""
        return len(self.means) > 1 and self.means[-1] < GONE * self.first


def _slope(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> Bound:
    """Least-squares slope; ``upper`` is the half-width of its one-sided bound."""
    centred = x - x.mean()
    size = float(centred @ centred)
    value = float(centred @ y) / size
    left = y - y.mean() - value * centred
    sem = float(np.sqrt(left @ left / max(len(x) - 2, 1) / size))
    return Bound(value, sem, _student(max(len(x) - 2, 1)) * sem)


@lru_cache(maxsize=256)
def _student(freedom: int) -> float:
    """Student's one-sided quantile, kept: finding it takes longer than the regression."""
    return float(t.ppf(_LEVEL, freedom))


class TraceRecord:
    """Probes of tr H: at each measured step one value per probe, the same probes every time, so that trends are
    paired.
    """

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.values: list[list[float]] = []

    def add(self, step: int, values: list[float]) -> None:
        """tr H by each probe at a step."""
        self.steps.append(step)
        self.values.append(list(values))

    def latest(self) -> float | None:
        """The mean over the probes of the last measurement; None before the first."""
        return float(np.mean(self.values[-1])) if self.values else None

    def gain(self, *, before_last: bool = False) -> Bound | None:
        """Relative fall of tr H if the run went on for as long again: -ln 2 d ln tr H/d ln step over the last half.

        The standard error is the larger of two: between the probes' slopes, and of the fit. None before 4
        measurements.
        """
        end = -1 if before_last else None
        steps, values = np.array(self.steps[:end]), np.array(self.values[:end])
        late = steps >= (steps[-1] / 2 if len(steps) else 0)
        if np.sum(late) < _FEWEST_PROBES or not np.all(values[late] > 0):
            return None
        x, logs = np.log(steps[late]), np.log(values[late])
        slopes = np.array([_slope(x, column).value for column in logs.T])
        fit = _slope(x, logs.mean(axis=1))
        between = slopes.std(ddof=1) / np.sqrt(len(slopes)) if len(slopes) > 1 else 0.0
        half = max(fit.upper, float(between) * _student(max(len(slopes) - 1, 1)))
        return Bound(-np.log(2) * fit.value, np.log(2) * max(fit.sem, between), np.log(2) * (half - fit.value))


class HeldOutRecord:
    """Held-out losses at the mean of the recent weights: has what a decay would end with stopped falling (C8)?"""

    def __init__(self) -> None:
        self.values: list[float] = []

    def add(self, loss: float) -> None:
        """The next look; a loss that is not finite counts as infinite."""
        self.values.append(loss if math.isfinite(loss) else math.inf)

    @property
    def turned(self) -> bool:
        """No new least in the last PATIENCE looks, nor in the last PATIENCE_SHARE of all looks.

        Looks are taken at the mean of the recent weights, where little noise is left; the share makes the patience
        grow with the run, as the slow drift's own time does.
        """
        if not self.values:
            return False
        since = len(self.values) - 1 - self.values.index(min(self.values))
        return since >= max(PATIENCE, PATIENCE_SHARE * len(self.values))
