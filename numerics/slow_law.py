"""The slow law of any parametrization w_j = F(theta_j), as an equation for all parameters (C3).

On the manifold of minima, per step of label-noise SGD,

    du/dk = -(eta/2) P_T h,   h = (2/n) sum_i grad^2 f_i S grad f_i,   S = A^T K^-1 C K^-1 A,

exact in eta and B at small noise; the small-eta limit puts C = (eta sigma^2 / 2B) K, which makes it -(eta^2 sigma^2 /
4B) P_T grad tr H (Li, Wang, Arora 2022). Derived in `theory.slow_law`. Radial parametrizations have the scalar form of
`numerics.scalar_law`, networks the torch form of `numerics.networks.law`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from types import ModuleType

import numpy as np
import numpy.typing as npt
from scipy.integrate import solve_ivp

from numerics.noise_floor import Fluctuations, floor_small_eta, stability_limit
from numerics.problem import Problem
from numerics.scalar_law import SlowPath
from numerics.schedule import Schedule
from numerics.specialise import specialise
from theory.parametrization import Coordinatewise, DiagonalNetwork

FloatArray = npt.NDArray[np.float64]

_RTOL = 1e-9
_NEWTON_STEPS = 50


@dataclass(frozen=True, eq=False)
class Tangent:
    """The tangent kernel at a point: F and its derivatives ``(6, d)``, A = X J ``(n, p)`` and K = A A^T ``(n, n)``."""

    derivatives: FloatArray
    A: FloatArray
    K: FloatArray


@dataclass(frozen=True, eq=False)
class SeparableLaw:
    """The slow law of a separable parametrization under label-noise SGD; u ``(p,)`` is factor after factor."""

    problem: Problem
    parametrization: Coordinatewise | DiagonalNetwork
    batch: int
    sigma: float

    @cached_property
    def _kernel(self) -> ModuleType:
        return specialise("separable", self.parametrization)

    @property
    def _factors(self) -> int:
        return len(self.parametrization.factors)

    def tangent(self, u: FloatArray) -> Tangent:
        """F, A and K at u ``(p,)``."""
        values = np.empty((6, self.problem.d))
        self._kernel.derivatives(np.ascontiguousarray(u.reshape(self._factors, -1)), values)
        A = np.concatenate([self.problem.X * slope for slope in values[1 : 1 + self._factors]], axis=1)
        return Tangent(values, A, A @ A.T)

    def pull(self, tangent: Tangent, C: FloatArray) -> FloatArray:
        """h ``(p,)``. With t_j = sum_i x_ij (X^T K^-1 C)_ji it is (2t/n) (F_aa F_a + F_ab F_b, F_ab F_a + F_bb F_b)."""
        X, n = self.problem.X, self.problem.n
        t = np.sum(X * (np.linalg.solve(tangent.K, C).T @ X), axis=0)
        _, Fa, Fb, Faa, Fab, Fbb = tangent.derivatives
        parts = [Faa * Fa + Fab * Fb, Fab * Fa + Fbb * Fb] if self._factors == 2 else [Faa * Fa]
        return np.concatenate([(2 / n) * t * part for part in parts])

    def drift(self, u: FloatArray, eta: float) -> FloatArray:
        """du/dk ``(p,)`` at any eta and batch. Raises InputError above the stability limit at u."""
        tangent = self.tangent(u)
        C = Fluctuations(tangent.K, eta, self.batch).covariance(self.sigma)
        return -(eta / 2) * _project(tangent, self.pull(tangent, C))

    def drift_small_eta(self, u: FloatArray, eta: float) -> FloatArray:
        """du/dk ``(p,)`` in the limit eta -> 0."""
        tangent = self.tangent(u)
        C = (eta * self.sigma**2 / (2 * self.batch)) * tangent.K
        return -(eta / 2) * _project(tangent, self.pull(tangent, C))

    def onto_manifold(self, u: FloatArray) -> FloatArray:
        """The point of the manifold that Newton's method with least-norm steps reaches from u ``(p,)`` close to it."""
        for _ in range(_NEWTON_STEPS):
            tangent = self.tangent(u)
            residual = self.problem.X @ tangent.derivatives[0] - self.problem.y
            if np.max(np.abs(residual)) <= 1e-13 * np.max(np.abs(self.problem.y)):
                break
            u = u - tangent.A.T @ np.linalg.solve(tangent.K, residual)
        return u

    def rho(self, u: FloatArray) -> float:
        """|P_N F(u)|."""
        return float(np.linalg.norm(self.problem.null_part(self.tangent(u).derivatives[0])))

    def trace_hessian(self, u: FloatArray) -> float:
        """tr H = tr K / n on the manifold."""
        return float(np.trace(self.tangent(u).K) / self.problem.n)

    def stability_limit(self, u: FloatArray) -> float:
        """The mean-square stability limit at u (C9)."""
        return stability_limit(self.tangent(u).K, batch=self.batch)

    def points(
        self,
        drift: Callable[[FloatArray, float], FloatArray],
        u0: FloatArray,
        schedule: Schedule,
        steps: npt.NDArray[np.int64],
    ) -> FloatArray:
        """u ``(steps, p)`` along a drift from u0 at steps[0], put back on the manifold at every step asked for."""
        points = [u0]
        for begin, end in pairwise(steps):
            points.append(self._segment(drift, points[-1], schedule, int(begin), int(end)))
        return np.stack(points)

    def _segment(
        self, drift: Callable[[FloatArray, float], FloatArray], u: FloatArray, schedule: Schedule, begin: int, end: int
    ) -> FloatArray:
        kinks = [k for k in schedule.breakpoints if begin < k < end]
        for start, stop in zip([begin, *kinks], [*kinks, end], strict=True):

            def rate(k: float, u: FloatArray, start: int = start, stop: int = stop) -> FloatArray:
                return drift(u, float(schedule(min(max(k, start), stop - 1))))

            atol = _RTOL * float(np.linalg.norm(u)) / np.sqrt(u.size)
            result = solve_ivp(rate, (start, stop), u, method="RK45", rtol=_RTOL, atol=atol)
            if not result.success:
                raise ArithmeticError(f"the slow law could not be integrated: {result.message}")
            u = self.onto_manifold(result.y[:, -1])
        return u

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
            test_loss=np.array([self.problem.test_loss(self.tangent(u).derivatives[0]) for u in points]),
        )

    def _floor_small(self, u: FloatArray, eta: float) -> float:
        return floor_small_eta(self.tangent(u).K, eta=eta, batch=self.batch, sigma=self.sigma)

    def _fluctuation(self, u: FloatArray, eta: float) -> tuple[float, float]:
        """The floor, and the variance of P_N w over 2 rho^2."""
        tangent, n = self.tangent(u), self.problem.n
        C = Fluctuations(tangent.K, eta, self.batch).covariance(self.sigma)
        slopes = tangent.derivatives[1 : 1 + self._factors]
        # w moves by (sum of squared slopes) X^T K^-1 q when the residual is q
        moved = self.problem.null_part(np.linalg.solve(tangent.K, self.problem.X) * np.sum(slopes**2, axis=0))
        variance = float(np.sum((C @ moved) * moved))
        rho = float(np.linalg.norm(self.problem.null_part(tangent.derivatives[0])))
        return float(np.trace(C) / (2 * n)), variance / (2 * rho**2)

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


def _project(tangent: Tangent, v: FloatArray) -> FloatArray:
    """P_T v = v - A^T K^-1 A v."""
    return np.asarray(v - tangent.A.T @ np.linalg.solve(tangent.K, tangent.A @ v))
