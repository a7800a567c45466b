"""Euler-Maruyama for the stochastic differential equation of label-noise SGD, F(u) = g(|u|) u. Knows no law."""

import numpy as np
from numba import njit

from numerics.kernels.linear import dot
from numerics.streams import BLOCKS, NOTHING, refill, workspace

# BEGIN FORMULAS: depth 3, replaced by numerics.specialise


@njit(cache=True, error_model="numpy")
def gain(q):
    """g(sqrt q)."""
    return q


@njit(cache=True, error_model="numpy")
def gain_slope(q):
    """g'(r) / r at r = sqrt q."""
    return 2.0


# END FORMULAS


@njit(cache=True, nogil=True, error_model="numpy")
def gradient(u, X, y, residual, out):
    """Gradient of L into out ``(d,)``, and the residual ``(n,)``; returns g'(r)/r and g."""
    n, d = X.shape
    q = dot(u, u)
    level, slope = gain(q), gain_slope(q)
    out[:] = 0.0
    for i in range(n):
        score = dot(X[i], u)
        residual[i] = level * score - y[i]
        weight = residual[i] / n
        for a in range(d):
            out[a] += weight * (level * X[i, a] + slope * score * u[a])
    return level, slope


@njit(cache=True, nogil=True, error_model="numpy")
def advance(states, replicas, X, y, times, eta, corrected, batch, sigma, limit, key, purpose, first_step):
    """Advance states u ``(R, d)`` in place by steps of length times ``(steps,)``, the first of them number first_step.

    du = -grad L dt + sqrt(eta) Sigma^(1/2) dW with Sigma = (1/B)[(1/n) sum_i (e_i^2 + sigma^2) g_i g_i^T - grad L
    grad L^T]; corrected: the drift is -grad(L + (eta/4)|grad L|^2). The noise is sum_i c_i g_i with n normals: c =
    a (I - kappa v v^T) xi, a_i^2 = (e_i^2 + sigma^2)/n, v along e_i/(n a_i), which has the covariance diag(a^2) - e
    e^T/n^2.
    """
    n, d = X.shape
    window, words, scratch, normals = workspace(1)
    e, spare, a, v, c = np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    force, ahead, behind, moved = np.empty(d), np.empty(d), np.empty(d), np.empty(d)
    for i in range(states.shape[0]):
        u = states[i]
        window[0] = NOTHING
        for k in range(times.size):
            if not 0.0 <= dot(u, u) <= limit:
                u[:] = np.nan
                break
            level, slope = gradient(u, X, y, e, force)
            share = 0.0
            for b in range(n):
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
            size = np.sqrt(times[k] * eta / batch)
            if corrected:
                h = 1e-5 * np.sqrt(dot(u, u) / max(dot(force, force), 1e-300))
                for m in range(d):
                    moved[m] = u[m] + h * force[m]
                gradient(moved, X, y, spare, ahead)
                for m in range(d):
                    moved[m] = u[m] - h * force[m]
                gradient(moved, X, y, spare, behind)
                for m in range(d):
                    force[m] += 0.5 * eta * (ahead[m] - behind[m]) / (2.0 * h)
            for m in range(d):
                moved[m] = u[m] - times[k] * force[m]
            for b in range(n):
                score = dot(X[b], u)
                weight = size * a[b] * (c[b] - along * v[b])
                for m in range(d):
                    moved[m] += weight * (level * X[b, m] + slope * score * u[m])
            u[:] = moved
