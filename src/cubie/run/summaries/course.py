"""The pieces of time that an accepted step is cut into, and the part of them that counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from cubie.backend import maximum, minimum, select
from cubie.factory import BuildContext


class Followed(NamedTuple):
    """An accepted step; values of lanes."""

    accept: Any  # lanes in which it was
    h: Any  # its size, positive
    ahead: Any  # time from the start of the run at its end
    elapsed: Any  # and at its start
    direction: Any  # 1 or -1


class Course(NamedTuple):
    """A piece of time in which a step goes on; values of lanes."""

    mask: Any  # lanes in which it counts
    first: Any  # lanes in which it is the run's first that does
    start: Any  # from the start of the run
    length: Any
    low: Any  # part of it that counts, of 0 to 1
    high: Any
    share: Any  # see `Piece`
    per_time: Any
    since: Any  # when the summaries of its run began


def build_course(context: BuildContext, windowed: bool, j: int, pieces: int) -> Callable:
    """Return ``course(launch, step, since) -> Course`` of piece `j`.

    `since` is the time from which on the run is summarised, negative before that.
    """
    backend = context.backend
    from_, to = backend.constant(j / pieces), backend.constant((j + 1) / pieces)
    zero, one = backend.constant(0.0), backend.constant(1.0)
    is_first, is_last = j == 0, j == pieces - 1

    def whole(launch, step):
        start = step.elapsed if is_first else step.elapsed + from_ * step.h
        end = step.ahead if is_last else step.elapsed + to * step.h
        return step.accept, start, end, zero * start, zero * start + one

    def within(launch, step):
        start = step.elapsed if is_first else step.elapsed + from_ * step.h
        end = step.ahead if is_last else step.elapsed + to * step.h
        length = end - start
        moving = length > zero
        divisor = select(moving, length, one)
        span = launch.inputs.time_span
        low = maximum((span[2] - start) / divisor, zero * start)
        high = minimum((span[3] - start) / divisor, zero * start + one)
        return step.accept & moving & (high > low), start, end, low, high

    part = backend.device(within if windowed else whole)

    def course(launch, step, since):
        mask, start, end, low, high = part(launch, step)
        length = end - start
        first = mask & (since < zero)
        begun = start + low * length
        since = select(first, begun, since)
        covered = (start + high * length) - since
        counted = (high - low) * length
        usual = mask & (covered > zero) & ~first
        share = select(usual, counted, one) / select(usual, covered, one)
        duration = select(mask & (counted > zero), counted, one)
        per_time = step.direction / duration
        return Course(mask, first, begun, counted, low, high, share, per_time, since)

    return backend.device(course)
