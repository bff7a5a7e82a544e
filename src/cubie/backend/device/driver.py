"""What is asked of the driver of a device: memory, copies, launches, events; nothing else.

All that happens on a device goes through a `Driver`, so that everything above it runs, and is
tested, wherever there is memory that can pretend to be a device's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum, auto
from typing import Any, NamedTuple

import numpy as np
from attrs import frozen

Address = int


class Fault(Enum):
    """What a driver reports, by what can be done about it."""

    OUT_OF_MEMORY = auto()  # another request may still be served
    TOO_LARGE = auto()  # a launch asks for more than the device has at all
    TIMEOUT = auto()  # the watchdog of a display ended a launch; the context is lost
    LOST = auto()  # the context is lost: nothing more works in this process
    OTHER = auto()


class DriverFault(Exception):
    """A call of the driver failed.

    Attributes
    ----------
    fault : Fault
    code : str
        As the driver calls it.
    """

    def __init__(self, fault: Fault, code: str):
        self.fault, self.code = fault, code
        super().__init__(code)


@frozen
class DeviceFacts:
    """What does not change about a device.

    Attributes
    ----------
    name : str
        As the driver calls it.
    capability : (int, int)
    number : int
        Among those that the process sees.
    multiprocessors, threads_per_multiprocessor : int
    max_shared_bytes : int
        Of a block that asks for it.
    total_bytes : int
    has_watchdog : bool
        Whether launches that take seconds are ended, as a display waits for them.
    """

    name: str
    capability: tuple[int, int]
    number: int
    multiprocessors: int
    threads_per_multiprocessor: int
    max_shared_bytes: int
    total_bytes: int
    has_watchdog: bool


class Argument(NamedTuple):
    """An array in a device's memory, as a kernel takes it."""

    address: Address
    size: int  # elements
    dtype: np.dtype


class ThreadNeeds(NamedTuple):
    """What a thread of a loaded function takes."""

    registers: int
    local_bytes: int


class Grid(NamedTuple):
    """The shape of a launch."""

    blocks: int
    threads: int
    shared_bytes: int


class Driver(ABC):
    """One device. Streams, events and functions are handles that only the driver understands.

    All methods may raise `DriverFault`.
    """

    facts: DeviceFacts

    @abstractmethod
    def enter(self) -> Any:
        """Let the calling thread use the device; return what it used before."""

    @abstractmethod
    def leave(self, before: Any) -> None:
        """Let the calling thread use what it used before."""

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Let the calling thread use the device for a while: others may have chosen another."""
        before = self.enter()
        try:
            yield
        finally:
            self.leave(before)

    @abstractmethod
    def free_bytes(self) -> int:
        """Return how much memory of the device can be had."""

    @abstractmethod
    def allocate(self, n_bytes: int) -> Address:
        """Return memory of the device, aligned to 256 bytes."""

    @abstractmethod
    def free(self, address: Address) -> None:
        """Give memory of the device back."""

    @abstractmethod
    def allocate_staging(self, n_bytes: int) -> np.ndarray:
        """Return bytes of the host that the device copies from and to by itself."""

    @abstractmethod
    def free_staging(self, memory: np.ndarray) -> None:
        """Give those back."""

    @abstractmethod
    def new_stream(self) -> Any:
        """Return a queue of work, which does not wait for other ones."""

    @abstractmethod
    def new_event(self) -> Any:
        """Return a mark to put into a stream."""

    @abstractmethod
    def destroy(self, handle: Any) -> None:
        """Give a stream or an event back."""

    @abstractmethod
    def finish(self, stream: Any) -> None:
        """Block until all work of a stream is done; the stream may be another library's."""

    @abstractmethod
    def copy_up(self, to: Address, staging: np.ndarray, stream: Any) -> None:
        """Begin to copy from the host."""

    @abstractmethod
    def copy_down(self, staging: np.ndarray, source: Address, stream: Any) -> None:
        """Begin to copy to the host."""

    @abstractmethod
    def fill(self, address: Address, byte: int, n_bytes: int, stream: Any) -> None:
        """Begin to write the same byte everywhere."""

    @abstractmethod
    def load(self, image: bytes, name: str, shared_bytes: int) -> Any:
        """Return the function of that name in assembled code, for launches with so much shared."""

    @abstractmethod
    def thread_needs(self, function: Any) -> ThreadNeeds | None:
        """Return what a thread of a function takes; None where nothing tells."""

    @abstractmethod
    def blocks_at_once(self, function: Any, threads: int, shared_bytes: int) -> int:
        """Return how many blocks of a launch a multiprocessor works on together."""

    @abstractmethod
    def launch(
        self, function: Any, grid: Grid, n_runs: int, arguments: Sequence[Argument], stream: Any
    ) -> None:
        """Begin to run a function over ``(n_runs, *arguments)``."""

    @abstractmethod
    def record(self, event: Any, stream: Any) -> None:
        """Put a mark behind all work of a stream so far."""

    @abstractmethod
    def wait(self, event: Any) -> None:
        """Block until a mark is reached."""

    @abstractmethod
    def seconds_between(self, first: Any, last: Any) -> float:
        """Return how much later the second of two marks was reached."""
