"""The manifold of minima of a parametrization w_j = F(theta_j): its tangent kernel, and moving along it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from types import ModuleType

import numpy as np
import numpy.typing as npt
from scipy.integrate import solve_ivp

from numerics.problem import Problem
from numerics.schedule import Schedule
from numerics.specialise import specialise
from theory.parametrization import Coordinatewise, DiagonalNetwork

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_RTOL = 1e-9
_NEWTON_STEPS = 50
#: gradient flow is followed until the slowest residual has fallen by e so many times; Newton's method does the rest
_FOLDINGS = 12.0


@dataclass(frozen=True, eq=False)
class Tangent:
    """The tangent kernel at a point: F and its derivatives ``(6, d)``, A = X J ``(n, p)`` and K = A A^T ``(n, n)``."""

    derivatives: FloatArray
    A: FloatArray
    K: FloatArray


@dataclass(frozen=True, eq=False)
class SeparableManifold:
    """The minima {u : X F(u) = y} of a separable parametrization; u ``(p,)`` is factor after factor."""

    problem: Problem
    parametrization: Coordinatewise | DiagonalNetwork

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
        """h ``(p,)`` = (2/n) sum_i grad^2 f_i A^T K^-1 C e_i.

        With t_j = sum_i x_ij (X^T K^-1 C)_ji it is (2t/n) (F_aa F_a + F_ab F_b, F_ab F_a + F_bb F_b).
        """
        X, n = self.problem.X, self.problem.n
        t = np.sum(X * (np.linalg.solve(tangent.K, C).T @ X), axis=0)
        _, Fa, Fb, Faa, Fab, Fbb = tangent.derivatives
        parts = [Faa * Fa + Fab * Fb, Fab * Fa + Fbb * Fb] if self._factors == 2 else [Faa * Fa]
        return np.concatenate([(2 / n) * t * part for part in parts])

    def along(self, tangent: Tangent, v: FloatArray) -> FloatArray:
        """P_T v = v - A^T K^-1 A v ``(p,)``."""
        return np.asarray(v - tangent.A.T @ np.linalg.solve(tangent.K, tangent.A @ v))

    def predictor(self, u: FloatArray) -> FloatArray:
        """w = F(u) ``(d,)``."""
        return np.asarray(self.tangent(u).derivatives[0])

    def predictor_change(self, tangent: Tangent, v: FloatArray) -> FloatArray:
        """J v ``(d,)``: the change of w when u changes by v ``(p,)``."""
        slopes = tangent.derivatives[1 : 1 + self._factors]
        return np.asarray(np.sum(slopes * v.reshape(slopes.shape), axis=0))

    def kernel(self, u: FloatArray) -> FloatArray:
        """K ``(n, n)`` at u."""
        return self.tangent(u).K

    def rho(self, u: FloatArray) -> float:
        """|P_N F(u)|."""
        return float(np.linalg.norm(self.problem.null_part(self.predictor(u))))

    def rho_spread(self, tangent: Tangent, C: FloatArray) -> float:
        """Variance of P_N w over 2 rho^2 when the residual has the covariance C: what it adds to ln rho."""
        slopes = tangent.derivatives[1 : 1 + self._factors]
        # w moves by (sum of squared slopes) X^T K^-1 q when the residual is q
        moved = self.problem.null_part(np.linalg.solve(tangent.K, self.problem.X) * np.sum(slopes**2, axis=0))
        variance = float(np.sum((C @ moved) * moved))
        rho = float(np.linalg.norm(self.problem.null_part(tangent.derivatives[0])))
        return variance / (2 * rho**2)

    def trace_hessian(self, u: FloatArray) -> float:
        """tr H = tr K / n on the manifold."""
        return float(np.trace(self.tangent(u).K) / self.problem.n)

    def onto_manifold(self, u: FloatArray) -> FloatArray:
        """The point of the manifold that Newton's method with least-norm steps reaches from u ``(p,)`` close to it."""
        for _ in range(_NEWTON_STEPS):
            tangent = self.tangent(u)
            residual = self.problem.X @ tangent.derivatives[0] - self.problem.y
            if np.max(np.abs(residual)) <= 1e-13 * np.max(np.abs(self.problem.y)):
                break
            u = u - tangent.A.T @ np.linalg.solve(tangent.K, residual)
        return u

    def relaxed(self, u: FloatArray) -> FloatArray:
        """The point of the manifold that gradient flow goes to from u ``(p,)``."""
        X, y, n = self.problem.X, self.problem.y, self.problem.n

        def velocity(_: float, v: FloatArray) -> FloatArray:
            tangent = self.tangent(v)
            return np.asarray(-tangent.A.T @ (X @ tangent.derivatives[0] - y) / n)

        time = _FOLDINGS * n / float(np.linalg.eigvalsh(self.tangent(u).K)[0])
        found = solve_ivp(velocity, (0.0, time), u, method="LSODA", rtol=_RTOL, atol=_RTOL * float(np.linalg.norm(u)))
        if not found.success:
            raise ArithmeticError(f"gradient flow could not be integrated: {found.message}")
        return self.onto_manifold(found.y[:, -1])

    def points(
        self, drift: Callable[[FloatArray, float], FloatArray], u0: FloatArray, schedule: Schedule, steps: IntArray
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
