"""The streams of `numerics.streams` inside a Triton kernel: Philox 4x32-10 and Box-Muller."""

import triton
import triton.language as tl


@triton.jit
def block_of_two(key, block, replicas, PURPOSE: tl.constexpr, REAL: tl.constexpr):
    """Samples 2 block and 2 block + 1 of the streams of replicas (R,) uint32: two normals, two 32-bit words.

    key points to two int64 holding the 32-bit key words; block is an int64 scalar.
    """
    k0, k1 = tl.load(key).to(tl.uint32), tl.load(key + 1).to(tl.uint32)
    zero = replicas ^ replicas
    at = zero.to(tl.int64) + block
    low, high = (at & 0xFFFFFFFF).to(tl.uint32), (at >> 32).to(tl.uint32)
    w0, w1, w2, w3 = tl.philox_impl(low, high, replicas, zero + PURPOSE, k0, k1)
    radius = tl.sqrt(-2.0 * tl.log((w0.to(REAL) + 0.5) * 2.3283064365386963e-10))
    angle = (w1.to(tl.int32, bitcast=True).to(REAL) + 0.5) * 1.4629180792671596e-09  # 2 pi / 2^32, in (-pi, pi)
    return radius * tl.cos(angle), radius * tl.sin(angle), w2, w3


@triton.jit
def row_index(word, n):
    """A row in [0, n) from a 32-bit word, by multiply and shift."""
    return tl.umulhi(word, (word ^ word) + n.to(tl.uint32)).to(tl.int32)


@triton.jit
def only_normals(out, key, replicas, count, blocks, BLOCK: tl.constexpr, REAL: tl.constexpr):
    """out (R,): the sum of the first 2 blocks normals of each stream. For timing the generator alone."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    stream = tl.load(replicas + i, mask=i < count, other=0).to(tl.uint32)
    total = tl.zeros((BLOCK,), REAL)
    for block in range(0, tl.load(blocks)):
        even, odd, first, second = block_of_two(key, block, stream, 0, REAL)
        total += even + odd + (first ^ second).to(REAL) * 0.0  # the words count as used
    tl.store(out + i, total, mask=i < count)
