"""Summaries of the first and second derivative by time."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from attrs import frozen

from cubie.backend import Backend, absolute, maximum, minimum, select
from cubie.run.summaries.kinds import Summary, build_set, build_widen


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

        def both(piece):
            first, _, _ = derivative(piece)
            return first, first

        return build_set(backend, both)

    def build_update(self, backend):
        derivative = self.derivative(backend)

        def bounds(piece):
            first, between, last = derivative(piece)
            lowest = minimum(minimum(first, last), between)
            return lowest, maximum(maximum(first, last), between)

        return build_widen(backend, bounds)

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
