"""Train and held-out landscape of a real network in the plane of its own path: open channel, closed basin."""

import numpy as np
import xarray
from matplotlib.figure import Figure

from numerics.plotting import COLOURS, letter, new_figure
from paper_figs.networks import silent, trained
from paper_figs.record import dataset, var

CLAIMS: tuple[str, ...] = ()
ALT = (
    "Two maps over the first two principal components of a training path. Left, train loss: the low region is a channel that runs off the map. Right, held-out loss: the low region is a closed basin. "
    "The path runs along the channel towards the basin; short arrows show where decays lead."
)
LEVEL = 0.05


def data(small: bool, seed: int) -> xarray.Dataset:
    """Losses on the principal plane from saturation on, with the path, the branches and openness of the valley."""
    from numerics.networks import late_decay, late_decay_report

    with trained(("fresh",), small=small, seeds=2, seed=seed) as (experiment, folder):
        found = late_decay.measure(experiment)
        drawn = late_decay_report.landscapes(experiment, found, ("pca",), LEVEL, 11 if small else 41, seed, folder, silent)["pca"]
    shown, gaps = drawn.shown, drawn.gaps
    variables = {
        "a": var("i", shown.a, "first principal direction"),
        "b": var("j", shown.b, "second principal direction"),
        "losses": var("i j part", shown.losses, "loss on clean labels: train, held out"),
        "step": var("record", shown.steps, "SGD steps", "step"),
        "trunk": var("record axis", shown.trunk, "path in the plane"),
        "starts": var("branch axis", shown.starts, "where decays start"),
        "ends": var("branch axis", shown.ends, "where decays end"),
        "level": var("part", np.array([o.level for o in shown.openness]), "level drawn"),
        "border": var("part", np.array([o.border for o in shown.openness]), "share of the map's border below the level"),
        "ratio": var("part", np.array([o.ratio for o in shown.openness]), "ratio of the two curvatures at the minimum"),
        "at": var("part axis", np.array([o.at for o in shown.openness]), "minimum on the plane"),
        "distance": var("checkpoint", gaps.distance, "distance of each checkpoint from the plane"),
    }
    facts = {"explained": float(np.sum(drawn.explained)), "path_length": float(np.linalg.norm(np.diff(shown.trunk, axis=0), axis=1).sum())}
    return dataset("Landscape of a real network", variables, (), **facts)


def caption(data: xarray.Dataset) -> str:
    """Openness of both valleys, and how flat the path is."""
    border, ratio, a = data["border"].values, data["ratio"].values, data.attrs
    return (
        f"Landscapes of a real network (MLP on digits) over the first two principal components of its path after saturation, which explain {a['explained']:.0%} of it; checkpoints lie up to "
        f"{float(data['distance'].max()):.2g} off the plane (path length in it {a['path_length']:.2g}). White: {LEVEL:g} above the minimum of the plane. Train loss: {border[0]:.0%} of the border below that level, curvature ratio {ratio[0]:.2g}; "
        f"held-out loss: {border[1]:.0%}, {ratio[1]:.2g}. Evaluated on clean labels without augmentation; arrows: decays."
    )


def draw(data: xarray.Dataset) -> Figure:
    """Train left, held out right, one colour scale."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm

    figure, axes = new_figure(1, 2, height=3.2)
    losses = data["losses"].values
    low = max(float(np.percentile(losses, 1)), 1e-4)
    norm = LogNorm(low, min(float(losses.max()), 300 * low))
    for part, name in enumerate(("train loss", "held-out loss")):
        _map(axes[part], data, part, norm)
        border = float(data["border"].values[part])
        axes[part].set_title(f"{name}: {'open' if border > 0 else 'closed'}, {border:.0%} of the border is low")
    letter(axes)
    figure.colorbar(ScalarMappable(norm, "viridis"), ax=axes, label="loss on clean labels", shrink=0.9)
    axes[0].legend(loc="best", frameon=True, framealpha=0.85)
    return figure


def _map(ax, data: xarray.Dataset, part: int, norm) -> None:  # type: ignore[no-untyped-def]
    a, b, values = data["a"].values, data["b"].values, data["losses"].values[:, :, part].T
    ax.contourf(a, b, np.clip(values, norm.vmin, norm.vmax), levels=np.geomspace(norm.vmin, norm.vmax, 25), norm=norm, cmap="viridis", extend="both")
    ax.contour(a, b, values, [data["level"].values[part]], colors="white", linewidths=1.4)
    trunk = data["trunk"].values
    ax.plot(*trunk.T, color="black", linewidth=1.1, marker=".", markersize=3.5, label="large learning rate")
    for start, end in zip(data["starts"].values, data["ends"].values, strict=True):
        ax.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": COLOURS["law"], "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0})
    ax.plot(*data["ends"].values.T, "o", color=COLOURS["law"], markersize=3.5, label="after decay")
    ax.plot(*data["at"].values[part], "*", color="white", markersize=9, markeredgecolor="black", label="minimum of the plane")
    for i, shift in ((0, (5, 5)), (len(trunk) - 1, (5, -10))):
        ax.annotate(f"step {int(data['step'].values[i]):,}", trunk[i], shift, textcoords="offset points", fontsize=7, bbox={"facecolor": "white", "alpha": 0.7, "pad": 0.8, "linewidth": 0})
    ax.set(xlabel="first principal direction", ylabel="second principal direction", xlim=a[[0, -1]], ylim=b[[0, -1]])
    ax.grid(False)
