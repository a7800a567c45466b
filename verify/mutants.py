"""Faults planted on purpose, kept as data in mutants.toml: which line of which file becomes which, and who
should notice.

``old`` occurs exactly once in the file: a test keeps it so. ``claims`` are tried first; a mutant that they
let through is run against all the others before it counts as a survivor. ``survives`` gives the reason
where one cannot be caught.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mutant:
    """One fault."""

    name: str
    file: str
    old: str
    new: str
    claims: tuple[str, ...]
    fast: bool = False
    survives: str = ""


def read(path: Path) -> tuple[Mutant, ...]:
    """The mutants of a file."""
    rows = tomllib.loads(path.read_text())["mutant"]
    return tuple(Mutant(**{**row, "claims": tuple(row["claims"])}) for row in rows)


MUTANTS = read(Path(__file__).with_name("mutants.toml"))
