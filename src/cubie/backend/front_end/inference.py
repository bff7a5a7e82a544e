"""Which type each variable of a device function has, from the types of its arguments.

numba's inference builds an object for each statement, and asks dozens of templates anew for every
addition of a kernel. Device functions need little of that: plain numbers, ranges, tuples, lanes and
calls. Types flow through their statements, in numba's form and with numba's rules, until none
changes; what an operation means for given types is found once for a whole kernel.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from attrs import frozen
from numba.core import ir, types

from cubie.backend.front_end.device_function import DeviceFunction
from cubie.backend.front_end.operations import Operation, Operations
from cubie.backend.front_end.statements import Statements

NOTHING: tuple = ()


class UncompilableStatement(Exception):
    """A device function does what compiled component code cannot do."""

    def __init__(self, function: Callable, line: int, what: str):
        self.function, self.line, self.what = function, line, what
        super().__init__(
            f"`{function.__qualname__}`, line {line}: {what} is none of what compiled component "
            "code may do: assign, compute, index buffers and tuples, call device functions, loop "
            "with `while` and over `range`, branch with `if` on plain bools, and return."
        )


@frozen
class Typed:
    """A function's statements, with types.

    Attributes
    ----------
    blocks : list of (label, block)
        numba's, each variable assigned once or by phi nodes, in the order of the code.
    types : dict
        Of variables by name; a value that is called has no type, but is what is called.
    operations : dict
        What statements and expressions do, by their identity.
    outside : dict
        What names mean that are read from outside the function, by their identity.
    returned
        The type.
    """

    blocks: list[tuple[int, Any]]
    types: dict[str, Any]
    operations: dict[int, Operation]
    outside: dict[int, Any]
    returned: Any


def infer(
    operations: Operations, function: Callable, arguments: tuple, first_round: bool = False
) -> Typed:
    """Type a function, the first round of its largest loop by itself if so asked.

    Raises
    ------
    UncompilableStatement
        Where one of its statements is nothing that component code does.
    """
    statements = Statements.of(function, first_round)
    inference = _Inference(operations, function, arguments, statements.values(function))
    return inference.run(statements.blocks)


class _Inference:
    def __init__(
        self, operations: Operations, function: Callable, arguments: tuple, outside: dict[int, Any]
    ):
        self._operations, self._function, self._arguments = operations, function, arguments
        self._outside = outside
        self.types: dict[str, Any] = {}
        self.found: dict[int, Operation] = {}
        self._fixed: set[str] = set()
        # By a variable, the one whose value it last took: it is as wide.
        self._sources: dict[str, str] = {}
        self._changed = False
        self._line = 0

    def run(self, blocks) -> Typed:
        statements = [statement for _, block in blocks for statement in block.body]
        returned = {s.value.name: s for s in statements if isinstance(s, ir.Return)}
        again = True
        while again:
            self._changed, waits = False, False
            for statement in statements:
                waits |= not self._statement(statement)
            # Values come before they are used, but for those that loops carry round.
            again = self._changed and (waits or any(map(_is_phi, statements)))
        assigned = (s for s in statements if isinstance(s, ir.Assign))
        missing = next((s for s in assigned if s.target.name not in self.types), None)
        if missing is not None:
            self._refuse(missing, f"`{missing}`, whose type nothing tells,")
        result = self._operations.unified([self.types[name] for name in returned])
        if result is None:
            self._refuse(next(iter(returned.values())), "returning values of several kinds")
        self.types |= dict.fromkeys(returned, result)
        return Typed(blocks, self.types, self.found, self._outside, result)

    def _statement(self, statement) -> bool:
        """Type one statement; tell whether all that it reads is known by now."""
        kind = type(statement)
        if kind is ir.Assign:
            return self._assign(statement, statement.target.name, statement.value)
        if kind is ir.SetItem:
            read = (statement.target, statement.index, statement.value)
            return self._operate(None, statement, operator.setitem, read)
        if kind not in (ir.Jump, ir.Branch, ir.Return, ir.Del, ir.PopBlock):
            self._refuse(statement, f"`{statement}`")
        return True

    def _assign(self, statement, target: str, value) -> bool:
        kind = type(value)
        if kind is ir.Expr:
            handle = _EXPRESSIONS.get(value.op)
            if handle is None:
                self._refuse(statement, f"`{value}`")
            return handle(self, target, value)
        if kind is ir.Var:
            return self._copy(target, value)
        if kind is ir.Arg:
            self._widen(target, self._arguments[value.index])
        elif kind is ir.Const:
            self._widen(target, self._operations.constant_type(value.value))
        elif kind in (ir.Global, ir.FreeVar):
            if target not in self._fixed:
                self._widen(target, self._operations.constant_type(self._outside[id(value)]))
                self._fixed.add(target)
        else:
            self._refuse(statement, f"`{statement}`")
        return True

    def _widen(self, target: str, kind) -> None:
        """Let a variable hold values of one more type; so may those that it takes them from."""
        before = self.types.get(target)
        if before is not None and before != kind and before is not types._undef_var:
            kind = self._operations.unified([before, kind])
            if kind is None:
                what = f"giving `{target}`, which is {before}, a value of another kind"
                raise UncompilableStatement(self._function, self._line, what)
        if kind == before:
            return
        self.types[target], self._changed = kind, True
        source = self._sources.get(target)
        if source is not None and source not in self._fixed:
            self._widen(source, kind)

    def _copy(self, target: str, value) -> bool:
        kind = self.types.get(value.name)
        if kind is None:
            return False
        self._line = value.loc.line
        self._widen(target, kind)
        self._sources[target] = value.name
        return True

    def _operate(self, target: str | None, statement, function, read, keywords=NOTHING) -> bool:
        """Type an operation on variables."""
        kinds = [self.types.get(variable.name) for variable in read]
        if None in kinds:
            return False
        self._line = statement.loc.line
        if not _takes(function, len(kinds)):
            self._refuse(statement, f"`{_named(function)}` with {len(kinds)} arguments")
        operation = self._operations.find(function, tuple(kinds), keywords)
        if operation is None:
            shown = ", ".join(map(str, kinds))
            self._refuse(statement, f"`{_named(function)}` of ({shown})")
        self.found[id(statement)] = operation
        if target is not None:
            self._widen(target, operation.returned)
        return True

    def _call(self, target: str, value) -> bool:
        if value.vararg is not None:
            self._refuse(value, "a call with `*arguments`")
        called = self.types.get(value.func.name)
        if called is None:
            return False
        keywords = tuple(name for name, _ in value.kws)
        read = [*value.args, *(variable for _, variable in value.kws)]
        return self._operate(target, value, called, read, keywords)

    def _unary(self, target: str, value) -> bool:
        return self._operate(target, value, value.fn, (value.value,))

    def _binary(self, target: str, value) -> bool:
        # What numbers and lanes are is never changed in place.
        in_place = value.op == "inplace_binop"
        function = value.immutable_fn if in_place else value.fn
        return self._operate(target, value, function, (value.lhs, value.rhs))

    def _iterate(self, target: str, value) -> bool:
        return self._operate(target, value, value.op, (value.value,))

    def _item(self, target: str, value) -> bool:
        return self._operate(target, value, operator.getitem, (value.value, value.index))

    def _member(self, target: str, value) -> bool:
        kind = self.types.get(value.value.name)
        if kind is None:
            return False
        if not (isinstance(kind, types.BaseTuple) and isinstance(value.index, int)):
            self._refuse(value, f"`{value}`, of {kind},")
        self._widen(target, kind.types[value.index])
        return True

    def _attribute(self, target: str, value) -> bool:
        kind = self.types.get(value.value.name)
        if kind is None:
            return False
        found = self._operations.attribute_type(kind, value.attr)
        if found is None:
            self._refuse(value, f"`.{value.attr}` of {kind}")
        self._widen(target, found)
        return True

    def _half(self, target: str, value) -> bool:
        pair = self.types.get(value.value.name)
        if pair is None:
            return False
        self._widen(target, pair.first_type if value.op == "pair_first" else pair.second_type)
        return True

    def _unpack(self, target: str, value) -> bool:
        kind = self.types.get(value.value.name)
        if kind is None:
            return False
        if not isinstance(kind, types.BaseTuple) or len(kind) != value.count:
            self._refuse(value, f"taking {value.count} values from {kind}")
        self._widen(target, kind)
        return True

    def _build(self, target: str, value) -> bool:
        kinds = [self.types.get(item.name) for item in value.items]
        if None in kinds:
            return False
        self._widen(target, types.BaseTuple.from_types(kinds))
        return True

    def _cast(self, target: str, value) -> bool:
        return self._copy(target, value.value)

    def _join(self, target: str, value) -> bool:
        known = [self._copy(target, v) for v in value.incoming_values if v is not ir.UNDEFINED]
        return all(known)

    def _undefined(self, target: str, value) -> bool:
        self._widen(target, self.types.get(target, types._undef_var))
        return True

    def _refuse(self, statement, what: str):
        raise UncompilableStatement(self._function, statement.loc.line, what)


def _takes(function: Any, n_arguments: int) -> bool:
    """Tell whether a device function has so many parameters; of others their types tell."""
    if not isinstance(function, DeviceFunction):
        return True
    return function.function.__code__.co_argcount == n_arguments


_EXPRESSIONS: dict[str, Callable] = {
    "call": _Inference._call,
    "unary": _Inference._unary,
    "binop": _Inference._binary,
    "inplace_binop": _Inference._binary,
    "getiter": _Inference._iterate,
    "iternext": _Inference._iterate,
    "getitem": _Inference._item,
    "static_getitem": _Inference._member,
    "getattr": _Inference._attribute,
    "pair_first": _Inference._half,
    "pair_second": _Inference._half,
    "exhaust_iter": _Inference._unpack,
    "build_tuple": _Inference._build,
    "cast": _Inference._cast,
    "phi": _Inference._join,
    "undef": _Inference._undefined,
}


def _is_phi(statement) -> bool:
    return (
        isinstance(statement, ir.Assign)
        and isinstance(statement.value, ir.Expr)
        and statement.value.op == "phi"
    )


def _named(function) -> str:
    function = function.function if isinstance(function, DeviceFunction) else function
    return getattr(function, "__name__", None) or str(function)
