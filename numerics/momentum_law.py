"""The slow law of heavy-ball label-noise SGD at any learning rate (C13).

In residual coordinates (q, v = A p) a step is the linear map [[I - eta K/n, -eta beta I], [K/n, beta I]] plus
(-eta, 1) zeta, where zeta has the conditional covariance (1/B)[K (diag(q q^T) + sigma^2) K / n - K q q^T K / n^2].
The stationary second moment is one linear system; the drift per step is that of SGD with S from its q block,
divided by 1 - beta. Condition: Cowsik et al. 2022. Without replacement what the choice of rows adds has the factor
(n - B)/(n - 1), as in `numerics.noise_floor`.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from numerics.cone import spectral_radius
from numerics.errors import InputError
from numerics.noise_floor import stability_limit
from numerics.radial_manifold import RadialManifold

FloatArray = npt.NDArray[np.float64]

#: ratio of the learning rates tried when a stability limit is searched for, in logarithms
_SEARCH = 0.25


@dataclass(frozen=True, eq=False)
class MomentumFluctuations:
    """Second moment of (q, A p) under linearised heavy ball at Gram matrix K ``(n, n)``."""

    K: FloatArray
    eta: float
    batch: int
    momentum: float
    finite: float = 1.0

    @property
    def n(self) -> int:
        """Number of residuals."""
        return int(self.K.shape[0])

    @cached_property
    def _mean(self) -> FloatArray:
        """The mean map of (q, A p) ``(2n, 2n)``."""
        H, eye = self.K / self.n, np.eye(self.n)
        return np.asarray(np.block([[eye - self.eta * H, -self.eta * self.momentum * eye], [H, self.momentum * eye]]))

    @cached_property
    def transfer(self) -> FloatArray:
        """Matrix ``((2n)^2, (2n)^2)`` of one step of the second moment, label noise aside."""
        n, eye, mean = self.n, np.eye(self.n), self._mean
        enter = np.vstack([-self.eta * eye, eye])
        pick = np.hstack([eye, np.zeros((n, n))])
        diagonal = np.zeros((n * n, n * n))
        own = np.arange(n) * (n + 1)
        diagonal[own, own] = 1.0
        spread = np.kron(self.K, self.K) @ (diagonal / n - np.eye(n * n) / n**2) * (self.finite / self.batch)
        return np.asarray(np.kron(mean, mean) + np.kron(enter, enter) @ spread @ np.kron(pick, pick))

    @property
    def spectral_radius(self) -> float:
        """Below 1 where the second moment stays bounded."""
        return spectral_radius(self._carried, 2 * self.n)

    def _carried(self, Z: FloatArray) -> FloatArray:
        """`transfer` of ``Z (2n, 2n)`` without forming it."""
        n, mean, C = self.n, self._mean, Z[: self.n, : self.n]
        noise = self.K @ (np.diag(np.diag(C)) / n - C / n**2) @ self.K * (self.finite / self.batch)
        return np.asarray(mean @ Z @ mean.T + np.kron([[self.eta**2, -self.eta], [-self.eta, 1.0]], noise))

    def covariance(self, sigma: float, *, isotropic: float = 0.0) -> FloatArray:
        """The stationary covariance C ``(n, n)`` of the residual under label noise sigma and Gaussian noise on every
        component of the gradient, of standard deviation ``isotropic``. Raises InputError above the stability limit.
        """
        enter = np.vstack([-self.eta * np.eye(self.n), np.eye(self.n)])
        step = sigma**2 / (self.batch * self.n) * self.K @ self.K + isotropic**2 * self.K
        size = 2 * self.n
        sources = np.stack([enter @ step @ enter.T, np.eye(size)], axis=-1).reshape(size**2, 2)
        Z, bound = np.linalg.solve(np.eye(size**2) - self.transfer, sources).T.reshape(2, size, size)
        # a map that keeps covariances positive is stable just where bound - its image = 1 has a positive solution
        if np.linalg.eigvalsh(bound + bound.T)[0] <= 0:
            raise InputError(
                "eta",
                self.eta,
                f"exceeds the mean-square stability limit at momentum {self.momentum}",
                "lower eta or the momentum",
            )
        return np.asarray((Z + Z.T)[: self.n, : self.n] / 2)


def momentum_stability_limit(K: FloatArray, *, batch: int, momentum: float, finite: float = 1.0) -> float:
    """The learning rate at which the second moment of heavy ball stops being bounded."""
    top = float(np.linalg.eigvalsh(K)[-1]) / K.shape[0]

    def excess(eta: float) -> float:
        return MomentumFluctuations(K, eta, batch, momentum, finite).spectral_radius - 1

    high = float(2 * (1 + momentum) / top)  # gradient descent with momentum is unstable from there on
    low = min(0.25 * (1 - momentum) * stability_limit(K, batch=batch, finite=finite), high / 2)
    while excess(low) >= 0:
        low /= 10
    grid = np.geomspace(low, high, 2 + int(np.log(high / low) / _SEARCH))
    first = next((i for i, eta in enumerate(grid) if excess(float(eta)) >= 0), None)
    if first is None:  # the full batch: stable up to the last point of the grid, where gradient descent ends
        return high
    return float(brentq(excess, grid[first - 1], grid[first], xtol=1e-14, rtol=1e-10))


@dataclass(frozen=True, eq=False)
class MomentumLaw:
    """The slow law on a ray of minima for heavy-ball label-noise SGD."""

    manifold: RadialManifold
    batch: int
    sigma: float
    momentum: float

    def log_rate(self, rho: float, eta: float) -> float:
        """d ln rho / dk at any eta and batch, for a drift slow against 1 - beta."""
        K = self.manifold.kernel(rho)
        C = MomentumFluctuations(K, eta, self.batch, self.momentum).covariance(self.sigma)
        G = float(np.sum(np.linalg.solve(K, self.manifold.kernel_slope(rho)) * C)) / self.manifold.y.size
        return -eta / (2 * (1 - self.momentum)) * G * self.manifold.log_mobility(rho)

    def log_rate_small_eta(self, rho: float, eta: float) -> float:
        """The limit eta -> 0: that of SGD at eta/(1 - beta)."""
        effective = eta / (1 - self.momentum)
        slope = self.manifold.trace_hessian_slope(rho)
        return -((effective * self.sigma) ** 2) / (4 * self.batch) * slope * self.manifold.log_mobility(rho)
