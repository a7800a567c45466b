"""Pages that cannot part from the code: claims with their derivations, notation, figures, API, measured numbers.

Written into docs/_generated before Sphinx reads its sources; a page is rewritten only where its text changed.
"""

from pathlib import Path
from typing import Any

import api_pages
import claim_pages
import figure_pages
import measured

DOCS = Path(__file__).parents[1]
TARGET = DOCS / "_generated"


def write_pages(target: Path = TARGET) -> list[Path]:
    """Write every generated page; the paths. Pages that nothing generates any more are removed."""
    records = figure_pages.records(DOCS / "figures")
    pages = {
        **claim_pages.pages(records, target / "derivations.json"),
        **figure_pages.pages(records),
        **api_pages.pages(),
    }
    for stale in set(target.rglob("*.md")) - {target / name for name in pages}:
        stale.unlink()
    return [write(target / name, text) for name, text in pages.items()]


def write(path: Path, text: str) -> Path:
    """Write text unless it is there already: Sphinx then reads only what changed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
    return path


def configure(_: Any, config: Any) -> None:
    """Before anything is read: pages, and the numbers that pages may name."""
    write_pages()
    config.myst_substitutions = {**config.myst_substitutions, **measured.numbers(DOCS / "figures")}


def setup(app: Any) -> dict[str, bool]:
    """Sphinx calls this."""
    app.connect("config-inited", configure)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
