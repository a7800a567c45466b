"""Every derivation of `theory` with its LaTeX and proof, kept in a file until a source of `theory` changes."""

import hashlib
import json
from pathlib import Path

import sympy

ROOT = Path(__file__).parents[2]
Record = dict[str, str]


def records(store: Path) -> list[Record]:
    """name, claim, statement, latex and status of every step of the radial chain at symbolic depth."""
    mark = fingerprint()
    if store.exists():
        kept = json.loads(store.read_text(encoding="utf-8"))
        if kept["sources"] == mark:
            return list(kept["steps"])
    steps = derive()
    store.parent.mkdir(parents=True, exist_ok=True)
    store.write_text(json.dumps({"sources": mark, "steps": steps}, indent=1), encoding="utf-8")
    return steps


def fingerprint() -> str:
    """SHA-256 over the sources of theory and this file."""
    found = hashlib.sha256()
    for path in [*sorted((ROOT / "theory").glob("*.py")), Path(__file__)]:
        found.update(path.read_bytes())
    return found.hexdigest()


def derive() -> list[Record]:
    """Derive and prove everything now: about half a minute."""
    from theory import notation
    from theory.__main__ import chain, status
    from theory.parametrization import named

    found = []
    for title, steps in chain(named("radial", notation.D)):
        for step in steps:
            names = {symbol: notation.latex_name(symbol) for symbol in step.expression.free_symbols}
            latex = sympy.latex(step.expression, symbol_names=names)
            found.append(
                {"section": title, "name": step.name, "claim": step.claim, "statement": step.statement,
                 "latex": latex, "status": status(step)}
            )  # fmt: skip
    return found
