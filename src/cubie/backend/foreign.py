"""Functions that cannot be traced, compiled as they stand by numba: right-hand sides and events.

The user's function sees what SciPy would give it: floats, and one-dimensional
arrays of its own that it may write to. In between lie three layers:

    component code -> call on lanes and buffers -> adapter module -> user's function

The adapter (:mod:`cubie.systems.adapter`) takes the buffers as numba arrays
over the same bytes and packs the arrays the function gets on the stack. A
function that raises, or uses an index outside of an array, does so for one run
only: what it computes is NaN there, and `FAULT` behind the run's parameters says
why (:mod:`cubie.run.faults`).
"""

from __future__ import annotations

import math
import re
import types as python_types
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import ModuleType
from typing import Any

import attrs
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.np import numpy_support

from cubie.backend.front_end.device_function import Intrinsic
from cubie.backend.lanes import instructions as codegen
from cubie.backend.lanes.instructions import I64
from cubie.backend.lanes.types import Buf, Lanes, lane_type
from cubie.errors import CubieError

FAULT = 2.0  # what a failed call writes
LONGEST_TUPLE = 32  # that a list of numbers becomes
MAX_REASON = 300  # characters of numba's explanation that a message quotes


class UncompilableFunction(CubieError, TypeError):
    """A right-hand side, or an event, can neither be traced nor compiled for a target.

    Attributes
    ----------
    function : str
        Its name.
    reason : str
        What numba said, in short; the whole is the exception's cause.
    """

    def __init__(self, function: str, target: str, note: str, reason: str, advice: str):
        super().__init__(function, target, note, reason, advice)
        self.function = function
        self.reason = reason
        self._message = (
            f"numba cannot compile `{function}` for the {target} target: {reason} {advice} ({note})"
        )

    def __str__(self) -> str:
        # numba, which this passes through, prepends its own text to `args`.
        return self._message


class ForeignTarget(ABC):
    """What compiling ordinary functions needs to know of a target."""

    name: str
    arrays: ModuleType  # numba's `arrayobj` for it
    intrinsic: Callable  # numba's decorator of what ordinary functions call
    advice: str  # what helps when numba cannot compile a function

    @abstractmethod
    def jit(self, function: Callable) -> Any:
        """Return the function's dispatcher."""

    @abstractmethod
    def compile(self, dispatcher: Any, arguments: tuple) -> Any:
        """Return numba's compile result for argument types."""

    @abstractmethod
    def knows(self, function: Callable) -> bool:
        """Tell whether numba has an implementation of a Python function of its own."""

    @abstractmethod
    def discard_exception(self, context, builder, status) -> None:
        """Free what a raised exception holds."""


def build_foreign_rhs(
    target: ForeignTarget, system: Any, dtype, fault_slot: int | None = None
) -> Callable:
    """Return ``rhs(t, y, p, dy, at)`` for component code, around a "compiled" `System`.

    Where the function fails it writes `FAULT` to ``p[fault_slot]``, by default behind the
    parameters.

    Raises
    ------
    UncompilableFunction
        When it is first compiled, if numba cannot.
    """
    conversion = Conversion(target)
    constants = tuple(conversion.value(constant) for constant in system.constants)
    ready = attrs.evolve(system, constants=constants)
    function = conversion.value(system.function)
    adapter = target.jit(ready.adapt(function, _pack(target), _pack(target, readonly=True)))
    number = numpy_support.from_dtype(dtype)
    slot = system.n_parameters if fault_slot is None else fault_slot

    def rhs(typingctx, t, y, p, dy, at):
        if not all(isinstance(buf, Buf) for buf in (y, p, dy)):
            return None
        conversion.check_indices(system)
        arrays = [types.Array(number, 1, "C" if buf.stride == 1 else "A") for buf in (y, p, dy)]
        compiled = _compile(target, adapter, (number, *arrays, types.intp), system)

        def lower(context, builder, signature, args):
            values = [args[0]]
            for array, buf, pointer in zip(arrays, (y, p, dy), args[1:4], strict=True):
                steps = [buf.stride]
                values.append(_array_over(target, context, builder, array, pointer, [buf.n], steps))
            context.add_linking_libs([compiled.library])
            status, _ = context.call_internal_no_propagate(
                builder, compiled.fndesc, compiled.signature, [*values, args[4]]
            )
            with cgutils.if_unlikely(builder, status.is_error):
                target.discard_exception(context, builder, status)
                _store_fault(builder, p, args[2], slot)
                _fill_with_nan(builder, dy, args[3], args[4], system.n_outputs)
            return context.get_dummy_value()

        return types.none(Lanes(number, 1), y, p, dy, types.intp), lower

    return Intrinsic(rhs)


def _compile(target: ForeignTarget, adapter, arguments: tuple, system):
    try:
        return target.compile(adapter, arguments)
    except Exception as error:  # numba also raises what is no `NumbaError`, AssertionError too
        raise UncompilableFunction(
            system.function.__name__, target.name, system.note, _in_short(error), target.advice
        ) from error


_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
_CONTEXT = re.compile(r"Failed in |During: |File \"|\[[0-9]+\] During|Enable logging")


def _in_short(error: Exception) -> str:
    """Return the sentence of a numba error that says what is wrong, and the line."""
    lines = [line.strip() for line in _ESCAPES.sub("", str(error)).splitlines()]
    telling = [line for line in lines if line and not _CONTEXT.match(line)]
    reason = telling[0] if telling else f"{type(error).__name__} inside of numba"
    if reason.endswith(":") and len(telling) > 1:
        reason = f"{reason} {telling[1].removeprefix('>>> ')}"
    if len(reason) > MAX_REASON:
        reason = reason[:MAX_REASON] + "..."
    line = getattr(getattr(error, "loc", None), "line", None)
    where = f" (line {line})" if line else ""
    return f"{reason.rstrip('.')}{where}."


