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
def predictor(p, r, limit):
    """w = F(p, r); NaN, which spreads over the whole replica in one step, where it is beyond the limit."""
    w = value(p, r)
    return tl.where(tl.abs(w) <= limit[:, None], w, float("nan"))


@triton.jit
def stepped(p, r, v, limit, FACTORS: tl.constexpr):
    """The parameters after a step of w by -v to first order, and w there. One factor stands for both."""
    following = p - v * slope_a(p, r)
    other = r - v * slope_b(p, r) if FACTORS == 2 else following
    return following, other, predictor(following, other, limit)


@triton.jit(do_not_specialize=["count"])  # one code for any count
def advance(
    states, X, y, rates, paces, sigmas, limits, replicas, numbers, count,
    n: tl.constexpr, d: tl.constexpr, BATCH: tl.constexpr, FACTORS: tl.constexpr, D: tl.constexpr,
    BLOCK: tl.constexpr, REAL: tl.constexpr, PURPOSE: tl.constexpr,
):  # fmt: skip
    """Advance states (R, FACTORS, d) in place; a replica with an |F(u)_j| beyond its limit becomes NaN.

    X (n, d), y (n,), rates (R,), paces (steps,): the learning rate over the batch is their product; sigmas and limits
    (R,), replicas (R,) int64 the stream numbers, numbers = (first step, steps, two key words) int64; count = R, D a
    power of 2, at least d.
    """
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    j = tl.arange(0, D)
    here = i < count
    tile = here[:, None] & (j[None, :] < d)
    p_at = states + i[:, None].to(tl.int64) * (FACTORS * d) + j[None, :]
    r_at = p_at + (FACTORS - 1) * d
    p, r = tl.load(p_at, mask=tile, other=1.0), tl.load(r_at, mask=tile, other=1.0)
    rate, sigma = tl.load(rates + i, mask=here, other=0.0), tl.load(sigmas + i, mask=here, other=0.0)
    limit = tl.load(limits + i, mask=here, other=1.0)
    stream = tl.load(replicas + i, mask=here, other=0).to(tl.uint32)
    first, steps, key = tl.load(numbers), tl.load(numbers + 1), numbers + 2
    begin, end = first * BATCH, (first + steps) * BATCH
    w = predictor(p, r, limit)
    v = tl.zeros_like(w)
    for block in range(begin >> 1, (end + 1) >> 1):
        even, odd, word0, word1 = block_of_two(key, block, stream, PURPOSE, REAL)
        for half in tl.static_range(2):
            sample = 2 * block + half
            due = (sample >= begin) & (sample < end)  # the first and the last block may be shared with another call
            row, normal = row_index(word0 if half == 0 else word1, n), even if half == 0 else odd
            pace = tl.load(paces + (sample // BATCH - first), mask=due, other=0.0)
            line = tl.load(X + row[:, None] * d + j[None, :], mask=j[None, :] < d, other=0.0)
            error = tl.sum(line * w, axis=1) - tl.load(y + row) - sigma * normal
            v += tl.where(due, pace * rate * error, 0.0)[:, None] * line
            if BATCH == 1 or due & ((sample + 1) % BATCH == 0):
                p, r, w = stepped(p, r, v, limit, FACTORS)
                v = tl.zeros_like(w)
    tl.store(p_at, p, mask=tile)
    if FACTORS == 2:
        tl.store(r_at, r, mask=tile)
