"""What the operations of device functions are, for types of operands: found once for a kernel."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from numba.core import errors, types

from cubie.backend.front_end.device_function import DeviceFunction, Intrinsic
from cubie.backend.front_end.plain import Operation, bundling, extremum, is_bundle, member


class Operations:
    """What functions, operators and attributes mean for types.

    Parameters
    ----------
    typing_context
        numba's: of plain numbers, tuples and ranges it knows what is meant, of lanes what this
        package taught it.
    call : callable
        ``call(device function, argument types)``: the `Operation` that calls it.
    """

    untypeable: type[Exception] = errors.TypingError  # what the context says of unknown operations

    def __init__(self, typing_context, call: Callable):
        self._typing, self._call = typing_context, call
        self._found: dict[tuple, Operation | None] = {}
        self._functions: dict[Any, Any] = {}

    def find(self, function, kinds: tuple, keywords: tuple[str, ...] = ()) -> Operation | None:
        """Return what a function, or an operator, does to types; None where it is not known."""
        if isinstance(function, DeviceFunction):
            if keywords:
                raise TypeError("device functions take positional arguments only")
            return self._call(function, tuple(map(types.unliteral, kinds)))
        key = function, kinds, keywords
        if key not in self._found:
            self._found[key] = self._make(function, kinds, keywords)
        return self._found[key]

    def _make(self, function, kinds: tuple, keywords: tuple[str, ...]) -> Operation | None:
        if isinstance(function, Intrinsic):
            return self._of_intrinsic(function.definition, kinds)
        if is_bundle(function):
            return bundling(function, kinds, keywords)
        found = None
        if function is operator.getitem:
            found = member(kinds)
        elif function is min or function is max:
            found = extremum(function, kinds, self.find, self.unified)
        return found or self._of_numba(function, kinds, keywords)

    def _of_intrinsic(self, definition: Callable, kinds: tuple) -> Operation | None:
        defined = definition(self._typing, *map(types.unliteral, kinds))
        if defined is None:
            return None
        signature, emit = defined

        def emitted(context, builder, values):
            return emit(context, builder, signature, values)

        return Operation(signature.args, signature.return_type, emitted)

    def _of_numba(self, function, kinds: tuple, keywords) -> Operation | None:
        positional = kinds[: len(kinds) - len(keywords)]
        named = dict(zip(keywords, kinds[len(positional) :], strict=True))
        if not isinstance(function, (str, types.Type)):
            function = self._function(function)
        try:
            signature = self._typing.resolve_function_type(function, positional, named)
        except self.untypeable:
            return None
        if signature is None or signature.recvr or len(signature.args) != len(kinds):
            return None
        implementations: dict[int, Callable] = {}

        def emitted(context, builder, values):
            found = implementations.get(id(context))
            if found is None:
                found = context.get_function(function, signature)
                implementations[id(context)] = found
            return found(builder, values)

        return Operation(signature.args, signature.return_type, emitted)

    def _function(self, function):
        if function not in self._functions:
            self._functions[function] = self._typing.resolve_value_type(function)
        return self._functions[function]

    def constant_type(self, value) -> Any:
        """Return the type of a constant; what this package calls is its own."""
        if (
            isinstance(value, (DeviceFunction, Intrinsic))
            or is_bundle(value)
            or value is min  # not by equality: an array has none that is one truth
            or value is max
        ):
            return value
        if isinstance(value, float):
            return self._typing.resolve_value_type(value)
        found = self._typing.resolve_value_type(value)
        if isinstance(found, types.BaseAnonymousTuple):
            members = [types.maybe_literal(member) for member in value]
            if all(members):
                return types.Tuple(members)
        return types.maybe_literal(value) or found

    def attribute_type(self, kind, name: str) -> Any:
        """Return the type of an attribute; None where there is no such."""
        if isinstance(kind, types.BaseNamedTuple) and name in kind.fields:
            return kind.types[kind.fields.index(name)]
        if isinstance(kind, types.Module) and hasattr(kind.pymod, name):
            return self.constant_type(getattr(kind.pymod, name))
        return None

    def unified(self, kinds: Sequence) -> Any:
        """Return the type that holds values of several types; None where there is none."""
        first = kinds[0] if kinds else types.none
        for kind in kinds[1:]:
            if kind != first:
                first = self._typing.unify_pairs(first, kind)
        return first
