"""A claim's prediction against an observation: what agreement means, and the verdict.

"Agrees" means that the confidence interval of observed - predicted lies inside a margin stated beforehand, not that a
test failed to reject. The margin has named parts: rounding, model (the size of the terms that the theorem neglects)
and resolution (the discrepancy that the check undertakes to detect). Where the whole interval lies outside the margin
the verdict is a fail; where it straddles the margin's edge the sample is too small to decide, and nothing passes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri, stdtrit

Verdict = Literal["pass", "fail", "outside conditions"]

#: family-wise probability that one run of a job shows a fail where every claim holds
FALSE_ALARM = 1e-3


@dataclass(frozen=True)
class Margin:
    """What |observed - predicted| may be, in units of the observable: rounding + model + resolution."""

    rounding: float = 0.0
    model: float = 0.0
    resolution: float = 0.0

    @property
    def total(self) -> float:
        """Half-width of the margin."""
        return self.rounding + self.model + self.resolution


@dataclass(frozen=True)
class Check:
    """One comparison. The confidence interval reaches ``critical`` standard errors to either side.

    ``side`` "both": observed = predicted within the margin; "upper": observed <= predicted + margin; "lower" likewise.
    """

    claim: str
    quantity: str
    predicted: float
    observed: float
    sem: float
    margin: Margin
    critical: float
    conditions: dict[str, bool] = field(default_factory=dict)
    side: Literal["both", "upper", "lower"] = "both"

    @property
    def discrepancy(self) -> float:
        """observed - predicted."""
        return self.observed - self.predicted

    @property
    def z(self) -> float:
        """Discrepancy in standard errors; NaN for an observation without sampling error."""
        return float(self.discrepancy / self.sem) if self.sem > 0 else float("nan")

    @property
    def reach(self) -> float:
        """Half-width of the confidence interval; infinite where the standard error is unknown."""
        return self.critical * self.sem if np.isfinite(self.sem) else float("inf")

    @property
    def broken(self) -> tuple[str, ...]:
        """The conditions that do not hold here, one of them being that the sample resolves the margin."""
        broken = tuple(name for name, holds in self.conditions.items() if not holds)
        if not np.isfinite(self.margin.total):  # no comparison with it would be true
            return (*broken, "margin unknown, as a pilot diverged")
        undecided = not self._inside and not self._outside
        return (*broken, "sample too small for the margin") if undecided else broken

    @property
    def _inside(self) -> bool:
        """Whether the whole confidence interval lies inside the margin."""
        above = self.discrepancy + self.reach > self.margin.total
        below = self.discrepancy - self.reach < -self.margin.total
        return not {"both": above or below, "upper": above, "lower": below}[self.side]

    @property
    def _outside(self) -> bool:
        """Whether the whole confidence interval lies outside the margin."""
        above = self.discrepancy - self.reach > self.margin.total
        below = self.discrepancy + self.reach < -self.margin.total
        return {"both": above or below, "upper": above, "lower": below}[self.side]

    @property
    def verdict(self) -> Verdict:
        """pass, fail, or outside conditions."""
        if self.broken or not np.isfinite(self.discrepancy):
            return "outside conditions"
        return "pass" if self._inside else "fail"

    def _repr_html_(self) -> str:
        """A row of a table, for notebooks."""
        return html_table([self])

    def record(self) -> dict[str, object]:
        """The entry of summary.json."""
        return {
            "claim": self.claim,
            "quantity": self.quantity,
            "predicted": self.predicted,
            "observed": self.observed,
            "sem": self.sem,
            "z": self.z,
            "margin": {
                "rounding": self.margin.rounding,
                "sampling": self.reach,
                "model": self.margin.model,
                "resolution": self.margin.resolution,
            },
            "side": self.side,
            "broken_conditions": list(self.broken),
            "verdict": self.verdict,
        }


def of_all_replicas(checks: Sequence[Check], diverged: int) -> list[Check]:
    """The checks under the condition that no replica diverged: a mean over survivors is that of another ensemble."""
    held = {"no replica diverged": diverged == 0}
    return [replace(check, conditions=check.conditions | held) for check in checks]


def critical_value(comparisons: int, replicas: int, false_alarm: float = FALSE_ALARM) -> float:
    """Standard errors to either side so that all intervals of a run cover together with probability 1 - false_alarm.

    Bonferroni over the comparisons; Student's t with replicas - 1 degrees of freedom, as standard errors are estimated.
    """
    tail = false_alarm / (2 * max(comparisons, 1))
    return -float(stdtrit(replicas - 1, tail) if replicas > 1 else ndtri(tail))  # scipy.stats takes long to import


def mean_and_sem(
    values: npt.NDArray[np.float64], axis: int = -1
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean over replicas and its standard error, replicas that diverged (NaN) left out; sem NaN for fewer than two."""
    alive = np.sum(np.isfinite(values), axis=axis)
    filled = np.where(np.isfinite(values), values, 0.0)
    count = np.maximum(alive, 1)
    mean = np.sum(filled, axis=axis) / count
    deviation = np.where(np.isfinite(values), values - np.expand_dims(mean, axis), 0.0)
    variance = np.sum(deviation**2, axis=axis) / np.maximum(alive - 1, 1)
    sem = np.where(alive > 1, np.sqrt(variance / count), np.nan)
    return np.where(alive > 0, mean, np.nan), sem


def table(checks: Sequence[Check]) -> str:
    """The checks as lines of text: claim, quantity, predicted, observed +- sem, z, verdict."""
    header = f"{'claim':5}  {'quantity':46}  {'predicted':>11}  {'simulated':>11} ± {'sem':9}  {'z':>6}  verdict"
    lines = [header, "-" * len(header)]
    for check in checks:
        relation = {"both": " ", "upper": "≤", "lower": "≥"}[check.side]
        reason = f" ({', '.join(check.broken)})" if check.broken else ""
        z = f"{check.z:6.2f}" if abs(check.z) < 1000 else "     –" if np.isnan(check.z) else f"{check.z:6.0f}"
        lines.append(
            f"{check.claim:5}  {check.quantity:46}  {relation}{check.predicted:10.5g}  {check.observed:11.5g} ± "
            f"{check.sem:<9.2g}  {z}  {check.verdict}{reason}"
        )
    return "\n".join(lines)


class Checks(list[Check]):
    """Checks that a notebook shows as one table."""

    def _repr_html_(self) -> str:
        return html_table(self)


def html_table(checks: Sequence[Check]) -> str:
    """The checks as an HTML table, verdicts in colour and in words."""
    names = ("claim", "quantity", "predicted", "simulated", "z", "verdict")
    head = "".join(f"<th>{name}</th>" for name in names)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(map(_html_row, checks))}</tbody></table>"


def _html_row(check: Check) -> str:
    relation = {"both": "", "upper": "≤ ", "lower": "≥ "}[check.side]
    reason = f" ({', '.join(check.broken)})" if check.broken else ""
    colour = {"pass": "#0072B2", "fail": "#D55E00", "outside conditions": "#555555"}[check.verdict]
    z = "–" if np.isnan(check.z) else f"{check.z:.2f}"
    observed = f"{check.observed:.5g} ± {check.sem:.2g}"
    cells = (check.claim, check.quantity, f"{relation}{check.predicted:.5g}", observed, z)
    plain = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    return f'<tr>{plain}<td style="color:{colour}"><b>{check.verdict}</b>{escape(reason)}</td></tr>'
