"""Points inside steps where those of a run lie in a row: several of one run are read off together.

One lane after the other goes through the points of its step. What is written beyond them, up to
the end of the row, later steps of the run write again, or its end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cubie.backend import any_lane, select
from cubie.run.clock import build_clock

if TYPE_CHECKING:
    from cubie.algorithms.reading import ReadingFunctions
    from cubie.backend import Backend
    from cubie.factory import BuildContext


class Kept(NamedTuple):
    """What points of a step are read off, in memory; buffers, most of one element."""

    elapsed: Any
    carry: Any
    ahead: Any
    ahead_carry: Any
    per_time: Any
    run: Any
    saved: Any
    state: Any  # (n,)
    proposed: Any  # (n,)
    polynomial: Any


def build_go_through_rows(loop: Any, context: BuildContext, reading: ReadingFunctions) -> Callable:
    """Return `go_through` of `cubie.run.inside` for states alone, read off a polynomial."""
    backend = context.backend
    rows, keep = backend.rows(), backend.keep()
    waiting_of, first_of, others_of, only = rows.waiting, rows.first, rows.others, rows.only
    go_along = _build_go_along(loop, backend, reading)
    compensates = loop.controller.adaptive and backend.dtype == np.float32
    carries = backend.device(_carries if compensates else _no_carries)

    def go_through(memory, launch, outputs, step, points, inside, polynomial, point):
        carry, ahead_carry = carries(step)
        saved = points.saved
        kept = Kept(
            keep(step.elapsed), keep(carry), keep(step.ahead), keep(ahead_carry),
            keep(points.per_time), keep(launch.run), keep(saved), point.lane.state, point.state,
            polynomial,
        )  # fmt: skip
        waiting = waiting_of(points.due)
        while waiting != 0:
            lane = first_of(waiting)
            n = go_along(memory, launch, outputs, kept, lane)
            saved = select(only(lane, points.due), saved + n, saved)
            waiting = others_of(waiting)
        return saved

    return backend.device(go_through)


def _carries(step):
    return step.carry, step.ahead_carry


def _no_carries(step):
    # Other clocks carry something else, or nothing, and do not ask for it.
    return step.elapsed, step.ahead


def _build_go_along(loop: Any, backend: Backend, reading: ReadingFunctions) -> Callable:
    """Return ``go_along(memory, launch, outputs, kept, lane)``: keep the points of one lane's step.

    It returns how many there were.
    """
    rows, width = backend.rows(), backend.rows().width
    of, number, load = rows.of, rows.number, rows.load
    count, store = rows.count, rows.store
    (states,) = loop.kept
    size, places = states.size, states.chosen or tuple(range(states.size))
    left = build_clock(loop.save_mode, backend, loop.controller.adaptive).left
    value, zero = reading.value, backend.constant(0.0)

    def go_along(memory, launch, outputs, kept, lane):
        times, limits = launch.inputs.save_times, launch.inputs.limits
        n_times, columns = limits[1], limits[5]
        run, before = number(kept.run, lane), number(kept.saved, lane)
        column, row = run * limits[6], run * size * n_times
        elapsed, carry = of(kept.elapsed, lane)[0], of(kept.carry, lane)[0]
        ahead, ahead_carry = of(kept.ahead, lane)[0], of(kept.ahead_carry, lane)[0]
        per_time = of(kept.per_time, lane)[0]
        state, proposed = of(kept.state, lane), of(kept.proposed, lane)
        polynomial = of(kept.polynomial, lane)
        at, more = before, True
        while more:
            room, first = n_times - at, at * columns + column
            time = load(times, first, columns, room)
            correction = load(times, first + n_times * columns, columns, room)
            beyond = left(time, correction, ahead, ahead_carry)
            n_due = count(beyond <= zero)
            theta = left(time, correction, elapsed, carry) * per_time
            for i in range(size):
                found = value(memory, per_time, theta, state, polynomial, places[i])
                store(outputs.states, row + i * n_times + at, room, n_due, found)
            at = at + n_due
            if any_lane(beyond == zero):
                # At the end to the bit what the step leads to.
                n_there = count(beyond == zero)
                for i in range(size):
                    there = row + i * n_times + at - n_there
                    store(outputs.states, there, n_there, n_there, proposed[places[i]])
            more = n_due == width
        return at - before

    return backend.device(go_along)
