"""A kernel's device functions on the CPU: simplified, and linked into one module.

The module is optimised once.
"""

from __future__ import annotations

import llvmlite.binding as llvm
from numba.core import callconv, cpu

from cubie.backend.cpu.object_code import ADDRESS_OF_PROCESS
from cubie.backend.front_end import lowering
from cubie.backend.front_end.compilation import Compilation
from cubie.backend.front_end.device_function import DeviceFunction
from cubie.backend.front_end.inference import Typed
from cubie.backend.front_end.known import Known, Lowered, Remembered
from cubie.backend.front_end.operations import Operations

KNOWN = Remembered()


class CPUCompilation(Compilation):
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
        self._typing_context, self._target_context = typing_context, target_context
        self._fastmath = fastmath
        self.apart: set[str] = set()  # names of functions that are inlined nowhere
        self.in_given_order = False  # whether one of the functions asked for it
        self._contexts: dict[frozenset | None, object] = {}
        self._n_linked = 0  # of numba's libraries, those that functions lowered so far need
        super().__init__(KNOWN)

    def _make_operations(self) -> Operations:
        return Operations(self._typing_context, self._operation)

    def _inlined(self, called: DeviceFunction) -> bool:
        return called.inline

    def _flags(self, called: DeviceFunction) -> frozenset | None:
        fastmath = (self._fastmath and called.faithful) or self._fastmath
        return frozenset(fastmath) if fastmath else None

    def _new_symbol(self, name: str) -> str:
        return lowering.new_symbol(name)

    def _compile(self, called: DeviceFunction, arguments: tuple) -> Lowered:
        result = super()._compile(called, arguments)
        if called.apart:
            self.apart.add(result.symbol)
        self.in_given_order |= called.in_given_order
        return result

    def _write(
        self, called: DeviceFunction, arguments: tuple, typed: Typed, symbol: str, flags
    ) -> tuple[bytes, tuple]:
        context = self._context_for(flags)
        module = context.create_module(symbol)
        with context.push_code_library(self.library):
            lowering.lower(context, module, symbol, typed, arguments, called.inline)
        context.post_lowering(module, self.library)
        assembled = llvm.parse_assembly(str(module))
        self.library._optimize_functions(assembled)
        needed = tuple(self.library._linking_libraries[self._n_linked :])
        self._n_linked += len(needed)
        code = assembled.as_bitcode()
        self.library._final_module.link_in(assembled)
        return code, needed

    def _may_be_kept(self, code: bytes) -> bool:
        return ADDRESS_OF_PROCESS not in code

    def _link(self, known: Known, symbols: dict[str, str]) -> Lowered:
        module = llvm.parse_bitcode(known.code)
        mine = known.lowered.symbol
        symbols[mine] = copied = self._new_symbol(mine.partition(".")[0])
        # In two steps: the new name of one may be the old name of another.
        named = [f for f in module.functions if f.name in symbols]
        wanted = [symbols[f.name] for f in named]
        for number, function in enumerate(named):
            function.name = f"cubie.renamed.{number}"
        for function, name in zip(named, wanted, strict=True):
            function.name = name
        self.library._final_module.link_in(module)
        for needed in known.libraries:
            self.library.add_linking_library(needed)
        self._n_linked = len(self.library._linking_libraries)
        return Lowered(copied, known.lowered.returned)

    def _context_for(self, fastmath: frozenset | None):
        """Return numba's context of functions with some fast-math flags."""
        if fastmath not in self._contexts:
            options = {"fastmath": cpu.FastMathOptions(set(fastmath))} if fastmath else {}
            context = self._target_context.subtarget(**options)
            context.error_model = callconv.create_error_model("numpy", context)
            self._contexts[fastmath] = context
        return self._contexts[fastmath]
