"""One kernel being compiled: its device functions, lowered once each into a common module.

numba's dispatchers compile, optimise and wrap every function for calls from Python. A kernel here
is some hundred small functions that only call each other: each is typed and lowered once,
simplified, and linked into one module, which is optimised once.
"""

from __future__ import annotations

import llvmlite.binding as llvm
from numba.core import callconv, cpu

from cubie.backend.cpu import lowering
from cubie.backend.cpu.device_function import DeviceFunction
from cubie.backend.cpu.inference import infer
from cubie.backend.cpu.lowered import Call, Known, Looks, Lowered
from cubie.backend.cpu.operations import Operation, Operations


class Compilation:
    """One kernel being compiled: a common module, and what is already in it.

    Parameters
    ----------
    typing_context, target_context
        numba's, for the CPU.
    library : CodeLibrary
        Where everything is lowered to.
    fastmath : set of str or False
    """

    def __init__(self, typing_context, target_context, library, fastmath):
        self.library = library
        self._target_context = target_context
        self._fastmath = fastmath
        self.apart: set[str] = set()  # names of functions that are inlined nowhere
        self.in_given_order = False  # whether one of the functions asked for it
        self._operations = Operations(typing_context, target_context, self._operation)
        self._contexts: dict[frozenset | None, object] = {}
        self._compiled: dict[tuple, Lowered] = {}
        self._under_way: list[dict[tuple[DeviceFunction, tuple], None]] = []
        self._n_linked = 0  # of numba's libraries, those that functions lowered so far need

    def compile(self, called: DeviceFunction, arguments: tuple) -> Lowered:
        """Lower a function for argument types, once; one that is being lowered calls it."""
        if self._under_way:
            self._under_way[-1][called, arguments] = None
        return self._compile(called, arguments)

    def _operation(self, called: DeviceFunction, arguments: tuple) -> Operation:
        """Return what calling a device function is."""
        lowered, inline = self.compile(called, arguments), called.inline

        def emit(context, builder, values):
            function = lowering.declare(
                context, builder.module, lowered.symbol, arguments, lowered.returned, inline
            )
            return lowering.call(context, builder, function, lowered.returned, inline, values)

        return Operation(arguments, lowered.returned, emit)

    def _compile(self, called: DeviceFunction, arguments: tuple) -> Lowered:
        key = (called.identity, arguments)
        if key not in self._compiled:
            fastmath = (self._fastmath and called.faithful) or self._fastmath
            frozen_fastmath = frozenset(fastmath) if fastmath else None
            looks = Looks.of(called, arguments, frozen_fastmath, _is_device)
            result = (looks and self._found(looks)) or self._lower(
                called, arguments, frozen_fastmath, looks
            )
            self._compiled[key] = result
            if called.apart:
                self.apart.add(result.symbol)
            self.in_given_order |= called.in_given_order
        return self._compiled[key]

    def _found(self, looks: Looks) -> Lowered | None:
        """Link what was lowered before for such a function, if that calls what this one calls."""
        for known in looks.known():
            symbols = {}
            for call in known.calls:
                # What the function found calls, one that is being lowered does not: that is
                # found again only where all that it calls is known to be among its constants.
                callee = self._compile(looks.callees[call.callee], call.arguments)
                if callee.returned != call.returned:
                    break
                symbols[call.symbol] = callee.symbol
            else:
                result = known.linked_into(self.library, symbols)
                self._n_linked = len(self.library._linking_libraries)
                return result
        return None

    def _lower(self, called: DeviceFunction, arguments, fastmath, looks: Looks | None) -> Lowered:
        """Lower a function; remember it where its looks tell all it depends on."""
        self._under_way.append({})
        try:
            typed = infer(self._operations, called.function, arguments, called.first_round)
        finally:
            calls = self._under_way.pop()
        lowered = Lowered(lowering.new_symbol(called.function.__name__), typed.returned)
        context = self._context_for(fastmath)
        module = context.create_module(lowered.symbol)
        with context.push_code_library(self.library):
            lowering.lower(context, module, lowered.symbol, typed, arguments, called.inline)
        context.post_lowering(module, self.library)
        assembled = llvm.parse_assembly(str(module))
        self.library._optimize_functions(assembled)
        needed = tuple(self.library._linking_libraries[self._n_linked :])
        self._n_linked += len(needed)
        if looks is not None:
            noted = [call for made in calls if (call := self._call_of(looks, *made))]
            if len(noted) == len(calls):
                looks.keep(Known(lowered, assembled.as_bitcode(), needed, tuple(noted)))
        self.library._final_module.link_in(assembled)
        return lowered

    def _call_of(self, looks: Looks, callee: DeviceFunction, arguments: tuple) -> Call | None:
        place = looks.index(callee)
        if place is None:
            return None
        result = self._compiled[callee.identity, arguments]
        return Call(place, arguments, result.returned, result.symbol)

    def _context_for(self, fastmath: frozenset | None):
        """Return numba's context of functions with some fast-math flags."""
        if fastmath not in self._contexts:
            options = {"fastmath": cpu.FastMathOptions(set(fastmath))} if fastmath else {}
            context = self._target_context.subtarget(**options)
            context.error_model = callconv.create_error_model("numpy", context)
            self._contexts[fastmath] = context
        return self._contexts[fastmath]


def _is_device(value) -> bool:
    return isinstance(value, DeviceFunction)
