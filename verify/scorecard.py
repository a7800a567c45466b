"""The scorecard of a run: one line per claim, the rows behind it, and report.json."""

import math
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

from numerics.check import FALSE_ALARM, Check
from numerics.provenance import commit
from theory.claims import CLAIMS, Claim
from verify.budget import Budget
from verify.experiments.convergence import measured_orders
from verify.harness import Row
from verify.orders import Order

_LIBRARIES = ("numpy", "scipy", "numba", "sympy", "matplotlib")


@dataclass(frozen=True)
class Score:
    """A claim's line: cases tried and passed, controls refused, the worst z and the check closest to its margin."""

    claim: Claim
    rows: tuple[Row, ...]

    @property
    def cases(self) -> tuple[Row, ...]:
        """Rows that must pass."""
        return tuple(row for row in self.rows if row.control is None)

    @property
    def controls(self) -> tuple[Row, ...]:
        """Rows that must be refused."""
        return tuple(row for row in self.rows if row.control is not None)

    @property
    def verdict(self) -> str:
        """pass, fail, outside conditions (nothing but that), or not run."""
        if not self.rows:
            return "not run"
        if all(row.good for row in self.rows):
            return "pass"
        bad = [check for row in self.cases for check in row.checks if not row.good]
        failed = any(check.verdict == "fail" for check in bad) or any(not row.good for row in self.controls)
        return "fail" if failed else "outside conditions"

    @property
    def checks(self) -> tuple[Check, ...]:
        """All comparisons on cases."""
        return tuple(check for row in self.cases for check in row.checks)

    @property
    def worst_z(self) -> float:
        """Largest |z| of the random comparisons; NaN where there are none."""
        values = [abs(check.z) for check in self.checks if check.sem > 0]
        return max(values, default=math.nan)

    @property
    def closest(self) -> Check | None:
        """The comparison that uses most of its margin."""
        return max(self.checks, key=use_of_margin, default=None)


def use_of_margin(check: Check) -> float:
    """Far end of the interval over the margin: at most 1 where the check passes. A one-sided check may be negative."""
    reach = check.critical * check.sem
    ends = {"both": abs(check.discrepancy), "upper": check.discrepancy, "lower": -check.discrepancy}
    far = ends[check.side] + reach
    if check.margin.total > 0:
        return far / check.margin.total
    return 0.0 if far <= 0 else math.inf


def scores(rows: Sequence[Row]) -> tuple[Score, ...]:
    """One per claim, in the claims' order."""
    return tuple(Score(claim, tuple(row for row in rows if row.experiment.claim == claim.number)) for claim in CLAIMS)


def text(rows: Sequence[Row], budget: Budget) -> str:
    """The scorecard as lines of text."""
    lines = [
        f"{'claim':5}  {'and statement':26}  {'cases':>9}  {'controls':>8}  {'worst z':>7}  "
        "closest to its margin: predicted, observed",
        "-" * 118,
    ]
    lines += [_line(score) for score in scores(rows) if score.rows]
    random = sum(check.sem > 0 for row in rows if row.control is None for check in row.checks)
    orders = [_order_line(order) for order in orders_of(rows)]
    return "\n".join([*lines, "", *orders, "", budget_line(budget, random)])


def _order_line(order: Order) -> str:
    low, high = order.interval(FALSE_ALARM)
    return (
        f"Order of the {order.name}: slope {order.slope:.3f} in [{low:.3f}, {high:.3f}], expected {order.expected:g}; "
        f"last error {order.last_error:.2g}; 10 % at {order.passes(0.1):.2g}"
    )


def budget_line(budget: Budget, random: int) -> str:
    """What the whole run's false-alarm probability is and how it is shared."""
    return (
        f"False alarms: at most {budget.false_alarm:g} per run, shared by {budget.comparisons} random comparisons "
        f"planned ({random} made), {budget.level:.1e} each."
    )


def _line(score: Score) -> str:
    check = score.closest
    numbers = "" if check is None else f"{check.quantity[:30]}: {check.predicted:.4g}, {check.observed:.4g}"
    numbers = numbers if check is None or not math.isnan(check.observed) else "nothing to compare"
    cases = f"{sum(row.good for row in score.cases)}/{len(score.cases)}"
    controls = f"{sum(row.good for row in score.controls)}/{len(score.controls)}"
    z = "exact" if math.isnan(score.worst_z) else f"{score.worst_z:.1f}"
    first = f"{score.claim.number:5}  {score.claim.title:26}  {cases:>9}  {controls:>8}  {z:>7}  {numbers:52}"
    return f"{first}  {score.verdict}\n       {score.claim.statement}"


def failures(rows: Sequence[Row]) -> str:
    """The rows that went wrong, each with the command that repeats it."""
    from verify.harness import describe

    bad = [row for row in rows if not row.good]
    return "\n".join(
        "\n  ".join([f"{row.experiment.key} {row.label}", row.command, *map(describe, row.checks)]) for row in bad
    )


def provenance(seed: int) -> dict[str, object]:
    """Commit, command, seed, versions and machine."""
    return {
        "git": commit(),
        "command": " ".join(["python -m verify", *sys.argv[1:]]),
        "seed": seed,
        "libraries": {name: version(name) for name in _LIBRARIES},
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


def record(rows: Sequence[Row], budget: Budget, *, seed: int, seconds: float) -> dict[str, object]:
    """The content of report.json."""
    return {
        "provenance": {**provenance(seed), "wall_seconds": round(seconds, 1)},
        "budget": {"false_alarm": budget.false_alarm, "comparisons": budget.comparisons, "level": budget.level},
        "orders": [_order_record(order) for order in orders_of(rows)],
        "claims": [_claim_record(score) for score in scores(rows)],
        "rows": [_row_record(row) for row in rows],
    }


def orders_of(rows: Sequence[Row]) -> list[Order]:
    """The convergence orders that these rows measured."""
    return measured_orders({row.experiment.key for row in rows if row.case is not None})


def _order_record(order: Order) -> dict[str, object]:
    low, high = order.interval(FALSE_ALARM)
    return {
        "name": order.name,
        "expected": order.expected,
        "slope": order.slope,
        "interval": [low, high],
        "parameters": order.parameters,
        "errors": order.errors,
        "sems": order.sems,
        "last_error": order.last_error,
        "passes_10_percent_at": order.passes(0.1),
    }


def _claim_record(score: Score) -> dict[str, object]:
    claim = score.claim
    return {
        "claim": claim.number,
        "title": claim.title,
        "statement": claim.statement,
        "latex": list(claim.latex),
        "conditions": [condition.name for condition in claim.conditions],
        "source": claim.source,
        "realised_by": list(claim.realised_by),
        "figure": claim.figure or claim.no_figure,
        "cases": len(score.cases),
        "controls": len(score.controls),
        "worst_z": score.worst_z,
        "verdict": score.verdict,
    }


def _row_record(row: Row) -> dict[str, object]:
    return {
        "experiment": row.experiment.key,
        "case": row.label,
        "control": row.control is not None,
        "good": row.good,
        "seconds": round(row.seconds, 3),
        "command": row.command,
        "checks": [check.record() for check in row.checks],
    }
