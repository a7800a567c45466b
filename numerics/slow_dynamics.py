"""The slow law under the protocol of `numerics.dynamics`: a state is a point of the minima."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from numerics.manifold_law import ManifoldLaw
from numerics.problem import Reduced
from numerics.ray_law import RayLaw
from numerics.sgd import Noise

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: change of ln rho, or of u relative to |u|, in one Runge-Kutta step: its error, of fifth order, is below 1e-9
_LARGEST_STEP = 0.02


@dataclass(frozen=True, eq=False)
class _Slow(ABC):
    """States (point, eta) ``(R, ...)``, eta that of the last step.

    The law knows batch and noise; those of a run play no part. Steps before the first have the learning rate ``eta``.
    """

    law: RayLaw | ManifoldLaw
    eta: float

    @property
    def random(self) -> bool:
        """Never."""
        return False

    def advance(self, states: FloatArray, replicas: IntArray, etas: FloatArray, noise: Noise, first_step: int) -> None:
        """See `numerics.sgd.Model`; steps of equal learning rate are taken together."""
        edges = np.concatenate([[0], np.flatnonzero(np.diff(etas)) + 1, [etas.size]])
        for state in states:
            for begin, end in pairwise(edges):
                state[:-1] = self._carried(state[:-1], float(etas[begin]), float(end - begin))
            state[-1] = etas[-1]

    @abstractmethod
    def _carried(self, point: FloatArray, eta: float, steps: float) -> FloatArray:
        """The point after steps at one learning rate."""


@dataclass(frozen=True, eq=False)
class SlowLaw(_Slow):
    """d ln rho/dk of a law on a ray, by Runge and Kutta: states (rho, eta) ``(R, 2)``."""

    law: RayLaw
    reduced: Reduced

    def start(self, u: FloatArray, replicas: int) -> FloatArray:
        """States ``(R, 2)`` of the point that gradient flow reaches from u ``(n + 1,)`` in reduced coordinates."""
        rho = self.law.manifold.relaxed(np.abs(u[-1:]), np.atleast_1d(np.linalg.norm(u)))
        return np.tile([float(rho[0]), self.eta], (replicas, 1))

    def _carried(self, point: FloatArray, eta: float, steps: float) -> FloatArray:
        def rate(x: FloatArray) -> FloatArray:
            return np.array([self.law.log_rate(float(np.exp(x[0])), eta)])

        return np.exp(runge_kutta(np.log(point), rate, steps, _LARGEST_STEP))

    def observe(self, states: FloatArray) -> dict[str, FloatArray]:
        """`numerics.dynamics.protocol.OBSERVABLES`: the loss is the floor, the test loss that of the point itself."""
        manifold, rho = self.law.manifold, states[:, 0]
        r = np.array([manifold.radius(x) for x in rho])
        floor = np.array([self.law.floor(float(x), float(eta)) for x, eta in states])
        points = self.reduced.c_mn + rho[:, None] * np.eye(self.reduced.n + 1)[-1]
        return {
            "loss": floor,
            "fluctuation": floor.copy(),
            "test_loss": self.reduced.test_loss(points),
            "rho": rho.copy(),
            "nu": rho * r / np.hypot(manifold.norm_w_mn, rho),
            "r": r,
        }


@dataclass(frozen=True, eq=False)
class SlowLawOnManifold(_Slow):
    """du/dk of a law on a manifold, by Runge and Kutta: states (u, eta) ``(R, p + 1)``."""

    law: ManifoldLaw

    def start(self, u: FloatArray, replicas: int) -> FloatArray:
        """States ``(R, p + 1)`` of the point that gradient flow reaches from u ``(p,)``."""
        return np.tile(np.append(self.law.manifold.relaxed(u), self.eta), (replicas, 1))

    def _carried(self, point: FloatArray, eta: float, steps: float) -> FloatArray:
        largest = _LARGEST_STEP * float(np.linalg.norm(point))
        return self.law.manifold.onto_manifold(runge_kutta(point, lambda u: self.law.drift(u, eta), steps, largest))

    def predictor(self, states: FloatArray) -> FloatArray:
        """w ``(R, d)``."""
        return np.array([self.law.manifold.predictor(state[:-1]) for state in states])

    def observe(self, states: FloatArray) -> dict[str, FloatArray]:
        """`numerics.dynamics.protocol.OBSERVABLES`: the loss is the floor, the test loss that of the point itself."""
        problem, w = self.law.manifold.problem, self.predictor(states)
        floor = np.array([self.law.floor(state[:-1], float(state[-1])) for state in states])
        return {
            "loss": floor,
            "fluctuation": floor.copy(),
            "test_loss": problem.test_loss(w),
            "rho": np.linalg.norm(problem.null_part(w), axis=1),
        }


def runge_kutta(x: FloatArray, rate: Callable[[FloatArray], FloatArray], time: float, largest: float) -> FloatArray:
    """x ``(m,)`` after a time of dx/dt = rate(x), by the classical scheme, |change| below ``largest`` in a step."""
    count = int(np.ceil(float(np.linalg.norm(rate(x))) * time / largest)) or 1
    h = time / count
    for _ in range(count):
        a = rate(x)
        b = rate(x + h / 2 * a)
        c = rate(x + h / 2 * b)
        x = x + h / 6 * (a + 2 * b + 2 * c + rate(x + h * c))
    return x
