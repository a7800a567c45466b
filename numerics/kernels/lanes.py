"""Operations that numba does not offer: fused multiply-add, a number's bits, and rows added 64 bytes at a time.

The compiler cannot see that a state and the matrix it is updated from never overlap, and so would add rows one number
at a time. Lengths are padded to whole lines of 64 bytes, so that no loop has a remainder. Every element is rounded in
the same order whatever the processor's vector width: bits do not depend on it.
"""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

LINE = 64  # bytes
_INT = ir.IntType(32)


@intrinsic
def fma(typingctx, x, y, z):
    """x y + z, rounded once."""
    return z(z, z, z), lambda context, builder, signature, args: builder.fma(*args)


@intrinsic
def as_bits(typingctx, x):
    """The bits of a float64 or float32, as an unsigned integer of its size."""
    to = types.uint64 if x == types.float64 else types.uint32
    return to(x), lambda context, builder, signature, args: builder.bitcast(args[0], context.get_value_type(to))


@intrinsic
def as_float(typingctx, x):
    """The float64 or float32 with these bits."""
    to = types.float64 if x == types.uint64 else types.float32
    return to(x), lambda context, builder, signature, args: builder.bitcast(args[0], context.get_value_type(to))


def _vector(context, dtype):
    return ir.VectorType(context.get_value_type(dtype), LINE * 8 // dtype.bitwidth)


def _splat(builder, x, vector):
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), x, _INT(0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(_INT, vector.count), [0] * vector.count))


def _fma(builder, x, y, z):
    name = f"llvm.fma.v{x.type.count}f{64 if x.type.element == ir.DoubleType() else 32}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(x.type, [x.type] * 3), name)
    return builder.call(function, [x, y, z])


def _load(builder, base, index, vector, align):
    value = builder.load(builder.bitcast(builder.gep(base, [index]), vector.as_pointer()))
    value.align = align
    return value


def _make_add(lines):
    """The intrinsic that treats this many neighbouring lines at once, their sums in registers."""

    @intrinsic
    def add(typingctx, s, base, width, column, keep, rows, picks, weights, first, stride, count):
        def codegen(context, builder, signature, args):
            vector, align = _vector(context, s.dtype), s.dtype.bitwidth // 8
            arrays = {i: context.make_array(signature.args[i])(context, builder, args[i]).data for i in (0, 5, 6, 7)}
            shifts = [builder.add(args[3], ir.Constant(args[3].type, i * vector.count)) for i in range(lines)]
            own = [builder.add(args[1], shift) for shift in shifts]
            keep_all = _splat(builder, args[4], vector)
            sums = [cgutils.alloca_once(builder, vector) for _ in shifts]
            for at, total in zip(own, sums, strict=True):
                builder.store(builder.fmul(keep_all, _load(builder, arrays[0], at, vector, align)), total)
            with cgutils.for_range(builder, args[10]) as loop:
                b = builder.add(args[8], builder.mul(loop.index, args[9]))
                weight = _splat(builder, builder.fneg(builder.load(builder.gep(arrays[7], [b]))), vector)
                offset = builder.mul(builder.load(builder.gep(arrays[6], [b])), args[2])
                for shift, total in zip(shifts, sums, strict=True):
                    line = _load(builder, arrays[5], builder.add(offset, shift), vector, align)
                    builder.store(_fma(builder, weight, line, builder.load(total)), total)
            for at, total in zip(own, sums, strict=True):
                target = builder.bitcast(builder.gep(arrays[0], [at]), vector.as_pointer())
                builder.store(builder.load(total), target).align = align
            return context.get_dummy_value()

        return types.void(s, base, width, column, keep, rows, picks, weights, first, stride, count), codegen

    return add


_add_1, _add_2, _add_3, _add_4 = (_make_add(lines) for lines in (1, 2, 3, 4))


