"""Phase III (C7).

After the decay the loss falls to the new floor, rho stays, the test loss settles at its predicted value.
"""

import numpy as np
import xarray
from matplotlib.figure import Figure

from numerics.plotting import COLOURS, letter, markers, new_figure
from numerics.run import phase3
from paper_figs.record import checked, checks
from paper_figs.systems import from_job, no_tick, radial, setting_text

CLAIMS = ("C7",)
ALT = (
    "Three panels around the moment at which the learning rate is divided by ten. Train loss drops tenfold onto the "
    "new floor; the "
    "distance rho from the minimum-norm solution stops moving; the test loss settles on its predicted value. Points "
    "lie on the law's lines."
)


def data(small: bool, seed: int) -> xarray.Dataset:
    """A drift, a decay, a relaxation."""
    size = (
        {"n": 6, "features": 30, "replicas": 24, "records": 50}
        if small
        else {"n": 10, "features": 60, "replicas": 192, "records": 120}
    )
    settings = {"depth": 3.0, "batch": 4, "sigma": 0.08, "seed": seed, **size}
    pilot = radial(**settings)
    middle = pilot.resting_rho + 0.6 * (pilot.rho0 - pilot.resting_rho)
    decay = int(pilot.law.steps_between(pilot.rho0, middle, pilot.eta))
    chosen = radial(**settings, decay_at=decay)
    return from_job("Phase III: alignment", phase3.run(chosen, no_tick, no_tick), decay=decay, factor=10.0)


def caption(data: xarray.Dataset) -> str:
    """The checks of C7 in words."""
    found = {record["quantity"]: record for record in checks(data)}
    loss, rho, test = found["train loss after decay"], found["rho at the end"], found["final test loss"]
    return (
        f"Phase III: dividing the learning rate by 10 at step {data.attrs['decay']:,} lets the train loss fall to the "
        f"small floor ({loss['observed']:.3g} "
        f"± {loss['sem']:.1g}, law {loss['predicted']:.3g}) and freezes the drift: ρ ends at {rho['observed']:.4g} ± "
        f"{rho['sem']:.1g} (law "
        f"{rho['predicted']:.4g}), the test loss at {test['observed']:.4g} ± {test['sem']:.1g} (law "
        f"{test['predicted']:.4g}) (C7). "
        f"{setting_text(data)}; {checked(data)}."
    )


def draw(data: xarray.Dataset) -> Figure:
    """Train loss, rho and test loss, steps counted from the decay."""
    figure, axes = new_figure(1, 3, height=2.6)
    step = data["step"].values.astype(float) - data.attrs["decay"]
    unit = data.attrs["decay"]
    shown = (step > -unit) & (step <= min(step[-1], 2 * unit))
    x = step / unit
    chosen = np.flatnonzero(shown)
    wanted = np.concatenate([np.linspace(-0.95, -0.05, 8), np.linspace(0.03, x[chosen[-1]], 7)])
    chosen = np.unique(np.searchsorted(x, wanted).clip(0, len(x) - 1))
    for ax, name, law, title in zip(
        axes,
        ("loss", "rho_slow", "test_loss"),
        ("floor", "rho", "test_loss"),
        ("train loss drops", "the drift freezes", "the test loss settles"),
        strict=True,
    ):
        for part, label in ((shown & (x < 0), "law"), (shown & (x >= 0), None)):
            ax.plot(x[part], data[f"{law}_law"].values[part], color=COLOURS["law"], label=label)
        markers(ax, x[chosen], data[f"{name}_mean"].values[chosen], data[f"{name}_sem"].values[chosen], "SGD")
        ax.axvline(0, color=COLOURS["reference"], linestyle=":", linewidth=1)
        ax.set(title=title, xlabel=f"(step − decay step) / {unit:,}")
    axes[0].set(yscale="log", ylabel="train loss")
    axes[1].set(ylabel=r"distance $\rho$ from $w_{\rm mn}$")
    axes[2].set(ylabel="test loss")
    axes[1].legend()
    letter(axes)
    return figure
