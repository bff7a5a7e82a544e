"""Machine code: loaded into the process, kept on disk under its digest.

The digest stands for everything that made the code (component settings, plan,
traced system, backend), so that a kernel is found again in any process, and
stale code is never found. Loading needs llvmlite only; importing numba and
preparing its compiler would cost more than most solves. Machine code can do all
that the process can: it is loaded from files only that nobody else can have
written (see `cubie.cache`).
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import re
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version

from cubie.backend.lanes import vector_math
from cubie.backend.package import package_digest
from cubie.cache import Shelf, cache_directory, is_digest

ENTRY = "cubie_kernel_entry"

# Instructions reach their constants, and their table of what lies outside, within 2 GiB. LLVM's
# own loader asks the system for each kind of memory by itself, and ends the process where these
# come to lie further apart, as they may next to a few arrays of gigabytes. llvmlite's takes one
# piece for all, counted beforehand: but for the entries of functions that are called, which find
# room if the code has a variable, of so many bytes.
IN_ONE_PIECE = True if sys.platform == "linux" else None
ROOM, ROOM_BYTES = "cubie_room", 2048

# Bytes of all arrays in the frames of the code's functions, which may be called one inside another.
FRAME_BYTES = "cubie_frame_bytes"

# Names in an object's symbol table: what only numba's loaded runtime provides
# (memory for arrays, some of NumPy's functions), and numba's mark on an address
# that means something in the process that compiled it only.
_FROM_NUMBA = re.compile(rb"\0_?(NRT|numba)_")
ADDRESS_OF_PROCESS = b"numba.dynamic.globals."


@functools.cache
def host_target():
    """Return (triple, CPU name, CPU features): what machine code is made for."""
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features().flatten()
    return llvm.get_process_triple(), llvm.get_host_cpu_name(), features


def target_machine():
    """Return LLVM's code generator for this machine.

    Position-independent code of the small model addresses its constants directly;
    the model numba uses spends an instruction and a register on each.
    """
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    triple, cpu, features = host_target()
    target = llvm.Target.from_triple(triple)
    return target.create_target_machine(
        cpu=cpu, features=features, opt=3, reloc="pic", codemodel="small", jit=True
    )


class ObjectCode:
    """One kernel's machine code in this process.

    Attributes
    ----------
    from_cache : bool
        Whether it came from disk.
    """

    def __init__(self, code: bytes, from_cache: bool):
        import llvmlite.binding as llvm

        self.from_cache = from_cache
        self._code = code
        if _FROM_NUMBA.search(code):
            _start_numba()
        vector_math.make_visible()
        machine = target_machine()
        self._machine = machine
        nothing = llvm.parse_assembly("")
        self._engine = llvm.create_mcjit_compiler(nothing, machine, use_lmm=IN_ONE_PIECE)
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()

    def address(self, name: str) -> int:
        """Return where a function of the code lies."""
        return self._engine.get_function_address(name)

    def number(self, name: str) -> int:
        """Return a whole number of 64 bits that the code holds."""
        return ctypes.c_int64.from_address(self._engine.get_global_value_address(name)).value

    @classmethod
    def find_or_make(cls, digest: str, compile_object: Callable[[], bytes]) -> ObjectCode:
        """Load a kernel from disk, or compile it and keep it there."""
        shelf, key = Shelf(cache_directory(), "kernels", ".o"), _key_of(digest)
        code = _kept(shelf, key)
        if code is not None:
            return cls(code, from_cache=True)
        code = compile_object()
        made = cls(code, from_cache=False)
        if ADDRESS_OF_PROCESS in code:
            made._owner = compile_object  # what the addresses belong to lives as long as the code
        else:
            shelf.enter(key, {"code": shelf.keep(code)})
        return made

    def disassemble(self) -> str:
        """Return the code as assembler text, with the toolchain's objdump.

        Raises
        ------
        RuntimeError
            Where there is no objdump.
        """
        import shutil
        import subprocess

        if shutil.which("objdump") is None:
            raise RuntimeError("Showing machine code needs `objdump` (binutils) on the PATH.")
        with tempfile.NamedTemporaryFile(suffix=".o") as file:
            file.write(self._code)
            file.flush()
            command = ["objdump", "-d", "--no-show-raw-insn", file.name]
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _start_numba() -> None:
    """Make numba's runtime known to the linker; needed by functions that make arrays."""
    from numba.core.registry import cpu_target

    cpu_target.target_context.refresh()


@functools.cache
def _versions() -> tuple[str, str]:
    return version("numba"), version("llvmlite")


def _key_of(digest: str) -> str:
    parts = (digest, package_digest(), *_versions(), *host_target())
    parts += (vector_math.description(),)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _kept(shelf: Shelf, key: str) -> bytes | None:
    """Return the code kept for a key, or None."""
    named = (shelf.entry(key) or {}).get("code")
    return shelf.find(named) if is_digest(named) else None
