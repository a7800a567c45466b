"""Label-noise SGD for F(u) = g(|u|) u in the n + 2 numbers of C12, on a GPU. Knows no law.

A program steps BLOCK replicas, their states in registers: s = X u as a tile (N, BLOCK), so that with BLOCK threads
along the replicas each thread holds its own and no sum crosses threads. gram is symmetric: column row of it is loaded
with stride n, which keeps the tile's layout.
"""

import triton
import triton.language as tl

from numerics.device.kernels.draws import block_of_two, row_index

# BEGIN FORMULAS: depth 3, replaced by numerics.specialise


@triton.jit
def gain(q):
    """g(sqrt q)."""
    return q


@triton.jit
def gain_slope(q):
    """g'(r) / r at r = sqrt q."""
    return 2.0


# END FORMULAS


@triton.jit
def sample(s, a, row, normal, level, rate, sigma, y, gram, n):
    """Of one sample: where row is in the tile, score x_row . u, rate times the error, and X x_row as a tile."""
    mine = a[:, None] == row[None, :]
    score = tl.sum(tl.where(mine, s, 0.0), axis=0)
    error = rate * (level * score - tl.load(y + row) - sigma * normal)
    line = tl.load(gram + a[:, None] * n + row[None, :], mask=a[:, None] < n, other=0.0)
    return mine, score, error, line


@triton.jit
def moved_on(s, q, nu, keep, change, along, square, wrong):
    """The state of u -> keep u - v, from X v, <u, v> and |v|^2; NaN where wrong."""
    s = tl.where(wrong[None, :], float("nan"), keep[None, :] * s - change)
    q = tl.where(wrong, float("nan"), keep * keep * q - 2.0 * keep * along + square)
    return s, q, tl.where(wrong, float("nan"), keep * nu)


@triton.jit(do_not_specialize=["n"])  # a size of 1 would become a constant, which has no type to convert
def advance(
    states, gram, y, rates, sigmas, limits, replicas, numbers, count, n,
    BATCH: tl.constexpr, N: tl.constexpr, BLOCK: tl.constexpr, REAL: tl.constexpr, PURPOSE: tl.constexpr,
):  # fmt: skip
    """Advance states (n + 2, R) in place. Rows: s, q = |u|^2, nu; a replica whose q leaves [0, limit] becomes NaN.

    gram (n, n), y (n,), rates (R,) = eta / batch, sigmas and limits (R,), replicas (R,) int64 the stream numbers,
    numbers = (first step, steps, two key words) int64; count = R, N a power of 2, at least n.
    """
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    a = tl.arange(0, N)
    here = i < count
    tile = (a[:, None] < n) & here[None, :]
    place = a[:, None].to(tl.int64) * count + i[None, :]
    s = tl.load(states + place, mask=tile, other=0.0)
    q_at, nu_at = states + n.to(tl.int64) * count + i, states + (n + 1).to(tl.int64) * count + i
    q, nu = tl.load(q_at, mask=here, other=1.0), tl.load(nu_at, mask=here, other=0.0)
    rate, sigma = tl.load(rates + i, mask=here, other=0.0), tl.load(sigmas + i, mask=here, other=0.0)
    limit = tl.load(limits + i, mask=here, other=2.0)
    stream = tl.load(replicas + i, mask=here, other=0).to(tl.uint32)
    first, steps, key = tl.load(numbers), tl.load(numbers + 1), numbers + 2
    if BATCH == 1:  # a block of two samples serves two steps
        for block in range(first >> 1, (first + steps + 1) >> 1):
            even, odd, word0, word1 = block_of_two(key, block, stream, PURPOSE, REAL)
            for half in tl.static_range(2):
                k = 2 * block + half
                due = (k >= first) & (k < first + steps)
                wrong = due & (((q >= 0.0) & (q <= limit)) == 0)
                level, slope, pace = gain(q), gain_slope(q), tl.where(due, rate, 0.0)
                row, normal = row_index(word0 if half == 0 else word1, n), even if half == 0 else odd
                _, score, error, line = sample(s, a, row, normal, level, pace, sigma, y, gram, n)
                weight = error * level
                square = weight * weight * tl.load(gram + row * (n + 1))
                keep = 1.0 - error * score * slope
                s, q, nu = moved_on(s, q, nu, keep, weight[None, :] * line, weight * score, square, wrong)
    else:
        for step in range(0, steps):
            begin = (first + step) * BATCH
            wrong = ((q >= 0.0) & (q <= limit)) == 0
            level, slope = gain(q), gain_slope(q)
            change = s * 0.0  # X v of the batch's v = sum_b weight_b x_b so far
            shrink, along, square = q * 0.0, q * 0.0, q * 0.0  # 1 - keep, <u, v> and |v|^2
            for block in range(begin >> 1, (begin + BATCH + 1) >> 1):
                even, odd, word0, word1 = block_of_two(key, block, stream, PURPOSE, REAL)
                for half in tl.static_range(2):
                    t = 2 * block + half
                    pace = tl.where((t >= begin) & (t < begin + BATCH), rate, 0.0)
                    row, normal = row_index(word0 if half == 0 else word1, n), even if half == 0 else odd
                    mine, score, error, line = sample(s, a, row, normal, level, pace, sigma, y, gram, n)
                    weight = error * level
                    cross = tl.sum(tl.where(mine, change, 0.0), axis=0)
                    square += weight * (2.0 * cross + weight * tl.load(gram + row * (n + 1)))
                    shrink += error * score * slope
                    along += weight * score
                    change += weight[None, :] * line
            s, q, nu = moved_on(s, q, nu, 1.0 - shrink, change, along, square, wrong)
    tl.store(states + place, s, mask=tile)
    tl.store(q_at, q, mask=here)
    tl.store(nu_at, nu, mask=here)
