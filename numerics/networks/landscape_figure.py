"""The landscape figure: train and test loss over one surface, on one colour scale, with trunk and branches drawn."""

from dataclasses import dataclass

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from numerics.networks.landscape import Openness
from numerics.plotting import COLOURS, STYLE, letter, new_figure

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Landscape:
    """Grid ``a (na,)``, ``b (nb,)`` and losses ``(na, nb, 2)``; trunk ``(m, 2)`` at ``steps (m,)``, branch ends
    ``(k, 2)`` and where they start ``(k, 2)``; openness of train and held-out loss; a name for the surface.
    """

    a: Array
    b: Array
    losses: Array
    steps: NDArray[np.int64]
    trunk: Array
    starts: Array
    ends: Array
    openness: tuple[Openness, Openness]
    title: str


def figure(data: Landscape) -> Figure:
    """Train left, held out right, each with its colour bar: held-out loss varies less."""
    whole, axes = new_figure(1, 2, width=8.6, height=4.0)
    with rc_context(STYLE):
        for part, name in enumerate(("training loss", "held-out loss")):
            norm = LogNorm(*_range(data.losses[:, :, part]))
            draw(axes[part], data, part, norm)
            whole.colorbar(ScalarMappable(norm, "viridis"), ax=axes[part], shrink=0.9)
            valley = data.openness[part]
            axes[part].set_title(f"{name}\nborder {valley.border:.0%} inside, curvature ratio {valley.ratio:.2g}")
        letter(axes)
        above = data.openness[0].level - data.openness[0].minimum
        whole.suptitle(f"{data.title}; loss on clean labels; white line: {above:.2g} above the minimum", fontsize=10)
    return whole


def _range(losses: Array) -> tuple[float, float]:
    """Colour scale of a panel: from the lowest percent of its losses up to 1000 times that."""
    low = max(float(np.percentile(losses, 1)), 1e-6)
    return low, min(float(np.nanmax(losses)), 1e3 * low)


def draw(ax: Axes, data: Landscape, part: int, norm: LogNorm) -> None:
    """One loss over the surface, its level set, the trunk with its steps, and the branches."""
    values = np.clip(data.losses[:, :, part].T, norm.vmin, norm.vmax)
    levels = np.geomspace(norm.vmin or 1.0, norm.vmax or 1.0, 25)
    ax.contourf(data.a, data.b, values, levels=levels, norm=norm, cmap="viridis", extend="both")
    ax.contour(data.a, data.b, data.losses[:, :, part].T, [data.openness[part].level], colors="white", linewidths=1.6)
    ax.plot(*data.trunk.T, color=COLOURS["third"], linewidth=1.3, marker=".", markersize=3, label="trunk")
    for start, end in zip(data.starts, data.ends, strict=True):
        ax.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": COLOURS["law"], "linewidth": 1.1})
    ax.plot(*data.ends.T, "o", color=COLOURS["law"], markersize=4, label="branch ends")
    ax.plot(*data.openness[part].at, "w*", markersize=9, markeredgecolor="black", label="minimum")
    for place in _labelled(data):
        ax.annotate(
            f"{data.steps[place]}", data.trunk[place], (4, 4), textcoords="offset points", color="white", fontsize=7
        )
    ax.set(xlabel="first direction", ylabel="second direction", xlim=data.a[[0, -1]], ylim=data.b[[0, -1]])
    ax.grid(False)
    if part == 0:
        ax.legend(loc="upper right", frameon=True, framealpha=0.7)


def _labelled(data: Landscape) -> tuple[int, ...]:
    """Checkpoints whose step is written beside them: first, middle, last; none where they all fall in one place."""
    if np.ptp(data.trunk[:, 0]) < 0.2 * np.ptp(data.a):
        return ()
    return 0, len(data.steps) // 2, len(data.steps) - 1
