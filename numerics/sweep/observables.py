"""What a sweep keeps of a job: numbers per replica, so that blocks join exactly, and what the law predicts for them."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from numerics.run.report import Outcome
    from numerics.run.simulate_found import Found

FloatArray = npt.NDArray[np.float64]

#: name -> (long name, unit)
OBSERVABLES = {
    "rho": ("distance from the minimum-norm interpolator at the end, relaxed onto the manifold", "unit of w"),
    "norm": ("norm of the predictor at the end", "unit of w"),
    "train_loss": ("train loss, mean over the last quarter of the records", "unit of y squared"),
    "test_loss": ("test loss, mean over the last quarter of the records", "unit of y squared"),
    "fluctuation": ("distance from interpolation |XF(u) - t|^2 / 2n, mean over the last quarter", "unit of y squared"),
    "diverged": ("share of the replicas that left the neighbourhood of the manifold", "1"),
    "final_test_loss": ("test loss after a decay, by branch", "unit of y squared"),
}
#: name -> (long name, unit) of what is resolved per point
RESOLVED = {
    "eta": ("large learning rate", "1"),
    "stability_limit": ("mean-square stability limit of the learning rate", "1"),
    "rho0": ("distance of the start from the minimum-norm interpolator", "unit of w"),
    "steps": ("steps of the large learning rate", "step"),
    "n": ("training rows", "1"),
    "d": ("columns", "1"),
    "decay_step": ("decay step, by branch", "step"),
    "tau": ("standard deviation of the isotropic noise", "1"),
}
_SETTLED = 0.75  # of the records


def record(outcome: "Outcome") -> dict[str, Any]:
    """JSON-able: ``values`` and ``prediction`` by observable, ``resolved`` settings. NaN is None.

    A value is a list over replicas, or over branches of lists over replicas.
    """
    values, prediction = _at_the_end(outcome)
    system = outcome.system
    resolved: dict[str, Any] = {
        "eta": outcome.eta,
        "stability_limit": float(system.stability_limit),
        "rho0": system.rho0,
        "steps": int(outcome.schedule["steps"]),
        "n": system.problem.n,
        "d": system.problem.d,
    }
    if outcome.branches:
        values["final_test_loss"] = np.array([branch.final for branch in outcome.branches])
        prediction["final_test_loss"] = np.array([branch.law.test_loss[-1] for branch in outcome.branches])
        resolved["decay_step"] = [branch.decay_at for branch in outcome.branches]
    return {"values": _plain(values), "prediction": _plain(prediction), "resolved": resolved}


def simulated(found: "Found") -> dict[str, Any]:
    """The same of the job simulate. Under dropout rho is not relaxed: its minima are not on the manifold."""
    from numerics.predictions import Foreseen

    scene, curves = found.scene, found.curves
    late = scene.steps >= _SETTLED * scene.steps[-1]
    values = {"rho": curves[scene.drifting].values[-1]}
    for name, curve in (("train_loss", "loss"), ("test_loss", "test_loss"), ("fluctuation", "fluctuation")):
        values[name] = curves[curve].values[late].mean(axis=0)
    values["diverged"] = (~np.isfinite(curves["loss"].values[-1])).astype(float)
    prediction = {}
    if found.prediction is not None:
        if isinstance(found.prediction.rho, Foreseen):
            prediction["rho"] = found.prediction.rho.values[-1]
        if isinstance(found.prediction.floor, Foreseen):
            prediction["fluctuation"] = found.prediction.floor.values[late].mean()
    resolved = {
        "eta": scene.eta,
        "stability_limit": float(scene.stability_limit),
        "rho0": float(scene.rho0),
        "steps": scene.duration,
        "n": scene.problem.n,
        "d": scene.problem.d,
        "tau": scene.tau,
    }
    return {"values": _plain(values), "prediction": _plain(prediction), "resolved": resolved}


def _at_the_end(outcome: "Outcome") -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
    simulation, law = outcome.simulation, outcome.law
    late = outcome.step >= _SETTLED * outcome.step[-1]
    values = {
        "rho": simulation["rho_slow"][-1],
        "norm": simulation["norm"][-1],
        "train_loss": simulation["loss"][late].mean(axis=0),
        "test_loss": simulation["test_loss"][late].mean(axis=0),
        "diverged": (~np.isfinite(simulation["loss"][-1])).astype(float),
    }
    if law is None:
        return values, {}
    settled = law.step >= _SETTLED * law.step[-1]
    return values, {
        "rho": law.rho[-1],
        "train_loss": law.floor[settled].mean(),
        "test_loss": law.test_loss[settled].mean(),
    }


def _plain(arrays: dict[str, FloatArray]) -> dict[str, Any]:
    """Lists and numbers; what is not finite becomes None."""
    return {name: _finite(np.asarray(array).tolist()) for name, array in arrays.items()}


def _finite(value: Any) -> Any:
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value if np.isfinite(value) else None
