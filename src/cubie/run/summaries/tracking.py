"""The device functions that follow the solution of each accepted step and summarise it.

A step's solution is cut into pieces of equal duration, each the cubic that has its values and
derivatives at both ends: up to degree three that is the method's own interpolant, in one piece.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from attrs import frozen

from cubie.backend import any_lane, maximum, minimum, select, store_run
from cubie.factory import BuildContext
from cubie.run.summaries.cubic import build_cut, build_piece
from cubie.run.summaries.kinds import Summary
from cubie.run.summaries.request import Tracked


class Followed(NamedTuple):
    """An accepted step; values of lanes."""

    accept: Any  # lanes in which it was
    h: Any  # its size, positive
    ahead: Any  # time from the start of the run at its end
    elapsed: Any  # and at its start
    direction: Any  # 1 or -1


class End(NamedTuple):
    """Where a quantity is at the end of a piece; values of lanes."""

    since: Any  # when its run's summaries began
    value: Any
    slope: Any  # derivative by the part of the step


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


@frozen
class TrackingFunctions:
    """Device functions of the summaries of a run.

    Attributes
    ----------
    begin : callable
        ``begin(memory, fresh)``: runs start in the lanes of a mask.
    track : callable
        ``track(memory, launch, accept, ahead, elapsed, direction, lane)``, between an accepted
        step and its `commit`. `ahead` is the clock's `Proposal`, `elapsed` where it started.
    finish : callable
        ``finish(memory, launch, outputs, done)``: writes what is kept of runs that are done.
    """

    begin: Callable
    track: Callable
    finish: Callable


def build_tracking(loop: Any, context: BuildContext) -> TrackingFunctions:
    """Return the functions of a loop's summaries; those of none do nothing."""
    backend = context.backend
    if loop.tracking is None:
        return TrackingFunctions(
            *map(backend.device, (_nothing_to_begin, _nothing_to_track, _nothing_to_finish))
        )
    return TrackingFunctions(
        _build_begin(context), _build_track(loop, context), _build_finish(loop, context)
    )


def _nothing_to_begin(memory, fresh):
    pass


def _nothing_to_track(memory, launch, accept, ahead, elapsed, direction, lane):
    pass


def _nothing_to_finish(memory, launch, outputs, done):
    pass


def _build_begin(context: BuildContext) -> Callable:
    backend = context.backend
    allocate, none = context.allocator("state_summary"), backend.constant(-1.0)

    def begin(memory, fresh):
        slots = allocate(memory, None)
        slots[0] = select(fresh, none, slots[0])

    return backend.device(begin)


def _build_track(loop: Any, context: BuildContext) -> Callable:
    """Return the function that follows all quantities over a step, one after the other."""
    backend, tracking = context.backend, loop.tracking
    enter, inside = context.phase("summarise"), _Inside(loop, context)
    courses, pieces = [], loop.algorithm.n_pieces
    for j in range(pieces):
        courses.append(_build_course(context, tracking.windowed, j, pieces))
    follow = backend.device(_nothing_to_follow)
    for tracked in tracking.states:
        state = _build_state(loop, context, inside, tracked, courses)
        follow = backend.device(_then_follow(follow, state))
    remember = _build_remember(context, courses)

    def track(memory, launch, accept, ahead, elapsed, direction, lane):
        enter(memory)
        if any_lane(accept):
            step = Followed(accept, ahead.h, ahead.ahead, elapsed, direction)
            follow(memory, launch, step, lane)
            remember(memory, launch, step)

    return backend.device(track)


def _nothing_to_follow(memory, launch, step, lane):
    pass


def _then_follow(before: Callable, after: Callable) -> Callable:
    def both(memory, launch, step, lane):
        before(memory, launch, step, lane)
        after(memory, launch, step, lane)

    return both


class _Inside:
    """Values and slopes of states at the ends of pieces."""

    def __init__(self, loop: Any, context: BuildContext):
        self._loop = loop
        self._context = context.within("algorithm")
        self._made: dict[int, Callable] = {}

    def at(self, j: int, pieces: int) -> Callable:
        """Return ``at(memory, h, lane, i) -> (value, derivative by theta)`` after `j` pieces."""
        if j not in self._made:
            self._made[j] = self._build(j, pieces)
        return self._made[j]

    def _build(self, j: int, pieces: int) -> Callable:
        backend = self._context.backend
        inside = self._loop.algorithm.build_inside(self._context, j / pieces)

        def at_start(memory, h, lane, i):
            _, slope = inside(memory, h, lane.state, i)
            return lane.state[i], slope

        def between(memory, h, lane, i):
            return inside(memory, h, lane.state, i)

        def at_end(memory, h, lane, i):
            _, slope = inside(memory, h, lane.state, i)
            return lane.proposed.state[i], slope

        # At the ends to the bit what the steps before and after have.
        return backend.device(at_start if j == 0 else at_end if j == pieces else between)


