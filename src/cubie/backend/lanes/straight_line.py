"""Generated straight-line functions, turned into LLVM instructions without numba's front end.

Typing and lowering cost numba milliseconds a statement, and generated text has hundreds. It knows
no loops, no branches and no types but lanes and masks, so each operation maps to the instruction
that `lane_ops` would emit for it, and the results are the same to the last bit.
"""

from __future__ import annotations

import ast
import functools
import math
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types

from cubie.backend.base import SOURCE
from cubie.backend.lanes import instructions as codegen
from cubie.backend.lanes.types import Buf, Lanes, Mask

I64 = ir.IntType(64)

_ARITHMETIC = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "truediv"}
_COMPARISONS = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}
_MASKS = {ast.BitAnd: "and_", ast.BitOr: "or_"}
_EXTREMA = {"minimum": "<", "maximum": ">"}
# LLVM's ordered comparisons: whether the left one is the smaller.
_ORDERED = {"olt": True, "ole": True, "ogt": False, "oge": False}
_RENAMED = {"absolute": "fabs", "square_root": "sqrt"}


def definition(function: Callable) -> ast.FunctionDef:
    """Return the syntax tree of a function in a generated module, from the text it holds."""
    return _definitions(function.__globals__[SOURCE])[function.__name__]


@functools.lru_cache(maxsize=64)
def _definitions(source: str) -> dict[str, ast.FunctionDef]:
    tree = ast.parse(source)
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def emitter(tree: ast.FunctionDef, lanes: Lanes, math_call: Callable) -> Callable:
    """Return ``generate(typing context, *argument types)``, as an intrinsic is defined by.

    Parameters
    ----------
    tree : ast.FunctionDef
        Assignments of arithmetic on lanes, buffers indexed by an integer argument plus a
        constant; at most one `return`, of a mask, at the end.
    lanes : Lanes
        The run's numbers.
    math_call : callable
        ``math_call(context, builder, name, lanes, arguments)``.
    """
    names = [argument.arg for argument in tree.args.args]
    returns = any(isinstance(statement, ast.Return) for statement in tree.body)
    result = Mask(lanes.width, lanes.dtype) if returns else types.none

    def generate(typing_context, *argument_types):
        def lower(context, builder, signature, arguments):
            emit = _Emitter(context, builder, lanes, math_call)
            for name, kind, value in zip(names, signature.args, arguments, strict=True):
                emit.bind(name, kind, value)
            returned = emit.body(tree.body)
            return returned if returns else context.get_dummy_value()

        return result(*argument_types), lower

    return generate


def _is_number(value) -> bool:
    """Whether a value is a constant, and not NaN."""
    if not isinstance(value, ir.Constant):
        return False
    number = value.constant
    while not isinstance(number, float):  # of one lane, itself a constant or not
        number = number[0] if isinstance(number, (list, tuple)) else number.constant
    return not math.isnan(number)


