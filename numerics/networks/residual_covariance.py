"""Stationary covariance of the residuals of a network with C outputs per example, at any learning rate (C2, C9).

A step draws B examples, each with all its C outputs. With q the ``(nC,)`` residual ordered example by example, K the
``(nC, nC)`` tangent kernel and E_b the projector on the outputs of example b,

    q ← q − eta K z,   z = (1/B) Σ_b E_b (q − sigma ξ_b),   ξ_b ~ N(0, I) afresh for every draw.

Conditionally on q, B independent uniform draws give E z = q/n and

    E zzᵀ = (1 − 1/B) n⁻² qqᵀ + (Bn)⁻¹ [blockdiag(qqᵀ) + sigma² I],

since E_b qqᵀ E_b averages to (1/n) blockdiag with one C×C block per example. Stationarity of E qqᵀ = C reads

    (eta/n)(KC + CK) − eta² [(1 − 1/B) n⁻² KCK + (Bn)⁻¹ K blockdiag(C) K] = eta² sigma² (Bn)⁻¹ K².

One output per example (C = 1) is the equation of ``numerics.noise_floor``. In K's eigenbasis everything but the block
diagonal is elementwise, so D = blockdiag(C) solves D = T(D + sigma² I), T symmetric in the Frobenius product:
conjugate gradients on nC² unknowns, four products of (nC, nC) matrices each. The second moment is bounded exactly
while T's spectral radius is below 1 (derived here; Mulayoff, Michaeli 2023 for one output).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, cg, eigsh

from numerics.errors import InputError

Array = NDArray[np.float64]
_TOLERANCE = 1e-12


@dataclass(frozen=True, eq=False)
class Residuals:
    """The linearised SGD of residuals: K ``(nC, nC)``, ``outputs`` = C, learning rate eta, batch size B."""

    K: Array
    outputs: int
    eta: float
    batch: int

    def __post_init__(self) -> None:
        if self.K.ndim != 2 or self.K.shape[0] != self.K.shape[1] or self.K.shape[0] % self.outputs:
            raise InputError("K shape", self.K.shape, f"is not (n·{self.outputs}, n·{self.outputs})", "pass K = A Aᵀ")

    @property
    def n(self) -> int:
        """Number of examples."""
        return int(self.K.shape[0]) // self.outputs

    @cached_property
    def spectrum(self) -> tuple[Array, Array]:
        """Eigenvalues ``(nC,)`` and eigenvectors ``(nC, nC)`` of K."""
        values, vectors = np.linalg.eigh(self.K)
        return values, vectors

    @cached_property
    def decay(self) -> Array:
        """Decay per step ``(nC, nC)`` of the entries of C in the eigenbasis, without the block coupling."""
        values = self.spectrum[0] / self.n
        pairs = np.add.outer(values, values) - self.eta * (1 - 1 / self.batch) * np.outer(values, values)
        return np.asarray(self.eta * pairs)

    def _inner(self, blocks: Array) -> Array:
        """The answer ``(nC, nC)`` to a block-diagonal injection ``(n, C, C)``, in K's eigenbasis."""
        values, vectors = self.spectrum
        injected = vectors.reshape(self.n, self.outputs, -1)
        rotated = vectors.T @ np.matmul(blocks, injected).reshape(vectors.shape)
        return np.asarray(self.eta**2 / (self.batch * self.n) * np.outer(values, values) / self.decay * rotated)

    def respond(self, blocks: Array) -> Array:
        """C ``(nC, nC)`` in answer to a block-diagonal injection ``(n, C, C)`` of label variance."""
        vectors = self.spectrum[1]
        return np.asarray(vectors @ self._inner(blocks) @ vectors.T)

    def feedback(self, blocks: Array) -> Array:
        """T: a block-diagonal injection ``(n, C, C)`` to the block diagonal of its answer, the rest left out."""
        vectors = self.spectrum[1]
        rows = (vectors @ self._inner(blocks)).reshape(self.n, self.outputs, -1)
        return np.asarray(np.matmul(rows, vectors.reshape(rows.shape).transpose(0, 2, 1)))

    @cached_property
    def gain(self) -> float:
        """Spectral radius of T; the second moment is bounded while it is below 1 (C9)."""
        if self.n * self.outputs**2 <= 2:
            return float(max(np.linalg.eigvalsh(self._dense())))
        start = np.broadcast_to(np.eye(self.outputs), (self.n, self.outputs, self.outputs)).ravel()
        top = eigsh(self._operator(self.feedback), k=1, which="LA", v0=start, return_eigenvectors=False, tol=1e-6)
        return float(top[0])

    def _dense(self) -> Array:
        size = self.n * self.outputs**2
        units = np.eye(size).reshape(size, self.n, self.outputs, self.outputs)
        return np.stack([self.feedback(unit).ravel() for unit in units], axis=1)

    def _operator(self, function: Callable[[Array], Array]) -> LinearOperator:
        size, shape = self.n * self.outputs**2, (self.n, self.outputs, self.outputs)
        return LinearOperator((size, size), matvec=lambda v: function(v.reshape(shape)).ravel(), dtype=np.float64)

    def _unstable(self) -> InputError:
        top = float(self.spectrum[0][-1])
        rule = f"is above the mean-square stability limit (eta lambda_max/2 = {self.eta * top / self.n / 2:.3g})"
        return InputError("eta", self.eta, rule, "lower eta or raise the batch size")

    def covariance(self, sigma: float) -> Array:
        """The stationary C ``(nC, nC)`` under fresh label noise of deviation ``sigma`` on every output.

        Raises InputError above the stability limit. T keeps positive matrices positive, so D = T(D + sigma² I) has a
        positive solution exactly while T's spectral radius is below 1: the solution itself tells.
        """
        if self.decay.min() <= 0:
            raise self._unstable()
        unit = np.broadcast_to(np.eye(self.outputs), (self.n, self.outputs, self.outputs))
        source = self.feedback(unit)
        operator = self._operator(lambda blocks: blocks - self.feedback(blocks))
        flat, failed = cg(operator, source.ravel(), rtol=_TOLERANCE, atol=0.0, maxiter=20 * source.size)
        solution = flat.reshape(source.shape)
        if failed or np.linalg.eigvalsh(solution).min() < 0:
            raise self._unstable()
        joined = sigma**2 * self.respond(solution + unit)
        return np.asarray((joined + joined.T) / 2)
