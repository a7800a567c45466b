"""The stochastic differential equation of label-noise SGD, by schemes of first and of second weak order."""

from dataclasses import dataclass
from functools import cached_property
from types import ModuleType

import numpy as np
import numpy.typing as npt

from numerics import streams
from numerics.dynamics.protocol import observed, parameters, predictors
from numerics.inputs import not_negative, shaped, starts
from numerics.problem import Problem
from numerics.sde import ReducedEulerMaruyama
from numerics.sgd import DIVERGED, Noise
from numerics.specialise import specialise
from theory.parametrization import Parametrization

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Equation:
    """The SDE of label-noise SGD at learning rate eta: states u ``(R, p)``; a schedule's eta(k) is the length of
    time step k.

    ``corrected``: the equation of second weak order against SGD, the drift of L + (eta/4)|grad L|^2 (Li, Tai, E 2017).
    """

    problem: Problem
    parametrization: Parametrization
    scale: float
    eta: float
    corrected: bool

    def __post_init__(self) -> None:
        not_negative("eta", self.eta)

    @property
    def random(self) -> bool:
        """Always."""
        return True

    @cached_property
    def kernel(self) -> ModuleType:
        """The compiled kernel."""
        return specialise(self._template, self.parametrization)

    @property
    def _template(self) -> str:
        raise NotImplementedError

    def start(self, u: FloatArray, replicas: int) -> FloatArray:
        """States ``(R, p)`` of u ``(p,)``."""
        return starts(u, parameters(self.problem, self.parametrization), replicas)

    def advance(self, states: FloatArray, replicas: IntArray, etas: FloatArray, noise: Noise, first_step: int) -> None:
        """See `numerics.sgd.Model`."""
        shaped(states, parameters(self.problem, self.parametrization))
        key, limit = np.array(streams.key(noise.seed), np.uint64), DIVERGED * self.scale
        data = (np.asarray(self.problem.X), np.asarray(self.problem.y), etas, self.eta, self.corrected)
        purpose = streams.PURPOSES["sgd"]
        self.kernel.advance(states, replicas, *data, noise.batch, noise.sigma, limit, key, purpose, first_step)

    def predictor(self, states: FloatArray) -> FloatArray:
        """w ``(R, d)``."""
        return predictors(self.parametrization, states, self.problem.d)

    def observe(self, states: FloatArray) -> dict[str, FloatArray]:
        """`numerics.dynamics.protocol.OBSERVABLES`."""
        return observed(self.problem, self.parametrization, states, np.asarray(self.problem.y))


@dataclass(frozen=True, eq=False)
class EulerMaruyama(_Equation):
    """The SDE by Euler and Maruyama: the scheme's own weak order is one."""

    @property
    def _template(self) -> str:
        return "sde"


@dataclass(frozen=True, eq=False)
class PlaneEulerMaruyama(ReducedEulerMaruyama):
    """The same for F(u) = g(|u|) u in the n + 2 numbers of C12, not corrected: the same paths, several times as fast.
    States ``(R, n + 2)``, from u ``(d,)`` in span(rows of X, null direction).
    """

    @property
    def random(self) -> bool:
        """Always."""
        return True

    def observe(self, states: FloatArray) -> dict[str, FloatArray]:
        """`numerics.dynamics.protocol.OBSERVABLES`."""
        found = super().observe(states)
        del found["norm"]
        return {**found, "fluctuation": found["loss"].copy(), "nu": np.abs(found["nu"])}


@dataclass(frozen=True, eq=False)
class WeakSecondOrder(_Equation):
    """The SDE by Roessler's stochastic Runge-Kutta scheme RI6, of second weak order in the length of its steps."""

    @property
    def _template(self) -> str:
        return "sde_second"
