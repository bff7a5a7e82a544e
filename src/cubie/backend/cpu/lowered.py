"""Device functions that were lowered before: found again by what their code depends on.

Of the fifty to a hundred functions of a kernel, most are the same in the next kernel of the
process: another system of as many states, other output, another method of the family. What numba
makes of a function depends on its code, on the constants that it closes over, on the types of its
arguments, and on what the functions that it calls return; not on what these do, for they are
called by name, and inlined when the whole kernel is optimised. A function that agrees in all of
that is linked as it was, with the names of those that it calls now: the same instructions in the
same order, without numba.
"""

from __future__ import annotations

import itertools
import types as python
from collections.abc import Callable
from typing import Any, NamedTuple

import attrs
import llvmlite.binding as llvm
import numpy as np
from attrs import field, frozen
from numba.core import types
from numba.extending import _Intrinsic

from cubie.backend.cpu.device_function import Intrinsic
from cubie.backend.cpu.lowering import new_symbol
from cubie.backend.cpu.object_code import ADDRESS_OF_PROCESS

MOST_FUNCTIONS = 4000  # of a few kilobytes each
NUMBERS = (bool, int, float, complex, str, bytes, type(None))
# Known by being themselves: what numba makes of them is registered, or imported, once.
THEMSELVES = (python.BuiltinFunctionType, python.ModuleType, type, types.Type, np.ufunc)


class Lowered(NamedTuple):
    """A function in the common module: its name there, and the type that it returns."""

    symbol: str
    returned: Any


@frozen
class Call:
    """A call of another device function, as it was typed."""

    callee: int  # among the device functions that the caller closes over
    arguments: tuple
    returned: Any
    symbol: str


@frozen
class Known:
    """A lowered function: its module, simplified and linked to nothing, and what that needs."""

    lowered: Lowered
    bitcode: bytes = field(repr=False)
    libraries: tuple = field(repr=False)  # numba's, of functions on plain numbers
    calls: tuple[Call, ...]

    def linked_into(self, library, symbols: dict[str, str]) -> Lowered:
        """Link a copy that calls the functions of other names; return what describes it."""
        module = llvm.parse_bitcode(self.bitcode)
        mine = self.lowered.symbol
        symbols[mine] = copied = new_symbol(mine.partition(".")[0])
        # In two steps: the new name of one may be the old name of another.
        named = [f for f in module.functions if f.name in symbols]
        wanted = [symbols[f.name] for f in named]
        for number, function in enumerate(named):
            function.name = f"cubie.renamed.{number}"
        for function, name in zip(named, wanted, strict=True):
            function.name = name
        library._final_module.link_in(module)
        for needed in self.libraries:
            library.add_linking_library(needed)
        return Lowered(copied, self.lowered.returned)


# Looked at and changed while numba's lock on compilers is held.
_known: dict[tuple, list[Known]] = {}


class Unknowable(Exception):
    """Something whose meaning for compiled code cannot be told by looking at it."""


@frozen
class Looks:
    """What a function's code depends on, and which device functions it may call.

    Attributes
    ----------
    key : tuple
        Equal for functions that numba lowers alike, given that what they call returns the same.
    callees : list of DeviceFunction
        Those that it closes over, in an order that the key fixes.
    """

    key: tuple
    callees: list

    @classmethod
    def of(cls, called, arguments: tuple, fastmath, is_device: Callable) -> Looks | None:
        """Look at a device function; None where that does not tell enough."""
        callees: list = []
        try:
            looked_at = _of_function(called.function, _Eye(is_device, callees))
        except Unknowable:
            return None
        return cls((looked_at, called.inline, called.first_round, arguments, fastmath), callees)

    def known(self) -> list[Known]:
        """Return what was lowered of such functions, which are used last from now on."""
        found = _known.pop(self.key, None)
        if found is None:
            return []
        _known[self.key] = found
        return found

    def keep(self, known: Known) -> None:
        """Remember a function; forget those that were not used for longest."""
        if ADDRESS_OF_PROCESS not in known.bitcode:
            _known.setdefault(self.key, []).append(known)
            if len(_known) > MOST_FUNCTIONS:
                _known.pop(next(iter(_known)))

    def index(self, callee) -> int | None:
        """Return which of the functions that may be called one is, None where it is none."""
        return _place(callee, self.callees)


@frozen
class _Eye:
    """Looks at constants; notes device functions, or is not to meet any (`callees` is None)."""

    is_device: Callable
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
    if eye.is_device(value):
        return _of_device(value, eye)
    if isinstance(value, (tuple, list)):
        return type(value), tuple(_of(entry, eye) for entry in value)
    if isinstance(value, dict):
        return dict, tuple((_of(key, eye), _of(entry, eye)) for key, entry in value.items())
    if isinstance(value, Intrinsic):
        return Intrinsic, _of_function(value.definition, attrs.evolve(eye, callees=None))
    if isinstance(value, _Intrinsic):
        return _Intrinsic, _of_function(value._defn, attrs.evolve(eye, callees=None))
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
