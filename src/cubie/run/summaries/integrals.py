"""Summaries that are integrals over time: means, deviations, and sums that lose no digits."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from cubie.backend import Backend, rounded_difference, rounded_sum, select, square_root
from cubie.run.summaries.kinds import Summary


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
