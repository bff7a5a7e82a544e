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
    rounded_difference,
    rounded_sum,
    select,
    square_root,
)


class Clock(NamedTuple):
    """What turns times from the start of a run, which summaries hold, into times of the user."""

    start: float
    direction: float  # 1 or -1

    def time(self, elapsed: np.ndarray) -> np.ndarray:
        """Return times, in double precision; those that were never written may be anything."""
        with np.errstate(invalid="ignore"):
            return self.start + self.direction * np.asarray(elapsed, dtype=float)


class Peaks(NamedTuple):
    """The first peaks of runs; NaN where a run has fewer."""

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
    """

    name: ClassVar[str]

    @property
    def n_slots(self) -> int:
        """How many numbers of a run it needs."""
        return 1

    def build_start(self, backend: Backend) -> Callable:
        """Return ``start(slots, at, mask, piece)``, called with the first `Piece` of a run."""
        raise NotImplementedError

    def build_update(self, backend: Backend) -> Callable:
        """Return ``update(slots, at, mask, piece)``, called with every `Piece`, the first too."""
        raise NotImplementedError

    def build_finish(self, backend: Backend) -> Callable:
        """Return ``finish(slots, at, mask)``, called when runs are over."""
        return _nothing

    def result(self, slots: np.ndarray, clock: Clock) -> Any:
        """Return what the user gets, from the slots of all runs (n_slots, n_runs) in float64.

        They are NaN where a run has no piece.
        """
        return slots[0]


def _nothing(slots, at, mask):
    pass


def counted(numbers: np.ndarray) -> np.ndarray:
    """Return counts, which slots hold as floats, as ints; 0 where a run has no piece."""
    return np.nan_to_num(numbers).astype(np.int64)


# ---- extremes of the value ----------------------------------------------------------


@frozen
class Maximum(Summary):
    """The largest value."""

    name = "max"

    def build_start(self, backend):
        def start(slots, at, mask, piece):
            slots[at] = select(mask, piece.c0, slots[at])

        return start

    def build_update(self, backend):
        def update(slots, at, mask, piece):
            highest = maximum(maximum(piece.at_turn1, piece.at_turn2), piece.end)
            slots[at] = select(mask, maximum(highest, slots[at]), slots[at])

        return update


@frozen
class Minimum(Maximum):
    """The smallest value."""

    name = "min"

    def build_update(self, backend):
        def update(slots, at, mask, piece):
            lowest = minimum(minimum(piece.at_turn1, piece.at_turn2), piece.end)
            slots[at] = select(mask, minimum(lowest, slots[at]), slots[at])

        return update


@frozen
class Extrema(Summary):
    """The smallest and the largest value: (2,), or (n_runs, 2)."""

    name = "extrema"
    n_slots = 2

    def build_start(self, backend):
        def start(slots, at, mask, piece):
            slots[at] = select(mask, piece.c0, slots[at])
            slots[at + 1] = select(mask, piece.c0, slots[at + 1])

        return start

    def build_update(self, backend):
        def update(slots, at, mask, piece):
            lowest = minimum(minimum(piece.at_turn1, piece.at_turn2), piece.end)
            highest = maximum(maximum(piece.at_turn1, piece.at_turn2), piece.end)
            slots[at] = select(mask, minimum(lowest, slots[at]), slots[at])
            slots[at + 1] = select(mask, maximum(highest, slots[at + 1]), slots[at + 1])

        return update

    def result(self, slots, clock):
        return slots.T


@frozen
class MaxMagnitude(Maximum):
    """The largest absolute value."""

    name = "max_magnitude"

    def build_start(self, backend):
        def start(slots, at, mask, piece):
            slots[at] = select(mask, absolute(piece.c0), slots[at])

        return start

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
        def start(slots, at, mask, piece):
            slots[at] = select(mask, piece.start, slots[at])
            slots[at + 1] = select(mask, piece.c0, slots[at + 1])

        return start

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
        def start(slots, at, mask, piece):
            slots[at] = select(mask, piece.c0, slots[at])

        return start

    def build_update(self, backend):
        def update(slots, at, mask, piece):
            slots[at] = select(mask, piece.end, slots[at])

        return update


# ---- integrals ------------------------------------------------------------------------


def build_add(backend: Backend) -> Callable:
    """Return ``add(slots, at, mask, x)``: a compensated sum in two slots."""

    def add(slots, at, mask, x):
        step = rounded_sum(x, slots[at + 1])
        total = rounded_sum(slots[at], step)
        lost = rounded_difference(step, rounded_difference(total, slots[at]))
        slots[at] = select(mask, total, slots[at])
        slots[at + 1] = select(mask, lost, slots[at + 1])

    return backend.device(add)


def build_clear(backend: Backend, n: int) -> Callable:
    """Return a `start` that sets n slots to zero."""
    zero = backend.constant(0.0)

    def start(slots, at, mask, piece):
        for i in range(n):
            slots[at + i] = select(mask, zero, slots[at + i])

    return start


def _build_mean(backend: Backend) -> Callable:
    """Return ``mean(piece)``: the mean of a piece over its duration."""
    half, third, fourth = (backend.constant(1.0 / k) for k in (2, 3, 4))

    def mean(piece):
        return piece.c0 + half * piece.c1 + third * piece.c2 + fourth * piece.c3

    return backend.device(mean)


@frozen
class Integral(Summary):
    """The integral over time."""

    name = "integral"
    n_slots = 2

    def build_start(self, backend):
        return build_clear(backend, 2)

    def build_update(self, backend):
        add, mean = build_add(backend), _build_mean(backend)

        def update(slots, at, mask, piece):
            add(slots, at, mask, piece.length * mean(piece))

        return update

    def result(self, slots, clock):
        return clock.direction * slots[0]


@frozen
class Mean(Summary):
    """The mean over time."""

    name = "mean"

    def build_start(self, backend):
        return build_clear(backend, 1)

    def build_update(self, backend):
        mean = _build_mean(backend)

        def update(slots, at, mask, piece):
            moved = slots[at] + piece.share * (mean(piece) - slots[at])
            slots[at] = select(mask, moved, slots[at])

        return update


@frozen
class Deviation(Summary):
    """The standard deviation over time: the root of the mean squared distance from the mean."""

    name = "std"
    n_slots = 2

    def build_start(self, backend):
        return build_clear(backend, 2)

    def build_update(self, backend):
        mean, one = _build_mean(backend), backend.constant(1.0)
        # The parts of a cubic along Legendre's polynomials on 0 <= u <= 1, and their mean squares.
        half, nine_20ths, sixth = (backend.constant(x) for x in (1 / 2, 9 / 20, 1 / 6))
        fourth, twentieth = backend.constant(1 / 4), backend.constant(1 / 20)
        third, fifth, seventh = (backend.constant(1.0 / k) for k in (3, 5, 7))

        def update(slots, at, mask, piece):
            share = piece.share
            p1 = half * piece.c1 + half * piece.c2 + nine_20ths * piece.c3
            p2 = sixth * piece.c2 + fourth * piece.c3
            p3 = twentieth * piece.c3
            variance = third * p1 * p1 + fifth * p2 * p2 + seventh * p3 * p3
            # Of two parts joined (Chan, Golub & LeVeque 1983).
            distance = mean(piece) - slots[at]
            between = share * (one - share) * distance * distance
            joined = slots[at + 1] + share * (variance - slots[at + 1]) + between
            slots[at] = select(mask, slots[at] + share * distance, slots[at])
            slots[at + 1] = select(mask, joined, slots[at + 1])

        return update

    def build_finish(self, backend):
        def finish(slots, at, mask):
            slots[at + 1] = select(mask, square_root(slots[at + 1]), slots[at + 1])

        return finish

    def result(self, slots, clock):
        return slots[1]


@frozen
class RootMeanSquare(Deviation):
    """The root of the mean square over time."""

    name = "rms"

    def build_finish(self, backend):
        def finish(slots, at, mask):
            square = slots[at] * slots[at] + slots[at + 1]
            slots[at + 1] = select(mask, square_root(square), slots[at + 1])

        return finish


# ---- derivatives --------------------------------------------------------------------


def _build_slopes(backend: Backend) -> Callable:
    """Return ``slopes(piece)``: the derivative at both ends, and where it turns between them."""
    zero, one, two, three = (backend.constant(float(k)) for k in range(4))

    def slopes(piece):
        c1, c2, c3 = piece.c1, piece.c2, piece.c3
        opposite = ((c2 < zero) & (c3 > zero)) | ((c2 > zero) & (c3 < zero))
        turns = opposite & (absolute(c2) < three * absolute(c3))
        u = select(turns, -c2, zero) / select(turns, three * c3, one)
        first = piece.per_time * c1
        last = piece.per_time * (c1 + two * c2 + three * c3)
        between = piece.per_time * (c1 + u * (two * c2 + u * three * c3))
        return first, between, last

    return backend.device(slopes)


def _build_curvatures(backend: Backend) -> Callable:
    """Return ``curvatures(piece)``: the second derivative at both ends; that at the start twice."""
    two, six = backend.constant(2.0), backend.constant(6.0)

    def curvatures(piece):
        factor = piece.per_time * piece.per_time
        first = factor * (two * piece.c2)
        return first, first, factor * (two * piece.c2 + six * piece.c3)

    return backend.device(curvatures)


@frozen
class DerivativeExtrema(Summary):
    """The smallest and the largest derivative by time: (2,), or (n_runs, 2)."""

    name = "derivative_extrema"
    n_slots = 2
    derivative: ClassVar[Callable] = staticmethod(_build_slopes)

    def build_start(self, backend):
        derivative = self.derivative(backend)

        def start(slots, at, mask, piece):
            first, _, _ = derivative(piece)
            slots[at] = select(mask, first, slots[at])
            slots[at + 1] = select(mask, first, slots[at + 1])

        return start

    def build_update(self, backend):
        derivative = self.derivative(backend)

        def update(slots, at, mask, piece):
            first, between, last = derivative(piece)
            lowest = minimum(minimum(first, last), between)
            highest = maximum(maximum(first, last), between)
            slots[at] = select(mask, minimum(lowest, slots[at]), slots[at])
            slots[at + 1] = select(mask, maximum(highest, slots[at + 1]), slots[at + 1])

        return update

    def result(self, slots, clock):
        return slots.T


@frozen
class DerivativeMin(DerivativeExtrema):
    """The smallest derivative by time."""

    name = "derivative_min"

    def result(self, slots, clock):
        return slots[0]


@frozen
class DerivativeMax(DerivativeExtrema):
    """The largest derivative by time."""

    name = "derivative_max"

    def result(self, slots, clock):
        return slots[1]


@frozen
class SecondDerivativeExtrema(DerivativeExtrema):
    """The smallest and the largest second derivative by time: (2,), or (n_runs, 2)."""

    name = "second_derivative_extrema"
    derivative = staticmethod(_build_curvatures)


@frozen
class SecondDerivativeMin(DerivativeMin):
    """The smallest second derivative by time."""

    name = "second_derivative_min"
    derivative = staticmethod(_build_curvatures)


@frozen
class SecondDerivativeMax(DerivativeMax):
    """The largest second derivative by time."""

    name = "second_derivative_max"
    derivative = staticmethod(_build_curvatures)
