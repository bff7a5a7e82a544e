"""The solution as a function of time: of every accepted step the polynomial that it is inside.

What is kept of a step is a record of numbers of the run's dtype: the clock where it starts (elapsed
time, and what rounding took from it), its size, the state there, and the coefficients of how far
the solution is from that state, a polynomial in the part of the step that has passed. A last
record, whose coefficients are not written, is of where the run ends. The records of a run lie one
after the other: beyond its room they are counted only, as points of runs saved at every step are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen

from cubie.backend import any_lane, load_run, select, store_run
from cubie.run.events.buffers import event_buffer
from cubie.run.saving import SaveMode

if TYPE_CHECKING:
    from cubie.algorithms.reading import ReadingFunctions
    from cubie.backend import Backend
    from cubie.factory import BuildContext

# Places in a record, before the state and the coefficients.
ELAPSED, CARRY, SIZE = range(3)
FIRST_STATE = 3


@frozen
class StepRecord:
    """What is kept of a step.

    Attributes
    ----------
    n_states : int
    centres : tuple of float
        Of the polynomial, in Newton's form: one for each coefficient, the first of them 0. See
        `cubie.tableaus.nested`.
    """

    n_states: int
    centres: tuple[float, ...]

    @property
    def degree(self) -> int:
        """Coefficients of each state, those of a number next to each other."""
        return len(self.centres)

    @property
    def size(self) -> int:
        """Numbers in a record."""
        return FIRST_STATE + self.n_states * (1 + self.degree)


def build_recorded(loop: Any, context: BuildContext, save: Callable) -> Callable:
    """Return the `save` of a loop (see `SaveFunctions`) that keeps the solution, if it does so.

    That of points inside steps does it by itself: it needs the same coefficients.
    """
    if loop.record is None or loop.save_mode is SaveMode.TIMES:
        return save
    backend, enter = context.backend, context.phase("summarise")
    reading = loop.algorithm.build_reading(context.within("algorithm"))
    prepare, one = build_prepare(loop, context, reading), backend.constant(1.0)
    alloc_polynomial = context.allocator("polynomial")
    alloc_point = context.allocator("point_state")
    count = backend.device(build_count(loop.counter_names))

    def save_and_keep(memory, launch, outputs, step, saved, point):
        saved = save(memory, launch, outputs, step, saved, point)
        enter(memory)
        if any_lane(step.accept):
            polynomial, scratch = alloc_polynomial(memory, None), alloc_point(memory, None)
            signed = select(step.accept, step.h, one) * step.direction
            count(step.accept, point.lane.counters)
            prepare(memory, launch, outputs, step, signed, point.lane, scratch, polynomial)
        return saved

    return backend.device(save_and_keep)


def build_prepare(loop: Any, context: BuildContext, reading: ReadingFunctions) -> Callable:
    """Return ``prepare(memory, launch, outputs, step, signed, lane, scratch, polynomial)``.

    It writes the coefficients of a step that was `Taken`, of the size `signed`, and its record if
    the solution is kept.
    """
    backend, prepare = context.backend, reading.prepare

    def prepare_alone(memory, launch, outputs, step, signed, lane, scratch, polynomial):
        prepare(memory, step.t, signed, lane.state, step.given, scratch, polynomial)

    if loop.record is None:
        return backend.device(prepare_alone)
    n, degree = loop.record.n_states, loop.record.degree
    place, store_start = _build_place(loop, context), _build_store_start(loop, backend)
    first_coefficient = FIRST_STATE + n

    def prepare_and_keep(memory, launch, outputs, step, signed, lane, scratch, polynomial):
        prepare(memory, step.t, signed, lane.state, step.given, scratch, polynomial)
        at, due = place(memory, launch, outputs, lane.counters, step.accept)
        store_start(outputs, at, due, step.elapsed, step.carry, step.h, lane.state)
        for k in range(degree):
            for i in range(n):
                where = first_coefficient + k * n + i
                store_run(outputs.dense, where, at, due, polynomial[k * n + i])

    return backend.device(prepare_and_keep)


def build_count(names: tuple[str, ...]) -> Callable:
    """Return ``count(due, counters)``: steps that points are read off, where they are counted."""

    def nothing(due, counters):
        pass

    if "read" not in names:
        return nothing
    at = names.index("read")

    def count(due, counters):
        counters[at] = select(due, counters[at] + 1, counters[at])

    return count


def build_end_record(loop: Any, context: BuildContext) -> Callable:
    """Return ``end(memory, launch, outputs, done, elapsed, carry, lane)``: keeps where runs end."""
    backend = context.backend
    if loop.record is None:
        return backend.device(_nothing)
    place, store_start = _build_place(loop, context), _build_store_start(loop, backend)
    zero = backend.constant(0.0)

    def end(memory, launch, outputs, done, elapsed, carry, lane):
        at, due = place(memory, launch, outputs, lane.counters, done)
        store_start(outputs, at, due, elapsed, carry, select(done, zero, zero), lane.state)

    return backend.device(end)


def _nothing(memory, launch, outputs, done, elapsed, carry, lane):
    pass


def _build_place(loop: Any, context: BuildContext) -> Callable:
    """Return ``place(memory, launch, outputs, counters, mask) -> (where, mask)`` of next records.

    As many steps as a run accepted before have theirs; those beyond the room have none.
    """
    size, device = loop.record.size, context.backend.device
    count_all = device(_as_counted)
    if loop.jumps and not loop.controller.adaptive:
        # Steps that an event cut short are no points of the grid, and not among the others.
        alloc_short = event_buffer(context, "short_steps")

        def add_short(memory, counters):
            return counters[0] + alloc_short(memory, None)[0]

        count_all = device(add_short)

    def place(memory, launch, outputs, counters, mask):
        run, n_runs = launch.run, launch.n_runs
        number = load_run(outputs.first, 0, 1, run, n_runs) + count_all(memory, counters)
        due = mask & (number < load_run(outputs.first, 1, 1, run, n_runs))
        return number * size, due

    return device(place)


def _as_counted(memory, counters):
    return counters[0]


def _build_store_start(loop: Any, backend: Backend) -> Callable:
    """Return ``store(outputs, at, due, elapsed, carry, h, state)``, of all but coefficients."""
    n, zero = loop.record.n_states, backend.constant(0.0)
    # Other clocks carry something else, or nothing.
    compensates = loop.controller.adaptive and backend.dtype == np.float32
    rounded = backend.device(_as_it_is if compensates else _build_none(zero))

    def store(outputs, at, due, elapsed, carry, h, state):
        store_run(outputs.dense, ELAPSED, at, due, elapsed)
        store_run(outputs.dense, CARRY, at, due, rounded(carry))
        store_run(outputs.dense, SIZE, at, due, h)
        for i in range(n):
            store_run(outputs.dense, FIRST_STATE + i, at, due, state[i])

    return backend.device(store)


def _as_it_is(carry):
    return carry


def _build_none(zero: Any) -> Callable:
    def none(carry):
        return zero * carry

    return none
