"""What a sceptical reader runs: every claim on its cases, on drawn examples, and on controls that must not pass."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

from numerics.check import Check
from verify.case import Case
from verify.experiment import Control, Experiment
from verify.registry import BUDGET, EXPERIMENTS
from verify.strategies import cases

FIXED = [(e, case) for e in EXPERIMENTS for case in e.cases]
CONTROLS = [(e, control) for e in EXPERIMENTS for control in e.controls]
DRAWN = [e for e in EXPERIMENTS if e.domain is not None]


def assert_agreement(experiment: Experiment, case: Case) -> None:
    """Every check passes, and no more random comparisons were made than the budget knows of."""
    checks = experiment.run(case.setup(), BUDGET)
    random = sum(check.sem > 0 for check in checks)
    assert random <= experiment.comparisons, f"{experiment.key} made {random} comparisons, budgeted {experiment.comparisons}"
    wrong = [describe(check) for check in checks if check.verdict != "pass"]
    assert not wrong, "\n".join([f"{experiment.key} on {case}", *wrong])


def describe(check: Check) -> str:
    """One line: what was predicted, seen and allowed."""
    return (
        f"{check.quantity}: predicted {check.predicted:.6g}, observed {check.observed:.6g} ± {check.sem:.2g} (z {check.z:.1f}), "
        f"margin {check.margin}, {check.verdict} {list(check.broken)}"
    )


@pytest.mark.parametrize(("experiment", "case"), FIXED, ids=[f"{e.key}-{case.text()}" for e, case in FIXED])
def test_claim_holds(experiment: Experiment, case: Case, seed_shift: int) -> None:
    assert_agreement(experiment, replace(case, seed=case.seed + seed_shift) if experiment.any_seed else case)


@pytest.mark.parametrize("experiment", DRAWN, ids=[e.key for e in DRAWN])
def test_claim_holds_on_drawn_examples(experiment: Experiment, seed_shift: int) -> None:
    assert experiment.domain is not None

    @settings(max_examples=experiment.examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(cases(experiment.domain))
    def holds(case: Case) -> None:
        assert_agreement(experiment, replace(case, seed=case.seed + 1000 * seed_shift))

    holds()


@pytest.mark.parametrize(("experiment", "control"), CONTROLS, ids=[f"{e.key}-{c.name}" for e, c in CONTROLS])
def test_control_is_refused(experiment: Experiment, control: Control) -> None:
    checks = control.run(BUDGET)
    assert control.caught(checks), "\n".join([f"{experiment.key}: {control.name} passed", *map(describe, checks)])
