"""Target ``cuda`` under NUMBA_ENABLE_CUDASIM=1: interpreted components, simulated launch.

Only the kernel's shell uses what the simulator simulates: the grid, shared and
local arrays. Components run as on the ``python`` target, poison included. Inputs and
outputs lie in memory that pretends to be a device's: all of a launch but the driver is real.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda

from cubie.backend.arrays import KernelInputs, KernelOutputs
from cubie.backend.base import Kernel, RunMemory
from cubie.backend.bundles import Memory
from cubie.backend.device.driver import Driver, Grid
from cubie.backend.device.global_memory import MOST_PLANNED_BYTES, require_global_memory
from cubie.backend.device.host import HostDriver, Reaching
from cubie.backend.device.kernel import DeviceKernel
from cubie.backend.device.slices import Slices
from cubie.backend.device.workspace import Workspaces, shared_workspaces
from cubie.backend.form_costs import OF_THREADS
from cubie.backend.interpreted.python import POISON, PythonBackend, Space
from cubie.backend.interpreted.slices import slice_of
from cubie.backend.register_limits import NO_LIMITS, RegisterLimits
from cubie.backend.slices import KeptState
from cubie_planner.gpu.cards import Target


class SimulatorBackend(PythonBackend):
    """Run interpreted components in simulated threads and blocks.

    Parameters
    ----------
    dtype : float32 or float64
    fastmath : bool
    device : Target, optional
        What is planned for; any device is simulated alike.
    refill : bool
        Whether a thread takes further runs.
    sliced : bool
        Whether launches end in the middle of runs.
    """

    name = "simulator"
    has_own_memory = True
    runs_go_unjudged = True
    form_costs = OF_THREADS

    def __init__(
        self,
        dtype,
        fastmath: bool,
        device: Target | None = None,
        refill: bool = False,
        sliced: bool = False,
    ):
        super().__init__(dtype, fastmath)
        self._device, self._refill, self.sliced = device, refill, sliced

    @property
    def compute_capability(self) -> tuple[int, int] | None:
        return None if self._device is None else self._device.device.capability

    @property
    def card(self) -> str | None:
        return None if self._device is None else self._device.card_name

    @property
    def notes(self) -> tuple[str, ...]:
        return () if self._device is None else self._device.notes

    @property
    def max_shared_bytes(self) -> int | None:
        return None if self._device is None else self._device.device.shared_per_block_optin

    @property
    def key(self) -> tuple:
        return (*super().key, self._refill, self.sliced)

    def first_runs(self) -> Callable:
        return super().first_runs() if self.sliced else _first

    def more_runs(self) -> Callable:
        return _one_grid_further if self._refill else super().more_runs()

    @property
    def most_local_bytes(self) -> int:
        return MOST_PLANNED_BYTES

    def require_room(self, memory: RunMemory) -> None:
        require_global_memory(memory, shared_workspaces("simulator", HostDriver).driver.facts)

    def kernel(
        self,
        make_loop: Callable[[], Callable],
        memory: RunMemory,
        digest: str,
        registers: RegisterLimits = NO_LIMITS,
    ) -> Kernel:
        return SimulatorKernel(make_loop(), memory, self._refill, self.dtype)


def _first(queue):
    return queue[0]


def _one_grid_further(queue, free, run, n_runs):
    return run + queue[1] if free else run


class SimulatorKernel(DeviceKernel):
    """The CUDA kernel's shell: a thread a run, a slice of the block's shared memory each."""

    compiled_from_cache = False
    _device = threading.Lock()  # the simulator runs one kernel at a time

    def __init__(self, loop: Callable, memory: RunMemory, refill: bool, dtype: np.dtype):
        slices = None if memory.kept is None else Slices(memory.kept, dtype)
        super().__init__(memory.shared_stride, refill, slices, memory.global_bytes)
        stride, persistent_bytes = memory.shared_stride, memory.persistent_bytes
        global_bytes = memory.global_bytes
        byte = np.dtype(np.uint8)

        def kernel(n_runs, inputs, outputs, kept, in_global):
            run = cuda.grid(1)  # pyright: ignore[reportCallIssue]
            block = cuda.shared.array(0, byte)
            if run < n_runs:
                first = stride * cuda.threadIdx.x
                contents = block[first : first + stride]
                contents[:] = POISON
                arena = cuda.local.array(max(1, persistent_bytes), byte)
                arena[:] = POISON
                own = in_global[0][run * global_bytes : (run + 1) * global_bytes]
                own[:] = POISON
                queue: Any = (run, cuda.gridDim.x * cuda.blockDim.x)
                if kept is not None:
                    queue = slice_of(run, kept)
                with np.errstate(all="ignore"):
                    memory = Memory(Space(contents), Space(arena), Space(own))
                    loop(memory, queue, n_runs, inputs, outputs)

        self._kernel = cuda.jit(kernel)

    def workspaces(self) -> Workspaces:
        return shared_workspaces("simulator", HostDriver)

    def function(self, driver: Driver, grid: Grid) -> Any:
        return self._launch

    def _launch(self, grid: Grid, n_runs: int, arrays: list[np.ndarray]) -> None:
        """Let simulated threads work on arrays of the host."""
        n_inputs = len(KernelInputs._fields)
        inputs = KernelInputs(*arrays[:n_inputs])
        inputs = inputs._replace(parameters=Reaching(inputs.parameters))
        of_runs = n_inputs + len(KernelOutputs._fields)
        outputs = KernelOutputs(*arrays[n_inputs:of_runs])
        in_global = arrays.pop() if self._global_bytes else np.empty(0, np.uint8)
        kept = KeptState(*arrays[of_runs:]) if len(arrays) > of_runs else None
        # The simulator wraps arrays only as direct arguments; inside a tuple they
        # are the host's own, which its threads may read and write directly.
        with self._device:
            launched = self._kernel[grid.blocks, grid.threads, 0, grid.shared_bytes]
            # Wrapped, a part of an array could not be written to byte by byte in reasonable time.
            launched(n_runs, inputs, outputs, kept, (in_global,))
