"""Target ``cuda``: one thread a run, through numba-cuda."""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numba
import numpy as np
from numba import cuda
from numba.core import types
from numba.cuda import dispatcher as cuda_dispatcher
from numba.cuda import extending
from numba.cuda.core.errors import NumbaDebugInfoWarning

from cubie.backend.base import Kernel, KernelInputs, KernelOutputs, RunMemory
from cubie.backend.bundles import Memory
from cubie.backend.compiled import CompiledBackend
from cubie.backend.cuda.foreign import CUDAForeignTarget
from cubie.backend.cuda.loops import counting, register_range
from cubie.backend.cuda.resources import (
    KernelResources,
    assemble,
    compiler_versions,
    needing_the_toolkit,
)
from cubie.backend.cuda.types import flatten, register_types, shared_base
from cubie.backend.foreign import ForeignTarget
from cubie.backend.lanes.types import SHARED, Lanes
from cubie.backend.machine import cuda_is_available
from cubie.errors import InvalidOption, NoDevice
from cubie.reals import as_int

# Above this a kernel must ask for its dynamic shared memory explicitly.
DEFAULT_DYNAMIC_SHARED_BYTES = 48 * 1024

_pretending = threading.RLock()


def _supported(given: Any) -> tuple[int, int]:
    """Return a compute capability that the toolkit compiles for."""
    from numba.cuda.cudadrv.nvrtc import get_supported_ccs

    pair = tuple(map(as_int, given)) if isinstance(given, tuple | list) else ()
    if len(pair) != 2 or not all(type(part) is int for part in pair):
        raise InvalidOption("cc", given, advice="Give (major, minor), such as (9, 0).")
    with needing_the_toolkit():
        known = tuple(map(tuple, get_supported_ccs()))
    if pair not in known:
        advice = "Those are what the installed CUDA toolkit compiles for."
        raise InvalidOption("cc", given, known, advice)
    return pair


@contextmanager
def _pretended_device(capability: tuple[int, int]):
    """Let numba-cuda compile where there is no GPU.

    A device function that is not inlined asks for the current device only to
    learn its compute capability; this answers in its place, to the calling thread alone:
    others may compile for a device that is there.
    """
    own = threading.get_ident()
    with _pretending:  # one at a time, so that each finds and puts back numba's own
        original = cuda_dispatcher.get_current_device

        def device():
            if threading.get_ident() == own:
                return SimpleNamespace(compute_capability=capability)
            return original()

        cuda_dispatcher.get_current_device = device
        try:
            yield
        finally:
            cuda_dispatcher.get_current_device = original


