"""Device functions that follow one state, or all observables, over the pieces of a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from cubie.backend import any_lane, in_turn, is_finite, select
from cubie.factory import BuildContext
from cubie.numerics.limits import build_time
from cubie.run.breaks import build_given_followed
from cubie.run.summaries.cubic import build_cut, build_only_start, build_piece
from cubie.run.summaries.joints import (
    build_joint,
    build_remember,
    build_slope_before,
    build_spoil,
)
from cubie.run.summaries.kinds import Summary
from cubie.run.summaries.pairs import build_observable_pair, build_state_pair
from cubie.run.summaries.request import Tracked, Tracking


def register_summaries(loop: Any, tracking: Tracking) -> None:
    """Register the buffers of a loop's summaries.

    Numbers of a run live as long as it does. What observables are computed from lives while a step
    is summarised.
    """
    # The first number says since when a run is summarised.
    loop.register_buffer(
        "state_summary", tracking.n_state_slots, persistent=True, access_weight=2.0
    )
    n_slots, followed = tracking.n_observable_slots, bool(tracking.observables)
    loop.register_buffer(
        "observable_summary", n_slots, persistent=True, enabled=followed, access_weight=2.0
    )
    if loop.observables is None:
        return
    n_states, n = loop.system.n_states, loop.observables.n_outputs
    during = {"phases": ("summarise",), "enabled": followed, "access_weight": 4.0}
    loop.register_buffer("inside_state", n_states, **during)
    loop.register_buffer("inside_slope", n_states, **during)
    loop.register_buffer("observable_rates", n, **during)
    loop.register_buffer("proposed_observable_rates", n, **during)


def state_slots(context: BuildContext) -> Callable:
    """Return the allocator of the numbers of states."""
    return context.allocator("state_summary")


def observable_slots(context: BuildContext) -> Callable:
    """Return the allocator of the numbers of observables."""
    return context.allocator("observable_summary")


class End(NamedTuple):
    """Where a quantity is at the end of a piece; values of lanes."""

    since: Any  # when its run's summaries began
    value: Any
    slope: Any  # derivative by the part of the step


class Inside:
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


def build_state(
    loop: Any, context: BuildContext, inside: Inside, tracked: Tracked, courses: list[Callable]
) -> Callable:
    """Return the function that follows one state, or a pair, over a step."""
    if tracked.by is not None:
        of_pair = tracked, courses, _joint_of, state_slots(context)
        return build_state_pair(loop, context, inside, *of_pair)
    backend, index, pieces = context.backend, tracked.index, len(courses)
    allocate, begin = state_slots(context), inside.at(0, pieces)
    windowed, jumps = loop.tracking.windowed, loop.algorithm.restores or loop.jumps
    whole = build_summarise(context, tracked, windowed)
    first = build_summarise(context, tracked, windowed, jumps) if jumps else whole
    remember = build_remember(backend)
    slope_at, slope_before = tracked.slope_at, build_slope_before(backend, loop.begins_anew)
    chain = backend.device(_from_start)
    for j, course in enumerate(courses):
        after, part = inside.at(j + 1, pieces), backend.constant(1.0 / pieces)
        joint = _joint_of(backend, j, slope_before, slope_at)
        summarise = whole if j else first
        then = _then_state(chain, course, after, summarise, index, part, joint)
        chain = backend.device(then)

    def follow(memory, launch, step, lane):
        slots = allocate(memory, None)
        value, slope = begin(memory, step.h * step.direction, lane, index)
        end = chain(memory, launch, step, lane, slots, End(slots[0], value, slope))
        remember(slots, slope_at, step.accept, end.slope)

    return backend.device(follow)


def _from_start(memory, launch, step, lane, slots, end):
    return end


def _joint_of(backend: Any, j: int, slope_before: Callable, at: int) -> Callable:
    """Return ``joint(slots, course, first, last)``: the slope with which piece `j` begins."""
    if j:
        return backend.device(_no_joint)
    joint = build_joint(backend)

    def first_of_step(slots, course, first, last):
        return joint(slope_before(slots, at, course), first, last)

    return backend.device(first_of_step)


def _no_joint(slots, course, first, last):
    return first


def _then_state(before, course, after, summarise, index, part, joint) -> Callable:
    """Go on by a piece; where it ends, the next one starts to the bit."""

    def both(memory, launch, step, lane, slots, end):
        end = before(memory, launch, step, lane, slots, end)
        now = course(launch, step, end.since)
        value, slope = after(memory, step.h * step.direction, lane, index)
        first = joint(slots, now, end.slope, slope)
        summarise(slots, now, end.value, part * first, value, part * slope)
        return End(now.since, value, slope)

    return both


class Node(NamedTuple):
    """Buffers for observables where a piece ends; see `build_observables`."""

    state: Any  # (n,)
    slope: Any  # (n,): derivative by time
    values: Any  # (n_outputs,)
    rates: Any  # (n_outputs,): derivatives by the part of the step


def build_observables(
    loop: Any, context: BuildContext, inside: Inside, courses: list[Callable]
) -> Callable:
    """Return the function that follows all observables over a step.

    At both ends of each piece they are evaluated where the step's solution is, with their
    derivatives along it.
    """
    backend, pieces, tracking = context.backend, len(courses), loop.tracking
    n = loop.observables.n_outputs
    alloc_slots, alloc_since = observable_slots(context), state_slots(context)
    alloc_values, alloc_ahead = loop.observables_allocators(context)
    alloc_state, alloc_slope = context.allocator("inside_state"), context.allocator("inside_slope")
    alloc_rates = context.allocator("observable_rates")
    alloc_rates_ahead = context.allocator("proposed_observable_rates")
    begin = _build_evaluate(loop, context, inside, 0, pieces)
    slope_before = build_slope_before(backend, loop.begins_anew)
    chain, summarise = backend.device(_begun), []
    for j, course in enumerate(courses):
        if j < 2:  # later pieces are like the second one
            jumps, parts = (loop.observables.breakpoints or loop.jumps) and j == 0, []
            for one in tracking.observables:
                joint = _joint_of(backend, j, slope_before, one.slope_at)
                if one.by is not None:
                    joints = joint, _joint_of(backend, j, slope_before, one.slopes_at[1])
                    of_both = one, tracking.windowed, jumps, 1.0 / pieces, joints
                    parts.append(build_observable_pair(context, *of_both))
                    continue
                summarise_one = build_summarise(context, one, tracking.windowed, jumps)
                parts.append(_build_observable(backend, one, summarise_one, 1.0 / pieces, joint))
            made = in_turn(backend, parts, 4)
            summarise.append(made)
        evaluate = _build_evaluate(loop, context, inside, j + 1, pieces)
        chain = backend.device(_then_piece(chain, course, evaluate, summarise[-1], n))
    remember = _build_remember_all(backend, tracking.observables)

    def follow(memory, launch, step, lane):
        state, slope = alloc_state(memory, None), alloc_slope(memory, None)
        before = Node(state, slope, alloc_values(memory, None), alloc_rates(memory, None))
        after = Node(state, slope, alloc_ahead(memory, None), alloc_rates_ahead(memory, None))
        begin(memory, launch, step, lane, before)
        since, slots = alloc_since(memory, None), alloc_slots(memory, None)
        chain(memory, launch, step, lane, slots, since[0], before, after)
        remember(slots, step.accept, before.rates)

    return backend.device(follow)


def _build_remember_all(backend: Any, quantities: tuple[Tracked, ...]) -> Callable:
    """Return ``remember(slots, mask, rates)`` of observables whose step has ended."""
    remember = build_remember(backend)
    parts = [
        backend.device(_remember_one(remember, at, index))
        for one in quantities
        for at, index in zip(one.slopes_at, (one.index, one.by), strict=False)
    ]
    return in_turn(backend, parts, 3)


def _remember_one(remember, at: int, index: int | None) -> Callable:
    def one(slots, mask, rates):
        remember(slots, at, mask, rates[index])

    return one


def _begun(memory, launch, step, lane, slots, since, before, after):
    return since


def _then_piece(chain, course, evaluate, summarise, n) -> Callable:
    def both(memory, launch, step, lane, slots, since, before, after):
        since = chain(memory, launch, step, lane, slots, since, before, after)
        now = course(launch, step, since)
        evaluate(memory, launch, step, lane, after)
        summarise(slots, now, before, after)
        for i in range(n):
            before.values[i] = after.values[i]
            before.rates[i] = after.rates[i]
        return now.since

    return both


def _build_evaluate(
    loop: Any, context: BuildContext, inside: Inside, j: int, pieces: int
) -> Callable:
    """Return ``evaluate(memory, launch, step, lane, node)``: observables after `j` pieces."""
    backend, n, n_outputs = context.backend, loop.system.n_states, loop.observables.n_outputs
    at, observe = inside.at(j, pieces), loop.child_functions(context, "observables")
    observe_with_rate = observe.observe_with_rate
    time = build_time(backend, loop.system.own_clock)
    part, one = backend.constant(j / pieces), backend.constant(1.0)
    is_last, given = j == pieces, build_given_followed(loop, context)

    def evaluate(memory, launch, step, lane, node):
        h = select(step.accept, step.h, one) * step.direction
        for i in range(n):
            value, slope = at(memory, h, lane, i)
            node.state[i] = value
            node.slope[i] = slope / h
        elapsed = step.ahead if is_last else step.elapsed + part * step.h
        t = time(launch, step.direction, elapsed)
        more = given(launch, t, lane)
        observe_with_rate(t, node.state, node.slope, more, node.values, node.rates)
        for i in range(n_outputs):
            node.rates[i] = node.rates[i] * h

    return backend.device(evaluate)


def _build_observable(
    backend: Any, tracked: Tracked, summarise: Callable, part: float, joint: Callable
) -> Callable:
    """Return ``summarise(slots, course, before, after)`` of one observable.

    Where its rate is infinite, as that of a root is at zero, or of a speed at rest, the straight
    line between the ends of the piece stands in for it.
    """
    index, slope_at = tracked.index, tracked.slope_at
    share, spoil = backend.constant(part), build_spoil(backend)

    def one(slots, course, before, after):
        qa, qb = before.values[index], after.values[index]
        spoil(slots, slope_at, course.mask, qa, qb)
        da, db = share * before.rates[index], share * after.rates[index]
        db = select(is_finite(db), db, qb - qa)
        da = joint(slots, course, select(is_finite(da), da, qb - qa), db)
        summarise(slots, course, qa, da, qb, db)

    return backend.device(one)


def build_summarise(
    context: BuildContext, tracked: Tracked, windowed: bool, jumps: bool = False
) -> Callable:
    """Return the function that hands a piece of a quantity to all of its summaries.

    With `jumps` it may begin with another value than the last one ended with, behind a break.
    """
    backend = context.backend
    make, cut = build_piece(backend), build_cut(backend)
    parts = [
        backend.device(_update_at(*_device(backend, summary), at))
        for _, summary, at in tracked.summaries
    ]
    update = in_turn(backend, parts, 4)
    if jumps:
        update = backend.device(_at_jump(update, build_only_start(backend)))
    else:
        update = backend.device(_without_jump(update))

    def whole(slots, course, qa, da, qb, db):
        piece = make(course.start, course.length, course.share, course.per_time, qa, da, qb, db)
        update(slots, course, piece)

    def within(slots, course, qa, da, qb, db):
        qa, da, qb, db = cut(course.low, course.high, qa, da, qb, db)
        piece = make(course.start, course.length, course.share, course.per_time, qa, da, qb, db)
        update(slots, course, piece)

    return backend.device(within if windowed else whole)


def _without_jump(update: Callable) -> Callable:
    def at_once(slots, course, piece):
        update(slots, course.mask, course.first, piece)

    return at_once


def _at_jump(update: Callable, only_start: Callable) -> Callable:
    def jump_first(slots, course, piece):
        if any_lane(course.anew):
            none = course.anew & ~course.anew
            update(slots, course.anew, none, only_start(piece))
        update(slots, course.mask, course.first, piece)

    return jump_first


def _device(backend, summary: Summary) -> tuple[Callable, Callable]:
    start, update = summary.build_start(backend), summary.build_update(backend)
    for name, made in (("build_start", start), ("build_update", update)):
        if not callable(made):
            what = f"`{type(summary).__name__}.{name}` returned {made!r}"
            raise TypeError(f"{what}, but must return a function (slots, at, mask, piece).")
    return backend.device(start), backend.device(update)


def _update_at(start: Callable, update: Callable, at: int) -> Callable:
    def one(slots, mask, first, piece):
        start(slots, at, first, piece)
        update(slots, at, mask, piece)

    return one
