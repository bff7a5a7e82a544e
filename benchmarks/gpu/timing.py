"""Seconds of solves, and of their kernels apart from transfers, as the solver tells them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from attrs import define

from cubie import Result, Solver
from cubie.backend.machine import cuda_is_simulated


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
        Their kernels, by events around the launches; None under the simulator, and on a CPU.
    registers, local_bytes : int or None
        Of a thread, as the driver tells them; None where there is none.
    """

    result: Result
    first_seconds: float
    solve_seconds: list[float]
    kernel_seconds: list[float] | None
    registers: int | None
    local_bytes: int | None

    def row(self) -> dict[str, Any]:
        """Return what a row tells of the times."""
        return {
            "first_solve_seconds": self.first_seconds,
            "solve_seconds": self.solve_seconds,
            "kernel_seconds": self.kernel_seconds,
            "registers": self.registers,
            "local_bytes": self.local_bytes,
        }


def time_solves(solver: Solver, solve: Callable[[], Result], repeats: int) -> Timed:
    """Solve once to compile and load, then `repeats` times for the clock; `solver` does it."""
    started = time.perf_counter()
    result = solve()
    first = time.perf_counter() - started
    whole, told = [], []
    for _ in range(repeats):
        started = time.perf_counter()
        result = solve()
        whole.append(time.perf_counter() - started)
        told.append(result.kernel_seconds)
    # What a simulated kernel took is no time of a kernel.
    on_device = solver.kernel.backend.has_own_memory and not cuda_is_simulated()
    registers, local_bytes = solver.kernel.compiled.thread_needs or (None, None)
    return Timed(result, first, whole, told if on_device else None, registers, local_bytes)
