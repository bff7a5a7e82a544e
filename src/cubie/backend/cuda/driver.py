"""NVIDIA's driver, as `cubie.backend.device` asks for it.

In the primary context of a device, which numba, CuPy, PyTorch and JAX use as well: their arrays
are in the same memory.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from cuda.bindings import driver as cu

from cubie.backend.device.driver import (
    Address,
    Argument,
    DeviceFacts,
    Driver,
    DriverFault,
    Fault,
    Grid,
    ThreadNeeds,
)

_RESULT = cu.CUresult
_FAULTS = {
    _RESULT.CUDA_ERROR_OUT_OF_MEMORY: Fault.OUT_OF_MEMORY,
    _RESULT.CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES: Fault.TOO_LARGE,
    _RESULT.CUDA_ERROR_INVALID_VALUE: Fault.OTHER,
    _RESULT.CUDA_ERROR_LAUNCH_TIMEOUT: Fault.TIMEOUT,
    _RESULT.CUDA_ERROR_ILLEGAL_ADDRESS: Fault.LOST,
    _RESULT.CUDA_ERROR_LAUNCH_FAILED: Fault.LOST,
    _RESULT.CUDA_ERROR_ILLEGAL_INSTRUCTION: Fault.LOST,
    _RESULT.CUDA_ERROR_MISALIGNED_ADDRESS: Fault.LOST,
    _RESULT.CUDA_ERROR_HARDWARE_STACK_ERROR: Fault.LOST,
    _RESULT.CUDA_ERROR_ECC_UNCORRECTABLE: Fault.LOST,
    _RESULT.CUDA_ERROR_CONTEXT_IS_DESTROYED: Fault.LOST,
    _RESULT.CUDA_ERROR_DEVICE_UNAVAILABLE: Fault.LOST,
    _RESULT.CUDA_ERROR_NO_DEVICE: Fault.LOST,
    _RESULT.CUDA_ERROR_DEINITIALIZED: Fault.LOST,
    _RESULT.CUDA_ERROR_UNKNOWN: Fault.LOST,
}
_ATTRIBUTE = cu.CUdevice_attribute
_NO_DEFAULT_STREAM = cu.CUstream_flags.CU_STREAM_NON_BLOCKING
_TIMING = cu.CUevent_flags.CU_EVENT_DEFAULT
_NEEDS_OF_THREAD = (
    cu.CUfunction_attribute.CU_FUNC_ATTRIBUTE_NUM_REGS,
    cu.CUfunction_attribute.CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES,
)
_DYNAMIC_SHARED = cu.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES


def checked(answer: tuple[Any, ...]) -> Any:
    """Return what a call of the driver gave.

    Raises
    ------
    DriverFault
    """
    code, *values = answer
    if code != _RESULT.CUDA_SUCCESS:
        raise DriverFault(_FAULTS.get(code, Fault.OTHER), _RESULT(code).name)
    return values[0] if values else None


def device_number() -> int:
    """Return the number of the device that the calling thread uses, the first where none is."""
    checked(cu.cuInit(0))
    context = checked(cu.cuCtxGetCurrent())
    return int(checked(cu.cuCtxGetDevice())) if int(context) else 0


def device_count() -> int:
    """Return how many devices the process sees."""
    checked(cu.cuInit(0))
    return int(checked(cu.cuDeviceGetCount()))


@functools.lru_cache(maxsize=16)
def facts_of(number: int) -> DeviceFacts:
    """Return what there is to know of a device that is there."""
    checked(cu.cuInit(0))
    device = checked(cu.cuDeviceGet(number))

    def ask(attribute: Any) -> int:
        return int(checked(cu.cuDeviceGetAttribute(attribute, device)))

    name = checked(cu.cuDeviceGetName(128, device))
    return DeviceFacts(
        name=name.split(b"\0")[0].decode(errors="replace"),
        capability=(
            ask(_ATTRIBUTE.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
            ask(_ATTRIBUTE.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
        ),
        number=number,
        multiprocessors=ask(_ATTRIBUTE.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT),
        threads_per_multiprocessor=ask(
            _ATTRIBUTE.CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR
        ),
        max_shared_bytes=ask(_ATTRIBUTE.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN),
        total_bytes=int(checked(cu.cuDeviceTotalMem(device))),
        has_watchdog=bool(ask(_ATTRIBUTE.CU_DEVICE_ATTRIBUTE_KERNEL_EXEC_TIMEOUT)),
    )


class CUDADriver(Driver):
    """A GPU in its primary context."""

    def __init__(self, number: int):
        self.facts = facts_of(number)
        self._context = checked(cu.cuDevicePrimaryCtxRetain(checked(cu.cuDeviceGet(number))))

    def enter(self) -> Any:
        before = checked(cu.cuCtxGetCurrent())
        checked(cu.cuCtxSetCurrent(self._context))
        return before

    def leave(self, before: Any) -> None:
        checked(cu.cuCtxSetCurrent(before))

    def free_bytes(self) -> int:
        code, free, _ = cu.cuMemGetInfo()
        checked((code,))
        return int(free)

    def allocate(self, n_bytes: int) -> Address:
        return int(checked(cu.cuMemAlloc(n_bytes)))

    def free(self, address: Address) -> None:
        checked(cu.cuMemFree(address))

    def allocate_staging(self, n_bytes: int) -> np.ndarray:
        address = int(checked(cu.cuMemHostAlloc(n_bytes, 0)))
        buffer = (ctypes.c_uint8 * n_bytes).from_address(address)
        return np.ctypeslib.as_array(buffer)

    def free_staging(self, memory: np.ndarray) -> None:
        checked(cu.cuMemFreeHost(memory.ctypes.data))

    def new_stream(self) -> Any:
        return checked(cu.cuStreamCreate(int(_NO_DEFAULT_STREAM)))

    def new_event(self) -> Any:
        return checked(cu.cuEventCreate(int(_TIMING)))

    def destroy(self, handle: Any) -> None:
        is_event = isinstance(handle, cu.CUevent)
        checked(cu.cuEventDestroy(handle) if is_event else cu.cuStreamDestroy(handle))

    def finish(self, stream: Any) -> None:
        number = stream if isinstance(stream, int) else int(stream)  # of another library
        checked(cu.cuStreamSynchronize(cu.CUstream(number)))

    def copy_up(self, to: Address, staging: np.ndarray, stream: Any) -> None:
        checked(cu.cuMemcpyHtoDAsync(to, staging.ctypes.data, staging.nbytes, stream))

    def copy_down(self, staging: np.ndarray, source: Address, stream: Any) -> None:
        checked(cu.cuMemcpyDtoHAsync(staging.ctypes.data, source, staging.nbytes, stream))

    def fill(self, address: Address, byte: int, n_bytes: int, stream: Any) -> None:
        checked(cu.cuMemsetD8Async(address, byte, n_bytes, stream))

    def load(self, image: bytes, name: str, shared_bytes: int) -> Any:
        module = checked(cu.cuModuleLoadData(image))
        function = checked(cu.cuModuleGetFunction(module, name.encode()))
        if shared_bytes > 0:
            # Above 48 KiB a function must ask for it.
            checked(cu.cuFuncSetAttribute(function, _DYNAMIC_SHARED, shared_bytes))
        return function

    def thread_needs(self, function: Any) -> ThreadNeeds:
        return ThreadNeeds(
            *(int(checked(cu.cuFuncGetAttribute(what, function))) for what in _NEEDS_OF_THREAD)
        )

    def blocks_at_once(self, function: Any, threads: int, shared_bytes: int) -> int:
        ask = cu.cuOccupancyMaxActiveBlocksPerMultiprocessor
        return int(checked(ask(function, threads, shared_bytes)))

    def launch(
        self, function: Any, grid: Grid, n_runs: int, arguments: Sequence[Argument], stream: Any
    ) -> None:
        values = packed(n_runs, arguments)
        first = ctypes.addressof(values)
        pointers = (ctypes.c_void_p * len(values))(*range(first, first + 8 * len(values), 8))
        shape = (grid.blocks, 1, 1, grid.threads, 1, 1, grid.shared_bytes)
        checked(cu.cuLaunchKernel(function, *shape, stream, ctypes.addressof(pointers), 0))

    def record(self, event: Any, stream: Any) -> None:
        checked(cu.cuEventRecord(event, stream))

    def wait(self, event: Any) -> None:
        checked(cu.cuEventSynchronize(event))

    def seconds_between(self, first: Any, last: Any) -> float:
        return float(checked(cu.cuEventElapsedTime(first, last))) / 1e3


# Of an array numba passes who owns it and who its parent is, elements, bytes of one, where it
# lies, its length and its stride.
WORDS_OF_ARRAY = 7


def packed(n_runs: int, arguments: Sequence[Argument]) -> ctypes.Array[ctypes.c_int64]:
    """Return a kernel's parameters as numba lays them out: words of eight bytes all."""
    words = [n_runs]
    for address, size, dtype in arguments:
        itemsize = dtype.itemsize
        words += [0, 0, size, itemsize, address, size, itemsize]
    # Addresses above 2**63 wrap, as they should.
    return (ctypes.c_int64 * len(words))(*words)
