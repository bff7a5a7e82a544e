"""A stand-in for a driver: memory of the host pretends to be a device's, all work is done at once.

The simulator runs on it, and the tests of launches, which count what it copies and let it fail.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from attrs import evolve

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

ALIGNMENT = 256

SIMULATED = DeviceFacts(
    name="simulated",
    capability=(9, 0),
    number=0,
    multiprocessors=1,
    threads_per_multiprocessor=1024,
    max_shared_bytes=227 * 1024,
    total_bytes=2**34,
    has_watchdog=False,
)

HostFunction = Callable[[Grid, int, list[np.ndarray]], None]


class _Mark:
    """When a mark was reached: all work is over when it is put into a stream."""

    at = 0.0


class HostDriver(Driver):
    """Memory of the host as that of a device.

    Functions that are launched are Python's: ``function(grid, n_runs, arrays)``.

    Parameters
    ----------
    facts : DeviceFacts
    """

    def __init__(self, facts: DeviceFacts = SIMULATED):
        self.facts = facts
        self._memory: dict[Address, np.ndarray] = {}
        self._sizes: dict[Address, int] = {}

    def pretend(self, **facts: Any) -> None:
        """Change what there is to know of the device."""
        self.facts = evolve(self.facts, **facts)

    @property
    def allocated_bytes(self) -> int:
        """How much of the device's memory is in use."""
        return sum(self._sizes.values())

    def enter(self) -> Any:
        pass

    def leave(self, before: Any) -> None:
        pass

    def free_bytes(self) -> int:
        return self.facts.total_bytes - self.allocated_bytes

    def allocate(self, n_bytes: int) -> Address:
        if n_bytes > self.free_bytes():
            raise DriverFault(Fault.OUT_OF_MEMORY, "out of memory")
        memory = np.empty(n_bytes + ALIGNMENT, np.uint8)
        address = -(-memory.ctypes.data // ALIGNMENT) * ALIGNMENT
        self._memory[address], self._sizes[address] = memory, n_bytes
        return address

    def free(self, address: Address) -> None:
        del self._memory[address], self._sizes[address]

    def allocate_staging(self, n_bytes: int) -> np.ndarray:
        return np.empty(n_bytes, np.uint8)

    def free_staging(self, memory: np.ndarray) -> None:
        pass

    def new_stream(self) -> Any:
        return _Mark()

    def new_event(self) -> Any:
        return _Mark()

    def destroy(self, handle: Any) -> None:
        pass

    def finish(self, stream: Any) -> None:
        pass

    def copy_up(self, to: Address, staging: np.ndarray, stream: Any) -> None:
        _bytes_at(to, staging.nbytes)[:] = staging

    def copy_down(self, staging: np.ndarray, source: Address, stream: Any) -> None:
        staging[:] = _bytes_at(source, staging.nbytes)

    def fill(self, address: Address, byte: int, n_bytes: int, stream: Any) -> None:
        _bytes_at(address, n_bytes)[:] = byte

    def load(self, image: bytes, name: str, shared_bytes: int) -> Any:
        raise NotImplementedError("assembled code runs on a device")

    def thread_needs(self, function: Any) -> ThreadNeeds | None:
        return None

    def blocks_at_once(self, function: Any, threads: int, shared_bytes: int) -> int:
        return max(1, self.facts.threads_per_multiprocessor // threads)

    def launch(
        self,
        function: HostFunction,
        grid: Grid,
        n_runs: int,
        arguments: Sequence[Argument],
        stream: Any,
    ) -> None:
        function(grid, n_runs, [array_at(*argument) for argument in arguments])

    def record(self, event: Any, stream: Any) -> None:
        event.at = time.perf_counter()

    def wait(self, event: Any) -> None:
        pass

    def seconds_between(self, first: Any, last: Any) -> float:
        return last.at - first.at


def _bytes_at(address: Address, n_bytes: int) -> np.ndarray:
    return array_at(address, n_bytes, np.dtype(np.uint8))


def array_at(address: Address, size: int, dtype: np.dtype) -> np.ndarray:
    """Return the host's memory from an address on as an array."""
    buffer = (ctypes.c_uint8 * (size * dtype.itemsize)).from_address(address)
    return np.ctypeslib.as_array(buffer).view(dtype)


class Reaching:
    """An array whose indices may lead to other memory, as those of pointers do."""

    def __init__(self, array: np.ndarray):
        self._address, self._dtype = array.ctypes.data, array.dtype

    def __getitem__(self, index: int) -> Any:
        address = self._address + int(index) * self._dtype.itemsize
        return array_at(address, 1, self._dtype)[0]