@contextmanager
def _without_lines_of_text():
    """Say nothing about functions made from text: their lines are in no file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NumbaDebugInfoWarning)
        yield


def _first_argument(context, builder, signature, args):
    return args[0]


def _second_argument(context, builder, signature, args):
    return args[1]


class CUDABackend(CompiledBackend):
    """Compile with numba-cuda; every thread is one run.

    With `lines` the machine code tells the source line of each instruction. Compiling then
    takes about a third longer; the instructions are the same.
    """

    name = "cuda"
    shared_addrspace = SHARED
    asks_assembler = True

    def __init__(self, dtype, fastmath: bool, lines: bool = False):
        super().__init__(dtype, fastmath)
        self.lines = lines
        register_types()
        register_range()

    @property
    def key(self) -> tuple:
        return (*super().key, self.lines)

    @property
    def compilers(self) -> tuple[str, ...]:
        return compiler_versions()

    @property
    def compute_capability(self) -> tuple[int, int] | None:
        """Of the present device; None where kernels are only compiled, for named devices."""
        return cuda.get_current_device().compute_capability if cuda_is_available() else None

    @property
    def max_shared_bytes(self) -> int | None:
        """Shared memory a block may ask for on the present device; None without one."""
        if not cuda_is_available():
            return None
        return cuda.get_current_device().MAX_SHARED_MEMORY_PER_BLOCK_OPTIN

    @property
    def runs_at_once(self) -> int:
        if not cuda_is_available():
            return 1
        device = cuda.get_current_device()
        return device.MULTIPROCESSOR_COUNT * device.MAX_THREADS_PER_MULTI_PROCESSOR

    @property
    def _intrinsic(self) -> Callable:
        return extending.intrinsic

    def device(self, function: Callable, inline: bool = True) -> Callable:
        decorate: Any = cuda.jit(device=True, fastmath=self.fastmath, lineinfo=self.lines)
        return decorate(counting(function))

    def first_runs(self) -> Callable:
        def first(typingctx, queue):
            return Lanes(types.int64, 1)(types.int64), _first_argument

        return extending.intrinsic(first)

    def more_runs(self) -> Callable:
        def more(typingctx, queue, free, run, n_runs):
            lanes = Lanes(types.int64, 1)

            def lower(context, builder, signature, args):
                return args[3]  # a thread has one run: its queue is empty

            return lanes(queue, free, run, types.int64), lower

        return extending.intrinsic(more)

    def keep_going(self, together: bool = False) -> Callable:
        def going(typingctx, queue, active, beyond):
            return types.boolean(queue, active, beyond), _second_argument

        return extending.intrinsic(going)

    @property
    def _foreign_target(self) -> ForeignTarget:
        return CUDAForeignTarget(self.fastmath)

    def kernel(
        self, make_loop: Callable[[], Callable], memory: RunMemory, digest: str
    ) -> CUDAKernel:
        return CUDAKernel(self, make_loop(), memory)


class CUDAKernel(Kernel):
    """A kernel over runs; compiled for the present device, or for a named one without it."""

    compiled_from_cache = False

    def __init__(self, backend: CUDABackend, loop: Callable, memory: RunMemory):
        self._memory = memory
        self._fastmath = backend.fastmath
        self._lines = backend.lines
        arena = backend.persistent_arena(memory.persistent_bytes)
        base_of, flat = shared_base(memory.shared_stride), flatten()

        def kernel(n_runs, inputs, outputs):
            run = cuda.grid(1)  # pyright: ignore[reportCallIssue]
            if run < n_runs:
                shared = base_of(cuda.threadIdx.x)
                loop(Memory(shared, arena()), run, n_runs, flat(inputs), flat(outputs))

        self._function = kernel

    @functools.cached_property
    def _dispatcher(self) -> Any:
        return cuda.jit(self._function, fastmath=self._fastmath, cache=False)

    def resources(
        self,
        capability: tuple[int, int],
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
        """
        capability = _supported(capability)
        signature = (types.int64, numba.typeof(inputs), numba.typeof(outputs))
        with needing_the_toolkit():
            with _pretended_device(capability), _without_lines_of_text():
                ptx, _ = cuda.compile_ptx(
                    self._function, signature, cc=capability, fastmath=self._fastmath, abi="numba",
                    lineinfo=self._lines,
                )  # fmt: skip
            return assemble(ptx, capability, self._memory.shared_stride * block_size)

    def __call__(self, n_runs, inputs: KernelInputs, outputs: KernelOutputs, block_size: int):
        if not cuda_is_available():
            raise NoDevice(
                "backend='cuda' needs an NVIDIA GPU and its driver, and none was found. Use "
                "backend='cpu' (or 'auto'), or NUMBA_ENABLE_CUDASIM=1 to simulate one; "
                "`kernel.resources(cc)` compiles without a GPU."
            )
        device_inputs = KernelInputs(*map(cuda.to_device, inputs))
        device_outputs = KernelOutputs(*map(cuda.to_device, outputs))
        shared_bytes = self._memory.shared_stride * block_size
        arguments = (np.int64(n_runs), device_inputs, device_outputs)
        blocks = -(-n_runs // block_size)
        with needing_the_toolkit():
            if shared_bytes > DEFAULT_DYNAMIC_SHARED_BYTES:
                self._allow_shared(arguments, shared_bytes)
            self._dispatcher[blocks, block_size, 0, shared_bytes](*arguments)
        for on_device, on_host in zip(device_outputs, outputs, strict=True):
            on_device.copy_to_host(on_host)

    def free_bytes(self) -> int | None:
        return cuda.current_context().get_memory_info().free if cuda_is_available() else None

    def _allow_shared(self, arguments, shared_bytes: int) -> None:
        """Raise the kernel's limit of dynamic shared memory to what a launch asks for."""
        from cuda.bindings import driver as bindings
        from numba.cuda.cudadrv import driver

        signature = tuple(numba.typeof(argument) for argument in arguments)
        compiled = self._dispatcher.compile(signature)
        function = compiled._codelibrary.get_cufunc()
        attribute = bindings.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        driver.driver.cuKernelSetAttribute(
            attribute, shared_bytes, function.handle, function.device.id
        )
