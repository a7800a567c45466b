"""Euler-Maruyama for the stochastic differential equation of label-noise SGD, any parametrization. Knows no law."""

import numpy as np
from numba import njit

from numerics.kernels.linear import add, dot
from numerics.streams import BLOCKS, NOTHING, fill

# isort: split
# BEGIN FORMULAS: radial, replaced by numerics.specialise
from numerics.kernels.gradient import drift
from numerics.kernels.map_radial import predict, pull

# END FORMULAS


@njit(cache=True, nogil=True, error_model="numpy")
def step(u, X, y, h, eta, corrected, batch, sigma, normal, rows, planes, sizes):
    """Advance u ``(p,)`` in place by time h with normals ``(n,)``.

    planes[0] holds F(u); rows ``(4, n)``, planes ``(4, d)`` and sizes ``(4, p)`` are room to work in.
    """
    n, d, w, together = y.size, X.shape[1], planes[0], planes[1]
    e, a, v, move = rows[0], rows[1], rows[2], sizes[0]
    share = 0.0
    for b in range(n):
        e[b] = dot(X[b], w) - y[b]
        a[b] = np.sqrt((e[b] * e[b] + sigma * sigma) / n)
        v[b] = e[b] / (n * a[b]) if a[b] > 0.0 else 0.0
        share += v[b] * v[b]
    keep = (1.0 - np.sqrt(max(0.0, 1.0 - share))) / share if share > 0.0 else 0.0
    along = keep * dot(v, normal)
    root = np.sqrt(h * eta / batch)
    together[:] = 0.0
    for b in range(n):
        weight = root * a[b] * (normal[b] - along * v[b]) - (0.0 if corrected else h * e[b] / n)
        for m in range(d):
            together[m] += weight * X[b, m]
    pull(u, together, move)
    if corrected:
        drift(u, X, y, eta, corrected, planes[2:], rows[3], sizes[1], sizes[2], sizes[3])
        add(move, h, sizes[1])
    for m in range(u.size):
        u[m] += move[m]


@njit(cache=True, nogil=True, error_model="numpy")
def advance(states, replicas, X, y, times, eta, corrected, batch, sigma, limit, key, purpose, first_step):
    """Advance states u ``(R, p)`` in place by steps of length times ``(steps,)``, the first of them number first_step.

    du = -grad L dt + sqrt(eta) Sigma^(1/2) dW with Sigma = (1/B)[(1/n) sum_i (e_i^2 + sigma^2) g_i g_i^T - grad L
    grad L^T]; corrected: the drift is -grad(L + (eta/4)|grad L|^2). The noise is sum_i c_i g_i with n normals: c =
    a (I - kappa v v^T) xi, a_i^2 = (e_i^2 + sigma^2)/n, v along e_i/(n a_i), which has the covariance diag(a^2) - e
    e^T/n^2.
    """
    n, size = y.size, states.shape[1]
    words, normals = np.empty((4, BLOCKS), np.uint64), np.empty((4, BLOCKS))
    normal, rows, planes, sizes = np.empty(n), np.empty((4, n)), np.empty((4, X.shape[1])), np.empty((4, size))
    for i in range(states.shape[0]):
        u = states[i]
        window = NOTHING
        for k in range(times.size):
            if not predict(u, limit, planes[0]):
                u[:] = np.nan
                break
            for b in range(n):
                t = (first_step + k) * n + b
                if not 0 <= (t >> 2) - window < BLOCKS:
                    window = t >> 2
                    fill(key[0], key[1], purpose, replicas[i], window, words, normals)
                normal[b] = normals[t & 3, (t >> 2) - window]
            step(u, X, y, times[k], eta, corrected, batch, sigma, normal, rows, planes, sizes)
