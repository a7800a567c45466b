"""Checks in a notebook: a table with the verdict in words, text escaped."""

import pytest

from numerics.check import Check, Checks, Margin


def check(observed: float, **changes: object) -> Check:
    settings = {"margin": Margin(resolution=0.1), "critical": 3.0, **changes}
    return Check("C4", "rho <end>", 1.0, observed, 0.01, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(("observed", "verdict"), [(1.01, "pass"), (2.0, "fail")])
def test_a_check_shows_its_verdict_in_words(observed: float, verdict: str) -> None:
    assert f"<b>{verdict}</b>" in check(observed)._repr_html_()


def test_text_is_escaped_and_a_broken_condition_named() -> None:
    shown = check(1.0, conditions={"sigma > 0": False})._repr_html_()
    assert "rho &lt;end&gt;" in shown
    assert "outside conditions" in shown
    assert "sigma &gt; 0" in shown


def test_several_checks_are_one_table() -> None:
    shown = Checks([check(1.0), check(2.0)])._repr_html_()
    assert shown.count("<table>") == 1
    assert shown.count("<tr>") == 3
