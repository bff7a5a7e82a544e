"""LLVM instructions on lanes, shared by the compiled targets: builder in, value out."""

from __future__ import annotations

from llvmlite import ir
from numba.core import types

from cubie.backend.lanes.types import lane_alignment, lane_type

I32 = ir.IntType(32)
I64 = ir.IntType(64)


def splat(builder, scalar, width: int):
    """Repeat one scalar in every lane."""
    if width == 1:
        return scalar
    if isinstance(scalar, ir.Constant):
        return ir.Constant(ir.VectorType(scalar.type, width), [scalar.constant] * width)
    vector = ir.VectorType(scalar.type, width)
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, scalar, I32(0))
    zeros = ir.Constant(ir.VectorType(I32, width), [0] * width)
    return builder.shuffle_vector(first, undefined, zeros)


def constant(dtype: types.Type, width: int, value):
    """Return a compile-time constant in every lane."""
    scalar = lane_type(dtype, 1)
    number = float(value) if isinstance(dtype, types.Float) else int(value)
    return splat(None, ir.Constant(scalar, number), width)


def convert_scalar(builder, value, from_type: types.Type, to_type: types.Type):
    """Convert one plain number to a lane's dtype (weak: `to_type` is the run's dtype)."""
    target = lane_type(to_type, 1)
    if isinstance(from_type, types.Boolean):
        raise TypeError("a truth value is not a number")
    if isinstance(from_type, types.Integer):
        if isinstance(to_type, types.Float):
            convert = builder.sitofp if from_type.signed else builder.uitofp
            return convert(value, target)
        return _resize_integer(builder, value, target)
    return _resize_float(builder, value, from_type, to_type, target)


def convert_lanes(builder, value, from_type, to_type):
    """Convert lanes to another dtype of the same width; whole numbers must fit."""
    target = lane_type(to_type.dtype, to_type.width)
    if from_type.dtype == to_type.dtype:
        return value
    if to_type.is_float and not from_type.is_float:
        return builder.sitofp(value, target)
    if to_type.is_float:
        return _resize_float(builder, value, from_type.dtype, to_type.dtype, target)
    if from_type.dtype.bitwidth > to_type.dtype.bitwidth:
        return builder.trunc(value, target)
    return builder.sext(value, target)


def _resize_float(builder, value, from_dtype, to_dtype, target):
    if from_dtype.bitwidth == to_dtype.bitwidth:
        return value
    if from_dtype.bitwidth > to_dtype.bitwidth:
        return builder.fptrunc(value, target)
    return builder.fpext(value, target)


def _resize_integer(builder, value, target):
    if value.type.width == target.width:
        return value
    resize = builder.trunc if value.type.width > target.width else builder.sext
    return resize(value, target)


def arithmetic(builder, name: str, lanes, a, b):
    """Emit ``a <name> b`` for name in add, sub, mul, truediv."""
    if lanes.is_float:
        emit = {
            "add": builder.fadd,
            "sub": builder.fsub,
            "mul": builder.fmul,
            "truediv": builder.fdiv,
        }[name]
    else:
        emit = {"add": builder.add, "sub": builder.sub, "mul": builder.mul}[name]
    return emit(a, b)


def rounded(builder, name: str, a, b):
    """Emit ``a <name> b`` for name in add, sub, which fast-math may not regroup.

    An empty flag list would be filled in by numba: the instruction states one that asks nothing.
    """
    return {"add": builder.fadd, "sub": builder.fsub}[name](a, b, flags=("arcp",))


def negative(builder, lanes, value):
    """Emit ``-value`` of floating lanes, without fneg, which the NVVM of older devices lacks."""
    return builder.fsub(constant(lanes.dtype, lanes.width, -0.0), value)


def compare(builder, operation: str, lanes, a, b):
    """Emit a comparison; with NaN every comparison but ``!=`` is false."""
    if not lanes.is_float:
        return builder.icmp_signed(operation, a, b)
    if operation == "!=":
        return builder.fcmp_unordered(operation, a, b)
    return builder.fcmp_ordered(operation, a, b)


def extremum(builder, operation: str, lanes, a, b):
    """Choose the smaller ("<") or larger (">") of two values; `b` where they do not compare."""
    return builder.select(compare(builder, operation, lanes, a, b), a, b)


def larger_size(builder, lanes, a, b):
    """Choose the larger of two absolute values; that of `b` where they do not compare."""
    sizes = [call_llvm_intrinsic(builder, "llvm.fabs", lanes, [value]) for value in (a, b)]
    return extremum(builder, ">", lanes, *sizes)


# What `cubie.backend.primitives` leaves to targets, emitted so that nothing is made of that.
RELAXED = {
    "quotient": lambda builder, lanes, a, b: arithmetic(builder, "truediv", lanes, a, b),
    "smaller": lambda builder, lanes, a, b: extremum(builder, "<", lanes, a, b),
    "larger": lambda builder, lanes, a, b: extremum(builder, ">", lanes, a, b),
    "larger_size": larger_size,
}


