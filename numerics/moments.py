"""Second moments of the residual at rest, one class per way of stepping, all asked the same two questions.

``stationary(K, eta)`` gives the moments at tangent kernel K ``(n, n)``; ``limit(K)`` the learning rate at which they
stop being bounded. `numerics.ray_law` and `numerics.manifold_law` turn them into floor and drift.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from numerics.inputs import below_one, drawable, not_negative
from numerics.momentum_law import MomentumFluctuations, momentum_stability_limit
from numerics.noise_floor import Fluctuations, stability_limit, without_replacement
from numerics.sde_law import sde_limit, sde_rest

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Stationary:
    """``covariance (n, n)`` = E[q q^T] averaged over steps, which the loss sees; ``seen (n, n)``, whose column i is
    E[q q_i] over the steps that draw row i, which the drift sees. Where every step draws afresh both are one.
    """

    covariance: FloatArray
    seen: FloatArray


class Moments(Protocol):
    """How a way of stepping fluctuates."""

    def stationary(self, K: FloatArray, eta: float) -> Stationary:
        """The moments at rest. Raises InputError above the stability limit."""

    def limit(self, K: FloatArray) -> float:
        """The mean-square stability limit in eta."""


def seen_by_drift(moments: Moments, K: FloatArray, eta: float, *, corrected: bool) -> FloatArray:
    """The matrix ``(n, n)`` that stands for C in the drift. Raises InputError above the stability limit.

    ``corrected``: the flow is that of L + (eta/4)|grad L|^2, the second-order SDE's, which adds (eta/2n)(CK + KC).
    """
    C = moments.stationary(K, eta).seen
    return C + eta / (2 * len(K)) * (C @ K + K @ C) if corrected else C


@dataclass(frozen=True)
class BatchMoments:
    """SGD with batches drawn afresh at every step (C2); ``replace`` says whether with replacement.

    ``isotropic`` is the standard deviation tau of Gaussian noise on every component of the gradient: A of it has the
    covariance tau^2 K.
    """

    batch: int
    sigma: float
    replace: bool = True
    isotropic: float = 0.0

    def __post_init__(self) -> None:
        drawable(self.batch, self.sigma)
        not_negative("isotropic", self.isotropic)

    def fluctuations(self, K: FloatArray, eta: float) -> Fluctuations:
        """The map of the second moment."""
        return Fluctuations(K, eta, self.batch, self.finite(K))

    def finite(self, K: FloatArray) -> float:
        """The finite-population factor."""
        return 1.0 if self.replace else without_replacement(len(K), self.batch)

    def stationary(self, K: FloatArray, eta: float) -> Stationary:
        """See `Moments`."""
        found = self.fluctuations(K, eta)
        C = found.covariance(self.sigma)
        if self.isotropic > 0:
            C = C + found.accumulated((eta * self.isotropic) ** 2 * K)
        return Stationary(C, C)

    def limit(self, K: FloatArray) -> float:
        """See `Moments`."""
        return stability_limit(K, batch=self.batch, finite=self.finite(K))


@dataclass(frozen=True)
class MomentumMoments:
    """Heavy ball (C13) with batches drawn afresh at every step."""

    batch: int
    sigma: float
    momentum: float
    replace: bool = True
    isotropic: float = 0.0

    def __post_init__(self) -> None:
        drawable(self.batch, self.sigma)
        not_negative("isotropic", self.isotropic)
        below_one("momentum", self.momentum)

    def _finite(self, K: FloatArray) -> float:
        return 1.0 if self.replace else without_replacement(len(K), self.batch)

    def stationary(self, K: FloatArray, eta: float) -> Stationary:
        """See `Moments`."""
        found = MomentumFluctuations(K, eta, self.batch, self.momentum, self._finite(K))
        C = found.covariance(self.sigma, isotropic=self.isotropic)
        return Stationary(C, C)

    def limit(self, K: FloatArray) -> float:
        """See `Moments`."""
        return momentum_stability_limit(K, batch=self.batch, momentum=self.momentum, finite=self._finite(K))


@dataclass(frozen=True)
class SdeMoments:
    """The stochastic differential equation of learning rate eta (C14); with ``substeps`` Euler and Maruyama's scheme
    for it in steps of eta/substeps, exactly.
    """

    batch: int
    sigma: float
    corrected: bool
    substeps: float = np.inf

    def __post_init__(self) -> None:
        drawable(self.batch, self.sigma)

    def stationary(self, K: FloatArray, eta: float) -> Stationary:
        """See `Moments`."""
        C = sde_rest(K, eta=eta, batch=self.batch, sigma=self.sigma, corrected=self.corrected, substeps=self.substeps)
        return Stationary(C, C)

    def limit(self, K: FloatArray) -> float:
        """See `Moments`; infinite where no eta makes the equation unstable."""
        return sde_limit(K, batch=self.batch, corrected=self.corrected, substeps=self.substeps)
