"""What `simulate` found: curves beside their prediction, and checks of one against the other."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from numerics.check import Check, Margin, critical_value, mean_and_sem, of_all_replicas
from numerics.dynamics import Watched, trajectory
from numerics.predictions import Foreseen, Prediction, foresee
from numerics.run.simulate_scene import Scene
from numerics.schedule import Constant

if TYPE_CHECKING:
    import xarray

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
        return _diverged(self.curves)


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
    checks = [] if prediction is None else of_all_replicas(_checks(scene, curves, prediction), _diverged(curves))
    return Found(scene, curves, prediction, checks)


def _diverged(curves: "xarray.Dataset") -> int:
    return int(np.sum(~np.isfinite(curves["loss"].values[-1])))


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