def call_llvm_intrinsic(builder, name: str, lanes, arguments):
    """Call an overloaded LLVM intrinsic such as ``llvm.sqrt`` on lanes."""
    element = lane_type(lanes.dtype, lanes.width)
    letter = f"f{lanes.dtype.bitwidth}"
    suffix = letter if lanes.width == 1 else f"v{lanes.width}{letter}"
    function_type = ir.FunctionType(element, [element] * len(arguments))
    full_name = f"{name}.{suffix}"
    function = builder.module.globals.get(full_name)
    if function is None:
        function = ir.Function(builder.module, function_type, full_name)
    return builder.call(function, arguments)


def select(builder, mask, chosen, other):
    """Choose `chosen` in the lanes of a mask, `other` elsewhere.

    LLVM would turn a choice between something new and what was just loaded from where the result
    goes into a masked store, which AMD's processors take apart lane by lane (with 40 states an
    eighth of all time). A frozen value hides where it came from, and is otherwise the same.
    """
    if isinstance(other, ir.instructions.LoadInstr) and isinstance(other.type, ir.VectorType):
        other = _freeze(builder, other)
    return builder.select(mask, chosen, other)


def _freeze(builder, value):
    # llvmlite writes every other instruction of LLVM, but not this one.
    instruction = ir.instructions.Instruction(builder.block, value.type, "freeze", [value])
    builder._insert(instruction)
    return instruction


def any_true(builder, mask, width: int):
    """Reduce a mask to one bit: true in at least one lane."""
    if width == 1:
        return mask
    bits = ir.IntType(width)
    return builder.icmp_unsigned("!=", builder.bitcast(mask, bits), bits(0))


def all_true(builder, mask, width: int):
    """Reduce a mask to one bit: true in every lane."""
    if width == 1:
        return mask
    bits = ir.IntType(width)
    return builder.icmp_unsigned("==", builder.bitcast(mask, bits), bits(2**width - 1))


def count_true(builder, mask, width: int):
    """Count the lanes in which a mask holds, as a 32-bit integer."""
    if width == 1:
        return builder.zext(mask, I32)
    bits = builder.zext(builder.bitcast(mask, ir.IntType(width)), I64)
    return builder.trunc(builder.ctpop(bits), I32)


def for_each_lane(builder, width: int, value_type: ir.Type, scalar_of):
    """Assemble lanes from ``scalar_of(lane)``, called once per lane while emitting."""
    if width == 1:
        return scalar_of(0)
    result = ir.Constant(ir.VectorType(value_type, width), ir.Undefined)
    for lane in range(width):
        result = builder.insert_element(result, scalar_of(lane), I32(lane))
    return result


def lane_of(builder, value, width: int, lane: int):
    """Extract one lane as a scalar."""
    return value if width == 1 else builder.extract_element(value, I32(lane))


