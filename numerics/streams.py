"""Counter-based random streams: Philox 4x32-10 (Salmon et al. 2011), one stream per (seed, purpose, replica).

Sample number t of a stream is a pair (standard normal, 32-bit word), computed from its address alone, so that bits
depend on neither threads, chunks nor order. Block j = t // 2 of four words (w0, w1, w2, w3) holds two samples:
Box-Muller turns (w0, w1) into the normals of t = 2j and 2j + 1; w2 and w3 are their words. Where only normals are
wanted (the SDE), number t is one of four of block t // 4: (w2, w3) give two more.

The transform uses only +, -, *, /, sqrt and fused multiply-adds where they are written, so normals carry the same bits
on every IEEE machine. Uniforms have 32 bits: |normal| <= 6.66; an index drawn from a word has bias at most n / 2^32.
"""

import math

import numpy as np
from numba import njit, types
from numba.extending import overload
from numpy.typing import NDArray

from numerics.errors import InputError
from numerics.kernels.lanes import EIGHT, as_bits, as_float, fma, get, put, splat
from numerics.kernels.single import _box_muller_32, _minus_two_log_32

#: what a stream is used for: part of its address, so that no two uses share numbers
PURPOSES = {"sgd": 0, "start": 1, "direction": 2, "data": 3, "static-noise": 4, "resample": 5}

#: blocks a kernel draws at once: small enough for the first-level cache, long enough to vectorise
BLOCKS = 64

#: the window of a buffer that holds no block: out of reach of every sample
NOTHING = -(2**62)

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW, _SHIFT = np.uint64(0xFFFFFFFF), np.uint64(32)

_ONE, _TWO, _SIGN_SHIFT = np.uint64(1), np.uint64(2), np.uint64(62)

# 2^52 + w has the bits of 2^52 with w in its low 32: how a word becomes a float64 on processors without a conversion
_TWO_52, _TWO_52_BITS = 2.0**52, np.uint64(0x4330000000000000)
_TWO_TO_MINUS_32 = 2.0**-32
_ROOT_HALF_BITS = np.uint64(0x3FE6A09E667F3BCD)  # of sqrt(1/2): splits exponents so that mantissas lie around 1
_EXPONENT_SHIFT, _BIAS = np.uint64(52), np.uint64(1024 << 52)
_EIGHTH_TURN, _QUARTER_SHIFT, _QUARTER_LOW = np.uint64(1 << 29), np.uint64(30), np.uint64((1 << 30) - 1)
_RADIANS = math.pi / 2 * 2.0**-30
_LN2 = 0.6931471805599453

# Minimax coefficients of fdlibm (Sun Microsystems 1993: e_log.c, k_sin.c, k_cos.c), errors below 2^-57
_LOG = (
    6.666666666666735130e-01,
    3.999999999940941908e-01,
    2.857142874366239149e-01,
    2.222219843214978396e-01,
    1.818357216161805012e-01,
    1.531383769920937332e-01,
    1.479819860511658591e-01,
)
_SIN = (
    -1.66666666666666324348e-01,
    8.33333333332248946124e-03,
    -1.98412698298579493134e-04,
    2.75573137070700676789e-06,
    -2.50507602534068634195e-08,
    1.58969099521155010221e-10,
)
_COS = (
    4.16666666666666019037e-02,
    -1.38888888888741095749e-03,
    2.48015872894767294178e-05,
    -2.75573143513906633035e-07,
    2.08757232129817482790e-09,
    -1.13596475577881948265e-11,
)


def key(seed: int) -> tuple[int, int]:
    """The two 32-bit Philox key words of a seed in [0, 2^64)."""
    if not 0 <= seed < 2**64:
        raise InputError("seed", seed, "is not in [0, 2^64)", "give a non-negative 64-bit integer")
    return seed & 0xFFFFFFFF, seed >> 32


@njit(cache=True, nogil=True, error_model="numpy")
def philox(c0, c1, c2, c3, k0, k1, out):
    """Ten Philox rounds on counters (c0 + j, c1, c2, c3), j = 0..m-1, into out (4, m) of uint64 holding 32-bit words.

    The carry from c0 into c1 is propagated; counters and keys are Python or uint64 integers below 2^32.
    """
    base = (np.uint64(c1) << _SHIFT) | np.uint64(c0)
    for j in range(out.shape[1]):
        block = base + np.uint64(j)
        counters = block & _LOW, block >> _SHIFT, np.uint64(c2), np.uint64(c3)
        out[0, j], out[1, j], out[2, j], out[3, j] = _block(counters, k0, k1)


