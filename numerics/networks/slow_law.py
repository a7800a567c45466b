"""The slow law C3 on a network: where label-noise SGD drifts along the minima manifold, without running it.

Per step, on M = {f = y}:  dtheta/dk = −(eta/2) P_T h,  h = (2/n) Σ_i ∇²f_i S g_i,  S = Aᵀ K⁻¹ C K⁻¹ A.

S g_i is column i of Aᵀ K⁻¹ C, held fixed; Σ_i ∇²f_i v_i is then one gradient of Σ_i (derivative of f_i along v_i):
forward over reverse, exact. C is the stationary residual covariance at the actual eta and B. Derived in
theory.md §2, C3; small eta: Li, Wang, Arora 2022.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import grad, jvp, vmap

from numerics.errors import InputError
from numerics.networks.curvature import Function
from numerics.networks.manifold import Point, project, tangent
from numerics.networks.residual_covariance import Residuals

Array = NDArray[np.float64]
#: shortest stride, as a share of the distance between two records: where the speed jumps (ReLU) no stride is accurate
_LEAST_STRIDE = 1 / 200


@dataclass(frozen=True)
class Setting:
    """What the law is integrated for: network f, inputs x, targets y ``(n, C)``, learning rate, batch, label noise."""

    f: Function
    x: Tensor
    y: Tensor
    eta: float
    batch: int
    sigma: float

    def residuals(self, k: Tensor) -> Residuals:
        """The fluctuation equation at tangent kernel ``k``."""
        return Residuals(k.double().numpy(), self.y.shape[1], self.eta, self.batch)


@dataclass(frozen=True)
class Path:
    """The law's prediction: step counts ``(m,)``, theta ``(m, p)`` on M; tr H, floor and quasistatic ratio ``(m,)``.

    ``floor`` is the predicted mean training loss tr C/2n; ``quasistatic`` compares the rate at which tr H changes with
    the slowest relaxation eta λ_min(K)/n: the law needs it well below 1. ``error`` is the integrator's own, relative
    to the path's length.
    """

    steps: Array
    theta: Tensor
    sharpness: Array
    floor: Array
    quasistatic: Array
    error: float


def weighted_hessians(f: Function, theta: Tensor, x: Tensor, v: Tensor) -> Tensor:
    """Σ_ic ∇²f_ic v_ic ``(p,)`` for fixed directions v ``(n, C, p)``: the gradient of Σ_ic ∇f_ic · v_ic."""

    def directional(weights: Tensor, example: Tensor, directions: Tensor) -> Tensor:
        def along(direction: Tensor) -> Tensor:
            slopes: Tensor = jvp(lambda w: f(w, example[None])[0], (weights,), (direction,))[1]
            return slopes

        return vmap(along)(directions).diagonal().sum()

    total = vmap(directional, in_dims=(None, 0, 0))
    result: Tensor = grad(lambda weights: total(weights, x, v).sum())(theta)
    return result


def drift(setting: Setting, point: Point) -> tuple[Tensor, Array]:
    """dtheta/dk ``(p,)`` at a point of M, and the covariance C ``(nC, nC)`` that drives it."""
    n, outputs = setting.y.shape
    c = setting.residuals(point.k).covariance(setting.sigma)
    weights = torch.linalg.solve(point.k, torch.as_tensor(c, dtype=point.k.dtype))
    directions = (weights.T @ point.a).reshape(n, outputs, -1)
    h = (2 / n) * weighted_hessians(setting.f, point.theta, setting.x, directions)
    return -(setting.eta / 2) * tangent(point, h), c


def integrate(
    setting: Setting, start: Tensor, steps: Array, *, tolerance: float, report: Callable[[str], None] | None = None
) -> Path:
    """Follow the law from theta ``(p,)`` through the step counts ``steps (m,)``, the first of which is the start.

    Heun steps projected back on M; the difference from Euler's step controls their length (``tolerance`` per unit of
    path length). Raises InputError for step counts that do not increase, or where eta is above the stability limit.
    """
    if len(steps) == 0 or (np.diff(steps) <= 0).any():
        raise InputError("steps", list(steps), "do not increase", "give increasing step counts, the start first")
    walker = _Walker(setting, project(setting.f, start, setting.x, setting.y), tolerance)
    rows = [walker.row()]
    for before, after in pairwise(steps):
        walker.advance(float(after - before))
        rows.append(walker.row())
        if report is not None:
            report(f"law: step {after:.0f} of {steps[-1]:.0f}, tr H {rows[-1][1]:.4f}")
    sharpness, floor, quasistatic = (np.array([row[k] for row in rows]) for k in (1, 2, 3))
    relative = walker.error / walker.length if walker.length else 0.0
    theta = torch.stack([row[0] for row in rows])
    return Path(np.asarray(steps, dtype=float), theta, sharpness, floor, quasistatic, relative)


class _Walker:
    """A point on M, the law's speed there, and the length of the next step."""

    def __init__(self, setting: Setting, point: Point, tolerance: float) -> None:
        self.setting, self.point, self.tolerance = setting, point, tolerance
        self.velocity, self.c = drift(setting, point)
        self.stride, self.length, self.error = np.inf, 0.0, 0.0

    def advance(self, span: float) -> None:
        """Move by ``span`` SGD steps."""
        least = span * _LEAST_STRIDE
        while span > 0:
            stride = min(max(self.stride, least), span)
            if self._try(stride, stride <= least):
                span -= stride

    def _try(self, stride: float, force: bool) -> bool:
        """One Heun step if its error is small enough, or forced; sets the next stride either way."""
        euler = self._projected(self.point.theta + stride * self.velocity)
        end, _ = drift(self.setting, euler)
        error = float((end - self.velocity).norm()) * stride / 2
        length = float(self.velocity.norm()) * stride
        relative = error / max(length, 1e-300)
        accepted = force or relative <= self.tolerance
        if accepted:
            self._move(self._projected(self.point.theta + stride / 2 * (self.velocity + end)), error * relative)
        self.stride = stride * float(np.clip(0.8 * self.tolerance / max(relative, 1e-300), 0.2, 3.0))
        return accepted

    def _projected(self, theta: Tensor) -> Point:
        return project(self.setting.f, theta, self.setting.x, self.setting.y)

    def _move(self, point: Point, error: float) -> None:
        self.length += float((point.theta - self.point.theta).norm())
        self.error += error
        self.point = point
        self.velocity, self.c = drift(self.setting, point)

    def row(self) -> tuple[Tensor, float, float, float]:
        """theta, tr H, floor and quasistatic ratio here."""
        n = self.setting.y.shape[0]
        sharpness = float(self.point.k.trace()) / n
        slope = self._sharpness_rate() / sharpness
        relaxation = self.setting.eta * float(torch.linalg.eigvalsh(self.point.k)[0]) / n
        return self.point.theta, sharpness, float(np.trace(self.c)) / (2 * n), abs(slope) / relaxation

    def _sharpness_rate(self) -> float:
        """d tr H/dk = ∇tr H · velocity, from Σ ∇²f g: the same product with the Jacobian's own rows."""
        n, outputs = self.setting.y.shape
        rows = self.point.a.reshape(n, outputs, -1)
        gradient = (2 / n) * weighted_hessians(self.setting.f, self.point.theta, self.setting.x, rows)
        return float(gradient @ self.velocity)
