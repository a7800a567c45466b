"""Label-noise SGD for F(u) = g(|u|) u in all d coordinates: the definition, written out. Knows no law."""

import numpy as np
from numba import njit

from numerics.kernels.linear import add, dot, scale_and_add
from numerics.streams import BLOCKS, NOTHING, refill, row_index, workspace

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
def advance(states, replicas, X, y, etas, batch, sigma, limit, key, purpose, first_step):
    """Advance states u ``(R, d)`` in place by len(etas) steps, the first of them number first_step.

    X ``(n, d)``, y ``(n,)``, etas ``(steps,)``, replicas ``(R,)`` the stream numbers, key ``(2,)``. A replica whose
    |u|^2 passes limit stops and becomes NaN.
    """
    n = y.size
    window, words, normals = workspace(1)
    rows, weights = np.zeros(batch, np.int64), np.zeros(batch)
    for i in range(states.shape[0]):
        u = states[i]
        window[0] = NOTHING
        keep, rows[0], weights[:] = 1.0, 0, 0.0
        for k in range(etas.size + 1):
            # The step drawn last time, at one place in the code: two could round |u|^2 in two ways.
            q = scale_and_add(u, keep, weights[0], X[rows[0]])
            if batch > 1:
                for b in range(1, batch):
                    add(u, -weights[b], X[rows[b]])
                q = dot(u, u)
            if k == etas.size:
                break
            if not 0.0 <= q <= limit:
                u[:] = np.nan
                break
            level, slope = gain(q), gain_slope(q)
            rate = etas[k] / batch
            shrink = 0.0
            for b in range(batch):
                t = (first_step + k) * batch + b
                j = (t >> 1) - window[0]
                if j < 0 or j >= BLOCKS:
                    refill(t, 0, key, purpose, replicas[i], window, words, normals)
                    j = 0
                row = row_index(words[0, 2 + (t & 1), j], n)
                score = dot(X[row], u)
                error = rate * (level * score - y[row] - sigma * normals[0, t & 1, j])
                rows[b] = row
                weights[b] = error * level
                shrink += error * score * slope
            keep = 1.0 - shrink
