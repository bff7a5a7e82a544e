"""Levels: when a quantity crosses one, and how long it is above it."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from attrs import field, frozen

from cubie.backend import any_lane, select
from cubie.run.summaries.checks import a_count, a_direction, a_number
from cubie.run.summaries.cubic import build_meet
from cubie.run.summaries.integrals import build_add, build_clear
from cubie.run.summaries.kinds import Crossings, Summary, counted

# Slots before the times of crossings.
SIDE, COUNT, FIRST = range(3)


def _build_along(backend, segment):
    """Return the function that goes along the monotone segments of a piece.

    ``segment(slots, at, mask, piece, low, from_value, high, to_value)``, from u = low to high.
    """
    zero, one = backend.constant(0.0), backend.constant(1.0)
    segment = backend.device(segment)

    def along(slots, at, mask, piece):
        turn1, turn2, there1, there2 = piece.turn1, piece.turn2, piece.at_turn1, piece.at_turn2
        segment(slots, at, mask, piece, turn1 * zero, piece.c0, turn1, there1)
        segment(slots, at, mask, piece, turn1, there1, turn2, there2)
        segment(slots, at, mask, piece, turn2, there2, turn2 * zero + one, piece.end)

    return along


@frozen
class crossings(Summary):
    """How often a quantity crosses a level, and when it does first.

    To touch the level and turn back is no crossing.

    Parameters
    ----------
    level : float
    direction : {"both", "up", "down"}
    k : int
        How many times are kept.
    """

    name = "crossings"
    level: float = field(validator=a_number())
    direction: str = field(default="both", validator=a_direction)
    k: int = field(default=10, validator=a_count(0))

    @property
    def n_slots(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return FIRST + self.k

    def build_start(self, backend):
        zero, one = backend.constant(0.0), backend.constant(1.0)
        level = backend.constant(self.level)

        def start(slots, at, mask, piece):
            side = select(piece.c0 > level, one, select(piece.c0 < level, -one, zero))
            slots[at + SIDE] = select(mask, side, slots[at + SIDE])
            slots[at + COUNT] = select(mask, zero, slots[at + COUNT])

        return start

    def build_update(self, backend):
        zero, one = backend.constant(0.0), backend.constant(1.0)
        level, meet = backend.constant(self.level), build_meet(backend)
        up, down = self.direction != "down", self.direction != "up"
        highest = backend.constant(1.0 if up else -1.0)
        lowest = backend.constant(-1.0 if down else 1.0)
        store = backend.device(_build_store(backend, self.k))

        def segment(slots, at, mask, piece, low, from_value, high, to_value):
            side = slots[at + SIDE]
            new = select(to_value > level, one, select(to_value < level, -one, zero))
            crossed = mask & (side * new < zero) & ((new == highest) | (new == lowest))
            if any_lane(crossed):
                u = meet(piece, crossed, low, high, level, new > zero)
                count = slots[at + COUNT]
                store(slots, at, crossed, count, piece.start + u * piece.length)
                slots[at + COUNT] = select(crossed, count + one, count)
            slots[at + SIDE] = select(mask & (new != zero), new, side)

        return _build_along(backend, segment)

    def result(self, slots, clock):
        kept = np.arange(self.k)[:, None] < slots[COUNT]
        times = np.where(kept, clock.time(slots[FIRST:]), np.nan)
        return Crossings(counted(slots[COUNT]), times.T)


def _build_store(backend, k):
    first, zero, one = FIRST, backend.constant(0.0), backend.constant(1.0)

    def store(slots, at, there, count, time):
        number = zero
        for i in range(k):
            place = at + first + i
            slots[place] = select(there & (count == number), time, slots[place])
            number = number + one

    return store


@frozen
class time_above(Summary):
    """How long a quantity is above a level.

    Parameters
    ----------
    level : float
    """

    name = "time_above"
    level: float = field(validator=a_number())
    n_slots: ClassVar[int] = 2
    lasts = True

    def build_start(self, backend):
        return build_clear(backend, 2)

    def build_update(self, backend):
        zero, level = backend.constant(0.0), backend.constant(self.level)
        meet, add = build_meet(backend), build_add(backend)

        def segment(slots, at, mask, piece, low, from_value, high, to_value):
            above_first, above_last = from_value > level, to_value > level
            part = select(above_first & above_last, high - low, zero)
            crossed = mask & ((above_first & ~above_last) | (above_last & ~above_first))
            if any_lane(crossed):
                u = meet(piece, crossed, low, high, level, above_last)
                part = select(crossed, select(above_last, high - u, u - low), part)
            add(slots, at, mask, part * piece.length)

        return _build_along(backend, segment)