def _element(builder, buf, pointer, index):
    if buf.stride != buf.width:
        index = builder.mul(index, index.type(buf.stride // buf.width))
    return builder.gep(pointer, [index], inbounds=True)


def load(builder, buf, pointer, index, lanes=None):
    """Load element `index` of a buffer, all lanes at once, as `lanes` where they are given."""
    loaded = builder.load(_element(builder, buf, pointer, index))
    loaded.align = lane_alignment(buf.dtype, buf.width)
    return loaded if lanes is None else convert_lanes(builder, loaded, buf.element, lanes)


def store(builder, buf, pointer, index, value, lanes=None):
    """Store element `index` of a buffer, all lanes at once; `lanes` that are wider are rounded."""
    if lanes is not None:
        value = convert_lanes(builder, value, lanes, buf.element)
    instruction = builder.store(value, _element(builder, buf, pointer, index))
    instruction.align = lane_alignment(buf.dtype, buf.width)


def fmod(builder, lanes, a, b):
    """Emit the remainder with the sign of `a`, as exact as C's.

    Of a quotient below 2**53 (2**24) the whole part is right or one too large, for it may have
    been rounded up; its product with `b` is taken off without rounding. Any lane with a larger
    quotient, or something that is not finite, takes them all to the C library.
    """
    mantissa_bits = _EXPONENT[lanes.dtype.bitwidth][0]

    def number(value):
        return constant(lanes.dtype, lanes.width, value)

    def intrinsic(name, *arguments):
        return call_llvm_intrinsic(builder, f"llvm.{name}", lanes, arguments)

    size, step = intrinsic("fabs", a), intrinsic("fabs", b)
    whole = intrinsic("trunc", builder.fdiv(size, step))
    rest = intrinsic("fma", negative(builder, lanes, whole), step, size)
    below = builder.fcmp_ordered("<", rest, number(0.0))
    rest = builder.select(below, builder.fadd(rest, step), rest)
    quick = intrinsic("copysign", rest, a)
    small = builder.fcmp_ordered("<", whole, number(2.0 ** (mantissa_bits + 1)))
    finite = builder.fcmp_ordered("<", step, number(float("inf")))
    rare = builder.not_(all_true(builder, builder.and_(small, finite), lanes.width))
    before = builder.block
    with builder.if_then(rare, likely=False):
        slow = builder.frem(a, b)
        after = builder.block
    result = builder.phi(quick.type)
    result.add_incoming(quick, before)
    result.add_incoming(slow, after)
    return result


# ---- floating-point bit patterns -------------------------------------------

_EXPONENT = {32: (23, 0xFF, 127), 64: (52, 0x7FF, 1023)}  # mantissa bits, exponent mask, bias


def _bits(builder, lanes, value):
    width = lanes.dtype.bitwidth
    integer = ir.IntType(width)
    target = integer if lanes.width == 1 else ir.VectorType(integer, lanes.width)
    return builder.bitcast(value, target), lambda number: splat(
        builder, ir.Constant(integer, number), lanes.width
    )


def is_finite(context, builder, lanes, value):
    """Test the exponent bits: all ones means infinite or NaN, whatever fast-math assumes."""
    mantissa_bits, exponent_mask, _ = _EXPONENT[lanes.dtype.bitwidth]
    bits, number = _bits(builder, lanes, value)
    pattern = number(exponent_mask << mantissa_bits)
    return builder.icmp_unsigned("!=", builder.and_(bits, pattern), pattern)


def exponent_of(builder, lanes, value):
    """Extract the unbiased binary exponent as a floating value."""
    mantissa_bits, exponent_mask, bias = _EXPONENT[lanes.dtype.bitwidth]
    bits, number = _bits(builder, lanes, value)
    biased = builder.and_(builder.lshr(bits, number(mantissa_bits)), number(exponent_mask))
    return _small_integer_to_float(builder, lanes, builder.sub(biased, number(bias)))


def significand_of(builder, lanes, value):
    """Replace the exponent by that of 1.0."""
    mantissa_bits, _, bias = _EXPONENT[lanes.dtype.bitwidth]
    bits, number = _bits(builder, lanes, value)
    fraction = builder.and_(bits, number((1 << mantissa_bits) - 1))
    pattern = builder.or_(fraction, number(bias << mantissa_bits))
    return builder.bitcast(pattern, value.type)


def power_of_two(builder, lanes, value):
    """Build 2**k from a whole floating k by writing its exponent bits."""
    mantissa_bits, _, bias = _EXPONENT[lanes.dtype.bitwidth]
    _, number = _bits(builder, lanes, value)
    whole = _float_to_small_integer(builder, lanes, value)
    pattern = builder.shl(builder.add(whole, number(bias)), number(mantissa_bits))
    return builder.bitcast(pattern, value.type)


# Packed conversions between double and 64-bit integers need AVX-512. Adding 1.5 * 2**52 places a
# small whole number in the low mantissa bits instead, and costs one addition everywhere. A sum with
# another constant must not be one that may be reassociated: it takes a subtraction in its operands
# apart without asking whether that one may be, and rounds the rest to the spacing at 1.5 * 2**52.


def _shifter(lanes):
    mantissa_bits = _EXPONENT[lanes.dtype.bitwidth][0]
    return 1.5 * 2.0**mantissa_bits


def _shifter_bits(lanes) -> int:
    mantissa_bits, _, bias = _EXPONENT[lanes.dtype.bitwidth]
    return ((bias + mantissa_bits) << mantissa_bits) | (1 << (mantissa_bits - 1))


def _small_integer_to_float(builder, lanes, integers):
    floating = lane_type(lanes.dtype, lanes.width)
    if lanes.dtype.bitwidth == I32.width:
        return builder.sitofp(integers, floating)
    integer = ir.IntType(lanes.dtype.bitwidth)
    pattern = splat(builder, ir.Constant(integer, _shifter_bits(lanes)), lanes.width)
    shifted = builder.bitcast(builder.add(integers, pattern), floating)
    # An empty flag list would be filled in by numba, so the subtraction states one itself.
    return builder.fsub(
        shifted, constant(lanes.dtype, lanes.width, _shifter(lanes)), flags=("nsz",)
    )


def _float_to_small_integer(builder, lanes, value):
    # An empty flag list would be filled in by numba, so the addition states one itself.
    shifted = builder.fadd(
        value, constant(lanes.dtype, lanes.width, _shifter(lanes)), flags=("nsz",)
    )
    bits, number = _bits(builder, lanes, shifted)
    return builder.sub(bits, number(_shifter_bits(lanes)))
