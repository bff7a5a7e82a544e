"""Summaries that are integrals over time: means, deviations, and sums that lose no digits."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np
from attrs import frozen

from cubie.backend import (
    Backend,
    absolute,
    maximum,
    rounded_difference,
    rounded_sum,
    select,
    square_root,
)
from cubie.run.summaries.cubic import build_scale
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


def build_parts(backend: Backend) -> Callable:
    """Return ``parts(piece) -> (mean, p1, p2, p3)`` along Legendre's polynomials on [0, 1]."""
    mean = _build_mean(backend)
    half, nine_20ths, sixth = (backend.constant(x) for x in (1 / 2, 9 / 20, 1 / 6))
    fourth, twentieth = backend.constant(1 / 4), backend.constant(1 / 20)

    def parts(piece):
        p1 = half * piece.c1 + half * piece.c2 + nine_20ths * piece.c3
        p2 = sixth * piece.c2 + fourth * piece.c3
        return mean(piece), p1, p2, twentieth * piece.c3

    return backend.device(parts)


def build_fit(backend: Backend) -> Callable:
    """Return ``fit(parts, distance, deviation) -> Scale``: that for products of these."""
    scale = build_scale(backend)

    def fit(parts, distance, deviation):
        largest = maximum(maximum(absolute(parts[1]), absolute(parts[2])), absolute(parts[3]))
        return scale(maximum(largest, maximum(absolute(distance), absolute(deviation))))

    return backend.device(fit)


def build_mean_square(backend: Backend) -> Callable:
    """Return ``square(fit, p)``: the mean square of distances from the mean, scaled."""
    third, fifth, seventh = (backend.constant(1.0 / k) for k in (3, 5, 7))

    def square(fit, p):
        # Each is used twice: no compiler may square what is not scaled yet.
        p1, p2, p3 = fit.down * p[1], fit.down * p[2], fit.down * p[3]
        return third * p1 * p1 + fifth * p2 * p2 + seventh * p3 * p3

    return backend.device(square)


def build_down(backend: Backend) -> Callable:
    """Return ``down(fit, value)``: the value scaled, and not only as a factor of what follows.

    Under fast-math compilers may multiply values first, and overflow, and scales behind. A sum that
    is rounded they leave alone.
    """
    zero = backend.constant(0.0)

    def down(fit, value):
        return rounded_sum(fit.down * value, zero)

    return backend.device(down)


def build_mean_product(backend: Backend) -> Callable:
    """Return ``product(fit, p, by_fit, q)``: the mean product of distances from means, scaled."""
    third, fifth, seventh = (backend.constant(1.0 / k) for k in (3, 5, 7))
    down = build_down(backend)

    def product(fit, p, by_fit, q):
        first = third * down(fit, p[1]) * down(by_fit, q[1])
        second = fifth * down(fit, p[2]) * down(by_fit, q[2])
        return first + second + seventh * down(fit, p[3]) * down(by_fit, q[3])

    return backend.device(product)


@frozen
class Integral(Summary):
    """The integral over time."""

    name = "integral"
    n_slots = 2
    lasts: ClassVar[bool] = True

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
class Mean(Integral):
    """The mean over time."""

    name = "mean"
    lasts = False

    def build_update(self, backend):
        add, mean = build_add(backend), _build_mean(backend)

        def update(slots, at, mask, piece):
            add(slots, at, mask, piece.share * (mean(piece) - slots[at]))

        return update

    def result(self, slots, clock):
        return slots[0]


@frozen
class Deviation(Summary):
    """The standard deviation over time: the root of the mean squared distance from the mean.

    Its slots are the mean and the deviation, each as `build_add` keeps a sum: of the deviation
    itself, whose square may be too large for a number, or too small.
    """

    name = "std"
    n_slots = 4

    def build_start(self, backend):
        return build_clear(backend, 4)

    def build_update(self, backend):
        zero, one = backend.constant(0.0), backend.constant(1.0)
        parts, add, scaled = build_parts(backend), build_add(backend), build_fit(backend)
        square = build_mean_square(backend)

        def update(slots, at, mask, piece):
            share, deviation = piece.share, slots[at + 2]
            of_piece = parts(piece)
            distance = of_piece[0] - slots[at]
            fit = scaled(of_piece, distance, deviation)
            far, before = fit.down * distance, fit.down * deviation
            variance = square(fit, of_piece)
            # Of two parts joined (Chan, Golub & LeVeque 1983).
            more = share * (variance - before * before) + share * (one - share) * far * far
            squared = before * before + more
            after = square_root(select(squared > zero, squared, zero))
            both = after + before
            grown = fit.up * select(both > zero, more, zero) / select(both > zero, both, one)
            add(slots, at, mask, share * distance)
            add(slots, at + 2, mask, grown)

        return update

    def result(self, slots, clock):
        return np.maximum(slots[2], 0.0)


@frozen
class RootMeanSquare(Deviation):
    """The root of the mean square over time."""

    name = "rms"

    def result(self, slots, clock):
        return np.hypot(slots[0], slots[2])
