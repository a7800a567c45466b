"""What `verify` asserts about a claim, as lines for a caption: its own checks, run on their first case."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numerics.check import Check

_PER_CLAIM = 2


def asserted(claims: Iterable[str]) -> list[str]:
    """Up to two lines per claim: the first check of its first experiments, with numbers and verdict."""
    from verify.registry import BUDGET, of_claim

    lines = []
    for claim in claims:
        for experiment in of_claim(claim)[:_PER_CLAIM]:
            first = experiment.run(experiment.cases[0].setup(), BUDGET)[0]
            lines.append(f"verify {experiment.key}: {told(first)}")
    return lines


def told(check: "Check") -> str:
    """A check in words."""
    observed = f"{check.observed:.4g} ± {check.sem:.1g}" if check.sem > 0 else f"{check.observed:.4g}"
    relation = {"both": "", "upper": "at most ", "lower": "at least "}[check.side]
    return f"{check.quantity}: observed {observed}, predicted {relation}{check.predicted:.4g}: {check.verdict}"
