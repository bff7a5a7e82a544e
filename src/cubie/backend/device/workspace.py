"""What launches on a device need again and again: blocks of its memory, streams, staging.

A workspace belongs to a device and not to a kernel: it lives as long as any kernel of the process
that uses the device, so that the memory of a solver goes when the last solver is forgotten.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any

from cubie.backend.device.driver import Address, Driver, DriverFault, Fault
from cubie.backend.device.transfers import Staging

BLOCK_UNIT = 2**20  # bytes: blocks grow by whole units, so that similar batches find them large
# Of a device's memory, what blocks may keep from solve to solve: others want the device too.
KEPT_SHARE = 0.25


class Block:
    """Memory of a device that grows, or is another's from now on."""

    def __init__(self, driver: Driver):
        self._driver = driver
        self.address: Address = 0
        self.size = 0

    def reserve(self, n_bytes: int) -> Address:
        """Return memory for so many bytes; what was in it is lost where it had to grow.

        Raises
        ------
        DriverFault
            If there is not so much.
        """
        if n_bytes > self.size:
            self.release()
            size = -(-n_bytes // BLOCK_UNIT) * BLOCK_UNIT
            try:
                self.address = self._driver.allocate(size)
            except DriverFault as fault:
                if fault.fault is not Fault.OUT_OF_MEMORY or size == n_bytes:
                    raise
                size = n_bytes
                self.address = self._driver.allocate(size)
            self.size = size
        return self.address

    def release(self) -> None:
        """Give the memory back."""
        if self.size:
            address, self.address, self.size = self.address, 0, 0
            self._driver.free(address)

    def hand_over(self) -> OwnedMemory:
        """Return the memory as somebody else's; this block has none from now on."""
        owned = OwnedMemory(self._driver, self.address, self.size)
        self.address, self.size = 0, 0
        return owned


class OwnedMemory:
    """Memory of a device that is given back when nobody refers to it.

    Attributes
    ----------
    driver : Driver
    address : Address
    size : int
        Bytes.
    """

    def __init__(self, driver: Driver, address: Address, size: int):
        self.driver, self.address, self.size = driver, address, size
        weakref.finalize(self, _free, driver, address)


def _free(driver: Driver, address: Address) -> None:
    try:
        with driver.entered():
            driver.free(address)
    except DriverFault:  # the context is gone, and the memory with it
        pass


class Slot:
    """What one portion of a batch is solved in, while another is copied."""

    def __init__(self, driver: Driver):
        self.stream = driver.new_stream()
        self.begun, self.ended = driver.new_event(), driver.new_event()
        self.inputs, self.outputs = Block(driver), Block(driver)
        self.kept = Block(driver)  # of runs, where launches end in the middle of them
        self.in_global = Block(driver)  # of threads, where buffers lie in global memory
        self.up, self.down = Staging(driver), Staging(driver)
        self._driver = driver

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Its memory of the device."""
        return self.inputs, self.outputs, self.kept, self.in_global

    def close(self) -> None:
        """Give everything back."""
        for block in self.blocks:
            block.release()
        self.up.close()
        self.down.close()
        for handle in (self.begun, self.ended, self.stream):
            self._driver.destroy(handle)


class Workspace:
    """Two slots, so that copies of one portion go on while the other is solved."""

    def __init__(self, driver: Driver):
        self.driver = driver
        self.slots = (Slot(driver), Slot(driver))

    @property
    def blocks(self) -> list[Block]:
        """All memory of the device that is held."""
        return [block for slot in self.slots for block in slot.blocks]

    @property
    def held_bytes(self) -> int:
        """How much that is."""
        return sum(block.size for block in self.blocks)

    def settle(self) -> None:
        """Wait for all work."""
        for slot in self.slots:
            self.driver.finish(slot.stream)

    def shrink(self, most: int) -> None:
        """Give the largest blocks back until no more than so much is held."""
        for block in sorted(self.blocks, key=lambda block: -block.size):
            if self.held_bytes > most:
                block.release()

    def close(self) -> None:
        """Give everything back."""
        for slot in self.slots:
            slot.close()


class Workspaces:
    """The workspaces of a device; a solve takes one, or makes it where other threads have all.

    Parameters
    ----------
    driver : Driver
    """

    def __init__(self, driver: Driver):
        self.driver = driver
        self._idle: list[Workspace] = []
        weakref.finalize(self, _close_all, driver, self._idle)

    def take(self) -> Workspace:
        """Return one that nobody else has."""
        try:
            return self._idle.pop()
        except IndexError:
            return Workspace(self.driver)

    def put_back(self, workspace: Workspace) -> None:
        """Keep one for the next solve, as far as its memory is little of the device's."""
        workspace.shrink(int(self.driver.facts.total_bytes * KEPT_SHARE))
        self._idle.append(workspace)

    @property
    def held_bytes(self) -> int:
        """Memory of the device that idle workspaces hold."""
        return sum(workspace.held_bytes for workspace in list(self._idle))

    def close(self) -> None:
        """Give back what no solve uses now."""
        _close_all(self.driver, self._idle)


def _close_all(driver: Driver, idle: list[Workspace]) -> None:
    try:
        with driver.entered():
            while idle:
                idle.pop().close()
    except (DriverFault, IndexError):  # the context is gone, and the memory with it
        idle.clear()


_lock = threading.Lock()
_shared: weakref.WeakValueDictionary[Any, Workspaces] = weakref.WeakValueDictionary()


def shared_workspaces(key: Any, make_driver: Callable[[], Driver]) -> Workspaces:
    """Return the workspaces of a device, the same for all kernels that are alive."""
    with _lock:
        found = _shared.get(key)
        if found is None:
            found = _shared[key] = Workspaces(make_driver())
        return found
