"""The pieces of time that an accepted step is cut into, and the part of them that counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from cubie.backend import minimum, select
from cubie.factory import BuildContext
from cubie.numerics.limits import WINDOW_FIRST, WINDOW_LAST, build_of_span

# A window that misses the end of a step by rounding begins, or ends, there: what lies behind a
# break must not count for a sliver of time. Units of rounding of the time from the start.
ROUNDINGS = 2


class Followed(NamedTuple):
    """An accepted step; values of lanes."""

    accept: Any  # lanes in which it was
    h: Any  # its size, positive
    ahead: Any  # time from the start of the run at its end
    elapsed: Any  # and at its start
    anew: Any  # lanes in which a break lies there
    direction: Any  # 1 or -1


class Course(NamedTuple):
    """A piece of time in which a step goes on; values of lanes."""

    mask: Any  # lanes in which it counts
    first: Any  # lanes in which it is the run's first that does
    anew: Any  # lanes in which its step is the first behind a break, and not the run's first
    start: Any  # from the start of the run
    length: Any
    low: Any  # part of it that counts, of 0 to 1
    high: Any
    share: Any  # see `Piece`
    per_time: Any
    since: Any  # when the summaries of its run began


def build_course(
    context: BuildContext, windowed: bool, own: bool, cut: bool, j: int, pieces: int
) -> Callable:
    """Return ``course(launch, step, since) -> Course`` of piece `j`.

    `since` is the time from which on the run is summarised, negative before that. With `own` the
    windows of runs, counted from their starts, differ. With `cut` a step may end before its size
    says so, and counts up to there.
    """
    backend = context.backend
    from_, part = backend.constant(j / pieces), backend.constant(1.0 / pieces)
    zero, one = backend.constant(0.0), backend.constant(1.0)
    roundings = backend.constant(ROUNDINGS * float(np.finfo(backend.dtype).eps))
    is_first = j == 0
    window_first = build_of_span(backend, WINDOW_FIRST, own)
    window_last = build_of_span(backend, WINDOW_LAST, own)

    def to_end_of_window(launch, step):
        return window_last(launch)

    def to_end_of_step(launch, step):
        return minimum(window_last(launch), step.ahead)

    until = backend.device(to_end_of_step if cut else to_end_of_window)

    # Its length is that of the step: in float32 the clock's times lie far apart late in a long run.
    def whole(launch, step):
        start = step.elapsed if is_first else step.elapsed + from_ * step.h
        return step.accept, start, part * step.h, zero * start, zero * start + one

    def within(launch, step):
        start = step.elapsed if is_first else step.elapsed + from_ * step.h
        length = part * step.h
        moving = length > zero
        divisor = select(moving, length, one)
        first, last = window_first(launch), until(launch, step)
        sliver = roundings * (start + length) / divisor
        low, high = (first - start) / divisor, (last - start) / divisor
        # A step shorter than that does not count.
        low = select(low < one - sliver, select(low > sliver, low, zero), one)
        high = select(high > sliver, select(high < one - sliver, high, one), zero)
        return step.accept & moving & (high > low), start, length, low, high

    counts = backend.device(within if windowed else whole)

    def course(launch, step, since):
        mask, start, length, low, high = counts(launch, step)
        first = mask & (since < zero)
        begun = start + low * length
        since = select(first, begun, since)
        covered = (start + high * length) - since
        counted = (high - low) * length
        usual = mask & (covered > zero) & ~first
        share = select(usual, counted, one) / select(usual, covered, one)
        duration = select(mask & (counted > zero), counted, one)
        per_time = step.direction / duration
        anew = mask & step.anew & ~first
        return Course(mask, first, anew, begun, counted, low, high, share, per_time, since)

    return backend.device(course)
