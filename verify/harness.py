"""Running experiments: what one run tries, in which order, and what each row found."""

import math
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from numerics.check import Check, Margin
from theory.claims import BY_NUMBER
from verify.budget import Budget
from verify.case import Case, Setup
from verify.experiment import Control, Experiment

#: distance between the seeds of runs with different --seed: beyond every seed that cases and pilots use
SEED_STRIDE = 100_000


@dataclass(frozen=True)
class Row:
    """One run of one experiment: on a case, or a control."""

    experiment: Experiment
    case: Case | None
    control: Control | None
    checks: tuple[Check, ...]
    seconds: float

    @property
    def good(self) -> bool:
        """A case: every check passes. A control: refused."""
        if self.control is not None:
            return self.control.caught(list(self.checks))
        return bool(self.checks) and all(check.verdict == "pass" for check in self.checks)

    @property
    def label(self) -> str:
        """What was run, as `python -m verify row` takes it."""
        if self.control is not None:
            return f"control: {self.control.name}"
        return self.case.text() if self.case else "own data"

    @property
    def command(self) -> str:
        """The command that repeats this row alone."""
        if self.control is not None:
            return f"python -m verify row {self.experiment.key!r} --control {self.control.name!r}"
        if self.case is None:
            return shlex.join(["python", "-m", "verify", *sys.argv[1:]])
        return f"python -m verify row {self.experiment.key!r} --case {self.case.text()!r}"


@dataclass(frozen=True)
class Plan:
    """What a run tries: (experiment, case or control or setup) in order, and the budget that covers all of it."""

    budget: Budget
    items: tuple[tuple[Experiment, Case | Control | Setup], ...]

    def run(self) -> Iterator[Row]:
        """Row after row."""
        for experiment, what in self.items:
            yield run_one(experiment, what, self.budget)


def plan(
    experiments: Sequence[Experiment],
    *,
    everything: Sequence[Experiment],
    seed: int,
    factor: int = 1,
    quick: bool = False,
) -> Plan:
    """Fixed cases and, unless quick, drawn examples (``factor`` times as many as CI's) and controls of some
    experiments.

    The budget is that of ``everything``: a part of a run has the same levels as the whole.
    """
    items: list[tuple[Experiment, Case | Control | Setup]] = []
    for experiment in experiments:
        items += [(experiment, case) for case in cases_of(experiment, seed=seed, factor=0 if quick else factor)]
        items += [] if quick else [(experiment, control) for control in experiment.controls]
    comparisons = sum(e.comparisons * (len(e.cases) + factor * e.examples) for e in everything)
    return Plan(Budget(comparisons), tuple(items))


def cases_of(experiment: Experiment, *, seed: int, factor: int = 1) -> list[Case]:
    """Fixed cases, moved to the seed where they may be, then drawn ones."""
    fixed = [moved(experiment, case, seed) for case in experiment.cases]
    if experiment.domain is None:
        return fixed
    return fixed + [experiment.domain.draw(i, seed) for i in range(factor * experiment.examples)]


def moved(experiment: Experiment, case: Case, seed: int) -> Case:
    """The case at another seed; seed 0 leaves it."""
    return replace(case, seed=case.seed + SEED_STRIDE * seed) if experiment.any_seed else case


def run_one(experiment: Experiment, what: Case | Control | Setup, budget: Budget) -> Row:
    """One row, timed."""
    begin = time.perf_counter()
    if isinstance(what, Control):
        return Row(experiment, None, what, tuple(what.run(budget)), time.perf_counter() - begin)
    setup = what if isinstance(what, Setup) else what.setup()
    if isinstance(what, Setup) and (outside := not_applicable(experiment, what)) is not None:
        return Row(experiment, None, None, (outside,), time.perf_counter() - begin)
    checks = tuple(experiment.run(setup, budget))
    random = sum(check.sem > 0 for check in checks)
    if random > experiment.comparisons:
        raise RuntimeError(f"{experiment.key} made {random} random comparisons, budgeted {experiment.comparisons}")
    return Row(experiment, what if isinstance(what, Case) else None, None, checks, time.perf_counter() - begin)


def not_applicable(experiment: Experiment, setup: Setup) -> Check | None:
    """A check without numbers where a condition of the claim does not hold on a user's problem, so that nothing can
    be compared.
    """
    conditions = BY_NUMBER[experiment.claim].evaluate(setup.situation(relaxation=float("inf")))
    if all(conditions.values()):
        return None
    return Check(experiment.claim, experiment.name, math.nan, math.nan, 0.0, Margin(), 0.0, conditions)


def describe(check: Check) -> str:
    """One line: what was predicted, seen and allowed."""
    if math.isnan(check.observed):
        return f"{check.quantity}: {check.verdict}: {', '.join(check.broken)}"
    return (
        f"{check.quantity}: predicted {check.predicted:.6g}, observed {check.observed:.6g} ± {check.sem:.2g} "
        f"(z {check.z:.1f}), margin {check.margin.total:.3g} = {check.margin.rounding:.2g} + {check.margin.model:.2g} "
        f"+ {check.margin.resolution:.2g}, "
        f"{check.verdict} {', '.join(check.broken)}"
    )
