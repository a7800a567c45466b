"""Noise models compared (C10): fresh label noise drifts.

No noise, depth 1 and static corruption do not; isotropic noise drifts otherwise.
"""

from dataclasses import replace

import numpy as np
import xarray
from matplotlib.figure import Figure

from numerics.check import Check, Margin, critical_value, mean_and_sem
from numerics.dynamics import Variant, VariantSGD
from numerics.noise_laws import isotropic_rates
from numerics.plotting import COLOURS, letter, new_figure
from numerics.run.radial_system import RadialSystem
from numerics.schedule import Constant
from numerics.sgd import Noise, simulate
from numerics.start import on_manifold, radial_from_predictor
from paper_figs.drift import FloatArray, IntArray
from paper_figs.record import checked, dataset, var
from paper_figs.systems import mean_sem, radial

CLAIMS = ("C10",)
ALT = (
    "Left: distance from the minimum-norm solution against step for five kinds of noise. Only fresh label noise "
    "brings it down, on the law's line; minibatch noise, static label corruption and "
    "depth one stay where they are; isotropic noise moves slowly. Right: spread of the runs: isotropic noise diffuses "
    "as predicted, label noise does not."
)
KINDS = (
    "fresh label noise",
    "minibatch noise only",
    "static label errors",
    "depth 1, fresh label noise",
    "isotropic gradient noise",
)
RESOLUTION = 0.03
SPREAD = 0.12  # of rho / rho0 at the end, under isotropic noise


def data(small: bool, seed: int) -> xarray.Dataset:
    """The same start and steps under five kinds of noise; isotropic noise is scaled to a stated spread."""
    replicas, count = (32, 24) if small else (256, 48)
    base = radial(n=6, features=30, depth=2.0, batch=4, sigma=0.12, eta_fraction=0.3, replicas=replicas, seed=seed)
    total = base.law.steps_between(base.rho0, 0.3 * base.rho0, base.eta)
    steps = np.linspace(0, total, count + 1).astype(np.int64)
    flat = radial(n=6, features=30, depth=1.0, batch=4, sigma=0.12, eta_fraction=0.3, replicas=replicas, seed=seed)
    silent = replace(base, settings=base.settings.model_copy(update={"sigma": 0.0, "eta": base.eta}))
    tau = _spreading_tau(base, int(steps[-1]))
    runs = [
        _label(base, steps),
        _label(silent, steps, push=1.15),
        _label(_corrupted(silent, seed), steps),
        _label(flat, steps),
        _isotropic(base, steps, tau),
    ]
    law = base.law.path(base.rho0, Constant(base.eta), steps).rho
    drifted, spread = _isotropic_law(base, steps, tau)
    unit = base.rho0
    variables = {
        "step": var("record", steps, "SGD steps", "step"),
        "kind": var("kind", np.array(KINDS), "kind of noise"),
        "rho": var(
            "kind record moment",
            np.array([mean_sem(r / r[0].mean()) for r in runs]),
            "rho / rho0, mean and standard error",
        ),
        "deviation": var(
            "kind record",
            np.array([np.std(r / r[0].mean(), axis=1, ddof=1) for r in runs]),
            "spread of rho / rho0 over runs",
        ),
        "law": var("record", law / unit, "rho / rho0 under fresh label noise, law"),
        "isotropic_law": var("record", drifted / unit, "rho / rho0 under isotropic noise, law"),
        "isotropic_spread": var("record", spread / unit, "its spread, law"),
    }
    critical = critical_value(len(KINDS) + 1, replicas)
    wanted = (law[-1] / unit, 1.0, 1.0, 1.0, drifted[-1] / unit)
    made = [_check(k, float(w), r, critical) for k, w, r in zip(KINDS, wanted, runs, strict=True)]
    return dataset("Noise models compared", variables, made, replicas=replicas, n=6, d=30, depth=2.0, batch=4, tau=tau)


def _label(chosen: RadialSystem, steps: IntArray, push: float = 1.0) -> FloatArray:
    """Relaxed rho ``(records, R)`` of SGD; push > 1 starts off the manifold, where minibatch noise acts."""
    states = chosen.states_on_manifold()
    n = chosen.problem.n
    states *= np.append(np.full(n, push), [push**2, push])
    return np.asarray(chosen.simulate(states, Constant(chosen.eta), steps, lambda _: None)["rho_slow"])


def _corrupted(chosen: RadialSystem, seed: int) -> RadialSystem:
    """Labels with one fixed error each; the start stays, so that the errors are still to be fitted."""
    from numerics.problem import Problem

    p = chosen.problem
    error = 0.1 * np.random.Generator(np.random.Philox(seed)).standard_normal(p.n) * np.abs(p.y).mean()
    return RadialSystem(
        chosen.settings,
        Problem(p.X, p.y + error, w_star=p.w_star),
        chosen.parametrization,
        chosen.direction,
        chosen.rho0,
    )


