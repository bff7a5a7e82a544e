"""The clock of a run: how far it has come, and the step that it takes next.

Time is counted from the start of the run and grows whichever way the run goes: what the clock
holds does not depend on how far from zero a run starts. State and clock take the same step.

* Steps of a given size lie on a grid, ``start + k * size``: they are counted, and between two
  stops nothing is summed that could drift.
* Steps of a chosen size are summed. In float64 the step taken is the one by which the sum grows;
  in float32, whose numbers lie far apart late in a long run, what rounding took from the sum is
  carried along (Kahan, CACM 8, 1965, p. 40).

A right-hand side that reads the time gets the start plus what has elapsed, rounded to its dtype.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from attrs import astuple, evolve, frozen

from cubie.backend import (
    Backend,
    as_real,
    gather,
    load_run,
    maximum,
    minimum,
    rounded_difference,
    rounded_sum,
    select,
    shared_function,
    smaller,
)
from cubie.numerics.limits import LARGEST_STEP, build_step_limit
from cubie.run.saving import SaveMode

# A step may reach this much farther than planned to land on a stop: it saves
# the sliver of a step that rounding would leave.
STRETCH = 1.0 + 1e-6


class SummedStop(NamedTuple):
    """A time that steps must land on, whose sum is rounded; values of lanes."""

    elapsed: Any  # time from the start of the run to here


class CompensatedStop(NamedTuple):
    """A time that steps must land on, whose sum is compensated; values of lanes."""

    elapsed: Any  # time from the start of the run to here
    correction: Any  # what rounding to the run's dtype took from it


class CountedStop(NamedTuple):
    """A time that counted steps must land on; values of lanes."""

    elapsed: Any  # time from the start of the run to here
    origin: Any  # where step 0 lies of the grid that leads here
    last_step: Any  # size of the step that lands here
    count: Any  # steps from the start of the run to here


class Proposal(NamedTuple):
    """The step that a clock takes next; values of lanes."""

    h: Any  # its size, positive
    planned: Any  # the size before it was cut or stretched to land on the stop
    lands: Any  # whether it does


class Arrival(NamedTuple):
    """A step that was taken, and where it led; values of lanes."""

    h: Any
    planned: Any
    lands: Any
    ahead: Any  # the clock's `elapsed` after it
    ahead_carry: Any


@frozen
class ClockFunctions:
    """Device functions of a clock.

    Its state is two values, `elapsed` and `carry`; lanes where the clock needs them. `counters`
    are those of the run, of which the first counts accepted steps. A `stop` is one of the
    records above.

    Attributes
    ----------
    final_stop : callable
        ``final_stop(launch) -> stop``: the end of the run.
    stop : callable
        ``stop(launch, final, at) -> stop``: the next one, number `at` of the run.
    restart : callable
        ``restart(fresh, elapsed, carry) -> (elapsed, carry)``: runs start in the lanes of a mask.
    now : callable
        ``now(stop, elapsed, dt, counters) -> elapsed``: time from the start of the run.
    propose : callable
        ``propose(launch, stop, elapsed, carry, dt, counters) -> Proposal``: the next step.
    arrive : callable
        ``arrive(stop, elapsed, carry, counters, proposal) -> Arrival``: where it leads. To be asked
        once the step is computed, so that the answer takes no registers meanwhile.
    keep : callable
        ``keep(accept, arrival, elapsed, carry) -> (elapsed, carry)``: after an attempt.
    has_ended : callable
        ``has_ended(lands, stop, final) -> mask``: a step that lands on a stop ends the run.
    left : callable
        ``left(time, correction, elapsed, carry)``: what time there is from where the clock is to
        another time from the start of the run, and what rounding took from that.
    is_stuck : callable
        ``is_stuck(accept, h, elapsed) -> mask``: where a step was accepted, it is so small that it
        does not move the clock; elsewhere, that no smaller one is worth an attempt.
    """

    final_stop: Callable
    stop: Callable
    restart: Callable
    now: Callable
    propose: Callable
    arrive: Callable
    keep: Callable
    has_ended: Callable
    left: Callable
    is_stuck: Callable


@shared_function
def build_clock(
    mode: SaveMode, backend: Backend, adaptive: bool, breaks: bool = False, own: bool = False
) -> ClockFunctions:
    """Return the clock of runs that save in `mode` and choose their steps, or do not.

    With `breaks` there are stops on the way in every mode, and runs may have their own; with `own`
    they have spans, step sizes, or stops, of their own.
    """
    summing = _compensated if backend.dtype == np.float32 else _rounded
    column = backend.device(column_of_stops if breaks or own else _one_column)
    last = backend.device(_last_of_column if breaks or own else _last)
    made = (summing if adaptive else _counted)(backend, column, last, own)
    if mode is not SaveMode.STOPS and not breaks:
        made = evolve(made, stop=_the_final_stop, has_ended=_lands)
    functions = astuple(made, recurse=False)
    return ClockFunctions(*map(backend.device, functions))


@shared_function
def build_least_step(backend: Backend) -> Callable:
    """Return ``least(elapsed)``: a step size that the clock can still tell from nothing.

    Ten spacings of its numbers there, and more than zero everywhere.
    """
    info = np.finfo(backend.dtype)
    # What the compensated clock carries along is rounded as finely as a product of two spacings.
    finest = info.eps**2 * 2.0**6 if backend.dtype == np.float32 else 10 * info.eps
    spacing, smallest = backend.constant(finest), backend.constant(info.tiny * 1e3)

    def least(elapsed):
        return maximum(spacing * elapsed, smallest)

    return backend.device(least)


def _one_column(launch, at):
    return at, launch.inputs.limits[2]


def column_of_stops(launch, at):
    """Return where number `at` of a run's stops is, and how far apart fields are."""
    inputs, run, n_runs = launch
    n_stops, columns, stride = inputs.limits[2], inputs.limits[3], inputs.limits[4]
    return at * columns + minimum(run, n_runs - 1) * stride, n_stops * columns


