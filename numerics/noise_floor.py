"""Fluctuations of the residual around the manifold of minima, at any learning rate (C2, C9).

With the tangent-kernel Gram matrix K ``(n, n)`` the residual q has the stationary covariance C that solves

    (eta/n)(KC + CK) - eta^2 [(1 - 1/B) n^-2 KCK + (Bn)^-1 K diag(C) K] = eta^2 sigma^2 (Bn)^-1 K^2.

In the eigenbasis of K only diag(C) couples the entries, so n unknowns remain instead of n^2:
C = U (W o U^T diag(c + sigma^2) U) U^T with c = diag(C), W_ij = rate_ij / gap_ij. Derived in `theory.noise_floor`.

Batches drawn without replacement multiply what the choice of rows adds, not what the label noise adds, by the
finite-population factor f = (n - B)/(n - 1): 1 - f/B for 1 - 1/B, f K diag(C) K for K diag(C) K. Derived in
`theory.sampling`.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from numerics import inputs
from numerics.errors import InputError
from numerics.scalar_search import root

FloatArray = npt.NDArray[np.float64]

#: above this many residuals the diagonal's system is solved by conjugate gradients: forming it costs n^4
DENSE_LIMIT = 80
#: the largest of n eigenvalues counts as zero below this fraction: its directions carry no dynamics
_CG_TOLERANCE = 1e-13


def _require(K: FloatArray, eta: float, batch: int) -> None:
    """Raises InputError for a K that is not square or not finite, a negative eta, a batch below 1."""
    inputs.kernel(K)
    inputs.not_negative("eta", eta)
    inputs.whole("batch", batch)


@dataclass(frozen=True, eq=False)
class Fluctuations:
    """The second moment of the residual under linearised SGD at Gram matrix K, learning rate eta and batch size.

    ``finite`` is the finite-population factor: 1 with replacement, `without_replacement` of n and B without. At
    eta = 0, where schedules may end, nothing fluctuates. Raises InputError for a K that is not square or not finite, a
    negative eta, a batch below 1.
    """

    K: FloatArray
    eta: float
    batch: int
    finite: float = 1.0

    def __post_init__(self) -> None:
        _require(self.K, self.eta, self.batch)

    @property
    def n(self) -> int:
        """Number of residuals."""
        return int(self.K.shape[0])

    @cached_property
    def spectrum(self) -> tuple[FloatArray, FloatArray]:
        """Eigenvalues ``(n,)`` and eigenvectors ``(n, n)`` (columns) of K."""
        values, vectors = np.linalg.eigh(self.K)
        return values, vectors

    @cached_property
    def decay(self) -> FloatArray:
        """gap_ij ``(n, n)``: decay per step of the entries of C in the eigenbasis, coupling aside."""
        values = self.spectrum[0] / self.n
        pair = np.add.outer(values, values) - self.eta * (1 - self.finite / self.batch) * np.outer(values, values)
        return np.asarray(self.eta * pair)

    @cached_property
    def response(self) -> FloatArray:
        """W_ij ``(n, n)``: what a unit of variance injected on the labels leaves in C in the eigenbasis."""
        values = self.spectrum[0]
        return np.asarray(self.eta**2 / (self.batch * self.n) * np.outer(values, values) / self.decay)

    @cached_property
    def feedback(self) -> FloatArray:
        """M ``(n, n)``, symmetric: diag(C) = M (f diag(C) + sigma^2). Stable while f M's eigenvalues are below 1."""
        vectors = self.spectrum[1]
        pairs = (vectors[:, None, :] * vectors[None, :, :]).reshape(self.n**2, self.n)
        return np.asarray(np.sum((pairs @ self.response) * pairs, axis=1).reshape(self.n, self.n))

    def _diagonal_response(self, variances: FloatArray) -> FloatArray:
        """M @ variances in O(n^3), without forming M."""
        vectors = self.spectrum[1]
        inner = self.response * ((vectors.T * variances) @ vectors)
        return np.asarray(np.sum((vectors @ inner) * vectors, axis=1))

    @cached_property
    def feedback_gain(self) -> float:
        """Largest eigenvalue of M."""
        if self.n <= DENSE_LIMIT:
            return float(np.linalg.eigvalsh(self.feedback)[-1])
        from scipy.sparse.linalg import LinearOperator, eigsh

        operator = LinearOperator((self.n, self.n), matvec=self._diagonal_response, dtype=np.float64)
        top = eigsh(operator, k=1, which="LA", v0=np.ones(self.n), return_eigenvectors=False)
        return float(top[0])

    @property
    def stable(self) -> bool:
        """Whether the second moment stays bounded (C9)."""
        return self.eta == 0 or bool(self.decay.min() > 0 and self.finite * self.feedback_gain < 1)

    def _diagonal(self, source: FloatArray) -> FloatArray:
        """c with c = f M c + source."""
        if self.n <= DENSE_LIMIT:
            return np.asarray(np.linalg.solve(np.eye(self.n) - self.finite * self.feedback, source))
        from scipy.sparse.linalg import LinearOperator, cg

        operator = LinearOperator(
            (self.n, self.n), matvec=lambda c: c - self.finite * self._diagonal_response(c), dtype=np.float64
        )
        solution, failed = cg(operator, source, rtol=_CG_TOLERANCE, atol=0.0, maxiter=20 * self.n)
        if failed:
            raise ArithmeticError("conjugate gradients did not converge: eta is too close to the stability limit")
        return np.asarray(solution)

    def _assemble(self, own: FloatArray, diagonal: FloatArray) -> FloatArray:
        """U (own + W o U^T diag U) U^T, symmetric."""
        vectors = self.spectrum[1]
        C = vectors @ (own + self.response * ((vectors.T * diagonal) @ vectors)) @ vectors.T
        return np.asarray((C + C.T) / 2)

    def covariance(self, sigma: float) -> FloatArray:
        """The stationary C ``(n, n)`` under fresh label noise of standard deviation sigma. Linear in sigma^2.

        Raises InputError above the stability limit.
        """
        inputs.not_negative("sigma", sigma)
        if self.eta == 0:
            return np.zeros_like(self.K)
        self.require_stable()
        noise = np.full(self.n, sigma**2)
        return self._assemble(
            np.zeros_like(self.K), self.finite * self._diagonal(self._diagonal_response(noise)) + noise
        )

    def accumulated(self, source: FloatArray) -> FloatArray:
        """Sum over all later steps of what a symmetric perturbation ``(n, n)`` of C leaves in it."""
        if not source.any():  # at eta = 0, where nothing decays, too
            return np.zeros_like(self.K)
        vectors = self.spectrum[1]
        own = (vectors.T @ source @ vectors) / self.decay
        return self._assemble(own, self.finite * self._diagonal(np.sum((vectors @ own) * vectors, axis=1)))

    def require_stable(self) -> None:
        """Raise InputError above the mean-square stability limit."""
        if not self.stable:
            limit = stability_limit(self.K, batch=self.batch, finite=self.finite)
            rule = f"exceeds the mean-square stability limit {limit:.6g} of this problem"
            raise InputError("eta", self.eta, rule, "lower eta or raise the batch size")


