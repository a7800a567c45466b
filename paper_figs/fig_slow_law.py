"""The slow law (C3) on parametrizations that are not radial, in all their parameters."""

import numpy as np
import xarray
from matplotlib.figure import Figure

from numerics.plotting import COLOURS, letter, markers, new_figure
from numerics.run import phase2
from numerics.run.report import Outcome
from paper_figs.record import checked, checks, dataset, var
from paper_figs.systems import FloatArray, mean_sem, no_tick, sparse, system

CLAIMS = ("C3",)
ALT = (
    "Four panels, one per parametrization: coordinatewise cubic, diagonal network of difference type, diagonal "
    "product network, and sinh. In each the "
    "distance from the minimum-norm solution changes with the step; simulated points lie on the law's line, the "
    "dashed small-learning-rate law deviates."
)
NAMES = {
    "coordinatewise": (3.0, r"$w_j = u_j^3$"),
    "diagonal-product": (2.0, r"$w = a \circ b$"),
    "diagonal-difference": (2.0, r"$w = a^2 - b^2$"),
    "sinh": (1.0, r"$w_j = \sinh u_j$"),
}


def data(small: bool, seed: int) -> xarray.Dataset:
    """The phase2 job at four parametrizations."""
    replicas, records = (16, 16) if small else (64, 60)
    outcomes = []
    for name, (depth, _) in NAMES.items():
        sigma = 0.15 if name == "sinh" else 0.06
        settings = {
            "n": 5,
            "features": 12,
            "batch": 4,
            "sigma": sigma,
            "replicas": replicas,
            "seed": seed,
            "eta_fraction": 0.5,
        }
        chosen = system(parametrization=name, depth=depth, **settings)
        total = max(2000, int(chosen.auto_duration() * 0.6))
        chosen = system(parametrization=name, depth=depth, steps=total, records=records, **settings)
        outcomes.append(phase2.run(chosen, no_tick, no_tick))
    rho, law, small = zip(*(_scaled(o) for o in outcomes), strict=True)
    variables = {
        "step": var("kind record", np.array([o.step for o in outcomes]), "SGD steps", "step"),
        "rho": var("kind record moment", np.array(rho), "rho / |w_mn|, mean and standard error"),
        "law": var("kind record", np.array(law), "rho / |w_mn| by the law"),
        "small_eta": var("kind record", np.array(small), "rho / |w_mn| by the small-eta law"),
    }
    made = [check for o in outcomes for check in o.checks if check.claim == "C3"]
    return dataset("The slow law of other parametrizations", variables, made, replicas=replicas, n=5, d=12, batch=4)


def _scaled(outcome: Outcome) -> tuple[FloatArray, FloatArray, FloatArray]:
    """rho of SGD, of the law and of its small-eta limit, in units of |w_mn|."""
    unit, law = outcome.system.problem.norm_w_mn, outcome.law
    assert law is not None
    return mean_sem(outcome.simulation["rho_slow"]) / unit, law.rho / unit, law.rho_small_eta / unit


def caption(data: xarray.Dataset) -> str:
    """Largest deviation of the simulations and of the small-eta law."""
    mean, law, small = data["rho"].values[..., 0], data["law"].values, data["small_eta"].values
    worst = max(abs(record["observed"] / record["predicted"] - 1) for record in checks(data))
    return (
        f"The slow law needs no symmetry (C3): four parametrizations that are not radial, n = {data.attrs['n']}, d = "
        f"{data.attrs['d']}, B = {data.attrs['batch']}, η at 50% of the "
        f"stability limit, {data.attrs['replicas']} runs, bars ± 2 standard errors. SGD deviates from the law by at "
        f"most {worst:.1%} in ρ where compared, "
        f"the small-η law by up to {np.max(np.abs(small / mean - 1)[law > 0.05]):.0%}; {checked(data)}."
    )


def draw(data: xarray.Dataset) -> Figure:
    """One panel per parametrization."""
    figure, axes = new_figure(1, 4, height=2.3)
    for i, (ax, (_, formula)) in enumerate(zip(axes, NAMES.values(), strict=True)):
        step, at = data["step"].values[i] / 1000, sparse(data.sizes["record"], 9)
        mean, sem = data["rho"].values[i].T
        ax.plot(step, data["small_eta"][i], "--", color=COLOURS["small-eta"], label=r"law, $\eta \to 0$")
        ax.plot(step, data["law"][i], color=COLOURS["law"], label="law")
        markers(ax, step[at], mean[at], sem[at], "SGD")
        ax.set(xlabel="step / 1000", title=formula)
        ax.margins(y=0.12)
    axes[0].set_ylabel(r"distance $\rho$ / $|w_{\rm mn}|$")
    axes[0].legend()
    letter(axes)
    return figure
