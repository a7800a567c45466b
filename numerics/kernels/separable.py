"""Label-noise SGD for w_j = F(theta_j), theta_j one factor or two, in all coordinates. Knows no law.

u ``(factors, d)`` holds factor after factor. A template for one factor ignores its second argument.
"""

import numpy as np
from numba import njit

from numerics.kernels.linear import add, dot
from numerics.streams import BLOCKS, NOTHING, refill, row_index, workspace

# BEGIN FORMULAS: the product a b, replaced by numerics.specialise


@njit(cache=True, error_model="numpy")
def value(a, b):
    """F(a, b)."""
    return a * b


@njit(cache=True, error_model="numpy")
def slope_a(a, b):
    """dF/da."""
    return b


@njit(cache=True, error_model="numpy")
def slope_b(a, b):
    """dF/db."""
    return a


@njit(cache=True, error_model="numpy")
def curvature_aa(a, b):
    """d2F/da2."""
    return 0.0


@njit(cache=True, error_model="numpy")
def curvature_ab(a, b):
    """d2F/da db."""
    return 1.0


@njit(cache=True, error_model="numpy")
def curvature_bb(a, b):
    """d2F/db2."""
    return 0.0


# END FORMULAS


@njit(cache=True, nogil=True, error_model="numpy")
def derivatives(u, out):
    """out ``(6, d)``: F, F_a, F_b, F_aa, F_ab, F_bb at u ``(factors, d)``."""
    last = u.shape[0] - 1
    for j in range(u.shape[1]):
        a, b = u[0, j], u[last, j]
        out[0, j], out[1, j], out[2, j] = value(a, b), slope_a(a, b), slope_b(a, b)
        out[3, j], out[4, j], out[5, j] = curvature_aa(a, b), curvature_ab(a, b), curvature_bb(a, b)


@njit(cache=True, nogil=True, error_model="numpy")
def predict(first, last, limit, w):
    """w ``(d,)`` = F. Whether every |w_j| is at most limit."""
    within = 0
    for a in range(w.size):
        w[a] = value(first[a], last[a])
        within += 1 if abs(w[a]) <= limit else 0  # a sum of choices, which vectorises
    return within == w.size


@njit(cache=True, nogil=True, error_model="numpy")
def descend(first, last, two, rate, weight, line):
    """theta_j -= rate weight line_j grad F_j."""
    if two:
        for a in range(line.size):
            step = rate * (weight * line[a])
            change = step * slope_a(first[a], last[a])
            last[a] -= step * slope_b(first[a], last[a])
            first[a] -= change
    else:
        for a in range(line.size):
            first[a] -= rate * (weight * line[a]) * slope_a(first[a], first[a])


@njit(cache=True, nogil=True, error_model="numpy")
def advance(states, replicas, X, y, etas, batch, sigma, limit, key, purpose, first_step):
    """Advance states u ``(R, factors, d)`` in place by len(etas) steps, the first of them number first_step.

    X ``(n, d)``, y ``(n,)``, etas ``(steps,)``, replicas ``(R,)`` the stream numbers, key ``(2,)``. A replica with an
    |F(u)_j| beyond limit stops and becomes NaN.
    """
    n, d = y.size, X.shape[1]
    two = states.shape[1] == 2
    window, words, scratch, normals = workspace(1)
    w, v = np.empty(d), np.empty(d)
    for i in range(states.shape[0]):
        first, last = states[i, 0], states[i, states.shape[1] - 1]
        window[0] = NOTHING
        for k in range(etas.size):
            if not predict(first, last, limit, w):
                states[i] = np.nan
                break
            if batch > 1:
                v[:] = 0.0
            for b in range(batch):
                t = (first_step + k) * batch + b
                j = (t >> 1) - window[0]
                if j < 0 or j >= BLOCKS:
                    refill(t, 0, key, purpose, replicas[i], window, words, scratch, normals)
                    j = 0
                row = row_index(words[0, 2 + (t & 1), j], n)
                error = dot(X[row], w) - y[row] - sigma * normals[0, t & 1, j]
                if batch == 1:
                    descend(first, last, two, etas[k], error, X[row])
                else:
                    add(v, error, X[row])
            if batch > 1:
                descend(first, last, two, etas[k] / batch, 1.0, v)
