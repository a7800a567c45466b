"""Every claim on examples that hypothesis draws from its domain; a failing one shrinks to a small readable case."""

import pytest
from hypothesis import HealthCheck, given, settings

from verify.case import Case
from verify.experiment import Experiment
from verify.harness import describe, run_one
from verify.registry import BUDGET, EXPERIMENTS
from verify.strategies import cases

DRAWN = [e for e in EXPERIMENTS if e.domain is not None]


@pytest.mark.parametrize("experiment", DRAWN, ids=[e.key for e in DRAWN])
def test_claim_holds_on_drawn_examples(experiment: Experiment) -> None:
    assert experiment.domain is not None

    @settings(max_examples=experiment.examples, suppress_health_check=list(HealthCheck))
    @given(cases(experiment.domain))
    def holds(case: Case) -> None:
        row = run_one(experiment, case, BUDGET)
        assert row.good, "\n".join([row.command, *map(describe, row.checks)])

    holds()
