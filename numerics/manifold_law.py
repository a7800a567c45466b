"""Floor and drift on a manifold of minima for any way of stepping whose second moments at rest are known (C2, C3).

With A, K at a point of the manifold and C what the drawn rows see (`numerics.moments`), per step

    du/dk = -(eta/2) P_T h,   h = (2/n) sum_i grad^2 f_i A^T K^-1 C e_i,   E L = tr C / 2n.

C need not be symmetric: a drawn row i pulls along grad^2 f_i (u - its point on the manifold), whose mean is A^T K^-1
E[q q_i]. `numerics.slow_law.SeparableLaw` is the case of label-noise SGD with replacement, with more said about it;
`numerics.ray_law` the same for Radial, where one number stands for the point.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.integrate import cumulative_trapezoid, solve_ivp
from scipy.interpolate import PchipInterpolator

from numerics.moments import Moments, seen_by_drift
from numerics.ray_law import RayPath
from numerics.separable_manifold import SeparableManifold

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: points of a path between which w is interpolated; those between which floor and remainder are
_KNOTS, _FEW = 33, 9
_RTOL = 1e-7
#: a drift that takes this many times as long as at its first speed has died down
_PATIENCE = 100


@dataclass(frozen=True)
class ManifoldPath(RayPath):
    """A `RayPath` with the predictors w ``(steps, d)``; the remainder is relative to |w|."""

    w: FloatArray


@dataclass(frozen=True, eq=False)
class ManifoldLaw:
    """The law of a way of stepping on a manifold of minima; ``scale``, ``lag``, ``corrected`` as in `RayLaw`."""

    manifold: SeparableManifold
    moments: Moments
    scale: float = 1.0
    lag: float = 1.0
    corrected: bool = False

    def drift(self, u: FloatArray, eta: float) -> FloatArray:
        """du/dk ``(p,)``. Raises InputError above the stability limit at u."""
        tangent, eta = self.manifold.tangent(u), self.scale * eta
        seen = seen_by_drift(self.moments, tangent.K, eta, corrected=self.corrected)
        return -(eta / (2 * self.lag)) * self.manifold.along(tangent, self.manifold.pull(tangent, seen))

    def speed(self, u: FloatArray, eta: float) -> float:
        """|dw/dk|."""
        return float(np.linalg.norm(self.predictor_rate(u, eta)))

    def predictor_rate(self, u: FloatArray, eta: float) -> FloatArray:
        """dw/dk ``(d,)``."""
        return self.manifold.predictor_change(self.manifold.tangent(u), self.drift(u, eta))

    def floor(self, u: FloatArray, eta: float) -> float:
        """Mean of (1/2n)|q|^2 at rest."""
        K = self.manifold.tangent(u).K
        return float(np.trace(self.moments.stationary(K, self.scale * eta).covariance) / (2 * len(K)))

    def stability_limit(self, u: FloatArray) -> float:
        """The limit in eta at u."""
        return self.moments.limit(self.manifold.tangent(u).K) / self.scale

    def relaxation(self, u: FloatArray, eta: float) -> float:
        """Steps in which the slowest mean residual falls by e."""
        lowest = float(np.linalg.eigvalsh(self.manifold.tangent(u).K)[0]) / self.manifold.problem.n
        return max(self.lag / (self.scale * eta * lowest), 1 / self.lag)

    def path(self, u0: FloatArray, eta: float, steps: IntArray) -> ManifoldPath:
        """The law from u0 ``(p,)`` on the manifold at steps[0], at one learning rate.

        The remainder, relative to |w|: what a relaxation time of drift amounts to, the relative variance of the
        parameters under the fluctuations, and the same in proportion to the path.
        """
        knots = np.unique(np.linspace(steps[0], steps[-1], _KNOTS).astype(np.int64))
        points = self._points(u0, eta, knots)
        w = np.array([self.manifold.predictor(u) for u in points])
        rho = np.linalg.norm(self.manifold.problem.null_part(w), axis=1)
        few = np.unique(np.linspace(0, len(knots) - 1, _FEW).astype(int))
        floors, speeds, lags, spreads = np.array([self._at(points[i], eta) for i in few]).T
        neglected = speeds * lags + spreads + cumulative_trapezoid(speeds * spreads, knots[few], initial=0.0)
        floor, remainder = _between(knots[few], floors, steps), _between(knots[few], neglected, steps)
        return ManifoldPath(steps, _between(knots, rho, steps), floor, remainder, w=_between(knots, w, steps))

    def _points(self, u0: FloatArray, eta: float, knots: IntArray) -> FloatArray:
        """u ``(knots, p)``, put back on the manifold."""
        if len(knots) == 1:
            return u0[None]
        times, atol = knots.astype(float), _RTOL * float(np.linalg.norm(u0)) / np.sqrt(u0.size)
        found = solve_ivp(
            lambda _, u: self.drift(u, eta),
            (times[0], times[-1]),
            u0,
            method="RK45",
            t_eval=times,
            rtol=_RTOL,
            atol=atol,
        )
        if not found.success:
            raise ArithmeticError(f"the slow law could not be integrated: {found.message}")
        return np.array([self.manifold.onto_manifold(u) for u in found.y.T])

    def _at(self, u: FloatArray, eta: float) -> tuple[float, float, float, float]:
        """Floor, |dw/dk|/|w|, relaxation time, variance of u over |u|^2."""
        K = self.manifold.kernel(u)
        C = self.moments.stationary(K, self.scale * eta).covariance
        spread = float(np.trace(np.linalg.solve(K, C)) / (u @ u))
        speed = self.speed(u, eta) / float(np.linalg.norm(self.manifold.predictor(u)))
        return float(np.trace(C) / (2 * len(C))), speed, self.relaxation(u, eta), spread

    def steps_until_moved(self, share: float, u0: FloatArray, eta: float) -> float:
        """Steps until w has moved by a share of |w|; infinite where its speed dies down before."""
        w0 = self.manifold.predictor(u0)
        size = float(np.linalg.norm(w0))
        speed = self.speed(u0, eta)
        if speed == 0:
            return float("inf")

        def arrived(_: float, u: FloatArray) -> float:
            return float(np.linalg.norm(self.manifold.predictor(u) - w0)) - share * size

        arrived.terminal = True  # type: ignore[attr-defined]
        horizon, atol = _PATIENCE * share * size / speed, 1e-6 * float(np.linalg.norm(u0))
        found = solve_ivp(
            lambda _, u: self.drift(u, eta), (0, horizon), u0, events=arrived, method="RK45", rtol=1e-4, atol=atol
        )
        return float(found.t[-1]) if found.t_events[0].size else float("inf")


def _between(knots: IntArray, values: FloatArray, steps: IntArray) -> FloatArray:
    """Values ``(knots, ...)`` at steps in between, monotone where they are."""
    return np.asarray(PchipInterpolator(knots, values)(steps) if len(knots) > 1 else values)