def _build_remember(context: BuildContext, courses: list[Callable]) -> Callable:
    """Return the function that notes since when a run is summarised."""
    backend, allocate = context.backend, context.allocator("state_summary")
    chain = backend.device(_same_since)
    for course in courses:
        chain = backend.device(_then_since(chain, course))

    def remember(memory, launch, step):
        slots = allocate(memory, None)
        slots[0] = chain(launch, step, slots[0])

    return backend.device(remember)


def _same_since(launch, step, since):
    return since


def _then_since(before: Callable, course: Callable) -> Callable:
    def both(launch, step, since):
        found = course(launch, step, before(launch, step, since))
        return found.since

    return both


def _build_course(context: BuildContext, windowed: bool, j: int, pieces: int) -> Callable:
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


def _build_state(
    loop: Any, context: BuildContext, inside: _Inside, tracked: Tracked, courses: list[Callable]
) -> Callable:
    """Return the function that follows one state over a step."""
    backend, index, pieces = context.backend, tracked.index, len(courses)
    allocate, begin = context.allocator("state_summary"), inside.at(0, pieces)
    summarise = _build_summarise(context, tracked, loop.tracking.windowed)
    chain = backend.device(_from_start)
    for j, course in enumerate(courses):
        after, part = inside.at(j + 1, pieces), backend.constant(1.0 / pieces)
        chain = backend.device(_then_state(chain, course, after, summarise, index, part))

    def follow(memory, launch, step, lane):
        slots = allocate(memory, None)
        value, slope = begin(memory, step.h * step.direction, lane, index)
        chain(memory, launch, step, lane, slots, End(slots[0], value, slope))

    return backend.device(follow)


def _from_start(memory, launch, step, lane, slots, end):
    return end


def _then_state(before, course, after, summarise, index, part) -> Callable:
    """Go on by a piece; where it ends, the next one starts to the bit."""

    def both(memory, launch, step, lane, slots, end):
        end = before(memory, launch, step, lane, slots, end)
        now = course(launch, step, end.since)
        value, slope = after(memory, step.h * step.direction, lane, index)
        summarise(slots, now, end.value, part * end.slope, value, part * slope)
        return End(now.since, value, slope)

    return both


def _build_summarise(context: BuildContext, tracked: Tracked, windowed: bool) -> Callable:
    """Return the function that hands a piece of a quantity to all of its summaries."""
    backend = context.backend
    make, cut = build_piece(backend), build_cut(backend)
    update = backend.device(_nothing_to_update)
    for _, summary, at in tracked.summaries:
        update = backend.device(_then_update(update, *_device(backend, summary), at))

    def whole(slots, course, qa, da, qb, db):
        piece = make(course.start, course.length, course.share, course.per_time, qa, da, qb, db)
        update(slots, course.mask, course.first, piece)

    def within(slots, course, qa, da, qb, db):
        qa, da, qb, db = cut(course.low, course.high, qa, da, qb, db)
        piece = make(course.start, course.length, course.share, course.per_time, qa, da, qb, db)
        update(slots, course.mask, course.first, piece)

    return backend.device(within if windowed else whole)


def _device(backend, summary: Summary) -> tuple[Callable, Callable]:
    return backend.device(summary.build_start(backend)), backend.device(
        summary.build_update(backend)
    )


def _nothing_to_update(slots, mask, first, piece):
    pass


def _then_update(before: Callable, start: Callable, update: Callable, at: int) -> Callable:
    def both(slots, mask, first, piece):
        before(slots, mask, first, piece)
        start(slots, at, first, piece)
        update(slots, at, mask, piece)

    return both


def _build_finish(loop: Any, context: BuildContext) -> Callable:
    """Finish all summaries, and write their slots."""
    backend, tracking = context.backend, loop.tracking
    allocate, n_slots = context.allocator("state_summary"), tracking.n_state_slots
    last = backend.device(_nothing_to_finish_of)
    for tracked in tracking.states:
        for _, summary, at in tracked.summaries:
            finish = backend.device(summary.build_finish(backend))
            last = backend.device(_then_finish(last, finish, at))

    def finish(memory, launch, outputs, done):
        slots = allocate(memory, None)
        last(slots, done)
        for i in range(n_slots):
            store_run(outputs.summaries, i * launch.n_runs, launch.run, done, slots[i])

    return backend.device(finish)


def _nothing_to_finish_of(slots, done):
    pass


def _then_finish(before: Callable, finish: Callable, at: int) -> Callable:
    def both(slots, done):
        before(slots, done)
        finish(slots, at, done)

    return both
