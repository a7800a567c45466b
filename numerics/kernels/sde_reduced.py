"""Euler-Maruyama for the SDE of label-noise SGD, F(u) = g(|u|) u, in the n + 2 numbers of C12. Knows no law.

The path stays in span(rows of X, u_0): its state is s = X u ``(n,)``, q = |u|^2 and nu, the coordinate of u on the unit
null direction. A step u + sum_i h_i (g X_i + (g'/r) s_i u) costs one product with X X^T, whatever d. Replicas lie side
by side, so that all of a step vectorises.
"""

import numpy as np
from numba import njit

from numerics.kernels.lanes import aligned, products
from numerics.streams import NOTHING, fill_lanes

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

LANES = 32  # replicas side by side, a multiple of the two lines that `products` takes
DRAWS = 8  # blocks of random numbers drawn per replica at once


@njit(cache=True, nogil=True, error_model="numpy")
def transpose(group, s, q, nu, limit):
    """States ``(m, n + 2)`` into lanes, s ``(n, LANES)``. A lane without a replica, or a diverged one, rests."""
    n = group.shape[1] - 2
    for g in range(LANES):
        rest(g, s, q, nu, limit)
    for g in range(group.shape[0]):
        if not np.isnan(group[g, n]):
            for i in range(n):
                s[i * LANES + g] = group[g, i]
            q[g], nu[g] = group[g, n], group[g, n + 1]


@njit(cache=True, nogil=True, error_model="numpy")
def rest(g, s, q, nu, limit):
    """A lane whose result nobody wants."""
    s[g::LANES] = 0.0
    q[g], nu[g] = min(1.0, limit), 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def drop_diverged(group, s, q, nu, limit):
    """Replicas with q outside [0, limit] become NaN. Whether any is left."""
    n, left = group.shape[1] - 2, False
    for g in range(LANES):
        if not 0.0 <= q[g] <= limit:
            rest(g, s, q, nu, limit)
            if g < group.shape[0]:
                group[g] = np.nan
    for g in range(group.shape[0]):
        left |= not np.isnan(group[g, n])
    return left


@njit(cache=True, nogil=True, error_model="numpy")
def advance(states, replicas, gram, y, times, eta, batch, sigma, limit, key, purpose, first_step):
    """Advance states ``(R, n + 2)`` in place by steps of length times ``(steps,)``, the first of them first_step.

    The SDE and its noise of n normals are those of `numerics.kernels.sde`, not corrected; gram ``(n, n)`` = X X^T. s
    and the draws are rounded to the type of gram.
    """
    n = y.size
    size = n * LANES
    s, h, image, noise = aligned(gram, size), aligned(gram, size), aligned(gram, size), aligned(gram, size)
    matrix = gram.copy().reshape(n * n)
    stream = np.zeros(LANES, np.int64)
    q, nu, level, slope = np.empty(LANES), np.empty(LANES), np.empty(LANES), np.empty(LANES)
    share, along, product, square = np.empty(LANES), np.empty(LANES), np.empty(LANES), np.empty(LANES)
    words, squares = np.empty((4, DRAWS * LANES), np.uint64), np.empty(DRAWS * LANES, gram.dtype)
    normals = np.empty((2, DRAWS * LANES), gram.dtype)
    for first in range(0, states.shape[0], LANES):
        group = states[first : first + LANES]
        stream[: group.shape[0]] = replicas[first : first + LANES]
        transpose(group, s, q, nu, limit)
        window = NOTHING
        for k in range(times.size):
            inside = 0
            for g in range(LANES):
                inside += 1 if (q[g] >= 0.0) & (q[g] <= limit) else 0
            if inside < LANES and not drop_diverged(group, s, q, nu, limit):
                break
            for g in range(LANES):
                level[g], slope[g] = gain(q[g]), gain_slope(q[g])
                share[g], along[g], product[g], square[g] = 0.0, 0.0, 0.0, 0.0
            scale = np.sqrt(times[k] * eta / batch)
            for i in range(n):
                t = (first_step + k) * n + i
                if not 0 <= (t >> 1) - window < DRAWS:
                    window = t >> 1
                    fill_lanes(key, purpose, stream, window, words, squares, normals)
                half, at = t & 1, ((t >> 1) - window) * LANES
                for g in range(LANES):
                    e = level[g] * s[i * LANES + g] - y[i]
                    a = np.sqrt((e * e + sigma * sigma) / n)
                    v = e / (n * a) if a > 0.0 else 0.0
                    xi = normals[half, at + g]
                    share[g] += v * v
                    along[g] += v * xi
                    h[i * LANES + g] = e / n
                    noise[i * LANES + g] = a * xi
            for g in range(LANES):
                keep = (1.0 - np.sqrt(max(0.0, 1.0 - share[g]))) / share[g] if share[g] > 0.0 else 0.0
                along[g] = times[k] + scale * keep * along[g]
            for i in range(n):
                for g in range(LANES):
                    m = i * LANES + g
                    h[m] = scale * noise[m] - along[g] * h[m]
                    product[g] += h[m] * s[m]
            products(image, matrix, n, h, LANES)
            for g in range(LANES):
                slope[g] = 1.0 + slope[g] * product[g]
            for i in range(n):
                for g in range(LANES):
                    m = i * LANES + g
                    square[g] += h[m] * image[m]
                    s[m] = slope[g] * s[m] + level[g] * image[m]
            for g in range(LANES):
                q[g] = slope[g] * (slope[g] * q[g] + 2.0 * level[g] * product[g]) + level[g] * level[g] * square[g]
                nu[g] *= slope[g]
        for g in range(group.shape[0]):
            if not np.isnan(group[g, n]):
                group[g, :n] = s[g::LANES]
                group[g, n], group[g, n + 1] = q[g], nu[g]
