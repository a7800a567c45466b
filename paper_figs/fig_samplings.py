"""How batches are drawn matters, the shape of the label noise does not (C2, C4)."""

from dataclasses import dataclass

import numpy as np
import xarray
from matplotlib.figure import Figure

from numerics.check import Check, Margin, critical_value, mean_and_sem
from numerics.dynamics import Variant, VariantSGD, compact, trajectory
from numerics.dynamics.variant import LabelNoise, Sampling
from numerics.plotting import COLOURS, letter, markers, new_figure
from numerics.predictions import NoPrediction, Request, law_of
from numerics.ray_law import RayPath
from numerics.run.radial_system import RadialSystem
from numerics.schedule import Constant
from numerics.sgd import Noise
from paper_figs.drift import FloatArray, IntArray
from paper_figs.record import checked, dataset, var
from paper_figs.systems import mean_sem, radial, sparse

CLAIMS = ("C4", "C2")
ALT = (
    "Left: distance from the minimum-norm solution against step for batches drawn with replacement, without, and as "
    "pieces of a shuffled epoch: the first drifts fastest, the other two nearly alike, each on the line of its own "
    "law. Right: deviation from that law for these and for two-valued and heavy-tailed label noise: all stay within "
    "a few tenths of a percent."
)


@dataclass(frozen=True)
class Kind:
    """One run: how rows are drawn, and the distribution of the label noise, of variance 1 before sigma."""

    name: str
    sampling: Sampling = "with-replacement"
    label: LabelNoise = "gaussian"


KINDS = (
    Kind("with replacement"),
    Kind("without replacement", sampling="without-replacement"),
    Kind("shuffled epochs", sampling="shuffle"),
    Kind("Rademacher noise", label="rademacher"),
    Kind("Student noise", label="student"),
)
DRAWN = 3  # of the kinds have a law of their own
RESOLUTION = 0.005
LOOKS = (("law", "o"), ("simulation", "s"), ("second", "^"), ("third", "D"), ("reference", "v"))


def data(small: bool, seed: int) -> xarray.Dataset:
    """The same start, learning rate and steps under every kind."""
    replicas, count, end = (64, 12, 0.7) if small else (512, 24, 0.35)
    base = radial(n=8, features=30, depth=2.0, batch=4, sigma=0.08, eta_fraction=0.6, replicas=replicas, seed=seed)
    total = base.law.steps_between(base.rho0, end * base.rho0, base.eta)
    steps = np.linspace(0, total / 2, count + 1).astype(np.int64) * 2  # whole epochs
    runs = np.array([_run(base, kind, steps) for kind in KINDS]) / base.rho0
    laws = [_law(base, kind, steps) for kind in KINDS]
    law = np.array([path.rho for path in laws]) / base.rho0
    critical = critical_value(len(KINDS), replicas)
    made = [_check(k, path, r[-1], base.rho0, critical) for k, path, r in zip(KINDS, laws, runs, strict=True)]
    variables = {
        "step": var("record", steps, "SGD steps", "step"),
        "kind": var("kind", np.array([kind.name for kind in KINDS]), "kind of noise"),
        "rho": var("kind record moment", mean_sem(runs), "rho / rho0, mean and standard error"),
        "law": var("kind record", law, "rho / rho0 by the law of that kind"),
    }
    facts = {"n": 8, "d": 30, "depth": 2.0, "batch": 4, "load": base.eta / base.stability_limit}
    return dataset("How rows are drawn, and the shape of the noise", variables, made, replicas=replicas, **facts)


def _run(base: RadialSystem, kind: Kind, steps: IntArray) -> FloatArray:
    """Relaxed rho ``(records, R)`` of SGD."""
    reduced = base.reduced
    problem = compact(reduced)
    c = np.append(reduced.c_mn[:-1], base.rho0)
    r = base.manifold.radius(base.rho0)
    u = c * r / np.linalg.norm(c)
    model = VariantSGD(
        problem, base.parametrization, base.model.scale, Variant(sampling=kind.sampling, label=kind.label)
    )
    noise = Noise(base.settings.batch, base.settings.sigma, base.settings.seed)
    replicas = base.settings.replicas
    table = trajectory(model, u, Constant(base.eta), steps, noise=noise, replicas=replicas, threads=1)
    return np.asarray(np.abs(base.manifold.relaxed(table["nu"].values, table["r"].values)))


