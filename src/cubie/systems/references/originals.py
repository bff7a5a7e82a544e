"""Functions with the Python originals of the compiled functions that they call.

A compiler keeps the values that a function's globals had when it was first called. What a
right-hand side refers to is taken as it is now, so its compiled helpers are not called.
"""

import functools
import types
from collections.abc import Iterator
from typing import Any

from cubie.systems.references.bytecode import globals_of
from cubie.systems.references.libraries import is_library, library_name


def is_compiled(value: Any) -> bool:
    """Tell whether a value is a compiled function that knows its Python original."""
    return is_library(type(value).__module__) and hasattr(value, "py_func")


def original(fun: Any) -> Any:
    """Return `fun` with Python originals for compiled functions that it reaches by their names.

    The function itself, where there are none.
    """
    copy = _Copy()
    return copy(fun) if copy.is_needed(fun) else fun


class _Copy:
    """Copies of functions, each made once: they may refer to one another."""

    def __init__(self) -> None:
        self._made: dict[int, Any] = {}

    def is_needed(self, fun: Any) -> bool:
        """Tell whether a compiled function is reached."""
        seen, waiting = set(), [fun]
        while waiting:
            value = waiting.pop()
            if is_compiled(value):
                return True
            if id(value) not in seen:
                seen.add(id(value))
                waiting += _reached_from(value)
        return False

    def __call__(self, value: Any) -> Any:
        if is_compiled(value):
            return self(value.py_func)
        if type(value) is functools.partial:
            return functools.partial(self(value.func), *map(self, value.args), **value.keywords)
        if not _is_users(value):
            return value
        if id(value) not in self._made:
            self._copy(value)
        return self._made[id(value)]

    def _copy(self, function: types.FunctionType) -> None:
        namespace = dict(function.__globals__)
        cells = tuple(types.CellType() for _ in function.__closure__ or ())
        copy = types.FunctionType(
            function.__code__, namespace, function.__name__, function.__defaults__, cells
        )
        copy.__kwdefaults__, copy.__qualname__ = function.__kwdefaults__, function.__qualname__
        copy.__dict__.update(vars(function))
        self._made[id(function)] = copy
        for name in globals_of(function.__code__) & namespace.keys():
            namespace[name] = self(namespace[name])
        for cell, held in zip(cells, function.__closure__ or (), strict=True):
            for content in _content_of(held):
                cell.cell_contents = self(content)


def _reached_from(value: Any) -> Iterator[Any]:
    if type(value) is functools.partial:
        yield value.func
        yield from value.args
    elif _is_users(value):
        for name in globals_of(value.__code__) & value.__globals__.keys():
            yield value.__globals__[name]
        for cell in value.__closure__ or ():
            yield from _content_of(cell)


def _is_users(value: Any) -> bool:
    return type(value) is types.FunctionType and library_name(value) is None


def _content_of(cell: types.CellType) -> Iterator[Any]:
    """Yield what is in a cell, nothing where it is empty."""
    try:
        yield cell.cell_contents
    except ValueError:
        return
