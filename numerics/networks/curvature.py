"""Curvature of any torch network on one data set: Jacobian, tangent kernel, tr H, top eigenvalues.

Everything is an exact Jacobian or Hessian product of ``torch.func``; there are no finite differences. Outputs of n
examples with C outputs each are ordered example by example: row i·C + c belongs to output c of example i.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import grad, jacrev, jvp, vjp, vmap

from numerics.errors import InputError
from numerics.networks.draws import Purpose, generator
from numerics.networks.losses import Loss

Function = Callable[[Tensor, Tensor], Tensor]
Product = Callable[[Tensor], Tensor]
#: vectors multiplied at a time: bounds the memory to this many copies of the activations
_CHUNK = 64


@dataclass(frozen=True)
class Estimate:
    """A mean over random probes and its standard error."""

    value: float
    sem: float
    probes: int


def jacobian(f: Function, theta: Tensor, x: Tensor) -> Tensor:
    """A ``(nC, p)``: row i·C + c is the gradient of output c of example i at theta ``(p,)``."""

    def outputs(weights: Tensor, example: Tensor) -> Tensor:
        return f(weights, example[None])[0]

    per_example: Callable[[Tensor, Tensor], Tensor] = vmap(jacrev(outputs), in_dims=(None, 0))
    return per_example(theta, x).reshape(-1, theta.numel())


def tangent_kernel(f: Function, theta: Tensor, x: Tensor) -> Tensor:
    """K = A Aᵀ ``(nC, nC)``."""
    a = jacobian(f, theta, x)
    return a @ a.T


def sharpness(f: Function, theta: Tensor, x: Tensor) -> Tensor:
    """tr H = tr K / n of the squared loss (1/2n) Σ ‖f_i − y_i‖² where f interpolates: the Gauss–Newton trace."""
    return jacobian(f, theta, x).square().sum() / x.shape[0]


def hessian_product(f: Function, loss: Loss, x: Tensor, y: Tensor, theta: Tensor) -> Product:
    """v ``(p,)`` ↦ H v, H the Hessian of loss(f(·, x), y) at theta."""
    gradient = grad(lambda weights: loss(f(weights, x), y))
    return lambda v: jvp(gradient, (theta,), (v,))[1]


def gauss_newton_product(f: Function, loss: Loss, x: Tensor, y: Tensor, theta: Tensor) -> Product:
    """v ``(p,)`` ↦ Jᵀ (∇²loss) J v: the Hessian without the networks' own second derivatives."""
    outputs, pull = cast(tuple[Tensor, Callable[[Tensor], tuple[Tensor]]], vjp(lambda weights: f(weights, x), theta))
    slope = grad(lambda values: loss(values, y))

    def product(v: Tensor) -> Tensor:
        tangent = jvp(lambda weights: f(weights, x), (theta,), (v,))[1]
        (result,) = pull(jvp(slope, (outputs,), (tangent,))[1])
        return result

    return product


def trace_exact(product: Product, like: Tensor) -> float:
    """The trace of a linear map from p products with unit vectors; ``like (p,)`` gives size and precision."""
    columns = vmap(product, chunk_size=_CHUNK)(torch.eye(like.numel(), dtype=like.dtype))
    return float(columns.trace())


def trace_hutchinson(product: Product, like: Tensor, *, probes: int, seed: int) -> Estimate:
    """Hutchinson's estimate of a trace: the mean of zᵀ(Hz) over ``probes`` random sign vectors z, ± standard error.

    Raises InputError below 2 probes, which leave no standard error. Source: Hutchinson 1990.
    """
    if probes < 2:
        raise InputError("probes", probes, "leaves no standard error", "use at least 2")
    signs = generator(seed, Purpose.PROBE).integers(0, 2, size=(probes, like.numel())) * 2 - 1
    probed = torch.as_tensor(signs, dtype=like.dtype)
    values = (probed * vmap(product, chunk_size=_CHUNK)(probed)).sum(dim=1).double().numpy()
    return Estimate(float(values.mean()), float(values.std(ddof=1) / np.sqrt(probes)), probes)


def top_eigenvalues(product: Product, like: Tensor, *, count: int, iterations: int, seed: int) -> NDArray[np.float64]:
    """The ``count`` largest eigenvalues of a symmetric map, descending: Lanczos, fully reorthogonalised.

    ``iterations`` of them (at most p) bound the work; accurate once it is a few times ``count``.
    Raises InputError unless 1 ≤ count ≤ iterations.
    """
    if not 1 <= count <= iterations:
        raise InputError("eigenvalue count", count, f"must lie in 1 … {iterations}", "raise iterations or lower count")
    start = generator(seed, Purpose.PROBE, stream=1).standard_normal(like.numel())
    diagonal, off = _lanczos(product, torch.as_tensor(start, dtype=like.dtype), min(iterations, like.numel()))
    ritz = np.linalg.eigvalsh(np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1))
    return ritz[::-1][:count].copy()


def _lanczos(product: Product, v: Tensor, iterations: int) -> tuple[list[float], list[float]]:
    """Diagonal and off-diagonal of the tridiagonal matrix; stops early on an invariant subspace."""
    basis, diagonal, off = [v / v.norm()], [], []
    for _ in range(iterations):
        w = product(basis[-1])
        diagonal.append(float(w @ basis[-1]))
        known = torch.stack(basis)
        for _ in range(2):  # once leaves rounding errors that grow into copies of the top eigenvalue
            w = w - known.T @ (known @ w)
        size = float(w.norm())
        if size <= 1e-10 * max(map(abs, diagonal)) or len(diagonal) == iterations:
            break
        off.append(size)
        basis.append(w / size)
    return diagonal, off
