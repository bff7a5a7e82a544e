"""One attempted step in all active lanes: step, judge, control, save, commit, decide."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from cubie.backend import Backend, maximum, select
from cubie.factory import BuildContext
from cubie.numerics.error_norm import build_error_norm
from cubie.numerics.finiteness import build_all_finite
from cubie.numerics.limits import build_time
from cubie.run.breaks import build_breaks, build_is_exhausted
from cubie.run.dense import build_recorded
from cubie.run.driving import build_keeping
from cubie.run.events.finding import build_events
from cubie.run.events.settling import build_place
from cubie.run.faults import build_faults
from cubie.run.inside import build_read
from cubie.run.least_step import build_is_stuck, build_propose
from cubie.run.observing import build_observe
from cubie.run.parts import N_ATTEMPT_COUNTERS, Progress, RunParts
from cubie.run.saving import Point, SaveMode, Taken, build_saving
from cubie.run.summaries.tracking import build_tracking
from cubie.status import RunStatus

# Squared norm that stands for "not finite": the controller then shrinks the
# step as far as it may.
REJECT_ALWAYS = 1e20


class Verdict(NamedTuple):
    """What came of an attempt; values of lanes."""

    accept: Any
    finite: Any
    failure: Any  # of the algorithm: 0, or the code of a `RunStatus`
    again: Any  # it is made once more as it was


def build_attempt(loop: RunParts, context: BuildContext) -> Callable:
    """Return ``attempt(memory, launch, outputs, final, direction, progress, lane) -> Progress``.

    `final` is the end of the run as the clock knows it, `direction` 1 or -1.
    """
    backend, n = context.backend, loop.system.n_states
    constant = backend.constant
    algorithm = loop.child_functions(context, "algorithm")
    step, commit = algorithm.step, algorithm.commit
    retries, keep_size = _build_retries(loop, context)
    control, keep_plan = _build_control(loop, context)
    observe = build_observe(loop, context)
    read = build_read(loop, context, observe)
    saving = build_saving(loop.save_mode, backend, loop.kept, observe, read)
    save = build_recorded(loop, context, saving.save)
    breaks, clock = build_breaks(loop, context), loop.clock(backend)
    next_stop, now, arrive, keep = clock.stop, clock.now, clock.arrive, clock.keep
    propose = build_propose(loop, backend, clock)
    time = build_time(backend, loop.system.own_clock)
    track_first, track_then = _build_track(loop, context)
    events, place = build_events(loop, context), build_place(loop, context)
    find_events, close_events, advances = events.find, events.close, events.advances
    judge = _build_judge(loop, context)
    account = build_faults(backend, loop.system)
    number, give = breaks.number, breaks.give
    is_point, pass_stop = breaks.is_point, breaks.pass_stop
    keeping = build_keeping(loop, context)
    begin_drivers, commit_drivers = keeping.begin, keeping.commit
    outcome = _build_outcome(loop, backend)
    count = backend.device(_build_count(loop))
    begin, enter_step = context.phase("begin"), context.phase("step")
    enter_control = context.phase("control")
    enter_save, enter_commit = context.phase("save"), context.phase("commit")
    reject_always = constant(REJECT_ALWAYS)

    def attempt(memory, launch, outputs, final, direction, progress, lane):
        begin(memory)
        elapsed, carry, saved, status, active, settled = progress
        state, parameters, counters = lane.state, lane.parameters, lane.counters
        dt, accept_step, proposed = lane.dt, lane.accept_step, lane.proposed
        at = number(saved, lane)
        stop = next_stop(launch, final, at)
        start = now(stop, elapsed, dt, counters)
        t = time(launch, direction, start)
        proposal = propose(launch, stop, elapsed, carry, dt, counters)
        enter_step(memory)
        begin_drivers(lane)
        given = give(launch, t, at, lane)
        failure = step(memory, launch, t, proposal.h * direction, state, given, proposed)
        norm_squared, finite = judge(memory, launch, state, proposed)
        failure = account(parameters, failure, finite)
        enter_control(memory)
        usable = finite & (failure == 0)
        judged = select(usable, norm_squared, reject_always)
        accept_step[0] = select(settled, 1, 0)
        again, size = retries(memory, active), dt[0]
        control(memory, launch, proposal.h, judged, dt, accept_step)
        keep_size(again, size, dt)
        accept = usable & (accept_step[0] != 0) & active
        ahead = arrive(stop, elapsed, carry, counters, proposal)
        keep_plan(accept, ahead, dt)
        taken = Taken(
            accept, ahead.lands, start, carry, ahead.h, direction, ahead.ahead, ahead.ahead_carry,
            t, given,
        )  # fmt: skip
        found = find_events(memory, launch, outputs, taken, ahead, lane)
        ahead, accept = found.ahead, found.accept
        track_first(memory, launch, accept, ahead, start, direction, lane)
        place(memory, found, lane)
        enter_save(memory)
        point = Point(proposed.state, lane.proposed_observables, lane)
        at_point = is_point(launch, at, ahead.lands)
        taken = Taken(
            accept, at_point, start, carry, ahead.h, direction, ahead.ahead, ahead.ahead_carry,
            t, given,
        )  # fmt: skip
        saved = save(memory, launch, outputs, taken, saved, point)
        track_then(memory, launch, accept, ahead, start, direction, lane)
        pass_stop(launch, at, accept & ahead.lands, lane)
        enter_commit(memory)
        for i in range(n):
            state[i] = select(accept, proposed.state[i], state[i])
        commit(memory, accept)
        commit_drivers(accept, lane)
        count(active, advances(memory, accept, found), counters, proposed.counters)
        verdict = Verdict(accept, finite, failure, again)
        status, active = outcome(launch, stop, final, ahead, verdict, progress, counters)
        status, active = close_events(memory, found, status, active, lane)
        elapsed, carry = keep(accept, ahead, elapsed, carry)
        return Progress(elapsed, carry, saved, status, active, accept | (again & settled))

    return backend.device(attempt)


def _build_retries(loop: RunParts, context: BuildContext) -> tuple[Callable, Callable]:
    """Return ``retries(memory, active)`` and ``keep_size(again, size, dt)``.

    The first tells where the same attempt is made once more, the second keeps its size.
    """
    device = context.backend.device
    of_algorithm = loop.child_functions(context, "algorithm").retries

    def some(memory, active):
        return active & of_algorithm(memory)

    def none(memory, active):
        return active & ~active

    def keep_size(again, size, dt):
        dt[0] = select(again, size, dt[0])

    def nothing(again, size, dt):
        pass

    if of_algorithm is None:
        return device(none), device(nothing)
    return device(some), device(keep_size)


def _lands_on_the_way(loop: RunParts) -> bool:
    """Tell whether steps follow one that lands on a stop."""
    return loop.save_mode is SaveMode.STOPS or loop.system.breakpoints


def _build_control(loop: RunParts, context: BuildContext) -> tuple[Callable, Callable]:
    """Return who judges an attempt, and what becomes of a size that was planned before."""
    device = context.backend.device
    of_controller = loop.child_functions(context, "controller").control
    of_algorithm = loop.child_functions(context, "algorithm").control

    def by_controller(memory, launch, h, judged, dt, accept_step):
        of_controller(memory, h, judged, dt, accept_step)

    def by_algorithm(memory, launch, h, judged, dt, accept_step):
        of_algorithm(memory, launch, judged, dt, accept_step)

    def keep_plan(accept, ahead, dt):
        # A step cut short to land says nothing against the size planned before.
        dt[0] = select(accept & ahead.lands, maximum(dt[0], ahead.planned), dt[0])

    def forget_plan(accept, ahead, dt):
        pass

    if loop.algorithm.controls_steps:
        return device(by_algorithm), device(forget_plan)
    return device(by_controller), device(keep_plan if _lands_on_the_way(loop) else forget_plan)


def _build_track(loop: RunParts, context: BuildContext) -> tuple[Callable, Callable]:
    """Return what summarises a step before points are saved, and after that: one does nothing.

    Where events end steps it comes first: what is saved is then another end than that of the step.
    """
    track, nothing = build_tracking(loop, context).track, context.backend.device(_nothing_to_track)
    return (track, nothing) if loop.cuts else (nothing, track)


def _nothing_to_track(memory, launch, accept, ahead, start, direction, lane):
    pass


def _build_count(loop: RunParts) -> Callable:
    """Count an attempt, and the iterations that it took."""
    first = N_ATTEMPT_COUNTERS
    n_counters = first + loop.algorithm.n_counters

    def count(active, accept, counters, proposed_counters):
        counters[0] = select(accept, counters[0] + 1, counters[0])
        counters[1] = select(active, counters[1] + 1, counters[1])
        for i in range(first, n_counters):
            more = counters[i] + proposed_counters[i - first]
            counters[i] = select(active, more, counters[i])

    return count


def _build_judge(loop: RunParts, context: BuildContext) -> Callable:
    """Return the squared error norm of an attempt and whether its result is finite."""
    backend, n = context.backend, loop.system.n_states
    enter = context.phase("judge")
    zero = backend.constant(0.0)

    all_finite = build_all_finite(backend, n)

    def fixed(memory, launch, state, proposed):
        enter(memory)
        return state[0] * zero, all_finite(proposed.state)

    if not loop.controller.adaptive:
        return backend.device(fixed)
    algorithm = loop.algorithm
    norm = build_error_norm(
        backend, n, algorithm.n_error_estimates, loop.per_component, algorithm.proportional_below
    )

    def adaptive(memory, launch, state, proposed):
        enter(memory)
        return norm(launch, state, proposed.state, proposed.error)

    return backend.device(adaptive)


def _build_outcome(loop: RunParts, backend: Backend) -> Callable:
    """Decide per lane whether its run goes on, and if not why."""
    clock = loop.clock(backend)
    has_ended, is_stuck = clock.has_ended, build_is_stuck(loop, backend, clock)
    is_exhausted = build_is_exhausted(loop, backend)
    too_small, non_finite = int(RunStatus.STEP_TOO_SMALL), int(RunStatus.NON_FINITE)
    too_many, stopped = int(RunStatus.TOO_MANY_STEPS), int(RunStatus.CLOCK_STANDS_STILL)

    success = int(RunStatus.SUCCESS)

    def as_it_is(progress):
        return progress.status

    def going_on(progress):
        return success

    # A run by itself that still makes attempts has no other status: none is carried along.
    before = backend.device(going_on if backend.width == 1 else as_it_is)

    def outcome(launch, stop, final, ahead, verdict, progress, counters):
        accept, finite, failure, again = verdict
        elapsed, active = progress.elapsed, progress.active
        solved = failure == 0
        stuck = active & ~again & is_stuck(launch, accept, ahead, elapsed)
        why = select(finite, select(accept, stopped, too_small), non_finite)
        status = select(stuck, select(solved, why, failure), before(progress))
        active = active & ~stuck & ~(accept & has_ended(ahead.lands, stop, final))
        exhausted = is_exhausted(launch, active, counters[1])
        status = select(exhausted, too_many, status)
        return status, active & ~exhausted

    return backend.device(outcome)
