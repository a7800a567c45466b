"""The network-law figure: tr H, test loss, path distance, and the late-decay curve, predicted and simulated."""

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from numerics.networks.law_comparison import Comparison, DecayCurve
from numerics.plotting import COLOURS, STYLE, letter, new_figure

Array = NDArray[np.float64]


def figure(found: Comparison, curve: DecayCurve) -> Figure:
    """Four panels; the runs' mean with its 95 % interval, the law as a line."""
    whole, axes = new_figure(2, 2, width=8.2, height=2.9)
    with rc_context(STYLE):
        draw_quantity(axes[0], found.steps, found.law.sharpness, found.simulated.sharpness, "trace of the Hessian")
        draw_quantity(axes[1], found.steps, found.law_test_loss, found.simulated.test_loss, "test loss on the manifold")
        draw_distance(axes[2], found)
        draw_quantity(axes[3], curve.steps, curve.predicted, curve.simulated, "test loss after decay")
        axes[3].set(xlabel="decay step", title="late decay, predicted without training a branch")
        axes[0].legend(loc="upper right")
        letter(axes)
    return whole


def draw_quantity(ax: Axes, steps: Array, law: Array, simulated: Array, name: str) -> None:
    """One quantity: law ``(m,)`` as a line, runs ``(m, runs)`` as means with intervals."""
    mean, sem = simulated.mean(axis=1), simulated.std(axis=1, ddof=1) / np.sqrt(simulated.shape[1])
    ax.plot(steps, law, color=COLOURS["law"], label="law, no simulation")
    ax.errorbar(
        steps, mean, yerr=1.96 * sem, fmt="o", markersize=4, color=COLOURS["simulation"], label="SGD, mean of runs"
    )
    ax.set(xlabel="step", ylabel=name, title=name)


def draw_distance(ax: Axes, found: Comparison) -> None:
    """Distance between the paths, and the law's two relative errors, in percent."""
    after = found.steps > 0
    for values, label, colour in (
        (found.distance, "path distance / path length", "simulation"),
        (np.abs(found.trace_error), "tr H, relative error", "law"),
        (np.abs(found.test_error), "test loss, relative error", "small-eta"),
    ):
        ax.plot(found.steps[after], 100 * values[after], marker=".", color=COLOURS[colour], label=label)
    ax.set(xlabel="step", ylabel="percent", yscale="log", title="how far the law is off")
    ax.legend(loc="best")
