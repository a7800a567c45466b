"""What a sceptical reader runs: every claim on its fixed cases, where every check has to pass."""

import pytest

from verify.case import Case
from verify.experiment import Experiment
from verify.harness import describe, moved, run_one
from verify.registry import BUDGET, EXPERIMENTS

FIXED = [(e, case) for e in EXPERIMENTS for case in e.cases]


@pytest.mark.parametrize(("experiment", "case"), FIXED, ids=[f"{e.key}-{case.text()}" for e, case in FIXED])
def test_claim_holds(experiment: Experiment, case: Case, seed_shift: int) -> None:
    row = run_one(experiment, moved(experiment, case, seed_shift), BUDGET)
    assert row.good, "\n".join([row.command, *map(describe, row.checks)])
