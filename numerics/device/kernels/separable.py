"""Label-noise SGD for w_j = F(theta_j), theta_j one factor or two, in all coordinates, on a GPU. Knows no law.

A program steps BLOCK replicas, their parameters in registers as tiles (BLOCK, D). A template for one factor ignores its
second argument.
"""

import triton
import triton.language as tl

from numerics.device.kernels.draws import block_of_two, row_index

# BEGIN FORMULAS: the product a b, replaced by numerics.specialise


@triton.jit
def value(a, b):
    """F(a, b)."""
    return a * b


@triton.jit
def slope_a(a, b):
    """dF/da."""
    return b


@triton.jit
def slope_b(a, b):
    """dF/db."""
    return a


# END FORMULAS


@triton.jit
def sample(w, j, row, normal, rate, sigma, X, y, d):
    """rate times the error of one sample, times its row: a tile."""
    line = tl.load(X + row[:, None] * d + j[None, :], mask=j[None, :] < d, other=0.0)
    error = tl.sum(line * w, axis=1) - tl.load(y + row) - sigma * normal
    return (rate * error)[:, None] * line


@triton.jit
def predictor(p, r, j, d, limit):
    """w = F(p, r), and where any of it is beyond the limit."""
    w = value(p, r)
    beyond = (j[None, :] < d) & ((tl.abs(w) <= limit[:, None]) == 0)
    return w, tl.max(beyond.to(tl.int32), axis=1) > 0


@triton.jit
def moved_on(p, r, v, wrong, FACTORS: tl.constexpr):
    """The parameters after a step of w by -v to first order; NaN where wrong. One factor stands for both."""
    following = tl.where(wrong[:, None], float("nan"), p - v * slope_a(p, r))
    if FACTORS == 2:
        return following, tl.where(wrong[:, None], float("nan"), r - v * slope_b(p, r))
    return following, following


@triton.jit(do_not_specialize=["n", "d"])  # a size of 1 would become a constant, which has no type to convert
def advance(
    states, X, y, rates, sigmas, limits, replicas, numbers, count, n, d,
    BATCH: tl.constexpr, FACTORS: tl.constexpr, D: tl.constexpr, BLOCK: tl.constexpr, REAL: tl.constexpr,
    PURPOSE: tl.constexpr,
):  # fmt: skip
    """Advance states (R, FACTORS, d) in place; a replica with an |F(u)_j| beyond its limit becomes NaN.

    X (n, d), y (n,), rates (R,) = eta / batch, sigmas and limits (R,), replicas (R,) int64 the stream numbers,
    numbers = (first step, steps, two key words) int64; count = R, D a power of 2, at least d.
    """
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    j = tl.arange(0, D)
    here = i < count
    tile = here[:, None] & (j[None, :] < d)
    place = i[:, None].to(tl.int64) * (FACTORS * d) + j[None, :]
    p = tl.load(states + place, mask=tile, other=1.0)
    r = tl.load(states + place + (FACTORS - 1) * d, mask=tile, other=1.0)
    rate, sigma = tl.load(rates + i, mask=here, other=0.0), tl.load(sigmas + i, mask=here, other=0.0)
    limit = tl.load(limits + i, mask=here, other=1.0)
    stream = tl.load(replicas + i, mask=here, other=0).to(tl.uint32)
    first, steps, key = tl.load(numbers), tl.load(numbers + 1), numbers + 2
    if BATCH == 1:  # a block of two samples serves two steps
        for block in range(first >> 1, (first + steps + 1) >> 1):
            even, odd, word0, word1 = block_of_two(key, block, stream, PURPOSE, REAL)
            for half in tl.static_range(2):
                k = 2 * block + half
                due = (k >= first) & (k < first + steps)
                w, beyond = predictor(p, r, j, d, limit)
                row, normal = row_index(word0 if half == 0 else word1, n), even if half == 0 else odd
                v = sample(w, j, row, normal, tl.where(due, rate, 0.0), sigma, X, y, d)
                p, r = moved_on(p, r, v, due & beyond, FACTORS)
    else:
        for step in range(0, steps):
            begin = (first + step) * BATCH
            w, beyond = predictor(p, r, j, d, limit)
            v = w * 0.0
            for block in range(begin >> 1, (begin + BATCH + 1) >> 1):
                even, odd, word0, word1 = block_of_two(key, block, stream, PURPOSE, REAL)
                for half in tl.static_range(2):
                    t = 2 * block + half
                    pace = tl.where((t >= begin) & (t < begin + BATCH), rate, 0.0)
                    row, normal = row_index(word0 if half == 0 else word1, n), even if half == 0 else odd
                    v += sample(w, j, row, normal, pace, sigma, X, y, d)
            p, r = moved_on(p, r, v, beyond, FACTORS)
    tl.store(states + place, p, mask=tile)
    if FACTORS == 2:
        tl.store(states + place + d, r, mask=tile)
