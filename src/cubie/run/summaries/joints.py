"""Where one step ends and the next begins: what of a quantity goes from one to the other.

Most interpolants bend at the ends of steps: the slope jumps by what they are inexact. Where it
jumps from one side of zero to the other, and back in the same piece, that makes two peaks of one.
A single slot of each quantity holds the slope with which the last step ended. At a break a solution
does bend, and observables may jump.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cubie.backend import Backend, is_finite, select, shared_function


def spoiled_mark(dtype: np.dtype) -> float:
    """Return what stands for a slope where a quantity was infinite, or not a number."""
    return float(np.finfo(dtype).max)


@shared_function
def build_joint(backend: Backend) -> Callable:
    """Return ``joint(before, first, last) -> slope``: that with which a piece begins.

    `before` is that with which the last step ended, `first` and `last` are those at both ends of
    the piece. One that has the sign of neither neighbour is zero: the solution has no such bend.
    """
    zero = backend.constant(0.0)

    def joint(before, first, last):
        bump = (before < zero) & (first > zero) & (last < zero)
        dent = (before > zero) & (first < zero) & (last > zero)
        return select(bump | dent, zero, first)

    return backend.device(joint)


@shared_function
def build_slope_before(backend: Backend, breaks: bool) -> Callable:
    """Return ``slope_before(slots, at, course)``: that with which the last step ended.

    Zero behind a break, where a run begins anew.
    """
    zero = backend.constant(0.0)

    def known(slots, at, course):
        return slots[at]

    def unless_anew(slots, at, course):
        return select(course.anew, zero, slots[at])

    return backend.device(unless_anew if breaks else known)


@shared_function
def build_remember(backend: Backend) -> Callable:
    """Return ``remember(slots, at, mask, slope)``, of a step; what is spoiled stays so."""
    mark = backend.constant(spoiled_mark(backend.dtype))

    def remember(slots, at, mask, slope):
        kept = mask & (slots[at] < mark)
        slots[at] = select(kept, slope, slots[at])

    return backend.device(remember)


@shared_function
def build_spoil(backend: Backend) -> Callable:
    """Return ``spoil(slots, at, mask, first, last)``: looks whether values of a piece are numbers.

    Extremes would pass over what is none, and a summary of the rest would look like one of all.
    """
    mark = backend.constant(spoiled_mark(backend.dtype))

    def spoil(slots, at, mask, first, last):
        fine = is_finite(first) & is_finite(last)
        slots[at] = select(mask & ~fine, mark, slots[at])

    return backend.device(spoil)
