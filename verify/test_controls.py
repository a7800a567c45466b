"""Negative controls: cases with a hypothesis dropped, where the same comparison must report fail or outside
conditions.
"""

import pytest

from verify.experiment import Control, Experiment
from verify.harness import describe, run_one
from verify.registry import BUDGET, EXPERIMENTS

CONTROLS = [(e, control) for e in EXPERIMENTS for control in e.controls]


@pytest.mark.parametrize(("experiment", "control"), CONTROLS, ids=[f"{e.key}-{c.name}" for e, c in CONTROLS])
def test_control_is_refused(experiment: Experiment, control: Control) -> None:
    row = run_one(experiment, control, BUDGET)
    assert row.good, "\n".join([row.command, *map(describe, row.checks)])
