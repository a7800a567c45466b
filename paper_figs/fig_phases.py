"""Phase I (C1, C2): the train loss falls to the predicted floor, faster than its bound."""

import numpy as np
import xarray
from matplotlib.figure import Figure

from numerics.plotting import COLOURS, letter, markers, new_figure
from numerics.run import phase1
from paper_figs.record import checked, checks
from paper_figs.systems import from_job, no_tick, radial, setting_text, sparse, sparse_log

CLAIMS = ("C1", "C2")
ALT = (
    "Two panels of train loss against SGD step. Left, both axes logarithmic: simulated points fall from above one to "
    "a level, "
    "below the dotted bound and along the dashed gradient flow. Right: after saturation the points scatter around the "
    "predicted floor."
)


def data(small: bool, seed: int) -> xarray.Dataset:
    """Phase I from a random start."""
    size = (
        {"n": 6, "features": 30, "replicas": 24, "records": 60}
        if small
        else {"n": 10, "features": 60, "replicas": 96, "records": 150}
    )
    chosen = radial(depth=3.0, batch=4, sigma=0.05, eta_fraction=0.3, seed=seed, **size)
    return from_job("Phase I: saturation and floor", phase1.run(chosen, no_tick, no_tick))


def caption(data: xarray.Dataset) -> str:
    """Bound against observed saturation, floor against observed loss."""
    found = {record["quantity"]: record for record in checks(data)}
    time, floor = found["steps until the loss is at its floor"], found["train loss after saturation"]
    return (
        "Phase I: the train loss saturates (C1) at the floor the law predicts (C2). The floor is reached after "
        f"{time['observed']:,.0f} "
        f"steps, C1 allows {time['predicted']:,.0f}; the loss is then {floor['observed']:.3g} ± {floor['sem']:.1g}, "
        "predicted "
        f"{floor['predicted']:.3g}. {setting_text(data)}; {checked(data)}."
    )


def draw(data: xarray.Dataset) -> Figure:
    """Fall on logarithmic axes; floor on linear ones."""
    figure, (fall, floor) = new_figure(1, 2, height=2.9)
    step, mean, sem = data["step"].values, data["loss_mean"].values, data["loss_sem"].values
    for name, style, label in (("saturation_bound", ":", "bound (C1)"), ("gradient_flow_loss", "--", "gradient flow")):
        x, y = data[f"{name}_step"].values, data[name].values
        shown = (x >= 1) & (y > 0.3 * np.nanmin(mean[1:]))
        fall.plot(x[shown], y[shown], style, color=COLOURS["reference"], label=label)
    chosen = sparse_log(step, 16)
    markers(fall, step[chosen], mean[chosen], sem[chosen], f"SGD, {data.attrs['replicas']} runs")
    late = np.flatnonzero(step >= data["law_step"].values[0])
    late = late[sparse(len(late), 24)]
    markers(floor, step[late], 1e4 * mean[late], 1e4 * sem[late])
    for ax, unit in ((fall, 1.0), (floor, 1e4)):
        ax.plot(
            data["law_step"], unit * data["floor_law"], color=COLOURS["law"], label="floor by the law (C2)", zorder=3
        )
        ax.set(xlabel="SGD step", ylabel="train loss")
    fall.set(xscale="log", yscale="log", title="the train loss saturates ...")
    fall.legend(loc="upper right")
    floor.set(
        ylim=(0, 1.6e4 * float(data["floor_law"].max())),
        ylabel=r"train loss / $10^{-4}$",
        title="... at the predicted floor",
    )
    letter([fall, floor])
    return figure
