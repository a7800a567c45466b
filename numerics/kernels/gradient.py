"""The predictor and the gradient of the train loss (1/2n)|X F(u) - y|^2, for any parametrization. Knows no law."""

import numpy as np
from numba import njit

from numerics.kernels.linear import dot

# isort: split
# BEGIN FORMULAS: radial, replaced by numerics.specialise
from numerics.kernels.map_radial import predict, pull

# END FORMULAS


@njit(cache=True, nogil=True, error_model="numpy")
def predictors(states, out):
    """out ``(R, d)`` = F of states ``(R, p)``."""
    for i in range(out.shape[0]):
        predict(states[i], np.inf, out[i])


@njit(cache=True, nogil=True, error_model="numpy")
def residuals(u, X, y, plane, residual):
    """The residual ``(n,)``; F(u) and X^T residual / n into plane ``(2, d)``."""
    n, w, v = y.size, plane[0], plane[1]
    predict(u, np.inf, w)
    v[:] = 0.0
    for i in range(n):
        residual[i] = dot(X[i], w) - y[i]
        weight = residual[i] / n
        for a in range(w.size):
            v[a] += weight * X[i, a]


@njit(cache=True, nogil=True, error_model="numpy")
def gradient(u, X, y, plane, residual, out):
    """Gradient of L into out ``(p,)``, and what `residuals` gives."""
    residuals(u, X, y, plane, residual)
    pull(u, plane[1], out)


@njit(cache=True, nogil=True, error_model="numpy")
def drift(u, X, y, eta, corrected, plane, residual, out, moved, other):
    """-grad L into out ``(p,)``; corrected: -grad (L + (eta/4)|grad L|^2), the Hessian by differences."""
    gradient(u, X, y, plane, residual, out)
    size, force = out.size, dot(out, out)
    if corrected and force > 0.0:
        h = 1e-5 * np.sqrt(dot(u, u) / force)
        share = 0.25 * eta / h
        for a in range(size):
            moved[a] = u[a] + h * out[a]
        gradient(moved, X, y, plane, residual, other)
        for a in range(size):
            moved[a] = u[a] - h * out[a]
            out[a] += share * other[a]
        gradient(moved, X, y, plane, residual, other)
        for a in range(size):
            out[a] -= share * other[a]
    for a in range(size):
        out[a] = -out[a]
