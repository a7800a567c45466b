"""Second moments of the residual under SGD and under its SDE, for the linear model, where both are closed (C14).

C = E[q q^T] is linear in C for each: a matrix power for SGD, a matrix exponential for the SDE. They are the exact
weak errors. At rest the same generator gives the SDE's floor, and near the manifold of minima of any parametrization
the covariance that its drift takes.
"""

import numpy as np
import numpy.typing as npt
from scipy.linalg import expm
from scipy.optimize import brentq

from numerics.errors import InputError

FloatArray = npt.NDArray[np.float64]


def sgd_moment(K: FloatArray, C0: FloatArray, *, eta: float, batch: int, sigma: float, steps: int) -> FloatArray:
    """E[q q^T] ``(n, n)`` after steps of label-noise SGD with D = 1 from E[q q^T] = C0."""
    n = K.shape[0]
    mean = np.eye(n) - eta * K / n
    step = _with_source(np.kron(mean, mean) + eta**2 * _spread(K, batch), eta**2 * _source(K, batch, sigma))
    return _apply(np.linalg.matrix_power(step, steps), C0)


def sde_moment(
    K: FloatArray, C0: FloatArray, *, eta: float, batch: int, sigma: float, time: float, corrected: bool
) -> FloatArray:
    """E[q q^T] ``(n, n)`` at a time of the SDE of learning rate eta; corrected: with the second-order drift."""
    rate = sde_rate(K, eta=eta, batch=batch, corrected=corrected)
    generator = _with_source(rate, eta * _source(K, batch, sigma))
    generator[-1, -1] = 0.0
    return _apply(expm(time * generator), C0)


def sde_rate(K: FloatArray, *, eta: float, batch: int, corrected: bool, step: float = 0.0) -> FloatArray:
    """Matrix ``(n^2, n^2)`` of dC/dt without label noise: -(QC + CQ) + eta spread(C), Q = H or H + (eta/2) H^2.

    With a ``step`` h it is (C after - C)/h of Euler and Maruyama's scheme, which adds h QCQ.
    """
    n, H = K.shape[0], K / K.shape[0]
    drift = H + eta / 2 * H @ H if corrected else H
    eye = np.eye(n)
    linear = step * np.kron(drift, drift) - np.kron(drift, eye) - np.kron(eye, drift)
    return np.asarray(linear + eta * _spread(K, batch))


def sde_rest(
    K: FloatArray, *, eta: float, batch: int, sigma: float, corrected: bool, substeps: float = np.inf
) -> FloatArray:
    """The stationary E[q q^T] ``(n, n)`` of the SDE, or of Euler and Maruyama's scheme in steps of eta/substeps.

    Raises InputError above its stability limit.
    """
    rate = sde_rate(K, eta=eta, batch=batch, corrected=corrected, step=eta / substeps)
    if _growth(rate) >= 0:
        rule = "exceeds the mean-square stability limit of the stochastic differential equation"
        raise InputError("eta", eta, rule, "lower eta or raise the batch size")
    C = np.linalg.solve(rate, -eta * _source(K, batch, sigma).ravel()).reshape(K.shape)
    return np.asarray((C + C.T) / 2)


def sde_limit(K: FloatArray, *, batch: int, corrected: bool, substeps: float = np.inf) -> float:
    """The eta at which the SDE's second moment stops being bounded; infinite where the drift always wins.

    With substeps, that of Euler and Maruyama's scheme: (C after - C)/step grows where a step's map does, whose largest
    eigenvalue is real.
    """

    def growth(eta: float) -> float:
        return _growth(sde_rate(K, eta=eta, batch=batch, corrected=corrected, step=eta / substeps))

    low = 1e-3 * K.shape[0] / float(np.linalg.eigvalsh(K)[-1])
    grid = low * np.geomspace(1, 1e6, 61)
    first = next((i for i, eta in enumerate(grid) if growth(float(eta)) >= 0), None)
    if first is None:
        return float("inf")
    return float(brentq(growth, grid[first - 1] if first else 0.0, grid[first], xtol=1e-14, rtol=1e-10))


def _growth(rate: FloatArray) -> float:
    """Largest real part of the eigenvalues."""
    return float(np.linalg.eigvals(rate).real.max())


def _spread(K: FloatArray, batch: int) -> FloatArray:
    """Matrix of C -> (1/B)[K diag(C) K/n - K C K/n^2], the covariance that drawing rows gives to a step."""
    n = K.shape[0]
    own = np.arange(n) * (n + 1)
    diagonal = np.zeros((n * n, n * n))
    diagonal[own, own] = 1.0
    return np.asarray(np.kron(K, K) @ (diagonal / n - np.eye(n * n) / n**2) / batch)


def _source(K: FloatArray, batch: int, sigma: float) -> FloatArray:
    return np.asarray(sigma**2 / (batch * K.shape[0]) * K @ K)


def _with_source(linear: FloatArray, source: FloatArray) -> FloatArray:
    """The affine map as a matrix on (C, 1)."""
    size = linear.shape[0]
    whole = np.eye(size + 1)
    whole[:size, :size], whole[:size, size] = linear, source.ravel()
    return whole


def _apply(matrix: FloatArray, C0: FloatArray) -> FloatArray:
    n = C0.shape[0]
    return np.asarray((matrix @ np.append(C0.ravel(), 1.0))[:-1].reshape(n, n))
