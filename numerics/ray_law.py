"""Floor and drift on a ray of minima for any way of stepping whose second moments at rest are known (C2, C3, C4).

With K = K(r) on the ray and C what the drawn rows see (`numerics.moments`),

    d ln rho/dk = -(eta/2) G(r) log_mobility,   G = (1/n) tr( dK/dr K^-1 C ),   E L = tr C / 2n.

C need not be symmetric: on the ray of a radial parametrization grad_i' . grad_j is. `numerics.scalar_law.RadialLaw` is
the case of label-noise SGD with replacement, with more said about it.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.integrate import cumulative_trapezoid, solve_ivp

from numerics.moments import Moments, seen_by_drift
from numerics.radial_manifold import RadialManifold

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_RTOL = 1e-7


@dataclass(frozen=True)
class RayPath:
    """The law at steps ``(steps,)``: rho, floor, and the size ``remainder`` in ln rho of what it neglects."""

    step: IntArray
    rho: FloatArray
    floor: FloatArray
    remainder: FloatArray


@dataclass(frozen=True, eq=False)
class RayLaw:
    """The law of a way of stepping on a ray of minima.

    ``scale`` q is the learning rate at the moments per learning rate of the dynamics (flipped labels: p(1-p)),
    ``lag`` = 1 - beta what momentum divides the drift by, ``corrected`` the second-order SDE's own potential
    (`numerics.moments.seen_by_drift`).
    """

    manifold: RadialManifold
    moments: Moments
    scale: float = 1.0
    lag: float = 1.0
    corrected: bool = False

    def log_rate(self, rho: float, eta: float) -> float:
        """d ln rho / dk. Raises InputError above the stability limit."""
        K, slope, n = self.manifold.kernel(rho), self.manifold.kernel_slope(rho), self.manifold.y.size
        eta = self.scale * eta
        C = seen_by_drift(self.moments, K, eta, corrected=self.corrected)
        G = float(np.sum(np.linalg.solve(K, slope) * C)) / n
        return -eta / (2 * self.lag) * G * self.manifold.log_mobility(rho)

    def speed(self, rho: float, eta: float) -> float:
        """|d ln rho / dk|."""
        return abs(self.log_rate(rho, eta))

    def floor(self, rho: float, eta: float) -> float:
        """Mean of (1/2n)|q|^2 at rest."""
        K = self.manifold.kernel(rho)
        return float(np.trace(self.moments.stationary(K, self.scale * eta).covariance) / (2 * len(K)))

    def stability_limit(self, rho_low: float, rho_high: float) -> float:
        """The least limit in eta over rho in [rho_low, rho_high]."""
        grid = np.linspace(rho_low, rho_high, 3)
        return min(self.moments.limit(self.manifold.kernel(float(rho))) for rho in grid) / self.scale

    def relaxation(self, rho: float, eta: float) -> float:
        """Steps in which the slowest mean residual falls by e."""
        lowest = float(np.linalg.eigvalsh(self.manifold.kernel(rho))[0]) / self.manifold.y.size
        return max(self.lag / (self.scale * eta * lowest), 1 / self.lag)

    def path(self, rho0: float, eta: float, steps: IntArray) -> RayPath:
        """The law from rho0 at steps[0], at one learning rate.

        The remainder is what a relaxation time of drift and, in proportion to the path, the relative variance of the
        predictions amount to.
        """
        rho = self._solve(rho0, eta, steps)
        knots = np.unique(np.linspace(0, len(steps) - 1, 9).astype(int))
        floors = np.array([self.floor(float(rho[i]), eta) for i in knots])
        rates = np.abs([self.log_rate(float(rho[i]), eta) for i in knots])
        spread = 2 * len(self.manifold.y) * floors / float(self.manifold.y @ self.manifold.y)
        lags = rates * [self.relaxation(float(rho[i]), eta) for i in knots]
        neglected = lags + cumulative_trapezoid(rates * spread, steps[knots], initial=0.0)
        where = np.arange(len(steps))
        return RayPath(steps, rho, np.interp(where, knots, floors), np.interp(where, knots, neglected))

    def _solve(self, rho0: float, eta: float, steps: IntArray) -> FloatArray:
        """rho ``(steps,)``."""
        result = solve_ivp(
            lambda _, x: [self.log_rate(float(np.exp(x[0])), eta)],
            (float(steps[0]), float(steps[-1])),
            [np.log(rho0)],
            method="LSODA",
            t_eval=steps.astype(float),
            rtol=_RTOL,
            atol=1e-9,
        )
        if not result.success:
            raise ArithmeticError(f"the slow law could not be integrated: {result.message}")
        return np.asarray(np.exp(result.y[0]))

    def steps_until(self, share: float, rho0: float, eta: float) -> float:
        """Steps until rho has come to a share of rho0, by the trapezoidal rule in eight pieces of ln rho; infinite
        where it stops or grows before.
        """
        grid = np.geomspace(1.0, share, 9) * rho0
        rates = [self.log_rate(float(rho), eta) for rho in grid]
        if max(rates) >= 0:
            return float("inf")
        return float(
            sum(np.log(a / b) * -2 / (p + q) for (a, b), (p, q) in zip(pairwise(grid), pairwise(rates), strict=True))
        )
