"""Heavy ball (C13): its own drift at any learning rate, not that of SGD at eta/(1 - beta)."""

import numpy as np
import xarray
from matplotlib.figure import Figure

from numerics.check import Check, Margin, critical_value, mean_and_sem
from numerics.dynamics import Variant, VariantSGD, compact
from numerics.momentum_law import MomentumLaw, momentum_stability_limit
from numerics.plotting import COLOURS, letter, markers, new_figure
from numerics.run.system import RadialSystem
from numerics.schedule import Constant
from paper_figs.drift import FloatArray, IntArray, relaxed_rho
from paper_figs.record import checked, dataset, var
from paper_figs.systems import mean_sem, radial

CLAIMS = ("C13",)
ALT = (
    "Left: distance against slow time for momentum 0, 0.5 and 0.9 at half their stability limits: three curves below "
    "the one small-learning-rate curve, simulated points on them. "
    "Right: stability limit times 1/(1 - beta) against momentum: it is not constant but rises."
)
BETAS = (0.0, 0.5, 0.9)
RESOLUTION = 0.03
_LOAD = 0.6


def data(small: bool, seed: int) -> xarray.Dataset:
    """Paths at three momenta, and the stability limit at many."""
    replicas, count = (24, 30) if small else (96, 80)
    base = radial(n=4, features=40, depth=1.5, batch=4, replicas=replicas, seed=seed, sigma=0.05)
    kernels = [base.manifold.kernel(x * base.rho0) for x in (0.0, 0.5, 1.0)]
    betas = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95])
    limits = np.array([min(momentum_stability_limit(K, batch=4, momentum=float(b)) for K in kernels) for b in betas])
    runs = [_run(base, b, _LOAD * float(np.interp(b, betas, limits)), count) for b in BETAS]
    critical = critical_value(len(BETAS), replicas)
    variables = {
        "beta": var("momentum", np.array(BETAS), "momentum beta"),
        "slow_time": var("momentum record", np.array([r[0] for r in runs]), "slow time (eta/(1-beta))^2 sigma^2 k / B"),
        "rho": var(
            "momentum record moment",
            np.array([mean_sem(r[1]) for r in runs]) / base.problem.norm_w_mn,
            "rho / |w_mn|, mean and standard error",
        ),
        "law": var(
            "momentum record", np.array([r[2] for r in runs]) / base.problem.norm_w_mn, "rho / |w_mn| by the law"
        ),
        "small_eta": var(
            "momentum record",
            np.array([r[3] for r in runs]) / base.problem.norm_w_mn,
            "rho / |w_mn| by the small-eta law",
        ),
        "betas": var("grid", betas, "momentum beta"),
        "limit": var("grid", limits / (1 - betas) / limits[0], "stability limit of eta/(1-beta), over that of SGD"),
    }
    made = [_check(b, r, critical) for b, r in zip(BETAS, runs, strict=True)]
    return dataset("Heavy ball", variables, made, replicas=replicas, n=4, d=40, depth=1.5, batch=4)


def _run(
    base: RadialSystem, beta: float, eta: float, count: int
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Slow time, relaxed rho ``(records, R)``, law and small-eta law.

    sigma falls with eta/(1-beta), for equal fluctuations.
    """
    sigma = 0.03 * np.sqrt(base.eta / (eta / (1 - beta)))
    law = MomentumLaw(base.manifold, 4, float(sigma), beta)
    rate = abs(law.log_rate(base.rho0, eta))
    steps: IntArray = np.linspace(0, 4.0 / rate, count + 1).astype(np.int64)
    model = VariantSGD(compact(base.reduced), base.parametrization, base.model.scale, Variant(momentum=beta))
    state = base.states_on_manifold()[0]
    n = base.problem.n
    u = np.append(np.linalg.solve(base.reduced.factor, state[:n]), state[n + 1])
    noise = type(base.noise)(4, float(sigma), base.settings.seed)
    rho = relaxed_rho(base, model, model.start(u, base.settings.replicas), eta=eta, steps=steps, noise=noise)
    paths = [
        base.law.solve(f, base.rho0, Constant(eta), steps) if sigma else rho
        for f in (law.log_rate, law.log_rate_small_eta)
    ]
    return (eta / (1 - beta) * sigma) ** 2 / 4 * steps, rho, paths[0], paths[1]


def _check(beta: float, run: tuple[FloatArray, ...], critical: float) -> Check:
    mean, sem = mean_and_sem(run[1][-1])
    law = float(run[2][-1])
    return Check(
        "C13",
        f"rho at the end, beta = {beta:g}",
        law,
        float(mean),
        float(sem),
        Margin(resolution=RESOLUTION * law),
        critical,
    )


def caption(data: xarray.Dataset) -> str:
    """The heaviest ball in numbers."""
    a, end, law, small = (
        data.attrs,
        data["rho"].values[-1, -1],
        data["law"].values[-1, -1],
        data["small_eta"].values[-1, -1],
    )
    return (
        f"Heavy ball has its own slow law (C13). At β = {BETAS[-1]:g} and {_LOAD:.0%} of its stability limit ρ ends "
        f"at {end[0]:.4f} ± {end[1]:.1g} |w_mn|, by the law {law:.4f}; the small-η rule "
        f"η → η/(1 − β) says {small:.4f}. Momentum {data['betas'].values[-1]:g} allows {data['limit'].values[-1]:.2f} "
        f"times the effective rate η/(1 − β) of SGD. n = {a['n']}, d = {a['d']}, D = {a['depth']:g}, B = "
        f"{a['batch']}; "
        f"{a['replicas']} runs, bars ± 2 standard errors; {checked(data)}."
    )


def draw(data: xarray.Dataset) -> Figure:
    """Paths, and the limit."""
    figure, (paths, limit) = new_figure(1, 2, height=2.8)
    at = np.linspace(2, data.sizes["record"] - 1, 10).round().astype(int)
    longest = int(np.argmax(data["slow_time"].values[:, -1]))
    paths.plot(
        data["slow_time"][longest],
        data["small_eta"][longest],
        "--",
        color=COLOURS["small-eta"],
        label=r"law, $\eta \to 0$",
    )
    for i, (colour, symbol) in enumerate((("law", "o"), ("simulation", "s"), ("second", "^"))):
        mean, sem = data["rho"].values[i].T
        x = data["slow_time"].values[i]
        paths.plot(x, data["law"][i], color=COLOURS[colour], label=rf"law, $\beta$ = {BETAS[i]:g}")
        markers(paths, x[at], mean[at], sem[at], colour=colour, symbol=symbol)
    paths.set(
        xlabel=r"slow time $(\eta/(1-\beta))^2\sigma^2 k/B$",
        ylabel=r"distance $\rho$ / $|w_{\rm mn}|$",
        title="heavy ball follows its own law",
    )
    paths.legend(title="points: heavy-ball SGD")
    limit.plot(data["betas"], data["limit"], "o-", color=COLOURS["law"], markersize=4)
    limit.axhline(1, color=COLOURS["small-eta"], linestyle="--", label=r"if it were SGD at $\eta/(1-\beta)$")
    limit.set(
        xlabel=r"momentum $\beta$",
        ylabel=r"limit of $\eta/(1-\beta)$ / limit of SGD",
        title="momentum tolerates larger rates",
        ylim=(0, None),
    )
    limit.legend(loc="lower right")
    letter([paths, limit])
    return figure
