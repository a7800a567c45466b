"""Convergence orders: slope of log error against log parameter with its interval, and where a level is passed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm


@dataclass(frozen=True)
class Order:
    """A measured order: errors at parameters, each with its standard error, and the weighted slope in logarithms."""

    name: str
    parameters: tuple[float, ...]
    errors: tuple[float, ...]
    sems: tuple[float, ...]
    expected: float

    @property
    def slope(self) -> float:
        """Slope of ln error against ln parameter, weighted by the inverse variances of ln error."""
        return self._fit()[0]

    @property
    def sem(self) -> float:
        """Its standard error: of the sampling, or of the scatter around the line where that is larger."""
        return self._fit()[1]

    def interval(self, false_alarm: float) -> tuple[float, float]:
        """Two-sided interval of the slope."""
        half = float(norm.isf(false_alarm / 2)) * self.sem
        return self.slope - half, self.slope + half

    @property
    def last_error(self) -> float:
        """The error at the smallest parameter."""
        return self.errors[int(np.argmin(self.parameters))]

    def passes(self, level: float) -> float:
        """The parameter at which the fitted line reaches a level of error."""
        x, y = np.log(self.parameters), np.log(np.abs(self.errors))
        slope, _, weights = self._fit()
        middle = np.sum(weights * y) / weights.sum() - slope * np.sum(weights * x) / weights.sum()
        return float(np.exp((np.log(level) - middle) / slope))

    def _fit(self) -> tuple[float, float, np.ndarray]:
        x, y = np.log(self.parameters), np.log(np.abs(self.errors))
        relative = np.maximum(np.abs(np.divide(self.sems, self.errors)), 1e-3)
        weights = 1 / relative**2
        centred = x - np.sum(weights * x) / weights.sum()
        spread = np.sum(weights * centred**2)
        slope = float(np.sum(weights * centred * y) / spread)
        residual = y - np.sum(weights * y) / weights.sum() - slope * centred
        scatter = np.sqrt(np.sum(weights * residual**2) / max(len(x) - 2, 1))
        return slope, float(max(1.0, scatter) / np.sqrt(spread)), weights


def order(
    name: str, parameters: Sequence[float], errors: Sequence[float], sems: Sequence[float], expected: float
) -> Order:
    """An Order of plain floats."""
    return Order(name, *(tuple(float(x) for x in column) for column in (parameters, errors, sems)), expected)
