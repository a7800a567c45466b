"""Phase II (C4): the drift to the minimum-norm solution at three learning rates, and one run's path."""

import numpy as np
import xarray
from matplotlib.figure import Figure

from numerics.plotting import COLOURS, letter, markers, new_figure
from numerics.schedule import Constant
from paper_figs.drift import FloatArray, drift, steps_to
from paper_figs.record import checked, checks, dataset, var
from paper_figs.systems import predictors, radial

CLAIMS = ("C4",)
ALT = (
    "Four panels. Distance rho from the minimum-norm solution against slow time: three learning rates give three "
    "curves, law and simulation "
    "agree, the single small-learning-rate curve lies above. Deviation from the law: simulations within their error "
    "bars of zero, the "
    "small-learning-rate formula off by tens of percent. Norm of the predictor: falls to that of the minimum-norm "
    "solution. A path in the "
    "plane of row space and kernel: it jitters sideways and moves straight down to the minimum-norm solution."
)
LOADS = (0.2, 0.5, 0.8)


def data(small: bool, seed: int) -> xarray.Dataset:
    """Three learning rates with equal relative fluctuations; the path of a single run at the largest."""
    records, replicas = (40, 24) if small else (120, 96)
    runs, facts = [], {}
    for load in LOADS:
        sigma = 0.05 * np.sqrt(0.8 / load)
        chosen = radial(
            n=8, features=64, depth=2.0, batch=4, sigma=float(sigma), eta_fraction=load, replicas=replicas, seed=seed
        )
        found = drift(chosen, steps_to(chosen, 0.15, records))
        runs.append((chosen, found, (chosen.eta * sigma) ** 2 / chosen.settings.batch))
        facts = {"n": 8, "d": 64, "depth": 2.0, "batch": 4, "replicas": replicas, "norm_w_mn": chosen.problem.norm_w_mn}
    path = _single_path(runs[-1][0], runs[-1][1].step)
    variables = {
        "load": var("rate", np.array(LOADS), "learning rate over the stability limit"),
        "slow_time": var("rate record", np.array([s * f.step for _, f, s in runs]), "slow time eta^2 sigma^2 k / B"),
        "rho": var(
            "rate record moment", np.array([f.moments for _, f, _ in runs]), "rho, mean and standard error", "unit of w"
        ),
        "law": var("rate record", np.array([f.law for _, f, _ in runs]), "rho by the law", "unit of w"),
        "small_eta": var(
            "rate record", np.array([f.small_eta for _, f, _ in runs]), "rho by the small-eta law", "unit of w"
        ),
        "path": var("point axis", path, "predictor of one run: along w_mn, along zhat", "unit of w"),
    }
    made = [
        f.check("C4", f"rho at the end, eta at {load:.0%} of the limit", 3)
        for load, (_, f, _) in zip(LOADS, runs, strict=True)
    ]
    return dataset("Phase II: drift to the minimum-norm solution", variables, made, **facts)


def _single_path(chosen, steps) -> FloatArray:  # type: ignore[no-untyped-def]
    """(w . w_mn/|w_mn|, w . zhat) of one run at 600 steps."""
    from numerics.sgd import records

    states = chosen.states_on_manifold()[:1]
    grid = np.linspace(0, steps[-1], 600).astype(np.int64)
    towards = np.append(chosen.reduced.c_mn[:-1], 0.0) / chosen.problem.norm_w_mn
    rows = []
    for _ in records(chosen.model, states, Constant(chosen.eta), grid, noise=chosen.noise, threads=1):
        w = predictors(chosen, states)[0]
        rows.append((w @ towards, w[-1]))
    return np.array(rows)


def caption(data: xarray.Dataset) -> str:
    """Largest and smallest learning rate, and how far the small-eta limit is off."""
    last = checks(data)[-1]
    off = np.max(np.abs(data["small_eta"].values[-1] / data["law"].values[-1] - 1))
    a = data.attrs
    return (
        f"Phase II: the drift of a {a['d']}-dimensional SGD is one scalar equation (C4). At {LOADS[-1]:.0%} of the "
        "stability limit ρ ends at "
        f"{last['observed']:.4g} ± {last['sem']:.1g}, by the law {last['predicted']:.4g}; the small-η law is off by "
        f"up to {off:.0%}. n = {a['n']}, d = {a['d']}, "
        f"D = {a['depth']:g}, B = {a['batch']}; {a['replicas']} runs, bars ± 2 standard errors; {checked(data)}."
    )


