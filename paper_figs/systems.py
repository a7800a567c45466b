"""The problems the figures are made on, and what every figure does with a simulation."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import xarray

from numerics.check import mean_and_sem
from numerics.run.report import LONG_NAMES, Outcome
from numerics.run.settings import validated
from numerics.run.system import RadialSystem, System, make_system
from paper_figs.record import Variable, dataset, var

FloatArray = npt.NDArray[np.float64]


def system(**settings: Any) -> System:
    """A problem under SGD and under the law; unnamed settings as on the command line, data "gaussian" unless named."""
    return make_system(validated(**{"job": "figure", "out": Path(), "threads": 1, "data": "gaussian", **settings}))


def radial(**settings: Any) -> RadialSystem:
    """The same, for a radial parametrization."""
    return cast(RadialSystem, system(**settings))


def no_tick(_: int) -> None:
    """Figures are too short for a bar of their own."""


def from_job(title: str, outcome: Outcome, **facts: float | str) -> xarray.Dataset:
    """The data of a finished job: replica means with standard errors, the law, its other curves and its checks."""
    variables: dict[str, Variable] = {"step": var("step", outcome.step, "SGD steps", "step")}
    for name in outcome.simulation:
        if name in LONG_NAMES:
            mean, sem = outcome.mean(name)
            variables[f"{name}_mean"] = var("step", mean, f"{LONG_NAMES[name][0]}, mean", LONG_NAMES[name][1])
            variables[f"{name}_sem"] = var("step", sem, f"{LONG_NAMES[name][0]}, standard error", LONG_NAMES[name][1])
    if outcome.law is not None:
        same = len(outcome.law.step) == len(outcome.step)
        along = "step" if same else "law_step"
        if not same:  # Phase I: the law starts at saturation
            variables["law_step"] = var(along, outcome.law.step, "SGD steps", "step")
        for name in ("rho", "floor", "test_loss", "rho_small_eta", "floor_small_eta"):
            variables[f"{name}_law"] = var(
                along, getattr(outcome.law, name), f"{LONG_NAMES[name][0]}, law", LONG_NAMES[name][1]
            )
    for name, (x, y) in outcome.curves.items():
        variables[f"{name}_step"] = var(f"{name}_step", x, "SGD steps", "step")
        variables[name] = var(f"{name}_step", y, name.replace("_", " "), "unit of y squared")
    for name, values in (outcome.late_decay or {}).items():
        variables[f"late_{name}"] = var("branch", values, name.replace("_", " "), "unit of y squared")
    facts = {"replicas": outcome.settings.replicas, "eta": outcome.eta, **setting_facts(outcome.system), **facts}
    return dataset(title, variables, outcome.checks, **facts)


def setting_facts(chosen: System) -> dict[str, float | str]:
    """What a caption says about the problem."""
    s = chosen.settings
    share = chosen.eta / chosen.stability_limit
    return {
        "n": chosen.problem.n,
        "d": chosen.problem.d,
        "depth": s.depth,
        "batch": s.batch,
        "sigma": s.sigma,
        "load": share,
        "norm_w_mn": chosen.problem.norm_w_mn,
        "rho0": chosen.rho0,
    }


def setting_text(data: xarray.Dataset) -> str:
    """The setting in one clause."""
    a = data.attrs
    return (
        f"Gaussian inputs, n = {a['n']}, d = {a['d']}, radial depth D = {a['depth']:g}, B = {a['batch']}, σ = "
        f"{a['sigma']:g}, "
        f"η at {a['load']:.0%} of the stability limit; {a['replicas']} runs, bars ± 2 standard errors"
    )


def predictors(chosen: RadialSystem, states: FloatArray) -> FloatArray:
    """w of states ``(R, n + 2)`` in the basis (rows of X, zhat), ``(R, n + 1)``."""
    n = chosen.reduced.n
    level = np.array([chosen.model.kernel.gain.py_func(q) for q in states[:, n]])
    rows = np.linalg.solve(chosen.reduced.factor, (states[:, :n] * level[:, None]).T).T
    return np.concatenate([rows, (level * states[:, n + 1])[:, None]], axis=1)


def sparse(count: int, marks: int) -> npt.NDArray[np.int64]:
    """Indices of at most ``marks`` evenly spaced records."""
    return np.unique(np.linspace(0, count - 1, marks).round().astype(np.int64))


def sparse_log(x: FloatArray, marks: int) -> npt.NDArray[np.int64]:
    """Indices of records evenly spaced in ln x, those with x > 0."""
    wanted = np.geomspace(x[x > 0][0], x[-1], marks)
    return np.unique(np.clip(np.searchsorted(x, wanted), 0, len(x) - 1))


def mean_sem(values: FloatArray) -> FloatArray:
    """Mean and standard error over the last axis, stacked: ``(..., 2)``."""
    return np.stack(mean_and_sem(values), axis=-1)
