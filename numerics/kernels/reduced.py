"""Label-noise SGD for F(u) = g(|u|) u in the n + 2 numbers that determine its path (C12).

The path stays in span(rows of X, u_0). Its state is s = X u ``(n,)``, q = |u|^2 and nu, the coordinate of u on the
unit null direction; a step costs O(Bn), whatever d. Written from the definition of SGD; knows no law.
"""

import numpy as np
from numba import njit

from numerics.kernels.lanes import EIGHT, aligned, fma, get, get_doubles, line_of, padded, pick, put, splat
from numerics.streams import NOTHING, fill_lanes, row_index, side_by_side

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

LANES, MOST_LANES = 16, 64  # replicas stepped together: their chains of operations overlap in the processor
NEAR = 2**14  # bytes of scores that leave room in the first-level cache
DRAWS = 8  # blocks of random numbers drawn per replica at once


@njit(nogil=True, error_model="numpy")
def lanes_for(replicas, size):
    """Lanes of a group, a multiple of LANES: MOST_LANES where scores of this many bytes each stay near, few idle."""
    most = MOST_LANES if MOST_LANES * size <= NEAR else LANES
    groups = max(1, (replicas + most - 1) // most)
    return max(LANES, padded((replicas + groups - 1) // groups, LANES))


@njit(cache=True, nogil=True, error_model="numpy")
def load(group, replicas, width, limit, s, q, nu, stream):
    """States ``(m, n + 2)`` into lanes. A lane without a replica, or with a diverged one, runs from 0 for nothing."""
    n = group.shape[1] - 2
    stream[:] = 0
    for g in range(q.size):
        rest(g, width, limit, s, q, nu)
    for g in range(group.shape[0]):
        stream[g] = replicas[g]
        if not np.isnan(group[g, n]):
            for i in range(n):  # a slice would make numba compile its message of a wrong shape, for seconds
                s[g * width + i] = group[g, i]
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
            for i in range(n):
                group[g, i] = s[g * width + i]
            group[g, n], group[g, n + 1] = q[g], nu[g]


@njit(cache=True, nogil=True, error_model="numpy")
def within(q, limit):
    """Whether every q lies in [0, limit]."""
    inside = 0
    for g in range(q.size):
        inside += 1 if (q[g] >= 0.0) & (q[g] <= limit) else 0  # a sum of choices, which vectorises
    return inside == q.size


@njit(cache=True, nogil=True, error_model="numpy")
def drop_diverged(group, width, limit, s, q, nu):
    """Replicas with q outside [0, limit] become NaN. Whether any is left."""
    n, left = group.shape[1] - 2, False
    for g in range(q.size):
        if not 0.0 <= q[g] <= limit:
            rest(g, width, limit, s, q, nu)
            if g < group.shape[0]:
                group[g] = np.nan
    for g in range(group.shape[0]):
        left |= not np.isnan(group[g, n])
    return left


@njit(nogil=True, error_model="numpy", forceinline=True)
def add_four(s, width, keep, rows, picks, at, weights, lane):
    """s = keep s - w row for the lanes lane, ..., lane + 3, each with its keep, weight w and row."""
    keep_0, keep_1, keep_2, keep_3 = keep[lane], keep[lane + 1], keep[lane + 2], keep[lane + 3]
    w_0, w_1, w_2, w_3 = -weights[lane], -weights[lane + 1], -weights[lane + 2], -weights[lane + 3]
    row_0, row_1 = picks[at + lane] * width, picks[at + lane + 1] * width
    row_2, row_3 = picks[at + lane + 2] * width, picks[at + lane + 3] * width
    s_0 = lane * width
    s_1, s_2, s_3 = s_0 + width, s_0 + 2 * width, s_0 + 3 * width
    column = 0
    while column < width:
        put(s, s_0 + column, fma(w_0, get(rows, row_0 + column), keep_0 * get(s, s_0 + column)))
        put(s, s_1 + column, fma(w_1, get(rows, row_1 + column), keep_1 * get(s, s_1 + column)))
        put(s, s_2 + column, fma(w_2, get(rows, row_2 + column), keep_2 * get(s, s_2 + column)))
        put(s, s_3 + column, fma(w_3, get(rows, row_3 + column), keep_3 * get(s, s_3 + column)))
        column += line_of(s)


@njit(nogil=True, error_model="numpy", forceinline=True)
def add_rows(s, base, width, keep, rows, picks, weights, lane, batch, lanes):
    """s[base : base + width] = keep s - sum_b w_b row_b, row and weight at ``lane + b lanes`` of picks and weights."""
    line, column = line_of(s), 0
    first, w = picks[lane] * width, -weights[lane]
    while column + 4 * line <= width:  # sums of four lines in registers
        at, start = base + column, first + column
        s_0 = fma(w, get(rows, start), keep * get(s, at))
        s_1 = fma(w, get(rows, start + line), keep * get(s, at + line))
        s_2 = fma(w, get(rows, start + 2 * line), keep * get(s, at + 2 * line))
        s_3 = fma(w, get(rows, start + 3 * line), keep * get(s, at + 3 * line))
        b = lane + lanes
        while b < batch * lanes:
            minus, start = -weights[b], picks[b] * width + column
            s_0, s_1 = fma(minus, get(rows, start), s_0), fma(minus, get(rows, start + line), s_1)
            s_2, s_3 = fma(minus, get(rows, start + 2 * line), s_2), fma(minus, get(rows, start + 3 * line), s_3)
            b += lanes
        put(s, at, s_0)
        put(s, at + line, s_1)
        put(s, at + 2 * line, s_2)
        put(s, at + 3 * line, s_3)
        column += 4 * line
    while column < width:
        s_0, b = fma(w, get(rows, first + column), keep * get(s, base + column)), lane + lanes
        while b < batch * lanes:
            s_0 = fma(-weights[b], get(rows, picks[b] * width + column), s_0)
            b += lanes
        put(s, base + column, s_0)
        column += line


@njit(nogil=True, error_model="numpy")
def refill(window, n, key, purpose, columns, words, normals, drawn):
    """The normals of DRAWS blocks from window on, and in drawn ``(2 m,)`` the rows that go with them."""
    fill_lanes(key, purpose, columns, window, words, normals)
    row_words = words.reshape(words.size)[drawn.size :]
    for i in range(drawn.size):
        drawn[i] = row_index(row_words[i], n)


@njit(nogil=True, error_model="numpy", forceinline=True)
def place(sample, window, lanes):
    """Where a sample's draws begin, those of half a block after another."""
    return (sample & 1) * DRAWS * lanes + ((sample >> 1) - window) * lanes


@njit(nogil=True, error_model="numpy", forceinline=True)
def look(s, width, level, labels, sigma, rate, xi, drawn, at, g):
    """Of the rows drawn by eight lanes from g on: the scores, the gains, and rate times the noisy residuals."""
    score, level_g = pick(s, g * width, width, drawn, at + g), get(level, g)
    label = fma(sigma, get_doubles(xi, at + g), pick(labels, 0, 0, drawn, at + g))
    return score, level_g, rate * (level_g * score - label)


@njit(cache=True, nogil=True, error_model="numpy")
def advance(states, replicas, gram, y, etas, batch, sigma, limit, key, purpose, first_step):
    """Advance states ``(R, n + 2)`` in place by len(etas) steps, the first of them number first_step.

    gram ``(n, n)`` = X X^T, y ``(n,)``, etas ``(steps,)``, replicas ``(R,)`` the stream numbers, key ``(2,)``. A
    replica whose q leaves [0, limit] stops and becomes NaN. s and the draws are rounded to the type of gram, q and nu
    stay float64.
    """
    n = y.size
    width = padded(n, line_of(gram))
    lanes = lanes_for(states.shape[0], width * gram.itemsize)
    rows, s = aligned(gram, n * width), aligned(gram, lanes * width)
    labels, diagonal = y.copy(), np.empty(n, gram.dtype)
    rows[:], s[:] = 0.0, 0.0
    for i in range(n):
        diagonal[i] = gram[i, i]
        for j in range(n):
            rows[i * width + j] = gram[i, j]
    q, nu, level, slope = aligned(etas, lanes), aligned(etas, lanes), aligned(etas, lanes), aligned(etas, lanes)
    shrink, change, keep = aligned(etas, lanes), aligned(etas, lanes), aligned(etas, lanes)
    picks, weights = np.empty(batch * lanes, np.int64), aligned(etas, batch * lanes)
    size, stream = DRAWS * lanes, np.empty(lanes, np.int64)
    words = np.empty((4, size), np.uint64)
    xi, drawn = aligned(gram, 2 * size), np.empty(2 * size, np.int64)
    normals = xi.reshape((2, size))
    for first in range(0, states.shape[0], lanes):
        group = states[first : first + lanes]
        load(group, replicas[first : first + lanes], width, limit, s, q, nu, stream)
        columns = side_by_side(stream, DRAWS)
        window = NOTHING
        for k in range(etas.size):
            if not within(q, limit) and not drop_diverged(group, width, limit, s, q, nu):
                break
            rate = etas[k] / batch
            for g in range(lanes):
                level[g], slope[g] = gain(q[g]), gain_slope(q[g])
            if batch == 1:
                t = first_step + k
                if not 0 <= (t >> 1) - window < DRAWS:
                    window = t >> 1
                    refill(window, n, key, purpose, columns, words, normals, drawn)
                at = place(t, window, lanes)
                for g in range(0, lanes, EIGHT):
                    score, level_g, error = look(s, width, level, labels, sigma, rate, xi, drawn, at, g)
                    weight, keep_g = level_g * error, 1.0 - get(slope, g) * (error * score)
                    put(weights, g, weight)
                    put(keep, g, keep_g)
                    twice = keep_g * score + keep_g * score
                    total = weight * (twice - weight * pick(diagonal, 0, 0, drawn, at + g))
                    put(q, g, keep_g * keep_g * get(q, g) - total)
                    put(nu, g, keep_g * get(nu, g))
                for g in range(0, lanes, 4):
                    add_four(s, width, keep, rows, drawn, at, weights, g)
                continue
            for g in range(0, lanes, EIGHT):
                put(shrink, g, splat(etas, 0.0))
                put(change, g, splat(etas, 0.0))
            for b in range(batch):
                t = (first_step + k) * batch + b
                if not 0 <= (t >> 1) - window < DRAWS:
                    window = t >> 1
                    refill(window, n, key, purpose, columns, words, normals, drawn)
                at = place(t, window, lanes)
                for g in range(0, lanes, EIGHT):
                    score, level_g, error = look(s, width, level, labels, sigma, rate, xi, drawn, at, g)
                    weight = level_g * error
                    put(weights, b * lanes + g, weight)
                    put(shrink, g, fma(error, score, get(shrink, g)))
                    put(change, g, fma(weight, score, get(change, g)))
                for g in range(lanes):
                    picks[b * lanes + g] = drawn[at + g]
            for g in range(0, lanes, EIGHT):
                put(keep, g, 1.0 - get(slope, g) * get(shrink, g))
            for g in range(lanes):
                add_rows(s, g * width, width, keep[g], rows, picks, weights, g, batch, lanes)
            # |v|^2 = sum_b weight_b (X v)_b for the batch's step v, with X v = keep s_old - s_new
            for g in range(0, lanes, EIGHT):
                keep_g = get(keep, g)
                total = keep_g * get(change, g)
                for b in range(batch):
                    at = b * lanes + g
                    total = fma(get(weights, at), pick(s, g * width, width, picks, at), total)
                put(q, g, keep_g * keep_g * get(q, g) - total)
                put(nu, g, keep_g * get(nu, g))
        store(group, width, s, q, nu)