def _spreading_tau(chosen: RadialSystem, total: int) -> float:
    """tau at which isotropic noise spreads rho by a stated share of rho0 in these steps, to leading order."""
    unit = isotropic_rates(chosen.manifold, chosen.rho0, eta=chosen.eta, tau=1.0, d=chosen.problem.d)
    return float(SPREAD * chosen.rho0 / np.sqrt(unit.variance * total))


def _isotropic(chosen: RadialSystem, steps: IntArray, tau: float) -> FloatArray:
    w = on_manifold(chosen.problem, chosen.rho0, chosen.direction)
    u = radial_from_predictor(w, chosen.manifold.radius(chosen.rho0))
    model = VariantSGD(chosen.problem, chosen.parametrization, chosen.model.scale, Variant(isotropic=tau))
    noise = Noise(chosen.settings.batch, 0.0, chosen.settings.seed)
    table = simulate(
        model, model.start(u, chosen.settings.replicas), Constant(chosen.eta), steps, noise=noise, threads=1
    )
    return np.asarray(np.abs(chosen.manifold.relaxed(table["nu"], table["r"])))


def _isotropic_law(chosen: RadialSystem, steps: IntArray, tau: float) -> tuple[FloatArray, FloatArray]:
    """Mean and spread of rho: drift and variance of the limit map's generator, integrated along the mean."""
    rho, variance, means, spreads = chosen.rho0, 0.0, [chosen.rho0], [0.0]
    for length in np.diff(steps):
        rates = isotropic_rates(chosen.manifold, rho, eta=chosen.eta, tau=tau, d=chosen.problem.d)
        rho, variance = rho + length * rates.drift, variance + length * rates.variance
        means.append(rho)
        spreads.append(np.sqrt(variance))
    return np.array(means), np.array(spreads)


def _check(kind: str, predicted: float, rho: FloatArray, critical: float) -> Check:
    """rho at the end over rho at the start."""
    mean, sem = mean_and_sem(rho[-1] / rho[0].mean())
    margin = Margin(resolution=RESOLUTION, model=0.05 if kind.startswith("isotropic") else 0.0)
    return Check("C10", f"rho / rho0 at the end, {kind}", predicted, float(mean), float(sem), margin, critical)


def caption(data: xarray.Dataset) -> str:
    """Where each kind ends."""
    ends = ", ".join(
        f"{kind} {data['rho'].values[i, -1, 0]:.3f} ± {data['rho'].values[i, -1, 1]:.1g}"
        for i, kind in enumerate(KINDS)
    )
    a = data.attrs
    return (
        f"Which noise drifts (C10). ρ/ρ₀ after {int(data['step'].values[-1]):,} steps: {ends}; the law says "
        f"{data['law'].values[-1]:.3f} for fresh label noise and "
        f"{data['isotropic_law'].values[-1]:.3f} for isotropic noise, scaled to spread ρ by {SPREAD:.0%}. n = "
        f"{a['n']}, d = {a['d']}, D = {a['depth']:g} unless said, B = {a['batch']}; {a['replicas']} runs, "
        f"bars ± 2 standard errors; {checked(data)}."
    )


def draw(data: xarray.Dataset) -> Figure:
    """Means on the left, spreads on the right."""
    from numerics.plotting import markers

    figure, (mean_panel, spread) = new_figure(1, 2, height=3.1)
    step, at = data["step"].values / 1000, np.linspace(0, data.sizes["record"] - 1, 9).round().astype(int)
    mean_panel.plot(step, data["law"], color=COLOURS["law"], label="law, label noise")
    mean_panel.plot(step, data["isotropic_law"], "--", color=COLOURS["third"], label="law, isotropic noise")
    looks = (("simulation", "o"), ("small-eta", "s"), ("second", "^"), ("reference", "D"), ("third", "v"))
    for i, (colour, symbol) in enumerate(looks):
        mean, sem = data["rho"].values[i].T
        shifted = np.clip(at + (i - 2), 0, len(step) - 1) if i else at
        markers(mean_panel, step[shifted], mean[shifted], sem[shifted], KINDS[i], colour=colour, symbol=symbol)
        spread.plot(
            step[shifted],
            data["deviation"].values[i][shifted],
            symbol,
            color=COLOURS[colour],
            markerfacecolor="white",
            markersize=4,
        )
    spread.plot(step, data["isotropic_spread"], "--", color=COLOURS["third"], label="law, isotropic noise")
    mean_panel.set(
        ylabel=r"distance $\rho$ / $\rho_0$",
        title="only fresh label noise drifts down",
        ylim=(0, 1.9),
        yticks=[0, 0.5, 1],
    )
    spread.set(ylabel=r"spread of $\rho$ / $\rho_0$ over runs", title="isotropic noise diffuses")
    for ax in (mean_panel, spread):
        ax.set_xlabel("SGD step / 1000")
    mean_panel.legend(loc="upper left", ncols=2, fontsize=6.5, columnspacing=0.6, handletextpad=0.3)
    spread.legend()
    letter([mean_panel, spread])
    return figure
