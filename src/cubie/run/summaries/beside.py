"""Derivatives of summaries by an input, of a quantity and of its own derivative by the input.

What is linear in a quantity has as its derivative the same of the derivative. An extreme has that
of the quantity at the time of the extreme, which does not matter to it: there the quantity turns,
or time ends. Deviations have the covariance of both. Where time is cut at events, or the quantity
jumps there, more would have to be added: there are none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from attrs import frozen

from cubie.backend import Backend, select
from cubie.run.summaries import integrals, kinds
from cubie.run.summaries.cubic import build_value
from cubie.run.summaries.kinds import Clock, Summary
from cubie.systems.system import Joint


@frozen
class Beside:
    """Base of derivatives of summaries: a few slots of a run, as those of a `Summary`.

    Functions are given two pieces of the same time: of the quantity, and of its derivative.
    """

    summary: Summary

    @property
    def n_slots(self) -> int:
        """How many numbers of a run it needs."""
        raise NotImplementedError

    @property
    def lasts(self) -> bool:
        """See `Summary`."""
        return self.summary.lasts

    def build_start(self, backend: Backend) -> Callable:
        """Return ``start(slots, at, mask, piece, by)``."""
        raise NotImplementedError

    def build_update(self, backend: Backend) -> Callable:
        """Return ``update(slots, at, mask, piece, by)``."""
        raise NotImplementedError

    def build_finish(self, backend: Backend) -> Callable:
        """Return ``finish(slots, at, mask)``."""
        return kinds.nothing

    def result(self, slots: np.ndarray, clock: Clock) -> np.ndarray:
        """Return the derivative times the size of the input, (n_runs,) or (n_runs, 2)."""
        raise NotImplementedError


@frozen
class OfLinear(Beside):
    """Of a summary that is linear in the quantity."""

    @property
    def n_slots(self) -> int:
        return self.summary.n_slots

    def build_start(self, backend):
        whole = backend.device(self.summary.build_start(backend))

        def start(slots, at, mask, piece, by):
            whole(slots, at, mask, by)

        return start

    def build_update(self, backend):
        whole = backend.device(self.summary.build_update(backend))

        def update(slots, at, mask, piece, by):
            whole(slots, at, mask, by)

        return update

    def result(self, slots, clock):
        return self.summary.result(slots, clock)


@frozen
class OfExtreme(Beside):
    """Of the largest or smallest value, or both: slots are the extreme, and the derivative there.

    Of several values that are equal it is that of the first.
    """

    SIGNS: ClassVar[dict[type[Summary], tuple[float, ...]]] = {
        kinds.Maximum: (1.0,),
        kinds.Minimum: (-1.0,),
        kinds.Extrema: (-1.0, 1.0),
    }

    @property
    def _signs(self) -> tuple[float, ...]:
        return self.SIGNS[type(self.summary)]

    @property
    def n_slots(self) -> int:
        return 2 * len(self._signs)

    def build_start(self, backend):
        n = len(self._signs)

        def start(slots, at, mask, piece, by):
            for i in range(n):
                slots[at + 2 * i] = select(mask, piece.c0, slots[at + 2 * i])
                slots[at + 2 * i + 1] = select(mask, by.c0, slots[at + 2 * i + 1])

        return start

    def build_update(self, backend):
        if len(self._signs) == 1:
            return _build_extreme(backend, self._signs[0])
        parts = [backend.device(_build_extreme(backend, sign)) for sign in self._signs]
        first, second = parts

        def both(slots, at, mask, piece, by):
            first(slots, at, mask, piece, by)
            second(slots, at + 2, mask, piece, by)

        return both

    def result(self, slots, clock):
        return slots[1::2].T if len(self._signs) > 1 else slots[1]


def _build_extreme(backend: Backend, sign: float) -> Callable:
    value, signed = build_value(backend), backend.constant(sign)

    def update(slots, at, mask, piece, by):
        better = signed * piece.at_turn2 > signed * piece.at_turn1
        u = select(better, piece.turn2, piece.turn1)
        best = select(better, piece.at_turn2, piece.at_turn1)
        there = value(by.c0, by.c1, by.c2, by.c3, u)
        better = signed * piece.end > signed * best
        best, there = select(better, piece.end, best), select(better, by.end, there)
        better = mask & (signed * best > signed * slots[at])
        slots[at] = select(better, best, slots[at])
        slots[at + 1] = select(better, there, slots[at + 1])

    return update


@frozen
class OfMagnitude(Beside):
    """Of the largest absolute value: slots are the values with each sign, and the derivatives."""

    @property
    def n_slots(self) -> int:
        return OfExtreme(kinds.Extrema()).n_slots

    def build_start(self, backend):
        return OfExtreme(kinds.Extrema()).build_start(backend)

    def build_update(self, backend):
        return OfExtreme(kinds.Extrema()).build_update(backend)

    def result(self, slots, clock):
        lowest, at_lowest, highest, at_highest = slots
        return np.where(-lowest > highest, -at_lowest, at_highest)


@frozen
class OfDeviation(Beside):
    """Of the standard deviation, or the root mean square: the covariance over the deviation.

    Slots are those of the deviation, the mean of the derivative as `build_add` keeps a sum, and the
    derivative of the deviation.
    """

    @property
    def n_slots(self) -> int:
        return self.summary.n_slots + 3

    def build_start(self, backend):
        clear = backend.device(integrals.build_clear(backend, self.n_slots))

        def start(slots, at, mask, piece, by):
            clear(slots, at, mask, piece)

        return start

    def build_update(self, backend):
        own = self.summary.n_slots
        whole = backend.device(self.summary.build_update(backend))
        parts, covariance = integrals.build_parts(backend), integrals.build_mean_product(backend)
        scaled, add = integrals.build_fit(backend), integrals.build_add(backend)
        down = integrals.build_down(backend)
        zero, one = backend.constant(0.0), backend.constant(1.0)

        def update(slots, at, mask, piece, by):
            share, before, slope = piece.share, slots[at + 2], slots[at + own + 2]
            q, s = parts(piece), parts(by)
            far, by_far = q[0] - slots[at], s[0] - slots[at + own]
            whole(slots, at, mask, piece)
            add(slots, at + own, mask, share * by_far)
            after = slots[at + 2]
            fit, by_fit = scaled(q, far, before), scaled(s, by_far, slope)
            product = covariance(fit, q, by_fit, s)
            kept = (one - share) * down(fit, before) * down(by_fit, slope)
            kept = kept + share * product
            apart = down(fit, far) * down(by_fit, by_far)
            found = kept + share * (one - share) * apart
            some = after > zero
            changed = by_fit.up * (found / select(some, down(fit, after), one))
            changed = select(some, changed, zero)
            slots[at + own + 2] = select(mask, changed, slots[at + own + 2])

        return update

    def result(self, slots, clock):
        own = self.summary.n_slots
        mean, deviation, by_mean, by_deviation = slots[0], slots[2], slots[own], slots[own + 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            if type(self.summary) is integrals.Deviation:
                return np.where(deviation > 0.0, by_deviation, np.nan)
            size = np.hypot(mean, deviation)  # parts of one, which do not overflow
            return mean / size * by_mean + deviation / size * by_deviation


OF: dict[type[Summary], type[Beside]] = {
    integrals.Mean: OfLinear,
    integrals.Integral: OfLinear,
    kinds.Final: OfLinear,
    **dict.fromkeys(OfExtreme.SIGNS, OfExtreme),
    kinds.MaxMagnitude: OfMagnitude,
    integrals.Deviation: OfDeviation,
    integrals.RootMeanSquare: OfDeviation,
}
"""By what a summary is differentiated; others have no derivative here."""


def beside(summary: Summary) -> Beside | None:
    """Return the derivative of a summary; None where there is none."""
    kind: Any = OF.get(type(summary))
    return None if kind is None else kind(summary)


def note_on_derivatives(tracking: Any, joint: Joint | None) -> str:
    """Return what to tell of summaries that have no derivatives; "" where all asked for have."""
    if tracking is None or joint is None or joint.of_directions:
        return ""
    followed = tracking.states + tracking.observables
    known = {(one.key, label) for one in followed if one.by is not None
             for label, _, _ in one.summaries}  # fmt: skip
    lacking = [f"{label} of {one.key}" for one in followed if one.by is None
               for label, _, _ in one.summaries if (one.key, label) not in known]  # fmt: skip
    if not lacking:
        return ""
    if not known and any(type(s) in OF for one in followed for _, s, _ in one.summaries):
        why = "events end runs or change states, at times that depend on the inputs"
    else:
        why = f"those that have some are {', '.join(kind.name for kind in OF)}"
    return f"No derivatives (`dsummaries`) of {', '.join(lacking)}: {why}."
