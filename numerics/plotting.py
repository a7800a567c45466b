"""The one figure style: colour-blind-safe (Okabe, Ito 2008), readable in print, no LaTeX installation."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]
Reals = npt.NDArray[np.float64] | npt.NDArray[np.int64]

COLOURS = {
    "simulation": "#0072B2",
    "law": "#D55E00",
    "small-eta": "#009E73",
    "reference": "#555555",
    "second": "#CC79A7",
    "third": "#E69F00",
    "fourth": "#56B4E9",
}

STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "figure.constrained_layout.use": True,
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "mathtext.fontset": "dejavusans",
}


@contextmanager
def style() -> Iterator[None]:
    """The style, for everything drawn inside."""
    from matplotlib import rc_context

    with rc_context(STYLE):
        yield


def new_figure(rows: int, columns: int, *, width: float = 7.2, height: float = 2.7) -> "tuple[Figure, list[Axes]]":
    """A figure of rows x columns panels, drawn without a display; height is per row, in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(np.atleast_1d(figure.subplots(rows, columns)).ravel())


def band(ax: "Axes", x: Reals, mean: FloatArray, sem: FloatArray, label: str, colour: str = "simulation") -> None:
    """Mean with a band of two standard errors, outlined so that it shows under a line."""
    ax.fill_between(x, mean - 2 * sem, mean + 2 * sem, color=COLOURS[colour], alpha=0.35, linewidth=0.8, label=label)
    ax.plot(x, mean, color=COLOURS[colour], linewidth=0.7, alpha=0.8)


def markers(
    ax: "Axes",
    x: FloatArray,
    mean: FloatArray,
    sem: FloatArray,
    label: str = "",
    colour: str = "simulation",
    symbol: str = "o",
) -> None:
    """Sparse open markers with bars of two standard errors, above the lines: both stay visible where they coincide."""
    look: dict[str, Any] = {"markersize": 4.2, "markerfacecolor": "white", "markeredgewidth": 1.1}
    bars: dict[str, Any] = {"elinewidth": 1.0, "capsize": 1.8}
    ax.errorbar(x, mean, 2 * sem, fmt=symbol, color=COLOURS[colour], label=label or None, zorder=4, **look, **bars)


def letter(axes: "list[Axes]") -> None:
    """(a), (b), ... before each title."""
    for ax, mark in zip(axes, "abcdefghijkl", strict=False):
        title = ax.get_title()
        ax.set_title("")
        ax.set_title(f"({mark}) {title}", loc="left")


def points(ax: "Axes", x: Reals, mean: FloatArray, sem: FloatArray, label: str, count: int = 14) -> None:
    """A few of the means as dots with bars of two standard errors: visible on top of a line that they agree with."""
    chosen = np.unique(np.linspace(0, len(x) - 1, count).round().astype(int))
    style: dict[str, Any] = {
        "fmt": "o",
        "markersize": 3.5,
        "elinewidth": 1.0,
        "zorder": 3,
        "color": COLOURS["simulation"],
    }
    ax.errorbar(x[chosen], mean[chosen], 2 * sem[chosen], label=label, **style)


def binned(x: FloatArray, values: FloatArray, bins: int) -> tuple[FloatArray, FloatArray]:
    """Means of x ``(T,)`` and values ``(T, R)`` over consecutive groups of records: ``(bins,)`` and ``(bins, R)``."""
    groups = np.array_split(np.arange(len(x)), min(bins, len(x)))
    return np.array([x[g].mean() for g in groups]), np.array([values[g].mean(axis=0) for g in groups])
