"""Operations that numba does not offer: lines of 64 bytes as values, fused multiply-add, a number's bits.

The compiler vectorises a loop only behind checks that its arrays do not overlap, at every entry of the loop, and gives
up where there are many. Here the program says what is a line: numba compiles it to one vector register, sums stay
there, and no check is needed. Every element is rounded as the scalar would be, so that bits do not depend on the
processor's vector width.
"""

import operator

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

LINE = 64  # bytes
EIGHT = LINE // 8  # float64 or uint64 in a line
_INT = ir.IntType(32)

#: bits from which half of those of a positive x are taken to have those of about 1/sqrt x (3.5 %), by the type's size
_INVERSE_ROOT = {64: 0x5FE6EB50C7B537A9, 32: 0x5F375A86}


class Line(types.Type):
    """8 float64 or uint64, or 16 float32."""

    def __init__(self, dtype):
        self.dtype, self.count = dtype, LINE * 8 // dtype.bitwidth
        super().__init__(name=f"Line({dtype})")


@register_model(Line)
class _LineModel(models.PrimitiveModel):
    def __init__(self, manager, line):
        super().__init__(manager, line, ir.VectorType(_element(line.dtype), line.count))


def _element(dtype):
    return {types.float64: ir.DoubleType(), types.float32: ir.FloatType(), types.uint64: ir.IntType(64)}[dtype]


_DOUBLES = Line(types.float64)


@intrinsic
def as_bits(typingctx, x):
    """The bits of a float64 or float32, as an unsigned integer of its size."""
    to = Line(types.uint64) if isinstance(x, Line) else types.uint64 if x == types.float64 else types.uint32
    return to(x), lambda context, builder, signature, args: builder.bitcast(args[0], context.get_value_type(to))


@intrinsic
def as_float(typingctx, x):
    """The float64 or float32 with these bits."""
    to = Line(types.float64) if isinstance(x, Line) else types.float64 if x == types.uint64 else types.float32
    return to(x), lambda context, builder, signature, args: builder.bitcast(args[0], context.get_value_type(to))


def _whole(context, builder, line, given, value):
    """A value as a line: a number is rounded to the line's type and repeated."""
    if isinstance(given, Line):
        return value
    vector = context.get_value_type(line)
    number = context.cast(builder, value, given, line.dtype)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), number, _INT(0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(_INT, vector.count), [0] * vector.count))


@intrinsic
def fma(typingctx, x, y, z):
    """x y + z, rounded once: numbers, or lines among which a number is repeated."""
    lines = [v for v in (x, y, z) if isinstance(v, Line)]

    def codegen(context, builder, signature, args):
        if not lines:
            return builder.fma(*args)
        args = [_whole(context, builder, lines[0], *pair) for pair in zip(signature.args, args, strict=True)]
        return builder.call(_intrinsic(builder, "fma", args), args)

    return (lines[0] if lines else z)(x if lines else z, y if lines else z, z), codegen


def _intrinsic(builder, name, args):
    vector = args[0].type
    name = f"llvm.{name}.v{vector.count}f{64 if vector.element == ir.DoubleType() else 32}"
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * len(args)), name)


@intrinsic
def _root(typingctx, x):
    return x(x), lambda context, builder, signature, args: builder.call(_intrinsic(builder, "sqrt", args), args)


@overload(np.sqrt)
def _sqrt(x):
    return (lambda x: _root(x)) if isinstance(x, Line) else None


@intrinsic
def _near_inverse_root(typingctx, x):
    def codegen(context, builder, signature, args):
        size = x.dtype.bitwidth
        integers = ir.VectorType(ir.IntType(size), x.count)
        half = builder.lshr(builder.bitcast(args[0], integers), ir.Constant(integers, [1] * x.count))
        return builder.bitcast(builder.sub(ir.Constant(integers, [_INVERSE_ROOT[size]] * x.count), half), args[0].type)

    return x(x), codegen


def _data(context, builder, signature, args, position):
    return context.make_array(signature.args[position])(context, builder, args[position]).data


def _load(context, builder, array, data, index, count):
    vector = ir.VectorType(_element(array.dtype), count)
    value = builder.load(builder.bitcast(builder.gep(data, [index]), vector.as_pointer()))
    value.align = array.dtype.bitwidth // 8
    return value


