"""Device functions that follow a quantity together with its derivative by an input.

Each pair follows the quantity for itself, so that what becomes of its summaries by one input knows
of no other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from cubie.backend import any_lane, in_turn, is_finite, select
from cubie.factory import BuildContext
from cubie.run.summaries.cubic import build_cut, build_only_start, build_piece
from cubie.run.summaries.joints import build_remember, build_slope_before, build_spoil
from cubie.run.summaries.request import Tracked


class Ends(NamedTuple):
    """A quantity at both ends of a piece; values of lanes."""

    first: Any
    first_slope: Any  # by the part of the piece
    last: Any
    last_slope: Any


class EndOfBoth(NamedTuple):
    """Where a quantity and its derivative are at the end of a piece; values of lanes."""

    since: Any  # when its run's summaries began
    value: Any
    slope: Any  # by the part of the step
    by_value: Any
    by_slope: Any


def build_state_pair(
    loop: Any,
    context: BuildContext,
    inside: Any,
    tracked: Tracked,
    courses: list[Callable],
    joint_of: Callable,
    allocate: Callable,
) -> Callable:
    """Return the function that follows a state and its derivative over a step.

    ``joint_of(backend, j, slope_before, at)`` makes the function that joins piece `j`, and
    ``allocate(memory, None)`` returns the numbers of states.
    """
    backend, index, by, pieces = context.backend, tracked.index, tracked.by, len(courses)
    assert by is not None
    begin = inside.at(0, pieces)
    jumps = loop.algorithm.restores or loop.jumps
    whole = build_summarise_pair(context, tracked, loop.tracking.windowed)
    first = whole
    if jumps:
        first = build_summarise_pair(context, tracked, loop.tracking.windowed, jumps)
    remember, slope_before = build_remember(backend), build_slope_before(backend, loop.begins_anew)
    at, by_at = tracked.slopes_at
    chain = backend.device(_from_start)
    for j, course in enumerate(courses):
        after, part = inside.at(j + 1, pieces), backend.constant(1.0 / pieces)
        joints = joint_of(backend, j, slope_before, at), joint_of(backend, j, slope_before, by_at)
        summarise = whole if j else first
        chain = backend.device(
            _then_both(chain, course, after, summarise, (index, by), part, joints)
        )

    def follow(memory, launch, step, lane):
        slots = allocate(memory, None)
        h = step.h * step.direction
        value, slope = begin(memory, h, lane, index)
        by_value, by_slope = begin(memory, h, lane, by)
        start = EndOfBoth(slots[0], value, slope, by_value, by_slope)
        end = chain(memory, launch, step, lane, slots, start)
        remember(slots, at, step.accept, end.slope)
        remember(slots, by_at, step.accept, end.by_slope)

    return backend.device(follow)


def _from_start(memory, launch, step, lane, slots, end):
    return end


def _then_both(before, course, after, summarise, indices, part, joints) -> Callable:
    """Go on by a piece; where it ends, the next one starts to the bit."""
    index, by = indices
    joint, by_joint = joints

    def both(memory, launch, step, lane, slots, end):
        end = before(memory, launch, step, lane, slots, end)
        now = course(launch, step, end.since)
        h = step.h * step.direction
        value, slope = after(memory, h, lane, index)
        by_value, by_slope = after(memory, h, lane, by)
        first = part * joint(slots, now, end.slope, slope)
        by_first = part * by_joint(slots, now, end.by_slope, by_slope)
        of_quantity = Ends(end.value, first, value, part * slope)
        of_derivative = Ends(end.by_value, by_first, by_value, part * by_slope)
        summarise(slots, now, of_quantity, of_derivative)
        return EndOfBoth(now.since, value, slope, by_value, by_slope)

    return both


def build_observable_pair(
    context: BuildContext,
    tracked: Tracked,
    windowed: bool,
    jumps: bool,
    part: float,
    joints: tuple[Callable, Callable],
) -> Callable:
    """Return ``summarise(slots, course, before, after)`` of an observable and its derivative."""
    backend, index, by = context.backend, tracked.index, tracked.by
    assert by is not None
    summarise = build_summarise_pair(context, tracked, windowed, jumps)
    share, spoil = backend.constant(part), build_spoil(backend)
    at, by_at = tracked.slopes_at
    ends = backend.device(_build_ends(share))
    joint, by_joint = joints

    def one(slots, course, before, after):
        qa, qb = before.values[index], after.values[index]
        sa, sb = before.values[by], after.values[by]
        spoil(slots, at, course.mask, qa, qb)
        spoil(slots, by_at, course.mask, sa, sb)
        of_quantity = ends(qa, before.rates[index], qb, after.rates[index])
        of_derivative = ends(sa, before.rates[by], sb, after.rates[by])
        first = joint(slots, course, of_quantity.first_slope, of_quantity.last_slope)
        by_first = by_joint(slots, course, of_derivative.first_slope, of_derivative.last_slope)
        of_quantity = Ends(qa, first, qb, of_quantity.last_slope)
        of_derivative = Ends(sa, by_first, sb, of_derivative.last_slope)
        summarise(slots, course, of_quantity, of_derivative)

    return backend.device(one)


def _build_ends(share: Any) -> Callable:
    """Where a rate is infinite the straight line between the ends stands in for it."""

    def ends(first, first_rate, last, last_rate):
        first_slope, last_slope = share * first_rate, share * last_rate
        line = last - first
        first_slope = select(is_finite(first_slope), first_slope, line)
        return Ends(first, first_slope, last, select(is_finite(last_slope), last_slope, line))

    return ends


def build_summarise_pair(
    context: BuildContext, tracked: Tracked, windowed: bool, jumps: bool = False
) -> Callable:
    """Return the function that hands both pieces to all derivatives of summaries.

    With `jumps` they may begin with other values than the last ones ended with, behind a break.
    """
    backend = context.backend
    make, cut = build_piece(backend), build_cut(backend)
    parts = []
    for _, derivative, at in tracked.summaries:
        start = backend.device(derivative.build_start(backend))
        update = backend.device(derivative.build_update(backend))
        parts.append(backend.device(_update_at(start, update, at)))
    update = in_turn(backend, parts, 5)
    at_once = backend.device(_at_jump(update, build_only_start(backend)) if jumps
                             else _without_jump(update))  # fmt: skip

    def piece(course, q):
        return make(
            course.start,
            course.length,
            course.share,
            course.per_time,
            q.first,
            q.first_slope,
            q.last,
            q.last_slope,
        )

    def part(course, q):
        found = cut(course.low, course.high, q.first, q.first_slope, q.last, q.last_slope)
        first, first_slope, last, last_slope = found
        return piece(course, Ends(first, first_slope, last, last_slope))

    piece = backend.device(piece)
    made = backend.device(part) if windowed else piece

    def summarise(slots, course, of_quantity, of_derivative):
        at_once(slots, course, made(course, of_quantity), made(course, of_derivative))

    return backend.device(summarise)


def _update_at(start: Callable, update: Callable, at: int) -> Callable:
    def one(slots, mask, first, piece, by):
        start(slots, at, first, piece, by)
        update(slots, at, mask, piece, by)

    return one


def _without_jump(update: Callable) -> Callable:
    def at_once(slots, course, piece, by):
        update(slots, course.mask, course.first, piece, by)

    return at_once


def _at_jump(update: Callable, only_start: Callable) -> Callable:
    def jump_first(slots, course, piece, by):
        if any_lane(course.anew):
            none = course.anew & ~course.anew
            update(slots, course.anew, none, only_start(piece), only_start(by))
        update(slots, course.mask, course.first, piece, by)

    return jump_first
