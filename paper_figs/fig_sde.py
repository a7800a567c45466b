"""Convergence orders: the diffusion approximations against SGD (C14), and the small-eta formulas against the law."""

import numpy as np
import xarray
from matplotlib.figure import Figure

from numerics.check import Check, Margin
from numerics.noise_floor import Fluctuations, floor_small_eta
from numerics.plotting import COLOURS, letter, new_figure
from numerics.run.system import RadialSystem
from numerics.sde_law import sde_moment, sgd_moment
from paper_figs.record import checked, checks, dataset, var
from paper_figs.systems import FloatArray, radial

CLAIMS = ("C14",)
ALT = (
    "Left, logarithmic axes: error of the stochastic differential equation against SGD falls with the learning rate, "
    "with slope one, and with slope two for the corrected drift. "
    "Right: relative error of the small-learning-rate floor and drift against the law: both fall with slope one."
)
_COUNT = 8


def data(small: bool, seed: int) -> xarray.Dataset:
    """Exact second moments of the linear model; law and small-eta limit of a deep one."""
    flat = radial(n=4, features=16, depth=1.0, batch=2, sigma=0.3, seed=seed, replicas=2)
    deep = radial(n=4, features=16, depth=3.0, batch=2, sigma=0.1, seed=seed, replicas=2)
    loads = 0.2 / 2.0 ** np.arange(_COUNT)
    weak = np.array(
        [[_weak_error(flat, s * flat.stability_limit, corrected) for s in loads] for corrected in (False, True)]
    )
    law = np.array([_small_eta_errors(deep, s * deep.stability_limit) for s in loads]).T
    names = ("SDE", "SDE, corrected drift", "small-eta floor", "small-eta drift")
    slopes = [_slope(loads, row) for row in (*weak, *law)]
    made = [
        Check("C14" if "SDE" in name else "C3", f"order, {name}", wanted, slope, 0.0, Margin(model=0.1), 0.0)
        for name, wanted, slope in zip(names, (1.0, 2.0, 1.0, 1.0), slopes, strict=True)
    ]
    variables = {
        "load": var("rate", loads, "learning rate over the stability limit"),
        "weak_error": var("drift rate", weak, "|tr C_SDE - tr C_SGD| / |y|^2 at a fixed time"),
        "law_error": var("quantity rate", law, "relative error of the small-eta floor, of the small-eta drift"),
    }
    return dataset("Convergence orders", variables, made, n=4, d=16)


def _weak_error(chosen: RadialSystem, eta: float, corrected: bool) -> float:
    """At the time 2 / lambda_max(H), from q = y."""
    K, y, n = chosen.problem.gram, chosen.problem.y, chosen.problem.n
    horizon = 2 * n / float(np.linalg.eigvalsh(K)[-1])
    steps = max(1, round(horizon / eta))
    settings = {"eta": horizon / steps, "batch": chosen.settings.batch, "sigma": chosen.settings.sigma}
    sgd = sgd_moment(K, np.outer(y, y), **settings, steps=steps)
    sde = sde_moment(K, np.outer(y, y), **settings, time=horizon, corrected=corrected)
    return float(abs(np.trace(sde - sgd)) / (y @ y))


def _small_eta_errors(chosen: RadialSystem, eta: float) -> tuple[float, float]:
    """Relative errors of floor and drift at the start."""
    K, batch, sigma = chosen.manifold.kernel(chosen.rho0), chosen.settings.batch, chosen.settings.sigma
    floor = float(np.trace(Fluctuations(K, eta, batch).covariance(sigma)) / (2 * len(K)))
    rate = chosen.law.log_rate(chosen.rho0, eta)
    return (
        abs(floor_small_eta(K, eta=eta, batch=batch, sigma=sigma) / floor - 1),
        abs(chosen.law.log_rate_small_eta(chosen.rho0, eta) / rate - 1),
    )


def _slope(x: FloatArray, y: FloatArray) -> float:
    """Local slope between the two smallest learning rates."""
    return float(np.log(y[-2] / y[-1]) / np.log(x[-2] / x[-1]))


def caption(data: xarray.Dataset) -> str:
    """The four slopes."""
    slopes = [record["observed"] for record in checks(data)]
    return (
        "Convergence orders in η, from exact second moments (C14): the stochastic differential equation of SGD errs "
        f"with order {slopes[0]:.2f}, with the corrected drift {slopes[1]:.2f}; "
        f"the small-η floor and drift err against the law with orders {slopes[2]:.2f} and {slopes[3]:.2f}, and by "
        f"{data['law_error'].values[0, 0]:.0%} and {data['law_error'].values[1, 0]:.0%} at "
        f"{data['load'].values[0]:.0%} of the stability limit. n = {data.attrs['n']}, d = {data.attrs['d']}, B = 2; "
        f"{checked(data)}."
    )


def draw(data: xarray.Dataset) -> Figure:
    """Two log-log panels with slope triangles as dotted lines."""
    figure, (weak, law) = new_figure(1, 2, height=2.8)
    load = data["load"].values
    panels = (  # axis, errors, labels, orders
        (weak, data["weak_error"].values, ("SDE of SGD", "with corrected drift"), (1, 2)),
        (law, data["law_error"].values, ("noise floor", "drift of Phase II"), (1, 1)),
    )
    for ax, errors, labels, orders in panels:
        for row, label, order, colour, symbol in zip(
            errors, labels, orders, ("law", "simulation"), ("o", "s"), strict=True
        ):
            ax.plot(load, row, symbol + "-", color=COLOURS[colour], label=label, markersize=4)
            if ax is weak or row[-1] < errors[0, -1]:
                _guide(ax, load, 0.55 * row[-1], order)
        ax.set(xscale="log", yscale="log", xlabel=r"learning rate $\eta$ / stability limit")
        ax.legend(loc="upper left")
        ax.set_xticks([0.003, 0.01, 0.03, 0.1, 0.3], ["0.003", "0.01", "0.03", "0.1", "0.3"])
        ax.minorticks_off()
    weak.set(ylabel="weak error against SGD", title="diffusions: order 1 and 2")
    law.set(ylabel=r"relative error of the $\eta \to 0$ formula", title="small-eta formulas: order 1")
    letter([weak, law])
    return figure


def _guide(ax, load: FloatArray, level: float, order: int) -> None:  # type: ignore[no-untyped-def]
    """A dotted line of the given order through the last point's level."""
    line = level * (load / load[-1]) ** order
    place = 5 if order == 1 else 3  # clear of the curves
    ax.plot(load, line, ":", color=COLOURS["reference"], linewidth=1)
    ax.annotate(
        f"slope {order}",
        (load[place], line[place]),
        (2, -11),
        textcoords="offset points",
        fontsize=8,
        color=COLOURS["reference"],
    )
