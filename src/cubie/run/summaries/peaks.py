"""Peaks: where a quantity rises and then falls."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from attrs import field, frozen

from cubie.backend import any_lane, rounded_difference, select
from cubie.run.summaries.checks import a_count, a_number, a_size
from cubie.run.summaries.kinds import Peaks, Summary, counted

# Slots before the times and values of peaks.
MODE, BEST, WHEN, COUNT, FIRST = range(5)


@frozen
class peaks(Summary):
    """The first peaks, and how many there are.

    A peak is the highest value between a rise and a fall, each of more than `prominence`: what
    a trace's noise adds is left out. The start and the end of a run are none.

    Parameters
    ----------
    k : int
        How many are kept, with time and value.
    height : float
        Lower ones do not count (of negative peaks: higher ones).
    prominence : float
        See above; 0 or more.
    """

    name = "peaks"
    k: int = field(default=10, validator=a_count(0))
    height: float = field(default=None, validator=a_number(optional=True))
    prominence: float = field(default=0.0, validator=a_size)
    sign: ClassVar[float] = 1.0

    @property
    def n_slots(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return FIRST + 2 * self.k

    def build_start(self, backend):
        zero, sign = backend.constant(0.0), backend.constant(self.sign)

        def start(slots, at, mask, piece):
            slots[at + MODE] = select(mask, zero, slots[at + MODE])
            slots[at + BEST] = select(mask, sign * piece.c0, slots[at + BEST])
            slots[at + WHEN] = select(mask, piece.start, slots[at + WHEN])
            slots[at + COUNT] = select(mask, zero, slots[at + COUNT])

        return start

    def build_update(self, backend):
        sign, point = backend.constant(self.sign), self._build_point(backend)

        def update(slots, at, mask, piece):
            # Monotone between its turning points: nothing is missed between these.
            start, length = piece.start, piece.length
            point(slots, at, mask, start + piece.turn1 * length, sign * piece.at_turn1)
            point(slots, at, mask, start + piece.turn2 * length, sign * piece.at_turn2)
            point(slots, at, mask, start + length, sign * piece.end)

        return update

    def _build_point(self, backend):
        """Return the function that goes on to the next turning point.

        MODE is 1 while it rises, -1 while it falls, 0 before either; BEST and WHEN are the
        highest point of the rise, or the lowest of the fall.
        """
        zero, one = backend.constant(0.0), backend.constant(1.0)
        enough = backend.constant(self.prominence)
        keep = self._build_keep(backend)

        def point(slots, at, mask, time, value):
            mode, best = slots[at + MODE], slots[at + BEST]
            # Rounded as they are: fast-math would take the sum apart that `value` is.
            falls = rounded_difference(best, value) > enough
            rises = rounded_difference(value, best) > enough
            # Before either, the start stays what rise and fall are counted from.
            ends_rise = mask & (mode > zero) & falls
            keep(slots, at, ends_rise)
            starts_rise = mask & (mode <= zero) & rises
            starts_fall = mask & (mode >= zero) & falls
            onward = ((mode > zero) & (value > best)) | ((mode < zero) & (value < best))
            moves = starts_rise | starts_fall | (mask & onward)
            slots[at + BEST] = select(moves, value, best)
            slots[at + WHEN] = select(moves, time, slots[at + WHEN])
            slots[at + MODE] = select(starts_rise, one, select(starts_fall, -one, mode))

        return backend.device(point)

    def _build_keep(self, backend):
        """Return the function that keeps a peak, in the lanes where there is one."""
        sign, one, k = backend.constant(self.sign), backend.constant(1.0), self.k
        anything = -float(np.finfo(backend.dtype).max)
        given = anything if self.height is None else self.sign * self.height
        height = backend.constant(given)
        store = backend.device(_build_store(backend, k, sign))

        def keep(slots, at, mask):
            there = mask & (slots[at + BEST] >= height)
            if any_lane(there):
                count = slots[at + COUNT]
                store(slots, at, there, count)
                slots[at + COUNT] = select(there, count + one, count)

        return backend.device(keep)

    def result(self, slots, clock):
        times, values = slots[FIRST : FIRST + self.k], slots[FIRST + self.k :]
        kept = np.arange(self.k)[:, None] < slots[COUNT]
        times, values = np.where(kept, clock.time(times), np.nan), np.where(kept, values, np.nan)
        return Peaks(counted(slots[COUNT]), times.T, values.T)


def _build_store(backend, k, sign):
    first, zero, one = FIRST, backend.constant(0.0), backend.constant(1.0)
    when, best = WHEN, BEST

    def store(slots, at, there, count):
        number = zero
        for i in range(k):
            this, time = there & (count == number), at + first + i
            slots[time] = select(this, slots[at + when], slots[time])
            slots[time + k] = select(this, sign * slots[at + best], slots[time + k])
            number = number + one

    return store


@frozen
class negative_peaks(peaks):
    """The first troughs: peaks of what is turned upside down."""

    name = "negative_peaks"
    sign = -1.0


@frozen
class NPeaks(peaks):
    """How many peaks there are."""

    name = "n_peaks"
    k: int = field(default=0, init=False)

    def result(self, slots: np.ndarray, clock: Any) -> Any:
        return counted(slots[COUNT])
