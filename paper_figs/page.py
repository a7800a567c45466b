"""One page with all figures of a folder: picture, caption, alt text, hash of the data."""

import html
import json
from pathlib import Path

from paper_figs.catalogue import FIGURES

_HEAD = """<!doctype html><html lang="en"><meta charset="utf-8"><title>latedecay: figures</title>
<style>body{font-family:system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem;line-height:1.5}
img{max-width:100%}figure{margin:2.5rem 0}figcaption{font-size:.95rem}small{color:#555;overflow-wrap:anywhere}</style>
<h1>Figures</h1>
"""


def page(folder: Path) -> str:
    """HTML of the figures that lie in the folder, in the order of the catalogue."""
    records = [json.loads(path.read_text()) for stem in FIGURES if (path := folder / f"{stem}.json").exists()]
    return _HEAD + "".join(entry(record, number) for number, record in enumerate(records, 1))


def entry(record: dict[str, object], number: int) -> str:
    """One figure."""
    stem, alt = record["figure"], html.escape(str(record["alt"]), quote=True)
    lines = "".join(f"<br><small>{html.escape(str(line))}</small>" for line in list(record["asserted"]))  # type: ignore[call-overload]
    return (
        f'<figure id="{stem}"><img src="{stem}.svg" alt="{alt}">'
        f"<figcaption><b>Figure {number}.</b> {html.escape(str(record['caption']))}{lines}<br>"
        f'<small><a href="{stem}.pdf">PDF</a> · <a href="{stem}.png">PNG</a> · <a href="{stem}.nc">data</a> · '
        f"sha256 {record['sha256']}</small></figcaption></figure>\n"
    )
