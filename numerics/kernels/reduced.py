"""Label-noise SGD for F(u) = g(|u|) u in the n + 2 numbers that determine its path (C12).

The path stays in span(rows of X, u_0). Its state is s = X u ``(n,)``, q = |u|^2 and nu, the coordinate of u on the
unit null direction; a step costs O(Bn), whatever d. Written from the definition of SGD; knows no law.
"""

import numpy as np
from numba import njit

from numerics.kernels.lanes import LINE, add_line, add_rows, aligned, padded
from numerics.streams import NOTHING, fill_lanes, row_index

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

LANES = 16  # replicas stepped together: their independent chains of operations overlap in the processor
DRAWS = 8  # blocks of random numbers drawn per replica at once


@njit(cache=True, nogil=True, error_model="numpy")
def load(group, replicas, width, limit, s, q, nu, stream):
    """States ``(m, n + 2)`` into lanes. A lane without a replica, or with a diverged one, runs from 0 for nothing."""
    n = group.shape[1] - 2
    stream[:] = 0
    for g in range(LANES):
        rest(g, width, limit, s, q, nu)
    for g in range(group.shape[0]):
        stream[g] = replicas[g]
        if not np.isnan(group[g, n]):
            s[g * width : g * width + n] = group[g, :n]
            q[g], nu[g] = group[g, n], group[g, n + 1]


@njit(cache=True, nogil=True, error_model="numpy")
def rest(g, width, limit, s, q, nu):
    """A lane whose result nobody wants."""
    s[g * width : (g + 1) * width] = 0.0
    q[g], nu[g] = min(1.0, limit), 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def store(group, width, s, q, nu):
    """The lanes of replicas that have not diverged, back into their states."""
    n = group.shape[1] - 2
    for g in range(group.shape[0]):
        if not np.isnan(group[g, n]):
            group[g, :n] = s[g * width : g * width + n]
            group[g, n], group[g, n + 1] = q[g], nu[g]


@njit(cache=True, nogil=True, error_model="numpy")
def within(q, limit):
    """Whether every q lies in [0, limit]."""
    inside = 0
    for g in range(LANES):
        inside += 1 if (q[g] >= 0.0) & (q[g] <= limit) else 0  # a sum of choices, which vectorises
    return inside == LANES


@njit(cache=True, nogil=True, error_model="numpy")
def drop_diverged(group, width, limit, s, q, nu):
    """Replicas with q outside [0, limit] become NaN. Whether any is left."""
    n, left = group.shape[1] - 2, False
    for g in range(LANES):
        if not 0.0 <= q[g] <= limit:
            rest(g, width, limit, s, q, nu)
            if g < group.shape[0]:
                group[g] = np.nan
    for g in range(group.shape[0]):
        left |= not np.isnan(group[g, n])
    return left


@njit(cache=True, nogil=True, error_model="numpy")
def noisy_labels(words, normals, y, sigma, drawn, labels):
    """The row of each draw, and its label with noise, y_i + sigma xi."""
    for half in range(2):
        for j in range(words.shape[1]):
            row = row_index(words[2 + half, j], y.size)
            drawn[half, j] = row
            labels[half, j] = y[row] + sigma * normals[half, j]


@njit(cache=True, nogil=True, error_model="numpy")
def advance(states, replicas, gram, y, etas, batch, sigma, limit, key, purpose, first_step):
    """Advance states ``(R, n + 2)`` in place by len(etas) steps, the first of them number first_step.

    gram ``(n, n)`` = X X^T, y ``(n,)``, etas ``(steps,)``, replicas ``(R,)`` the stream numbers, key ``(2,)``. A
    replica whose q leaves [0, limit] stops and becomes NaN. s and the draws are rounded to the type of gram, q and nu
    stay float64.
    """
    n = y.size
    line = LINE // gram.itemsize
    width = padded(n, line)
    rows, s = aligned(gram, n * width), aligned(gram, LANES * width)
    rows[:], s[:] = 0.0, 0.0
    for i in range(n):
        rows[i * width : i * width + n] = gram[i]
    stream, keep = np.empty(LANES, np.int64), np.empty(LANES, gram.dtype)
    q, nu, level, slope, shrink, change = (
        np.empty(LANES),
        np.empty(LANES),
        np.empty(LANES),
        np.empty(LANES),
        np.empty(LANES),
        np.empty(LANES),
    )
    row_of, weight_of = np.empty(batch * LANES, np.int64), np.empty(batch * LANES, gram.dtype)
    words, squares = np.empty((4, DRAWS * LANES), np.uint64), np.empty(DRAWS * LANES, gram.dtype)
    normals = np.empty((2, DRAWS * LANES), gram.dtype)
    drawn, labels = np.empty((2, DRAWS * LANES), np.int64), np.empty((2, DRAWS * LANES))
    for first in range(0, states.shape[0], LANES):
        group = states[first : first + LANES]
        load(group, replicas[first : first + LANES], width, limit, s, q, nu, stream)
        window = NOTHING
        for k in range(etas.size):
            if not within(q, limit) and not drop_diverged(group, width, limit, s, q, nu):
                break
            rate = etas[k] / batch
            for g in range(LANES):
                level[g], slope[g], shrink[g], change[g] = gain(q[g]), gain_slope(q[g]), 0.0, 0.0
            for b in range(batch):
                t = (first_step + k) * batch + b
                if not 0 <= (t >> 1) - window < DRAWS:
                    window = t >> 1
                    fill_lanes(key, purpose, stream, window, words, squares, normals)
                    noisy_labels(words, normals, y, sigma, drawn, labels)
                half, at = t & 1, ((t >> 1) - window) * LANES
                for g in range(LANES):
                    row = drawn[half, at + g]
                    score = np.float64(s[g * width + row])
                    error = rate * (level[g] * score - labels[half, at + g])
                    row_of[b * LANES + g] = row
                    weight_of[b * LANES + g] = error * level[g]
                    shrink[g] += error * score * slope[g]
                    change[g] += error * level[g] * score
            for g in range(LANES):
                keep[g] = 1.0 - shrink[g]
            if batch == 1:
                for g in range(LANES):
                    start = row_of[g] * width
                    for column in range(0, width, line):
                        add_line(s, g * width + column, keep[g], rows, start + column, weight_of[g])
            else:
                for g in range(LANES):
                    add_rows(s, g * width, width, line, keep[g], rows, row_of, weight_of, g, LANES, batch)
            # |v|^2 = sum_b weight_b (X v)_b for the batch's step v, with X v = keep s_old - s_new
            for g in range(LANES):
                change[g] *= 1.0 - shrink[g]
            for b in range(batch):
                for g in range(LANES):
                    i = b * LANES + g
                    change[g] += np.float64(weight_of[i]) * np.float64(s[g * width + row_of[i]])
            for g in range(LANES):
                q[g] = (1.0 - shrink[g]) * (1.0 - shrink[g]) * q[g] - change[g]
                nu[g] *= 1.0 - shrink[g]
        store(group, width, s, q, nu)
