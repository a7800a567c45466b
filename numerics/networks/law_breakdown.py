"""Where the slow law stops holding on networks: one thing changed at a time, law and SGD compared for each."""

from dataclasses import dataclass, replace

import numpy as np

from numerics.errors import InputError
from numerics.networks.law_comparison import Bench, Case, Report, compare

#: what the table says about ReLU below its rows
KINKS = (
    "ReLU: C3 needs second derivatives, and a ReLU network's miss what happens where a unit switches on or off. Noise "
    "drives units to and fro across these kinks, which moves the weights at the same order as the law; GELU is its "
    "smooth twin."
)


@dataclass(frozen=True)
class Row:
    """One line of the table: name, size, how far tr H moved (relative), and the largest errors over the run.

    ``sampling`` is the part of ``distance`` that the finite number of runs explains. NaN, and ``note``: no law there.
    """

    name: str
    p: int
    eta: float
    quasistatic: float
    moved: float
    trace_error: float
    test_error: float
    distance: float
    sampling: float
    note: str


def row(name: str, case: Case, report: Report) -> Row:
    """Compare law and SGD for one case and keep the largest errors, or say why there is no law."""
    bench = Bench.of(case)
    try:
        found, _ = compare(bench, report)
    except (InputError, ArithmeticError) as error:
        no = float("nan")
        return Row(name, bench.model.size, no, no, no, no, no, no, no, str(error))
    traces = found.simulated.sharpness.mean(axis=1)
    trace, test = (float(np.abs(values[1:]).max()) for values in (found.trace_error, found.test_error))
    return Row(
        name=name,
        p=bench.model.size,
        eta=bench.eta,
        quasistatic=float(found.law.quasistatic.max()),
        moved=float(traces[-1] / traces[0] - 1),
        trace_error=trace,
        test_error=test,
        distance=float(found.distance[-1]),
        sampling=float(found.sampling[-1]),
        note="",
    )


def cases(base: Case) -> dict[str, Case]:
    """The base with one thing changed at a time, about where the law stops holding."""
    wide = tuple(4 * width for width in base.widths)
    changes = {
        "base": {},
        "eta λmax/2 = .1": {"stability": 0.1},
        "eta λmax/2 = .5": {"stability": 0.5},
        "eta λmax/2 = .7": {"stability": 0.7},
        "sigma x 3": {"sigma": 3 * base.sigma},
        "sigma x 6": {"sigma": 6 * base.sigma},
        "sigma x 10": {"sigma": 10 * base.sigma},
        "width / 2": {"widths": tuple(width // 2 for width in base.widths)},
        "width x 4": {"widths": wide},
        "depth + 1": {"widths": (*base.widths, base.widths[-1])},
        "GELU": {"activation": "gelu"},
        "ReLU": {"activation": "relu"},
        "ReLU, sigma / 3": {"activation": "relu", "sigma": base.sigma / 3},
        "ReLU, width x 4": {"activation": "relu", "widths": wide},
    }
    return {name: replace(base, **change) for name, change in changes.items()}  # type: ignore[arg-type]


def table(case: Case, steps: int, report: Report) -> list[Row]:
    """The breakdown table, every case run for ``steps``."""
    base = replace(case, steps=steps, records=min(case.records, 4))
    return [row(name, each, report) for name, each in cases(base).items()]


def lines(rows: list[Row]) -> list[str]:
    """The table as text; empty without rows."""
    if not rows:
        return []
    text = [
        "\nwhere the law breaks: tr H from start to end; largest relative errors over the run; path distance at the "
        "end, and the part of it that the number of runs explains",
        f"{'case':20} {'p':>6} {'eta':>8} {'quasistatic':>11} {'moved':>8} {'tr H':>8} {'test':>8} {'distance':>8} "
        f"{'sampling':>8}",
    ]
    for entry in rows:
        shares = (entry.moved, entry.trace_error, entry.test_error, entry.distance, entry.sampling)
        numbers = " ".join(f"{share:8.2%}" for share in shares)
        shown = entry.note or f"{entry.eta:8.4f} {entry.quasistatic:11.4f} {numbers}"
        text.append(f"{entry.name:20} {entry.p:6d} {shown}")
    return [*text, KINKS]
