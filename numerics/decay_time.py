"""Two answers of the slow law in tabulated form: rho against steps (C4, C6), and how fluctuations settle after a decay
(C7).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from numerics.noise_floor import Fluctuations
from numerics.problem import Reduced
from numerics.scalar_law import RadialLaw
from numerics.scalar_search import spline

FloatArray = npt.NDArray[np.float64]

#: points of the finished table of rho against steps
FINE = 3000
#: of rho0: how far an outward drift is followed
FARTHEST = 10.0
_NODES = 24

_DEEPEST = 1e-3  # of rho0: what is left of the drift below it does not show in any loss


@dataclass(frozen=True, eq=False)
class Drift:
    """rho against steps at one learning rate, tabulated from the law: exact up to interpolation of a smooth rate."""

    law: RadialLaw
    rho0: float
    eta: float

    @cached_property
    def nodes(self) -> tuple[FloatArray, FloatArray]:
        """ln(rho/rho0) and d ln rho/dk ``(m,)`` along the way: inwards, or outwards where the drift leads there.

        Outwards it ends where rho meets the stability limit of this learning rate (C9).
        """
        inwards = self.law.log_rate(self.rho0, self.eta) <= 0
        way, rates = np.log(_DEEPEST if inwards else FARTHEST), []
        x = way * np.linspace(0.0, 1.0, _NODES) ** 2  # dense near the start, where the rate still varies
        for value in x:
            rho = self.rho0 * float(np.exp(value))
            if not inwards and not Fluctuations(self.law.manifold.kernel(rho), self.eta, self.law.batch).stable:
                break
            rates.append(self.law.log_rate(rho, self.eta))
        return x[: len(rates)], np.array(rates)

    @property
    def diverges(self) -> float:
        """The step at which the outward drift meets the stability limit; infinite where it does not."""
        x, rates = self.nodes
        lost = len(x) < _NODES and bool(np.all(rates > 0))
        return float(self.table[0][-1]) if lost else float("inf")

    @cached_property
    def table(self) -> tuple[FloatArray, FloatArray]:
        """Steps ``(m,)``, increasing from 0, and ln rho ``(m,)``, up to where the drift stops or has done its work."""
        x, rates = self.nodes
        start = float(np.log(self.rho0))
        still = np.array([0.0, 1.0]), np.array([start, start])
        if len(x) < 2:
            return still
        order, fine = np.argsort(x), np.linspace(0.0, x[-1], FINE)
        rate = spline(x[order], rates[order], fine)
        against = rate * np.sign(x[-1]) <= 0
        stop = int(np.argmax(against)) if np.any(against) else FINE
        if stop < 2:
            return still
        slowness = 1 / rate[:stop]
        steps = np.append(0.0, np.cumsum(np.diff(fine[:stop]) * (slowness[1:] + slowness[:-1]) / 2))
        return steps, start + fine[:stop]

    def rho(self, step: float) -> float:
        """rho after so many steps from rho0."""
        return float(np.exp(np.interp(step, *self.table)))

    def onward(self, rho: float, steps: float) -> float:
        """rho after so many steps from another rho; beyond the resting point it comes back at the local rate."""
        times, logs = self.table
        order = slice(None, None, -1) if logs[-1] < logs[0] else slice(None)
        x, ends = float(np.log(rho)), sorted((float(logs[0]), float(logs[-1])))
        if ends[0] <= x <= ends[1]:
            at = np.interp(x, logs[order], times[order])
            return float(np.exp(np.interp(at + steps, times, logs)))
        moved = x + self.law.log_rate(rho, self.eta) * steps
        return float(np.exp(min(moved, ends[0]) if x < ends[0] else max(moved, ends[1])))


@dataclass(frozen=True, eq=False)
class Settling:
    """Phase III at one rho: what fluctuations add to a quadratic loss c steps after eta was divided (C7).

    rest: their share at the small learning rate; ``parts (n, n)`` and ``rates (n, n)``: excess = sum parts (1 -
    rates)^c.
    """

    rest: float
    parts: FloatArray
    rates: FloatArray

    def share(self, steps: float) -> float:
        """What the fluctuations add after so many steps."""
        return self.rest + float(np.sum(self.parts * np.exp(steps * np.log1p(-self.rates))))

    def steps_until(self, share: float) -> float:
        """Steps until they add no more than ``share``; inf where they always will."""
        if share <= self.rest:
            return float("inf")
        high = 1.0 / float(self.rates.min())
        while self.share(high) > share:
            high *= 2
        low = 0.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self.share(middle) > share else (low, middle)
        return high


def loss_weight(law: RadialLaw, reduced: Reduced, rho: float) -> FloatArray:
    """Q ``(n, n)`` with added loss = tr(Q C): half T W'W T' of the predictor's motion, or 1/2n for the train loss."""
    n = law.manifold.y.size
    if reduced.T is None:
        return np.eye(n) / (2 * n)
    motion = reduced.T @ _predictor_motion(law, rho, reduced.factor)
    return np.asarray(motion.T @ motion / 2)


def settling(law: RadialLaw, rho: float, eta: float, eta_after: float, weight: FloatArray) -> Settling:
    """Phase III at rho: tr(weight C) from C(eta) to C(eta_after), each pair of modes at its own rate."""
    K = law.manifold.kernel(rho)
    after = Fluctuations(K, eta_after, law.batch)
    vectors = after.spectrum[1]
    last = after.covariance(law.sigma)
    excess = vectors.T @ (Fluctuations(K, eta, law.batch).covariance(law.sigma) - last) @ vectors
    rates = np.clip(after.decay, 1e-300, 1 - 1e-12)
    return Settling(float(np.sum(weight * last)), (vectors.T @ weight @ vectors) * excess, rates)


def _predictor_motion(law: RadialLaw, rho: float, rows: FloatArray) -> FloatArray:
    """W ``(n + 1, n)``: a residual q moves the predictor's coordinates c by W q, W = J J^T X^T K^-1.

    J J^T = g^2 + ((r g)'^2 - g^2) uhat uhat^T, as in `RadialLaw.predictor_spread`.
    """
    manifold = law.manifold
    r = manifold.radius(rho)
    norm, slope = manifold.functions["norm"](r), manifold.functions["norm_slope"](r)
    c = np.append(np.linalg.solve(rows, manifold.y), rho) / norm
    moved = (norm / r) ** 2 * np.vstack([rows.T, np.zeros(len(rows))])
    moved += (slope**2 - (norm / r) ** 2) * np.outer(c, manifold.y / norm)
    return np.asarray(np.linalg.solve(manifold.kernel(rho), moved.T).T)
