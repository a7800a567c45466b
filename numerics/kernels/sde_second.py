"""A scheme of second weak order for the stochastic differential equation of label-noise SGD, any parametrization.

Roessler's stochastic Runge-Kutta scheme RI6 for Ito equations (Roessler 2009, SIAM J. Numer. Anal. 47, 1713-1738); the
noise has n columns

    b_k = sqrt(eta/B) [ a_k g_k - kappa v_k grad L ],   a_k^2 = (e_k^2 + sigma^2)/n,   v_k = e_k/(n a_k),

kappa = (1 - sqrt(1 - |v|^2))/|v|^2: the root diag(a)(I - kappa v v^T) of diag(a^2) - e e^T/n^2. Knows no law.
"""

import numpy as np
from numba import njit

from numerics.kernels.rows import EMPTY, buffers, locate, uniform

# isort: split
# BEGIN FORMULAS: radial, replaced by numerics.specialise
from numerics.kernels.gradient import drift, residuals
from numerics.kernels.map_radial import predict, pull

# END FORMULAS


@njit(cache=True, nogil=True, error_model="numpy")
def column(k, u, X, y, size, sigma, plane, residual, out):
    """Noise column b_k at u into out ``(p,)``; size = sqrt(eta/B)."""
    n, d = X.shape
    residuals(u, X, y, plane, residual)
    share = 0.0
    for i in range(n):
        square = residual[i] * residual[i] + sigma * sigma
        share += residual[i] * residual[i] / (n * square) if square > 0.0 else 0.0
    keep = (1.0 - np.sqrt(max(0.0, 1.0 - share))) / share if share > 0.0 else 0.0
    a = np.sqrt((residual[k] * residual[k] + sigma * sigma) / n)
    v = residual[k] / (n * a) if a > 0.0 else 0.0
    for m in range(d):
        plane[0, m] = size * (a * X[k, m] - keep * v * plane[1, m])
    pull(u, plane[0], out)


@njit(cache=True, nogil=True, error_model="numpy")
def step(u, X, y, h, eta, corrected, batch, sigma, one, two):
    """Advance u ``(p,)`` in place by time h. ``one (n,)`` stands for the increments, N(0, h) or three-valued with its
    first five moments; ``two (n,)`` is +-sqrt(h), each as likely.
    """
    n, p = y.size, u.size
    root, size = np.sqrt(h), np.sqrt(eta / batch)
    residual, plane = np.empty(n), np.empty((2, X.shape[1]))
    first, second, point, out = np.empty(p), np.empty(p), np.empty(p), np.empty(p)
    plus, minus, cross = np.empty(p), np.empty(p), np.empty(p)
    start = np.empty((n, p))
    drift(u, X, y, eta, corrected, plane, residual, first, point, plus)
    for m in range(p):
        point[m] = u[m] + h * first[m]
    for k in range(n):
        column(k, u, X, y, size, sigma, plane, residual, start[k])
        for m in range(p):
            point[m] += one[k] * start[k, m]
    drift(point, X, y, eta, corrected, plane, residual, second, plus, minus)
    for m in range(p):
        out[m] = u[m] + 0.5 * h * (first[m] + second[m])
    for k in range(n):
        for sign in (1.0, -1.0):
            target = plus if sign > 0.0 else minus
            for m in range(p):
                point[m] = u[m] + h * first[m] + sign * root * start[k, m]
            column(k, point, X, y, size, sigma, plane, residual, target)
        twice = 0.5 * (one[k] * one[k] - h) / root
        for m in range(p):
            out[m] += (0.5 * start[k, m] + 0.25 * (plus[m] + minus[m])) * one[k] + 0.5 * (plus[m] - minus[m]) * twice
        cross[:] = 0.0
        for other in range(n):
            if other != k:
                signed = -two[k] if k < other else two[other]
                both = 0.5 * (one[k] * one[other] + root * signed) / root
                for m in range(p):
                    cross[m] += both * start[other, m]
        for sign in (1.0, -1.0):
            target = plus if sign > 0.0 else minus
            for m in range(p):
                point[m] = u[m] + sign * cross[m]
            column(k, point, X, y, size, sigma, plane, residual, target)
        for m in range(p):
            out[m] += (0.25 * (plus[m] + minus[m]) - 0.5 * start[k, m]) * one[k] + 0.5 * (plus[m] - minus[m]) * root
    for m in range(p):
        u[m] = out[m]


@njit(cache=True, nogil=True, error_model="numpy")
def advance(states, replicas, X, y, times, eta, corrected, batch, sigma, limit, key, purpose, first_step):
    """Advance states u ``(R, p)`` in place by steps of length times ``(steps,)``, the first of them number first_step.

    Increments take three values: +-sqrt(3h), each with probability 1/6, or 0. One block of words per column and step.
    """
    n = y.size
    draws, one, two, w = buffers(), np.empty(n), np.empty(n), np.empty(X.shape[1])
    for i in range(states.shape[0]):
        u = states[i]
        draws[0][0] = EMPTY
        for k in range(times.size):
            if not predict(u, limit, w):
                u[:] = np.nan
                break
            root = np.sqrt(times[k])
            for b in range(n):
                j = locate((first_step + k) * n + b, draws, key, purpose, replicas[i])
                place = 6.0 * uniform(draws[1][2, j])
                one[b] = np.sqrt(3.0) * root * (-1.0 if place < 1.0 else 1.0 if place > 5.0 else 0.0)
                two[b] = root * (1.0 if uniform(draws[1][3, j]) < 0.5 else -1.0)
            step(u, X, y, times[k], eta, corrected, batch, sigma, one, two)
