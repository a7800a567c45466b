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
from numerics.schedule import Constant
from numerics.separable_manifold import SeparableManifold, Tangent

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: points of a path that are integrated to; rho and floor are interpolated between them
_KNOTS = 33


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

    def log_rate(self, u: FloatArray, eta: float) -> float:
        """d ln rho / dk."""
        return self._log_rate(self.manifold.tangent(u), self.drift(u, eta))

    def _log_rate(self, tangent: Tangent, drift: FloatArray) -> float:
        slopes = tangent.derivatives[1 : 1 + drift.size // self.manifold.problem.d]
        w = self.manifold.problem.null_part(tangent.derivatives[0])
        moved = np.sum(slopes * drift.reshape(slopes.shape), axis=0)
        return float(w @ moved / (w @ w))

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

    def path(self, u0: FloatArray, eta: float, steps: IntArray) -> RayPath:
        """The law from u0 ``(p,)`` on the manifold at steps[0], at one learning rate.

        The remainder in ln rho: what a relaxation time of drift amounts to, the variance of P_N w that fluctuations
        make, and, in proportion to the path, that of the parameters, relative to |u|^2.
        """
        knots = np.unique(np.linspace(steps[0], steps[-1], _KNOTS).astype(np.int64))
        points = self.manifold.points(self.drift, u0, Constant(eta), knots)
        rho = np.array([self.manifold.rho(u) for u in points])
        floors, rates, spreads, lags, own = np.array([self._at(u, eta) for u in points]).T
        neglected = np.abs(rates) * lags + own + cumulative_trapezoid(np.abs(rates) * spreads, knots, initial=0.0)
        if len(knots) == 1:
            return RayPath(steps, rho, floors, neglected)
        curves = (PchipInterpolator(knots, values)(steps) for values in (rho, floors, neglected))
        return RayPath(steps, *curves)

    def _at(self, u: FloatArray, eta: float) -> tuple[float, float, float, float, float]:
        """Floor, d ln rho/dk, variance of u over |u|^2, relaxation time, what fluctuations add to ln rho."""
        tangent = self.manifold.tangent(u)
        C = self.moments.stationary(tangent.K, self.scale * eta).covariance
        spread = float(np.trace(np.linalg.solve(tangent.K, C)) / (u @ u))
        rate = self._log_rate(tangent, self.drift(u, eta))
        floor = float(np.trace(C) / (2 * len(C)))
        return floor, rate, spread, self.relaxation(u, eta), self.manifold.rho_spread(tangent, C)

    def steps_until(self, share: float, u0: FloatArray, eta: float) -> float:
        """Steps until rho has come to a share of its start, or has stopped falling so that it never will: infinite."""
        target = share * self.manifold.rho(u0)
        rate = self.log_rate(u0, eta)
        if rate >= 0:
            return float("inf")

        def reached(_: float, u: FloatArray) -> float:
            return self.manifold.rho(u) - target

        reached.terminal = True  # type: ignore[attr-defined]
        horizon = 30 * float(np.log(1 / share)) / -rate
        atol = 1e-6 * float(np.linalg.norm(u0))
        found = solve_ivp(
            lambda _, u: self.drift(u, eta), (0, horizon), u0, events=reached, method="RK45", rtol=1e-4, atol=atol
        )
        return float(found.t[-1]) if found.t_events[0].size else float("inf")
