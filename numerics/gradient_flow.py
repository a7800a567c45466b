"""Gradient flow by its definition, with the tangent kernel along it. Imports no law.

For radial parametrizations in the n + 1 coordinates of C12, for separable ones in all p.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.integrate import solve_ivp

from numerics.sgd import RadialSGD, SeparableSGD

FloatArray = npt.NDArray[np.float64]

_STIFF_LIMIT = 300  # above this dimension an implicit method's Jacobian costs more than many explicit steps


@dataclass(frozen=True, eq=False)
class Flow:
    """time (steps times eta) and train loss ``(T,)``, residual ``(T, n)``, tangent kernels ``(T, n, n)``, end point."""

    time: FloatArray
    loss: FloatArray
    residual: FloatArray
    kernel: FloatArray
    end: FloatArray

    @property
    def slowest_rate(self) -> float:
        """mu = inf lambda_min(K)/n along the flow (C1)."""
        return float(np.linalg.eigvalsh(self.kernel)[:, 0].min() / self.residual.shape[1])


def radial_flow(model: RadialSGD, state: FloatArray, times: FloatArray) -> Flow:
    """Gradient flow from a reduced state ``(n + 2,)`` at increasing times, times[0] = 0."""
    rows, y, n = np.asarray(model.reduced.factor), np.asarray(model.reduced.y), model.reduced.n
    gain, gain_slope = model.kernel.gain.py_func, model.kernel.gain_slope.py_func

    def residual_and_rows(v: FloatArray) -> tuple[FloatArray, FloatArray]:
        q, scores = float(v @ v), rows @ v[:n]
        level, slope = gain(q), gain_slope(q)
        A = level * np.hstack([rows, np.zeros((n, 1))]) + slope * np.outer(scores, v)
        return level * scores - y, A

    start = np.append(np.linalg.solve(rows, state[:n]), state[n + 1])
    return _flow(residual_and_rows, start, times)


def separable_flow(model: SeparableSGD, state: FloatArray, times: FloatArray) -> Flow:
    """Gradient flow from a state ``(factors, d)`` at increasing times, times[0] = 0."""
    X, y, factors = model.problem.X, model.problem.y, model.factors

    def residual_and_rows(u: FloatArray) -> tuple[FloatArray, FloatArray]:
        values = model.derivatives(u.reshape(factors, -1))
        A = np.concatenate([X * slope for slope in values[1 : 1 + factors]], axis=1)
        return X @ values[0] - y, A

    return _flow(residual_and_rows, state.ravel(), times)


def _flow(
    residual_and_rows: Callable[[FloatArray], tuple[FloatArray, FloatArray]], start: FloatArray, times: FloatArray
) -> Flow:
    """Integrate du/dt = -A^T q / n."""

    def velocity(_: float, u: FloatArray) -> FloatArray:
        q, A = residual_and_rows(u)
        return np.asarray(-(A.T @ q) / len(q))

    method = "LSODA" if start.size <= _STIFF_LIMIT else "RK45"
    scale = float(np.linalg.norm(start))
    result = solve_ivp(velocity, (0.0, times[-1]), start, t_eval=times, method=method, rtol=1e-10, atol=1e-12 * scale)
    if not result.success:
        raise ArithmeticError(f"gradient flow could not be integrated: {result.message}")
    pairs = [residual_and_rows(u) for u in result.y.T]
    residual = np.stack([q for q, _ in pairs])
    kernel = np.stack([A @ A.T for _, A in pairs])
    return Flow(times, 0.5 * np.mean(residual**2, axis=1), residual, kernel, result.y[:, -1])
