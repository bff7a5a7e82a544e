"""A CUDA kernel: compiled for the device it is launched on, or for a named one to look at."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numba
from attrs import evolve
from numba import cuda
from numba.core import types
from numba.cuda.core.errors import NumbaDebugInfoWarning

from cubie.backend.arrays import KernelInputs, KernelOutputs, element_dtypes
from cubie.backend.base import RunMemory
from cubie.backend.build_lock import building
from cubie.backend.bundles import Memory
from cubie.backend.cuda.code import KernelCode, find_or_make
from cubie.backend.cuda.compilation import called_by_numba
from cubie.backend.cuda.pretended import pretended_device, supported
from cubie.backend.cuda.resources import (
    KernelResources,
    assemble,
    most_registers,
    needing_the_toolkit,
)
from cubie.backend.cuda.slices import left_of as left_of_attempts
from cubie.backend.cuda.types import flatten, global_base, shared_base
from cubie.backend.device.driver import Driver, Grid
from cubie.backend.device.global_memory import MOST_LOCAL_BYTES
from cubie.backend.device.kernel import DeviceKernel
from cubie.backend.device.slices import Slices
from cubie.backend.device.workspace import Workspaces
from cubie.backend.front_end.device_function import DeviceFunction, Intrinsic
from cubie.backend.register_limits import NO_LIMITS, RegisterLimits
from cubie.backend.slices import ATTEMPTS, KeptState, Slice
from cubie.errors import LaunchTooLarge


@contextmanager
def _without_lines_of_text():
    """Say nothing about functions made from text: their lines are in no file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NumbaDebugInfoWarning)
        yield


