"""The README's table claim, check, figure, written from theory.claims: `python docs/_ext/readme_table.py`."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from theory.claims import CLAIMS  # noqa: E402

BEGIN, END = "<!-- table: written by `make docs`, compared in a test -->", "<!-- end of table -->"


def table() -> str:
    """The table as Markdown."""
    rows = ["| claim | what it says | check | figure |", "| --- | --- | --- | --- |"]
    for claim in CLAIMS:
        figure = f"[{claim.figure}](docs/figures/{claim.figure}.svg)" if claim.figure else "–"
        rows.append(
            f"| {claim.number} {claim.title} | {claim.statement} | `verify --claims {claim.number}` | {figure} |"
        )
    return "\n".join(rows)


def updated(text: str) -> str:
    """The README with the table of today."""
    return re.sub(
        f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: f"{BEGIN}\n{table()}\n{END}", text, flags=re.DOTALL
    )


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(updated(readme.read_text(encoding="utf-8")), encoding="utf-8")
