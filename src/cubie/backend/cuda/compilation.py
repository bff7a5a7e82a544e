"""A kernel's device functions as texts for NVVM, which inlines and optimises them.

numba-cuda compiles the kernel, a few lines that tell a thread its run. All that these call is
lowered here: to the same machine code as its own passes give, in a quarter of their time and less
where much was lowered for another kernel; and that in the same order in every process, so that the
same kernel is the same code.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

from numba.core import types
from numba.cuda import extending
from numba.cuda.codegen import CUDACodeLibrary
from numba.cuda.core import errors
from numba.cuda.core.callconv import CUDACallConv, create_error_model
from numba.cuda.descriptor import cuda_target

from cubie.backend.compiled import with_arguments
from cubie.backend.cuda.lines import Lines
from cubie.backend.cuda.loops import count, keep_rounds, unroll
from cubie.backend.front_end import lowering
from cubie.backend.front_end.compilation import Compilation
from cubie.backend.front_end.convention import RaisesNothing
from cubie.backend.front_end.device_function import DeviceFunction, Unrolled
from cubie.backend.front_end.inference import Typed
from cubie.backend.front_end.known import Known, Lowered, Remembered
from cubie.backend.front_end.operations import Operations
from cubie.backend.lanes.types import GENERIC

KNOWN = Remembered()
_SYMBOL = re.compile(r"\bcubie_\d+_\w+")
# As numba-cuda has it: NVVM may inline such a function, and drops it where it did.
_LINKAGE = "linkonce_odr"


def called_by_numba(function: DeviceFunction, fastmath: bool, lines: bool) -> Callable:
    """Return what a function that numba-cuda compiles may call instead of a device function."""

    def generate(typing_context, *arguments):
        def lower(context, builder, signature, values):
            compilation = CUDACompilation(fastmath, lines)
            lowered = compilation.compile(function, signature.args)
            context.add_linking_libs([compilation.library()])
            declared = lowering.declare(
                context, builder.module, lowered.symbol, signature.args, lowered.returned, False
            )
            return lowering.call(context, builder, declared, lowered.returned, False, values)

        return types.none(*map(types.unliteral, arguments)), lower

    # Of intrinsics numba looks at the names of arguments, and it counts them.
    names = ", ".join(inspect.signature(function.function).parameters)
    enter = with_arguments("enter", f"typing_context, {names}", generate)
    return extending.intrinsic(enter)


class CUDACompilation(Compilation):
    """One kernel being compiled, by the texts of what is already in it.

    Parameters
    ----------
    fastmath, lines : bool
    """

    def __init__(self, fastmath: bool, lines: bool):
        self._lines = lines
        cuda_target.typing_context.refresh()
        cuda_target.target_context.refresh()
        self._context: Any = cuda_target.target_context.subtarget(fastmath=fastmath)
        convention = _Convention(self._context)  # pyright: ignore[reportCallIssue]
        self._context.fndesc = SimpleNamespace(call_conv=convention)
        self._context.error_model = create_error_model("numpy", convention)
        self._texts: list[str] = []
        self._needed: dict[Any, None] = {}  # numba's libraries, of functions on plain numbers
        super().__init__(KNOWN)

    def library(self) -> CUDACodeLibrary:
        """Return all that was compiled, to be linked by numba-cuda."""
        # Callers first: a function that nobody has called yet is not linked.
        return _Texts(self._context.codegen(), self._texts[::-1], self._needed)

    def _make_operations(self) -> Operations:
        return _Operations(cuda_target.typing_context, self._operation)

    def _inlined(self, called: DeviceFunction) -> bool:
        return False  # NVVM decides

    def _flags(self, called: DeviceFunction) -> tuple:
        file = called.function.__code__.co_filename if self._lines else None
        return self._context.fastmath, file, called.apart, called.unrolled, called.iterated

    def _new_symbol(self, name: str) -> str:
        return f"cubie_{len(self._texts)}_{re.sub(r'[^a-zA-Z0-9_]', '', name)}"

    def _write(
        self, called: DeviceFunction, arguments: tuple, typed: Typed, symbol: str, flags
    ) -> tuple[str, tuple]:
        module = self._context.create_module(symbol)
        lines = Lines(module, called.function) if self._lines else None
        needed = _Needed()
        with self._context.push_code_library(needed):
            lowering.lower(self._context, module, symbol, typed, arguments, False, lines)
        module.get_global(symbol).linkage = _LINKAGE
        if called.apart:
            module.get_global(symbol).attributes.add("noinline")
        # What lies in other memory is loaded, and unrolled loops load it early into registers.
        own = all(getattr(kind, "addrspace", GENERIC) == GENERIC for kind in arguments)
        if called.unrolled is Unrolled.ALWAYS or (own and called.unrolled is not Unrolled.NEVER):
            unroll(module.get_global(symbol))
        if called.iterated:
            keep_rounds(module.get_global(symbol))
        text = str(module)
        self._add(text, needed.libraries)
        return text, tuple(needed.libraries)

    def _link(self, known: Known, symbols: dict[str, str]) -> Lowered:
        mine = known.lowered.symbol
        symbols[mine] = copied = self._new_symbol(mine.split("_", 2)[2])
        self._add(_SYMBOL.sub(lambda found: symbols[found[0]], known.code), known.libraries)
        return Lowered(copied, known.lowered.returned)

    def _add(self, text: str, libraries: Iterable) -> None:
        self._texts.append(text)
        self._needed.update(dict.fromkeys(libraries))


class _Convention(RaisesNothing, CUDACallConv):
    """numba-cuda's, but that functions written here end where it would raise."""


class _Operations(Operations):
    """What operations mean on a GPU: `range` is a loop that NVVM can count."""

    untypeable = errors.TypingError

    def constant_type(self, value) -> Any:
        return super().constant_type(count if value is range else value)


class _Needed:
    """Notes the libraries that numba asks to be linked while a function is lowered."""

    def __init__(self) -> None:
        self.libraries: dict[Any, None] = {}

    def add_linking_library(self, library) -> None:
        self.libraries[library] = None


class _Text:
    """A module of which there is the text alone, as numba's libraries hold modules."""

    functions = ()  # whose linkage numba would change

    def __init__(self, text: str):
        self._text = text

    def __str__(self) -> str:
        return self._text


class _Texts(CUDACodeLibrary):
    """A library of texts, in their order, and of the libraries that they need."""

    def __init__(self, codegen, texts: Iterable[str], needed: Iterable):
        super().__init__(codegen, "cubie")
        self._parts = [_Text(text) for text in texts]
        for library in needed:
            self.add_linking_library(library)
        self._ordered = list(needed)
        self.finalize()

    @property
    def modules(self) -> list:
        linked = [module for library in self._ordered for module in library.modules]
        return [*self._parts, *dict.fromkeys(linked)]
