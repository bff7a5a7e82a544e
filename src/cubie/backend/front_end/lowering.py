"""LLVM code of device functions whose variables have types.

Functions that only call each other need no calling convention for Python: values are passed and
returned as they are, and no status tells of exceptions, for nothing here raises any.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from llvmlite import ir as llvm
from numba.core import ir, types

from cubie.backend.compiled import uninitialised
from cubie.backend.front_end.convention import OURS
from cubie.backend.front_end.inference import Typed

_numbers = itertools.count()
_PLAIN = {bool: types.boolean, int: types.int64, float: types.float64}


def new_symbol(name: str) -> str:
    """Return a name that no other function of the process has."""
    return f"{name}.{next(_numbers)}"


def declare(context, module, symbol: str, arguments: tuple, returned, inline: bool):
    """Return a function in a module, which another one may hold.

    Where it is not inlined its arguments are numbers and pointers instead of tuples of them: LLVM
    then leaves out those that are not used.
    """
    known = module.globals.get(symbol)
    if known is not None:
        return known
    kinds = [context.get_value_type(kind) for kind in arguments]
    if not inline:
        kinds = [leaf for kind in kinds for leaf in _leaves(kind)]
    result = llvm.VoidType() if returned == types.none else context.get_value_type(returned)
    function = llvm.Function(module, llvm.FunctionType(result, kinds), symbol)
    setattr(function, OURS, True)
    if inline:
        function.attributes.add("alwaysinline")
    return function


def call(context, builder, function, returned, inline: bool, values):
    """Emit a call of a function that `declare` returned."""
    if not inline:
        values = [leaf for value in values for leaf in _taken_apart(builder, value)]
    result = builder.call(function, values)
    return context.get_dummy_value() if returned == types.none else result


def lower(
    context, module, symbol: str, typed: Typed, arguments: tuple, inline: bool, lines: Any = None
) -> None:
    """Write a typed function into a module.

    `lines`, where there are any, mark instructions by lines of the source: ``lines.mark(builder,
    line)`` is called before those of each statement.
    """
    function = declare(context, module, symbol, arguments, typed.returned, inline)
    _Lowering(context, function, typed, arguments, inline, lines).run()


def _leaves(kind):
    if isinstance(kind, llvm.ArrayType):
        return [leaf for _ in range(kind.count) for leaf in _leaves(kind.element)]
    if isinstance(kind, llvm.LiteralStructType):
        return [leaf for member in kind.elements for leaf in _leaves(member)]
    return [kind]


def _members(kind) -> list:
    if isinstance(kind, llvm.ArrayType):
        return [kind.element] * kind.count
    return list(kind.elements)


def _taken_apart(builder, value):
    if not isinstance(value.type, (llvm.ArrayType, llvm.LiteralStructType)):
        return [value]
    parts = (builder.extract_value(value, i) for i in range(len(_members(value.type))))
    return [leaf for part in parts for leaf in _taken_apart(builder, part)]


def _put_together(builder, kind, leaves):
    if not isinstance(kind, (llvm.ArrayType, llvm.LiteralStructType)):
        return next(leaves)
    value = llvm.Constant(kind, llvm.Undefined)
    for i, member in enumerate(_members(kind)):
        value = builder.insert_value(value, _put_together(builder, member, leaves), i)
    return value


class _Lowering:
    """The state of one function being written."""

    def __init__(self, context, function, typed: Typed, arguments: tuple, inline: bool, lines):
        self._context, self._function, self._typed = context, function, typed
        self._lines = lines
        self._kinds = arguments
        entry = function.append_basic_block("entry")
        self._builder = llvm.IRBuilder(entry)
        self._entry = entry
        self._arguments = list(function.args)
        if not inline:
            leaves = iter(self._arguments)
            self._arguments = [
                _put_together(self._builder, context.get_value_type(kind), leaves)
                for kind in arguments
            ]
        self._values: dict[str, Any] = {}
        self._slots: dict[str, Any] = {}
        # By a block: what phi nodes of those behind it take from it.
        self._handed_on: dict[int, list[tuple[str, str]]] = defaultdict(list)

    def run(self) -> None:
        blocks = {}
        for label, _ in self._typed.blocks:
            blocks[label] = self._function.append_basic_block(f"B{label}")
        self._reserve()
        for label, block in self._typed.blocks:
            self._builder.position_at_end(blocks[label])
            for statement in block.body[:-1]:
                self._mark(statement)
                self._statement(statement)
            self._mark(block.body[-1])
            self._hand_on(label)
            self._leave(block.body[-1], blocks)
        self._builder.position_at_end(self._entry)
        self._builder.branch(blocks[self._typed.blocks[0][0]])

    def _mark(self, statement) -> None:
        if self._lines is not None:
            self._lines.mark(self._builder, statement.loc.line)

    def _reserve(self) -> None:
        """Reserve memory for variables that have several values: LLVM finds where each holds."""
        assigned: Counter[str] = Counter()
        joined = {}
        for _, block in self._typed.blocks:
            for statement in block.body:
                if not isinstance(statement, ir.Assign):
                    continue
                name, value = statement.target.name, statement.value
                assigned[name] += 1
                if isinstance(value, ir.Expr) and value.op == "phi":
                    joined[name] = None
                    pairs = zip(value.incoming_blocks, value.incoming_values, strict=True)
                    for before, taken in pairs:
                        if taken is not ir.UNDEFINED:
                            self._handed_on[before].append((name, taken.name))
        for name in [*joined, *(n for n, times in assigned.items() if times > 1)]:
            kind = self._typed.types[name]
            if name not in self._slots and isinstance(kind, types.Type):
                lowered = self._context.get_value_type(kind)
                self._slots[name] = slot = uninitialised(self._builder, lowered, name)
                self._builder.store(llvm.Constant(lowered, None), slot)

    def _hand_on(self, label: int) -> None:
        """Give the phi nodes behind a block what they take from it."""
        pairs = self._handed_on.get(label, ())
        values = [self._converted(taken, self._typed.types[name]) for name, taken in pairs]
        for (name, _), value in zip(pairs, values, strict=True):
            self._store(name, value)

    def _leave(self, statement, blocks: dict) -> None:
        """Write what a block ends with."""
        builder = self._builder
        if isinstance(statement, ir.Jump):
            builder.branch(blocks[statement.target])
        elif isinstance(statement, ir.Branch):
            condition = self._converted(statement.cond.name, types.boolean)
            builder.cbranch(condition, blocks[statement.truebr], blocks[statement.falsebr])
        elif self._typed.returned == types.none:
            builder.ret_void()
        else:
            builder.ret(self._load(statement.value.name))

    def _statement(self, statement) -> None:
        if isinstance(statement, ir.SetItem):
            variables = (statement.target, statement.index, statement.value)
            self._operate(self._typed.operations[id(statement)], variables)
        elif isinstance(statement, ir.Assign):
            name, value = statement.target.name, statement.value
            kind = self._typed.types[name]
            if not isinstance(kind, types.Type):
                return  # a function: nothing but a call has use for it
            if isinstance(value, ir.Expr):
                emitted = self._expression(kind, value)
            elif isinstance(value, ir.Var):
                emitted = self._converted(value.name, kind)
            elif isinstance(value, ir.Arg):
                given = self._kinds[value.index]
                emitted = self._convert(self._arguments[value.index], given, kind)
            elif isinstance(value, ir.Const):
                emitted = self._constant(kind, value.value)
            else:
                emitted = self._constant(kind, self._typed.outside[id(value)])
            if emitted is not None:
                self._store(name, emitted)

    def _constant(self, kind, value):
        if isinstance(kind, (types.Opaque, types.Callable)):
            return self._context.get_dummy_value()
        plain = _PLAIN.get(type(value))
        if plain is None:
            return self._context.get_constant_generic(self._builder, kind, value)
        # What one variable holds beside numbers of runs may be lanes itself.
        number = self._context.get_constant(plain, value)
        return self._convert(number, plain, types.unliteral(kind))

    def _expression(self, kind, value):
        op, builder, context = value.op, self._builder, self._context
        if op in _OPERANDS:
            operation = self._typed.operations[id(value)]
            result = self._operate(operation, _OPERANDS[op](value))
            return self._convert(result, operation.returned, kind)
        if op == "phi":
            return None  # those before it wrote it
        if op in ("undef", "null"):
            return context.get_constant_null(kind)
        if op == "build_tuple":
            values = [
                self._converted(item.name, member)
                for item, member in zip(value.items, kind.types, strict=True)
            ]
            return context.make_tuple(builder, kind, values)
        taken = self._typed.types[value.value.name]
        if op in ("cast", "exhaust_iter"):
            return self._converted(value.value.name, kind)
        whole = self._load(value.value.name)
        if op == "static_getitem":
            return self._convert(
                builder.extract_value(whole, value.index % len(taken)),
                taken.types[value.index],
                kind,
            )
        if op == "pair_first":
            return context.pair_first(builder, whole, taken)
        if op == "pair_second":
            return context.pair_second(builder, whole, taken)
        return self._attribute(kind, value, taken, whole)

    def _attribute(self, kind, value, taken, whole):
        if isinstance(taken, types.BaseNamedTuple):
            place = taken.fields.index(value.attr)
            found = self._builder.extract_value(whole, place)
            return self._convert(found, taken.types[place], kind)
        return self._constant(kind, getattr(taken.pymod, value.attr))

    def _operate(self, operation, variables):
        values = [
            self._converted(variable.name, kind)
            for variable, kind in zip(variables, operation.arguments, strict=True)
        ]
        result = operation.emit(self._context, self._builder, values)
        return self._context.get_dummy_value() if result is None else result

    def _converted(self, name: str, kind):
        return self._convert(self._load(name), self._typed.types[name], kind)

    def _convert(self, value, given, kind):
        return value if given == kind else self._context.cast(self._builder, value, given, kind)

    def _load(self, name: str):
        slot = self._slots.get(name)
        return self._values[name] if slot is None else self._builder.load(slot)

    def _store(self, name: str, value) -> None:
        slot = self._slots.get(name)
        if slot is None:
            self._values[name] = value
        else:
            self._builder.store(value, slot)


def _binary(value):
    return value.lhs, value.rhs


def _only(value):
    return (value.value,)


_OPERANDS: dict[str, Callable] = {
    "binop": _binary,
    "inplace_binop": _binary,
    "unary": _only,
    "getiter": _only,
    "iternext": _only,
    "getitem": lambda value: (value.value, value.index),
    "call": lambda value: [*value.args, *(variable for _, variable in value.kws)],
}
