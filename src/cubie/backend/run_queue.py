"""The queue of runs that the workers of a launch share, and how a launch is called off."""

from __future__ import annotations

import ctypes

import numpy as np

# A cache line of its own for each: the number is changed often, the flag looked at often.
LINE_BYTES = 64
STOP_BYTES = LINE_BYTES  # where the flag lies


class RunQueue:
    """Numbers of runs, handed out in order.

    Attributes
    ----------
    address : int
        Of the next run's number (int64), and `STOP_BYTES` further the flag (int64) that is not
        zero once the launch is called off: workers then end the runs they have, and take no more.
    """

    def __init__(self):
        self._memory = np.zeros(3 * LINE_BYTES, np.uint8)
        self.address = -(-self._memory.ctypes.data // LINE_BYTES) * LINE_BYTES
        self._next = ctypes.c_int64.from_address(self.address)
        self._stop = ctypes.c_int64.from_address(self.address + STOP_BYTES)

    def begin(self) -> None:
        """Hand out all runs anew."""
        self._next.value = 0
        self._stop.value = 0

    def call_off(self) -> None:
        """Ask the workers to stop at their next step."""
        self._stop.value = 1

    @property
    def called_off(self) -> bool:
        """Whether workers were asked to stop."""
        return self._stop.value != 0

    @property
    def n_taken(self) -> int:
        """How many runs were handed out, or more: workers also ask when none is left."""
        return self._next.value
