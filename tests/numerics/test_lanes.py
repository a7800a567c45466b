"""Lines of 64 bytes: each element is what the number alone would be, and numbers among them are repeated."""

import operator

import numpy as np
import pytest
from numba import njit

from numerics.kernels.lanes import (
    aligned,
    as_bits,
    as_float,
    fma,
    get,
    in_whole_lines,
    inverse_root,
    line_of,
    put,
    splat,
)
from numerics.start import generator

FLOATS = (operator.add, operator.sub, operator.mul, operator.truediv)
INTEGERS = (operator.add, operator.sub, operator.mul, operator.and_, operator.or_, operator.xor)


def numbers(dtype, count=64):
    draw = generator(8, "lines")
    if dtype == np.uint64:
        return draw.integers(0, 2**64, (2, count), dtype)
    return (draw.standard_normal((2, count)) * 10.0 ** draw.integers(-5, 5, (2, count))).astype(dtype)


def by_lines(act):
    """act on two arrays, a line at a time."""

    @njit
    def compiled(x, y, out):
        for i in range(0, x.size, line_of(x)):
            put(out, i, act(get(x, i), get(y, i)))

    def applied(x, y):
        out = np.empty_like(x)
        compiled(x, y, out)
        return out

    return applied


@pytest.mark.parametrize(("dtype", "operations"), [(np.float64, FLOATS), (np.float32, FLOATS), (np.uint64, INTEGERS)])
def test_a_line_is_its_elements(dtype, operations):
    x, y = numbers(dtype)
    for operation in operations:
        found = by_lines(njit(lambda x, y, operation=operation: operation(x, y)))(x, y)
        assert np.array_equal(found, operation(x, y)), operation.__name__


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_number_among_lines_is_rounded_to_their_type_and_repeated(dtype):
    x, y = numbers(dtype)
    third = dtype(1 / 3)
    assert np.array_equal(by_lines(njit(lambda x, y: x * (1 / 3) - y))(x, y), x * third - y)
    assert np.array_equal(by_lines(njit(lambda x, y: (1 / 3) / y + x))(x, y), third / y + x)
    bits = numbers(np.uint64)
    shifted = by_lines(njit(lambda x, y: (x << np.uint64(7)) ^ (y >> np.uint64(9))))(*bits)
    assert np.array_equal(shifted, (bits[0] << np.uint64(7)) ^ (bits[1] >> np.uint64(9)))


def test_a_fused_product_is_rounded_once():
    """x y - fl(x y) is exactly what the product's rounding lost, by numbers and by lines."""
    x, y = numbers(np.float64)
    lost = by_lines(njit(lambda x, y: fma(x, y, x * y * -1.0)))(x, y)
    alone = njit(lambda x, y: fma(x, y, -(x * y)))
    assert np.array_equal(lost, [alone(a, b) for a, b in zip(x, y, strict=True)])
    assert 0 < np.abs(lost / (x * y)).max() < 2.0**-52


def test_bits_go_there_and_back():
    x, y = numbers(np.float64)
    assert np.array_equal(by_lines(njit(lambda x, y: as_float(as_bits(x) ^ as_bits(y) ^ as_bits(x))))(x, y), y)
    assert as_bits_of(1.5) == np.float64(1.5).view(np.uint64)


@njit
def as_bits_of(x):
    return as_bits(x)


@pytest.mark.parametrize(("dtype", "decades"), [(np.float64, 300), (np.float32, 37)])
def test_inverse_roots_are_right_to_two_ulps_at_every_size(dtype, decades):
    """80 000 numbers, the smallest and largest that the SDE may meet among them."""
    x = np.geomspace(10.0**-decades, 10.0 ** (decades - 1), 80_000).astype(dtype)
    found = by_lines(njit(lambda x, y: inverse_root(x)))(x, x)
    exact = 1 / np.sqrt(x.astype(np.longdouble))
    assert np.abs(found / exact - 1).max() < 2 * np.finfo(dtype).eps


def test_room_for_lines_begins_on_a_line():
    room = njit(lambda like, size: aligned(like, size))
    for size in (1, 8, 1000):
        assert room(np.empty(0), size).ctypes.data % 64 == 0


def test_a_splat_is_a_line_of_the_array_s_type():
    @njit
    def filled(out, x):
        put(out, 0, splat(out, x))

    out = np.empty(16, np.float32)
    filled(out, 0.1)
    assert np.array_equal(out, np.full(16, np.float32(0.1)))


def test_the_compiler_is_told_to_fill_whole_lines():
    """Its text says so, for the function that asks and no other."""

    @njit
    def wide(x):
        in_whole_lines()
        return x.sum()

    @njit
    def narrow(x):
        return x.sum()

    assert wide(np.arange(20.0)) == narrow(np.arange(20.0)) == 190.0
    told = '"prefer-vector-width"="512"'
    assert told in next(iter(wide.inspect_llvm().values()))
    assert told not in next(iter(narrow.inspect_llvm().values()))
