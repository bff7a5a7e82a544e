"""One kernel being compiled: its device functions, typed and lowered once each.

numba's dispatchers compile, optimise and wrap every function for calls from Python. A kernel here
is some hundred small functions that only call each other: each is typed and lowered once, or linked
as it was lowered for another kernel, and all of them are optimised together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from cubie.backend.front_end import lowering
from cubie.backend.front_end.device_function import DeviceFunction
from cubie.backend.front_end.inference import Typed, infer
from cubie.backend.front_end.known import Call, Known, Lowered, Remembered
from cubie.backend.front_end.looks import Looks
from cubie.backend.front_end.operations import Operation, Operations


class Compilation(ABC):
    """One kernel being compiled, and what is already in it.

    Parameters
    ----------
    remembered : Remembered
        What the target lowered for other kernels.
    """

    def __init__(self, remembered: Remembered):
        self._remembered = remembered
        self._operations = self._make_operations()
        self._compiled: dict[tuple, Lowered] = {}
        self._under_way: list[dict[tuple[DeviceFunction, tuple], None]] = []

    def compile(self, called: DeviceFunction, arguments: tuple) -> Lowered:
        """Lower a function for argument types, once; one that is being lowered calls it."""
        if self._under_way:
            self._under_way[-1][called, arguments] = None
        return self._compile(called, arguments)

    @abstractmethod
    def _make_operations(self) -> Operations:
        """Return what operations mean on the target; those that call functions are `_operation`."""

    @abstractmethod
    def _flags(self, called: DeviceFunction) -> Any:
        """Return what else the code of a function depends on; it can be hashed."""

    @abstractmethod
    def _inlined(self, called: DeviceFunction) -> bool:
        """Tell whether a function is inlined wherever it is called."""

    @abstractmethod
    def _new_symbol(self, name: str) -> str:
        """Return a name that no other function of the kernel has."""

    @abstractmethod
    def _write(
        self, called: DeviceFunction, arguments: tuple, typed: Typed, symbol: str, flags: Any
    ) -> tuple[Any, tuple]:
        """Write a function into the kernel; return its code, to be kept, and libraries it needs."""

    @abstractmethod
    def _link(self, known: Known, symbols: dict[str, str]) -> Lowered:
        """Write a known function into the kernel, which calls functions of other names there."""

    def _may_be_kept(self, code: Any) -> bool:
        """Tell whether code means the same in another kernel."""
        return True

    def _operation(self, called: DeviceFunction, arguments: tuple) -> Operation:
        """Return what calling a device function is."""
        lowered, inline = self.compile(called, arguments), self._inlined(called)

        def emit(context, builder, values):
            function = lowering.declare(
                context, builder.module, lowered.symbol, arguments, lowered.returned, inline
            )
            return lowering.call(context, builder, function, lowered.returned, inline, values)

        return Operation(arguments, lowered.returned, emit)

    def _compile(self, called: DeviceFunction, arguments: tuple) -> Lowered:
        key = (called.identity, arguments)
        if key not in self._compiled:
            flags = self._flags(called)
            looks = Looks.of(called, arguments, flags)
            result = (looks and self._found(looks)) or self._lower(called, arguments, flags, looks)
            self._compiled[key] = result
        return self._compiled[key]

    def _found(self, looks: Looks) -> Lowered | None:
        """Link what was lowered before for such a function, if that calls what this one calls."""
        for known in self._remembered.of(looks.key):
            symbols = {}
            for call in known.calls:
                # What the function found calls, one that is being lowered does not: that is
                # found again only where all that it calls is known to be among its constants.
                callee = self._compile(looks.callees[call.callee], call.arguments)
                if callee.returned != call.returned:
                    break
                symbols[call.symbol] = callee.symbol
            else:
                return self._link(known, symbols)
        return None

    def _lower(self, called: DeviceFunction, arguments, flags, looks: Looks | None) -> Lowered:
        """Lower a function; remember it where its looks tell all it depends on."""
        self._under_way.append({})
        try:
            typed = infer(self._operations, called.function, arguments, called.first_round)
        finally:
            calls = self._under_way.pop()
        lowered = Lowered(self._new_symbol(called.function.__name__), typed.returned)
        code, libraries = self._write(called, arguments, typed, lowered.symbol, flags)
        if looks is not None and self._may_be_kept(code):
            noted = [call for made in calls if (call := self._call_of(looks, *made))]
            if len(noted) == len(calls):
                self._remembered.keep(looks.key, Known(lowered, code, libraries, tuple(noted)))
        return lowered

    def _call_of(self, looks: Looks, callee: DeviceFunction, arguments: tuple) -> Call | None:
        place = looks.index(callee)
        if place is None:
            return None
        result = self._compiled[callee.identity, arguments]
        return Call(place, arguments, result.returned, result.symbol)
