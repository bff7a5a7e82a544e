"""Machine code: loaded into the process, kept on disk under its digest.

The digest stands for everything that made the code (component settings, plan,
traced system, backend), so that a kernel is found again in any process, and
stale code is never found. Loading needs llvmlite only; importing numba and
preparing its compiler would cost more than most solves.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import platformdirs

from cubie.backend import vector_math

CACHE_VARIABLE = "CUBIE_CACHE_DIR"
ENTRY = "cubie_kernel_entry"
CHECKSUM_BYTES = 32

# Names in an object's symbol table: what only numba's loaded runtime provides
# (memory for arrays, some of NumPy's functions), and numba's mark on an address
# that means something in the process that compiled it only.
_FROM_NUMBA = re.compile(rb"\0_?(NRT|numba)_")
ADDRESS_OF_PROCESS = b"numba.dynamic.globals."


def cache_directory() -> Path:
    """Return where generated code is kept: $CUBIE_CACHE_DIR or the user's cache directory."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("cubie"))


@functools.cache
def package_digest() -> str:
    """Return the digest of this package's sources: a new version never meets old code."""
    digest = hashlib.sha256()
    root = Path(__file__).resolve().parents[1]
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


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
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()

    def address(self, name: str) -> int:
        """Return where a function of the code lies."""
        return self._engine.get_function_address(name)

    @classmethod
    def find_or_make(cls, digest: str, compile_object: Callable[[], bytes]) -> ObjectCode:
        """Load a kernel from disk, or compile it and keep it there."""
        path = _path_of(digest)
        code = _read(path)
        if code is not None:
            return cls(code, from_cache=True)
        code = compile_object()
        made = cls(code, from_cache=False)
        if ADDRESS_OF_PROCESS in code:
            made._owner = compile_object  # what the addresses belong to lives as long as the code
        else:
            _write(path, code)
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


def _path_of(digest: str) -> Path:
    parts = (digest, package_digest(), *_versions(), *host_target())
    parts += (vector_math.description(),)
    name = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return cache_directory() / "kernels" / f"{name}.o"


def _read(path: Path) -> bytes | None:
    """Return the kept code, or None where there is none or it is not what was written."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    checksum, code = content[:CHECKSUM_BYTES], content[CHECKSUM_BYTES:]
    return code if hashlib.sha256(code).digest() == checksum else None


def _write(path: Path, code: bytes) -> None:
    """Keep the code, whole or not at all; a directory that cannot be written is no error."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(hashlib.sha256(code).digest() + code)
        os.replace(file.name, path)
    except OSError:
        return