def _law(base: RadialSystem, kind: Kind, steps: IntArray) -> RayPath:
    """The law of this way of drawing; the shape of the noise does not enter."""
    settings = base.settings
    request = Request(
        dynamics="sgd", noise=kind.label, sampling=kind.sampling, batch=settings.batch, sigma=settings.sigma
    )
    law = law_of(request, base.manifold)
    assert not isinstance(law, NoPrediction)
    return law.path(base.rho0, base.eta, steps)


def _check(kind: Kind, path: RayPath, ends: FloatArray, rho0: float, critical: float) -> Check:
    """rho / rho0 at the end."""
    mean, sem = mean_and_sem(ends)
    predicted = float(path.rho[-1] / rho0)
    margin = Margin(resolution=RESOLUTION, model=float(path.remainder[-1]))
    return Check("C4", f"rho / rho0 at the end, {kind.name}", predicted, float(mean), float(sem), margin, critical)


def caption(data: xarray.Dataset) -> str:
    """Where each kind ends, and what its law says."""
    a = data.attrs
    ends = ", ".join(
        f"{kind.name} {row[-1, 0]:.4f} ± {row[-1, 1]:.1g} (law {law[-1]:.4f})"
        for kind, row, law in zip(KINDS, data["rho"].values, data["law"].values, strict=True)
    )
    return (
        f"Ways of drawing a batch have laws of their own, shapes of the label noise do not (C2, C4). ρ/ρ₀ after "
        f"{int(data['step'].values[-1]):,} steps: {ends}. n = {a['n']}, d = {a['d']}, D = {a['depth']:g}, B = "
        f"{a['batch']}, η at {a['load']:.0%} of the stability limit of drawing with replacement; {a['replicas']} runs, "
        f"bars ± 2 standard errors; {checked(data)}."
    )


def draw(data: xarray.Dataset) -> Figure:
    """Paths of the three ways of drawing, deviations of all kinds."""
    figure, (paths, deviations) = new_figure(1, 2, height=3.0)
    step = data["step"].values / 1000
    shown = sparse(len(step), 9)
    for i, (kind, (colour, symbol)) in enumerate(zip(KINDS, LOOKS, strict=True)):
        (mean, sem), law = data["rho"].values[i].T, data["law"].values[i]
        if i < DRAWN:
            paths.plot(step, law, color=COLOURS[colour], label=f"law, {kind.name}")
            markers(paths, step[shown], mean[shown], sem[shown], "", colour=colour, symbol=symbol)
        moved = step[shown] + (i - 2) * 0.012 * step[-1]
        deviation, bar = 100 * (mean / law - 1)[shown], 100 * (sem / law)[shown]
        markers(deviations, moved, deviation, bar, kind.name, colour=colour, symbol=symbol)
    deviations.axhline(0, color=COLOURS["reference"], linewidth=1)
    relative = data["rho"].values / data["law"].values[..., None] - [1.0, 0.0]
    reach = 105 * float((np.abs(relative[..., 0]) + 2 * relative[..., 1]).max())
    deviations.set(
        ylim=(-reach, 1.6 * reach), ylabel="deviation from its law (%)", title="the shape of the noise does not matter"
    )
    paths.set(ylabel=r"distance $\rho$ / $\rho_0$", title="how rows are drawn matters")
    paths.plot([], [], "o", color="black", markerfacecolor="white", markersize=4, label="SGD")
    for ax in (paths, deviations):
        ax.set_xlabel("SGD step / 1000")
    paths.legend()
    deviations.legend(loc="upper left", ncols=2, fontsize=7)
    letter([paths, deviations])
    return figure
