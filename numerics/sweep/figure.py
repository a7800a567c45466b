"""A sweep at a glance: every point's observables with their standard errors on top of the law's predictions."""

from typing import TYPE_CHECKING, Any

import numpy as np

from numerics.plotting import COLOURS, letter, new_figure, style
from numerics.sweep.config import Sweep

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SHOWN = ("rho", "train_loss", "fluctuation", "test_loss", "final_test_loss")


def figure(sweep: Sweep, data: "xarray.Dataset") -> "Figure":
    """Observed against predicted for each observable that has a prediction."""
    names = [name for name in _SHOWN if f"{name}_prediction" in data]
    with style():
        drawn, axes = new_figure(1, max(len(names), 1), height=3.0)
        for ax, name in zip(axes, names, strict=False):
            _panel(ax, data, name)
        if not names:
            axes[0].set_title("no point with a prediction")
        letter(axes)
    return drawn


def _panel(ax: "Axes", data: "xarray.Dataset", name: str) -> None:
    x, y, sem = (_flat(data[key]) for key in (f"{name}_prediction", name, f"{name}_sem"))
    shown = np.isfinite(x) & np.isfinite(y)
    ax.errorbar(x[shown], y[shown], 2 * sem[shown], fmt="o", markersize=3, color=COLOURS["simulation"],
                label="simulated ± 2 s.e.")  # fmt: skip
    if np.any(shown):
        ends = np.array([np.min(x[shown]), np.max(x[shown])])
        ax.plot(ends, ends, color=COLOURS["law"], label="law")
    if np.any(shown) and np.all(x[shown] > 0) and np.all(y[shown] > 0) and ends[1] > 30 * ends[0]:
        ax.set_xscale("log")
        ax.set_yscale("log")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_minor_formatter("")  # labels between the powers of ten run into each other
    else:
        ax.ticklabel_format(style="sci", scilimits=(-3, 4))
    ax.set_title(name.replace("_", " "))
    ax.set_xlabel("predicted")
    ax.set_ylabel("simulated")
    ax.legend()


def _flat(variable: Any) -> Any:
    return np.asarray(variable, float).ravel()
