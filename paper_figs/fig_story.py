"""The story in one figure: fall into the valley, drift along it, settle after the decay.

The decay time decides where.
"""

import numpy as np
import xarray
from matplotlib.figure import Figure

from numerics.check import Check, Margin, critical_value, mean_and_sem
from numerics.plotting import COLOURS, letter, markers, new_figure
from numerics.run.radial_system import RadialSystem
from numerics.schedule import Constant, StepDecay
from numerics.sgd import records
from numerics.start import radial_from_predictor
from paper_figs.record import checked, dataset, var
from paper_figs.systems import FloatArray, mean_sem, predictors, radial

CLAIMS = ("C1", "C4", "C7", "C8")
ALT = (
    "Three panels. Left: a plane with a vertical open channel of low train loss and closed contours of the test loss "
    "around its lower end. A run of SGD "
    "falls sideways into the channel, drifts down along it, and settles after the learning rate decays. Middle: train "
    "loss falls and stays; test loss goes on "
    "falling much longer. Right: final test loss against the decay step, falling: points of simulations on the law's "
    "line."
)
RESOLUTION = 0.04
_STARTS = 7  # quantiles of the runs' rho at saturation
_FALL = -0.6  # the start's coordinate along w_mn, in its units


def data(small: bool, seed: int) -> xarray.Dataset:
    """One ensemble from a start off the manifold, and decays branched off it."""
    replicas, count = (24, 6) if small else (96, 12)
    chosen = radial(
        n=20, features=30, depth=2.0, batch=4, sigma=0.04, eta_fraction=0.6, replicas=replicas, seed=seed, rho0=1.3
    )
    start = _start(chosen)
    total = int(chosen.law.steps_between(chosen.rho0, 0.12 * chosen.rho0, chosen.eta))
    after = int(12 * 10 * chosen.relaxation_steps(0.0))
    step = np.unique(np.append(0, np.geomspace(1, total, 60 if small else 140))).astype(np.int64)
    decays = np.unique(np.geomspace(0.02 * total, total, count)).astype(np.int64)
    step = np.union1d(step, decays)
    table, kept = _trunk(chosen, start, step, decays)
    final = np.array([_branch(chosen, kept[int(k)], int(k), after) for k in decays])
    law = _law(chosen, table, step, decays)
    critical = critical_value(count, replicas)
    made = [_check(int(k), p, v, critical) for k, p, v in zip(decays, law[1], final, strict=True)]
    variables = {
        "step": var("record", step, "SGD steps", "step"),
        "loss": var(
            "record moment", mean_sem(table["loss"]), "train loss, mean and standard error", "unit of y squared"
        ),
        "test_loss": var(
            "record moment", mean_sem(table["test_loss"]), "test loss, mean and standard error", "unit of y squared"
        ),
        "test_law": var("law_record", law[0][1], "test loss by the law", "unit of y squared"),
        "final_curve": var(
            "law_record", law[0][2], "test loss after a decay at that step by the law", "unit of y squared"
        ),
        "law_step": var("law_record", law[0][0], "SGD steps", "step"),
        "decay": var("branch", decays, "decay step", "step"),
        "final": var(
            "branch moment", mean_sem(final), "test loss after decay, mean and standard error", "unit of y squared"
        ),
        "final_law": var("branch", law[1], "test loss after decay by the law", "unit of y squared"),
        "path": var("point axis", _plane_path(chosen, start, step, total), "one run along w_mn and zhat", "|w_mn|"),
    }
    best = (
        float(chosen.direction @ chosen.problem.w_star) / chosen.problem.norm_w_mn
        if chosen.problem.w_star is not None
        else 0.0
    )
    facts = {
        "n": 20,
        "d": 30,
        "depth": 2.0,
        "batch": 4,
        "replicas": replicas,
        "best": best,
        "saturated": float(law[0][0][0]),
    }
    return dataset("The story", variables, made, **facts)


def _start(chosen: RadialSystem) -> FloatArray:
    """States off the manifold, in the plane of w_mn and zhat."""
    w = _FALL * chosen.problem.w_mn + chosen.rho0 * chosen.direction
    return chosen.model.start(
        radial_from_predictor(w, chosen.manifold.radius_of_norm(float(np.linalg.norm(w)))), chosen.settings.replicas
    )


