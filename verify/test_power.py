"""The suite turns red where it must: mutants of theory and simulators, a few in CI and all of them with --full."""

from pathlib import Path

import pytest

from verify.mutants import MUTANTS, Mutant
from verify.power import REQUIRED, ROOT, plant, run

SIMULATORS = ("numerics/kernels", "numerics/sgd", "numerics/schedule", "numerics/streams", "numerics/problem")


def test_there_are_at_least_forty_mutants_of_theory_and_simulators() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 40
    assert sum(mutant.file.startswith(SIMULATORS) for mutant in MUTANTS) >= 10
    assert sum(mutant.file.startswith("theory/") for mutant in MUTANTS) >= 5


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_mutant_changes_one_line_that_is_there(mutant: Mutant) -> None:
    assert (ROOT / mutant.file).read_text().count(mutant.old) == 1
    assert mutant.new != mutant.old


def test_a_mutant_whose_line_is_gone_is_an_error(tmp_path: Path) -> None:
    stale = Mutant("stale", "numerics/sgd.py", "no such line", "", ("C2",))
    with pytest.raises(ValueError, match="occurs 0 times"):
        plant(stale, tmp_path)


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.fast], ids=lambda m: m.name)
def test_suite_turns_red(mutant: Mutant) -> None:
    assert run(mutant).caught


@pytest.mark.full
def test_enough_mutants_are_caught_and_survivors_are_explained() -> None:
    outcomes = [run(mutant) for mutant in MUTANTS if not mutant.fast]
    survivors = [outcome.mutant for outcome in outcomes if not outcome.caught]
    assert all(mutant.survives for mutant in survivors), [mutant.name for mutant in survivors]
    assert len(survivors) <= (1 - REQUIRED) * len(MUTANTS)
