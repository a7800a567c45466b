"""Label-noise SGD for w_j = F(theta_j), theta_j one factor or two, in all coordinates. Knows no law.

u ``(factors, d)`` holds factor after factor. A template for one factor ignores its second argument.
"""

import numpy as np
from numba import njit

from numerics.kernels.lanes import in_whole_lines
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
def predict(first, last, w):
    """w ``(d,)`` = F."""
    for a in range(w.size):
        w[a] = value(first[a], last[a])


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "nsz", "contract"})
def follow_one(theta, weight, line, ahead):
    """One factor: theta_j -= weight line_j F'_j. Then ahead . F, and the sum of |F_j|."""
    in_whole_lines()
    product, size = 0.0, 0.0
    for a in range(theta.size):
        old = theta[a]
        new = old - weight * line[a] * slope_a(old, old)
        w = value(new, new)
        product += ahead[a] * w
        size += abs(w)
        theta[a] = new
    return product, size


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "nsz", "contract"})
def follow_two(first, last, weight, line, ahead):
    """`follow_one` for two factors."""
    in_whole_lines()
    product, size = 0.0, 0.0
    for j in range(first.size):
        step, a, b = weight * line[j], first[j], last[j]
        new_a, new_b = a - step * slope_a(a, b), b - step * slope_b(a, b)
        w = value(new_a, new_b)
        product += ahead[j] * w
        size += abs(w)
        first[j], last[j] = new_a, new_b
    return product, size


@njit(cache=True, nogil=True, error_model="numpy")
def bounded(u, limit):
    """Whether every |F_j| is at most limit."""
    within = 0
    for j in range(u.shape[1]):
        within += 1 if abs(value(u[0, j], u[u.shape[0] - 1, j])) <= limit else 0
    return within == u.shape[1]


@njit(cache=True, nogil=True, error_model="numpy")
def follow(u, weight, line, limit, ahead):
    """The step that waits, and a look along the row that is drawn next, in one pass over the coordinates.

    ahead . F after the step, and whether every |F_j| is at most limit: they are when their sum is, which costs less.
    """
    if u.shape[0] == 1:
        product, size = follow_one(u[0], weight, line, ahead)
    else:
        product, size = follow_two(u[0], u[1], weight, line, ahead)
    return product, size <= limit or bounded(u, limit)


@njit(cache=True, nogil=True, error_model="numpy")
def advance(states, replicas, X, y, etas, batch, sigma, limit, key, purpose, first_step):
    """Advance states u ``(R, factors, d)`` in place by len(etas) steps, the first of them number first_step.

    X ``(n, d)``, y ``(n,)``, etas ``(steps,)``, replicas ``(R,)`` the stream numbers, key ``(2,)``. A replica with an
    |F(u)_j| beyond limit stops and becomes NaN. A step waits until the next one's row is known.
    """
    in_whole_lines()
    n, d = y.size, X.shape[1]
    window, words, normals = workspace(1)
    w, v = np.empty(d), np.zeros(d)
    for i in range(states.shape[0]):
        last, weight, inside = 0, 0.0, True
        v[:] = 0.0
        window[0] = NOTHING
        for k in range(etas.size):
            for b in range(batch):
                t = (first_step + k) * batch + b
                j = (t >> 1) - window[0]
                if j < 0 or j >= BLOCKS:
                    refill(t, 0, key, purpose, replicas[i], window, words, normals)
                    j = 0
                row = row_index(words[0, 2 + (t & 1), j], n)
                if b > 0:
                    product = dot(X[row], w)
                elif batch == 1:
                    product, inside = follow(states[i], weight, X[last], limit, X[row])
                else:
                    product, inside = follow(states[i], weight, v, limit, X[row])
                    predict(states[i, 0], states[i, states.shape[1] - 1], w)
                    v[:] = 0.0
                error = product - y[row] - sigma * normals[0, t & 1, j]
                if batch == 1:
                    last, weight = row, etas[k] * error
                else:
                    weight = etas[k] / batch
                    add(v, error, X[row])
            if not inside:
                states[i] = np.nan
                break
        else:
            follow(states[i], weight, X[last] if batch == 1 else v, limit, X[0])
