"""The slow law of any parametrization w_j = F(theta_j), as an equation for all parameters (C3).

On the manifold of minima, per step of label-noise SGD,

    du/dk = -(eta/2) P_T h,   h = (2/n) sum_i grad^2 f_i S grad f_i,   S = A^T K^-1 C K^-1 A,

exact in eta and B at small noise; the small-eta limit puts C = (eta sigma^2 / 2B) K, which makes it -(eta^2 sigma^2 /
4B) P_T grad tr H (Li, Wang, Arora 2022). Derived in `theory.slow_law`. Radial parametrizations have the scalar form of
`numerics.scalar_law`, networks the torch form of `numerics.networks.law`, other ways of stepping `manifold_law`.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.integrate import solve_ivp

from numerics.manifold_law import ManifoldLaw
from numerics.moments import BatchMoments
from numerics.noise_floor import floor_small_eta
from numerics.scalar_law import SlowPath
from numerics.schedule import Schedule
from numerics.separable_manifold import SeparableManifold

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SeparableLaw(SeparableManifold):
    """The slow law of a separable parametrization under label-noise SGD; u ``(p,)`` is factor after factor."""

    batch: int
    sigma: float

    @cached_property
    def _law(self) -> ManifoldLaw:
        return ManifoldLaw(self, BatchMoments(self.batch, self.sigma))

    def drift(self, u: FloatArray, eta: float) -> FloatArray:
        """du/dk ``(p,)`` at any eta and batch. Raises InputError above the stability limit at u."""
        return self._law.drift(u, eta)

    def drift_small_eta(self, u: FloatArray, eta: float) -> FloatArray:
        """du/dk ``(p,)`` in the limit eta -> 0."""
        tangent = self.tangent(u)
        C = (eta * self.sigma**2 / (2 * self.batch)) * tangent.K
        return -(eta / 2) * self.along(tangent, self.pull(tangent, C))

    def stability_limit(self, u: FloatArray) -> float:
        """The mean-square stability limit at u (C9)."""
        return self._law.stability_limit(u)

    def path(self, u0: FloatArray, schedule: Schedule, steps: npt.NDArray[np.int64]) -> SlowPath:
        """The law from u0 ``(p,)`` on the manifold at steps[0] along increasing step numbers, in both forms.

        The remainder is the variance of P_N w over 2 rho^2: the size of what second-order fluctuations add to ln rho.
        """
        points = self.points(self.drift, u0, schedule, steps)
        small = self.points(self.drift_small_eta, u0, schedule, steps)
        etas = schedule(steps)
        fluctuations = [self._fluctuation(u, float(eta)) for u, eta in zip(points, etas, strict=True)]
        return SlowPath(
            step=steps,
            rho=np.array([self.rho(u) for u in points]),
            floor=np.array([floor for floor, _ in fluctuations]),
            rho_small_eta=np.array([self.rho(u) for u in small]),
            floor_small_eta=np.array([self._floor_small(u, float(eta)) for u, eta in zip(small, etas, strict=True)]),
            remainder=np.array([remainder for _, remainder in fluctuations]),
            test_loss=np.array([self.problem.test_loss(self.predictor(u)) for u in points]),
        )

    def _floor_small(self, u: FloatArray, eta: float) -> float:
        return floor_small_eta(self.tangent(u).K, eta=eta, batch=self.batch, sigma=self.sigma)

    def _fluctuation(self, u: FloatArray, eta: float) -> tuple[float, float]:
        """The floor, and the variance of P_N w over 2 rho^2."""
        tangent = self.tangent(u)
        C = BatchMoments(self.batch, self.sigma).stationary(tangent.K, eta).covariance
        return float(np.trace(C) / (2 * self.problem.n)), self.rho_spread(tangent, C)

    def steps_until(self, share: float, u0: FloatArray, eta: float) -> float:
        """Steps until the speed |du/dk| has fallen to a share of its start: a duration for the large learning rate."""
        speed = float(np.linalg.norm(self.drift(u0, eta)))
        if speed == 0:
            return float("inf")

        def slowed(_: float, u: FloatArray) -> float:
            return float(np.linalg.norm(self.drift(u, eta))) - share * speed

        slowed.terminal = True  # type: ignore[attr-defined]
        horizon = 1e4 * float(np.linalg.norm(u0)) / speed
        result = solve_ivp(lambda _, u: self.drift(u, eta), (0, horizon), u0, events=slowed, rtol=1e-4, atol=1e-6)
        return float(result.t[-1])
