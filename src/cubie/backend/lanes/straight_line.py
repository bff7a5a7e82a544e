"""Generated straight-line functions, turned into LLVM instructions without numba's front end.

Typing and lowering cost numba milliseconds a statement, and generated text has hundreds. It knows
no loops but those over ranges of whole numbers, and no types but lanes and masks, so each operation
maps to the instruction that `lane_ops` would emit for it, and the results are the same to the last
bit.
"""

from __future__ import annotations

import ast
import functools
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from llvmlite import ir
from numba.core import types

from cubie.backend.base import SOURCE
from cubie.backend.lanes import instructions as codegen
from cubie.backend.lanes.pieces import emit_in_pieces
from cubie.backend.lanes.types import Buf, Lanes, Mask

I64 = ir.IntType(64)

_ARITHMETIC = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "truediv"}
_OF_WHOLE = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul"}
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
# Of the number that a row is scaled by: its product with any step size is far from both ends.
LARGEST_SCALE = {32: 2.0**16, 64: 2.0**64}
_RENAMED = {"absolute": "fabs", "square_root": "sqrt"}


def definition(function: Callable) -> ast.FunctionDef:
    """Return the syntax tree of a function in a generated module, from the text it holds."""
    return definitions(function)[function.__name__]


def definitions(function: Callable) -> dict[str, ast.FunctionDef]:
    """Return the syntax trees of all functions in a function's generated module, by name."""
    return _definitions(function.__globals__[SOURCE])


