"""Train and held-out landscape of a real network on the surface of its own path.

A channel along it, a basin at its end.
"""

import numpy as np
import xarray
from matplotlib.figure import Figure

from numerics.plotting import COLOURS, letter, new_figure
from paper_figs.networks import silent, trained
from paper_figs.record import dataset, var

CLAIMS: tuple[str, ...] = ()
ALT = (
    "Two maps over the first two principal components of a training path, bent through it. Left, train loss: a low "
    "channel follows the whole path. Right, held-out loss: the low region is a "
    "basin that only the end of the path reaches. Short arrows show where decays lead."
)
LEVEL = 0.02


def data(small: bool, seed: int) -> xarray.Dataset:
    """Losses on the bent principal plane from saturation on, with the path, the branches and openness of the valley."""
    from numerics.networks import late_decay, late_decay_report

    # without label noise, too: where it still fits tells when the noisy runs have saturated
    with trained(("fresh", "none"), small=small, seeds=4, seed=seed) as (experiment, folder):
        found = late_decay.measure(experiment)
        drawn = late_decay_report.landscapes(
            experiment, found, ("curved",), LEVEL, 11 if small else 41, (None, None), seed, folder, folder, silent
        )["curved"]
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
        "border": var(
            "part", np.array([o.border for o in shown.openness]), "share of the map's border below the level"
        ),
        "ratio": var("part", np.array([o.ratio for o in shown.openness]), "ratio of the two curvatures at the minimum"),
        "at": var("part axis", np.array([o.at for o in shown.openness]), "minimum on the plane"),
        "below": var("part", _share_below(shown), "share of the path below the level"),
        "distance": var("checkpoint", gaps.distance, "distance of each checkpoint from the plane"),
    }
    facts = {
        "explained": float(np.sum(drawn.explained)),
        "path_length": float(np.linalg.norm(np.diff(shown.trunk, axis=0), axis=1).sum()),
    }
    return dataset("Landscape of a real network", variables, (), **facts)


def _share_below(shown) -> np.ndarray:  # type: ignore[no-untyped-def]
    """Share of the path's checkpoints, weighted by the path's length, where the surface lies below the level."""
    from scipy.interpolate import RegularGridInterpolator

    fine = np.concatenate(
        [np.linspace(p, q, 20, endpoint=False) for p, q in zip(shown.trunk[:-1], shown.trunk[1:], strict=True)]
    )
    length = np.repeat(np.linalg.norm(np.diff(shown.trunk, axis=0), axis=1), 20)
    found = [
        RegularGridInterpolator((shown.a, shown.b), shown.losses[:, :, part])(fine) < shown.openness[part].level
        for part in (0, 1)
    ]
    return np.array([float(np.sum(length * below) / np.sum(length)) for below in found])


def caption(data: xarray.Dataset) -> str:
    """Openness of both valleys, and how flat the path is."""
    border, below, a = data["border"].values, data["below"].values, data.attrs
    return (
        "Landscapes of a real network (MLP on digits) over the first two principal components of its path after "
        f"saturation, which explain {a['explained']:.0%} of it, bent through its checkpoints (they lie up to "
        f"{float(data['distance'].max()):.2g} off the surface; path length {a['path_length']:.2g}). White: {LEVEL:g} "
        f"above the minimum of the map. On the train loss {below[0]:.0%} of the path lies below that level, on the "
        "held-out loss "
        f"{below[1]:.0%}: its end. Share of the map's border below it: {border[0]:.0%} and {border[1]:.0%}. Clean "
        "labels, no augmentation; arrows: decays."
    )


def draw(data: xarray.Dataset) -> Figure:
    """Train left, held out right, each in its own colours: held-out loss varies less."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm

    figure, axes = new_figure(1, 2, height=3.4)
    for part, name in enumerate(("train loss", "held-out loss")):
        losses = data["losses"].values[:, :, part]
        low = max(float(losses.min()), 1e-4)
        norm = LogNorm(low, min(float(losses.max()), 1000 * low))
        _map(axes[part], data, part, norm)
        figure.colorbar(ScalarMappable(norm, "viridis"), ax=axes[part], shrink=0.9)
        axes[part].set_title(f"{name}: {float(data['below'].values[part]):.0%} of the path is low")
    letter(axes)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _map(ax, data: xarray.Dataset, part: int, norm) -> None:  # type: ignore[no-untyped-def]
    a, b, values = data["a"].values, data["b"].values, data["losses"].values[:, :, part].T
    ax.contourf(
        a,
        b,
        np.clip(values, norm.vmin, norm.vmax),
        levels=np.geomspace(norm.vmin, norm.vmax, 34),
        norm=norm,
        cmap="viridis",
        extend="both",
    )
    ax.contour(a, b, values, [data["level"].values[part]], colors="white", linewidths=1.4)
    trunk = data["trunk"].values
    ax.plot(*trunk.T, color="black", linewidth=1.1, marker=".", markersize=3.5, label="large learning rate")
    for start, end in zip(data["starts"].values, data["ends"].values, strict=True):
        ax.annotate(
            "",
            end,
            start,
            arrowprops={"arrowstyle": "->", "color": COLOURS["law"], "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0},
        )
    ax.plot(*data["ends"].values.T, "o", color=COLOURS["law"], markersize=3.5, label="after decay")
    ax.plot(
        *data["at"].values[part],
        "*",
        color="white",
        markersize=9,
        markeredgecolor="black",
        label="minimum of the plane",
    )
    for i, shift in ((0, (5, 5)), (len(trunk) - 1, (5, -10))):
        ax.annotate(
            f"{int(data['step'].values[i]):,}",
            trunk[i],
            shift,
            textcoords="offset points",
            fontsize=7,
            bbox={"facecolor": "white", "alpha": 0.7, "pad": 0.8, "linewidth": 0},
        )
    ax.set(xlabel="first principal direction", ylabel="second principal direction", xlim=a[[0, -1]], ylim=b[[0, -1]])
    ax.grid(False)
