"""Target ``cuda`` under NUMBA_ENABLE_CUDASIM=1: interpreted components, simulated launch.

Only the kernel's shell uses what the simulator simulates: the grid, shared and
local arrays. Components run as on the ``python`` target, poison included.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from numba import cuda

from cubie.backend.base import (
    NO_LIMITS,
    Kernel,
    KernelInputs,
    KernelOutputs,
    RegisterLimits,
    RunMemory,
)
from cubie.backend.bundles import Memory
from cubie.backend.interpreted.python import POISON, PythonBackend, Space


class SimulatorBackend(PythonBackend):
    """Run interpreted components in simulated threads and blocks."""

    name = "simulator"
    runs_go_unjudged = True

    def kernel(
        self,
        make_loop: Callable[[], Callable],
        memory: RunMemory,
        digest: str,
        registers: RegisterLimits = NO_LIMITS,
    ) -> Kernel:
        return SimulatorKernel(make_loop(), memory)


class SimulatorKernel(Kernel):
    """The CUDA kernel's shell: a thread a run, a slice of the block's shared memory each."""

    compiled_from_cache = False
    _device = threading.Lock()  # the simulator runs one kernel at a time

    def __init__(self, loop: Callable, memory: RunMemory):
        stride, persistent_bytes = memory.shared_stride, memory.persistent_bytes
        self._stride = stride
        byte = np.dtype(np.uint8)

        def kernel(n_runs, inputs, outputs):
            run = cuda.grid(1)  # pyright: ignore[reportCallIssue]
            block = cuda.shared.array(0, byte)
            if run < n_runs:
                first = stride * cuda.threadIdx.x
                contents = block[first : first + stride]
                contents[:] = POISON
                arena = cuda.local.array(max(1, persistent_bytes), byte)
                arena[:] = POISON
                with np.errstate(all="ignore"):
                    loop(Memory(Space(contents), Space(arena)), run, n_runs, inputs, outputs)

        self._kernel = cuda.jit(kernel)

    def __call__(self, n_runs, inputs: KernelInputs, outputs: KernelOutputs, block_size: int):
        blocks = -(-n_runs // block_size)
        shared_bytes = self._stride * block_size
        # The simulator wraps arrays only as direct arguments; inside a tuple they
        # are the host's own, which its threads may read and write directly.
        with self._device:
            self._kernel[blocks, block_size, 0, shared_bytes](n_runs, inputs, outputs)
