"""Gradient flow under the protocol of dynamics: a step of learning rate eta is a piece of time eta."""

from dataclasses import dataclass
from functools import cached_property
from types import ModuleType

import numpy as np
import numpy.typing as npt
from scipy.integrate import solve_ivp

from numerics.dynamics.protocol import observed, parameters, predictors
from numerics.inputs import starts
from numerics.problem import Problem
from numerics.sgd import Noise
from numerics.specialise import specialise
from theory.parametrization import Parametrization

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_RTOL = 1e-10


@dataclass(frozen=True, eq=False)
class GradientFlow:
    """du/dt = -grad L: states u ``(R, p)``. Batch, label noise and seed play no part."""

    problem: Problem
    parametrization: Parametrization

    @property
    def random(self) -> bool:
        """Never."""
        return False

    @cached_property
    def kernel(self) -> ModuleType:
        """The compiled gradient."""
        return specialise("gradient", self.parametrization)

    def start(self, u: FloatArray, replicas: int) -> FloatArray:
        """States ``(R, p)`` of u ``(p,)``."""
        return starts(u, parameters(self.problem, self.parametrization), replicas)

    def advance(self, states: FloatArray, replicas: IntArray, etas: FloatArray, noise: Noise, first_step: int) -> None:
        """See `numerics.sgd.Model`; one interval of time from the first step to the last."""
        X, y = np.asarray(self.problem.X), np.asarray(self.problem.y)
        residual, plane, out = np.empty(len(y)), np.empty((2, X.shape[1])), np.empty(states.shape[1])

        def velocity(_: float, u: FloatArray) -> FloatArray:
            self.kernel.gradient(u, X, y, plane, residual, out)
            return -out

        for u in states:
            atol = _RTOL * float(np.linalg.norm(u))
            end = solve_ivp(velocity, (0.0, float(np.sum(etas))), u, method="LSODA", rtol=_RTOL, atol=atol)
            u[:] = end.y[:, -1] if end.success else np.nan

    def predictor(self, states: FloatArray) -> FloatArray:
        """w ``(R, d)``."""
        return predictors(self.parametrization, states, self.problem.d)

    def observe(self, states: FloatArray) -> dict[str, FloatArray]:
        """`numerics.dynamics.protocol.OBSERVABLES`."""
        return observed(self.problem, self.parametrization, states, np.asarray(self.problem.y))
