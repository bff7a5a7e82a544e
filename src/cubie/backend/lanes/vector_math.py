"""Math functions on SIMD lanes, from the C library's vector functions where there are any.

glibc ships `libmvec`: exp, log, sin, ... on whole vector registers, with errors
below 4 ulp, named after the instruction set and the number of lanes (x86 and
AArch64 vector function ABIs): ``_ZGVdN4v_exp`` is exp on four doubles with
AVX2. A function for another instruction set than the processor's must not be
called, so the set is chosen from the processor's features. Elsewhere, and for
functions that the library lacks, lanes are computed one after the other.
"""

from __future__ import annotations

import ctypes
import functools
import platform
import sys
from typing import Any

LIBRARY = "libmvec.so.1"

# Letter of the instruction set in a function's name, and bytes of its registers.
_X86_SETS = (("avx512f", "e", 64), ("avx2", "d", 32), ("sse4.1", "b", 16))
_ARM_SETS = (("neon", "n", 16),)


@functools.cache
def _library() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        return ctypes.CDLL(LIBRARY)
    except OSError:
        return None


@functools.cache
def instruction_sets() -> tuple[tuple[str, int], ...]:
    """Return (letter, bytes of a register) of the usable sets, widest first."""
    if _library() is None:
        return ()
    if platform.machine() in ("aarch64", "arm64"):
        return tuple((letter, size) for _, letter, size in _ARM_SETS)
    if platform.machine() not in ("x86_64", "AMD64"):
        return ()
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    return tuple((letter, size) for name, letter, size in _X86_SETS if features.get(name))


def description() -> str:
    """Return what compiled code depends on here: the library's presence and the sets used."""
    return f"{LIBRARY} {instruction_sets()}" if instruction_sets() else "no vector math"


def make_visible() -> None:
    """Let code that is loaded into this process find the library's functions."""
    if _library() is not None:
        import llvmlite.binding as llvm

        llvm.load_library_permanently(LIBRARY)


@functools.cache
def vector_function(name: str, bitwidth: int, width: int, n_arguments: int):
    """Return (symbol, lanes per call) of the widest usable function, or None."""
    library = _library()
    suffix = "f" if bitwidth == 32 else ""
    for letter, size in instruction_sets():
        lanes = size * 8 // bitwidth
        if lanes > width:
            continue
        symbol = f"_ZGV{letter}N{lanes}{'v' * n_arguments}_{name}{suffix}"
        if hasattr(library, symbol):
            return symbol, lanes
    return None


def call(builder, name: str, lanes, arguments) -> Any:
    """Emit calls of a vector function, register by register; None where there is none."""
    from llvmlite import ir

    from cubie.backend.lanes.types import lane_type

    if lanes.width == 1:
        return None
    found = vector_function(name, lanes.dtype.bitwidth, lanes.width, len(arguments))
    if found is None:
        return None
    symbol, part = found
    vector = lane_type(lanes.dtype, part)
    function = builder.module.globals.get(symbol)
    if function is None:
        function_type = ir.FunctionType(vector, [vector] * len(arguments))
        function = ir.Function(builder.module, function_type, symbol)
        function.attributes.add("nounwind")
    parts = []
    for start in range(0, lanes.width, part):
        pieces = [_slice(builder, a, start, part, lanes.width) for a in arguments]
        parts.append(builder.call(function, pieces))
    while len(parts) > 1:
        parts = [_join(builder, *parts[i : i + 2]) for i in range(0, len(parts), 2)]
    return parts[0]


def _mask(start: int, count: int):
    from llvmlite import ir

    return ir.Constant(ir.VectorType(ir.IntType(32), count), list(range(start, start + count)))


def _slice(builder, value, start: int, count: int, width: int):
    """Return `count` lanes from `start` on."""
    if count == width:
        return value
    return builder.shuffle_vector(value, value, _mask(start, count))


def _join(builder, low, high):
    return builder.shuffle_vector(low, high, _mask(0, 2 * low.type.count))
