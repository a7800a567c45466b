"""How long the drift takes (C6): steps between two distances against the learning rate."""

import numpy as np
import xarray
from matplotlib.figure import Figure

from numerics.check import Check, Margin, critical_value, mean_and_sem
from numerics.plotting import COLOURS, letter, markers, new_figure
from numerics.run.system import RadialSystem
from numerics.schedule import Constant
from paper_figs.record import checked, dataset, var
from paper_figs.systems import FloatArray, mean_sem, radial

CLAIMS = ("C6",)
ALT = (
    "Left: number of steps to halve the distance against the learning rate, both axes logarithmic: a straight line of "
    "slope minus two at small learning "
    "rates that bends down near the stability limit; simulated points for two batch sizes lie on the curves. Right: "
    "the same over the small-learning-rate "
    "formula: the ratio falls from one to a fraction."
)
BATCHES = (1, 8)
RESOLUTION = 0.05
_FROM, _TO = 1.5, 0.75  # in units of |w_mn|


def data(small: bool, seed: int) -> xarray.Dataset:
    """Quadrature on a fine grid, first crossings of SGD on a coarse one."""
    replicas, loads = (16, (0.15, 0.4, 0.75)) if small else (64, (0.1, 0.17, 0.3, 0.45, 0.6, 0.75, 0.87))
    grid = np.geomspace(0.03, 0.95, 12 if small else 40)
    law = np.array([[_predicted(_system(b, s, replicas, seed))[0] for s in grid] for b in BATCHES])
    small_eta = np.array([[_predicted(_system(b, s, replicas, seed))[1] for s in grid] for b in BATCHES])
    found, made = [], []
    critical = critical_value(len(BATCHES) * len(loads), replicas)
    for batch in BATCHES:
        found.append([])
        for load in loads:
            times, check = _crossings(_system(batch, load, replicas, seed), load, critical)
            found[-1].append(mean_sem(times))
            made.append(check)
    variables = {
        "load": var("grid", grid, "learning rate over the stability limit"),
        "law": var("batch grid", law, "steps by the quadrature", "step"),
        "small_eta": var("batch grid", small_eta, "steps by the small-eta law", "step"),
        "load_simulated": var("point", np.array(loads), "learning rate over the stability limit"),
        "simulated": var("batch point moment", np.array(found), "steps of SGD, mean and standard error", "step"),
        "batch": var("batch", np.array(BATCHES), "batch size"),
    }
    return dataset("Timescale of the drift", variables, made, replicas=replicas, n=6, d=30, depth=2.0, sigma=0.08)


def _system(batch: int, load: float, replicas: int, seed: int) -> RadialSystem:
    return radial(
        n=6, features=30, depth=2.0, batch=batch, sigma=0.08, eta_fraction=float(load), replicas=replicas, seed=seed
    )


def _predicted(chosen: RadialSystem) -> tuple[float, float]:
    """Steps by the quadrature at any eta, and in the small-eta limit."""
    unit, eta = chosen.problem.norm_w_mn, chosen.eta
    tiny = 1e-4 * eta
    exact = chosen.law.steps_between(_FROM * unit, _TO * unit, eta)
    return exact, chosen.law.steps_between(_FROM * unit, _TO * unit, tiny) * (tiny / eta) ** 2


def _crossings(chosen: RadialSystem, load: float, critical: float) -> tuple[FloatArray, Check]:
    """Steps at which each run's relaxed rho first crosses the target ``(R,)``, and the check of their mean."""
    predicted, target = _predicted(chosen)[0], _TO * chosen.problem.norm_w_mn
    steps = np.append(0, np.linspace(0.6, 1.7, 56) * predicted).astype(np.int64)
    rho = chosen.simulate(chosen.states_on_manifold(), Constant(chosen.eta), steps, lambda _: None)["rho_slow"]
    i = np.argmax(rho <= target, axis=0)
    columns = np.arange(rho.shape[1])
    high, low = np.log(rho[i - 1, columns]), np.log(rho[i, columns])
    times = steps[i - 1] + (steps[i] - steps[i - 1]) * (high - np.log(target)) / (high - low)
    mean, sem = mean_and_sem(times)
    remainder = float(chosen.law.path(chosen.rho0, Constant(chosen.eta), np.array([0, int(predicted)])).remainder[-1])
    model = abs(remainder) / abs(chosen.law.log_rate(target, chosen.eta))
    quantity = f"steps from {_FROM:g} to {_TO:g} |w_mn|, B = {chosen.settings.batch}, {load:.0%} of the limit"
    margin = Margin(model=model, resolution=RESOLUTION * predicted)
    return times, Check("C6", quantity, predicted, float(mean), float(sem), margin, critical)


def caption(data: xarray.Dataset) -> str:
    """The largest learning rate in numbers."""
    load, mean, sem = data["load_simulated"].values[-1], *data["simulated"].values[0, -1]
    law = np.exp(np.interp(np.log(load), np.log(data["load"].values), np.log(data["law"].values[0])))
    ratio = np.interp(load, data["load"].values, data["law"].values[0] / data["small_eta"].values[0])
    return (
        f"How long Phase II takes (C6): steps to bring ρ from {_FROM:g} to {_TO:g} |w_mn|. ∝ B/(η²σ²) at small η; at "
        f"{load:.0%} of the stability limit and B = {BATCHES[0]} "
        f"SGD takes {mean:,.0f} ± {sem:.0f} steps, the law says {law:,.0f}, {ratio:.0%} of the small-η formula. n = "
        f"{data.attrs['n']}, d = {data.attrs['d']}, D = {data.attrs['depth']:g}, σ = {data.attrs['sigma']:g}; "
        f"{data.attrs['replicas']} runs, bars ± 2 standard errors; {checked(data)}."
    )


def draw(data: xarray.Dataset) -> Figure:
    """Steps, and steps over the small-eta formula."""
    figure, (left, right) = new_figure(1, 2, height=2.8)
    load, at = data["load"].values, data["load_simulated"].values
    for i, (colour, symbol) in enumerate((("law", "o"), ("simulation", "s"))):
        law, small = data["law"].values[i], data["small_eta"].values[i]
        mean, sem = data["simulated"].values[i].T
        scale = np.exp(np.interp(np.log(at), np.log(load), np.log(small)))
        left.plot(
            load,
            small,
            "--",
            color=COLOURS["small-eta"],
            linewidth=1.1,
            label=r"$\eta \to 0$: $\propto B/\eta^2\sigma^2$" if i == 0 else None,
        )
        left.plot(load, law, color=COLOURS[colour], label=f"law, B = {BATCHES[i]}")
        right.plot(load, law / small, color=COLOURS[colour])
        markers(left, at, mean, sem, colour=colour, symbol=symbol)
        markers(right, at, mean / scale, sem / scale, f"SGD, B = {BATCHES[i]}", colour=colour, symbol=symbol)
    right.axhline(1, linestyle="--", color=COLOURS["small-eta"])
    left.set(
        xscale="log", yscale="log", ylabel="steps to halve the distance", title="steps fall as the square of the rate"
    )
    left.set_xticks([0.03, 0.1, 0.3, 1], ["0.03", "0.1", "0.3", "1"])
    right.set(
        xlim=(0, 1), ylim=(0, 1.1), ylabel=r"steps / ($\eta \to 0$ formula)", title="... and faster near the limit"
    )
    for ax in (left, right):
        ax.set_xlabel(r"learning rate $\eta$ / stability limit")
        ax.legend(loc="lower left")
    letter([left, right])
    return figure
