"""Target ``cpu``: runs on SIMD lanes, dealt to lanes and threads as they come free.

This module imports no compiler: where a kernel's machine code is found on
disk, it is loaded and run without numba. Compilation is in `cpu_compiler`.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cubie.backend.base import (
    Backend,
    Kernel,
    KernelInputs,
    KernelOutputs,
    Parts,
    RunMemory,
)
from cubie.backend.object_code import ObjectCode
from cubie.backend.targets import register_bytes
from cubie.backend.threads import WorkerPool, n_threads

MAX_ALIGNMENT = 64  # bytes: one cache line, and the widest vector register


class CPUBackend(Backend):
    """Compile to machine code; `width` runs go through every instruction together.

    They may be a part of a group of `group_width` runs, whose buffers they then work on.
    """

    name = "cpu"

    def __init__(self, dtype, fastmath: bool, width: int, group_width: int | None = None):
        super().__init__(dtype, fastmath)
        self.width = width
        self.group_width = width if group_width is None else group_width

    @property
    def key(self) -> tuple:
        return (*super().key, self.group_width)

    @property
    def _compiler(self):
        from cubie.backend.cpu_compiler import CPUCompiler

        return CPUCompiler(self.dtype, self.fastmath, self.width, self.group_width)

    @property
    def _part_width(self) -> int:
        return min(self.width, register_bytes() // self.dtype.itemsize)

    def parts(self) -> Parts:
        from cubie.backend.parts import make_parts

        return make_parts(self.dtype.itemsize, self.width, self._part_width)

    def part_backend(self) -> CPUBackend:
        return CPUBackend(self.dtype, self.fastmath, self._part_width, self.width)

    def device(self, function: Callable, inline: bool = True) -> Callable:
        return self._compiler.device(function, inline)

    def straight_line(self, function: Callable, inline: bool = True) -> Callable:
        return self._compiler.straight_line(function, inline)

    def allocator(self, placement) -> Callable:
        return self._compiler.allocator(placement)

    def weighted_sum(self, terms: Sequence[tuple[int, float]]) -> Callable:
        return self._compiler.weighted_sum(terms)

    def phase(self, points, placements) -> Callable:
        return self._compiler.phase(points, placements)

    def first_runs(self) -> Callable:
        return self._compiler.first_runs()

    def more_runs(self) -> Callable:
        return self._compiler.more_runs()

    def keep_going(self, together: bool = False) -> Callable:
        return self._compiler.keep_going(together)

    def foreign_rhs(self, system) -> Callable:
        return self._compiler.foreign_rhs(system)

    def kernel(
        self, make_loop: Callable[[], Callable], memory: RunMemory, digest: str
    ) -> CPUKernel:
        def compile_object() -> bytes:
            return self._compiler.compile_kernel(make_loop(), memory)

        return CPUKernel(self.width, memory, ObjectCode.find_or_make(digest, compile_object))


class CPUKernel(Kernel):
    """A compiled loop over a queue of runs, worked on by as many threads as there is work for."""

    # Waking a thread costs some tens of microseconds: a share of so much work is worth it.
    SECONDS_WORTH_A_THREAD = 80e-6
    # What a group of runs is taken to need before the first batch is solved.
    FIRST_GUESS_SECONDS = 20e-6

    def __init__(self, width: int, memory: RunMemory, code: ObjectCode):
        self._width = width
        self._shared_bytes = memory.shared_stride * width
        self._code = code
        # A ctypes call releases the interpreter lock.
        self._entry = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(code.entry_address)
        self._group_seconds = self.FIRST_GUESS_SECONDS

    @property
    def compiled_from_cache(self) -> bool:
        """Whether the machine code came from disk instead of the compiler."""
        return self._code.from_cache

    def assembly(self) -> str:
        """Return the machine code as text."""
        return self._code.disassemble()

    def __call__(self, n_runs, inputs: KernelInputs, outputs: KernelOutputs, block_size: int):
        counter = ctypes.c_int64(0)
        addresses = [_address(array) for array in (*inputs, *outputs)]
        arguments_type = ctypes.c_int64 * (3 + len(addresses))

        def work() -> float:
            workspace = _aligned_bytes(max(1, self._shared_bytes))
            arguments = arguments_type(
                ctypes.addressof(counter), _address(workspace), n_runs, *addresses
            )
            start = time.perf_counter()
            self._entry(ctypes.addressof(arguments))
            return time.perf_counter() - start

        seconds = WorkerPool.shared().run(work, self._workers(n_runs))
        self._group_seconds = sum(seconds) / max(1.0, n_runs / self._width)

    def _workers(self, n_runs: int) -> int:
        """Return how many threads a batch is worth, judged by what the latest one took."""
        n_groups = -(-n_runs // self._width)
        worth = int(n_groups * self._group_seconds / self.SECONDS_WORTH_A_THREAD)
        return max(1, min(n_threads(), n_groups, worth))


def _address(array: Any) -> int:
    """Return where a NumPy array keeps its data; several times faster than `ctypes.data`."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))
    except (TypeError, ValueError):  # read-only, or empty
        return array.ctypes.data


def _aligned_bytes(size: int) -> np.ndarray:
    """Allocate bytes that start on a cache line."""
    raw = np.empty(size + MAX_ALIGNMENT, dtype=np.uint8)
    start = -_address(raw) % MAX_ALIGNMENT
    return raw[start : start + size]
