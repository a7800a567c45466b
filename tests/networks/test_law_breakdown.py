"""The table of where the law breaks: its cases, a row, a case without a law, and its text."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from numerics.networks import law_breakdown
from tests.networks.test_slow_law import CASE

SHORT = replace(CASE, steps=200, records=1, runs=2)


def test_every_case_changes_the_base_and_no_two_are_alike():
    cases = law_breakdown.cases(CASE)
    assert cases.pop("base") == CASE
    assert len({case for case in cases.values()} - {CASE}) == len(cases)


def test_a_row_holds_errors_and_the_part_that_sampling_explains():
    found = law_breakdown.row("short", SHORT, lambda _: None)
    assert found.note == ""
    assert 0 < found.sampling < np.inf
    assert found.moved < 0
    assert abs(found.trace_error) < abs(found.moved)


def test_a_case_without_a_law_says_why_and_the_text_shows_it():
    unstable = law_breakdown.row("too fast", replace(SHORT, stability=2.5), lambda _: None)
    assert np.isnan(unstable.distance)
    assert "mean-square stability limit" in unstable.note
    text = law_breakdown.lines([unstable])
    assert unstable.note in text[2]
    assert text[-1] == law_breakdown.KINKS
    assert law_breakdown.lines([]) == []
