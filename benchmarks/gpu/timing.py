"""Seconds of kernels apart from transfers: events around every launch that numba-cuda makes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from attrs import Factory, define, field

from cubie import Result
from cubie.backend.machine import cuda_is_simulated


@define
class KernelClock:
    """What launches took since the last `take`, and what the kernel launched last needs.

    Attributes
    ----------
    registers, local_bytes : int or None
        Of a thread, as the driver tells them; None where nothing was launched.
    """

    _events: list[tuple[Any, Any]] = field(default=Factory(list), init=False)
    registers: int | None = field(default=None, init=False)
    local_bytes: int | None = field(default=None, init=False)

    def record(self, kernel: Any, launch: Callable[[], Any], stream: Any) -> Any:
        """Launch between two events."""
        from numba import cuda

        before, after = cuda.event(), cuda.event()
        before.record(stream)
        result = launch()
        after.record(stream)
        self._events.append((before, after))
        self.registers = kernel.regs_per_thread
        self.local_bytes = kernel.local_mem_per_thread
        return result

    def take(self) -> float | None:
        """Return the seconds of all launches since the last call, None where there were none."""
        from numba import cuda

        if not self._events:
            return None
        milliseconds = 0.0
        for before, after in self._events:
            after.synchronize()
            milliseconds += cuda.event_elapsed_time(before, after)
        self._events.clear()
        return milliseconds / 1000.0


@contextmanager
def kernel_clock() -> Iterator[KernelClock]:
    """Time what numba-cuda launches meanwhile; under the simulator nothing is timed."""
    clock = KernelClock()
    if cuda_is_simulated():
        yield clock
        return
    from numba.cuda import dispatcher

    # numba-cuda has no hook around a launch. `_Kernel.launch` is what every launch goes through.
    own = dispatcher._Kernel.launch

    def timed(self, args, griddim, blockdim, stream=0, sharedmem=0):
        return clock.record(
            self, lambda: own(self, args, griddim, blockdim, stream, sharedmem), stream
        )

    dispatcher._Kernel.launch = timed
    try:
        yield clock
    finally:
        dispatcher._Kernel.launch = own


@define
class Timed:
    """Repeated solves of one batch.

    Attributes
    ----------
    result : Result
        Of the last one.
    first_seconds : float
        The first solve, with planning and compilation.
    solve_seconds : list of float
        Whole solves after it, with transfers, by the host's clock.
    kernel_seconds : list of float, or None
        Their kernels; None where nothing tells, as under the simulator.
    kernel_seconds_by : {"solver", "events"} or None
        What told: the solver's own result, or events around numba-cuda's launches.
    registers, local_bytes : int or None
    """

    result: Result
    first_seconds: float
    solve_seconds: list[float]
    kernel_seconds: list[float] | None
    kernel_seconds_by: str | None
    registers: int | None
    local_bytes: int | None

    def row(self) -> dict[str, Any]:
        """Return what a row tells of the times."""
        return {
            "first_solve_seconds": self.first_seconds,
            "solve_seconds": self.solve_seconds,
            "kernel_seconds": self.kernel_seconds,
            "kernel_seconds_by": self.kernel_seconds_by,
            "registers": self.registers,
            "local_bytes": self.local_bytes,
        }


def time_solves(solve: Callable[[], Result], repeats: int) -> Timed:
    """Solve once to compile and load, then `repeats` times for the clock."""
    with kernel_clock() as clock:
        started = time.perf_counter()
        result = solve()
        first = time.perf_counter() - started
        clock.take()
        whole, by_events, told = [], [], []
        for _ in range(repeats):
            started = time.perf_counter()
            result = solve()
            whole.append(time.perf_counter() - started)
            by_events.append(clock.take())
            # What a simulated kernel took is no time of a kernel.
            told.append(None if cuda_is_simulated() else getattr(result, "kernel_seconds", None))
    by = "solver" if all(told) else "events" if None not in by_events else None
    seconds = {"solver": told, "events": by_events, None: None}[by]
    return Timed(result, first, whole, seconds, by, clock.registers, clock.local_bytes)
