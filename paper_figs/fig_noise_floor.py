"""The noise floor (C2) against the learning rate, at three batch sizes.

The small-eta formula is off by a factor at large eta.
"""

from dataclasses import replace

import numpy as np
import xarray
from matplotlib.figure import Figure

from numerics.check import Check, Margin, critical_value, mean_and_sem
from numerics.noise_floor import Fluctuations, floor_small_eta, stability_limit
from numerics.plotting import COLOURS, markers, new_figure
from numerics.run.system import RadialSystem
from numerics.schedule import Constant
from numerics.sgd import Noise, simulate
from paper_figs.record import checked, dataset, var
from paper_figs.systems import FloatArray, mean_sem, radial

CLAIMS = ("C2",)
ALT = (
    "Mean train loss over the small-learning-rate formula, against the learning rate as a share of the stability "
    "limit. Curves "
    "for batch sizes 1, 4 and 16 rise from one and bend upwards towards the limit; simulated points lie on them."
)
BATCHES = (1, 4, 16)
RESOLUTION = 0.1
_SIGMA = 3e-3  # small: the point on the manifold stays put


def data(small: bool, seed: int) -> xarray.Dataset:
    """Law on a fine grid, SGD on a coarse one."""
    chosen = radial(n=5, features=20, depth=2.0, seed=seed, replicas=64 if small else 512)
    K = chosen.manifold.kernel(chosen.rho0)
    grid, loads = np.linspace(0.01, 0.97, 60), np.linspace(0.1, 0.85, 5 if small else 9)
    law = np.array([[_ratio(K, share, batch) for share in grid] for batch in BATCHES])
    at = np.array([[_ratio(K, share, batch) for share in loads] for batch in BATCHES])
    found = np.array([[_simulated(chosen, K, share, batch) for share in loads] for batch in BATCHES])
    critical = critical_value(at.size, found.shape[-1])
    made = [_check(at[i, j], found[i, j], BATCHES[i], loads[j], critical) for i in range(3) for j in range(len(loads))]
    variables = {
        "load": var("grid", grid, "learning rate over the stability limit"),
        "law": var("batch grid", law, "floor over its small-eta formula, law"),
        "load_simulated": var("point", loads, "learning rate over the stability limit"),
        "simulated": var(
            "batch point moment", mean_sem(found), "floor over its small-eta formula, mean and standard error"
        ),
        "batch": var("batch", np.array(BATCHES), "batch size"),
    }
    facts = {"n": 5, "d": 20, "depth": 2.0, "replicas": found.shape[-1]}
    return dataset("Noise floor", variables, made, **facts)


def _ratio(K: FloatArray, share: float, batch: int) -> float:
    eta = share * stability_limit(K, batch=batch)
    C = Fluctuations(K, eta, batch).covariance(1.0)
    return float(np.trace(C) / (2 * len(K)) / floor_small_eta(K, eta=eta, batch=batch, sigma=1.0))


def _simulated(chosen: RadialSystem, K: FloatArray, share: float, batch: int) -> FloatArray:
    """Train loss of each replica over the small-eta formula, averaged over 40 records after burn-in, ``(R,)``."""
    eta = share * stability_limit(K, batch=batch)
    gap = max(1, int(1 / (eta * np.linalg.eigvalsh(K)[0] / len(K))))
    steps = np.append(0, 8 * gap + gap * np.arange(40))
    model = replace(chosen.model, scale=1e3 * chosen.model.scale)
    noise = Noise(batch, _SIGMA, chosen.settings.seed)
    table = simulate(model, chosen.states_on_manifold(), Constant(eta), steps, noise=noise, threads=1)
    return np.asarray(table["loss"][1:].mean(axis=0) / floor_small_eta(K, eta=eta, batch=batch, sigma=_SIGMA))


def _check(predicted: float, values: FloatArray, batch: int, share: float, critical: float) -> Check:
    mean, sem = mean_and_sem(values)
    quantity = f"floor over small-eta formula, B = {batch}, {share:.0%} of the limit"
    return Check(
        "C2", quantity, predicted, float(mean), float(sem), Margin(resolution=RESOLUTION * predicted), critical
    )


def caption(data: xarray.Dataset) -> str:
    """How far the small-eta formula is off."""
    shares = data["load_simulated"].values
    mean, sem = data["simulated"].values[0, -1]
    law = np.interp(shares[-1], data["load"].values, data["law"].values[0])
    return (
        "The noise floor at any learning rate (C2): the law (lines) and SGD (points), both over the small-η formula "
        "ησ² tr H/4B. At "
        f"{shares[-1]:.0%} of the stability limit and B = {BATCHES[0]} the floor is {mean:.2f} ± {sem:.2f} times the "
        f"formula, by the law {law:.2f}. "
        f"n = 5, d = 20, D = 2; {data.attrs['replicas']} runs, bars ± 2 standard errors; {checked(data)}."
    )


def draw(data: xarray.Dataset) -> Figure:
    """One curve per batch size."""
    figure, (ax,) = new_figure(1, 1, width=4.2, height=3.1)
    ax.axhline(1.0, color=COLOURS["small-eta"], linestyle="--", label=r"$\eta \to 0$ formula")
    for i, (colour, mark) in enumerate((("law", "o"), ("simulation", "s"), ("second", "^"))):
        mean, sem = data["simulated"].values[i].T
        ax.plot(data["load"], data["law"][i], color=COLOURS[colour], label=f"law, B = {BATCHES[i]}")
        markers(ax, data["load_simulated"].values, mean, sem, colour=colour, symbol=mark)
    ax.set(
        xlabel=r"learning rate $\eta$ / stability limit",
        ylabel=r"train loss / ($\eta\sigma^2$ tr H / 4B)",
        yscale="log",
    )
    ax.set_yticks([1, 2, 5, 10], ["1", "2", "5", "10"])
    ax.minorticks_off()
    ax.set(ylim=(0.8, 1.3 * float(data["simulated"].values[..., 0].max())), xlim=(0, 1))
    ax.set_title("the floor rises above its small-eta formula")
    ax.legend(loc="upper left", title="points: SGD")
    return figure
