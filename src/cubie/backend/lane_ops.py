"""Typing and lowering of lanes, masks and buffers, registered once per compiled target.

The two compiled targets keep separate registries of the same shape; a
:class:`Registrar` names the pieces of one of them, and :func:`register` fills
it. Everything emitted is in :mod:`cubie.backend.codegen`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from attrs import frozen
from numba.core import types

from cubie.backend import codegen, primitives
from cubie.backend.lanes import MODELS, Buf, Flat, Lanes, Mask, lane_type, wider


@frozen
class Registrar:
    """The extension points of one compiled target."""

    target: str  # numba's name of it
    abstract_template: Any
    signature: Callable
    infer_global: Callable
    lower: Callable
    lower_cast: Callable
    register_model: Callable
    math_call: Callable  # (context, builder, name, lanes, arguments) -> value


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
    "erf", "erfc",
)  # fmt: skip
ROUNDING = ("floor", "ceil", "trunc")
BINARY_MATH = ("pow", "atan2", "fmod", "hypot")


# By target: how a math function is called on lanes.
MATH_CALLS: dict[str, Callable] = {}


def _common(a, b):
    """Return the lanes type two operands meet in, or None where lanes play no part."""
    if isinstance(a, Lanes) and isinstance(b, Lanes):
        return wider(a, b) if a.width == b.width else None
    lanes, other = (a, b) if isinstance(a, Lanes) else (b, a)
    if not isinstance(lanes, Lanes):
        return None
    if isinstance(other, types.Integer):
        return lanes
    if isinstance(other, types.Float) and lanes.is_float:
        return lanes
    return None


def _template(registrar: Registrar, function, rule) -> None:
    """Type calls of `function` by ``rule(*argument_types) -> (result, *arguments) | None``."""

    @registrar.infer_global(function)
    class LaneTemplate(registrar.abstract_template):
        # Named for one target, a template is tried before numba's dozens for any target.
        metadata = {"target": registrar.target}  # noqa: RUF012

        def generic(self, args, kws):
            if kws:
                return None
            types_ = rule(*args)
            return None if types_ is None else registrar.signature(*types_)


def _rule(n_arguments: int):
    """Guard a typing rule against calls with another number of arguments."""

    def decorate(rule):
        def guarded(*args):
            return rule(*args) if len(args) == n_arguments else None

        return guarded

    return decorate


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
    _register_math(registrar)
    _register_buffers(registrar)
    _register_runs(registrar)


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
        @_rule(2)
        def rule(a, b):
            common = _common(a, b)
            if common is None or (name == "truediv" and not common.is_float):
                return None
            return common, common, common

        def lower(context, builder, sig, args):
            return codegen.arithmetic(builder, name, sig.return_type, *args)

        _template(registrar, function, rule)
        registrar.lower(function, Lanes, Lanes)(lower)

    for name, functions in ARITHMETIC.items():
        for function in functions:
            make(name, function)

    @_rule(1)
    def unary(a):
        return (a, a) if isinstance(a, Lanes) else None

    _template(registrar, operator.neg, unary)
    _template(registrar, operator.pos, unary)

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
    @_rule(2)
    def rule(a, b):
        common = _common(a, b)
        if common is None:
            return None
        return Mask(common.width, common.dtype if common.is_float else None), common, common

    def make(function, operation):
        def lower(context, builder, sig, args):
            return codegen.compare(builder, operation, sig.args[0], *args)

        _template(registrar, function, rule)
        registrar.lower(function, Lanes, Lanes)(lower)

    for function, operation in COMPARISONS.items():
        make(function, operation)


def _register_masks(registrar):
    @_rule(2)
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

        _template(registrar, function, both)
        registrar.lower(function, Mask, Mask)(lower)

    for function, method in MASK_OPERATIONS.items():
        make(function, method)

    @_rule(1)
    def one(a):
        return (a, a) if isinstance(a, Mask) else None

    _template(registrar, operator.invert, one)

    @registrar.lower(operator.invert, Mask)
    def invert(context, builder, sig, args):
        return builder.not_(args[0])

    @_rule(1)
    def to_bool(a):
        return (types.boolean, a) if isinstance(a, Mask) else None

    _template(registrar, primitives.any_lane, to_bool)
    _template(registrar, primitives.all_lanes, to_bool)

    @registrar.lower(primitives.any_lane, Mask)
    def any_lane(context, builder, sig, args):
        return codegen.any_true(builder, args[0], sig.args[0].width)

    @registrar.lower(primitives.all_lanes, Mask)
    def all_lanes(context, builder, sig, args):
        return codegen.all_true(builder, args[0], sig.args[0].width)


def _register_selection(registrar):
    def branch_type(mask, a, b):
        common = _common(a, b)
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

    @_rule(3)
    def rule(mask, a, b):
        if not isinstance(mask, Mask):
            return None
        result = branch_type(mask, a, b)
        return None if result is None else (result, mask, result, result)

    _template(registrar, primitives.select, rule)

    @registrar.lower(primitives.select, Mask, Lanes, Lanes)
    @registrar.lower(primitives.select, Mask, Mask, Mask)
    def select(context, builder, sig, args):
        return builder.select(*args)

    @_rule(2)
    def two(a, b):
        common = _common(a, b)
        return None if common is None else (common, common, common)

    def make_extremum(function, operation):
        def lower(context, builder, sig, args):
            condition = codegen.compare(builder, operation, sig.return_type, *args)
            return builder.select(condition, *args)

        _template(registrar, function, two)
        registrar.lower(function, Lanes, Lanes)(lower)

    for function, operation in (
        (primitives.minimum, "<"),
        (primitives.maximum, ">"),
        (min, "<"),
        (max, ">"),
    ):
        make_extremum(function, operation)


def _register_bit_patterns(registrar):
    @_rule(1)
    def to_mask(a):
        if isinstance(a, Lanes) and a.is_float:
            return Mask(a.width, a.dtype), a
        return None

    @_rule(1)
    def to_float(a):
        return (a, a) if isinstance(a, Lanes) and a.is_float else None

    def make(function, emit, rule):
        def lower(context, builder, sig, args):
            return emit(builder, sig.args[0], args[0])

        _template(registrar, function, rule)
        registrar.lower(function, Lanes)(lower)

    make(primitives.is_finite, codegen.is_finite, to_mask)
    make(primitives.exponent_of, codegen.exponent_of, to_float)
    make(primitives.significand_of, codegen.significand_of, to_float)
    make(primitives.power_of_two, codegen.power_of_two, to_float)


def _register_math(registrar):
    @_rule(1)
    def one(a):
        return (a, a) if isinstance(a, Lanes) and a.is_float else None

    @_rule(2)
    def two(a, b):
        common = _common(a, b)
        return (common, common, common) if common is not None and common.is_float else None

    def make_call(function, name, rule, n_arguments):
        def lower(context, builder, sig, args):
            return registrar.math_call(context, builder, name, sig.return_type, args)

        _template(registrar, function, rule)
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
    make_call(operator.pow, "pow", two, 2)


def _register_buffers(registrar):
    @_rule(2)
    def get(buf, index):
        if isinstance(buf, Buf) and isinstance(index, types.Integer):
            return buf.element, buf, types.intp
        return None

    @_rule(3)
    def put(buf, index, value):
        if not (isinstance(buf, Buf) and isinstance(index, types.Integer)):
            return None
        element = buf.element
        if value != element and _common(element, value) != element:
            return None
        return types.none, buf, types.intp, element

    _template(registrar, operator.getitem, get)
    _template(registrar, operator.setitem, put)

    @registrar.lower(operator.getitem, Buf, types.Integer)
    def getitem(context, builder, sig, args):
        return codegen.load(builder, sig.args[0], *args)

    @registrar.lower(operator.setitem, Buf, types.Integer, Lanes)
    def setitem(context, builder, sig, args):
        codegen.store(builder, sig.args[0], *args)
        return context.get_dummy_value()


def _register_runs(registrar):
    """Traffic between lanes and the arrays of the whole batch, at the kernel's edge."""

    def element_pointer(builder, array, index):
        return builder.gep(array, [index], inbounds=True)

    @_rule(2)
    def item_rule(array, index):
        if isinstance(array, Flat) and isinstance(index, types.Integer):
            return array.dtype, array, types.intp
        return None

    _template(registrar, operator.getitem, item_rule)

    @registrar.lower(operator.getitem, Flat, types.Integer)
    def getitem(context, builder, sig, args):
        return builder.load(element_pointer(builder, *args))

    @_rule(5)
    def load_rule(array, offset, stride, run, n_runs):
        if not (isinstance(array, Flat) and isinstance(run, Lanes)):
            return None
        loaded = Lanes(array.dtype, run.width)
        return loaded, array, types.intp, types.intp, run, types.intp

    _template(registrar, primitives.load_run, load_rule)

    @registrar.lower(primitives.load_run, Flat, types.Integer, types.Integer, Lanes, types.Integer)
    def load_run(context, builder, sig, args):
        array_type, runs = sig.args[0], sig.args[3]
        array, offset, stride, run, n_runs = args
        last = builder.sub(n_runs, n_runs.type(1))

        def scalar_of(lane):
            index = codegen.lane_of(builder, run, runs.width, lane)
            index = builder.select(builder.icmp_signed("<", index, last), index, last)
            index = builder.add(offset, builder.mul(stride, index))
            return builder.load(element_pointer(builder, array, index))

        scalar = lane_type(array_type.dtype, 1)
        return codegen.for_each_lane(builder, runs.width, scalar, scalar_of)

    @_rule(2)
    def gather_rule(array, index):
        if isinstance(array, Flat) and isinstance(index, Lanes):
            wide = Lanes(types.int64, index.width)
            return Lanes(array.dtype, index.width), array, wide
        return None

    _template(registrar, primitives.gather, gather_rule)

    @registrar.lower(primitives.gather, Flat, Lanes)
    def gather(context, builder, sig, args):
        array_type, indices = sig.args

        def scalar_of(lane):
            index = codegen.lane_of(builder, args[1], indices.width, lane)
            return builder.load(element_pointer(builder, args[0], index))

        scalar = lane_type(array_type.dtype, 1)
        return codegen.for_each_lane(builder, indices.width, scalar, scalar_of)

    @_rule(5)
    def store_rule(array, offset, run, mask, value):
        if not (isinstance(array, Flat) and isinstance(run, Lanes)):
            return None
        width = run.width
        wide = Lanes(types.int64, width)
        if not isinstance(mask, Mask) or not isinstance(offset, (Lanes, types.Integer)):
            return None
        return types.none, array, wide, wide, mask, Lanes(array.dtype, width)

    _template(registrar, primitives.store_run, store_rule)

    @registrar.lower(primitives.store_run, Flat, Lanes, Lanes, Mask, Lanes)
    def store_run(context, builder, sig, args):
        width = sig.args[2].width
        array, offset, run, mask, value = args
        index = builder.add(offset, run)
        for lane in range(width):
            with builder.if_then(codegen.lane_of(builder, mask, width, lane)):
                pointer = element_pointer(
                    builder, array, codegen.lane_of(builder, index, width, lane)
                )
                builder.store(codegen.lane_of(builder, value, width, lane), pointer)
        return context.get_dummy_value()
