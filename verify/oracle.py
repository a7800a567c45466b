"""Definitions, written out a second time without the package's own derivations: what predictions and simulators are
held against.

Slow and plain. Nothing here imports a law or a kernel; depth enters as w = |u|^(D-1) u and nothing else.
"""

from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.integrate import solve_ivp

from numerics import streams

FloatArray = npt.NDArray[np.float64]


def predictor(u: FloatArray, depth: float) -> FloatArray:
    """w = |u|^(D-1) u for u ``(..., d)``; complex for complex steps."""
    return np.asarray(np.sqrt(np.sum(u**2, axis=-1, keepdims=True)) ** (depth - 1) * u)


def jacobian(u: FloatArray, depth: float) -> FloatArray:
    """J ``(d, d)`` of w = F(u) by complex steps, exact to rounding."""
    return np.asarray(predictor(u + 1e-30j * np.eye(u.size), depth).imag.T * 1e30)


def tangent_kernel(X: FloatArray, u: FloatArray, depth: float) -> FloatArray:
    """K = X J J^T X^T ``(n, n)``."""
    A = X @ jacobian(u, depth)
    return A @ A.T


def train_gradient(X: FloatArray, y: FloatArray, u: FloatArray, depth: float) -> FloatArray:
    """Gradient of (1/2n)|X F(u) - y|^2, ``(d,)``."""
    return (X @ jacobian(u, depth)).T @ (X @ predictor(u, depth) - y) / y.size


def train_hessian(X: FloatArray, y: FloatArray, u: FloatArray, depth: float, *, step: float = 1e-5) -> FloatArray:
    """Hessian ``(d, d)`` by central differences of the gradient."""
    h = step * np.linalg.norm(u)
    rows = [
        (train_gradient(X, y, u + h * e, depth) - train_gradient(X, y, u - h * e, depth)) / (2 * h)
        for e in np.eye(u.size)
    ]
    return (np.array(rows) + np.array(rows).T) / 2


def gradient_flow(X: FloatArray, y: FloatArray, u: FloatArray, depth: float, times: FloatArray) -> FloatArray:
    """u(t) ``(times, d)`` along du/dt = -grad L."""
    flow = solve_ivp(
        lambda _, v: -train_gradient(X, y, v, depth),
        (0, times[-1]),
        u,
        t_eval=times,
        method="LSODA",
        rtol=1e-11,
        atol=1e-14,
    )
    return np.asarray(flow.y.T)


def second_moment_map(K: FloatArray, eta: float, batch: int) -> FloatArray:
    """Matrix ``(n^2, n^2)`` of C -> E[q q^T] after one step of linearised SGD without label noise, from the definition.

    q' = q - (eta/B) sum_b K e_b q_b with b uniform: the mean over two independent draws and over one draw twice.
    """
    n = K.shape[0]
    single = [np.outer(K[:, i], np.eye(n)[i]) for i in range(n)]  # q' = q - eta * single_b q for B = 1
    mean = np.eye(n) - eta * sum(single) / n
    spread = sum(np.kron(m, m) for m in single) / n - np.kron(sum(single) / n, sum(single) / n)
    return np.kron(mean, mean) + eta**2 / batch * spread


def stationary_covariance(K: FloatArray, eta: float, batch: int, sigma: float) -> FloatArray:
    """C ``(n, n)``: the fixed point of the map with label noise, solved in all n^2 unknowns."""
    n = K.shape[0]
    source = eta**2 * sigma**2 / (batch * n) * K @ K
    C = np.linalg.solve(np.eye(n * n) - second_moment_map(K, eta, batch), source.ravel())
    return C.reshape(n, n)


def spectral_radius(K: FloatArray, eta: float, batch: int) -> float:
    """Largest modulus of the eigenvalues of the second-moment map."""
    return float(np.abs(np.linalg.eigvals(second_moment_map(K, eta, batch))).max())


