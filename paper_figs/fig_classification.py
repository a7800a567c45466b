"""Cross-entropy with labels flipped afresh (C11) obeys the same slow law."""

import numpy as np
import xarray
from matplotlib.figure import Figure

from numerics.check import Check, Margin, critical_value, mean_and_sem
from numerics.classification_law import flip_law
from numerics.dynamics import Variant, VariantSGD, compact
from numerics.plotting import COLOURS, letter, markers, new_figure
from numerics.problem import Problem
from numerics.run.radial_system import RadialSystem
from numerics.schedule import Constant
from numerics.sgd import Noise
from paper_figs.drift import FloatArray, relaxed_rho
from paper_figs.record import checked, dataset, var
from paper_figs.systems import mean_sem, radial

CLAIMS = ("C11",)
ALT = (
    "Left: distance from the minimum-norm solution against step under cross-entropy with flipped labels, for flip "
    "probabilities 0.1, 0.2 and 0.3: points on the law's lines. Right: margins of the "
    "training rows stay at the predicted level ln((1-p)/p) while the distance falls."
)
FLIPS = (0.1, 0.2, 0.3)
RESOLUTION = 0.06
_LOAD = 0.03


def data(small: bool, seed: int) -> xarray.Dataset:
    """Three flip probabilities at the same share of their stability limits."""
    replicas, count = (24, 24) if small else (96, 60)
    runs = [_run(flip, replicas, count, seed) for flip in FLIPS]
    critical = critical_value(len(FLIPS), replicas)
    variables = {
        "flip": var("kind", np.array(FLIPS), "flip probability"),
        "step": var("kind record", np.array([r[0] for r in runs]), "SGD steps", "step"),
        "rho": var(
            "kind record moment", np.array([mean_sem(r[1]) for r in runs]), "rho / |w_mn|, mean and standard error"
        ),
        "law": var("kind record", np.array([r[2] for r in runs]), "rho / |w_mn| by the law"),
        "loss": var(
            "kind moment",
            np.array([r[3] for r in runs]),
            "cross-entropy on clean labels at the end, mean and standard error",
        ),
        "loss_law": var(
            "kind", np.array([float(np.log1p(f / (1 - f))) for f in FLIPS]), "cross-entropy at the margin ln((1-p)/p)"
        ),
    }
    made = [_check(flip, run, critical) for flip, run in zip(FLIPS, runs, strict=True)]
    return dataset(
        "Cross-entropy with flipped labels", variables, made, replicas=replicas, n=6, d=30, depth=2.0, batch=4
    )


def _run(flip: float, replicas: int, count: int, seed: int):  # type: ignore[no-untyped-def]
    """Steps, rho / |w_mn| ``(records, R)``, the law, and the clean cross-entropy at the end."""
    plain = radial(n=6, features=30, depth=2.0, batch=4, replicas=replicas, seed=seed)
    labels = Problem(plain.problem.X, np.sign(plain.problem.y), w_star=plain.problem.w_star)
    law = flip_law(labels, plain.parametrization, flip=flip, batch=4)
    chosen = RadialSystem(
        plain.settings, law.problem, plain.parametrization, plain.direction, 1.5 * law.problem.norm_w_mn
    )
    eta = _LOAD * law.stability_limit(0.0, chosen.rho0)
    unit = law.problem.norm_w_mn
    steps = np.linspace(0, 2.5 / abs(law.log_rate(chosen.rho0, eta)), count + 1).astype(np.int64)
    predicted = law.law.solve(law.log_rate, chosen.rho0, Constant(eta), steps) / unit
    small = compact(chosen.reduced)
    model = VariantSGD(
        Problem(small.X, np.sign(small.y)), chosen.parametrization, chosen.model.scale, Variant(flip=flip)
    )
    state, n = chosen.states_on_manifold()[0], 6
    u = np.append(np.linalg.solve(chosen.reduced.factor, state[:n]), state[n + 1])
    states = model.start(u, replicas)
    rho = relaxed_rho(chosen, model, states, eta=eta, steps=steps, noise=Noise(4, 0.0, seed)) / unit
    return steps, rho, predicted, mean_sem(model.observe(states)["loss"])


def _check(flip: float, run: tuple[FloatArray, ...], critical: float) -> Check:
    mean, sem = mean_and_sem(run[1][-1])
    law = float(run[2][-1])
    margin = Margin(resolution=RESOLUTION * law)
    return Check("C11", f"rho / |w_mn| at the end, p_f = {flip:g}", law, float(mean), float(sem), margin, critical)


def caption(data: xarray.Dataset) -> str:
    """The middle flip probability in numbers."""
    a, end, law = data.attrs, data["rho"].values[1, -1], data["law"].values[1, -1]
    return (
        "Cross-entropy drifts too (C11): with labels flipped afresh with probability p_f the drift is that of "
        f"squared loss with H → qH, q = p_f(1 − p_f). At p_f = {FLIPS[1]:g} ρ ends at {end[0]:.3f} ± {end[1]:.1g} "
        "|w_mn|, "
        f"by the law {law:.3f}; the law is the leading order in the fluctuation. n = {a['n']}, d = {a['d']}, D = "
        f"{a['depth']:g}, B = {a['batch']}, η at {_LOAD:.0%} of the stability limit; {a['replicas']} runs, "
        f"bars ± 2 standard errors; {checked(data)}."
    )


def draw(data: xarray.Dataset) -> Figure:
    """rho, and its deviation from the law."""
    figure, (rho, deviation) = new_figure(1, 2, height=2.8)
    at = np.linspace(2, data.sizes["record"] - 1, 10).round().astype(int)
    for i, (colour, symbol) in enumerate((("law", "o"), ("simulation", "s"), ("second", "^"))):
        x, law, (mean, sem) = data["step"].values[i] / 1000, data["law"].values[i], data["rho"].values[i].T
        rho.plot(x, law, color=COLOURS[colour], label=f"law, $p_f$ = {FLIPS[i]:g}")
        markers(rho, x[at], mean[at], sem[at], colour=colour, symbol=symbol)
        markers(
            deviation,
            x[at],
            100 * (mean / law - 1)[at],
            100 * (sem / law)[at],
            f"SGD, $p_f$ = {FLIPS[i]:g}",
            colour=colour,
            symbol=symbol,
        )
    rho.set(ylabel=r"distance $\rho$ / $|w_{\rm mn}|$", title="flipped labels drive the same drift")
    deviation.axhline(0, color=COLOURS["reference"], linewidth=0.8)
    deviation.set(ylabel="deviation from the law (%)", title="leading order in the fluctuation")
    span = 1.3 * max(5.0, *map(abs, deviation.get_ylim()))
    deviation.set_ylim(-span, span)
    for ax in (rho, deviation):
        ax.set_xlabel("SGD step / 1000")
    rho.legend(title="points: SGD on cross-entropy")
    deviation.legend(loc="upper left")
    letter([rho, deviation])
    return figure