def _last(launch):
    n = launch.inputs.limits[2]
    return n - 1, n, 0


def _last_of_column(launch):
    limits = launch.inputs.limits
    n_stops, columns, stride = limits[2], limits[3], limits[4]
    return (n_stops - 1) * columns, n_stops * columns, stride


def _the_final_stop(launch, final, at):
    return final


def _lands(lands, stop, final):
    return lands


def _counted(backend: Backend, column: Callable, last: Callable, own: bool):
    """Count steps of one size."""

    def final_stop(launch):
        inputs, run, n_runs = launch
        at, n, stride = last(launch)
        return CountedStop(
            load_run(inputs.stops, at, stride, run, n_runs),
            load_run(inputs.stops, at + 2 * n, stride, run, n_runs),
            load_run(inputs.stops, at + 3 * n, stride, run, n_runs),
            load_run(inputs.stop_counts, at, stride, run, n_runs),
        )

    def stop_of_times(launch, final, at):
        # Beyond the last time to save at the end follows, unless it was that time.
        inputs = launch.inputs
        at, n = column(launch, minimum(at, inputs.limits[2] - 1))
        return CountedStop(
            gather(inputs.stops, at),
            gather(inputs.stops, at + 2 * n),
            gather(inputs.stops, at + 3 * n),
            gather(inputs.stop_counts, at),
        )

    def restart(fresh, elapsed, carry):
        return elapsed, carry

    def now(stop, elapsed, dt, counters):
        return stop.origin + as_real(counters[0], dt[0]) * dt[0]

    def propose(launch, stop, elapsed, carry, dt, counters):
        planned = dt[0]
        following = counters[0] + 1
        lands = following >= stop.count
        return Proposal(select(lands, stop.last_step, planned), planned, lands)

    def arrive(stop, elapsed, carry, counters, proposal):
        h, planned, lands = proposal
        ahead = stop.origin + as_real(counters[0] + 1, planned) * planned
        return Arrival(h, planned, lands, select(lands, stop.elapsed, ahead), carry)

    def keep(accept, arrival, elapsed, carry):
        # Known from the count: nothing to carry from step to step.
        return elapsed, carry

    def has_ended(lands, stop, final):
        return lands & (stop.count >= final.count)

    def is_stuck(accept, h, elapsed):
        return ~accept

    return ClockFunctions(
        final_stop,
        stop_of_times,
        restart,
        now,
        propose,
        arrive,
        keep,
        has_ended,
        _left,
        is_stuck,
    )