def sgd_path(
    X: FloatArray,
    y: FloatArray,
    u: FloatArray,
    depth: float,
    *,
    etas: FloatArray,
    batch: int,
    sigma: float,
    seed: int,
    replica: int,
    first_step: int = 0,
) -> FloatArray:
    """Label-noise SGD ``(steps + 1, d)`` from its definition, on the draws that the kernels are addressed to."""
    normals, words = streams.samples(
        seed=seed, purpose="sgd", replica=replica, first=first_step * batch, count=len(etas) * batch
    )
    rows = (words * np.uint64(y.size)) >> np.uint64(32)
    path = [np.array(u, float)]
    for k, eta in enumerate(etas):
        drawn = slice(k * batch, (k + 1) * batch)
        b = rows[drawn].astype(int)
        A = X[b] @ jacobian(path[-1], depth)
        residual = X[b] @ predictor(path[-1], depth) - y[b] - sigma * normals[drawn]
        path.append(path[-1] - eta / batch * residual @ A)
    return np.array(path)


def distinct_moment_step(C: FloatArray, K: FloatArray, eta: float, batch: int, sigma: float) -> FloatArray:
    """E of the next q q^T given E q q^T = C, over every set of ``batch`` distinct rows, from the definition."""
    sets = list(combinations(range(len(K)), batch))
    return sum((_batch_step(C, K, rows, eta, sigma) for rows in sets), np.zeros_like(K)) / len(sets)


def _batch_step(C: FloatArray, K: FloatArray, rows: tuple[int, ...], eta: float, sigma: float) -> FloatArray:
    """E of the next q q^T after a step on these rows: q' = q - (eta/B) sum_i K e_i (q_i - sigma xi_i)."""
    drawn, rate = list(rows), eta / len(rows)
    P = np.eye(len(K)) - rate * K[:, drawn] @ np.eye(len(K))[drawn]
    return np.asarray(P @ C @ P.T + (rate * sigma) ** 2 * K[:, drawn] @ K[:, drawn].T)


def epoch_moments(
    C: FloatArray, K: FloatArray, eta: float, batch: int, sigma: float
) -> list[dict[frozenset[int], FloatArray]]:
    """E[q q^T | set of rows already drawn] before each batch of an epoch and at its end, from E q q^T = C at its start.

    The last batch is each subset of the set as likely as another: a recursion over 2^n sets in place of n! orders.
    """
    stages = [{frozenset[int](): C}]
    for _ in range(len(K) // batch):
        found: dict[frozenset[int], list[FloatArray]] = {}
        for used, moment in stages[-1].items():
            for rows in combinations(sorted(set(range(len(K))) - used), batch):
                found.setdefault(used | set(rows), []).append(_batch_step(moment, K, rows, eta, sigma))
        stages.append({used: np.mean(moments, axis=0) for used, moments in found.items()})
    return stages


def epoch_transfer(K: FloatArray, eta: float, batch: int) -> FloatArray:
    """E q q^T ``(n^2,)`` at an epoch's end from that at its start, without label noise, as a matrix ``(n^2, n^2)``."""
    n = len(K)
    ends = [epoch_moments(unit.reshape(n, n), K, eta, batch, 0.0)[-1] for unit in np.eye(n * n)]
    return np.array([end[frozenset(range(n))].ravel() for end in ends]).T


def epoch_radius(K: FloatArray, eta: float, batch: int) -> float:
    """Spectral radius of an epoch: the second moment is bounded below 1."""
    return float(np.abs(np.linalg.eigvals(epoch_transfer(K, eta, batch))).max())


def epoch_stationary(K: FloatArray, eta: float, batch: int, sigma: float) -> tuple[FloatArray, FloatArray]:
    """At rest: E q q^T averaged over the batches, and E[q q_i | row i drawn] in column i."""
    n = len(K)
    left = epoch_moments(np.zeros((n, n)), K, eta, batch, sigma)[-1][frozenset(range(n))]
    start = np.linalg.solve(np.eye(n * n) - epoch_transfer(K, eta, batch), left.ravel()).reshape(n, n)
    stages = epoch_moments(start, K, eta, batch, sigma)[:-1]
    seen = np.zeros((n, n))
    for stage in stages:
        for used, moment in stage.items():
            rest = sorted(set(range(n)) - used)
            seen[:, rest] += moment[:, rest] * batch / len(rest) / len(stage)
    mean = np.mean([np.mean(list(stage.values()), axis=0) for stage in stages], axis=0)
    return mean, seen
