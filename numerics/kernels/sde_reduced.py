"""Euler-Maruyama for the SDE of label-noise SGD, F(u) = g(|u|) u, in the n + 2 numbers of C12. Knows no law.

The path stays in span(rows of X, u_0): its state is s = X u ``(n,)``, q = |u|^2 and nu, the coordinate of u on the unit
null direction. A step u + sum_i h_i (g X_i + (g'/r) s_i u) costs one product with X X^T, whatever d. Replicas lie side
by side in two lines, lane g of row i at i lanes + g.
"""

import numpy as np
from numba import njit

from numerics.kernels.lanes import aligned, fma, get, inverse_root, line_of, put, splat
from numerics.streams import NOTHING, fill_lanes, side_by_side

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

DRAWS = 16  # blocks of random numbers drawn per replica at once


@njit(cache=True, nogil=True, error_model="numpy")
def transpose(group, s, q, nu, limit):
    """States ``(m, n + 2)`` into lanes, s ``(n, lanes)``. A lane without a replica, or a diverged one, rests."""
    n, lanes = group.shape[1] - 2, q.size
    for g in range(lanes):
        rest(g, s, q, nu, limit)
    for g in range(group.shape[0]):
        if not np.isnan(group[g, n]):
            for i in range(n):
                s[i * lanes + g] = group[g, i]
            q[g], nu[g] = group[g, n], group[g, n + 1]


@njit(cache=True, nogil=True, error_model="numpy")
def rest(g, s, q, nu, limit):
    """A lane whose result nobody wants."""
    s[g :: q.size] = 0.0
    q[g], nu[g] = min(1.0, limit), 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def drop_diverged(group, s, q, nu, limit):
    """Replicas with q outside [0, limit] become NaN. Whether any is left."""
    n, left = group.shape[1] - 2, False
    for g in range(q.size):
        if not 0.0 <= q[g] <= limit:
            rest(g, s, q, nu, limit)
            if g < group.shape[0]:
                group[g] = np.nan
    for g in range(group.shape[0]):
        left |= not np.isnan(group[g, n])
    return left


@njit(nogil=True, error_model="numpy")
def spread(s, y, level, sigma, xi, start, rows, c, share, along):
    """Put a_i xi_i into c for rows[0] <= i < rows[1], xi_i number start + i of the four by block in xi.

    Adds |v|^2 to share and v . xi to along, v_i = e_i / (n a_i), a_i^2 = (e_i^2 + sigma^2) / n, by lanes.
    """
    n, lanes = y.size, share.size
    least = sigma * sigma / n + (1e-300 if s.itemsize == 8 else 1e-37)
    quarter = xi.size // 4
    for g in range(0, lanes, line_of(s)):
        level_g, share_g, along_g = get(level, g), get(share, g), get(along, g)
        for i in range(rows[0], rows[1]):
            t = start + i
            e = fma(level_g, get(s, i * lanes + g), -y[i])
            f = e * (1.0 / n)
            square = fma(e, f, least)
            over_a = inverse_root(square)
            v, normal = f * over_a, get(xi, (t & 3) * quarter + (t >> 2) * lanes + g)
            share_g, along_g = fma(v, v, share_g), fma(v, normal, along_g)
            put(c, i * lanes + g, square * over_a * normal)
        put(share, g, share_g)
        put(along, g, along_g)


@njit(nogil=True, error_model="numpy")
def weigh(s, y, level, scale, along, h, product):
    """h_i = scale h_i - along e_i / n in place, product = h . s, by lanes."""
    n, lanes = y.size, along.size
    for g in range(0, lanes, line_of(s)):
        level_g, along_g, total = get(level, g), get(along, g) * (1.0 / n), splat(s, 0.0)
        for i in range(n):
            score = get(s, i * lanes + g)
            weight = get(h, i * lanes + g) * scale - along_g * fma(level_g, score, -y[i])
            put(h, i * lanes + g, weight)
            total = fma(weight, score, total)
        put(product, g, total)


@njit(nogil=True, error_model="numpy", forceinline=True)
def moved(s, h, at, slope, level, image, square):
    """The line of s at this place becomes slope s + level image. square + h image."""
    put(s, at, fma(level, image, slope * get(s, at)))
    return fma(get(h, at), image, square)


