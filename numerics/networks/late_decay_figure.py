"""The late-decay figure: what the trunk does, and what decaying it at each step leads to."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import MaxNLocator, NullFormatter
from numpy.typing import NDArray

from numerics.networks.benefit import Benefit
from numerics.plotting import COLOURS

Array = NDArray[np.float64]
LABELS = {
    "fresh": ("fresh label noise", "law", "o"),
    "minibatch": ("minibatch noise only", "simulation", "s"),
    "static": ("static label noise", "second", "^"),
    "none": ("no noise (full batch)", "reference", "D"),
}


@dataclass(frozen=True)
class Trunk:
    """One kind's trunk at its saved steps ``(m,)``: clean train and test loss ``(m, seeds)``."""

    steps: Array
    train: Array
    test: Array


@dataclass(frozen=True)
class LateDecay:
    """What the figure shows: per kind its trunk, benefit, final accuracy ``(k, seeds)`` and losses ``(k, seeds)``.

    ``saturated``: the decay step from which changes are counted; ``settled``: whether the training loss was saturated.
    """

    trunks: dict[str, Trunk]
    steps: NDArray[np.int64]
    final: dict[str, Array]
    accuracy: dict[str, Array]
    at_decay: dict[str, Array]
    benefits: dict[str, Benefit]
    saturated: int
    settled: bool


def draw_trunk(ax: Axes, data: LateDecay) -> None:
    """Clean training loss (solid) and test loss (dashed) before any decay."""
    for kind, trunk in data.trunks.items():
        label, colour, _ = LABELS[kind]
        shown = trunk.steps > 0
        ax.plot(trunk.steps[shown], trunk.train[shown].mean(axis=1), color=COLOURS[colour], label=label)
        ax.plot(trunk.steps[shown], trunk.test[shown].mean(axis=1), color=COLOURS[colour], linestyle="--")
    _mark_saturation(ax, data)
    ax.set(xscale="log", yscale="log", xlabel="step", ylabel="loss on clean labels")
    ax.set_ylim(bottom=max(ax.get_ylim()[0], 1e-5))
    ax.set_title("before decay: train (solid), test (dashed)")


def draw_final(ax: Axes, data: LateDecay, law: tuple[Array, Array] | None) -> None:
    """Final test loss against the decay step, mean and 95 % interval over seeds; the law's steps and losses."""
    _draw_against_decay(ax, data, data.final)
    if law is not None:
        ax.plot(*law, color="black", linestyle="--", linewidth=1.2, zorder=5, label="law, no branch trained")
    ax.set(yscale="log", ylabel="test loss after decay", title="test loss after a decay at each step")
    _few_ticks(ax.yaxis)


def draw_accuracy(ax: Axes, data: LateDecay) -> None:
    """Final test accuracy against the decay step."""
    _draw_against_decay(ax, data, data.accuracy, scale=100.0)
    ax.set(ylabel="test accuracy after decay (%)", title="accuracy after a decay at each step")


def draw_relation(ax: Axes, data: LateDecay) -> None:
    """Final test loss against the test loss at the moment of decay, one mark per branch after saturation."""
    after = data.steps >= data.saturated
    for kind, final in data.final.items():
        label, colour, marker = LABELS[kind]
        x, y = data.at_decay[kind][after].ravel(), final[after].ravel()
        ax.plot(x, y, marker, color=COLOURS[colour], markersize=4, alpha=0.7, label=label)
    ax.set(xscale="log", yscale="log", xlabel="test loss when the decay starts", ylabel="test loss after decay")
    ax.set_title("one branch each, from saturation on")
    _few_ticks(ax.xaxis)
    _few_ticks(ax.yaxis)


def _draw_against_decay(ax: Axes, data: LateDecay, values: dict[str, Array], scale: float = 1.0) -> None:
    positions = np.maximum(data.steps.astype(float), data.steps[data.steps > 0].min() / 3)
    for kind, table in values.items():
        label, colour, marker = LABELS[kind]
        mean, half = scale * table.mean(axis=1), scale * 1.96 * table.std(axis=1, ddof=1) / np.sqrt(table.shape[1])
        style: dict[str, Any] = {"color": COLOURS[colour], "marker": marker, "markersize": 4, "capsize": 2}
        ax.errorbar(positions, mean, yerr=half, label=label, **style)
    _mark_saturation(ax, data)
    ax.set(xscale="log", xlabel="decay step (leftmost: step 0)")
    ax.xaxis.set_minor_formatter(NullFormatter())


def _few_ticks(axis: Axis) -> None:
    """Few plain numbers on a logarithmic axis of about one decade, where the default labels overlap."""
    axis.set_major_locator(MaxNLocator(5))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def _mark_saturation(ax: Axes, data: LateDecay) -> None:
    if not data.settled:
        return
    ax.axvline(data.saturated, color=COLOURS["reference"], linestyle=":", linewidth=1.2)
    ax.text(data.saturated, 1.0, " saturated", transform=ax.get_xaxis_transform(), va="top", fontsize=7)
