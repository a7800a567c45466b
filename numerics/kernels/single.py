"""The float32 normals of `numerics.streams`: the same words, the same Box-Muller transform in single precision.

Absolute error below 2e-6 against float64.
"""

import math

import numpy as np
from numba import njit

from numerics.kernels.lanes import as_bits, as_float, fma

_F = np.float32
_ONE, _HALF = _F(1), _F(0.5)
_LN2, _RADIANS, _LARGE = _F(math.log(2)), _F(math.pi / 2 * 2.0**-30), _F(0.75)
_TWO_52, _TWO_52_BITS, _TWO_TO_MINUS_32, _ALL = 2.0**52, np.uint64(0x4330000000000000), 2.0**-32, np.uint64(0xFFFFFFFF)
_ROOT_HALF_BITS, _BIAS, _EXPONENT_SHIFT = np.uint32(0x3F3504F3), np.uint32(128 << 23), np.uint32(23)
_TWO_23, _TWO_23_BITS = _F(2.0**23), np.uint32(0x4B000000)
_EIGHTH_TURN, _QUARTER_SHIFT, _SIGN_SHIFT = np.uint32(1 << 29), np.uint32(30), np.uint32(30)
_QUARTER_LOW = np.uint32((1 << 30) - 1)

# Minimax coefficients of fdlibm (e_logf.c, k_sinf.c, k_cosf.c), rounded to float32
_LOG = (_F(0.66666662693), _F(0.40000972152), _F(0.28498786688), _F(0.24279078841))
_SIN = (_F(-1 / 6), _F(8.3333337670e-03), _F(-1.9839334836e-04), _F(2.7183114939e-06))
_COS = (_F(0.0416666642), _F(-1.3888375e-03), _F(2.4390e-05))


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _minus_two_log_32(word):
    """-2 ln((word + 1/2) / 2^32)."""
    u = _F((as_float(word | _TWO_52_BITS) - (_TWO_52 - 0.5)) * _TWO_TO_MINUS_32)
    rest = _F((as_float((word ^ _ALL) | _TWO_52_BITS) - (_TWO_52 - 0.5)) * _TWO_TO_MINUS_32)  # 1 - u, to all digits
    bits = as_bits(u)
    exponent = np.uint32(np.uint32(bits - _ROOT_HALF_BITS + _BIAS) >> _EXPONENT_SHIFT)
    m = as_float(np.uint32(bits - (exponent << _EXPONENT_SHIFT) + _BIAS))
    s = (-rest if u > _LARGE else m - _ONE) / (m + _ONE)
    z = s * s
    p = fma(z, _LOG[3], _LOG[2])
    p = fma(z, p, _LOG[1])
    p = fma(z, p, _LOG[0])
    k = as_float(np.uint32(exponent | _TWO_23_BITS)) - (_TWO_23 + _F(128))
    return fma(k, _F(-2) * _LN2, s * fma(_F(-2) * z, p, _F(-4)))


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _box_muller_32(word, square):
    """sqrt(square) (cos, sin)(2 pi (word + 1/2) / 2^32), by quarter turns."""
    shifted = np.uint32(np.uint32(word) + _EIGHTH_TURN)
    quarter = np.uint32(shifted >> _QUARTER_SHIFT)
    angle = as_float(np.uint64(shifted & _QUARTER_LOW) | _TWO_52_BITS) - (_TWO_52 + 2.0**29)
    x = fma(_F(angle), _RADIANS, _HALF * _RADIANS)
    z = x * x
    s = fma(z, _SIN[3], _SIN[2])
    s = fma(z, s, _SIN[1])
    s = fma(z, s, _SIN[0])
    s = fma(x * z, s, x)
    c = fma(z, _COS[2], _COS[1])
    c = fma(z, c, _COS[0])
    c = fma(z * z, c, fma(z, -_HALF, _ONE))
    radius = np.sqrt(max(square, _F(0)))
    odd = (quarter & np.uint32(1)) != np.uint32(0)
    cosine, sine = s if odd else c, c if odd else s
    return (
        as_float(np.uint32(as_bits(cosine * radius) ^ (((quarter + np.uint32(1)) & np.uint32(2)) << _SIGN_SHIFT))),
        as_float(np.uint32(as_bits(sine * radius) ^ ((quarter & np.uint32(2)) << _SIGN_SHIFT))),
    )
