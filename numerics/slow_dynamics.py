"""The slow law under the protocol of `numerics.dynamics`: a state is a point of the ray of minima."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from numerics.problem import Reduced
from numerics.ray_law import RayLaw
from numerics.sgd import Noise

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: change of ln rho in one Runge-Kutta step: its error, of fifth order, is below 1e-9
_LARGEST_STEP = 0.02


@dataclass(frozen=True, eq=False)
class SlowLaw:
    """d ln rho/dk of a law, by Runge and Kutta: states (rho, eta) ``(R, 2)``, eta that of the last step.

    The law knows batch and noise; those of a run play no part. Steps before the first have the learning rate ``eta``.
    """

    law: RayLaw
    reduced: Reduced
    eta: float

    @property
    def random(self) -> bool:
        """Never."""
        return False

    def start(self, u: FloatArray, replicas: int) -> FloatArray:
        """States ``(R, 2)`` of the point that gradient flow reaches from u ``(n + 1,)`` in reduced coordinates."""
        rho = self.law.manifold.relaxed(np.abs(u[-1:]), np.atleast_1d(np.linalg.norm(u)))
        return np.tile([float(rho[0]), self.eta], (replicas, 1))

    def advance(self, states: FloatArray, replicas: IntArray, etas: FloatArray, noise: Noise, first_step: int) -> None:
        """See `numerics.sgd.Model`; steps of equal learning rate are taken together."""
        edges = np.concatenate([[0], np.flatnonzero(np.diff(etas)) + 1, [etas.size]])
        for state in states:
            for begin, end in pairwise(edges):
                state[0] = self._carried(float(state[0]), float(etas[begin]), float(end - begin))
            state[1] = etas[-1]

    def _carried(self, rho: float, eta: float, steps: float) -> float:
        """rho after steps at one learning rate."""
        x, rate = np.log(rho), self.law.log_rate
        count = int(np.ceil(abs(rate(rho, eta)) * steps / _LARGEST_STEP)) or 1
        h = steps / count
        for _ in range(count):
            a = rate(float(np.exp(x)), eta)
            b = rate(float(np.exp(x + h / 2 * a)), eta)
            c = rate(float(np.exp(x + h / 2 * b)), eta)
            x += h / 6 * (a + 2 * b + 2 * c + rate(float(np.exp(x + h * c)), eta))
        return float(np.exp(x))

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
