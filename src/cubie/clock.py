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
from attrs import frozen

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
)
from cubie.saving import SaveMode

# A step may reach this much farther than planned to land on a stop: it saves
# the sliver of a step that rounding would leave.
STRETCH = 1.0 + 1e-6


class Stop(NamedTuple):
    """A time that the steps of a run must land on; values of lanes."""

    elapsed: Any  # time from the start of the run to here
    correction: Any  # what rounding to the run's dtype took from it
    origin: Any  # where step 0 of the grid lies that leads here, where steps are counted
    last_step: Any  # size of the step that lands here, where steps are counted
    count: Any  # steps from the start of the run to here, where steps are counted


@frozen
class ClockFunctions:
    """Device functions of a clock.

    Its state is two values of lanes, `elapsed` and `carry`, zero at first; `counters` are those
    of the run, of which the first counts accepted steps.

    Attributes
    ----------
    final_stop : callable
        ``final_stop(inputs, run, n_runs) -> Stop``: the end of the run.
    stop : callable
        ``stop(inputs, final, saved) -> Stop``: the next one.
    now : callable
        ``now(stop, elapsed, dt, counters) -> elapsed``: time from the start of the run.
    time : callable
        ``time(inputs, run, n_runs, elapsed) -> t``: as right-hand sides read it.
    keep : callable
        ``keep(accept, ahead, elapsed) -> elapsed``: after an attempt, where `ahead` is the time
        that was aimed at.
    propose : callable
        ``propose(inputs, run, n_runs, stop, elapsed, carry, dt, counters) -> (h, planned,
        lands, elapsed, carry)``: the next step's size (positive), the size before it was cut or
        stretched to land on the stop, whether it lands there, and the state of the clock after it.
    has_ended : callable
        ``has_ended(stop, final) -> mask``: whether a stop is the end.
    too_small : callable
        ``too_small(h, elapsed) -> mask``: no step smaller than `h` is worth an attempt.
    stands_still : callable
        ``stands_still(h, lands, elapsed) -> mask``: a step so small does not move the clock.
    """

    final_stop: Callable
    stop: Callable
    now: Callable
    time: Callable
    keep: Callable
    propose: Callable
    has_ended: Callable
    too_small: Callable
    stands_still: Callable


@shared_function
def build_clock(mode: SaveMode, backend: Backend, adaptive: bool) -> ClockFunctions:
    """Return the clock of runs that save in `mode` and choose their steps, or do not."""
    device = backend.device
    summing = _build_compensated if backend.dtype == np.float32 else _build_rounded
    build = summing if adaptive else _build_counted
    now, keep, propose, has_ended, too_small, stands_still = build(backend)
    return ClockFunctions(
        device(_final_stop),
        device(_stop_of_times if mode is SaveMode.TIMES else _the_final_stop),
        device(now),
        device(_time),
        device(keep),
        device(propose),
        device(has_ended),
        device(too_small),
        device(stands_still),
    )


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


def _final_stop(inputs, run, n_runs):
    n_stops = inputs.limits[3]
    at = n_stops - 1
    return Stop(
        load_run(inputs.stops, at, 0, run, n_runs),
        load_run(inputs.stops, n_stops + at, 0, run, n_runs),
        load_run(inputs.stops, 2 * n_stops + at, 0, run, n_runs),
        load_run(inputs.stops, 3 * n_stops + at, 0, run, n_runs),
        load_run(inputs.stop_counts, at, 0, run, n_runs),
    )


def _the_final_stop(inputs, final, saved):
    return final


def _stop_of_times(inputs, final, saved):
    # Beyond the last time to save at the end follows, unless it was that time.
    n_stops = inputs.limits[3]
    at = minimum(saved, n_stops - 1)
    return Stop(
        gather(inputs.stops, at),
        gather(inputs.stops, at + n_stops),
        gather(inputs.stops, at + 2 * n_stops),
        gather(inputs.stops, at + 3 * n_stops),
        gather(inputs.stop_counts, at),
    )


def _time(inputs, run, n_runs, elapsed):
    start = load_run(inputs.time_span, 0, 0, run, n_runs)
    return start + load_run(inputs.time_span, 1, 0, run, n_runs) * elapsed


def _build_counted(backend: Backend):
    def now(stop, elapsed, dt, counters):
        return stop.origin + as_real(counters[0], dt[0]) * dt[0]

    def keep(accept, ahead, elapsed):
        # Known from the count: nothing to carry from step to step.
        return elapsed

    def propose(inputs, run, n_runs, stop, elapsed, carry, dt, counters):
        planned = dt[0]
        following = counters[0] + 1
        lands = following >= stop.count
        ahead = stop.origin + as_real(following, planned) * planned
        h = select(lands, stop.last_step, planned)
        return h, planned, lands, select(lands, stop.elapsed, ahead), carry

    def has_ended(stop, final):
        return stop.count >= final.count

    def too_small(h, elapsed):
        return h == h

    def stands_still(h, lands, elapsed):
        return h != h

    return now, keep, propose, has_ended, too_small, stands_still


def _build_rounded(backend: Backend):
    stretch = backend.constant(STRETCH)
    now, keep, too_small, stands_still = _build_summed(backend)

    def has_ended(stop, final):
        return stop.elapsed >= final.elapsed

    def propose(inputs, run, n_runs, stop, elapsed, carry, dt, counters):
        remaining = stop.elapsed - elapsed
        planned = minimum(dt[0], load_run(inputs.step_limits, 1, 0, run, n_runs))
        lands = planned * stretch >= remaining
        ahead = rounded_sum(elapsed, planned)
        h = select(lands, remaining, rounded_difference(ahead, elapsed))
        return h, planned, lands, select(lands, stop.elapsed, ahead), carry

    return now, keep, propose, has_ended, too_small, stands_still


def _build_compensated(backend: Backend):
    stretch = backend.constant(STRETCH)
    now, keep, too_small, stands_still = _build_summed(backend)

    def has_ended(stop, final):
        return (stop.elapsed >= final.elapsed) & (stop.correction >= final.correction)

    def propose(inputs, run, n_runs, stop, elapsed, carry, dt, counters):
        remaining = rounded_sum(
            rounded_difference(stop.elapsed, elapsed), rounded_difference(stop.correction, carry)
        )
        planned = minimum(dt[0], load_run(inputs.step_limits, 1, 0, run, n_runs))
        lands = planned * stretch >= remaining
        step = rounded_sum(planned, carry)
        ahead = rounded_sum(elapsed, step)
        left = rounded_difference(step, rounded_difference(ahead, elapsed))
        return (
            select(lands, remaining, planned),
            planned,
            lands,
            select(lands, stop.elapsed, ahead),
            select(lands, stop.correction, left),
        )

    return now, keep, propose, has_ended, too_small, stands_still


def _build_summed(backend: Backend):
    """Return what all clocks that sum their steps have in common."""
    least, part = build_least_step(backend), backend.constant(0.01)

    def now(stop, elapsed, dt, counters):
        return elapsed

    def keep(accept, ahead, elapsed):
        return select(accept, ahead, elapsed)

    def too_small(h, elapsed):
        return h <= least(elapsed)

    def stands_still(h, lands, elapsed):
        return (h <= part * least(elapsed)) & ~lands

    return now, keep, too_small, stands_still