# The functions below take numbers or lines of them: one text, whatever the processor has.


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _block(counters, k0, k1):
    """The four words of a counter of four. High halves may hold anything on the way: a product takes low ones alone."""
    x0, x1, x2, x3 = counters
    y0, y1 = np.uint64(k0), np.uint64(k1)
    for _ in range(10):
        p0, p1 = (x0 & _LOW) * _M0, (x2 & _LOW) * _M1
        x0, x1, x2, x3 = (p1 >> _SHIFT) ^ x1 ^ y0, p1, (p0 >> _SHIFT) ^ x3 ^ y1, p0
        y0, y1 = (y0 + _W0) & _LOW, (y1 + _W1) & _LOW
    return x0 & _LOW, x1 & _LOW, x2 & _LOW, x3 & _LOW


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _minus_two_log(word):
    """-2 ln((word + 1/2) / 2^32): exponent and mantissa split in integers, then the series of 2 artanh."""
    bits = as_bits((as_float(word | _TWO_52_BITS) - (_TWO_52 - 0.5)) * _TWO_TO_MINUS_32)
    exponent = (bits - _ROOT_HALF_BITS + _BIAS) >> _EXPONENT_SHIFT  # plus 1024: shifts of signed numbers are slow
    m = as_float(bits - (exponent << _EXPONENT_SHIFT) + _BIAS)  # in [1/sqrt 2, sqrt 2), where the series is short
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    p = fma(z, _LOG[6], _LOG[5])
    p = fma(z, p, _LOG[4])
    p = fma(z, p, _LOG[3])
    p = fma(z, p, _LOG[2])
    p = fma(z, p, _LOG[1])
    p = fma(z, p, _LOG[0])
    k = as_float(exponent | _TWO_52_BITS) - (_TWO_52 + 1024.0)
    return fma(k, -2.0 * _LN2, s * fma(z * -2.0, p, -4.0))


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _box_muller(word, square):
    """sqrt(square) (cos, sin)(2 pi (word + 1/2) / 2^32), by quarter turns."""
    shifted = word + _EIGHTH_TURN
    quarter = shifted >> _QUARTER_SHIFT
    angle = as_float((shifted & _QUARTER_LOW) | _TWO_52_BITS) - (_TWO_52 + 2.0**29)
    x = fma(angle, _RADIANS, 0.5 * _RADIANS)  # in [-pi/4, pi/4]
    z = x * x
    s = fma(z, _SIN[5], _SIN[4])
    s = fma(z, s, _SIN[3])
    s = fma(z, s, _SIN[2])
    s = fma(z, s, _SIN[1])
    s = fma(z, s, _SIN[0])
    s = fma(x * z, s, x)
    c = fma(z, _COS[5], _COS[4])
    c = fma(z, c, _COS[3])
    c = fma(z, c, _COS[2])
    c = fma(z, c, _COS[1])
    c = fma(z, c, _COS[0])
    c = fma(z * z, c, fma(z, -0.5, 1.0))
    radius = np.sqrt(square)
    cosine, sine = as_bits(c * radius), as_bits(s * radius)
    swapped = (cosine ^ sine) & (((quarter & _ONE) ^ _ONE) - _ONE)  # in odd quarters they change places
    return (
        as_float(cosine ^ swapped ^ (((quarter + _ONE) & _TWO) << _SIGN_SHIFT)),
        as_float(sine ^ swapped ^ ((quarter & _TWO) << _SIGN_SHIFT)),
    )


def transform(words, normals):
    """Normals (2 k, m), float64 or float32, of words (2 k, m) or more rows, by pairs of rows; both contiguous."""
    raise NotImplementedError("compiled code only")


@overload(transform, jit_options={"nogil": True, "error_model": "numpy"})
def _transform(words, normals):
    def doubles(words, normals):
        m, whole = words.shape[1], words.shape[1] // EIGHT * EIGHT
        from_, to = words.reshape(words.size), normals.reshape(normals.size)
        for first in range(0, to.size, 2 * m):
            second = first + m
            for j in range(0, whole, EIGHT):
                cosine, sine = _box_muller(get(from_, second + j), _minus_two_log(get(from_, first + j)))
                put(to, first + j, cosine)
                put(to, second + j, sine)
            for j in range(whole, m):
                to[first + j], to[second + j] = _box_muller(from_[second + j], _minus_two_log(from_[first + j]))

    def singles(words, normals):
        for i in range(0, normals.shape[0], 2):
            for j in range(words.shape[1]):
                square = _minus_two_log_32(words[i, j])
                normals[i, j], normals[i + 1, j] = _box_muller_32(words[i + 1, j], square)

    return doubles if normals.dtype == types.float64 else singles