@intrinsic
def in_whole_lines(typingctx):
    """Loops of the function that says this are vectorised by 64 bytes, where a compiler would take half of that.

    LLVM does so on Intel's processors, since the first that had lines ran slower with them.
    """

    def codegen(context, builder, signature, args):
        set.add(builder.function.attributes, f'"prefer-vector-width"="{8 * LINE}"')  # llvmlite's own add knows few
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def line_of(typingctx, array):
    """Elements of the array in a line, a constant when compiled: loops by it need no division."""
    size = Line(array.dtype).count
    return types.intp(array), lambda context, builder, signature, args: ir.Constant(ir.IntType(64), size)


@intrinsic
def get(typingctx, array, index):
    """The line array[index:] of a flat array."""
    line = Line(array.dtype)

    def codegen(context, builder, signature, args):
        return _load(context, builder, array, _data(context, builder, signature, args, 0), args[1], line.count)

    return line(array, types.intp), codegen


@intrinsic
def get_doubles(typingctx, array, index):
    """array[index : index + 8] of a flat array as a line of float64."""

    def codegen(context, builder, signature, args):
        value = _load(context, builder, array, _data(context, builder, signature, args, 0), args[1], _DOUBLES.count)
        if array.dtype == types.float64:
            return value
        return builder.fpext(value, context.get_value_type(_DOUBLES))

    return _DOUBLES(array, types.intp), codegen


@intrinsic
def pick(typingctx, array, first, stride, places, at):
    """array[first + j stride + places[at + j]] for j = 0..7, as a line of float64."""

    def codegen(context, builder, signature, args):
        values, where = (_data(context, builder, signature, args, i) for i in (0, 3))
        line, start = ir.Constant(context.get_value_type(_DOUBLES), ir.Undefined), args[1]
        for j in range(_DOUBLES.count):
            place = builder.load(builder.gep(where, [builder.add(args[4], ir.Constant(args[4].type, j))]))
            value = builder.load(builder.gep(values, [builder.add(start, place)]))
            if array.dtype != types.float64:
                value = builder.fpext(value, ir.DoubleType())
            line = builder.insert_element(line, value, _INT(j))
            start = builder.add(start, args[2])
        return line

    return _DOUBLES(array, types.intp, types.intp, places, types.intp), codegen


@intrinsic
def put(typingctx, array, index, line):
    """Store a line at array[index:] of a flat array."""

    def codegen(context, builder, signature, args):
        at = builder.gep(_data(context, builder, signature, args, 0), [args[1]])
        builder.store(args[2], builder.bitcast(at, args[2].type.as_pointer())).align = array.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(array, types.intp, line), codegen


@intrinsic
def splat(typingctx, like, x):
    """A line of x, of the type of the array like."""
    line = Line(like.dtype)
    return line(like, x), lambda context, builder, signature, args: _whole(context, builder, line, x, args[1])


def _between_lines(symbol, of_floats, of_integers):
    @intrinsic
    def operation(typingctx, x, y):
        line = x if isinstance(x, Line) else y

        def codegen(context, builder, signature, args):
            x, y = (_whole(context, builder, line, *pair) for pair in zip(signature.args, args, strict=True))
            return getattr(builder, of_integers if line.dtype == types.uint64 else of_floats)(x, y)

        return line(x, y), codegen

    @overload(symbol)
    def _(x, y):
        lines = {value for value in (x, y) if isinstance(value, Line)}
        known = len(lines) == 1 and (of_integers if lines == {Line(types.uint64)} else of_floats)
        return (lambda x, y: operation(x, y)) if known else None


for _symbol, *_instructions in (
    (operator.add, "fadd", "add"),
    (operator.sub, "fsub", "sub"),
    (operator.mul, "fmul", "mul"),
    (operator.truediv, "fdiv", None),
    (operator.and_, None, "and_"),
    (operator.or_, None, "or_"),
    (operator.xor, None, "xor"),
    (operator.lshift, None, "shl"),
    (operator.rshift, None, "lshr"),
):
    _between_lines(_symbol, *_instructions)


@njit(nogil=True, error_model="numpy")
def inverse_root(x):
    """1/sqrt x for a line of positive numbers to an ulp or two.

    Two steps of fourth order take an error of 3.5 % to 6e-6 and to rounding, without the processor's divider, which
    would take longer.
    """
    y = _near_inverse_root(x)
    for _ in range(2):
        e = fma(x * y, y, -1.0)
        y = fma(y * e, fma(e, fma(e, -0.3125, 0.375), -0.5), y)
    return y


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