class CUDAKernel(DeviceKernel):
    """A kernel over runs.

    Parameters
    ----------
    backend : CUDABackend
    make_loop : callable
        Builds the loop's device function; not called where the kernel is found on disk.
    memory : RunMemory
    digest : str
        Of all that the kernel is made of.
    registers : RegisterLimits
        Of a thread.
    """

    def __init__(
        self,
        backend: Any,
        make_loop: Callable[[], Callable],
        memory: RunMemory,
        digest: str,
        registers: RegisterLimits = NO_LIMITS,
    ):
        slices = None if memory.kept is None else Slices(memory.kept, backend.dtype)
        super().__init__(memory.shared_stride, backend.refill, slices, memory.global_bytes)
        self._backend, self._make_loop = backend, make_loop
        self._memory, self._digest, self._registers = memory, digest, registers
        self._latest: tuple[tuple, KernelResources] | None = None
        self._codes: dict[tuple[tuple[int, int], int | None], KernelCode] = {}
        self._loaded: dict[tuple[int, int | None, int], Any] = {}
        self._lock = threading.Lock()

    @property
    def compiled_from_cache(self) -> bool:
        """Whether the code of the latest launch came from disk instead of the compiler."""
        return bool(self._codes) and [*self._codes.values()][-1].from_cache

    @cached_property
    def _function(self) -> Callable:
        """The kernel that numba-cuda compiles: it takes records of arrays apart."""
        flat, in_global = flatten(), global_base(self._memory.global_bytes)
        backend = self._backend
        enter = called_by_numba(self._entry(), backend.fastmath, backend.lines)

        def kernel(n_runs, inputs, outputs):
            run = cuda.grid(1)  # pyright: ignore[reportCallIssue]
            if run < n_runs:
                enter(cuda.threadIdx.x, run, n_runs, flat(inputs), flat(outputs), ())

        def kernel_with_global(n_runs, inputs, outputs, memory):
            run = cuda.grid(1)  # pyright: ignore[reportCallIssue]
            if run < n_runs:
                where = in_global(memory, run)
                enter(cuda.threadIdx.x, run, n_runs, flat(inputs), flat(outputs), where)

        def sliced_kernel(n_runs, inputs, outputs, kept):
            run = cuda.grid(1)  # pyright: ignore[reportCallIssue]
            if run < n_runs:
                enter(cuda.threadIdx.x, run, n_runs, flat(inputs), flat(outputs), (), flat(kept))

        def sliced_kernel_with_global(n_runs, inputs, outputs, kept, memory):
            run = cuda.grid(1)  # pyright: ignore[reportCallIssue]
            if run < n_runs:
                where = in_global(memory, run)
                enter(cuda.threadIdx.x, run, n_runs, flat(inputs), flat(outputs), where, flat(kept))

        if backend.sliced:
            return sliced_kernel_with_global if self._memory.global_bytes else sliced_kernel
        return kernel_with_global if self._memory.global_bytes else kernel

    def _entry(self) -> DeviceFunction:
        """Return the device function that is one thread's work on one run."""
        backend, memory, loop = self._backend, self._memory, self._make_loop()
        arena = backend.persistent_arena(memory.persistent_bytes)
        base_of, queue_of = shared_base(memory.shared_stride), backend.queue_of()
        left_of = Intrinsic(left_of_attempts)

        def entry(thread, run, n_runs, inputs, outputs, in_global):
            where = Memory(base_of(thread), arena(), in_global)
            loop(where, queue_of(run), n_runs, inputs, outputs)

        def sliced_entry(thread, run, n_runs, inputs, outputs, in_global, kept):
            reals, whole = kept
            where = Memory(base_of(thread), arena(), in_global)
            queue = Slice(run, left_of(whole[ATTEMPTS]), reals, whole)
            loop(where, queue, n_runs, inputs, outputs)

        return backend.device(sliced_entry if backend.sliced else entry)

    def resources(
        self,
        capability: Any,
        inputs: KernelInputs,
        outputs: KernelOutputs,
        block_size: int,
    ) -> KernelResources:
        """Compile for a compute capability, without a GPU, and read what it needs.

        `inputs` and `outputs` only lend their types.

        Raises
        ------
        InvalidOption
            Where the toolkit does not compile for that capability.
        LaunchTooLarge
            Where a thread would need more memory than any device gives it.
        """
        capability = supported(capability)
        signature = (types.int64, numba.typeof(inputs), numba.typeof(outputs))
        return self._compiled(capability, signature + self._further, block_size)

    def _compiled(
        self, capability: tuple[int, int], signature: tuple, block_size: int
    ) -> KernelResources:
        """Compile and assemble; what was asked for last is remembered.

        A plan is judged by what became of it, and the winner of plans is launched.
        """
        most = self._most_registers(capability, block_size)
        shared_bytes = self._memory.shared_stride * block_size
        key = capability, signature, most
        latest = self._latest
        if latest is None or latest[0] != key:
            latest = key, self._assembled(capability, signature, shared_bytes, most)
            self._latest = latest
        return evolve(latest[1], shared_bytes_per_block=shared_bytes)

    def _assembled(
        self, capability: tuple[int, int], signature: tuple, shared_bytes: int, most: int | None
    ) -> KernelResources:
        self._require_local_memory()
        with needing_the_toolkit():
            with pretended_device(capability), _without_lines_of_text():
                ptx, _ = cuda.compile_ptx(
                    self._function,
                    signature,
                    cc=capability,
                    fastmath=self._backend.fastmath,
                    abi="numba",
                    lineinfo=self._backend.lines,
                )
            return assemble(ptx, capability, shared_bytes, most)

    def _most_registers(self, capability: tuple[int, int], block_size: int) -> int | None:
        shared_bytes = self._memory.shared_stride * block_size
        return most_registers(capability, block_size, shared_bytes, self._registers)

    def _require_local_memory(self) -> None:
        """Refuse a kernel that no device could launch, before minutes of compilation."""
        needed = self._memory.local_bytes + self._memory.persistent_bytes
        if needed > MOST_LOCAL_BYTES:
            raise LaunchTooLarge(
                f"A run keeps {needed:,} B in local memory, and a thread of any NVIDIA GPU has at "
                f"most {MOST_LOCAL_BYTES:,} B. `solver.explain()` says what the peak is made of. "
                "Let locations='auto' put the rest into global memory, or pin buffers there "
                "(`{buffer}_location='global'`). Or use dtype='float32', a method with fewer "
                "stages, an iterative `linear_solver` ('bicgstab') instead of stored factors, or "
                "backend='cpu'."
            )

    def expect(self, n_runs: int, block_size: int) -> None:
        """Load the code, compiled if need be, so that no clock of a solve times that."""
        if self._backend.is_there:
            self._code_for(self.workspaces().driver.facts.capability, block_size)

    def workspaces(self) -> Workspaces:
        return self._backend.workspaces()

    def release(self) -> None:
        if self._backend.is_there:
            super().release()

    def function(self, driver: Driver, grid: Grid) -> Any:
        facts = driver.facts
        most = self._most_registers(facts.capability, grid.threads)
        key = (facts.number, most, grid.shared_bytes)
        found = self._loaded.get(key)
        if found is None:
            code = self._code_for(facts.capability, grid.threads)
            with self._lock:
                found = self._loaded.get(key)
                if found is None:
                    found = driver.load(code.image, code.name, grid.shared_bytes)
                    self._loaded[key] = found
        return found

    def _code_for(self, capability: tuple[int, int], block_size: int) -> KernelCode:
        """Return the code for a capability, with as few registers as blocks of a size ask for."""
        most = self._most_registers(capability, block_size)
        found = self._codes.get((capability, most))
        if found is None:
            self._require_local_memory()
            with building():
                found = find_or_make(
                    f"{self._digest} {most}",
                    capability,
                    lambda: self._compiled(capability, self._signature, block_size),
                )
            self._codes[capability, most] = found
        return found

    @property
    def _signature(self) -> tuple:
        """The types that the kernel takes: records of one-dimensional arrays."""
        dtype = self._backend.dtype
        return (
            types.int64,
            *(
                types.NamedTuple(
                    [types.Array(numba.from_dtype(kind), 1, "C") for kind in dtypes.values()],
                    record,
                )
                for record in (KernelInputs, KernelOutputs)
                for dtypes in (element_dtypes(record, dtype),)
            ),
            *self._further,
        )

    @property
    def _further(self) -> tuple:
        """The types of what only some kernels take.

        What is kept of runs between launches, where they end in the middle; and global memory.
        """
        found = []
        if self._backend.sliced:
            kinds = (numba.from_dtype(self._backend.dtype), types.int32)
            arrays = [types.Array(kind, 1, "C") for kind in kinds]
            found.append(types.NamedTuple(arrays, KeptState))
        if self._memory.global_bytes:
            found.append(types.Array(types.uint8, 1, "C"))
        return tuple(found)
