"""What a job found: checks and curves as a table, summary.json, one netCDF file and one figure."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from numerics import files
from numerics.check import Check, Checks, mean_and_sem, of_all_replicas, table
from numerics.plotting import style
from numerics.provenance import origin, provenance
from numerics.run.settings import Settings
from numerics.run.system import System
from numerics.scalar_law import SlowPath

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: name -> long name and unit of everything a netCDF file or summary may hold
LONG_NAMES = {
    "rho": ("distance from the minimum-norm interpolator along ker X, |P_N w|", "unit of w"),
    "rho_slow": ("rho after relaxation onto the manifold of minima", "unit of w"),
    "loss": ("train loss |X F(u) - y|^2 / 2n", "unit of y squared"),
    "test_loss": ("test loss", "unit of y squared"),
    "norm": ("norm of the predictor |w|", "unit of w"),
    "floor": ("mean train loss on the manifold by the law", "unit of y squared"),
    "rho_small_eta": ("rho by the small-eta limit of the law", "unit of w"),
    "floor_small_eta": ("floor by the small-eta limit", "unit of y squared"),
    "remainder": ("first term of ln rho that the law neglects", "1"),
}


@dataclass(frozen=True, eq=False)
class Branch:
    """A decay at one step: the law along it, and the final test loss of every replica ``(R,)``."""

    decay_at: int
    law: SlowPath
    final: FloatArray


@dataclass(frozen=True, eq=False)
class Outcome:
    """A finished job. simulation holds observables ``(steps, R)``; law is None where eta exceeds the limit."""

    system: System
    eta: float
    schedule: dict[str, Any]
    step: IntArray
    simulation: dict[str, FloatArray]
    law: SlowPath | None
    checks: list[Check]
    draw: Callable[["Outcome"], "Figure"]
    notes: list[str] = field(default_factory=list)
    late_decay: dict[str, FloatArray] | None = None
    branches: Sequence[Branch] = ()
    curves: dict[str, tuple[FloatArray, FloatArray]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "checks", of_all_replicas(self.checks, self.diverged))

    @property
    def settings(self) -> Settings:
        """As given."""
        return self.system.settings

    @property
    def diverged(self) -> int:
        """Replicas that left the neighbourhood of the manifold for good, after a decay those of a branch."""
        ends = np.array([self.simulation["loss"][-1], *(branch.final for branch in self.branches)])
        return int(np.sum(~np.isfinite(ends).all(axis=0)))

    def mean(self, name: str) -> tuple[FloatArray, FloatArray]:
        """Mean over replicas and its standard error, each ``(steps,)``."""
        return mean_and_sem(self.simulation[name])

    @property
    def dataset(self) -> "xarray.Dataset":
        """Every curve with long names and units, as in the netCDF file."""
        return dataset(self)

    def _repr_html_(self) -> str:
        lines = "".join(f"<p>{escape(line)}</p>" for line in (_setting_line(self).strip(), *self.notes))
        return f"{lines}{Checks(self.checks)._repr_html_()}{_picture(self)}{self.dataset._repr_html_()}"


def summary(outcome: Outcome, started: float) -> dict[str, object]:
    """The content of summary.json."""
    system = outcome.system
    resolved = {
        **outcome.settings.model_dump(exclude={"job"}),
        **outcome.schedule,
        "eta": outcome.eta,
        "n": system.problem.n,
        "rho0": system.rho0,
    }
    simulation: dict[str, object] = {"step": outcome.step, "diverged": outcome.diverged}
    for name in outcome.simulation:
        if name not in ("nu", "r"):
            simulation[f"{name}_mean"], simulation[f"{name}_sem"] = outcome.mean(name)
    content: dict[str, object] = {
        "job": outcome.settings.job,
        "problem": system.problem_record(),
        "settings": resolved,
        "law": _law_record(outcome.law),
        "simulation": simulation,
    }
    if outcome.late_decay is not None:
        content["late_decay"] = outcome.late_decay
    content["checks"] = [check.record() for check in outcome.checks]
    content["notes"] = outcome.notes
    settings = outcome.settings
    content["provenance"] = provenance(
        seed=settings.seed,
        started=started,
        threads=settings.threads,
        arguments=settings.arguments,
        inputs=settings.inputs,
    )
    return content


def _law_record(law: SlowPath | None) -> dict[str, object]:
    names = ("step", "rho", "floor", "rho_small_eta", "floor_small_eta", "test_loss", "remainder")
    return {name: [] if law is None else getattr(law, name) for name in names}


def dataset(outcome: Outcome) -> "xarray.Dataset":
    """Every curve with long names and units, simulated ones with their replicas. No clock: equal runs, equal bytes."""
    import xarray

    variables: dict[str, Any] = {}
    for name, values in outcome.simulation.items():
        if name in LONG_NAMES:
            variables[f"{name}_simulation"] = (("step", "replica"), values, _attributes(name))
    if outcome.law is not None:
        for name in ("rho", "floor", "test_loss", "rho_small_eta", "floor_small_eta", "remainder"):
            variables[f"{name}_law"] = (("law_step",), getattr(outcome.law, name), _attributes(name))
    for name, (x, y) in outcome.curves.items():
        variables[name] = ((f"{name}_step",), y, {"long_name": name.replace("_", " ")})
        variables[f"{name}_step"] = ((f"{name}_step",), x, {"units": "step"})
    for name, values in (outcome.late_decay or {}).items():
        variables[f"late_decay_{name}"] = (("branch",), np.asarray(values), {"long_name": name.replace("_", " ")})
    coordinates: dict[str, Any] = {"step": ("step", outcome.step, {"long_name": "SGD steps", "units": "step"})}
    if outcome.law is not None:
        coordinates["law_step"] = ("law_step", outcome.law.step, {"long_name": "SGD steps", "units": "step"})
    settings = outcome.settings
    attributes = {
        "title": f"latedecay {settings.job}",
        "seed": str(settings.seed),
        "provenance": json.dumps(origin(settings.arguments, settings.inputs)),
    }
    return xarray.Dataset(variables, coordinates, attributes)


def _picture(outcome: Outcome) -> str:
    """The figure as SVG."""
    text = StringIO()
    with style():
        outcome.draw(outcome).savefig(text, format="svg")
    return text.getvalue()[text.getvalue().index("<svg") :]


def _attributes(name: str) -> dict[str, str]:
    long_name, units = LONG_NAMES[name]
    return {"long_name": long_name, "units": units}


def write(outcome: Outcome, folder: Path, started: float) -> None:
    """Figure, netCDF file and, last, summary.json into folder."""
    job = outcome.settings.job
    curves, content = dataset(outcome), summary(outcome, started)
    with style():
        figure = outcome.draw(outcome)
        files.write_netcdf(folder / f"{job}.nc", curves)
        files.write_figure(folder / job, figure)
    files.write_json(folder / "summary.json", content)


def text(outcome: Outcome) -> str:
    """The table and the notes, for the terminal."""
    lines = [_setting_line(outcome), table(outcome.checks), *outcome.notes]
    if outcome.diverged:
        lines.append(f"diverged: {outcome.diverged} of {outcome.settings.replicas} replicas")
    return "\n".join(lines)


def _setting_line(outcome: Outcome) -> str:
    problem, settings, system = outcome.system.problem, outcome.settings, outcome.system
    share = outcome.eta / system.stability_limit
    return (
        f"\n{problem.name}: n = {problem.n}, d = {problem.d}, {settings.shape}; "
        f"eta = {outcome.eta:.4g} ({share:.0%} of the stability limit), B = {settings.batch}, "
        f"sigma = {settings.sigma:g}, rho0 = {system.rho0:.4g}, {outcome.step[-1]:,} steps "
        f"x {settings.replicas} replicas\n"
    )
