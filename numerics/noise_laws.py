"""Noise that is not on labels (C10): isotropic Gaussian gradient noise of standard deviation tau (Langevin), and
dropout on inputs.

With Phi the limit map of gradient flow, a slow process on the manifold has the generator (eta tau)^2/2 times the
Laplacian of functions of Phi (Katzenberger 1991): here of rho(Phi(u)), a function of nu = |P_N u| and r = |u| that
`RadialManifold.relaxed` knows exactly. To leading order in eta.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.integrate import solve_ivp

from numerics.problem import Problem
from numerics.radial_manifold import RadialManifold
from numerics.specialise import specialise
from theory.parametrization import Parametrization

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SlowDiffusion:
    """Per step: mean change of rho, and the variance of its change."""

    drift: float
    variance: float


def isotropic_rates(
    manifold: RadialManifold, rho: float, *, eta: float, tau: float, d: int, step: float = 1e-4
) -> SlowDiffusion:
    """Drift and variance of rho per step at a point of the ray, in d dimensions with n = len(y) labels.

    Laplacian of R(nu, r): R_nn + 2 (nu/r) R_nr + R_rr + (d-n-1)/nu R_n + (d-1)/r R_r; squared gradient R_n^2 + 2
    (nu/r) R_n R_r + R_r^2. Derivatives by central differences of relative width ``step``.
    """
    r = manifold.radius(rho)
    nu = rho * r / manifold.functions["norm"](r)
    h, k = step * nu, step * r
    offsets = np.array([-1.0, 0.0, 1.0])
    grid = manifold.relaxed(*np.meshgrid(nu + h * offsets, r + k * offsets, indexing="ij"))
    R_n, R_r = (grid[2, 1] - grid[0, 1]) / (2 * h), (grid[1, 2] - grid[1, 0]) / (2 * k)
    R_nn = (grid[2, 1] - 2 * grid[1, 1] + grid[0, 1]) / h**2
    R_rr = (grid[1, 2] - 2 * grid[1, 1] + grid[1, 0]) / k**2
    R_nr = (grid[2, 2] - grid[2, 0] - grid[0, 2] + grid[0, 0]) / (4 * h * k)
    cosine, null = nu / r, d - manifold.y.size
    laplacian = R_nn + 2 * cosine * R_nr + R_rr + (null - 1) / nu * R_n + (d - 1) / r * R_r
    gradient = R_n**2 + 2 * cosine * R_n * R_r + R_r**2
    return SlowDiffusion(float((eta * tau) ** 2 / 2 * laplacian), float((eta * tau) ** 2 * gradient))


@dataclass(frozen=True)
class AveragedPath:
    """Predictors w ``(times, d)``, their rho and train loss without masks ``(times,)``."""

    w: FloatArray
    rho: FloatArray
    loss: FloatArray


def dropout_path(
    problem: Problem, parametrization: Parametrization, u: FloatArray, *, dropout: float, times: FloatArray
) -> AveragedPath:
    """Gradient flow from u ``(p,)`` of the loss averaged over masks of the inputs, what SGD does as eta -> 0.

    An entry kept with probability k = 1 - dropout and divided by k has variance x^2 dropout/k, so that the mean loss is
    L + (dropout/k)/(2n) sum_j (sum_i x_ij^2) w_j^2 (Wager, Wang, Liang 2013). Nothing stops it on the minima of L.
    """
    X, y, n, shape = problem.X, problem.y, problem.n, specialise("gradient", parametrization)
    weights = dropout / (1 - dropout) / n * np.sum(X**2, axis=0)
    w, out = np.empty(problem.d), np.empty(u.size)

    def velocity(_: float, v: FloatArray) -> FloatArray:
        shape.predict(v, np.inf, w)
        shape.pull(v, X.T @ (X @ w - y) / n + weights * w, out)
        return -out

    atol = 1e-10 * float(np.linalg.norm(u))
    found = solve_ivp(velocity, (times[0], times[-1]), u, method="LSODA", t_eval=times, rtol=1e-8, atol=atol)
    if not found.success:
        raise ArithmeticError(f"the averaged flow could not be integrated: {found.message}")
    along = np.empty((len(times), problem.d))
    shape.predictors(np.ascontiguousarray(found.y.T), along)
    return AveragedPath(along, np.linalg.norm(problem.null_part(along), axis=1), problem.train_loss(along))
