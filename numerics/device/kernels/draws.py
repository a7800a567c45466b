"""The streams of `numerics.streams` inside a Triton kernel: Philox 4x32-10 and Box-Muller.

The transform is that of `numerics.streams` and `numerics.kernels.single`, series and splits alike: without the range
reduction of a library's sine and the special cases of its logarithm, whose slow paths would need local memory.
"""

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
    if tl.float64 == REAL:
        radius = tl.sqrt(minus_two_log(w0))
        cosine, sine = turned(w1)
    else:
        radius = tl.sqrt(minus_two_log_32(w0))
        cosine, sine = turned_32(w1)
    return radius * cosine, radius * sine, w2, w3


@triton.jit
def as_double(word):
    """2^52 + a word below 2^52: its bits behind the exponent of 2^52, no conversion."""
    return (word.to(tl.int64) | 0x4330000000000000).to(tl.float64, bitcast=True)


@triton.jit
def minus_two_log(word):
    """-2 ln((w + 1/2) / 2^32): exponent and mantissa split in integers, then the series of 2 artanh."""
    bits = ((as_double(word) - 4503599627370495.5) * 2.3283064365386963e-10).to(tl.int64, bitcast=True)
    exponent = (bits - 0x3FE6A09E667F3BCD + 0x4000000000000000) >> 52  # plus 1024
    m = (bits - (exponent << 52) + 0x4000000000000000).to(tl.float64, bitcast=True)  # in [1/sqrt 2, sqrt 2)
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    p = z * 1.479819860511658591e-01 + 1.531383769920937332e-01
    p = z * p + 1.818357216161805012e-01
    p = z * p + 2.222219843214978396e-01
    p = z * p + 2.857142874366239149e-01
    p = z * p + 3.999999999940941908e-01
    p = z * p + 6.666666666666735130e-01
    k = as_double(exponent) - 4503599627371520.0
    return k * -1.3862943611198906 + s * (-2.0 * z * p - 4.0)


@triton.jit
def turned(word):
    """(cos, sin)(2 pi (w + 1/2) / 2^32), by quarter turns."""
    shifted = word + 0x20000000
    quarter = shifted >> 30
    x = (as_double(shifted & 0x3FFFFFFF) - 4503600164241408.0) * 1.4629180792671596e-09 + 7.314590396335798e-10
    z = x * x
    s = z * 1.58969099521155010221e-10 - 2.50507602534068634195e-08
    s = z * s + 2.75573137070700676789e-06
    s = z * s - 1.98412698298579493134e-04
    s = z * s + 8.33333333332248946124e-03
    s = z * s - 1.66666666666666324348e-01
    s = (x * z) * s + x
    c = z * -1.13596475577881948265e-11 + 2.08757232129817482790e-09
    c = z * c - 2.75573143513906633035e-07
    c = z * c + 2.48015872894767294178e-05
    c = z * c - 1.38888888888741095749e-03
    c = z * c + 4.16666666666666019037e-02
    c = (z * z) * c + (z * -0.5 + 1.0)
    return by_quarter(quarter, c, s)


@triton.jit
def by_quarter(quarter, c, s):
    """(cos, sin) of an angle from those of what is left of it after so many quarter turns."""
    odd = (quarter & 1) != 0
    cosine, sine = tl.where(odd, s, c), tl.where(odd, c, s)
    return tl.where(((quarter + 1) & 2) != 0, -cosine, cosine), tl.where((quarter & 2) != 0, -sine, sine)


@triton.jit
def minus_two_log_32(word):
    """`minus_two_log` in single precision; above 3/4 from 1 - u, which has all its digits."""
    u = (word.to(tl.float32) + 0.5) * 2.3283064365386963e-10
    rest = ((word ^ 0xFFFFFFFF).to(tl.float32) + 0.5) * 2.3283064365386963e-10
    bits = u.to(tl.int32, bitcast=True)
    exponent = (bits - 0x3F3504F3) >> 23
    m = (bits - (exponent << 23)).to(tl.float32, bitcast=True)
    s = tl.where(u > 0.75, -rest, m - 1.0) / (m + 1.0)
    z = s * s
    p = z * 0.24279078841 + 0.28498786688
    p = z * p + 0.40000972152
    p = z * p + 0.66666662693
    return exponent.to(tl.float32) * -1.3862943611198906 + s * (-2.0 * z * p - 4.0)


@triton.jit
def turned_32(word):
    """`turned` in single precision."""
    shifted = word + 0x20000000
    quarter = shifted >> 30
    angle = ((shifted & 0x3FFFFFFF).to(tl.int32) - 0x20000000).to(tl.float32)
    x = angle * 1.4629180792671596e-09 + 7.314590396335798e-10
    z = x * x
    s = z * 2.7183114939e-06 - 1.9839334836e-04
    s = z * s + 8.3333337670e-03
    s = z * s - 0.16666666666666666
    s = (x * z) * s + x
    c = z * 2.4390e-05 - 1.3888375e-03
    c = z * c + 0.0416666642
    c = (z * z) * c + (z * -0.5 + 1.0)
    return by_quarter(quarter, c, s)


@triton.jit
def row_index(word, n):
    """A row in [0, n) from a 32-bit word, by multiply and shift."""
    return tl.umulhi(word, (word ^ word) + n).to(tl.int32)


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
