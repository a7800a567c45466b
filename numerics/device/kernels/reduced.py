"""Label-noise SGD for F(u) = g(|u|) u in the n + 2 numbers of C12, on a GPU. Knows no law.

A program of one warp steps BLOCK replicas, their states in registers: s = X u as two tiles, (HEAD, BLOCK) and
(TAIL, BLOCK), whose lengths are powers of two and add up to n or little more. With 32 replicas a thread holds its own
and no sum crosses threads; with fewer, a replica has several threads of the warp, and no sum crosses warps. Rows lie
along axis AXIS of a tile, written (HEAD, BLOCK) here for 0. gram is symmetric: column row of it is loaded with stride
n, which keeps the tile's layout.
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
def levels(q, limit):
    """g and g' / r as tensors; NaN, which spreads over the whole state in one step, where q has left [0, limit]."""
    level = tl.where((q >= 0.0) & (q <= limit), gain(q), float("nan"))
    return level, tl.zeros_like(q) + gain_slope(q)


@triton.jit
def down(a, AXIS: tl.constexpr):
    """What belongs to rows, along the tiles' axis of rows."""
    return tl.expand_dims(a, 1 - AXIS)


@triton.jit
def across(i, AXIS: tl.constexpr):
    """What belongs to replicas, along their axis."""
    return tl.expand_dims(i, AXIS)


@triton.jit
def entry(tile, a, row, AXIS: tl.constexpr):
    """The entry of a tile in row, zero where it has none: the bits of all entries masked and joined, as none adds."""
    mine = down(a, AXIS) == across(row, AXIS)
    bits: tl.constexpr = tl.int64 if tile.dtype == tl.float64 else tl.int32
    return tl.xor_sum(tl.where(mine, tile.to(bits, bitcast=True), 0), axis=AXIS).to(tile.dtype, bitcast=True)


@triton.jit
def column(gram, a, row, n: tl.constexpr, AXIS: tl.constexpr):
    """X x_row in the rows of a tile."""
    return tl.load(gram + down(a, AXIS) * n + across(row, AXIS), mask=down(a, AXIS) < n, other=0.0)


@triton.jit
def nothing_yet(s, t, q):
    """Of a batch's v = sum_b weight_b x_b before its first sample: X v in each tile, 1 - keep, <u, v> and |v|^2."""
    zero = tl.zeros_like(q)
    return tl.zeros_like(s), tl.zeros_like(t), zero, zero, zero


@triton.jit
def stepped(s, t, q, nu, limit, pull_s, pull_t, shrink, along, square, AXIS: tl.constexpr):
    """The state of u -> keep u - v, and the levels there."""
    keep = 1.0 - shrink
    q = keep * keep * q - 2.0 * keep * along + square
    level, slope = levels(q, limit)
    return across(keep, AXIS) * s - pull_s, across(keep, AXIS) * t - pull_t, q, keep * nu, level, slope


@triton.jit(do_not_specialize=["count"])  # a multiple of 16 would give a thread two replicas, and shuffles
def advance(
    states, gram, y, rates, paces, sigmas, limits, replicas, numbers, count,
    n: tl.constexpr, BATCH: tl.constexpr, HEAD: tl.constexpr, TAIL: tl.constexpr, BLOCK: tl.constexpr,
    REAL: tl.constexpr, PURPOSE: tl.constexpr, AXIS: tl.constexpr,
):  # fmt: skip
    """Advance states (n + 2, R) in place. Rows: s, q = |u|^2, nu; a replica whose q leaves [0, limit] becomes NaN.

    gram (n, n), y (n,), rates (R,), paces (steps,): the learning rate over the batch is their product; sigmas and
    limits (R,), replicas (R,) int64 the stream numbers, numbers = (first step, steps, two key words) int64; count = R.
    """
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    here = i < count
    a, b = tl.arange(0, HEAD), HEAD + tl.arange(0, TAIL)
    s_at = states + down(a, AXIS).to(tl.int64) * count + across(i, AXIS)
    t_at = states + down(b, AXIS).to(tl.int64) * count + across(i, AXIS)
    s_here, t_here = (down(a, AXIS) < n) & across(here, AXIS), (down(b, AXIS) < n) & across(here, AXIS)
    s, t = tl.load(s_at, mask=s_here, other=0.0), tl.load(t_at, mask=t_here, other=0.0)
    q_at = states + tl.full((), n, tl.int64) * count + i
    q, nu = tl.load(q_at, mask=here, other=1.0), tl.load(q_at + count, mask=here, other=0.0)
    rate, sigma = tl.load(rates + i, mask=here, other=0.0), tl.load(sigmas + i, mask=here, other=0.0)
    limit = tl.load(limits + i, mask=here, other=2.0)
    stream = tl.load(replicas + i, mask=here, other=0).to(tl.uint32)
    first, steps, key = tl.load(numbers), tl.load(numbers + 1), numbers + 2
    begin, end = first * BATCH, (first + steps) * BATCH
    level, slope = levels(q, limit)
    pull_s, pull_t, shrink, along, square = nothing_yet(s, t, q)
    for block in range(begin >> 1, (end + 1) >> 1):
        even, odd, word0, word1 = block_of_two(key, block, stream, PURPOSE, REAL)
        for half in tl.static_range(2):
            sample = 2 * block + half
            due = (sample >= begin) & (sample < end)  # the first and the last block may be shared with another call
            row, normal = row_index(word0 if half == 0 else word1, n), even if half == 0 else odd
            pace = tl.load(paces + (sample // BATCH - first), mask=due, other=0.0)
            score = entry(s, a, row, AXIS) + entry(t, b, row, AXIS)
            error = pace * rate * (level * score - tl.load(y + row) - sigma * normal)
            weight = tl.where(due, error * level, 0.0)
            if BATCH > 1:
                square += 2.0 * weight * (entry(pull_s, a, row, AXIS) + entry(pull_t, b, row, AXIS))
            square += weight * weight * tl.load(gram + row * (n + 1))
            shrink += tl.where(due, error * score * slope, 0.0)
            along += weight * score
            pull_s += across(weight, AXIS) * column(gram, a, row, n, AXIS)
            pull_t += across(weight, AXIS) * column(gram, b, row, n, AXIS)
            if BATCH == 1 or due & ((sample + 1) % BATCH == 0):
                s, t, q, nu, level, slope = stepped(s, t, q, nu, limit, pull_s, pull_t, shrink, along, square, AXIS)
                pull_s, pull_t, shrink, along, square = nothing_yet(s, t, q)
    tl.store(s_at, s, mask=s_here)
    tl.store(t_at, t, mask=t_here)
    tl.store(q_at, q, mask=here)
    tl.store(q_at + count, nu, mask=here)
