"""The summaries there are, each a few numbers per run that every piece of the solution updates.

A summary of one's own is a frozen attrs class like these: a subclass of `Summary`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np
from attrs import frozen

from cubie.backend import (
    Backend,
    absolute,
    maximum,
    minimum,
    select,
)


class Clock(NamedTuple):
    """What turns times from the start of a run, which summaries hold, into times of the user."""

    start: Any  # a number, or (n_runs,), as the direction
    direction: Any  # 1 or -1

    def time(self, elapsed: np.ndarray) -> np.ndarray:
        """Return times, in double precision; those that were never written may be anything."""
        with np.errstate(invalid="ignore"):
            return self.start + self.direction * np.asarray(elapsed, dtype=float)


class Peaks(NamedTuple):
    """How many peaks runs have, and the first of them; NaN where a run has fewer."""

    count: Any  # int, or (n_runs,)
    times: Any  # (k,), or (n_runs, k)
    values: Any  # (k,), or (n_runs, k)


class Crossings(NamedTuple):
    """How often runs met a level, and when they did first; NaN where a run has fewer."""

    count: Any  # int, or (n_runs,)
    times: Any  # (k,), or (n_runs, k)


@frozen
class Summary:
    """Base of all summaries: a few numbers (*slots*) per run, and what to do with them.

    The device functions read and write ``slots[at + i]``, for i below `n_slots`, and change them
    only in the lanes of the mask that they are given: `select(mask, new, old)`. They use numbers
    of `backend.constant`, arithmetic, and what `cubie.backend` has (`select`, `maximum`, ...).

    Attributes
    ----------
    name : str
        Under which the result is found.
    n_slots : int
        How many numbers of a run it needs; a property where that depends on its parameters.
    lasts : bool
        It grows for as long as a quantity at rest goes on, and so has no value for a run that gets
        to an infinite end.
    """

    name: ClassVar[str]
    n_slots: ClassVar[Any] = 1
    lasts: ClassVar[bool] = False

    def build_start(self, backend: Backend) -> Callable:
        """Return ``start(slots, at, mask, piece)``, called with the first `Piece` of a run."""
        raise NotImplementedError

    def build_update(self, backend: Backend) -> Callable:
        """Return ``update(slots, at, mask, piece)``, called with every `Piece`, the first too."""
        raise NotImplementedError

    def build_finish(self, backend: Backend) -> Callable:
        """Return ``finish(slots, at, mask)``, called when runs are over."""
        return nothing

    def result(self, slots: np.ndarray, clock: Clock) -> Any:
        """Return what the user gets, from the slots of all runs (n_slots, n_runs) in float64.

        They are NaN where a run has no piece.
        """
        return slots[0]


def nothing(slots, at, mask):
    """Finish a summary whose slots are what is asked for."""


def counted(numbers: np.ndarray) -> np.ndarray:
    """Return counts, which slots hold as floats, as ints; 0 where a run has no piece."""
    return np.nan_to_num(numbers).astype(np.int64)


# ---- extremes of the value ----------------------------------------------------------


def build_set(backend: Backend, values: Callable) -> Callable:
    """Return a `start` that sets as many slots as ``values(piece)`` returns."""
    values = backend.device(values)

    def start(slots, at, mask, piece):
        found = values(piece)
        for i in range(len(found)):
            slots[at + i] = select(mask, found[i], slots[at + i])

    return start


def build_widen(backend: Backend, bounds: Callable) -> Callable:
    """Return an `update` of the smallest and the largest value, in two slots.

    ``bounds(piece)`` returns those of a piece.
    """
    bounds = backend.device(bounds)

    def update(slots, at, mask, piece):
        lowest, highest = bounds(piece)
        slots[at] = select(mask, minimum(lowest, slots[at]), slots[at])
        slots[at + 1] = select(mask, maximum(highest, slots[at + 1]), slots[at + 1])

    return update


def _lowest(piece):
    return minimum(minimum(piece.at_turn1, piece.at_turn2), piece.end)


def _highest(piece):
    return maximum(maximum(piece.at_turn1, piece.at_turn2), piece.end)


def _value(piece):
    return (piece.c0,)


def _value_twice(piece):
    return piece.c0, piece.c0


def _start_and_value(piece):
    return piece.start, piece.c0


def _magnitude(piece):
    return (absolute(piece.c0),)


@frozen
class Maximum(Summary):
    """The largest value."""

    name = "max"

    def build_start(self, backend):
        return build_set(backend, _value)

    def build_update(self, backend):
        largest = backend.device(_highest)

        def update(slots, at, mask, piece):
            slots[at] = select(mask, maximum(largest(piece), slots[at]), slots[at])

        return update


@frozen
class Minimum(Maximum):
    """The smallest value."""

    name = "min"

    def build_update(self, backend):
        smallest = backend.device(_lowest)

        def update(slots, at, mask, piece):
            slots[at] = select(mask, minimum(smallest(piece), slots[at]), slots[at])

        return update


@frozen
class Extrema(Summary):
    """The smallest and the largest value: (2,), or (n_runs, 2)."""

    name = "extrema"
    n_slots = 2

    def build_start(self, backend):
        return build_set(backend, _value_twice)

    def build_update(self, backend):
        smallest, largest = backend.device(_lowest), backend.device(_highest)

        def bounds(piece):
            return smallest(piece), largest(piece)

        return build_widen(backend, bounds)

    def result(self, slots, clock):
        return slots.T


@frozen
class MaxMagnitude(Summary):
    """The largest absolute value."""

    name = "max_magnitude"

    def build_start(self, backend):
        return build_set(backend, _magnitude)

    def build_update(self, backend):
        def update(slots, at, mask, piece):
            turns = maximum(absolute(piece.at_turn1), absolute(piece.at_turn2))
            highest = maximum(turns, absolute(piece.end))
            slots[at] = select(mask, maximum(highest, slots[at]), slots[at])

        return update


@frozen
class ArgMax(Summary):
    """The time of the largest value: the first, if there are several."""

    name = "argmax"
    n_slots = 2
    sign: ClassVar[float] = 1.0

    def build_start(self, backend):
        return build_set(backend, _start_and_value)

    def build_update(self, backend):
        sign, one = backend.constant(self.sign), backend.constant(1.0)

        def update(slots, at, mask, piece):
            better = sign * piece.at_turn2 > sign * piece.at_turn1
            u = select(better, piece.turn2, piece.turn1)
            best = select(better, piece.at_turn2, piece.at_turn1)
            better = sign * piece.end > sign * best
            u, best = select(better, one, u), select(better, piece.end, best)
            better = mask & (sign * best > sign * slots[at + 1])
            slots[at] = select(better, piece.start + u * piece.length, slots[at])
            slots[at + 1] = select(better, best, slots[at + 1])

        return update

    def result(self, slots, clock):
        return clock.time(slots[0])


@frozen
class ArgMin(ArgMax):
    """The time of the smallest value: the first, if there are several."""

    name = "argmin"
    sign = -1.0


@frozen
class Final(Summary):
    """The last value."""

    name = "final"

    def build_start(self, backend):
        return build_set(backend, _value)

    def build_update(self, backend):
        def update(slots, at, mask, piece):
            slots[at] = select(mask, piece.end, slots[at])

        return update
