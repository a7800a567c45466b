"""report.html and report.json: formulas, a figure per claim, every row with the command that repeats it. No
network, no scripts.
"""

import base64
import html
import json
import math
from collections.abc import Sequence
from functools import cache
from io import BytesIO
from pathlib import Path

from numerics.check import FALSE_ALARM, Check
from numerics.files import write_bytes, write_json
from verify.budget import Budget
from verify.harness import Row
from verify.orders import Order
from verify.scorecard import Score, budget_line, orders_of, record, scores, use_of_margin

_FIGURES = Path(__file__).parents[1] / "docs" / "figures"

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fff }
body { max-width: 64rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin: 2.5rem 0 .3rem; border-top: 1px solid #ccc; padding-top: 1rem }
table { border-collapse: collapse; font-size: .85rem; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: .2rem .6rem .2rem 0; border-bottom: 1px solid #e4e4e4; vertical-align: top }
td.number { text-align: right; white-space: nowrap } .scroll { overflow-x: auto }
.pass { color: #00612e } .fail { color: #a40000; font-weight: bold } .outside { color: #6b4a00 }
img.formula { display: block; max-width: 100%; margin: .5rem 0 } img.figure { display: block; max-width: 100% }
code { font-size: .8rem; overflow-wrap: anywhere } summary { cursor: pointer; margin: .5rem 0 }
.small { font-size: .85rem; color: #444 }
"""

_HOW = (
    "A check passes when the whole confidence interval lies inside its margin of rounding, model (the size of what the "
    "theorem neglects) and resolution (what the check undertakes to see); too small a sample does not pass. z counts "
    "standard errors: with small ones it may be large where the model part of the margin explains it. Controls have a "
    "hypothesis dropped and must be refused."
)


def write(folder: Path, rows: Sequence[Row], budget: Budget, *, seed: int, seconds: float) -> Path:
    """Both files in the folder; returns the page."""
    folder.mkdir(parents=True, exist_ok=True)
    content = record(rows, budget, seed=seed, seconds=seconds)
    write_json(folder / "report.json", content)
    return write_bytes(folder / "report.html", page(rows, budget, content).encode())


def page(rows: Sequence[Row], budget: Budget, content: dict[str, object]) -> str:
    """The whole page."""
    tried = [score for score in scores(rows) if score.rows]
    verdicts = [score.verdict for score in tried]
    random = sum(check.sem > 0 for row in rows if row.control is None for check in row.checks)
    headline = f"{verdicts.count('pass')} of {len(verdicts)} claims pass"
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>latedecay: verification report</title>',
            f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>',
            f"<h1>{headline}</h1><p>{html.escape(budget_line(budget, random))} {_HOW}</p>",
            _summary(tried),
            *(_section(score) for score in tried),
            _orders(rows),
            _provenance(content),
            "</body></html>",
        ]
    )


def _summary(tried: Sequence[Score]) -> str:
    head = "<tr><th>Claim<th>Statement<th>Cases<th>Controls<th>Worst z<th>Closest to its margin<th>Verdict</tr>"
    body = "".join(_summary_row(score) for score in tried)
    return f'<div class="scroll"><table id="scorecard">{head}{body}</table></div>'


def _summary_row(score: Score) -> str:
    claim, check = score.claim, score.closest
    closest = f"{html.escape(check.quantity)}: {check.predicted:.4g} predicted, {_observed(check)}" if check else ""
    z = "exact" if math.isnan(score.worst_z) else f"{score.worst_z:.1f}"
    cases = f"{sum(row.good for row in score.cases)} / {len(score.cases)}"
    controls = f"{sum(row.good for row in score.controls)} / {len(score.controls)}"
    return (
        f'<tr><td><a href="#{claim.number}">{claim.number}</a><td>{html.escape(claim.title)}: '
        f'{html.escape(claim.statement)}<td class="number">{cases}'
        f'<td class="number">{controls}<td class="number">{z}<td>{closest}<td>{_verdict(score.verdict)}</tr>'
    )


def _observed(check: Check) -> str:
    return f"{check.observed:.4g}" + (f" ± {check.sem:.1g}" if check.sem > 0 else "") + " observed"


def _verdict(verdict: str) -> str:
    return f'<span class="{verdict.split()[0]}">{verdict}</span>'


def _section(score: Score) -> str:
    claim = score.claim
    formulas = "".join(_formula(latex) for latex in claim.latex)
    conditions = "; ".join(condition.name for condition in claim.conditions)
    figure = f"paper_figs/{claim.figure}" if claim.figure else f"none: {claim.no_figure}"
    parts = [
        f'<h2 id="{claim.number}">{claim.number} {html.escape(claim.title)}: {_verdict(score.verdict)}</h2>',
        f"<p>{html.escape(claim.statement)}</p>{formulas}",
        f'<p class="small">Conditions: {html.escape(conditions)}. Source: {html.escape(claim.source)}. Realised by '
        f"<code>{html.escape(', '.join(claim.realised_by))}</code>. Figure: {html.escape(figure)}.</p>",
        _published(claim.figure),
        _figure(score),
        f'<details><summary>{len(score.rows)} rows</summary><div class="scroll"><table>{_HEAD}',
        *(_rows(row) for row in score.rows),
        "</table></div></details>",
    ]
    return "\n".join(parts)


def _published(stem: str) -> str:
    """The claim's figure with its caption, from the checkout's docs/figures; nothing where there is none."""
    picture, text = (_FIGURES / f"{stem}{kind}" for kind in (".svg", ".json"))
    if not (stem and picture.exists() and text.exists()):
        return ""
    words = json.loads(text.read_text())
    data = base64.b64encode(picture.read_bytes()).decode()
    return (
        f'<img class="figure published" alt="{html.escape(words["alt"])}" src="data:image/svg+xml;base64,{data}">'
        f'<p class="small">{html.escape(words["caption"])}</p>'
    )


_HEAD = (
    "<tr><th>Quantity<th>Predicted<th>Observed<th>Standard error<th>z"
    "<th>Sampling<th>Rounding<th>Model<th>Resolution<th>Verdict</tr>"
)


def _rows(row: Row) -> str:
    good = "as it must be" if row.good else '<span class="fail">not as it must be</span>'
    head = (
        f'<tr><td colspan="10"><b>{html.escape(row.experiment.name)}</b> {html.escape(row.label)}: {good} '
        f"({row.seconds:.2f} s)<br><code>{html.escape(row.command)}</code></tr>"
    )
    return head + "".join(_check(check) for check in row.checks)


def _check(check: Check) -> str:
    z = f"{check.z:.1f}" if check.sem > 0 and math.isfinite(check.z) else ""
    margin = check.margin
    numbers = (check.predicted, check.observed, check.sem)
    parts = (check.critical * check.sem, margin.rounding, margin.model, margin.resolution)
    cells = [*(f"{x:.5g}" for x in numbers), z, *(f"{x:.2g}" for x in parts)]
    broken = f" ({html.escape(', '.join(check.broken))})" if check.broken else ""
    body = "".join(f'<td class="number">{cell}' for cell in cells)
    return f"<tr><td>{html.escape(check.quantity)}{body}<td>{_verdict(check.verdict)}{broken}</tr>"


def _orders(rows: Sequence[Row]) -> str:
    """Convergence orders: slope with its interval, last error, and where 10 % is passed."""
    measured = orders_of(rows)
    if not measured:
        return ""
    head = "<tr><th>Error of the<th>Expected<th>Slope<th>Interval<th>Last error<th>10 % is passed at</tr>"
    cells = [_order_cells(order) for order in measured]
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}" for cell in row) + "</tr>" for row in cells)
    return f'<h2 id="orders">Convergence orders</h2><table>{head}{body}</table>{_order_figure(measured)}'


def _order_cells(order: Order) -> tuple[str, ...]:
    low, high = order.interval(FALSE_ALARM)
    slope = (f"{order.slope:.3f}", f"{low:.3f} to {high:.3f}")
    return order.name, f"{order.expected:g}", *slope, f"{order.last_error:.2g}", f"{order.passes(0.1):.2g}"


def _order_figure(measured: Sequence[Order]) -> str:
    """Errors against parameters, both logarithmic, with the fitted slopes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    axes = figure.add_subplot()
    for order, marker in zip(measured, "osd^v", strict=False):
        errors = [abs(error) for error in order.errors]
        label = f"{order.name}: slope {order.slope:.2f}"
        axes.errorbar(order.parameters, errors, order.sems, fmt=marker + "-", ms=4, lw=1, label=label)
    axes.set(xscale="log", yscale="log", xlabel="parameter", ylabel="error")
    axes.legend(fontsize=8, frameon=False)
    axes.spines[["right", "top"]].set_visible(False)
    stream = BytesIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    return f'<img class="figure" alt="errors fall with their parameters at the measured slopes" src="{_uri(stream)}">'


def _provenance(content: dict[str, object]) -> str:
    facts = content["provenance"]
    assert isinstance(facts, dict)
    lines = "".join(f"<tr><td>{html.escape(str(k))}<td>{html.escape(str(v))}</tr>" for k, v in facts.items())
    return f"<h2>Provenance</h2><table>{lines}</table>"


@cache
def _formula(latex: str) -> str:
    """An image of the formula, drawn by matplotlib; its LaTeX is what a screen reader says."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.mathtext import math_to_image

    stream = BytesIO()
    math_to_image(f"${latex}$", stream, prop=FontProperties(size=13), format="svg")
    return f'<img class="formula" alt="{html.escape(latex, quote=True)}" src="{_uri(stream)}">'


def _uri(stream: BytesIO) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(stream.getvalue()).decode()


def _figure(score: Score) -> str:
    """How much of its margin each comparison uses, interval included."""
    from matplotlib.figure import Figure

    shown = [check for check in score.checks if math.isfinite(use_of_margin(check)) and check.margin.total > 0]
    if not shown:
        return '<p class="small">All comparisons of this claim are exact inequalities without a margin.</p>'
    figure = Figure(figsize=(7.2, 1.1 + 0.05 * min(len(shown), 60)), layout="constrained")
    axes = figure.add_subplot()
    shown = sorted(shown, key=use_of_margin)[-60:]
    for height, check in enumerate(shown):
        scale = check.margin.total
        sign = -1 if check.side == "lower" else 1  # one-sided: only the right edge counts
        centre, reach = max(-1.2, sign * check.discrepancy / scale), check.critical * check.sem / scale
        colour = "#0b5fa5" if check.verdict == "pass" else "#a40000"
        axes.plot([max(-1.2, centre - reach), min(1.5, centre + reach)], [height, height], color=colour, lw=1.2)
        axes.plot([min(centre, 1.5)], [height], ".", color=colour, ms=4)
    for edge in (-1, 1):
        axes.axvline(edge, color="#444", lw=0.8)
    axes.set(xlim=(-1.25, 1.55), yticks=[], xlabel="(observed − predicted) / margin; bars are confidence intervals")
    axes.spines[["left", "right", "top"]].set_visible(False)
    stream = BytesIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    inside = sum(check.verdict == "pass" for check in shown)
    alt = f"{inside} of {len(shown)} intervals of {score.claim.number} lie inside their margins"
    return f'<img class="figure" alt="{html.escape(alt)}" src="{_uri(stream)}">'
