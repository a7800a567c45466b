"""What every dynamics offers, and the one call that runs any of them to an xarray dataset."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from numerics.problem import Problem, Reduced
from numerics.schedule import Schedule
from numerics.sgd import Noise, simulate
from numerics.specialise import specialise
from theory.parametrization import Parametrization, Radial

if TYPE_CHECKING:
    import xarray

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: name -> what it is, and its unit, of what every dynamics observes; nu and r where the
#: parametrization is radial, progress where a way is given
OBSERVABLES = {
    "loss": ("train loss, of clean labels", "unit of y squared; 1 for cross-entropy"),
    "fluctuation": ("|X F(u) - t|^2 / 2n, t the labels or, under flips, the logits at rest", "unit of t squared"),
    "test_loss": ("test loss", "unit of y squared"),
    "rho": ("distance from the minimum-norm interpolator along ker X, |P_N w|", "unit of w"),
    "nu": ("|P_N u|", "unit of u"),
    "r": ("|u|", "unit of u"),
    "progress": ("share of a given straight way that F(u) has come", "1"),
}


class Dynamics(Protocol):
    """A `numerics.sgd.Model` that makes its own states from u ``(p,)`` and says whether it is random.

    ``advance`` takes step k with learning rate etas[k]; for what runs in continuous time that is its length. All
    observe `OBSERVABLES`, each ``(R,)``.
    """

    @property
    def random(self) -> bool:
        """Whether replicas differ."""

    def start(self, u: FloatArray, replicas: int) -> FloatArray:
        """States ``(R, ...)`` at u ``(p,)``."""

    def advance(self, states: FloatArray, replicas: IntArray, etas: FloatArray, noise: Noise, first_step: int) -> None:
        """See `numerics.sgd.Model`."""

    def observe(self, states: FloatArray) -> dict[str, FloatArray]:
        """`OBSERVABLES` of states, each ``(R,)``."""


class Predicting(Dynamics, Protocol):
    """A dynamics whose states stand for predictors."""

    def predictor(self, states: FloatArray) -> FloatArray:
        """w = F(u) ``(R, d)`` of states."""


@dataclass(frozen=True, eq=False)
class Watched:
    """A dynamics that observes progress as well, ``share`` being that of a way as a function of w ``(R, d)``."""

    dynamics: Predicting
    share: Callable[[FloatArray], FloatArray]

    def advance(self, states: FloatArray, replicas: IntArray, etas: FloatArray, noise: Noise, first_step: int) -> None:
        """See `numerics.sgd.Model`."""
        self.dynamics.advance(states, replicas, etas, noise, first_step)

    def observe(self, states: FloatArray) -> dict[str, FloatArray]:
        """`OBSERVABLES`."""
        return {**self.dynamics.observe(states), "progress": self.share(self.dynamics.predictor(states))}


def trajectory(
    dynamics: Dynamics,
    u: FloatArray,
    schedule: Schedule,
    steps: IntArray,
    *,
    noise: Noise,
    replicas: int,
    threads: int,
    tick: Callable[[int], Any] = lambda _: None,
    first: int = 0,
    watched: Watched | None = None,
) -> "xarray.Dataset":
    """`OBSERVABLES` ``(step, replica)`` of any dynamics from u ``(p,)`` at increasing step numbers.

    One replica where nothing is random; ``first`` is its number, or that of the first of several, where they are part
    of an ensemble. ``watched``: the same dynamics with a way to watch. NaN after a replica has diverged.
    """
    import xarray

    states = dynamics.start(u, replicas if dynamics.random else 1)
    table = simulate(watched or dynamics, states, schedule, steps, noise=noise, threads=threads, tick=tick, first=first)
    variables: dict[str, Any] = {
        name: (("step", "replica"), table[name], {"long_name": long_name, "units": units})
        for name, (long_name, units) in OBSERVABLES.items()
        if name in table
    }
    coordinates = {"step": ("step", steps, {"long_name": "steps", "units": "step"})}
    attributes = {"dynamics": type(dynamics).__name__, "seed": str(noise.seed)}
    return xarray.Dataset(variables, coordinates, attributes)


def parameters(problem: Problem, parametrization: Parametrization) -> int:
    """p: one number for each column of X, or one for each factor and column."""
    return problem.d * (1 if isinstance(parametrization, Radial) else len(parametrization.factors))


def predictors(parametrization: Parametrization, u: FloatArray, d: int) -> FloatArray:
    """w = F(u) ``(R, d)`` of u ``(R, p)``."""
    w = np.empty((len(u), d))
    specialise("gradient", parametrization).predictors(np.ascontiguousarray(u), w)
    return w


def observed(
    problem: Problem, parametrization: Parametrization, u: FloatArray, targets: FloatArray, *, classify: bool = False
) -> dict[str, FloatArray]:
    """`OBSERVABLES`, each ``(R,)``, of u ``(R, p)``; ``targets (n,)`` are logits at rest under flips, else labels."""
    w = predictors(parametrization, u, problem.d)
    with np.errstate(over="ignore", invalid="ignore"):  # of a replica that leaves; NaN from its next step on
        residual = w @ problem.X.T - targets
        found = {
            "loss": cross_entropy(problem, w) if classify else problem.train_loss(w),
            "fluctuation": np.asarray(0.5 * np.mean(residual**2, axis=1)),
            "test_loss": problem.test_loss(w),
            "rho": np.linalg.norm(problem.null_part(w), axis=1),
        }
    if isinstance(parametrization, Radial):
        found |= {"nu": np.linalg.norm(problem.null_part(u), axis=1), "r": np.linalg.norm(u, axis=1)}
    return found


def cross_entropy(problem: Problem, w: FloatArray) -> FloatArray:
    """Mean of ln(1 + exp(-y f)) over the rows, of ``w (R, d)``; NaN where w is."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.mean(np.logaddexp(0.0, -problem.y * (w @ problem.X.T)), axis=1))


def compact(reduced: Reduced) -> Problem:
    """The problem in the n + 1 coordinates of C12: rows (factor, 0), the null direction last. Losses are the same, and
    paths, unless noise leaves that space: isotropic noise and dropout do.
    """
    rows = np.pad(reduced.factor, ((0, 0), (0, 1)))
    if reduced.T is None or reduced.t is None:
        return Problem(rows, reduced.y)
    size = np.sqrt(len(reduced.t) + 1)  # one held-out row of zeros carries the constant of the test loss
    inputs = size * np.pad(reduced.T, ((0, 1), (0, 0)))
    return Problem(rows, reduced.y, X_test=inputs, y_test=size * np.append(reduced.t, np.sqrt(2 * reduced.constant)))
