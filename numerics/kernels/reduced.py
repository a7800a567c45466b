"""Label-noise SGD for F(u) = g(|u|) u in the n + 2 numbers that determine its path (C12).

The path stays in span(rows of X, u_0). Its state is s = X u ``(n,)``, q = |u|^2 and nu, the coordinate of u on the
unit null direction; a step costs O(Bn), whatever d. Written from the definition of SGD; knows no law.
"""

import numpy as np
from numba import njit

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

GROUP = 4  # replicas stepped in turn: their independent chains of operations overlap in the processor


@njit(cache=True, nogil=True, error_model="numpy")
def advance(states, replicas, gram, y, etas, batch, sigma, limit, key, purpose, first_step):
    """Advance states ``(R, n + 2)`` in place by len(etas) steps, the first of them number first_step.

    gram ``(n, n)`` = X X^T, y ``(n,)``, etas ``(steps,)``, replicas ``(R,)`` the stream numbers, key ``(2,)``. A
    replica whose q leaves [0, limit] stops and becomes NaN. Returns the number of steps done per replica ``(R,)``.
    """
    n = y.size
    done = np.full(states.shape[0], etas.size)
    window, words, scratch, normals = workspace(GROUP)
    row_of, weight_of = np.empty(batch, np.int64), np.empty(batch)
    for first in range(0, states.shape[0], GROUP):
        window[:] = NOTHING
        for k in range(etas.size):
            rate = etas[k] / batch
            for g in range(min(GROUP, states.shape[0] - first)):
                i = first + g
                q = states[i, n]
                if not 0.0 <= q <= limit:
                    if not np.isnan(q):
                        states[i] = np.nan
                        done[i] = k
                    continue
                level, slope = gain(q), gain_slope(q)
                shrink = 0.0
                change = 0.0
                for b in range(batch):
                    t = (first_step + k) * batch + b
                    j = (t >> 1) - window[g]
                    if j < 0 or j >= BLOCKS:
                        refill(t, g, key, purpose, replicas[i], window, words, scratch, normals)
                        j = 0
                    row = row_index(words[g, 2 + (t & 1), j], n)
                    score = states[i, row]
                    error = rate * (level * score - y[row] - sigma * normals[g, t & 1, j])
                    weight = error * level
                    row_of[b] = row
                    weight_of[b] = weight
                    shrink += error * score * slope
                    change += weight * score
                keep = 1.0 - shrink
                row, weight = row_of[0], weight_of[0]
                for a in range(n):
                    states[i, a] = keep * states[i, a] - weight * gram[row, a]
                for b in range(1, batch):
                    row, weight = row_of[b], weight_of[b]
                    for a in range(n):
                        states[i, a] -= weight * gram[row, a]
                # |v|^2 = sum_b weight_b (X v)_b for the batch's step v, with X v = keep s_old - s_new
                change *= keep
                for b in range(batch):
                    change += weight_of[b] * states[i, row_of[b]]
                states[i, n] = keep * keep * q - change
                states[i, n + 1] *= keep
    return done
