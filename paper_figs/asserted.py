"""What `verify` asserts about a claim, as lines for a caption: run, not typed."""

from collections.abc import Iterable


def asserted(claims: Iterable[str]) -> list[str]:
    """One line per claim."""
    return []
