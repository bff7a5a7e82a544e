"""What a driver reports, as an error that says what to do."""

from __future__ import annotations

from typing import NamedTuple

from cubie.backend.device.driver import Driver, DriverFault, Fault, Grid
from cubie.backend.device.global_memory import bytes_of_threads
from cubie.backend.portions import Portions
from cubie.errors import CubieError, DeviceLost, DeviceOutOfMemory, LaunchTimedOut, LaunchTooLarge


class Asked(NamedTuple):
    """What was to be solved when a driver failed."""

    portions: Portions
    grid: Grid
    sliced: bool = False  # launches end in the middle of runs
    global_bytes: int = 0  # of global memory for each thread


def told(fault: DriverFault, driver: Driver, asked: Asked) -> CubieError:
    """Return the error that says what happened."""
    name = driver.facts.name
    if fault.fault is Fault.OUT_OF_MEMORY:
        return _out_of_memory(fault, driver, asked)
    if fault.fault is Fault.TOO_LARGE:
        grid = asked.grid
        return LaunchTooLarge(
            f"A block of {grid.threads} runs with {grid.shared_bytes:,} B of shared memory cannot "
            f"be launched on {name} ({fault.code}): it has not so many registers, or not so much "
            "memory for the threads' stacks. Use a smaller block_size, dtype='float32', or a "
            "method with fewer buffers."
        )
    if fault.fault is Fault.TIMEOUT:
        return LaunchTimedOut(
            f"{name} also drives a display, whose watchdog ended a launch that took seconds "
            f"({fault.code}). {TOO_LONG_A_STEP if asked.sliced else TOO_LONG_A_RUN} or solve on a "
            f"device without a display or without its watchdog. {AFTER_LOSS}"
        )
    if fault.fault is Fault.LOST:
        return DeviceLost(
            f"{name} was lost while it solved ({fault.code}): a fault of memory or hardware, a "
            "reset of the driver, or code that went wrong. " + AFTER_LOSS
        )
    return DeviceLost(f"The driver of {name} reports {fault.code}, which nothing here expects.")


TOO_LONG_A_RUN = (
    "A batch is divided into launches that are short, but a run is not: let launches end in the "
    "middle of runs (`time_slices=True`, without `refill`), divide `t_span`,"
)
TOO_LONG_A_STEP = (
    "A launch makes at least one attempt at a step in each run of a portion: solve fewer runs, "
    "take a method with fewer stages, or one that is explicit,"
)
AFTER_LOSS = (
    "Nothing more runs on it in this process, whoever asks: start another one, or solve with "
    "backend='cpu'."
)


def _out_of_memory(fault: DriverFault, driver: Driver, asked: Asked) -> CubieError:
    portions, name = asked.portions, driver.facts.name
    needed = int(portions.fixed_bytes + portions.run_bytes)
    what_for = "inputs and outputs"
    if asked.global_bytes:
        needed += bytes_of_threads(asked.grid.threads, asked.global_bytes)
        what_for = f"inputs, outputs and buffers in global memory (of {asked.grid.threads} threads)"
    try:
        free = driver.free_bytes()
    except DriverFault:
        free = 0
    if portions.divisible:
        what, remedy = "A single run of the batch", ""
    else:
        what = f"The batch of {portions.n_runs:,} runs, which stays on the device,"
        remedy = " fewer runs, results on the host (without `on_device`),"
    return DeviceOutOfMemory(
        f"{what} takes {needed:,} B of {what_for} on {name}, which has {free:,} B free of "
        f"{driver.facts.total_bytes:,} B, and memory for the stacks of its threads besides "
        f"({fault.code}). Ask for{remedy} fewer times in `t_eval`, numbers of half the size "
        "(dtype='float32'), or let other programs, and solvers that are not used (`close()`), "
        "give memory back.",
        needed,
        free,
    )
