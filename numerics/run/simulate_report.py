"""What `simulate` found: curves, checks against what is predicted, figure, netCDF file and summary."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from numerics import files
from numerics.check import Check, Margin, critical_value, mean_and_sem, table
from numerics.dynamics import Watched, trajectory
from numerics.plotting import COLOURS, binned, letter, new_figure, points, style
from numerics.predictions import Foreseen, NoPrediction, Prediction, foresee
from numerics.provenance import origin, provenance
from numerics.run.simulate_scene import Scene
from numerics.schedule import Constant

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]

#: relative discrepancies that the checks undertake to detect
RHO_RESOLUTION, FLOOR_RESOLUTION, SPREAD_RESOLUTION = 0.02, 0.05, 0.3
#: above this relative size of the next terms a law makes no claim
LARGEST_MODEL = 0.1
#: relaxation times until fluctuations count as stationary
BURN_IN = 5
_SHARES = (0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, eq=False)
class Found:
    """A finished run. ``curves`` has the dims (step, replica); prediction is None above the stability limit."""

    scene: Scene
    curves: "xarray.Dataset"
    prediction: Prediction | None
    checks: list[Check]

    @property
    def diverged(self) -> int:
        """Replicas that left for good."""
        return int(np.sum(~np.isfinite(self.curves["loss"].values[-1])))


def compute(scene: Scene, begin: Callable[[int], Any], tick: Callable[[int], Any]) -> Found:
    """Predict, run, compare."""
    settings, steps, substeps = scene.settings, scene.steps, scene.substeps
    dynamics = scene.dynamics
    prediction = None
    if scene.stable:
        prediction = foresee(scene.request, scene.manifold, scene.minima, scene.u, eta=scene.eta, steps=steps)
    begin(scene.duration * substeps)
    _, u = scene.coordinates
    way = prediction.way if prediction else None
    curves = trajectory(
        dynamics,
        u,
        Constant(scene.eta / substeps),
        steps * substeps,
        noise=scene.noise,
        replicas=settings.replicas,
        threads=settings.threads,
        tick=tick,
        first=settings.first_replica,
        watched=Watched(dynamics, way.share) if way else None,  # type: ignore[arg-type]
    ).assign_coords(step=("step", steps, {"long_name": "steps of SGD", "units": "step"}))
    curves = scene.relaxed(curves)
    return Found(scene, curves, prediction, [] if prediction is None else _checks(scene, curves, prediction))


def _checks(scene: Scene, curves: "xarray.Dataset", prediction: Prediction) -> list[Check]:
    found: list[Check] = []
    replicas = curves.sizes["replica"]
    indices = [int(np.searchsorted(scene.steps, share * scene.steps[-1])) for share in _SHARES]
    named = {scene.drifting: prediction.rho, "progress": prediction.progress}
    laws = {name: law for name, law in named.items() if isinstance(law, Foreseen)}
    critical = critical_value(max(len(laws), 1) * len(_SHARES) + 2, replicas) if scene.choice.random else 0.0
    for name, law in laws.items():
        found += [_drift_check(scene, curves, name, law, i, critical) for i in indices]
    if isinstance(prediction.floor, Foreseen):
        found.append(_floor_check(scene, curves, prediction.floor, critical))
    if prediction.spread is not None:
        found.append(_spread_check(scene, curves, prediction, critical))
    return found


def _moments(scene: Scene, values: FloatArray) -> tuple[float, float]:
    """Mean over replicas and standard error; the latter 0 where nothing is random."""
    mean, sem = mean_and_sem(values)
    return float(mean), float(sem) if scene.choice.random else 0.0


def _drift_check(scene: Scene, curves: "xarray.Dataset", name: str, law: Foreseen, i: int, critical: float) -> Check:
    mean, sem = _moments(scene, curves[name].values[i])
    predicted, model = float(law.values[i]), float(law.model[i])
    margin = Margin(1e-6 * predicted, model * predicted, RHO_RESOLUTION * predicted)
    held = {"next terms of the law small": model < LARGEST_MODEL}
    error = float(np.hypot(sem, law.sem * predicted))
    shown = "share of the way" if name == "progress" else "rho"
    quantity = f"{shown} at step {scene.steps[i]:,}"
    return Check(law.claim, quantity, predicted, mean, error, margin, critical, held)


def _floor_check(scene: Scene, curves: "xarray.Dataset", law: Foreseen, critical: float) -> Check:
    """The fluctuation after the burn-in, averaged; where it is to vanish, its last value against the first."""
    values, steps = curves["fluctuation"].values, scene.steps
    quiet = not law.values.any()
    burn_in = BURN_IN * scene.relaxation
    late = steps >= min(steps[0] + burn_in, steps[-1])
    late = steps == steps[-1] if quiet else late
    mean, sem = _moments(scene, values[late].mean(axis=0))
    predicted = float(law.values[late].mean())
    scale = float(np.mean(scene.minima.y**2)) * 1e-9 if quiet else FLOOR_RESOLUTION * predicted
    margin = Margin(model=float(law.model[late].max()) * predicted, resolution=scale)
    long = scene.choice.noise in ("minibatch", "none") or bool(steps[-1] > 2 * burn_in)
    held = {"longer than the burn-in": long, "next terms of the law small": bool(law.model[late].max() < LARGEST_MODEL)}
    error = float(np.hypot(sem, law.sem * predicted))
    name = "train loss at the end" if quiet else "fluctuation after the burn-in"
    return Check(law.claim, name, predicted, mean, error, margin, critical, held)


def _spread_check(scene: Scene, curves: "xarray.Dataset", prediction: Prediction, critical: float) -> Check:
    """Standard deviation of rho over replicas at the end; that of an estimate of it is s/sqrt(2(R - 1))."""
    assert prediction.spread is not None
    assert isinstance(prediction.rho, Foreseen)
    predicted, last = float(prediction.spread[-1]), curves["rho_slow"].values[-1]
    observed = float(np.std(last, ddof=1))
    model = predicted * float(prediction.rho.model[-1] + predicted / prediction.rho.values[-1])
    margin = Margin(model=model, resolution=SPREAD_RESOLUTION * predicted)
    sem = observed / float(np.sqrt(2 * (len(last) - 1)))
    return Check("C10", "standard deviation of rho at the end", predicted, observed, sem, margin, critical)


def notes(found: Found) -> list[str]:
    """Where there is no prediction, and why; where replicas diverged."""
    lines = []
    if found.prediction is None:
        lines.append("no prediction: eta exceeds the stability limit, where there is no law")
    else:
        for name, part in (("floor", found.prediction.floor), ("drift", found.prediction.rho)):
            said = f"no prediction ({part.why})" if isinstance(part, NoPrediction) else f"{part.claim}, {part.order}"
            lines.append(f"{name}: {said}")
    if found.scene.choice.dynamics == "slow-law":
        lines.append("slow-law is the prediction itself, integrated step by step: the checks compare two integrations")
    if found.diverged:
        lines.append(f"diverged: {found.diverged} of {found.curves.sizes['replica']} replicas")
    return lines


def text(found: Found) -> str:
    """The table and the notes, for the terminal."""
    scene, settings = found.scene, found.scene.settings
    c, problem = scene.choice, scene.problem
    share = scene.eta / scene.stability_limit
    line = (
        f"\n{problem.name}: n = {problem.n}, d = {problem.d}, {settings.shape}; "
        f"{c.dynamics}, {c.noise}, {c.sampling}; eta = {scene.eta:.4g} ({share:.0%} of the stability limit), "
        f"B = {settings.batch}, rho0 = {scene.rho0:.4g}, {scene.duration:,} steps x "
        f"{found.curves.sizes['replica']} replicas\n"
    )
    shown = [table(found.checks)] if found.checks else []
    return "\n".join([line, *shown, *notes(found)])


def dataset(found: Found) -> "xarray.Dataset":
    """The curves and, where there are predictions, they too. No clock: equal runs, equal bytes."""
    curves = found.curves.copy()
    for name, law in _predicted(found).items():
        label = f"{name} by the law ({law.claim}, {law.order})"
        curves[f"{name}_law"] = (("step",), law.values, {"long_name": label, "units": curves[name].attrs["units"]})
    settings = found.scene.settings
    curves.attrs |= {
        "title": "latedecay simulate",
        "provenance": json.dumps(origin(settings.arguments, settings.inputs)),
    }
    return curves


def _predicted(found: Found) -> dict[str, Foreseen]:
    """Observable -> its prediction."""
    if found.prediction is None:
        return {}
    law = found.prediction
    parts = {found.scene.drifting: law.rho, "progress": law.progress, "fluctuation": law.floor}
    return {name: part for name, part in parts.items() if isinstance(part, Foreseen)}


def summary(found: Found, started: float) -> dict[str, object]:
    """The content of summary.json."""
    scene, settings = found.scene, found.scene.settings
    simulation: dict[str, object] = {"step": scene.steps, "diverged": found.diverged}
    for name in ("loss", "fluctuation", "test_loss", "rho", "rho_slow", "progress"):
        if name not in found.curves:
            continue
        simulation[f"{name}_mean"], simulation[f"{name}_sem"] = mean_and_sem(found.curves[name].values)
    return {
        "job": "simulate",
        "problem": {
            "name": scene.problem.name,
            "n": scene.problem.n,
            "d": scene.problem.d,
            "parametrization": settings.parametrization,
            "depth": settings.depth,
            "norm_w_mn": scene.minima.norm_w_mn,
            "stability_limit_eta": scene.stability_limit,
        },
        "settings": {
            **settings.model_dump(exclude={"job"}),
            **asdict(scene.choice),
            "tau": scene.tau,
            "eta": scene.eta,
            "rho0": scene.rho0,
            "steps": scene.duration,
        },
        "prediction": {name: _record(part) for name, part in _parts(found.prediction).items()},
        "simulation": simulation,
        "checks": [check.record() for check in found.checks],
        "notes": notes(found),
        "provenance": provenance(
            seed=settings.seed,
            started=started,
            threads=settings.threads,
            arguments=settings.arguments,
            inputs=settings.inputs,
        ),
    }


def _parts(law: Prediction | None) -> dict[str, Foreseen | NoPrediction]:
    """What is predicted, or why not, by name."""
    parts = {} if law is None else {"floor": law.floor, "rho": law.rho, "progress": law.progress}
    return {name: part for name, part in parts.items() if part is not None}


def _record(part: Foreseen | NoPrediction) -> dict[str, object]:
    if isinstance(part, NoPrediction):
        return {"no_prediction": part.why}
    return {"values": part.values, "model": part.model, "sem": part.sem, "claim": part.claim, "order": part.order}


def write(found: Found, folder: Path, started: float) -> None:
    """Figure, netCDF file and, last, summary.json into folder."""
    curves, content = dataset(found), summary(found, started)
    with style():
        figure = draw(found)
        files.write_netcdf(folder / "simulate.nc", curves)
        files.write_figure(folder / "simulate", figure)
    files.write_json(folder / "summary.json", content)


def draw(found: Found) -> "Figure":
    """rho, where it is predicted the share of the way, the fluctuation at its floor and the test loss against steps:
    simulation as points, law as line.
    """
    laws, kind = _parts(found.prediction), found.scene.problem.test_kind
    panels = [
        (found.scene.drifting, laws.get("rho"), "distance from minimum norm", r"$\rho = |P_N w|$"),
        ("progress", laws.get("progress"), "share of the law's way", r"$(w - w_0) \cdot \Delta w / |\Delta w|^2$"),
        ("fluctuation", laws.get("floor"), "distance from interpolation", r"$|XF(u) - t|^2 / 2n$"),
        ("test_loss", None, "test loss" if kind else "test loss: none known", ""),
    ]
    shown = [panel for panel in panels if panel[0] in found.curves]
    figure, axes = new_figure(1, len(shown), width=3.2 * len(shown), height=3.0)
    for ax, (name, predicted, title, label) in zip(axes, shown, strict=True):
        _panel(ax, found, name, predicted)
        ax.set_title(title)
        ax.set_ylabel(label)
        ax.set_xlabel("step")
        ax.ticklabel_format(axis="x", style="sci", scilimits=(-3, 4))
        ax.set_ylim(0, 1.08 * ax.get_ylim()[1])
    axes[0].legend()
    letter(axes)
    return figure


def _panel(ax: "Axes", found: Found, name: str, law: Foreseen | NoPrediction | None) -> None:
    """One observable: points over the law's line, or the words that there is none."""
    scene, values, steps = found.scene, found.curves[name].values, found.scene.steps
    if isinstance(law, Foreseen):
        ax.plot(steps, law.values, color=COLOURS["law"], label=f"law ({law.claim})")
    elif isinstance(law, NoPrediction):
        ax.text(0.97, 0.06, "no prediction", transform=ax.transAxes, ha="right", color=COLOURS["reference"])
    if not np.isfinite(values).any():
        return
    if not scene.choice.random:
        ax.plot(steps, values[:, 0], color=COLOURS["simulation"], linestyle="--", label=scene.choice.dynamics)
        return
    shown = f"{scene.choice.dynamics}, mean of {values.shape[1]} ± 2 s.e."
    if name == "fluctuation":
        x, values = binned(steps[1:].astype(float), values[1:], 40)
        points(ax, x, *mean_and_sem(values), label=shown, count=40)
    else:
        points(ax, steps, *mean_and_sem(values), label=shown)