class _Emitter:
    """Walks the statements of one function; values are LLVM values or Python floats."""

    def __init__(self, context, builder, lanes: Lanes, math_call: Callable):
        self.context, self.builder, self.lanes = context, builder, lanes
        self.math_call = math_call
        self.values: dict[str, Any] = {}
        self.buffers: dict[str, tuple[Buf, Any]] = {}

    def bind(self, name: str, kind, value) -> None:
        """Give an argument its value: a buffer, lanes, an index, or a number for all lanes."""
        if isinstance(kind, Buf):
            self.buffers[name] = kind, value
        elif isinstance(kind, types.Integer):
            wide = value.type.width == I64.width
            self.values[name] = value if wide else self.builder.sext(value, I64)
        elif isinstance(kind, types.Float):
            scalar = codegen.convert_scalar(self.builder, value, kind, self.lanes.dtype)
            self.values[name] = codegen.splat(self.builder, scalar, self.lanes.width)
        elif isinstance(kind, (Lanes, Mask)):
            self.values[name] = value
        else:
            raise TypeError(f"`{name}` of a straight-line function cannot be a {kind}")

    def body(self, statements) -> Any:
        """Emit statements in order; return the value of `return`."""
        for statement in statements:
            if isinstance(statement, ast.Return):
                return self.value(statement.value)
            if isinstance(statement, ast.Assign):
                self._assign(statement.targets[0], statement.value)
            elif not isinstance(statement, (ast.Expr, ast.Pass)):
                raise NotImplementedError(ast.unparse(statement))
        return None

    def _assign(self, target, expression) -> None:
        if isinstance(target, ast.Tuple):
            values = [self.value(entry) for entry in expression.elts]
            for name, value in zip(target.elts, values, strict=True):
                self.values[name.id] = value
        elif isinstance(target, ast.Name):
            self.values[target.id] = self.value(expression)
        else:
            buf, pointer = self.buffers[target.value.id]
            value = self._number(self.value(expression))
            codegen.store(self.builder, buf, pointer, self._index(target.slice), value)

    def _index(self, node) -> Any:
        if isinstance(node, ast.Constant):
            return I64(node.value)
        if isinstance(node, ast.Name):
            return self.values[node.id]
        return self.builder.add(self.values[node.left.id], I64(node.right.value))

    def _number(self, value) -> Any:
        if isinstance(value, float):
            return codegen.constant(self.lanes.dtype, self.lanes.width, value)
        return value

    def value(self, node) -> Any:
        """Emit an expression."""
        return getattr(self, f"_{type(node).__name__.lower()}")(node)

    def _name(self, node):
        return self.values[node.id]

    def _constant(self, node):
        return float(node.value)

    def _attribute(self, node):
        return float(getattr(math, node.attr))

    def _subscript(self, node):
        buf, pointer = self.buffers[node.value.id]
        return codegen.load(self.builder, buf, pointer, self._index(node.slice))

    def _binop(self, node):
        left, right = self.value(node.left), self.value(node.right)
        kind = type(node.op)
        if kind in _MASKS:
            return getattr(self.builder, _MASKS[kind])(left, right)
        left, right = self._number(left), self._number(right)
        return codegen.arithmetic(self.builder, _ARITHMETIC[kind], self.lanes, left, right)

    def _unaryop(self, node):
        value = self.value(node.operand)
        if isinstance(node.op, ast.Invert):
            return self.builder.not_(value)
        if isinstance(value, float):
            return -value
        return codegen.negative(self.builder, self.lanes, value)

    def _compare(self, node):
        left, right = self.value(node.left), self.value(node.comparators[0])
        operation = _COMPARISONS[type(node.ops[0])]
        left, right = self._number(left), self._number(right)
        return codegen.compare(self.builder, operation, self.lanes, left, right)

    def _call(self, node):
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else function.id
        arguments = [self._number(self.value(argument)) for argument in node.args]
        if name == "select":
            return self._select(*arguments)
        if name in _EXTREMA:
            chosen = codegen.compare(self.builder, _EXTREMA[name], self.lanes, *arguments)
            return self._select(chosen, *arguments)
        name = _RENAMED.get(name, name)
        return self.math_call(self.context, self.builder, name, self.lanes, arguments)

    def _select(self, mask, chosen, other):
        """Choose; a choice between compared values that ends NaN at a constant is an intrinsic.

        LLVM takes `1.0 if 1.0 < p else p` and `x if x < 1.0 else 1.0` of it for the same minimum
        twice, and drops the second, though that one turns a NaN of `p` into 1.0. With all choices
        of the second kind hidden from it, those of the first are alike for NaN too.
        """
        if _is_number(other) and getattr(mask, "op", None) in _ORDERED:
            left, right = map(str, mask.operands)
            smaller = _ORDERED[mask.op]
            if (left, right) == (str(other), str(chosen)):
                left, right, smaller = right, left, not smaller
            if (left, right) == (str(chosen), str(other)):
                name = "fmin" if smaller else "fmax"
                return self.math_call(self.context, self.builder, name, self.lanes, [chosen, other])
        return codegen.select(self.builder, mask, chosen, other)
