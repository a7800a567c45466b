"""The gallery: every figure that `python -m paper_figs --out docs/figures` left, with caption and alt text."""

import html
import json
import re
from pathlib import Path
from typing import Any

from paper_figs.catalogue import FIGURES

FigureRecord = dict[str, Any]


def records(folder: Path) -> list[FigureRecord]:
    """The JSON records of the figures in a folder, in the order of the story."""
    return [
        json.loads(path.read_text(encoding="utf-8")) for stem in FIGURES if (path := folder / f"{stem}.json").exists()
    ]


def pages(found: list[FigureRecord]) -> dict[str, str]:
    """The gallery, and a table of hashes."""
    parts = [
        "# Figures",
        "Made by one command; two runs give equal hashes of the data.",
        "```sh\npython -m paper_figs --small\n```",
    ]
    for record in found:
        parts += [
            f"## {record['figure'].removeprefix('fig_').replace('_', ' ')}",
            f"*{FIGURES[record['figure']]}*",
            block(record),
        ]
    return {"figures.md": "\n\n".join(parts) + "\n"}


def block(record: FigureRecord) -> str:
    """Picture, alt text, caption; what verify asserts; the hash. Image paths are absolute within docs."""
    alt = html.unescape(record["alt"]).replace("\n", " ")
    caption = escaped(record["caption"])
    verdicts = "; ".join(escaped(line) for line in record["asserted"])
    told = f"\n\n{verdicts}." if verdicts else ""
    size = "a small run" if record["small"] else "the full run"
    return (
        f":::{{figure}} /figures/{record['figure']}.svg\n:alt: {alt}\n:figclass: figure-record\n\n{caption}\n"
        f"{told}\n\nData of {size}: SHA-256 `{record['sha256'][:16]}…`\n:::"
    )


def escaped(text: str) -> str:
    """Plain text as MyST shows it unchanged; ``code`` becomes code."""
    pieces = re.split(r"(``[^`]+``|`[^`]+`)", text)
    return "".join(f"`{piece.strip('`')}`" if piece.startswith("`") else _plain(piece) for piece in pieces)


def _plain(text: str) -> str:
    return re.sub(r"([\\*_{}\[\]()<>#|$^~])", r"\\\1", text)
