"""The minima manifold M = {theta : f(theta, x) = y}: reaching it and returning to it by minimum-norm Newton steps."""

from dataclasses import dataclass

import torch
from torch import Tensor

from numerics.errors import InputError
from numerics.networks.curvature import Function, jacobian


@dataclass(frozen=True)
class Point:
    """A point on M with what the law needs there: theta ``(p,)``, Jacobian A ``(nC, p)``, K = A Aᵀ ``(nC, nC)``."""

    theta: Tensor
    a: Tensor
    k: Tensor


def residual(f: Function, theta: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """q = f − y, flattened to ``(nC,)``."""
    return (f(theta, x) - y).reshape(-1)


def project(f: Function, theta: Tensor, x: Tensor, y: Tensor, *, tolerance: float = 1e-11, steps: int = 100) -> Point:
    """The point of M near theta ``(p,)``: theta ← theta − s Aᵀ K⁻¹ q until max |q| ≤ ``tolerance``.

    s halves until the residual shrinks, so far starts converge too; while the residual shrinks tenfold a step, A and K
    are kept. Near M a step moves theta along the normal space alone. Raises InputError when the network has fewer
    weights than outputs to fit, or no step helps.
    """
    if theta.numel() <= y.numel():
        rule = f"is not above the {y.numel()} outputs to interpolate"
        raise InputError("parameters p", theta.numel(), rule, "widen the network or train on fewer examples")
    q = residual(f, theta, x, y)
    for _ in range(steps):
        point = _point(f, theta, x)
        if float(q.abs().max()) <= tolerance:
            return point
        theta, q = _newton_steps(f, point, q, x, y, tolerance)
    raise InputError("projection steps", steps, f"leave a residual of {float(q.abs().max()):.2g}", "train longer first")


def _point(f: Function, theta: Tensor, x: Tensor) -> Point:
    a = jacobian(f, theta, x)
    return Point(theta, a, a @ a.T)


def _newton_steps(
    f: Function, point: Point, q: Tensor, x: Tensor, y: Tensor, tolerance: float
) -> tuple[Tensor, Tensor]:
    """One damped minimum-norm step from ``point``, and full ones with its A and K while they serve; theta and q."""
    factor, info = torch.linalg.cholesky_ex(point.k)
    if int(info):
        raise InputError("tangent kernel K", int(info), "is singular (leading minor)", "widen the network")

    def step(theta: Tensor, q: Tensor, share: float) -> tuple[Tensor, Tensor]:
        moved = theta - share * (point.a.T @ torch.cholesky_solve(q[:, None], factor)[:, 0])
        return moved, residual(f, moved, x, y)

    theta, before = point.theta, q
    tried = (step(theta, before, 0.5**halvings) for halvings in range(30))
    theta, q = next((pair for pair in tried if float(pair[1].norm()) < float(before.norm())), (theta, before))
    if q is before:
        raise InputError("residual", float(q.abs().max()), "does not shrink along Newton's step", "train longer first")
    while float(q.abs().max()) > tolerance:
        further, after = step(theta, q, 1.0)
        if not float(after.norm()) < 0.1 * float(q.norm()):
            break
        theta, q = further, after
    return theta, q


def tangent(point: Point, v: Tensor) -> Tensor:
    """P_T v = v − Aᵀ K⁻¹ A v for v ``(p,)``."""
    factor = torch.linalg.cholesky(point.k)
    return v - point.a.T @ torch.cholesky_solve((point.a @ v)[:, None], factor)[:, 0]
