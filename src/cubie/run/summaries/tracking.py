"""The device functions that follow the solution of each accepted step and summarise it.

A step's solution is cut into pieces of equal duration, each the cubic that has its values and
derivatives at both ends: up to degree three that is the method's own interpolant, in one piece.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen

from cubie.backend import any_lane, in_turn, select, store_run
from cubie.factory import BuildContext
from cubie.numerics.limits import build_time
from cubie.run.breaks import build_is_behind
from cubie.run.events.buffers import event_buffer
from cubie.run.summaries.course import Followed, build_course
from cubie.run.summaries.quantities import (
    Inside,
    build_observables,
    build_state,
    observable_slots,
    state_slots,
)
from cubie.run.summaries.request import Tracked


@frozen
class TrackingFunctions:
    """Device functions of the summaries of a run.

    Attributes
    ----------
    begin : callable
        ``begin(memory, fresh)``: runs start in the lanes of a mask.
    track : callable
        ``track(memory, launch, accept, ahead, elapsed, direction, lane)``, between an accepted
        step and its `commit`. `ahead` is the clock's `Arrival`, `elapsed` where it started.
    finish : callable
        ``finish(memory, launch, outputs, done)``: writes what is kept of runs that are done.
    """

    begin: Callable
    track: Callable
    finish: Callable


def build_tracking(loop: Any, context: BuildContext) -> TrackingFunctions:
    """Return the functions of a loop's summaries; those of none do nothing."""
    backend = context.backend
    if not loop.follows:
        return TrackingFunctions(
            *map(backend.device, (_nothing_to_begin, _nothing_to_track, _nothing_to_finish))
        )
    return TrackingFunctions(
        _build_begin(loop, context), _build_track(loop, context), _build_finish(loop, context)
    )


def _nothing_to_begin(memory, fresh):
    pass


def _nothing_to_track(memory, launch, accept, ahead, elapsed, direction, lane):
    pass


def _nothing_to_finish(memory, launch, outputs, done):
    pass


def _build_begin(loop: Any, context: BuildContext) -> Callable:
    backend, tracking = context.backend, loop.tracking
    allocate, none = state_slots(context), backend.constant(-1.0)
    clear = _build_clear(backend, tracking.states)

    def begin(memory, fresh):
        slots = allocate(memory, None)
        slots[0] = select(fresh, none, slots[0])
        clear(slots, fresh)

    if not tracking.observables:
        return backend.device(begin)
    allocate_too, clear_too = observable_slots(context), _build_clear(backend, tracking.observables)

    def begin_both(memory, fresh):
        begin(memory, fresh)
        clear_too(allocate_too(memory, None), fresh)

    begin = backend.device(begin)
    return backend.device(begin_both)


def _build_clear(backend: Any, quantities: tuple[Tracked, ...]) -> Callable:
    """Return ``clear(slots, fresh)``: no step has ended yet."""
    zero = backend.constant(0.0)
    slopes = [at for one in quantities for at in one.slopes_at]
    parts = [backend.device(_clear_one(at, zero)) for at in slopes]
    return in_turn(backend, parts, 2)


def _clear_one(at: int, zero: Any) -> Callable:
    def clear(slots, fresh):
        slots[at] = select(fresh, zero, slots[at])

    return clear


def _build_track(loop: Any, context: BuildContext) -> Callable:
    """Return the function that follows all quantities over a step, one after the other."""
    backend, tracking = context.backend, loop.tracking
    enter, inside = context.phase("summarise"), Inside(loop, context)
    courses, pieces, own = [], loop.algorithm.n_pieces, loop.system.own_clock
    for j in range(pieces):
        courses.append(build_course(context, tracking.windowed, own, loop.cuts, j, pieces))
    parts = [build_state(loop, context, inside, one, courses) for one in tracking.states]
    if tracking.observables:
        parts.append(build_observables(loop, context, inside, courses))
    follow = in_turn(backend, parts, 4)
    remember = _build_remember(context, courses)
    is_behind, time = build_is_behind(loop, context), build_time(backend, own)
    jumped, land = _build_jumped(loop, context)

    def track(memory, launch, accept, ahead, elapsed, direction, lane):
        enter(memory)
        if any_lane(accept):
            anew = is_behind(launch, time(launch, direction, elapsed), lane) | jumped(
                memory, accept
            )
            step = Followed(accept, ahead.h, ahead.ahead, elapsed, anew, direction)
            follow(memory, launch, step, lane)
            remember(memory, launch, step)
            land(memory, accept)

    return backend.device(track)


def _build_jumped(loop: Any, context: BuildContext) -> tuple[Callable, Callable]:
    """Return ``jumped(memory, accept)``, lanes whose step begins with a state that an event made.

    And ``land(memory, accept)``: these steps are summarised.
    """
    backend = context.backend
    if not loop.jumps:
        return backend.device(_none_jumped), backend.device(_nothing_to_land)
    allocate = event_buffer(context, "event_jumped")

    def jumped(memory, accept):
        return accept & (allocate(memory, None)[0] > 0)

    def land(memory, accept):
        since = allocate(memory, None)
        since[0] = select(accept, 0, since[0])

    return backend.device(jumped), backend.device(land)


def _none_jumped(memory, accept):
    return accept & ~accept


def _nothing_to_land(memory, accept):
    pass


def _build_remember(context: BuildContext, courses: list[Callable]) -> Callable:
    """Return the function that notes since when a run is summarised."""
    backend, allocate = context.backend, state_slots(context)
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


def _build_finish(loop: Any, context: BuildContext) -> Callable:
    """Finish all summaries, and write their slots: those of states, then those of observables."""
    backend, tracking = context.backend, loop.tracking
    n = tracking.n_state_slots
    states = _build_write(context, state_slots(context), tracking.states, n, 0)
    if not tracking.observables:
        return states
    of_observables = tracking.observables, tracking.n_observable_slots
    observables = _build_write(context, observable_slots(context), *of_observables, n)
    return in_turn(backend, [states, observables], 4)


def _build_write(
    context: BuildContext,
    allocate: Callable,
    quantities: tuple[Tracked, ...],
    n_slots: int,
    first: int,
) -> Callable:
    """Return the function that finishes summaries, and writes their slots from row `first` on."""
    backend = context.backend
    parts = [
        backend.device(_finish_at(backend.device(summary.build_finish(backend)), at))
        for one in quantities
        for _, summary, at in one.summaries
    ]
    last = in_turn(backend, parts, 2)

    def write(memory, launch, outputs, done):
        slots = allocate(memory, None)
        last(slots, done)
        for i in range(n_slots):
            store_run(outputs.summaries, (first + i) * launch.n_runs, launch.run, done, slots[i])

    return backend.device(write)


def _finish_at(finish: Callable, at: int) -> Callable:
    def finish_one(slots, done):
        finish(slots, at, done)

    return finish_one
