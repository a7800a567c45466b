"""Euler-Maruyama for the stochastic differential equation of label-noise SGD, any parametrization. Knows no law."""

import numpy as np
from numba import njit

from numerics.kernels.linear import add, dot
from numerics.streams import BLOCKS, NOTHING, refill, workspace

# isort: split
# BEGIN FORMULAS: radial, replaced by numerics.specialise
from numerics.kernels.gradient import drift
from numerics.kernels.map_radial import predict, pull

# END FORMULAS


@njit(cache=True, nogil=True, error_model="numpy")
def advance(states, replicas, X, y, times, eta, corrected, batch, sigma, limit, key, purpose, first_step):
    """Advance states u ``(R, p)`` in place by steps of length times ``(steps,)``, the first of them number first_step.

    du = -grad L dt + sqrt(eta) Sigma^(1/2) dW with Sigma = (1/B)[(1/n) sum_i (e_i^2 + sigma^2) g_i g_i^T - grad L
    grad L^T]; corrected: the drift is -grad(L + (eta/4)|grad L|^2). The noise is sum_i c_i g_i with n normals: c =
    a (I - kappa v v^T) xi, a_i^2 = (e_i^2 + sigma^2)/n, v along e_i/(n a_i), which has the covariance diag(a^2) - e
    e^T/n^2.
    """
    n, d = X.shape
    size = states.shape[1]
    window, words, scratch, normals = workspace(1)
    e, a, v, c, spare = np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    w, together, plane = np.empty(d), np.empty(d), np.empty((2, d))
    move, force, moved, other = np.empty(size), np.empty(size), np.empty(size), np.empty(size)
    for i in range(states.shape[0]):
        u = states[i]
        window[0] = NOTHING
        for k in range(times.size):
            if not predict(u, limit, w):
                u[:] = np.nan
                break
            share = 0.0
            for b in range(n):
                e[b] = dot(X[b], w) - y[b]
                a[b] = np.sqrt((e[b] * e[b] + sigma * sigma) / n)
                v[b] = e[b] / (n * a[b]) if a[b] > 0.0 else 0.0
                share += v[b] * v[b]
            for b in range(n):
                t = (first_step + k) * n + b
                j = (t >> 1) - window[0]
                if j < 0 or j >= BLOCKS:
                    refill(t, 0, key, purpose, replicas[i], window, words, scratch, normals)
                    j = 0
                c[b] = normals[0, t & 1, j]
            keep = (1.0 - np.sqrt(max(0.0, 1.0 - share))) / share if share > 0.0 else 0.0
            along = keep * dot(v, c)
            root = np.sqrt(times[k] * eta / batch)
            together[:] = 0.0
            for b in range(n):
                weight = root * a[b] * (c[b] - along * v[b]) - (0.0 if corrected else times[k] * e[b] / n)
                for m in range(d):
                    together[m] += weight * X[b, m]
            pull(u, together, move)
            if corrected:
                drift(u, X, y, eta, corrected, plane, spare, force, moved, other)
                add(move, times[k], force)
            for m in range(size):
                u[m] += move[m]
