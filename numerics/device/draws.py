"""The streams of `numerics.streams` as torch operations: the same addresses, the same words, normals equal to rounding.

A 32-bit word is an int64 tensor: torch multiplies it modulo 2^64, which Philox needs, and knows no unsigned 64 bits.
"""

import math

import torch
from torch import Tensor

_M0, _M1, _W0, _W1 = 0xD2511F53, 0xCD9E8D57, 0x9E3779B9, 0xBB67AE85
_LOW = 0xFFFFFFFF
_HALF_RANGE = 1 << 31
_RADIANS = 2 * math.pi * 2.0**-32


def philox(c0: Tensor, c1: Tensor, c2: Tensor, c3: int, key: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ten Philox 4x32 rounds on counters that broadcast, int64 tensors of 32-bit words. No sync with the host."""
    x0, x1, x2, x3 = c0, c1, c2, torch.zeros_like(c0) + c3
    k0, k1 = key
    for _ in range(10):
        p0, p1 = x0 * _M0, x2 * _M1
        x0, x1, x2, x3 = _high(p1) ^ x1 ^ k0, p1 & _LOW, _high(p0) ^ x3 ^ k1, p0 & _LOW
        k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    return x0, x1, x2, x3


def _high(product: Tensor) -> Tensor:
    """The upper 32 bits; the shift drags the sign along."""
    return (product >> 32) & _LOW


def samples(
    key: tuple[int, int], purpose: int, replicas: Tensor, blocks: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Samples 2 j and 2 j + 1 of each block j in blocks ``(m,)``, of streams replicas ``(R,)``, both int64.

    Returns normals ``(2m, R)`` of dtype and 32-bit words ``(2m, R)``.
    """
    j = blocks[:, None]
    w0, w1, w2, w3 = philox(j & _LOW, j >> 32, replicas[None, :], purpose, key)
    radius = torch.sqrt(torch.log((w0.to(dtype) + 0.5) * 2.0**-32) * -2.0)
    angle = (((w1 ^ _HALF_RANGE) - _HALF_RANGE).to(dtype) + 0.5) * _RADIANS  # in (-pi, pi): half the rounding error
    normals = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], dim=1)
    return normals.flatten(0, 1), torch.stack([w2, w3], dim=1).flatten(0, 1)
