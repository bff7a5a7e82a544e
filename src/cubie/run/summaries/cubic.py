"""A piece of a solution as a cubic: its turning points, and where it meets a level.

A cubic over 0 <= u <= 1 has at most two turning points. Between its start, these and its end it
is monotone, so that all that summaries ask of it has a closed form, but for the place of a level.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from cubie.backend import (
    Backend,
    absolute,
    any_lane,
    maximum,
    minimum,
    select,
    shared_function,
    square_root,
)

# Steps of the search for a level; bisection alone needs as many as a double has bits.
MOST_STEPS = 80


class Piece(NamedTuple):
    """A piece of a quantity's course; values of lanes.

    With u from 0 to 1 the quantity is ``c0 + c1*u + c2*u**2 + c3*u**3``.
    """

    start: Any  # time at its start, from the start of the run; grows whichever way that goes
    length: Any  # its duration, positive
    c0: Any  # value at its start
    c1: Any
    c2: Any
    c3: Any
    turn1: Any  # u of its first turning point, 0 where there is none
    turn2: Any  # of its second one, that of the first where there is none
    at_turn1: Any  # value there
    at_turn2: Any
    end: Any  # value at its end
    per_time: Any  # what turns a derivative by u into one by time; negative in runs backwards
    share: Any  # its part of all that was summarised so far, itself included: 1 for the first


class Scale(NamedTuple):
    """Powers of two that bring numbers to where squares are numbers, too, and back."""

    down: Any
    up: Any


# Where numbers count as very large or very small, and what they are then multiplied by: exponents
# of two by bits of a number. The squares of what comes out keep all their digits.
SCALES = {32: (40.0, -64.0, 80.0), 64: (400.0, -600.0, 600.0)}


@shared_function
def build_scale(backend: Backend) -> Callable:
    """Return ``scale(size) -> Scale``: of numbers up to `size`, no square overflows or vanishes.

    No digit changes; numbers of usual size are left as they are.
    """
    limit, lower, raise_ = SCALES[8 * np.dtype(backend.dtype).itemsize]
    exponents = (limit, -limit, lower, raise_, -lower, -raise_, 0.0)
    large, small, shrink, grow, shrunk, grown, one = (backend.constant(2.0**k) for k in exponents)

    def scale(size):
        is_large, is_small = size > large, size < small
        return Scale(
            select(is_large, shrink, select(is_small, grow, one)),
            select(is_large, shrunk, select(is_small, grown, one)),
        )

    return backend.device(scale)


@shared_function
def build_piece(backend: Backend) -> Callable:
    """Return ``piece(start, length, share, per_time, qa, da, qb, db) -> Piece``.

    `qa`, `qb` are the values at its ends, `da`, `db` the derivatives by u there.
    """
    zero, two, three = (backend.constant(x) for x in (0.0, 2.0, 3.0))
    inside, value, scale = _build_inside(backend), build_value(backend), build_scale(backend)

    def piece(start, length, share, per_time, qa, da, qb, db):
        rise = qb - qa
        c2 = three * rise - two * da - db
        c3 = da + db - two * rise
        # 3 c3 u^2 + 2 c2 u + da = 0: the roots as q/a and da/q, which lose no digits.
        fit = scale(maximum(maximum(absolute(three * c3), absolute(c2)), absolute(da))).down
        a, half_b, c = fit * (three * c3), fit * c2, fit * da
        discriminant = half_b * half_b - a * c
        turns = discriminant > zero
        root = square_root(select(turns, discriminant, zero))
        q = select(half_b < zero, root - half_b, -root - half_b)
        first, first_there = inside(q, a, turns)
        second, second_there = inside(c, q, turns)
        # Where there is one only, it is both; where there is none, both are the start.
        first = select(first_there, first, select(second_there, second, zero))
        second = select(second_there, second, first)
        turn1, turn2 = minimum(first, second), maximum(first, second)
        return Piece(
            start, length, qa, da, c2, c3, turn1, turn2,
            value(qa, da, c2, c3, turn1), value(qa, da, c2, c3, turn2), qb, per_time, share,
        )  # fmt: skip

    return backend.device(piece)


def build_only_start(backend: Backend) -> Callable:
    """Return ``only_start(piece) -> Piece``: the first value of a piece, for no time.

    What a quantity jumps to: a crossing, an extreme or a peak may lie between it and the last one.
    Derivatives are those of the piece, which jumps are none of.
    """
    zero = backend.constant(0.0)

    def only_start(piece):
        start, _, c0, c1, c2, c3, _, _, _, _, _, per_time, _ = piece
        none = zero * c0
        return Piece(start, none, c0, c1, c2, c3, none, none, c0, c0, c0, per_time, none)

    return backend.device(only_start)


def _build_inside(backend: Backend) -> Callable:
    """Return ``inside(numerator, denominator, mask) -> (quotient, mask)``: where it is in (0, 1).

    Elsewhere nothing is divided, so that no value is infinite or NaN.
    """
    zero, one = backend.constant(0.0), backend.constant(1.0)

    def inside(numerator, denominator, mask):
        alike = ((numerator > zero) & (denominator > zero)) | (
            (numerator < zero) & (denominator < zero)
        )
        there = mask & alike & (absolute(numerator) < absolute(denominator))
        return select(there, numerator, zero) / select(there, denominator, one), there

    return backend.device(inside)


@shared_function
def build_value(backend: Backend) -> Callable:
    """Return ``value(c0, c1, c2, c3, u)`` of a cubic."""

    def value(c0, c1, c2, c3, u):
        return c0 + u * (c1 + u * (c2 + u * c3))

    return backend.device(value)


@shared_function
def build_cut(backend: Backend) -> Callable:
    """Return ``cut(low, high, qa, da, qb, db) -> (qa, da, qb, db)``: the part of u in [low, high].

    Its derivatives are by a u of its own, from 0 to 1.
    """
    one, two, three = (backend.constant(float(k)) for k in range(1, 4))
    zero = backend.constant(0.0)

    def cut(low, high, qa, da, qb, db):
        rise = qb - qa
        c2 = three * rise - two * da - db
        c3 = da + db - two * rise
        width = high - low
        start = qa + low * (da + low * (c2 + low * c3))
        end = qa + high * (da + high * (c2 + high * c3))
        first = width * (da + low * (two * c2 + low * three * c3))
        last = width * (da + high * (two * c2 + high * three * c3))
        # The ends of the whole are met to the bit.
        return (
            select(low > zero, start, qa), select(low > zero, first, width * da),
            select(high < one, end, qb), select(high < one, last, width * db),
        )  # fmt: skip

    return backend.device(cut)


@shared_function
def build_meet(backend: Backend) -> Callable:
    """Return ``meet(piece, mask, low, high, level, rising) -> u``.

    Where a cubic that is monotone in [low, high], and rises or falls there, meets a level that
    lies between its values at both ends. Newton's method, kept between bounds by bisection.
    """
    zero, one, half, two, three = (backend.constant(x) for x in (0.0, 1.0, 0.5, 2.0, 3.0))
    near = backend.constant(2.0 * float(np.finfo(backend.dtype).eps))
    most = MOST_STEPS

    def meet(piece, mask, low, high, level, rising):
        c0, c1, c2, c3 = piece.c0, piece.c1, piece.c2, piece.c3
        u = half * (low + high)
        going = mask
        steps = 0
        while any_lane(going) and steps < most:
            distance = c0 - level + u * (c1 + u * (c2 + u * c3))
            slope = c1 + u * (two * c2 + u * three * c3)
            before = (rising & (distance < zero)) | (~rising & (distance > zero))
            low = select(going & before, u, low)
            high = select(going & ~before, u, high)
            sloping = slope != zero
            newton = u - select(sloping, distance, zero) / select(sloping, slope, one)
            good = sloping & (newton > low) & (newton < high)
            following = select(good, newton, half * (low + high))
            moved = absolute(following - u) > near
            u = select(going, following, u)
            going = going & moved
            steps = steps + 1
        return u

    return backend.device(meet)