@njit(nogil=True, error_model="numpy")
def move(s, h, matrix, slope, level, square):
    """s = slope s + level (matrix h) and square = h . (matrix h), by lanes; matrix ``(n n,)``, symmetric."""
    lanes, line = square.size, line_of(s)
    n, zero = s.size // lanes, splat(s, 0.0)
    level_0, level_1, slope_0, slope_1 = get(level, 0), get(level, line), get(slope, 0), get(slope, line)
    square_0, square_1 = zero, zero
    row = 0
    while row + 4 <= n:  # four rows and two lines: eight sums, and two loads for them
        a_0, a_1, b_0, b_1, c_0, c_1, d_0, d_1 = zero, zero, zero, zero, zero, zero, zero, zero
        for j in range(n):
            h_0, h_1, at = get(h, j * lanes), get(h, j * lanes + line), row * n + j
            a_0, a_1 = fma(matrix[at], h_0, a_0), fma(matrix[at], h_1, a_1)
            b_0, b_1 = fma(matrix[at + n], h_0, b_0), fma(matrix[at + n], h_1, b_1)
            c_0, c_1 = fma(matrix[at + 2 * n], h_0, c_0), fma(matrix[at + 2 * n], h_1, c_1)
            d_0, d_1 = fma(matrix[at + 3 * n], h_0, d_0), fma(matrix[at + 3 * n], h_1, d_1)
        for image_0, image_1 in ((a_0, a_1), (b_0, b_1), (c_0, c_1), (d_0, d_1)):
            at = row * lanes
            square_0 = moved(s, h, at, slope_0, level_0, image_0, square_0)
            square_1 = moved(s, h, at + line, slope_1, level_1, image_1, square_1)
            row += 1
    while row < n:  # at most three rows are left: by twos, the last by itself
        beside = min(row + 1, n - 1)
        a_0, a_1, b_0, b_1 = zero, zero, zero, zero
        for j in range(n):
            h_0, h_1 = get(h, j * lanes), get(h, j * lanes + line)
            a_0, a_1 = fma(matrix[row * n + j], h_0, a_0), fma(matrix[row * n + j], h_1, a_1)
            b_0, b_1 = fma(matrix[beside * n + j], h_0, b_0), fma(matrix[beside * n + j], h_1, b_1)
        square_0 = moved(s, h, row * lanes, slope_0, level_0, a_0, square_0)
        square_1 = moved(s, h, row * lanes + line, slope_1, level_1, a_1, square_1)
        if beside > row:
            square_0 = moved(s, h, beside * lanes, slope_0, level_0, b_0, square_0)
            square_1 = moved(s, h, beside * lanes + line, slope_1, level_1, b_1, square_1)
        row += 2
    put(square, 0, square_0)
    put(square, line, square_1)


@njit(cache=True, nogil=True, error_model="numpy")
def advance(states, replicas, gram, y, times, eta, batch, sigma, limit, key, purpose, first_step):
    """Advance states ``(R, n + 2)`` in place by steps of length times ``(steps,)``, the first of them first_step.

    The SDE and its noise of n normals are those of `numerics.kernels.sde`, not corrected; gram ``(n, n)`` = X X^T. s,
    the draws and the sums over rows are rounded to the type of gram.
    """
    n, lanes = y.size, 2 * line_of(gram)
    matrix, labels = gram.copy().reshape(n * n), y.astype(gram.dtype)
    s, h = aligned(gram, n * lanes), aligned(gram, n * lanes)
    level, slope, share = aligned(gram, lanes), aligned(gram, lanes), aligned(gram, lanes)
    along, product, square = aligned(gram, lanes), aligned(gram, lanes), aligned(gram, lanes)
    q, nu, gain_of, slope_of = np.empty(lanes), np.empty(lanes), np.empty(lanes), np.empty(lanes)
    stream = np.zeros(lanes, np.int64)
    words = np.empty((4, DRAWS * lanes), np.uint64)
    xi = aligned(gram, 4 * DRAWS * lanes)
    normals = xi.reshape((4, DRAWS * lanes))
    for first in range(0, states.shape[0], lanes):
        group = states[first : first + lanes]
        for g in range(group.shape[0]):
            stream[g] = replicas[first + g]
        columns = side_by_side(stream, DRAWS)
        transpose(group, s, q, nu, limit)
        window = NOTHING
        for k in range(times.size):
            inside = 0
            for g in range(lanes):
                inside += 1 if (q[g] >= 0.0) & (q[g] <= limit) else 0
            if inside < lanes and not drop_diverged(group, s, q, nu, limit):
                break
            for g in range(lanes):
                gain_of[g], slope_of[g] = gain(q[g]), gain_slope(q[g])
                level[g], share[g], along[g] = gain_of[g], 0.0, 0.0
            begin, i = (first_step + k) * n, 0
            while i < n:
                if not 0 <= ((begin + i) >> 2) - window < DRAWS:
                    window = (begin + i) >> 2
                    fill_lanes(key, purpose, columns, window, words, normals)
                stop = min(n, 4 * (window + DRAWS) - begin)
                spread(s, labels, level, sigma, xi, begin - 4 * window, (i, stop), h, share, along)
                i = stop
            scale = np.sqrt(times[k] * eta / batch)
            for g in range(lanes):  # kappa = (1 - sqrt(1 - |v|^2)) / |v|^2, without the cancellation
                kappa = 1.0 / (1.0 + np.sqrt(max(0.0, 1.0 - np.float64(share[g]))))
                along[g] = times[k] + scale * kappa * np.float64(along[g])
            weigh(s, labels, level, scale, along, h, product)
            for g in range(lanes):
                slope_of[g] = 1.0 + slope_of[g] * np.float64(product[g])
                slope[g] = slope_of[g]
            move(s, h, matrix, slope, level, square)
            for g in range(lanes):
                cross = slope_of[g] * q[g] + 2.0 * gain_of[g] * np.float64(product[g])
                q[g] = slope_of[g] * cross + gain_of[g] * gain_of[g] * np.float64(square[g])
                nu[g] *= slope_of[g]
        for g in range(group.shape[0]):
            if not np.isnan(group[g, n]):
                for i in range(n):
                    group[g, i] = s[i * lanes + g]
                group[g, n], group[g, n + 1] = q[g], nu[g]
