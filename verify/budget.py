"""One family-wise false-alarm budget for a whole run, and the sequential test that spends its share of it sparingly.

Bonferroni: a run of N comparisons gives each the level FALSE_ALARM / N, whatever their dependence. N counts every
case of every experiment, the examples that hypothesis may draw included, so a part of a run has the same levels as
the whole.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, t

from numerics.check import FALSE_ALARM


@dataclass(frozen=True)
class Budget:
    """The share of the family-wise false-alarm probability that one comparison of this run has."""

    comparisons: int
    false_alarm: float = FALSE_ALARM

    @property
    def level(self) -> float:
        """Probability that one comparison fails although its claim holds."""
        return self.false_alarm / max(self.comparisons, 1)

    def critical(self, replicas: int) -> float:
        """Standard errors that a two-sided interval of this level reaches: Student's t with replicas - 1 degrees of
        freedom.
        """
        tail = self.level / 2
        return float(t.isf(tail, replicas - 1)) if replicas > 1 else float(norm.isf(tail))


@dataclass(frozen=True)
class Outcome:
    """How a sequential test ended: passed or not, after how many stages, and the p-value of each stage."""

    passed: bool
    p_values: tuple[float, ...]


def sequential(
    p_value: Callable[[int, int], float], *, level: float, size: int, stages: int = 5, growth: int = 4
) -> Outcome:
    """Gandy and Scott's sequential test: fails with probability at most ``level`` where the hypothesis holds.

    ``p_value(stage, size)`` tests on a fresh sample of the given size. A stage fails at p <= beta, passes at p >
    beta + gamma, and otherwise goes on, from the second stage with ``growth`` times the sample: a clear case costs
    one small sample, and the power is that of several large ones. A p-value that is no number fails. Source: Gandy,
    Scott 2020 (arXiv 2001.06465), Algorithm 2.
    """
    beta = level / stages
    gamma = beta ** (1 / stages)
    p_values: list[float] = []
    for stage in range(stages):
        p_values.append(p_value(stage, size if stage == 0 else size * growth))
        if not p_values[-1] > beta:
            return Outcome(False, tuple(p_values))
        if p_values[-1] > gamma + beta:
            break
        beta /= gamma
    return Outcome(True, tuple(p_values))


def two_sided(z: Sequence[float] | np.ndarray, replicas: int) -> float:
    """p-value of the largest of several |z| with estimated standard errors, Bonferroni over them; 0 if one is NaN."""
    z = np.abs(np.asarray(z, float))
    if np.isnan(z).any():  # a mean that is no number agrees with nothing
        return 0.0
    return float(min(1.0, 2 * z.size * t.sf(z.max(initial=0.0), replicas - 1)))


def of_means(values: np.ndarray, wanted: np.ndarray | float, *, rounding: float = 0.0) -> float:
    """p-value of the means of independent replicas' values ``(..., R)`` against those wanted.

    0 where a replica diverged. A standard error counts as ``rounding`` at least: for values without scatter.
    """
    replicas = values.shape[-1]
    sem = np.maximum(np.std(values, axis=-1, ddof=1) / np.sqrt(replicas), max(rounding, np.finfo(float).tiny))
    return two_sided(np.ravel((values.mean(axis=-1) - wanted) / sem), replicas)


def replicas_for(resolution: float, pilot_deviation: float, budget: Budget, *, least: int, most: int) -> int:
    """Replicas at which an interval of this budget is at most half the resolution wide to either side.

    From a pilot on other random numbers than the check's (Stein 1945), so that the size does not depend on the
    outcome. A factor 1.5 covers the pilot's own error; where ``most`` is too few the check fails rather than pass
    unseen.
    """
    if not np.isfinite([resolution, pilot_deviation]).all():  # a replica of the pilot diverged: nothing is known of it
        return most
    wanted = (2 * 1.5 * budget.critical(least) * pilot_deviation / resolution) ** 2
    return int(np.clip(np.ceil(wanted), least, most))