@functools.lru_cache(maxsize=64)
def _definitions(source: str) -> dict[str, ast.FunctionDef]:
    tree = ast.parse(source)
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def emitter(
    tree: ast.FunctionDef,
    lanes: Lanes,
    math_call: Callable,
    tables: Mapping[str, Callable[[Any], Any]] = MappingProxyType({}),
    piece: int | None = None,
    of_scaled_rows: tuple[str, ...] = (),
    functions: Mapping[str, ast.FunctionDef] = MappingProxyType({}),
) -> Callable:
    """Return ``generate(typing context, *argument types)``, as an intrinsic is defined by.

    Parameters
    ----------
    tree : ast.FunctionDef
        Assignments of arithmetic on lanes, buffers indexed by whole numbers; loops over ranges,
        and what is done where a whole number is another one; at most one `return`, of a mask, at
        the end.
    lanes : Lanes
        The run's numbers.
    math_call : callable
        ``math_call(context, builder, name, lanes, arguments)``.
    tables : mapping of str to callable, optional
        ``tables[name](builder)``: where the numbers of a table lie, and how they are read:
        ``element(index)``, a whole number of 64 bits or one of the lanes' numbers.
    piece : int, optional
        Longer functions are cut into such of so many statements.
    of_scaled_rows : tuple of str, optional
        Fast-math flags of products by a number of ordinary size that are stored as they are; see
        `_Emitter._free_scale`.
    functions : mapping of str to ast.FunctionDef, optional
        Those that it may call, with buffers and whole numbers, for what they store.
    """
    names = [argument.arg for argument in tree.args.args]
    returns = any(isinstance(statement, ast.Return) for statement in tree.body)
    result = Mask(lanes.width, lanes.dtype) if returns else types.none

    def generate(typing_context, *argument_types):
        def lower(context, builder, signature, arguments):
            emit = _Emitter(context, builder, lanes, math_call)
            emit.tables, emit.of_scaled_rows, emit.functions = tables, of_scaled_rows, functions
            for name, kind, value in zip(names, signature.args, arguments, strict=True):
                emit.bind(name, kind, value)
            if piece is None or len(tree.body) <= piece:
                returned = emit.body(tree.body)
            else:
                returned = emit_in_pieces(emit, tree.body, piece)
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
        self.indices: list[str] = []
        self.tables: Mapping[str, Callable] = {}
        self.of_scaled_rows: tuple[str, ...] = ()
        self.functions: Mapping[str, ast.FunctionDef] = {}

    def bind(self, name: str, kind, value) -> None:
        """Give an argument its value: a buffer, lanes, an index, or a number for all lanes."""
        if isinstance(kind, Buf):
            self.buffers[name] = kind, value
        elif isinstance(kind, types.Integer):
            self.indices.append(name)
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
            elif isinstance(statement, ast.For):
                self._loop(statement)
            elif isinstance(statement, ast.If):
                self._where_equal(statement)
            elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
                self._inlined(statement.value)
            elif not isinstance(statement, (ast.Expr, ast.Pass)):
                raise NotImplementedError(ast.unparse(statement))
        return None

    def _inlined(self, call) -> None:
        """Emit what another function of the module does with some buffers and whole numbers."""
        called, outside = self.functions[call.func.id], (self.values, self.buffers)
        values, buffers = {}, {}
        for parameter, argument in zip(called.args.args, call.args, strict=True):
            name = argument.id if isinstance(argument, ast.Name) else None
            if name in self.buffers:
                buffers[parameter.arg] = self.buffers[name]
            elif name in self.values:
                values[parameter.arg] = self.values[name]
            else:
                values[parameter.arg] = self._index(argument)
        self.values, self.buffers = values, buffers
        self.body(called.body)
        self.values, self.buffers = outside

    def _loop(self, statement) -> None:
        builder, limits = self.builder, [self._index(limit) for limit in statement.iter.args]
        start, stop = limits if len(limits) == 2 else (I64(0), limits[0])
        changed, before = self._changed_in(statement.body), builder.block
        again, inside, after = (
            builder.append_basic_block(f"loop.{part}") for part in ("again", "inside", "after")
        )
        builder.branch(again)
        builder.position_at_end(again)
        index = builder.phi(I64)
        index.add_incoming(start, before)
        kept = {}
        for name, value in changed.items():
            kept[name] = self.values[name] = builder.phi(value.type)
            kept[name].add_incoming(value, before)
        builder.cbranch(builder.icmp_signed("<", index, stop), inside, after)
        builder.position_at_end(inside)
        outside = dict(self.values)
        self.values[statement.target.id] = index
        self.body(statement.body)
        following = builder.add(index, I64(1), flags=["nsw"])
        builder.branch(again)
        index.add_incoming(following, builder.block)
        for name, phi in kept.items():
            phi.add_incoming(self._number(self.values[name]), builder.block)
        # What only the loop gave a value has none behind it; a later loop may give it one anew.
        self.values = outside | kept
        builder.position_at_end(after)

    def _where_equal(self, statement) -> None:
        left, right = statement.test.left, statement.test.comparators[0]
        builder = self.builder
        equal = builder.icmp_signed("==", self._index(left), self._index(right))
        changed, before, outside = self._changed_in(statement.body), builder.block, self.values
        self.values = dict(outside)
        with builder.if_then(equal):
            self.body(statement.body)
            inside = builder.block
        for name, value in changed.items():
            phi = builder.phi(value.type)
            phi.add_incoming(value, before)
            phi.add_incoming(self._number(self.values[name]), inside)
            outside[name] = phi
        self.values = outside

    def _changed_in(self, statements) -> dict[str, Any]:
        """Return the values that variables have before these statements give them others."""
        nodes = (node for statement in statements for node in ast.walk(statement))
        targets = (node.targets[0] for node in nodes if isinstance(node, ast.Assign))
        names = {target.id: None for target in targets if isinstance(target, ast.Name)}
        return {name: self._number(self.values[name]) for name in names if name in self.values}

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
            if self.of_scaled_rows:
                self._free_scale(expression, value)
            codegen.store(self.builder, buf, pointer, self._index(target.slice), value, self.lanes)

    def _free_scale(self, expression, value) -> None:
        """Let the number that a whole row is scaled by be multiplied by the step size first.

        Methods scale rows by the step size and by numbers of theirs, one for each stage: with the
        row's own taken in, each stage has a multiplication less. Products alone are regrouped, so
        that NaN stays NaN, and by a number of ordinary size, so that none leaves its range.
        """
        is_product = isinstance(expression, ast.BinOp) and isinstance(expression.op, ast.Mult)
        if not is_product or getattr(value, "opname", None) != "fmul":
            return
        limit = LARGEST_SCALE[self.lanes.dtype.bitwidth]
        for factor in (expression.left, expression.right):
            number = factor.operand if isinstance(factor, ast.UnaryOp) else factor
            value_of = number.value if isinstance(number, ast.Constant) else None
            if isinstance(value_of, (int, float)) and 1.0 / limit <= abs(value_of) <= limit:
                value.flags = list(self.of_scaled_rows)

    def _index(self, node) -> Any:
        if isinstance(node, ast.Constant):
            return I64(node.value)
        if isinstance(node, ast.Name):
            return self.values[node.id]
        if isinstance(node, ast.Call):
            return self._look_up(node)
        operation = _OF_WHOLE[type(node.op)]
        return getattr(self.builder, operation)(self._index(node.left), self._index(node.right))

    def _look_up(self, node) -> Any:
        return self.tables[node.func.id](self.builder)(self._index(node.args[0]))

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
        return codegen.load(self.builder, buf, pointer, self._index(node.slice), self.lanes)

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
        if name in self.tables:
            return codegen.splat(self.builder, self._look_up(node), self.lanes.width)
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
