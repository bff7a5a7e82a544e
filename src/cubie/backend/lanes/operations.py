"""Typing and lowering of operations on lanes and masks, registered once per compiled target.

The two compiled targets keep separate registries of the same shape; a
:class:`Registrar` names the pieces of one of them, and :func:`register` fills
it. Everything emitted is in :mod:`cubie.backend.lanes.instructions`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable

from numba.core import types

from cubie.backend import primitives
from cubie.backend.lanes import instructions as codegen
from cubie.backend.lanes.memory import register_buffers, register_runs
from cubie.backend.lanes.types import MODELS, Lanes, Mask, lane_type
from cubie.backend.lanes.typing import Registrar, meeting_type, rule, template

ARITHMETIC = {
    "add": (operator.add, operator.iadd),
    "sub": (operator.sub, operator.isub),
    "mul": (operator.mul, operator.imul),
    "truediv": (operator.truediv, operator.itruediv),
}
COMPARISONS = {
    operator.lt: "<",
    operator.le: "<=",
    operator.gt: ">",
    operator.ge: ">=",
    operator.eq: "==",
    operator.ne: "!=",
}
MASK_OPERATIONS = {
    operator.and_: "and_",
    operator.iand: "and_",
    operator.or_: "or_",
    operator.ior: "or_",
    operator.xor: "xor",
    operator.ixor: "xor",
}
UNARY_MATH = (
    "exp", "expm1", "log", "log1p", "log2", "log10", "sin", "cos", "tan",
    "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh",
    "erf", "erfc", "gamma", "lgamma",
)  # fmt: skip
ROUNDING = ("floor", "ceil", "trunc")
BINARY_MATH = ("pow", "atan2", "fmod", "hypot", "copysign")


# By target: how a math function is called on lanes.
MATH_CALLS: dict[str, Callable] = {}


def register(registrar: Registrar) -> None:
    """Teach one compiled target the types and operations of component code."""
    MATH_CALLS[registrar.target] = registrar.math_call
    for numba_type, model in MODELS.items():
        registrar.register_model(numba_type)(model)
    _register_casts(registrar)
    _register_arithmetic(registrar)
    _register_comparisons(registrar)
    _register_masks(registrar)
    _register_selection(registrar)
    _register_bit_patterns(registrar)
    _register_exact_arithmetic(registrar)
    _register_math(registrar)
    register_buffers(registrar)
    register_runs(registrar)


def _register_casts(registrar):
    @registrar.lower_cast(types.Integer, Lanes)
    @registrar.lower_cast(types.Float, Lanes)
    def number_to_lanes(context, builder, from_type, to_type, value):
        scalar = codegen.convert_scalar(builder, value, from_type, to_type.dtype)
        return codegen.splat(builder, scalar, to_type.width)

    @registrar.lower_cast(Lanes, Lanes)
    def lanes_to_lanes(context, builder, from_type, to_type, value):
        return codegen.convert_lanes(builder, value, from_type, to_type)

    @registrar.lower_cast(types.Boolean, Mask)
    def bool_to_mask(context, builder, from_type, to_type, value):
        return codegen.splat(builder, value, to_type.width)

    @registrar.lower_cast(Mask, Mask)
    def mask_to_mask(context, builder, from_type, to_type, value):
        return value


def _register_arithmetic(registrar):
    def make(name, function):
        @rule(2)
        def meet(a, b):
            common = meeting_type(a, b)
            if common is None or (name == "truediv" and not common.is_float):
                return None
            return common, common, common

        def lower(context, builder, sig, args):
            return codegen.arithmetic(builder, name, sig.return_type, *args)

        template(registrar, function, meet)
        registrar.lower(function, Lanes, Lanes)(lower)

    for name, functions in ARITHMETIC.items():
        for function in functions:
            make(name, function)

    @rule(1)
    def unary(a):
        return (a, a) if isinstance(a, Lanes) else None

    template(registrar, operator.neg, unary)
    template(registrar, operator.pos, unary)

    @registrar.lower(operator.neg, Lanes)
    def negate(context, builder, sig, args):
        lanes = sig.return_type
        if not lanes.is_float:
            return builder.neg(args[0])
        return codegen.negative(builder, lanes, args[0])

    @registrar.lower(operator.pos, Lanes)
    def identity(context, builder, sig, args):
        return args[0]


def _register_comparisons(registrar):
    @rule(2)
    def compared(a, b):
        common = meeting_type(a, b)
        if common is None:
            return None
        return Mask(common.width, common.dtype if common.is_float else None), common, common

    def make(function, operation):
        def lower(context, builder, sig, args):
            return codegen.compare(builder, operation, sig.args[0], *args)

        template(registrar, function, compared)
        registrar.lower(function, Lanes, Lanes)(lower)

    for function, operation in COMPARISONS.items():
        make(function, operation)


def _register_masks(registrar):
    @rule(2)
    def both(a, b):
        mask = a if isinstance(a, Mask) else b
        other = b if mask is a else a
        if not isinstance(mask, Mask):
            return None
        if isinstance(other, Mask) and other.width == mask.width:
            result = Mask(mask.width, mask.dtype or other.dtype)
        elif isinstance(other, types.Boolean):
            result = mask
        else:
            return None
        return result, result, result

    def make(function, method):
        def lower(context, builder, sig, args):
            return getattr(builder, method)(*args)

        template(registrar, function, both)
        registrar.lower(function, Mask, Mask)(lower)

    for function, method in MASK_OPERATIONS.items():
        make(function, method)

    @rule(1)
    def one(a):
        return (a, a) if isinstance(a, Mask) else None

    template(registrar, operator.invert, one)

    @registrar.lower(operator.invert, Mask)
    def invert(context, builder, sig, args):
        return builder.not_(args[0])

    @rule(1)
    def to_bool(a):
        return (types.boolean, a) if isinstance(a, Mask) else None

    template(registrar, primitives.any_lane, to_bool)
    template(registrar, primitives.all_lanes, to_bool)

    @registrar.lower(primitives.any_lane, Mask)
    def any_lane(context, builder, sig, args):
        return codegen.any_true(builder, args[0], sig.args[0].width)

    @registrar.lower(primitives.all_lanes, Mask)
    def all_lanes(context, builder, sig, args):
        return codegen.all_true(builder, args[0], sig.args[0].width)


def _register_selection(registrar):
    def branch_type(mask, a, b):
        common = meeting_type(a, b)
        if common is not None:
            return common if common.width == mask.width else None
        if isinstance(a, Mask) or isinstance(b, Mask):
            result = a if isinstance(a, Mask) else b
            other = b if result is a else a
            return result if isinstance(other, (Mask, types.Boolean)) else None
        if isinstance(a, types.Integer) and isinstance(b, types.Integer):
            return Lanes(types.int32, mask.width)
        numbers = (types.Integer, types.Float)
        if isinstance(a, numbers) and isinstance(b, numbers):
            return Lanes(mask.dtype, mask.width) if mask.dtype is not None else None
        return None

    @rule(3)
    def chosen(mask, a, b):
        if not isinstance(mask, Mask):
            return None
        result = branch_type(mask, a, b)
        return None if result is None else (result, mask, result, result)

    template(registrar, primitives.select, chosen)

    @registrar.lower(primitives.select, Mask, Lanes, Lanes)
    def select(context, builder, sig, args):
        return codegen.select(builder, *args)

    @registrar.lower(primitives.select, Mask, Mask, Mask)
    def select_mask(context, builder, sig, args):
        return builder.select(*args)

    @rule(2)
    def two(a, b):
        common = meeting_type(a, b)
        return None if common is None else (common, common, common)

    def make_extremum(function, operation):
        def lower(context, builder, sig, args):
            return codegen.extremum(builder, operation, sig.return_type, *args)

        template(registrar, function, two)
        registrar.lower(function, Lanes, Lanes)(lower)

    for function, operation in (
        (primitives.minimum, "<"),
        (primitives.maximum, ">"),
        (min, "<"),
        (max, ">"),
    ):
        make_extremum(function, operation)


def _register_bit_patterns(registrar):
    @rule(1)
    def to_mask(a):
        if isinstance(a, Lanes) and a.is_float:
            return Mask(a.width, a.dtype), a
        return None

    @rule(1)
    def to_float(a):
        return (a, a) if isinstance(a, Lanes) and a.is_float else None

    def make(function, emit, decide):
        def lower(context, builder, sig, args):
            return emit(builder, sig.args[0], args[0])

        template(registrar, function, decide)
        registrar.lower(function, Lanes)(lower)

    template(registrar, primitives.is_finite, to_mask)

    @registrar.lower(primitives.is_finite, Lanes)
    def is_finite(context, builder, sig, args):
        return registrar.is_finite(context, builder, sig.args[0], args[0])

    make(primitives.exponent_of, codegen.exponent_of, to_float)
    make(primitives.significand_of, codegen.significand_of, to_float)
    make(primitives.power_of_two, codegen.power_of_two, to_float)


def _register_exact_arithmetic(registrar):
    @rule(2)
    def two(a, b):
        common = meeting_type(a, b)
        return (common, common, common) if common is not None and common.is_float else None

    def make(function, name):
        def lower(context, builder, sig, args):
            return codegen.rounded(builder, name, *args)

        template(registrar, function, two)
        registrar.lower(function, Lanes, Lanes)(lower)

    make(primitives.rounded_sum, "add")
    make(primitives.rounded_difference, "sub")

    @rule(2)
    def real_type(k, like):
        if isinstance(k, Lanes) and isinstance(like, Lanes) and like.is_float:
            return like, k, like
        if isinstance(k, Lanes) and isinstance(like, types.Float):
            return Lanes(like, k.width), k, like
        return None

    template(registrar, primitives.as_real, real_type)

    @registrar.lower(primitives.as_real, Lanes, Lanes)
    @registrar.lower(primitives.as_real, Lanes, types.Float)
    def as_real(context, builder, sig, args):
        return codegen.convert_lanes(builder, args[0], sig.args[0], sig.return_type)

    @rule(1)
    def index_type(a):
        if isinstance(a, Lanes) and a.is_float:
            return Lanes(types.int64, a.width), a
        return None

    template(registrar, primitives.as_index, index_type)

    @registrar.lower(primitives.as_index, Lanes)
    def as_index(context, builder, sig, args):
        return builder.fptosi(args[0], lane_type(types.int64, sig.return_type.width))


def _register_math(registrar):
    @rule(1)
    def one(a):
        return (a, a) if isinstance(a, Lanes) and a.is_float else None

    @rule(2)
    def two(a, b):
        common = meeting_type(a, b)
        return (common, common, common) if common is not None and common.is_float else None

    def make_call(function, name, decide, n_arguments):
        def lower(context, builder, sig, args):
            return registrar.math_call(context, builder, name, sig.return_type, args)

        template(registrar, function, decide)
        registrar.lower(function, *[Lanes] * n_arguments)(lower)

    for function in (primitives.square_root, math.sqrt):
        make_call(function, "sqrt", one, 1)
    for function in (primitives.absolute, math.fabs, abs):
        make_call(function, "fabs", one, 1)
    make_call(primitives.floor, "floor", one, 1)
    for name in (*ROUNDING, *UNARY_MATH):
        make_call(getattr(math, name), name, one, 1)
    for name in BINARY_MATH:
        make_call(getattr(math, name), name, two, 2)
    for name in codegen.RELAXED:
        make_call(getattr(primitives, name), name, two, 2)
    make_call(operator.pow, "pow", two, 2)
