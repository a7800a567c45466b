"""Every claim is checked, controlled and shown; every case can be written down and read back."""

from importlib import import_module

import pytest
from hypothesis import given

from theory.claims import CLAIMS, FIGURES, Claim
from verify.case import DEPTHS, Case
from verify.experiment import Domain
from verify.harness import cases_of
from verify.registry import BUDGET, EXPERIMENTS, find, of_claim
from verify.strategies import cases

NUMBERS = [claim.number for claim in CLAIMS]


def test_claims_are_C1_to_C16() -> None:
    assert [f"C{i}" for i in range(1, 17)] == NUMBERS


@pytest.mark.parametrize("claim", CLAIMS, ids=NUMBERS)
def test_claim_has_a_check_and_a_negative_control(claim: Claim) -> None:
    experiments = of_claim(claim.number)
    assert any(e.cases for e in experiments), "no check"
    assert any(e.controls for e in experiments), "no negative control"


@pytest.mark.parametrize("claim", CLAIMS, ids=NUMBERS)
def test_claim_has_a_figure_of_the_table_or_a_reason(claim: Claim) -> None:
    assert bool(claim.figure) != bool(claim.no_figure)
    assert not claim.figure or claim.figure in FIGURES


def test_figures_of_the_claims_are_in_the_catalogue() -> None:
    catalogue = pytest.importorskip("paper_figs.catalogue")
    assert set(FIGURES) <= set(catalogue.FIGURES)


@pytest.mark.parametrize("claim", CLAIMS, ids=NUMBERS)
def test_realising_functions_exist(claim: Claim) -> None:
    for path in claim.realised_by:
        module, _, name = path.partition(":")
        found = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
        assert callable(found)


@pytest.mark.parametrize("claim", CLAIMS, ids=NUMBERS)
def test_formulas_are_drawn(claim: Claim) -> None:
    from matplotlib.mathtext import MathTextParser

    for latex in claim.latex:
        MathTextParser("path").parse(f"${latex}$")


def test_conditions_can_be_broken() -> None:
    """Every claim has a condition that some situation breaks, or its conditions would say nothing."""
    wild = (
        Case()
        .setup()
        .situation(
            n=5,
            d=5,
            sigma=0.0,
            load=2.0,
            noise_share=1.0,
            noise="none",
            consistent=False,
            saturated=False,
            relaxation=0.0,
        )
    )
    for claim in CLAIMS:
        assert not all(claim.evaluate(wild).values()), claim.number


def test_first_check_is_the_pathwise_identity() -> None:
    assert EXPERIMENTS[0].claim == "C16"


def test_budget_covers_every_case_and_example() -> None:
    assert sum(e.comparisons * len(cases_of(e, seed=0)) for e in EXPERIMENTS) == BUDGET.comparisons
    assert BUDGET.false_alarm <= 1e-3


def test_keys_are_unique() -> None:
    assert len({e.key for e in EXPERIMENTS}) == len(EXPERIMENTS)
    assert find("C4:drift").claim == "C4"


@given(cases(Domain(depths=DEPTHS)))
def test_a_case_reads_back_what_it_writes(case: Case) -> None:
    assert Case.read(case.text()) == case


def test_drawn_cases_are_equal_for_equal_seeds() -> None:
    domain = Domain()
    assert domain.draw(3, 1) == domain.draw(3, 1) != domain.draw(4, 1)
