"""Where a run begins anew: behind a break, and with the state that an event made.

The state is made consistent, the first step size is found, and what the algorithm and the
controller keep from step to step is made, as at the start of a run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cubie.backend import any_lane, select
from cubie.factory import BuildContext
from cubie.numerics.limits import build_time
from cubie.run.breaks import build_breaks
from cubie.run.driving import build_keeping
from cubie.run.events.buffers import tells_ways
from cubie.run.events.changing import Start, build_changes
from cubie.run.events.failing import build_failing
from cubie.run.events.repeating import build_repeat
from cubie.run.faults import build_faults
from cubie.status import RunStatus


def build_begin_anew(loop: Any, context: BuildContext) -> Callable:
    """Return ``begin_anew(memory, launch, final, direction, progress, lane) -> (status, active)``.

    It does so where the attempt before landed on a break, or an event changes the state.
    """
    backend = context.backend

    def nothing(memory, launch, final, direction, progress, lane):
        return progress.status, progress.active

    if not loop.begins_anew:
        return backend.device(nothing)
    restore = _build_restore(loop, context)
    choose = loop.child_functions(context, "initial_step")
    start_algorithm = loop.child_functions(context, "algorithm").start
    start_controller = loop.child_functions(context, "controller").start
    clock, time = loop.clock(backend), build_time(backend, loop.system.own_clock)
    next_stop, now = clock.stop, clock.now
    breaks, forget_proposed = build_breaks(loop, context), build_keeping(loop, context).reset
    give, number, passed_break = breaks.give, breaks.number, _build_passed_break(loop, context)
    behind, leave = passed_break
    changes, fail = build_changes(loop, context), build_failing(loop, context).fail
    are_due, change = changes.are_due, changes.change
    doubt, renew, repeat = changes.doubt, changes.renew, build_repeat(loop, context)
    enter, at = context.phase("start"), loop.counter_names.index("anew")
    at_start = loop.initial_step.rhs_evaluations + loop.algorithm.rhs_per_start
    # Which way numbers of events go is asked before the change of the state and behind it.
    at_change = at_start + (2 if tells_ways(loop) else 0)

    def begin_anew(memory, launch, final, direction, progress, lane):
        status, active = progress.status, progress.active
        changed = are_due(memory, active)
        fresh = behind(active, lane) | changed
        if any_lane(fresh):
            enter(memory)
            stop_number = number(progress.saved, lane)
            stop = next_stop(launch, final, stop_number)
            elapsed = now(stop, progress.elapsed, lane.dt, lane.counters)
            t = time(launch, direction, elapsed)
            forget_proposed(lane)
            given, state = give(launch, t, stop_number, lane), lane.state
            start = Start(t, elapsed, direction, lane.dt[0])
            if any_lane(changed):
                doubt(memory, launch, start, changed, given, lane)
                change(memory, launch, t, changed, lane)
                repeat(memory, launch, t, elapsed, changed, lane)
            status, active = restore(memory, launch, t, direction, given, fresh, progress, lane)
            h = choose(memory, launch, t, stop.elapsed - elapsed, direction, state, given)
            start_algorithm(memory, fresh, t, state, given)
            start_controller(memory, fresh, h)
            lane.dt[0] = select(fresh, h, lane.dt[0])
            leave(fresh, lane)
            took = select(changed, at_change, select(fresh, at_start, 0))
            lane.counters[at] = lane.counters[at] + took
            if any_lane(changed):
                start = Start(t, elapsed, direction, lane.dt[0])
                renew(memory, launch, start, changed, given, lane)
                status, active = fail(status, active, active, lane)
        return status, active

    return backend.device(begin_anew)


def _build_passed_break(loop: Any, context: BuildContext) -> tuple[Callable, Callable]:
    """Return ``behind(active, lane)``, lanes that landed on a break, and ``leave(fresh, lane)``."""
    device = context.backend.device

    def behind(active, lane):
        return active & (lane.passed_stops[1] > 0)

    def leave(fresh, lane):
        lane.passed_stops[1] = select(fresh, 0, lane.passed_stops[1])

    if loop.system.breakpoints:
        return device(behind), device(leave)
    return device(_behind_none), device(_nothing_to_leave)


def _behind_none(active, lane):
    return active & ~active


def _nothing_to_leave(fresh, lane):
    pass


def _build_restore(loop: Any, context: BuildContext) -> Callable:
    """Return ``restore(memory, launch, t, direction, given, fresh, progress, lane)``.

    It makes the state consistent in the lanes of the mask `fresh`, and returns the status, and
    which lanes go on.
    """
    backend = context.backend

    def as_it_is(memory, launch, t, direction, given, fresh, progress, lane):
        return progress.status, progress.active

    restore_state = loop.child_functions(context, "algorithm").restore
    if restore_state is None:
        return backend.device(as_it_is)
    account, inconsistent = build_faults(backend, loop.system), int(RunStatus.INCONSISTENT_AT_BREAK)

    def restore(memory, launch, t, direction, given, fresh, progress, lane):
        h, state = lane.dt[0] * direction, lane.state
        found = fresh & restore_state(memory, launch, t, h, state, given, fresh)
        # Elsewhere the reason of attempts that failed is kept.
        failure = account(lane.parameters, select(found, 0, inconsistent), found)
        lost = fresh & ~found
        return select(lost, failure, progress.status), progress.active & ~lost

    return backend.device(restore)
