"""What is kept of events: when each happened, the state there, and how often it did.

They lie behind the summaries, [slot][run]: for each event, and each time it may happen, the time
from the start of the run and the state; how often it did behind the counters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from cubie.backend import minimum, rounded_difference, rounded_sum, select, store_run
from cubie.factory import BuildContext
from cubie.run.events.buffers import event_buffer

# Of `KernelInputs.limits`: how many of each event there is room for.
ROOM = 9


class Root(NamedTuple):
    """Where an event happens; values of lanes but for its number."""

    event: Any
    theta: Any  # the part of the step
    count: Any  # how often it has happened before
    due: Any  # lanes in which it does


def n_slots(n_events: int, n_states: int, room: int) -> int:
    """Return how many numbers of each run are kept of events."""
    return n_events * room * (1 + n_states)


def first_slot(loop: Any) -> int:
    """Return how many numbers of a run come before those of events."""
    return 0 if loop.tracking is None else loop.tracking.n_slots


def build_reach(loop: Any, backend: Any) -> Callable:
    """Return ``reach(step, theta) -> (elapsed, carry)``: the clock at a part of a step.

    That of steps of one size carries along how far behind a point of its grid it is.
    """
    one = backend.constant(1.0)

    def on_grid(step, theta):
        passed = theta * step.h
        elapsed = minimum(rounded_sum(step.elapsed, passed), step.ahead)
        return select(theta >= one, step.ahead, elapsed), step.carry + passed

    if not loop.controller.adaptive:
        return backend.device(on_grid)

    def reach(step, theta):
        passed = rounded_sum(theta * step.h, step.carry)
        elapsed = rounded_sum(step.elapsed, passed)
        carry = rounded_difference(passed, rounded_difference(elapsed, step.elapsed))
        at_end = theta >= one
        elapsed = select(at_end, step.ahead, minimum(elapsed, step.ahead))
        return elapsed, select(at_end, step.ahead_carry, carry)

    return backend.device(reach)


def build_record(loop: Any, context: BuildContext) -> Callable:
    """Return ``record(memory, launch, outputs, step, root, lane, looked)``.

    What there is no room for is counted all the same.
    """
    backend, n, first = context.backend, loop.system.n_states, first_slot(loop)
    state_at, reach, room_at = _build_state_at(loop, context), build_reach(loop, backend), ROOM

    def record(memory, launch, outputs, step, root, lane, looked):
        k, theta, count, due = root
        room, run, n_runs = launch.inputs.limits[room_at], launch.run, launch.n_runs
        due = due & (count < room)
        elapsed, _ = reach(step, theta)
        where = first + (k * room + count) * (1 + n)
        store_run(outputs.summaries, where * n_runs, run, due, elapsed)
        for i in range(n):
            state = state_at(memory, step, theta, lane, looked.polynomial, i)
            store_run(outputs.summaries, (where + 1 + i) * n_runs, run, due, state)

    return backend.device(record)


def _build_state_at(loop: Any, context: BuildContext) -> Callable:
    backend, one = context.backend, context.backend.constant(1.0)

    def at_end(memory, step, theta, lane, polynomial, i):
        return lane.proposed.state[i]

    if not loop.events.rules.at_roots:
        return backend.device(at_end)
    value = loop.algorithm.build_reading(context.within("algorithm")).value

    def anywhere(memory, step, theta, lane, polynomial, i):
        signed = step.h * step.direction
        inside = value(memory, signed, theta, lane.state, polynomial, i)
        return select(theta >= one, lane.proposed.state[i], inside)

    return backend.device(anywhere)


def build_write_counts(loop: Any, context: BuildContext) -> Callable:
    """Return ``write(memory, launch, outputs, done)``: how often each event has happened."""
    allocate, n_events = event_buffer(context, "event_counts"), loop.events.n_events
    before = loop.n_counters

    def write(memory, launch, outputs, done):
        counts, run, n_runs = allocate(memory, None), launch.run, launch.n_runs
        for k in range(n_events):
            store_run(outputs.counters, (before + k) * n_runs, run, done, counts[k])

    return context.backend.device(write)
