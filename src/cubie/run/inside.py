"""Times to save at that lie inside steps: the state there is read off the step's own solution.

Where the steps of a run lie does not depend on them. A step with such times in it writes the
coefficients of its solution once, a polynomial in the part of the step that has passed, and all
lanes then go through the times of theirs together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from cubie.backend import any_lane, gather, maximum, minimum, select
from cubie.run.clock import build_clock
from cubie.run.dense import build_count, build_prepare
from cubie.run.points_in_rows import build_go_through_rows
from cubie.run.saving import Point, SaveMode, build_store_at_times

if TYPE_CHECKING:
    from cubie.algorithms.reading import ReadingFunctions
    from cubie.backend import Backend
    from cubie.factory import BuildContext


def register_points(loop: Any) -> None:
    """Register the buffers of a loop that reads points off the solution inside steps."""
    n, coefficients = loop.system.n_states, loop.algorithm.n_coefficients
    for name, size in (("polynomial", n * coefficients), ("point_state", n)):
        during = {"phases": ("summarise",), "enabled": size > 0, "access_weight": 2.0}
        loop.register_buffer(name, size, **during)


def time_to_save(launch, at):
    """Return time number `at` to save at, and what rounding took from it; a device function."""
    inputs, run, n_runs = launch
    n_times, columns, stride = inputs.limits[1], inputs.limits[5], inputs.limits[6]
    at = maximum(minimum(at, n_times - 1), 0)
    where = at * columns + minimum(run, n_runs - 1) * stride
    return gather(inputs.save_times, where), gather(inputs.save_times, where + n_times * columns)


class Points(NamedTuple):
    """The next points of runs, as a step is left that may have points inside; values of lanes."""

    saved: Any  # how many were kept before
    due: Any  # lanes in which the next one is inside
    time: Any  # of the next one, from the start of the run
    correction: Any  # what rounding took from that
    per_time: Any  # one over the size of the step
    signed: Any  # that size, with the direction


def build_is_due(loop: Any, backend: Backend) -> Callable:
    """Return ``is_due(launch, step, saved, time, correction)``: is that point inside the step?"""
    left = build_clock(loop.save_mode, backend, loop.controller.adaptive).left
    zero = backend.constant(0.0)

    def is_due(launch, step, saved, time, correction):
        reached = left(time, correction, step.ahead, step.ahead_carry) <= zero
        return step.accept & reached & (saved < launch.inputs.limits[1])

    return backend.device(is_due)


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
    """Return the `save` of runs whose points lie inside steps; None where steps lead to them.

    Where the solution of every step is kept, its coefficients are those that it is kept by.
    """
    if loop.save_mode is not SaveMode.TIMES:
        return None
    backend = context.backend
    reading = loop.algorithm.build_reading(context.within("algorithm"))
    # Observables are worked out at one point after the other.
    in_rows = backend.keeps_rows and reading.from_coefficients and observe is None
    if in_rows and loop.kept:
        go_through = build_go_through_rows(loop, context, reading)
    else:
        go_through = _build_go_through(loop, context, reading, observe)
    prepare = build_prepare(loop, context, reading)
    is_prepared = backend.device(_with_points if loop.record is None else _accepted)
    alloc_point = context.allocator("point_state")
    alloc_polynomial = alloc_point
    if loop.algorithm.n_coefficients:
        alloc_polynomial = context.allocator("polynomial")
    enter, time_of_point = context.phase("summarise"), backend.device(time_to_save)
    is_due, one = build_is_due(loop, backend), backend.constant(1.0)
    count = backend.device(build_count(loop.counter_names))

    def read(memory, launch, outputs, step, saved, point):
        enter(memory)
        time, correction = time_of_point(launch, saved)
        due = is_due(launch, step, saved, time, correction)
        if any_lane(is_prepared(step, due)):
            polynomial, inside = alloc_polynomial(memory, None), alloc_point(memory, None)
            h = select(step.accept, step.h, one)
            per_time = one / h
            count(is_prepared(step, due), point.lane.counters)
            signed = h * step.direction
            prepare(memory, launch, outputs, step, signed, point.lane, inside, polynomial)
            saved = go_through(
                memory, launch, outputs, step,
                Points(saved, due, time, correction, per_time, signed), inside, polynomial, point,
            )  # fmt: skip
        return saved

    return backend.device(read)


def _build_go_through(
    loop: Any, context: BuildContext, reading: ReadingFunctions, observe: Callable | None
) -> Callable:
    """Return ``go_through(memory, launch, outputs, step, due, inside, polynomial, point)``.

    It keeps the points of a step that was `Taken`, those of all lanes together, and returns the new
    `saved`; `inside` is scratch (n,).
    """
    backend, n = context.backend, loop.system.n_states
    store = build_store_at_times(backend, loop.kept, observe)
    left = build_clock(loop.save_mode, backend, loop.controller.adaptive).left
    is_due, time_of_point = build_is_due(loop, backend), backend.device(time_to_save)
    value, zero = reading.value, backend.constant(0.0)

    def go_through(memory, launch, outputs, step, points, inside, polynomial, point):
        saved, due, time, correction, per_time, signed = points
        state, proposed = point.lane.state, point.state
        found = Point(inside, point.observables, point.lane)
        while any_lane(due):
            passed = left(time, correction, step.elapsed, step.carry)
            theta = passed * per_time
            # At the end to the bit what the step leads to.
            at_end = left(time, correction, step.ahead, step.ahead_carry) >= zero
            for i in range(n):
                between = value(memory, signed, theta, state, polynomial, i)
                inside[i] = select(at_end, proposed[i], between)
            store(launch, outputs, found, time, saved, due)
            saved = select(due, saved + 1, saved)
            time, correction = time_of_point(launch, saved)
            due = is_due(launch, step, saved, time, correction)
        return saved

    return backend.device(go_through)


def _with_points(step, due):
    return due


def _accepted(step, due):
    return step.accept