@njit(cache=True, nogil=True, error_model="numpy")
def fill(k0, k1, purpose, replica, block, words, normals):
    """Blocks block, ..., block + m - 1 of a stream into words (4, m) and normals (2, m).

    Sample t = 2 (block + j) + i has the normal normals[i, j] and the 32-bit word words[2 + i, j]. Normals (4, m): where
    normals alone are wanted, number 4 (block + j) + i is normals[i, j].
    """
    philox(np.uint64(block) & _LOW, np.uint64(block) >> _SHIFT, np.uint64(replica), np.uint64(purpose), k0, k1, words)
    transform(words, normals)


@njit(nogil=True, error_model="numpy")
def side_by_side(replicas, blocks):
    """Columns of `fill_lanes`: stream and block, from the first, of column ``j L + l``, both uint64 ``(blocks L,)``."""
    lanes = replicas.size
    stream, offset = np.empty(blocks * lanes, np.uint64), np.empty(blocks * lanes, np.uint64)
    for i in range(stream.size):
        stream[i], offset[i] = np.uint64(replicas[i % lanes]), np.uint64(i // lanes)
    return stream, offset


@njit(nogil=True, error_model="numpy")  # kept with the kernels, whose names tell when kernels/single.py changes
def fill_lanes(key, purpose, columns, block, words, normals):
    """Several streams side by side: column ``j L + l`` of words and normals is block + j of stream l, l = 0..L-1.

    columns from `side_by_side`, a multiple of EIGHT of them; words and normals as `fill` has them, or float32.
    """
    stream, offset = columns
    k0, k1, m = key[0], key[1], offset.size
    flat = words.reshape(words.size)
    for j in range(0, m, EIGHT):
        at = get(offset, j) + np.uint64(block)
        counters = at & _LOW, at >> _SHIFT, get(stream, j), splat(stream, np.uint64(purpose))
        w0, w1, w2, w3 = _block(counters, k0, k1)
        put(flat, j, w0)
        put(flat, m + j, w1)
        put(flat, 2 * m + j, w2)
        put(flat, 3 * m + j, w3)
    transform(words, normals)


@njit(cache=True, nogil=True, error_model="numpy")
def workspace(streams):
    """Buffers of several streams: window ``(m,)``, words ``(m, 4, BLOCKS)`` and normals ``(m, 2, BLOCKS)``.

    Columns j = 0..BLOCKS-1 of a stream's buffers hold its blocks window + j; with window = NOTHING they hold none yet.
    """
    return np.full(streams, NOTHING), np.empty((streams, 4, BLOCKS), np.uint64), np.empty((streams, 2, BLOCKS))


@njit(cache=True, nogil=True, error_model="numpy")
def refill(sample, i, key, purpose, replica, window, words, normals):
    """Move the buffers of stream i so that they begin with the block of this sample."""
    window[i] = sample >> 1
    fill(key[0], key[1], purpose, replica, window[i], words[i], normals[i])


@njit(cache=True, nogil=True, error_model="numpy")
def row_index(word, n):
    """A row in [0, n) from a 32-bit word, by multiply and shift."""
    return np.int64((word * np.uint64(n)) >> _SHIFT)


def normals(*, seed: int, purpose: str, replica: int, first: int, count: int) -> NDArray[np.float64]:
    """Numbers first, ..., first + count - 1 of a stream of which only normals are wanted ``(count,)``."""
    block = first // 4
    m = (first + count + 3) // 4 - block
    words, found = np.empty((4, m), np.uint64), np.empty((4, m))
    k0, k1 = key(seed)
    fill(np.uint64(k0), np.uint64(k1), PURPOSES[purpose], replica, block, words, found)
    return found.T.ravel()[first - 4 * block : first - 4 * block + count]


def samples(
    *, seed: int, purpose: str, replica: int, first: int, count: int
) -> tuple[NDArray[np.float64], NDArray[np.uint64]]:
    """Samples first, ..., first + count - 1 of a stream: normals (count,) and 32-bit words (count,)."""
    block = first // 2
    m = (first + count + 1) // 2 - block
    words, normals = np.empty((4, m), np.uint64), np.empty((2, m))
    k0, k1 = key(seed)
    fill(np.uint64(k0), np.uint64(k1), PURPOSES[purpose], replica, block, words, normals)
    wanted = slice(first - 2 * block, first - 2 * block + count)
    return normals.T.ravel()[wanted], words[2:].T.ravel()[wanted]
