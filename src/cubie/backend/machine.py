"""What this machine has: processors, vector registers, a GPU."""

from __future__ import annotations

import ctypes
import functools
import os

THREADS_VARIABLE = "NUMBA_NUM_THREADS"


_told: list[int] = []  # what `use_threads` was last given


@functools.cache
def n_threads() -> int:
    """Return how many threads a solve uses: $NUMBA_NUM_THREADS, or the CPUs of this process.

    Where that is not set `use_threads` comes first.
    """
    chosen = os.environ.get(THREADS_VARIABLE, "")
    if chosen.isdigit() and int(chosen) > 0:
        return int(chosen)
    if _told:
        return _told[0]
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def use_threads(n: int) -> None:
    """Let solves of this process use so many threads at most, from the next one on.

    Never more than before: teams of threads have the size that was right when they were made.
    """
    _told[:] = [min(n, n_threads())]
    n_threads.cache_clear()


@functools.cache
def register_bytes() -> int:
    """Return the size of the processor's vector registers."""
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return 64
    return 32 if features.get("avx") else 16


def cuda_is_simulated() -> bool:
    """Tell whether numba's CUDA simulator is switched on for this process."""
    return os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0")


@functools.cache
def cuda_is_available() -> bool:
    """Tell whether the driver sees a GPU, without importing numba-cuda."""
    for library in ("libcuda.so.1", "nvcuda.dll"):
        try:
            driver = ctypes.CDLL(library)
        except OSError:
            continue
        count = ctypes.c_int(0)
        if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0:
            return count.value > 0
    return False
