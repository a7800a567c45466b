"""The result of `simulate` as its reader gets it: table and notes, figure, netCDF file and summary."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from numerics import files
from numerics.check import mean_and_sem, table
from numerics.plotting import COLOURS, binned, letter, new_figure, points, style
from numerics.predictions import Foreseen, NoPrediction, Prediction
from numerics.provenance import origin, provenance
from numerics.run.simulate_found import Found

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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
