"""The decay-time curve (C8): decay too early and the test loss stays high; late decay is near-optimal."""

import numpy as np
import xarray
from matplotlib.figure import Figure

from numerics.plotting import COLOURS, letter, markers, new_figure
from numerics.run import late_decay
from paper_figs.record import checked, checks
from paper_figs.systems import from_job, no_tick, radial, setting_text, sparse

CLAIMS = ("C8",)
ALT = (
    "Left: final test loss against the step at which the learning rate is decayed: high for early decay, falling to a "
    "minimum, then "
    "nearly flat. Points of simulated runs lie on the law's line. Right: test loss of the undecayed run, which falls "
    "likewise, slightly higher."
)


def data(small: bool, seed: int) -> xarray.Dataset:
    """A trunk and nine decays."""
    size = (
        {"n": 6, "features": 30, "replicas": 24, "records": 40}
        if small
        else {"n": 12, "features": 60, "replicas": 96, "records": 120}
    )
    chosen = radial(depth=3.0, batch=4, sigma=0.08, seed=seed, **size)
    outcome = late_decay.run(chosen, no_tick, no_tick)
    x = np.unique(np.append(0, np.geomspace(5e-3, 1, 60) * outcome.step[-1]).astype(np.int64))
    curve = np.array(
        [chosen.test_loss(rho, chosen.eta / 10) for rho in chosen.law.path(chosen.rho0, _constant(chosen.eta), x).rho]
    )
    outcome.curves["decayed_law"] = (x.astype(float), curve)
    best = float(chosen.problem.test_loss(chosen.problem.w_mn))
    return from_job("Decay-time curve", outcome, at_minimum_norm=best)


def _constant(eta: float):  # type: ignore[no-untyped-def]
    from numerics.schedule import Constant

    return Constant(eta)


def caption(data: xarray.Dataset) -> str:
    """Gain of late decay, and the bounded rise."""
    mean = data["late_test_loss_mean"].values
    rise = next(record for record in checks(data) if "rise" in record["quantity"])
    return (
        f"Decay later, generalise better (C8): the test loss after a decay at step 0 is {mean[0]:.4f}, after the best "
        f"decay {mean.min():.4f}, after the "
        f"latest {mean[-1]:.4f}: it rises by {rise['observed']:.2g} ± {rise['sem']:.1g} from its minimum, at most "
        f"{rise['predicted']:.2g} by the law. "
        f"{setting_text(data)}; {checked(data)}."
    )


def draw(data: xarray.Dataset) -> Figure:
    """After the decay, and without one."""
    figure, (after, trunk) = new_figure(1, 2, height=2.9)
    x = data["late_decay_step"].values.astype(float)
    zero = x[1] / 3
    curve_x, curve = data["decayed_law_step"].values, data["decayed_law"].values
    after.plot(curve_x[1:], curve[1:], color=COLOURS["law"], label="law")
    after.plot([0.7 * zero, 1.4 * zero], curve[[0, 0]], color=COLOURS["law"])
    markers(
        after,
        np.maximum(x, zero),
        data["late_test_loss_mean"].values,
        data["late_test_loss_sem"].values,
        f"SGD, {data.attrs['replicas']} runs",
    )
    after.axhline(
        data.attrs["at_minimum_norm"], color=COLOURS["reference"], linestyle=":", label="minimum-norm solution"
    )
    after.set(xscale="log", xlabel="step of the decay", ylabel="test loss after decay", title="decay later, end lower")
    after.annotate(
        "decay\nat step 0", (zero, curve[0]), (0, -9), textcoords="offset points", va="top", ha="center", fontsize=8
    )
    step = data["step"].values
    chosen = sparse(len(step), 18)
    trunk.plot(step, data["test_loss_law"], color=COLOURS["law"], label="law")
    markers(trunk, step[chosen], data["test_loss_mean"].values[chosen], data["test_loss_sem"].values[chosen], "SGD")
    trunk.axhline(data.attrs["at_minimum_norm"], color=COLOURS["reference"], linestyle=":")
    trunk.set(xlabel="SGD step", ylabel="test loss", title="without decay")
    trunk.ticklabel_format(axis="x", style="sci", scilimits=(-3, 4))
    trunk.sharey(after)
    after.legend(loc="upper right")
    letter([after, trunk])
    return figure