def _trunk(chosen: RadialSystem, start: FloatArray, step, decays):  # type: ignore[no-untyped-def]
    """Observables along the undecayed run, and its states at the decay steps."""
    states, rows, kept = start.copy(), [], {}
    for at, row in zip(
        step, records(chosen.model, states, Constant(chosen.eta), step, noise=chosen.noise, threads=1), strict=True
    ):
        rows.append(row)
        if at in decays:
            kept[int(at)] = states.copy()
    table = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    table["rho_slow"] = chosen.slow_rho(table)
    return table, kept


def _branch(chosen: RadialSystem, states: FloatArray, decay: int, after: int) -> FloatArray:
    """Test loss of every run after the decay, averaged over the end ``(R,)``."""
    steps = np.append(decay, decay + np.linspace(0.8, 1, 12) * after).astype(np.int64)
    rows = records(chosen.model, states, StepDecay(chosen.eta, decay, 10.0), steps, noise=chosen.noise, threads=1)
    return np.asarray(np.mean([row["test_loss"] for row in list(rows)[1:]], axis=0))


def _law(chosen: RadialSystem, table, step, decays):  # type: ignore[no-untyped-def]
    """Test loss by the law from saturation on, and after decays.

    The runs' rho at saturation is read off the simulation.
    """
    begin = int(np.searchsorted(step, 0.4 * decays[0]))
    starts = np.quantile(table["rho_slow"][begin], (np.arange(_STARTS) + 0.5) / _STARTS)
    paths = [chosen.law.solve(chosen.law.log_rate, float(rho), Constant(chosen.eta), step[begin:]) for rho in starts]
    before = np.mean([[chosen.test_loss(x, chosen.eta) for x in rho] for rho in paths], axis=0)
    ends = [[float(np.interp(k, step[begin:], rho)) for k in decays] for rho in paths]
    after = np.mean([[chosen.test_loss(x, chosen.eta / 10) for x in rho] for rho in ends], axis=0)
    fine = np.mean([[chosen.test_loss(x, chosen.eta / 10) for x in rho] for rho in paths], axis=0)
    return (step[begin:], before, fine), after


def _plane_path(chosen: RadialSystem, start: FloatArray, step, total: int) -> FloatArray:  # type: ignore[no-untyped-def]
    """One run in units of |w_mn|: first steps one by one, then sparse; the last ten points after a decay."""
    states = start[:1].copy()
    steps = np.unique(np.concatenate([np.arange(0, 60), np.geomspace(60, total, 350)])).astype(np.int64)
    end = total + (np.arange(1, 40) * 10 * chosen.relaxation_steps(0.0) / 4).astype(np.int64)
    grid = np.concatenate([steps, end])
    towards = np.append(chosen.reduced.c_mn[:-1], 0.0) / chosen.problem.norm_w_mn
    rows = []
    for _ in records(chosen.model, states, StepDecay(chosen.eta, total, 30.0), grid, noise=chosen.noise, threads=1):
        w = predictors(chosen, states)[0]
        rows.append((w @ towards, w[-1]))
    return np.array(rows) / chosen.problem.norm_w_mn


def _check(decay: int, predicted: float, values: FloatArray, critical: float) -> Check:
    mean, sem = mean_and_sem(values)
    margin = Margin(resolution=RESOLUTION * predicted)
    return Check(
        "C8", f"test loss after a decay at {decay:,}", float(predicted), float(mean), float(sem), margin, critical
    )


def caption(data: xarray.Dataset) -> str:
    """Early against late decay."""
    a, final, decay = data.attrs, data["final"].values[:, 0], data["decay"].values
    return (
        "Why late decay generalises better. SGD with label noise falls into the channel of train minima (Phase I), "
        "drifts along it towards the minimum-norm solution while the train loss stays "
        "at its floor (Phase II), and settles where it is when the learning rate decays (Phase III). Decay at step "
        f"{decay[0]:,} ends at test loss {final[0]:.3f}, at step {decay[-1]:,} at {final[-1]:.3f}; "
        f"by the law {data['final_law'].values[0]:.3f} and {data['final_law'].values[-1]:.3f}. Gaussian inputs, n = "
        f"{a['n']}, d = {a['d']}, D = {a['depth']:g}, B = {a['batch']}; {a['replicas']} runs, "
        f"bars ± 2 standard errors; {checked(data)}."
    )


