"""Times to save at that lie inside steps: the state there is read off the step's own solution.

Where the steps of a run lie does not depend on them. A step with such times in it writes the
coefficients of its solution once, a polynomial in the part of the step that has passed, and all
lanes then go through the times of theirs together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cubie.backend import any_lane, gather, maximum, minimum, rounded_sum, select
from cubie.run.clock import build_clock
from cubie.run.saving import Point, SaveMode, build_store_at_times

if TYPE_CHECKING:
    from cubie.factory import BuildContext


def register_points(loop: Any) -> None:
    """Register the buffers of a loop that reads points off the solution inside steps."""
    n, degree = loop.system.n_states, loop.algorithm.degree_inside
    for name, size in (("polynomial", n * degree), ("point_state", n)):
        loop.register_buffer(name, size, phases=("summarise",), access_weight=2.0)


def time_to_save(launch, at):
    """Return time number `at` to save at, and what rounding took from it; a device function."""
    inputs, run, n_runs = launch
    n_times, columns, stride = inputs.limits[1], inputs.limits[5], inputs.limits[6]
    at = maximum(minimum(at, n_times - 1), 0)
    where = at * columns + minimum(run, n_runs - 1) * stride
    return gather(inputs.save_times, where), gather(inputs.save_times, where + n_times * columns)


def build_begins(loop: Any, context: BuildContext) -> Callable:
    """Return ``begins(launch, saved, at_point)``: whether a run's start is its first point.

    `at_point` says so of steps that land on their points.
    """
    backend = context.backend
    if loop.save_mode is not SaveMode.TIMES:
        return backend.device(_as_found)
    time_of_point, zero = backend.device(time_to_save), backend.constant(0.0)

    def begins(launch, saved, at_point):
        time, correction = time_of_point(launch, saved)
        return (time == zero) & (correction == zero)

    return backend.device(begins)


def _as_found(launch, saved, at_point):
    return at_point


def build_before_point(loop: Any, context: BuildContext) -> Callable:
    """Return ``before(launch, elapsed, saved)``: whether the next point is still ahead."""
    backend = context.backend
    if loop.save_mode is not SaveMode.TIMES:
        return backend.device(_always)
    time_of_point = backend.device(time_to_save)

    def before(launch, elapsed, saved):
        time, _ = time_of_point(launch, saved)
        return (elapsed < time) | (saved >= launch.inputs.limits[1])

    return backend.device(before)


def _always(launch, elapsed, saved):
    return elapsed == elapsed


def build_read(loop: Any, context: BuildContext, observe: Callable | None) -> Callable | None:
    """Return the `save` of runs whose points lie inside steps; None where steps lead to them."""
    if loop.save_mode is not SaveMode.TIMES:
        return None
    backend, n = context.backend, loop.system.n_states
    store = build_store_at_times(backend, loop.kept, observe)
    fill = loop.algorithm.build_polynomial(context.within("algorithm"))
    evaluate = backend.device(_build_evaluate(n, loop.algorithm.degree_inside))
    alloc_polynomial = context.allocator("polynomial")
    alloc_point = context.allocator("point_state")
    enter, time_of_point = context.phase("summarise"), backend.device(time_to_save)
    left = build_clock(loop.save_mode, backend, loop.controller.adaptive).left
    zero, one = backend.constant(0.0), backend.constant(1.0)
    count = backend.device(_build_count(loop.counter_names))

    def is_due(launch, step, saved, time, correction):
        reached = left(time, correction, step.ahead, step.ahead_carry) <= zero
        return step.accept & reached & (saved < launch.inputs.limits[1])

    is_due = backend.device(is_due)

    def read(memory, launch, outputs, step, saved, point):
        enter(memory)
        time, correction = time_of_point(launch, saved)
        due = is_due(launch, step, saved, time, correction)
        if any_lane(due):
            polynomial, inside = alloc_polynomial(memory, None), alloc_point(memory, None)
            h = select(step.accept, step.h, one)
            per_time = one / h
            count(due, point.lane.counters)
            state, proposed = point.lane.state, point.state
            fill(memory, step.t, h * step.direction, state, step.given, inside, polynomial)
            found = Point(inside, point.observables, point.lane)
            while any_lane(due):
                passed = left(time, correction, step.elapsed, step.carry)
                evaluate(state, polynomial, passed * per_time, inside)
                # At the end to the bit what the step leads to.
                at_end = left(time, correction, step.ahead, step.ahead_carry) >= zero
                for i in range(n):
                    inside[i] = select(at_end, proposed[i], inside[i])
                store(launch, outputs, found, time, saved, due)
                saved = select(due, saved + 1, saved)
                time, correction = time_of_point(launch, saved)
                due = is_due(launch, step, saved, time, correction)
        return saved

    return backend.device(read)


def _build_count(names: tuple[str, ...]) -> Callable:
    """Return ``count(due, counters)``: steps that points are read off, where they are counted."""

    def nothing(due, counters):
        pass

    if "read" not in names:
        return nothing
    at = names.index("read")

    def count(due, counters):
        counters[at] = select(due, counters[at] + 1, counters[at])

    return count


def _build_evaluate(n: int, degree: int) -> Callable:
    """Return ``evaluate(state, polynomial, theta, inside)``: the state at a part of the step."""
    last = degree - 1

    def evaluate(state, polynomial, theta, inside):
        for i in range(n):
            total = polynomial[last * n + i]
            for k in range(last):
                total = total * theta + polynomial[(last - 1 - k) * n + i]
            # Rounded as a sum of its own: two ways to add it up would be two values.
            inside[i] = rounded_sum(state[i], theta * total)

    return evaluate