def stationary_covariance(K: FloatArray, *, eta: float, batch: int, sigma: float) -> FloatArray:
    """C ``(n, n)`` of C2. Raises InputError above the stability limit."""
    return Fluctuations(K, eta, batch).covariance(sigma)


def floor(K: FloatArray, *, eta: float, batch: int, sigma: float) -> float:
    """Mean train loss on the manifold, tr C / 2n (C2)."""
    return float(np.trace(stationary_covariance(K, eta=eta, batch=batch, sigma=sigma)) / (2 * K.shape[0]))


def floor_small_eta(K: FloatArray, *, eta: float, batch: int, sigma: float) -> float:
    """The small-eta limit eta sigma^2 tr H / 4B of the floor, with tr H = tr K / n."""
    _require(K, eta, batch)
    inputs.not_negative("sigma", sigma)
    return float(eta * sigma**2 * np.trace(K) / (4 * batch * K.shape[0]))


def without_replacement(n: int, batch: int) -> float:
    """The finite-population factor (n - B)/(n - 1) of batches of B distinct rows; 0 for the full batch.

    Raises InputError for B > n.
    """
    if batch > n:
        raise InputError("batch", batch, f"exceeds the {n} rows", "lower it, or draw with replacement")
    return (n - batch) / (n - 1) if n > 1 else 0.0


def stability_limit(K: FloatArray, *, batch: int, finite: float = 1.0) -> float:
    """The learning rate at which the second moment of the residual stops being bounded (C9).

    Every entry of W, hence every eigenvalue of M, grows with eta up to the pole 2n / (lambda_max (1 - f/B)), so the
    limit is the one eta at which f M's largest eigenvalue is 1. Rises with B (Mulayoff, Michaeli 2023).
    """
    inputs.kernel(K)
    inputs.whole("batch", batch)
    n, top = K.shape[0], float(np.linalg.eigvalsh(K)[-1])
    unit = float(Fluctuations(K, n / top, 1).feedback_gain * top / n)  # at B = f = 1, M is proportional to eta
    if batch == 1 and finite == 1:
        return 1 / unit
    pole = 2 * n / (top * (1 - finite / batch))
    high = pole * (1 - 1e-12)

    def excess(eta: float) -> float:
        return finite * Fluctuations(K, eta, batch, finite).feedback_gain - 1

    if excess(high) < 0:
        return float(high)
    low = min(1 / unit, high / 2)
    return root(excess, low, high, xtol=1e-15, rtol=1e-12)
