"""Operations on plain numbers and tuples, for which numba would compile functions of its own."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

from numba.core import types


class Operation(NamedTuple):
    """One operation on given types.

    Attributes
    ----------
    arguments : tuple
        What its operands are converted to.
    returned
        The type of its value.
    emit : callable
        ``emit(context, builder, values)``.
    """

    arguments: tuple
    returned: Any
    emit: Callable


def is_bundle(value) -> bool:
    """Tell whether a value is a class of named tuples."""
    return isinstance(value, type) and issubclass(value, tuple) and hasattr(value, "_fields")


def bundling(kind: type, kinds: tuple, keywords: tuple[str, ...]) -> Operation | None:
    """Return what makes a named tuple of values."""
    fields: tuple[str, ...] = kind._fields  # pyright: ignore[reportAttributeAccessIssue]
    names = (*fields[: len(kinds) - len(keywords)], *keywords)
    if sorted(names) != sorted(fields):
        return None
    arguments = tuple(map(types.unliteral, kinds))
    order = [names.index(name) for name in fields]
    returned = types.BaseTuple.from_types([arguments[i] for i in order], kind)

    def emit(context, builder, values):
        return context.make_tuple(builder, returned, [values[i] for i in order])

    return Operation(arguments, returned, emit)


def member(kinds: tuple) -> Operation | None:
    """Return what takes a member of a tuple, at a place that the text tells."""
    if len(kinds) != 2 or not isinstance(kinds[0], types.BaseTuple):
        return None
    whole, index = kinds
    if not isinstance(index, types.IntegerLiteral) or not -len(whole) <= index.literal_value < len(
        whole
    ):
        return None
    place = index.literal_value % len(whole)

    def emit(context, builder, values):
        return builder.extract_value(values[0], place)

    return Operation(kinds, whole.types[place], emit)


def extremum(function: Callable, kinds: tuple, find: Callable, unified: Callable):
    """Return what Python's `min` or `max` is, of plain numbers."""
    numbers = types.Integer, types.Float
    if len(kinds) < 2 or not all(isinstance(kind, numbers) for kind in kinds):
        return None
    kind = types.unliteral(unified(kinds))
    compared = find(operator.lt if function is min else operator.gt, (kind, kind))

    def emit(context, builder, values):
        def better(best, value):
            # NaN compares with nothing: as in Python the first of both stays.
            return builder.select(compared.emit(context, builder, (value, best)), value, best)

        return functools.reduce(better, values)

    return Operation((kind,) * len(kinds), kind, emit)
