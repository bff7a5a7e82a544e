"""Device functions that were lowered before: found again by what their code depends on.

Of the fifty to a hundred functions of a kernel, most are the same in the next kernel of the
process: another system of as many states, other output, another method of the family. What numba
makes of a function depends on its code, on the constants that it closes over, on the types of its
arguments, and on what the functions that it calls return; not on what these do, for they are
called by name, and inlined when the whole kernel is optimised. A function that agrees in all of
that is linked as it was, with the names of those that it calls now: the same instructions in the
same order, without numba. What is kept of it is in `known`.
"""

from __future__ import annotations

import itertools
import types as python
from typing import Any

import attrs
import numpy as np
from attrs import frozen
from numba.core import types

from cubie.backend.front_end.device_function import DeviceFunction, Intrinsic

NUMBERS = (bool, int, float, complex, str, bytes, type(None))
# Known by being themselves: what numba makes of them is registered, or imported, once.
THEMSELVES = (python.BuiltinFunctionType, python.ModuleType, type, types.Type, np.ufunc)


class Unknowable(Exception):
    """Something whose meaning for compiled code cannot be told by looking at it."""


@frozen
class Looks:
    """What a function's code depends on, and which device functions it may call.

    Attributes
    ----------
    key : tuple
        Equal for functions that are lowered alike, given that what they call returns the same.
    callees : list of DeviceFunction
        Those that it closes over, in an order that the key fixes.
    """

    key: tuple
    callees: list

    @classmethod
    def of(cls, called: DeviceFunction, arguments: tuple, flags: Any) -> Looks | None:
        """Look at a device function; None where that does not tell enough.

        `flags` are what else its code depends on, of the kernel or the target.
        """
        callees: list = []
        try:
            looked_at = _of_function(called.function, _Eye(callees))
        except Unknowable:
            return None
        return cls((looked_at, called.inline, called.first_round, arguments, flags), callees)

    def index(self, callee) -> int | None:
        """Return which of the functions that may be called one is, None where it is none."""
        return _place(callee, self.callees)


@frozen
class _Eye:
    """Looks at constants; notes device functions, or is not to meet any (`callees` is None)."""

    callees: list | None
    inside: tuple = ()  # functions being looked at: one may hold itself


def _of_function(function, eye: _Eye) -> tuple:
    """Look at code, at the globals that it may read, and at what it closes over."""
    if function in eye.inside:
        raise Unknowable
    eye = attrs.evolve(eye, inside=(*eye.inside, function))
    code = function.__code__
    names = _names(code)
    read = tuple(
        (name, _of(function.__globals__[name], eye))
        for name in names
        if name in function.__globals__
    )
    try:
        cells = tuple(_of(cell.cell_contents, eye) for cell in function.__closure__ or ())
    except ValueError as error:  # empty as yet
        raise Unknowable from error
    return code, read, cells, _of(function.__defaults__, eye)


def _names(code) -> tuple[str, ...]:
    nested = (_names(c) for c in code.co_consts if isinstance(c, python.CodeType))
    return tuple(itertools.chain(code.co_names, *nested))


def _of(value, eye: _Eye):
    """Look at a constant: return what is equal for equal ones, and for them only."""
    if isinstance(value, NUMBERS):
        return type(value), repr(value)
    if isinstance(value, (np.generic, np.ndarray)):
        return type(value), value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, np.dtype):
        return np.dtype, value.str
    if isinstance(value, DeviceFunction):
        return _of_device(value, eye)
    if isinstance(value, (tuple, list)):
        return type(value), tuple(_of(entry, eye) for entry in value)
    if isinstance(value, dict):
        return dict, tuple((_of(key, eye), _of(entry, eye)) for key, entry in value.items())
    if isinstance(value, Intrinsic):
        return Intrinsic, _of_function(value.definition, attrs.evolve(eye, callees=None))
    if isinstance(value, python.FunctionType):
        # Closures that intrinsics call; of others, numba knows those that it was taught.
        made = value.__closure__ and eye.callees is None
        return _of_function(value, eye) if made else value
    if isinstance(value, THEMSELVES):
        return value
    return _of_object(value, eye)


def _of_device(value, eye: _Eye):
    """Look at a function that may be called: it is what it returns, and how it is linked."""
    if eye.callees is None:
        raise Unknowable
    place = _place(value, eye.callees)
    if place is None:
        place = len(eye.callees)
        eye.callees.append(value)
    return "device", place, value.inline


def _place(called, callees: list) -> int | None:
    """Return where a function is among those that may be called.

    Two that are one function in compiled code, and have one name there, are in one place: where
    they are two functions, a caller is not what it is here.
    """
    return next((i for i, other in enumerate(callees) if other.identity == called.identity), None)


def _of_object(value, eye: _Eye):
    import ast
    import enum

    if isinstance(value, ast.AST) or type(value).__module__.startswith("llvmlite.ir"):
        return value  # nobody changes them
    if isinstance(value, (frozenset, range, enum.Enum)):
        return type(value), value
    if attrs.has(type(value)):
        fields = attrs.fields(type(value))
        return type(value), tuple(_of(getattr(value, each.name), eye) for each in fields)
    raise Unknowable
