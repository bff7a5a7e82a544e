"""A portion in slices: launches that follow each other until all of its runs are over.

How many attempts a run makes in each is found out: the first makes one, and then as many as take
a quarter of a second.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from attrs import frozen

from cubie.backend.arrays import ALIGNMENT
from cubie.backend.device.driver import Address, Argument, Driver
from cubie.backend.device.sizing import FASTEST_GROWTH, LAUNCH_SECONDS
from cubie.backend.device.transfers import Download, Segment, upload
from cubie.backend.device.workspace import Slot
from cubie.backend.slices import ATTEMPTS, GOES_ON, HEADER, UNFINISHED, KeptPerRun

FIRST_ATTEMPTS = 1
MOST_ATTEMPTS = 2**28
WHOLE = np.dtype(np.int32)


@frozen
class Slices:
    """What is kept of runs between launches, as it lies in a block of memory.

    Parameters
    ----------
    kept : KeptPerRun
    dtype : dtype
        Of runs.
    """

    kept: KeptPerRun
    dtype: np.dtype

    @property
    def run_bytes(self) -> int:
        """Bytes of each run."""
        return self.kept.whole * WHOLE.itemsize + self.kept.reals * self.dtype.itemsize

    def size(self, n_runs: int) -> int:
        """Bytes of a portion."""
        return HEADER * WHOLE.itemsize + ALIGNMENT + n_runs * self.run_bytes

    def arguments(self, block: Address, n_runs: int) -> list[Argument]:
        """Return the arrays as a kernel takes them: `KeptState`."""
        n_reals, n_whole = self.kept.reals * n_runs, HEADER + self.kept.whole * n_runs
        begin = -(-n_whole * WHOLE.itemsize // ALIGNMENT) * ALIGNMENT
        return [Argument(block + begin, n_reals, self.dtype), Argument(block, n_whole, WHOLE)]


class SlicedLaunch:
    """Launches until all runs of a portion are over.

    Parameters
    ----------
    driver : Driver
    slices : Slices
    """

    def __init__(self, driver: Driver, slices: Slices):
        self._driver, self._slices = driver, slices
        self._attempts = FIRST_ATTEMPTS

    def run(self, slot: Slot, n_runs: int, launch: Callable[[list[Argument]], None]) -> float:
        """Solve a portion; blocks until its runs are over, and returns the seconds of all launches.

        ``launch(more)`` begins one with further arguments, behind all work of the slot's stream.
        """
        driver, stream = self._driver, slot.stream
        block = slot.kept.reserve(self._slices.size(n_runs))
        more = self._slices.arguments(block, n_runs)
        header, seconds = np.zeros(HEADER, WHOLE), 0.0
        while True:
            header[UNFINISHED], header[ATTEMPTS] = 0, self._attempts
            upload(driver, slot.up, block, [Segment(0, header)], stream)
            driver.record(slot.begun, stream)
            launch(more)
            driver.record(slot.ended, stream)
            Download(driver, slot.down, block, [Segment(0, header)], stream).finish()
            took = driver.seconds_between(slot.begun, slot.ended)
            seconds += took
            self._learn(took)
            if not header[UNFINISHED]:
                return seconds
            header[GOES_ON] = 1

    def _learn(self, seconds: float) -> None:
        growth = min(FASTEST_GROWTH, LAUNCH_SECONDS / seconds) if seconds > 0 else FASTEST_GROWTH
        self._attempts = min(MOST_ATTEMPTS, max(1, int(self._attempts * growth)))