def _rounded(backend: Backend, column: Callable, last: Callable, own: bool):
    """Sum steps; the step taken is the one by which the sum grows."""
    stretch, zero = backend.constant(STRETCH), backend.constant(0.0)
    largest = build_step_limit(backend, LARGEST_STEP, own)

    def final_stop(launch):
        inputs, run, n_runs = launch
        at, _, stride = last(launch)
        return SummedStop(load_run(inputs.stops, at, stride, run, n_runs))

    def stop_of_times(launch, final, at):
        inputs = launch.inputs
        at, _ = column(launch, minimum(at, inputs.limits[2] - 1))
        return SummedStop(gather(inputs.stops, at))

    def restart(fresh, elapsed, carry):
        return select(fresh, zero, elapsed), carry

    def propose(launch, stop, elapsed, carry, dt, counters):
        remaining = stop.elapsed - elapsed
        planned = smaller(dt[0], largest(launch))
        lands = planned * stretch >= remaining
        ahead = rounded_sum(elapsed, planned)
        h = select(lands, remaining, rounded_difference(ahead, elapsed))
        return Proposal(h, planned, lands)

    def arrive(stop, elapsed, carry, counters, proposal):
        h, planned, lands = proposal
        ahead = rounded_sum(elapsed, planned)
        return Arrival(h, planned, lands, select(lands, stop.elapsed, ahead), carry)

    def keep(accept, arrival, elapsed, carry):
        return select(accept, arrival.ahead, elapsed), carry

    def has_ended(lands, stop, final):
        return lands & (stop.elapsed >= final.elapsed)

    return ClockFunctions(
        final_stop,
        stop_of_times,
        restart,
        _elapsed,
        propose,
        arrive,
        keep,
        has_ended,
        _left,
        _is_stuck(backend),
    )


def _compensated(backend: Backend, column: Callable, last: Callable, own: bool):
    """Sum steps, and carry along what rounding took from the sum."""
    stretch, zero = backend.constant(STRETCH), backend.constant(0.0)
    largest = build_step_limit(backend, LARGEST_STEP, own)

    def final_stop(launch):
        inputs, run, n_runs = launch
        at, n, stride = last(launch)
        return CompensatedStop(
            load_run(inputs.stops, at, stride, run, n_runs),
            load_run(inputs.stops, at + n, stride, run, n_runs),
        )

    def stop_of_times(launch, final, at):
        inputs = launch.inputs
        at, n = column(launch, minimum(at, inputs.limits[2] - 1))
        return CompensatedStop(gather(inputs.stops, at), gather(inputs.stops, at + n))

    def restart(fresh, elapsed, carry):
        return select(fresh, zero, elapsed), select(fresh, zero, carry)

    def propose(launch, stop, elapsed, carry, dt, counters):
        remaining = rounded_sum(
            rounded_difference(stop.elapsed, elapsed), rounded_difference(stop.correction, carry)
        )
        planned = smaller(dt[0], largest(launch))
        lands = planned * stretch >= remaining
        return Proposal(select(lands, remaining, planned), planned, lands)

    def arrive(stop, elapsed, carry, counters, proposal):
        h, planned, lands = proposal
        step = rounded_sum(planned, carry)
        ahead = rounded_sum(elapsed, step)
        left = rounded_difference(step, rounded_difference(ahead, elapsed))
        return Arrival(
            h,
            planned,
            lands,
            select(lands, stop.elapsed, ahead),
            select(lands, stop.correction, left),
        )

    def keep(accept, arrival, elapsed, carry):
        return select(accept, arrival.ahead, elapsed), select(accept, arrival.ahead_carry, carry)

    def has_ended(lands, stop, final):
        at_end = (stop.elapsed >= final.elapsed) & (stop.correction >= final.correction)
        return lands & at_end

    def left(time, correction, elapsed, carry):
        return rounded_sum(rounded_difference(time, elapsed), rounded_difference(correction, carry))

    return ClockFunctions(
        final_stop,
        stop_of_times,
        restart,
        _elapsed,
        propose,
        arrive,
        keep,
        has_ended,
        left,
        _is_stuck(backend),
    )


def _left(time, correction, elapsed, carry):
    return time - elapsed


def _elapsed(stop, elapsed, dt, counters):
    return elapsed


def _is_stuck(backend: Backend):
    """Return `is_stuck` of the clocks that sum their steps."""
    least = build_least_step(backend)
    nothing = backend.constant(10.0 * np.finfo(backend.dtype).tiny)

    def is_stuck(accept, h, elapsed):
        return h <= select(accept, nothing, least(elapsed))

    return is_stuck