def draw(data: xarray.Dataset) -> Figure:
    """rho, deviation, norm, path."""
    figure, axes = new_figure(2, 2, height=2.75)
    for i, (load, colour, symbol) in enumerate(
        zip(LOADS, ("second", "simulation", "law"), ("^", "s", "o"), strict=True)
    ):
        _curves(axes, data, i, load, colour, symbol)
    longest = int(np.argmax(data["slow_time"].values[:, -1]))
    axes[0].plot(
        data["slow_time"][longest],
        data["small_eta"].values[longest] / data.attrs["norm_w_mn"],
        "--",
        color=COLOURS["small-eta"],
        label=r"law, $\eta \to 0$",
    )
    axes[1].axhline(0, color=COLOURS["reference"], linewidth=0.8)
    axes[2].axhline(1, color=COLOURS["reference"], linestyle=":", label="minimum-norm solution")
    axes[1].legend(loc="upper right")
    axes[1].set_ylim(top=1.65 * axes[1].get_ylim()[1])
    axes[2].legend()
    axes[0].set(ylabel=r"distance $\rho$ / $|w_{\rm mn}|$", title="faster than the small-learning-rate law")
    axes[1].set(ylabel="deviation from the law (%)", title="law right, small-eta law wrong")
    axes[2].set(ylabel=r"norm $|w|$ / $|w_{\rm mn}|$", title="the norm falls to the least possible")
    for ax in axes[:3]:
        ax.set_xlabel(r"slow time $\eta^2\sigma^2 k/B$")
    axes[0].legend(title="law (line), SGD (points)")
    _path(axes[3], data)
    letter(axes)
    return figure


def _curves(axes, data: xarray.Dataset, i: int, load: float, colour: str, symbol: str) -> None:  # type: ignore[no-untyped-def]
    """rho, deviation and norm at one learning rate."""
    unit = data.attrs["norm_w_mn"]
    x, law, small = (data[name].values[i] for name in ("slow_time", "law", "small_eta"))
    mean, sem = data["rho"].values[i].T
    at = np.linspace(4 * i, len(x) - 1, 9).round().astype(int)
    axes[0].plot(x, law / unit, color=COLOURS[colour], label=rf"$\eta$ = {load:g} of the limit")
    markers(axes[0], x[at], mean[at] / unit, sem[at] / unit, colour=colour, symbol=symbol)
    axes[1].plot(
        x, 100 * (small / law - 1), "--", color=COLOURS[colour], label=rf"$\eta \to 0$ law at {load:g} of the limit"
    )
    markers(axes[1], x[at], 100 * (mean / law - 1)[at], 100 * (sem / law)[at], colour=colour, symbol=symbol)
    axes[2].plot(x, np.hypot(unit, law) / unit, color=COLOURS[colour])
    markers(
        axes[2],
        x[at],
        np.hypot(unit, mean[at]) / unit,
        mean[at] * sem[at] / np.hypot(unit, mean[at]) / unit,
        colour=colour,
        symbol=symbol,
    )


def _path(ax, data: xarray.Dataset) -> None:  # type: ignore[no-untyped-def]
    """One run in the plane of w_mn and zhat."""
    unit = data.attrs["norm_w_mn"]
    x, y = data["path"].values.T / unit
    ax.axvline(1, color=COLOURS["law"], linewidth=1.2, label="minima")
    ax.plot(
        x, y, color=COLOURS["simulation"], linewidth=0.5, alpha=0.8, marker=".", markersize=1.5, label="one run of SGD"
    )
    ax.plot(1, 0, "*", color="black", markersize=9, label=r"$w_{\rm mn}$", zorder=5)
    width = 1.15 * np.max(np.abs(x - 1))
    ax.set(xlim=(1 - 1.2 * width, 1 + 2.6 * width), ylim=(-0.1, 1.1 * y.max()), title="sideways jitter, downward drift")
    ax.set(xlabel=r"predictor along $w_{\rm mn}$", ylabel=r"predictor along $\hat z$ (kernel)")
    ax.legend(loc="upper right")
