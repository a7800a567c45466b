"""A page per claim: statement, conditions, derivation by theory, figure, check, source, functions."""

from pathlib import Path

from derivations import Record, records
from figure_pages import FigureRecord, block, escaped

from theory import notation
from theory.claims import CLAIMS, Claim


def pages(figures: list[FigureRecord], store: Path) -> dict[str, str]:
    """Claims, their table, and the notation."""
    steps = records(store)
    found = {f"claims/{claim.number}.md": page(claim, steps, figures) for claim in CLAIMS}
    return {**found, "claims.md": overview(figures), "notation.md": notation_page()}


def page(claim: Claim, steps: list[Record], figures: list[FigureRecord]) -> str:
    """One claim."""
    parts = [f"# {claim.number} {claim.title}", escaped(claim.statement), *(f"$$\n{line}\n$$" for line in claim.latex)]
    told = "; ".join(escaped(c.name) for c in claim.conditions)
    parts += [f"**Conditions:** {told}. Outside them the check says so.",
              f"**Source:** {escaped(claim.source)}."]  # fmt: skip
    mine = [record for record in figures if record["figure"] == claim.figure]
    parts += ["## Figure", *(block(record) for record in mine)] if mine else [f"*No figure: {claim.no_figure}.*"]
    others = [record["figure"] for record in figures if claim.number in record["claims"] and record not in mine]
    links = ", ".join(
        f"[{stem.removeprefix('fig_').replace('_', ' ')}](../figures.md#{anchor(stem)})" for stem in others
    )
    parts += [f"Also in: {links}."] if others else []
    parts += ["## Check", f"```sh\npython -m verify --claims {claim.number}\n```", *asserted(claim, figures)]
    parts += derivation(claim, steps)
    parts += ["## In the code", "\n".join(f"- [`{name}`]({link(name)})" for name in claim.realised_by)]
    return "\n\n".join(parts) + "\n"


def asserted(claim: Claim, figures: list[FigureRecord]) -> list[str]:
    """What verify found when the figures were made."""
    lines = {line for record in figures for line in record["asserted"] if line.startswith(f"verify {claim.number}:")}
    return ["\n".join(f"- {escaped(line)}" for line in sorted(lines))] if lines else []


def derivation(claim: Claim, steps: list[Record]) -> list[str]:
    """The steps of theory that belong to the claim."""
    mine = [step for step in steps if claim.number in step["claim"].split(", ")]
    if not mine:
        return [f"## Derivation\n\nNot in the symbolic chain: {escaped(claim.source)}."]
    parts = ["## Derivation", "By `python -m theory`, which proves each step by substitution:"]
    for step in mine:
        parts += [
            f"**{escaped(step['name'])}.** {escaped(step['statement'])}",
            f"$$\n{step['latex']}\n$$",
            f"*{escaped(step['status'])}.*",
        ]
    return parts


def link(name: str) -> str:
    """Where the API page of module:attribute lies."""
    module = name.split(":")[0]
    return f"../api/{module}.md"


def overview(figures: list[FigureRecord]) -> str:
    """The table claim, check, figure, and the tree of pages."""
    rows = ["| claim | says | check | figure |", "| --- | --- | --- | --- |"]
    for claim in CLAIMS:
        stems = [record["figure"] for record in figures if claim.number in record["claims"]]
        shown = ", ".join(f"[{stem.removeprefix('fig_')}](figures.md#{anchor(stem)})" for stem in stems) or "–"
        rows.append(
            f"| [{claim.number} {claim.title}](claims/{claim.number}.md) | {escaped(claim.statement)} | `python -m "
            f"verify --claims {claim.number}` | {shown} |"
        )
    tree = "```{toctree}\n:hidden:\n\n" + "\n".join(f"claims/{claim.number}" for claim in CLAIMS) + "\n```"
    return (
        "\n\n".join(
            ["# Claims", "What is claimed, where it is checked, and the figure that shows it.", "\n".join(rows), tree]
        )
        + "\n"
    )


def anchor(stem: str) -> str:
    """The heading's anchor of a figure on the gallery page."""
    return stem.removeprefix("fig_").replace("_", "-")


def notation_page() -> str:
    """The table of symbols."""
    rows = ["| symbol | shape | meaning | option |", "| --- | --- | --- | --- |"]
    for entry in notation.TABLE:
        option = f"`--{entry.option}`" if entry.option else ""
        rows.append(f"| ${entry.latex}$ | {entry.shape} | {escaped(entry.meaning)} | {option} |")
    return "\n\n".join(["# Notation", "The one table of symbols, from `theory/notation.py`.", "\n".join(rows)]) + "\n"
