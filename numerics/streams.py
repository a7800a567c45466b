"""Counter-based random streams: Philox 4x32-10 (Salmon et al. 2011), one stream per (seed, purpose, replica).

Sample number t of a stream is a pair (standard normal, 32-bit word), computed from its address alone, so that bits
depend on neither threads, chunks nor order. Block j = t // 2 of four words (w0, w1, w2, w3) holds two samples:
Box-Muller turns (w0, w1) into the normals of t = 2j and 2j + 1; w2 and w3 are their words.

The transform uses only +, -, *, / and sqrt, without contraction, so normals carry the same bits on every IEEE machine.
Uniforms have 32 bits: |normal| <= 6.66; an index drawn from a word has bias at most n / 2^32.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from numerics.errors import InputError

#: what a stream is used for: part of its address, so that no two uses share numbers
PURPOSES = {"sgd": 0, "start": 1, "direction": 2, "data": 3, "static-noise": 4, "resample": 5}

#: blocks a kernel draws at once: small enough for the first-level cache, long enough to vectorise
BLOCKS = 64

#: the window of a buffer that holds no block: out of reach of every sample
NOTHING = -(2**62)

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW, _SHIFT = np.uint64(0xFFFFFFFF), np.uint64(32)

_LN2 = 0.6931471805599453
_HALF_PI = 1.5707963267948966
_TWO_TO_MINUS_32 = 2.0**-32
_ROOT_HALF_BITS = np.int64(0x3FE6A09E667F3BCD)  # of sqrt(1/2): splits exponents so that mantissas lie around 1
_EXPONENT_SHIFT = np.int64(52)


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
    low, shift = _LOW, _SHIFT
    base = (np.uint64(c1) << shift) | np.uint64(c0)
    for j in range(out.shape[1]):
        block = base + np.uint64(j)
        x0, x1, x2, x3 = block & low, block >> shift, np.uint64(c2), np.uint64(c3)
        y0, y1 = np.uint64(k0), np.uint64(k1)
        for _ in range(10):
            p0, p1 = _M0 * x0, _M1 * x2
            x0, x1, x2, x3 = (p1 >> shift) ^ x1 ^ y0, p1 & low, (p0 >> shift) ^ x3 ^ y1, p0 & low
            y0, y1 = (y0 + _W0) & low, (y1 + _W1) & low
        out[0, j], out[1, j], out[2, j], out[3, j] = x0, x1, x2, x3


@njit(cache=True, nogil=True, error_model="numpy")
def _minus_two_log(words, scratch, out):
    """out = -2 ln((w + 1/2) / 2^32): exponent and mantissa split in integers, then the series of 2 artanh."""
    bits = scratch.view(np.int64)
    for j in range(words.size):
        scratch[j] = (np.float64(np.int64(words[j])) + 0.5) * _TWO_TO_MINUS_32
    for j in range(words.size):
        exponent = (bits[j] - _ROOT_HALF_BITS) >> _EXPONENT_SHIFT
        out[j] = np.float64(exponent)
        bits[j] -= exponent << _EXPONENT_SHIFT
    for j in range(words.size):
        m = scratch[j]  # in [1/sqrt 2, sqrt 2), where the series converges fast
        s = (m - 1.0) / (m + 1.0)
        z = s * s
        p = 1.0 / 21.0
        p = p * z + 1.0 / 19.0
        p = p * z + 1.0 / 17.0
        p = p * z + 1.0 / 15.0
        p = p * z + 1.0 / 13.0
        p = p * z + 1.0 / 11.0
        p = p * z + 1.0 / 9.0
        p = p * z + 1.0 / 7.0
        p = p * z + 1.0 / 5.0
        p = p * z + 1.0 / 3.0
        p = p * z + 1.0
        out[j] = -2.0 * (out[j] * _LN2 + 2.0 * s * p)


@njit(cache=True, nogil=True, error_model="numpy")
def _box_muller(words, squares, normals):
    """normals[:, j] = sqrt(squares[j]) (cos, sin)(2 pi (w_j + 1/2) / 2^32), octants by Taylor series."""
    for j in range(words.size):
        quarter_turns = (np.float64(np.int64(words[j])) + 0.5) * (4.0 * _TWO_TO_MINUS_32)
        nearest = np.int64(quarter_turns + 0.5)
        x = (quarter_turns - np.float64(nearest)) * _HALF_PI
        z = x * x
        s = -1.0 / 1307674368000.0
        s = s * z + 1.0 / 6227020800.0
        s = s * z - 1.0 / 39916800.0
        s = s * z + 1.0 / 362880.0
        s = s * z - 1.0 / 5040.0
        s = s * z + 1.0 / 120.0
        s = s * z - 1.0 / 6.0
        s = (s * z + 1.0) * x
        c = 1.0 / 20922789888000.0
        c = c * z - 1.0 / 87178291200.0
        c = c * z + 1.0 / 479001600.0
        c = c * z - 1.0 / 3628800.0
        c = c * z + 1.0 / 40320.0
        c = c * z - 1.0 / 720.0
        c = c * z + 1.0 / 24.0
        c = c * z - 1.0 / 2.0
        c = c * z + 1.0
        odd = np.float64(nearest & 1)  # products instead of branches: the loop stays vectorisable
        radius = np.sqrt(squares[j])
        normals[0, j] = (1.0 - np.float64((nearest + 1) & 2)) * radius * (c + odd * (s - c))
        normals[1, j] = (1.0 - np.float64(nearest & 2)) * radius * (s + odd * (c - s))


@njit(cache=True, nogil=True, error_model="numpy")
def fill(k0, k1, purpose, replica, block, words, scratch, normals):
    """Blocks block, ..., block + m - 1 of a stream into words (4, m) and normals (2, m); scratch is (2, m).

    Sample t = 2 (block + j) + i has the normal normals[i, j] and the 32-bit word words[2 + i, j].
    """
    philox(np.uint64(block) & _LOW, np.uint64(block) >> _SHIFT, np.uint64(replica), np.uint64(purpose), k0, k1, words)
    _minus_two_log(words[0], scratch[0], scratch[1])
    _box_muller(words[1], scratch[1], normals)


@njit(cache=True, nogil=True, error_model="numpy")
def workspace(streams):
    """Buffers of several streams: window ``(m,)``, words ``(m, 4, BLOCKS)``, scratch and normals ``(m, 2, BLOCKS)``.

    Columns j = 0..BLOCKS-1 of a stream's buffers hold its blocks window + j; with window = NOTHING they hold none yet.
    """
    shape = (streams, 2, BLOCKS)
    return np.full(streams, NOTHING), np.empty((streams, 4, BLOCKS), np.uint64), np.empty(shape), np.empty(shape)


@njit(cache=True, nogil=True, error_model="numpy")
def refill(sample, i, key, purpose, replica, window, words, scratch, normals):
    """Move the buffers of stream i so that they begin with the block of this sample."""
    window[i] = sample >> 1
    fill(key[0], key[1], purpose, replica, window[i], words[i], scratch[i], normals[i])


@njit(cache=True, nogil=True, error_model="numpy")
def row_index(word, n):
    """A row in [0, n) from a 32-bit word, by multiply and shift."""
    return np.int64((word * np.uint64(n)) >> _SHIFT)


def samples(
    *, seed: int, purpose: str, replica: int, first: int, count: int
) -> tuple[NDArray[np.float64], NDArray[np.uint64]]:
    """Samples first, ..., first + count - 1 of a stream: normals (count,) and 32-bit words (count,)."""
    block = first // 2
    m = (first + count + 1) // 2 - block
    words, scratch, normals = np.empty((4, m), np.uint64), np.empty((2, m)), np.empty((2, m))
    k0, k1 = key(seed)
    fill(np.uint64(k0), np.uint64(k1), PURPOSES[purpose], replica, block, words, scratch, normals)
    wanted = slice(first - 2 * block, first - 2 * block + count)
    return normals.T.ravel()[wanted], words[2:].T.ravel()[wanted]
