"""A problem with its predictor typed out, what its derivatives are by differences, and draws addressed one by one."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

from numerics import sgd
from numerics.problem import Problem
from numerics.schedule import Constant
from tests.naive import philox
from theory.parametrization import Parametrization
from verify import oracle

FloatArray = npt.NDArray[np.float64]
#: two factors differ from one in the map alone: they are compiled for one kernel
few = pytest.mark.parametrize("truth", ["radial", "coordinatewise"], indirect=True)
STEPS, ETA, BATCH, SIGMA, SEED, REPLICA = 25, 0.03, 3, 0.2, 7, 2


@dataclass(frozen=True)
class Truth:
    """A problem, a named parametrization with its predictor typed out, and a start with all parts of u away from 0."""

    problem: Problem
    kind: Parametrization
    predictor: Callable[[FloatArray], FloatArray]
    u: FloatArray

    def rows(self, u: FloatArray) -> FloatArray:
        """A ``(n, p)``, by complex steps."""
        return np.asarray(self.problem.X @ self.predictor(u + 1e-30j * np.eye(u.size)).imag.T * 1e30)

    def residual(self, u: FloatArray) -> FloatArray:
        """X F(u) - y."""
        return np.asarray(self.problem.X @ self.predictor(u) - self.problem.y)

    def gradient(self, u: FloatArray) -> FloatArray:
        """Of the train loss."""
        return self.rows(u).T @ self.residual(u) / self.problem.n

    def corrected(self, u: FloatArray, eta: float) -> FloatArray:
        """Gradient of L + (eta/4)|grad L|^2, by central differences along grad L."""
        force = self.gradient(u)
        h = 1e-5 * np.linalg.norm(u) / np.linalg.norm(force)
        return force + eta / 2 * (self.gradient(u + h * force) - self.gradient(u - h * force)) / (2 * h)


PREDICTORS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "radial": lambda u: oracle.predictor(u, 3.0),
    "coordinatewise": lambda u: u**3,
    "diagonal-product": lambda u: np.split(u, 2, axis=-1)[0] * np.split(u, 2, axis=-1)[1],
}


def simulated(model: sgd.Model, states: FloatArray) -> FloatArray:
    sgd.simulate(model, states, Constant(ETA), np.array([0, STEPS]), noise=sgd.Noise(BATCH, SIGMA, SEED), threads=1)
    return states


def block(number: int, purpose: int = 0) -> tuple[tuple[int, ...], float]:
    """The four words of a block, and the normal of its first two."""
    words = philox((number, 0, REPLICA, purpose), (SEED, 0))
    radius = np.sqrt(-2 * np.log((words[0] + 0.5) / 2**32))
    return words, float(radius * np.cos(2 * np.pi * (words[1] + 0.5) / 2**32))