def _make_products(outputs):
    """The intrinsic that forms this many outputs of `products` at once, for two lines of lanes."""

    @intrinsic
    def multiply(typingctx, out, matrix, row, n, h, lanes, lane):
        def codegen(context, builder, signature, args):
            vector, align = _vector(context, out.dtype), out.dtype.bitwidth // 8
            arrays = {i: context.make_array(signature.args[i])(context, builder, args[i]).data for i in (0, 1, 4)}
            row, n, lanes, lane = args[2], args[3], args[5], args[6]
            seconds = builder.add(lane, ir.Constant(lane.type, vector.count))
            rows = [builder.add(row, ir.Constant(row.type, i)) for i in range(outputs)]
            sums = [[cgutils.alloca_once(builder, vector) for _ in range(2)] for _ in rows]
            for pair in sums:
                for total in pair:
                    builder.store(ir.Constant(vector, None), total)
            with cgutils.for_range(builder, n) as loop:
                start = builder.mul(loop.index, lanes)
                factors = [
                    _load(builder, arrays[4], builder.add(start, shift), vector, align) for shift in (lane, seconds)
                ]
                for i, pair in zip(rows, sums, strict=True):
                    entry = builder.load(builder.gep(arrays[1], [builder.add(builder.mul(i, n), loop.index)]))
                    entry_all = _splat(builder, entry, vector)
                    for factor, total in zip(factors, pair, strict=True):
                        builder.store(_fma(builder, entry_all, factor, builder.load(total)), total)
            for i, pair in zip(rows, sums, strict=True):
                for shift, total in zip((lane, seconds), pair, strict=True):
                    target = builder.gep(arrays[0], [builder.add(builder.mul(i, lanes), shift)])
                    builder.store(builder.load(total), builder.bitcast(target, vector.as_pointer())).align = align
            return context.get_dummy_value()

        return types.void(out, matrix, row, n, h, lanes, lane), codegen

    return multiply


_multiply_1, _multiply_4 = _make_products(1), _make_products(4)


@njit(nogil=True, error_model="numpy")
def products(out, matrix, n, h, lanes):
    """out = matrix h for h ``(n, lanes)``, all flat, matrix ``(n, n)``; lanes is a multiple of two lines."""
    both = 2 * LINE // out.itemsize
    for lane in range(0, lanes, both):
        row = 0
        while row + 4 <= n:
            _multiply_4(out, matrix, row, n, h, lanes, lane)
            row += 4
        while row < n:
            _multiply_1(out, matrix, row, n, h, lanes, lane)
            row += 1


@intrinsic
def add_line(typingctx, s, at, keep, rows, start, weight):
    """One line: s[at : at + line] = keep s - weight rows[start : start + line]."""

    def codegen(context, builder, signature, args):
        vector, align = _vector(context, s.dtype), s.dtype.bitwidth // 8
        s_data, rows_data = (context.make_array(signature.args[i])(context, builder, args[i]).data for i in (0, 3))
        kept = builder.fmul(_splat(builder, args[2], vector), _load(builder, s_data, args[1], vector, align))
        factor = _splat(builder, builder.fneg(args[5]), vector)
        total = _fma(builder, factor, _load(builder, rows_data, args[4], vector, align), kept)
        builder.store(total, builder.bitcast(builder.gep(s_data, [args[1]]), vector.as_pointer())).align = align
        return context.get_dummy_value()

    return types.void(s, at, keep, rows, start, weight), codegen


@njit(nogil=True, error_model="numpy")
def add_rows(s, base, width, line, keep, rows, picks, weights, first, stride, count):
    """s[base : base + width] = keep s - sum_b w_b row_b, flat arrays, width a multiple of the line.

    row_b is rows[i width : (i + 1) width] with i = picks[first + b stride]; w_b = weights[first + b stride], b < count.
    """
    column = 0
    while column + 4 * line <= width:
        _add_4(s, base, width, column, keep, rows, picks, weights, first, stride, count)
        column += 4 * line
    if column + 3 * line == width:
        _add_3(s, base, width, column, keep, rows, picks, weights, first, stride, count)
    elif column + 2 * line == width:
        _add_2(s, base, width, column, keep, rows, picks, weights, first, stride, count)
    elif column + line == width:
        _add_1(s, base, width, column, keep, rows, picks, weights, first, stride, count)


@njit(nogil=True, error_model="numpy")
def aligned(like, size):
    """An empty flat array of the type of like that begins on a line: a load across two lines costs double."""
    spare = LINE // like.itemsize
    whole = np.empty(size + spare, like.dtype)
    skip = (-whole.ctypes.data % LINE) // like.itemsize
    return whole[skip : skip + size]


@njit(nogil=True, error_model="numpy")
def padded(size, line):
    """size rounded up to whole lines."""
    return (size + line - 1) // line * line