class Conversion:
    """Gives functions to numba together with the plain Python functions they call.

    numba refuses to call a function that is not compiled; here each one that
    another refers to, by a global name or a closure, becomes a dispatcher too. Lists of
    numbers, which numba does not take from there, become tuples, or arrays where an index
    would be looked for among too many: they are only read.
    """

    def __init__(self, target: ForeignTarget):
        self._target = target
        self._made: dict[Callable, Any] = {}

    def value(self, value: Any) -> Any:
        """Return what stands for a value in a compiled function's surroundings."""
        # Of a dispatcher its plain function: compiled before, it would keep the values that its
        # globals had then, and check no indices.
        plain = getattr(value, "py_func", value)
        if isinstance(plain, python_types.FunctionType) and not self._target.knows(plain):
            return self._dispatcher(plain)
        if type(value) is list and value and {type(entry) for entry in value} <= {int, float}:
            uniform = float if float in map(type, value) else int
            short = len(value) <= LONGEST_TUPLE
            return tuple(map(uniform, value)) if short else np.array(value, uniform)
        return value

    def check_indices(self, system: Any) -> None:
        """Refuse `array.flat[i]`, the one index that numba never checks."""
        for function in self._made:
            if "flat" in _names(function.__code__):
                raise UncompilableFunction(
                    system.function.__name__,
                    self._target.name,
                    system.note,
                    f"`{function.__name__}` uses `.flat`, whose bounds numba does not check.",
                    "Use `.ravel()`.",
                )

    def _dispatcher(self, function: python_types.FunctionType):
        if function in self._made:
            return self._made[function]
        surroundings = dict(function.__globals__)
        cells = tuple(python_types.CellType() for _ in function.__code__.co_freevars)
        copy = python_types.FunctionType(
            function.__code__, surroundings, function.__name__, function.__defaults__, cells
        )
        copy.__kwdefaults__ = function.__kwdefaults__
        copy.__module__, copy.__qualname__ = function.__module__, function.__qualname__
        # Known before its surroundings are converted: it may call itself.
        self._made[function] = dispatcher = self._target.jit(copy)
        for name in _names(function.__code__) & surroundings.keys():
            surroundings[name] = self.value(surroundings[name])
        for cell, original in zip(cells, function.__closure__ or (), strict=True):
            cell.cell_contents = self.value(original.cell_contents)
        return dispatcher


def _names(code: python_types.CodeType) -> set[str]:
    """Return the global names that code, or code nested in it, may look up."""
    nested = (c for c in code.co_consts if isinstance(c, python_types.CodeType))
    return set(code.co_names).union(*map(_names, nested))


def _pack(target: ForeignTarget, readonly: bool = False) -> Callable:
    """Return ``pack(numbers)``: a tuple as an array on the stack of the calling function.

    Tuples of tuples give arrays of more dimensions, in C order.
    """

    def pack(typingctx, numbers):
        shape, number = _shape_of(numbers)
        array = types.Array(number, len(shape), "C", readonly=readonly)
        size = math.prod(shape)

        def lower(context, builder, signature, args):
            scalar = context.get_value_type(number)
            memory = cgutils.alloca_once(builder, ir.ArrayType(scalar, size))
            pointer = builder.bitcast(memory, scalar.as_pointer())
            for i, value in enumerate(_flattened(builder, args[0], len(shape))):
                builder.store(value, builder.gep(pointer, [I64(i)]))
            return _array_over(target, context, builder, array, pointer, shape)

        return array(numbers), lower

    return target.intrinsic(pack)


def _shape_of(numbers: Any) -> tuple[tuple[int, ...], Any]:
    """Return the shape and dtype of the array that a tuple of numbers or tuples gives."""
    shape: list[int] = []
    while isinstance(numbers, types.BaseTuple):
        members: list[Any] = list(numbers.types)
        shape.append(len(members))
        # A vector of no elements does not say what its elements would be.
        numbers = members[0] if members else types.float64
    return tuple(shape), numbers


def _flattened(builder, value, depth: int) -> list:
    if depth == 0:
        return [value]
    members = cgutils.unpack_tuple(builder, value)
    return [leaf for member in members for leaf in _flattened(builder, member, depth - 1)]


def _array_over(target: ForeignTarget, context, builder, array: Any, pointer, shape, steps=None):
    """Return a numba array over bytes that it does not own.

    `steps` are the elements between neighbours along each axis; by default it is in C order.
    """
    generic = lane_type(array.dtype, 1).as_pointer()
    if pointer.type != generic:
        pointer = builder.addrspacecast(pointer, generic)
    value = target.arrays.make_array(array)(context, builder)
    size = array.dtype.bitwidth // 8
    steps = steps or [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    strides = [I64(size * step) for step in steps]
    target.arrays.populate_array(
        value,
        data=pointer,
        shape=[I64(n) for n in shape],
        strides=strides,
        itemsize=size,
        meminfo=None,
    )
    return value._getvalue()


def _store_fault(builder, buf: Buf, pointer, slot: int) -> None:
    if buf.n > slot:
        fault = ir.Constant(lane_type(buf.dtype, 1), FAULT)
        codegen.store(builder, buf, pointer, I64(slot), fault)


def _fill_with_nan(builder, buf: Buf, pointer, at, n: int) -> None:
    not_a_number = ir.Constant(lane_type(buf.dtype, 1), float("nan"))
    for i in range(n):
        codegen.store(builder, buf, pointer, builder.add(at, I64(i)), not_a_number)