def draw(data: xarray.Dataset) -> Figure:
    """Plane, losses, decay times."""
    figure, (plane, losses, decay) = new_figure(1, 3, height=2.9)
    _plane(plane, data)
    _losses(losses, data)
    x, (mean, sem) = data["decay"].values.astype(float), data["final"].values.T
    shown = data["law_step"].values >= 0.7 * x[0]
    decay.plot(
        data["law_step"].values[shown], data["final_curve"].values[shown], color=COLOURS["law"], label="law (C8)"
    )
    markers(decay, x, mean, sem, "SGD", colour="simulation")
    decay.set(xscale="log", xlabel="step of the decay", ylabel="test loss after decay", title="decay later, end lower")
    decay.legend()
    letter([plane, losses, decay])
    return figure


def _plane(ax, data: xarray.Dataset) -> None:  # type: ignore[no-untyped-def]
    """Train loss as colour, test loss as contours, one run."""
    x, y = data["path"].values.T
    a, b = np.linspace(-0.9, 2.4, 200), np.linspace(-0.45, 1.15 * y.max(), 200)
    ax.pcolormesh(
        a, b, np.tile(np.abs(a - 1), (200, 1)), cmap="Blues", vmin=-0.3, vmax=3.2, rasterized=True, shading="gouraud"
    )
    radius = np.hypot(*np.meshgrid(a - 1, b - data.attrs["best"]))
    ax.contour(a, b, radius, [0.3, 0.6, 0.9, 1.2, 1.5], colors=COLOURS["law"], linewidths=0.8, linestyles="--")
    ax.plot(x, y, color="black", linewidth=0.7)
    ax.plot(x[0], y[0], "o", color="black", markersize=4)
    ax.plot(1, 0, "*", color=COLOURS["third"], markeredgecolor="black", markersize=9, zorder=5)
    for text, at in (("I", (-0.05, y[0] + 0.1)), ("II", (1.3, 0.62 * y[0])), ("III", (1.22, y[-1] - 0.02))):
        ax.annotate(text, at, fontsize=11, fontweight="bold", ha="left")
    ax.annotate(r"$w_{\rm mn}$", (1, 0), (-22, -12), textcoords="offset points")
    ax.set(xlabel=r"predictor along $w_{\rm mn}$", ylabel=r"along the kernel of X", title="fall, drift, settle")
    ax.set(xlim=(a[0], a[-1]), ylim=(b[0], b[-1]))
    ax.grid(False)


def _losses(ax, data: xarray.Dataset) -> None:  # type: ignore[no-untyped-def]
    """Train and test loss of the undecayed run."""
    step = data["step"].values
    chosen = np.unique(np.searchsorted(step, np.geomspace(1, step[-1], 18)).clip(0, len(step) - 1))
    for name, colour, label, symbol, at in (
        ("loss", "simulation", "train loss", "o", (1.2, 0.0012)),
        ("test_loss", "law", "test loss", "s", (12, 0.4)),
    ):
        mean, sem = data[name].values.T
        ax.plot(step[1:], mean[1:], color=COLOURS[colour], linewidth=0.9)
        markers(ax, step[chosen], mean[chosen], sem[chosen], label, colour=colour, symbol=symbol)
        ax.annotate(label, at, color=COLOURS[colour])
    ax.axvline(data.attrs["saturated"], color=COLOURS["reference"], linestyle=":", linewidth=1)
    for text, x in (("Phase I", 0.03), ("Phase II", 0.62)):
        ax.annotate(text, (x, 1.0), xycoords="axes fraction", va="top", fontsize=8)
    ax.set(xscale="log", yscale="log", xlabel="SGD step", ylabel="loss", title="train at its floor, test falls")
    ax.set_ylim(top=6 * float(data["loss"].values[:, 0].max()))
