"""The figures in the order of the story, and what a figure module offers."""

import difflib
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from numerics.errors import InputError

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

#: stem -> what the figure is about, in the order in which a reader meets them
FIGURES = {
    "fig_story": "the three phases in one run, and what the decay time decides",
    "fig_network_late_decay": "late decay on a real network",
    "fig_network_landscape": "train and test landscape of a real network",
    "fig_landscape": "the model's landscape at four depths",
    "fig_phases": "Phase I: saturation and floor",
    "fig_noise_floor": "the noise floor at any learning rate",
    "fig_scalar_law": "Phase II: drift to the minimum-norm solution",
    "fig_slow_law": "the drift of other parametrizations",
    "fig_timescale": "how long the drift takes",
    "fig_alignment": "Phase III: relaxation after decay",
    "fig_decay_time": "final test loss against decay time",
    "fig_selection": "where the minimum-norm solution is selected",
    "fig_stability": "stability limit against batch size",
    "fig_momentum": "heavy ball",
    "fig_sde": "convergence orders of the diffusion approximations",
    "fig_controls": "noise models compared",
    "fig_samplings": "ways of drawing a batch, shapes of the noise",
    "fig_classification": "cross-entropy with flipped labels",
    "fig_network_law": "the law on a real network",
}


class FigureModule(Protocol):
    """What every `paper_figs.fig_*` module defines.

    CLAIMS: numbers of the claims it shows; ALT: what a blind reader hears.
    """

    CLAIMS: tuple[str, ...]
    ALT: str

    def data(self, small: bool, seed: int) -> "xarray.Dataset":
        """Everything that is drawn; equal arguments give equal bits."""

    def caption(self, data: "xarray.Dataset") -> str:
        """The finding in words, numbers computed from the data."""

    def draw(self, data: "xarray.Dataset") -> "Figure":
        """The figure, from the data alone."""


def load(stem: str) -> FigureModule:
    """The module of a figure."""
    return cast(FigureModule, import_module(f"paper_figs.{stem}"))


def chosen(names: Sequence[str]) -> list[str]:
    """Stems of the named figures, with or without "fig_"; all of them for no names.

    Raises InputError for an unknown one.
    """
    wanted = [name if name.startswith("fig_") else f"fig_{name}" for name in names] or list(FIGURES)
    for name in wanted:
        if name not in FIGURES:
            near = difflib.get_close_matches(name, FIGURES, n=1, cutoff=0.5)
            remedy = f"did you mean {near[0]}?" if near else "--list shows their names"
            raise InputError("figure", name, "is unknown", remedy)
    return list(dict.fromkeys(wanted))
