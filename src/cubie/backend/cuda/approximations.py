"""What fast-math makes cheaper on a GPU: division, the larger of two numbers, log2 and exp2.

Each is an instruction of the hardware or a few of them. The figures are those of NVIDIA's "PTX
ISA" (rcp.approx, rcp.approx.ftz.f64, lg2.approx, ex2.approx). Equations of users are not computed
by these: what they divide by may be anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from llvmlite import ir
from numba.core import types
from numba.cuda import libdevice
from numba.cuda.typing import templates

from cubie.backend.front_end.device_function import Intrinsic
from cubie.backend.lanes import instructions as codegen
from cubie.backend.lanes.types import Lanes, lane_type

F32, F64 = types.float32, types.float64
_SINGLE = lane_type(F32, 1)


def _library(context, builder, function, arguments):
    """Call a function of the device's math library on single precision."""
    signature = templates.signature(F32, *[F32] * len(arguments))
    return context.get_function(function, signature)(builder, arguments)


def quotient(context, builder, lanes: Lanes, a, b):
    """Divide as `cubie.backend.quotient` allows.

    The product with a reciprocal: 2.5 units in the last place off at most.
    """
    if not context.fastmath:
        return codegen.RELAXED["quotient"](builder, lanes, a, b)
    one = ir.Constant(b.type, 1.0)
    single = lanes.dtype == F32  # NVVM has an instruction for its reciprocal, to 1 unit
    return builder.fmul(a, builder.fdiv(one, b) if single else _reciprocal(builder, lanes, b))


def _reciprocal(builder, lanes: Lanes, b):
    """Return 1 / b of a double: 20 bits from the hardware, and a step of third order."""
    double = b.type
    hardware = ir.InlineAsm(ir.FunctionType(double, [double]), "rcp.approx.ftz.f64 $0, $1;", "=d,d")

    def fma(x, y, z):
        return codegen.call_llvm_intrinsic(builder, "llvm.fma", lanes, [x, y, z])

    guess = builder.call(hardware, [b])
    error = fma(codegen.negative(builder, lanes, b), guess, ir.Constant(double, 1.0))
    return fma(guess, fma(error, error, error), guess)


def _extremum(name: str, function: Callable) -> Callable:
    """Return what chooses one of two numbers, and of a number and NaN the number.

    An instruction in single precision, which takes absolute values as they come; there is none
    for double precision.
    """

    def emit(context, builder, lanes: Lanes, a, b):
        if lanes.dtype != F32:
            return codegen.RELAXED[name](builder, lanes, a, b)
        return _library(context, builder, function, (a, b))

    return emit


def larger_size(context, builder, lanes: Lanes, a, b):
    """Choose the larger of two absolute values by one instruction, whose operands they are.

    The compiler would take each absolute value once, for all that it is compared with, and keep
    it in a register.
    """
    if lanes.dtype != F32:
        fabs = context.get_function(math.fabs, templates.signature(F64, F64))
        return codegen.extremum(builder, ">", lanes, fabs(builder, (a,)), fabs(builder, (b,)))
    kind = ir.FunctionType(_SINGLE, [_SINGLE, _SINGLE])
    of = "ftz.f32" if context.fastmath else "f32"
    text = f"""{{
    .reg .f32 a, b;
    abs.{of} a, $1;
    abs.{of} b, $2;
    max.{of} $0, a, b;
    }}"""
    return builder.call(ir.InlineAsm(kind, text, "=f,f,f"), [a, b])


RELAXED = {
    "quotient": quotient,
    "smaller": _extremum("smaller", libdevice.fminf),
    "larger": _extremum("larger", libdevice.fmaxf),
    "larger_size": larger_size,
}


def is_finite(context, builder, lanes: Lanes, value):
    """Compare with infinity: numba-cuda lets the compiler assume nothing about NaN.

    Of double precision, whose units are few on most GPUs, the bits of the upper half are looked at.
    """
    if lanes.dtype == F32:
        size = _library(context, builder, libdevice.fabsf, (value,))
        return builder.fcmp_ordered("<", size, ir.Constant(value.type, float("inf")))
    word = ir.IntType(32)
    upper = builder.lshr(builder.bitcast(value, ir.IntType(64)), ir.Constant(ir.IntType(64), 32))
    pattern = ir.Constant(word, 0x7FF00000)
    return builder.icmp_unsigned("!=", builder.and_(builder.trunc(upper, word), pattern), pattern)


def log2_intrinsic() -> Callable:
    """Return ``log2(x)`` of normal positive lanes.

    In single precision ``lg2.approx``: off by 2**-22.6 between 1/2 and 2, elsewhere by 2**-22 of
    the result: 2e-5 where that is some eighty. In double precision the exponent is taken from the
    bits and only the rest, from 1 to 2, from that instruction: off by 3e-7.
    """

    def log2(typing_context, x):
        def lower(context, builder, signature, args):
            lanes, value = signature.return_type, args[0]
            if lanes.dtype == F32:
                return _library(context, builder, libdevice.fast_log2f, args)
            exponent = codegen.exponent_of(builder, lanes, value)
            rest = builder.fptrunc(codegen.significand_of(builder, lanes, value), _SINGLE)
            rest = _library(context, builder, libdevice.fast_log2f, (rest,))
            return codegen.rounded(builder, "add", exponent, builder.fpext(rest, value.type))

        return x(x), lower

    return Intrinsic(log2)


def exp2_intrinsic() -> Callable:
    """Return ``exp2(x)`` of lanes for abs(x) <= 100.

    ``ex2.approx``, off by 2**-22 of the result and by what single precision makes of x: of a
    larger one in double precision the whole part goes to the exponent.
    """

    def exp2(typing_context, x):
        def lower(context, builder, signature, args):
            lanes, value = signature.return_type, args[0]
            if lanes.dtype == F32:
                return _library(context, builder, libdevice.exp2f, args)
            whole = _floor(context, builder, value)
            rest = builder.fptrunc(builder.fsub(value, whole), _SINGLE)
            rest = builder.fpext(_library(context, builder, libdevice.exp2f, (rest,)), value.type)
            return builder.fmul(rest, codegen.power_of_two(builder, lanes, whole))

        return x(x), lower

    return Intrinsic(exp2)


def _floor(context, builder, value):
    return context.get_function(libdevice.floor, templates.signature(F64, F64))(builder, (value,))
