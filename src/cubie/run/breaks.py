"""Times that no step crosses, and after which a run begins anew.

A run with breaks counts the stops that it has passed by itself, as not all of them are times to
save at. On either side of a break the right-hand side is only asked for times on that side: what
jumps there has the value before it in the step that ends there, and the value after it in the next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import frozen

from cubie.backend import Given, any_lane, gather, maximum, minimum, select
from cubie.run.clock import column_of_stops
from cubie.run.driving import build_given_observed
from cubie.systems.drivers.calling import never_a_time

if TYPE_CHECKING:
    from cubie.backend import Backend
    from cubie.factory import BuildContext

# Elements of the buffer `passed_stops`: how many, and whether the latest was a break.
N_PASSED = 2
# Rows of the stops, see `cubie.launch.stops.Stops.fields`.
AHEAD, BEHIND, IS_POINT, IS_BREAK = 4, 5, 6, 7


@frozen
class BreakFunctions:
    """Device functions of the stops on the way; without breaks they are nothing.

    Attributes
    ----------
    number : callable
        ``number(saved, lane)``: of the next stop.
    forget : callable
        ``forget(fresh, lane)``: runs start in the lanes of a mask.
    give : callable
        ``give(launch, t, at, lane)``: what right-hand sides get beside the state, of a step on the
        way to stop number `at`.
    is_point : callable
        ``is_point(launch, at, lands)``: where a step lands on a time to save at.
    pass_stop : callable
        ``pass_stop(launch, at, passed, lane)``: in the lanes of a mask.
    """

    number: Callable
    forget: Callable
    give: Callable
    is_point: Callable
    pass_stop: Callable


def build_breaks(loop: Any, context: BuildContext) -> BreakFunctions:
    """Return the device functions of a loop's stops."""
    backend, device = context.backend, context.backend.device
    field, zero = _build_field(backend), backend.constant(0.0)
    is_point = _build_is_point(field, zero)
    if not loop.system.breakpoints:
        give = _given if loop.system.takes_given else _parameters
        # Runs with times of their own to save at may have fewer than others: their end follows.
        lands = is_point if loop.system.own_clock else _lands
        functions = (_saved, _nothing_to_forget, give, lands, _nothing_passed)
        return BreakFunctions(*map(device, functions))
    ahead, behind, break_ = AHEAD, BEHIND, IS_BREAK

    def number(saved, lane):
        return lane.passed_stops[0]

    def forget(fresh, lane):
        passed = lane.passed_stops
        passed[0] = select(fresh, 0, passed[0])
        passed[1] = select(fresh, 0, passed[1])

    def give(launch, t, at, lane):
        one, other = field(launch, at, ahead), field(launch, at, behind)
        least, most = minimum(one, other), maximum(one, other)
        drivers = lane.proposed_drivers
        return Given(lane.parameters, drivers, drivers, launch, least, most, lane.common)

    def pass_stop(launch, at, passed, lane):
        stops = lane.passed_stops
        stops[0] = select(passed, stops[0] + 1, stops[0])
        at_break = passed & (field(launch, at, break_) > zero)
        stops[1] = select(at_break, 1, 0)

    return BreakFunctions(*map(device, (number, forget, give, is_point, pass_stop)))


def _build_field(backend: Backend) -> Callable:
    """Return ``field(launch, at, row)``: of stop number `at` of runs that have their own."""
    column = backend.device(column_of_stops)

    def field(launch, at, row):
        inputs = launch.inputs
        where, n = column(launch, minimum(at, inputs.limits[2] - 1))
        return gather(inputs.stops, where + row * n)

    return backend.device(field)


def _build_is_point(field: Callable, zero: Any) -> Callable:
    point = IS_POINT

    def is_point(launch, at, lands):
        return lands & (field(launch, at, point) > zero)

    return is_point


def build_is_exhausted(loop: Any, backend: Backend) -> Callable:
    """Return ``is_exhausted(launch, active, attempts) -> mask``: where a run may make no more.

    Steps that end at a stop on the way do not count, so that runs with stops of their own have own
    limits.
    """

    def of_all(launch, active, attempts):
        return active & (attempts >= launch.inputs.limits[0])

    if not (loop.system.breakpoints or loop.system.own_clock):
        return backend.device(of_all)
    column = backend.device(column_of_stops)

    def of_each(launch, active, attempts):
        inputs = launch.inputs
        exhausted = active & (attempts >= inputs.limits[0])
        # Hardly a run comes here: the others are spared to look.
        if any_lane(exhausted):
            run, n_counts = column(launch, 0)
            exhausted = exhausted & (attempts >= gather(inputs.stop_counts, n_counts + run))
        return exhausted

    return backend.device(of_each)


def build_given_followed(loop: Any, context: BuildContext) -> Callable:
    """Return ``given(launch, t, lane)``: what observables get of a step that is followed.

    Like right-hand sides they are asked for times on its side of breaks.
    """
    device, observables = context.backend.device, loop.observables
    if not observables.breakpoints:
        return device(_at_any_time(build_given_observed(loop, context)))
    give, n_drivers = build_breaks(loop, context).give, observables.n_drivers
    never = never_a_time(context.backend)

    def given(launch, t, lane):
        parameters, _, _, _, earliest, latest, _ = give(launch, t, lane.passed_stops[0], lane)
        drivers = lane.observable_drivers
        if n_drivers > 0:
            drivers[n_drivers] = never
        return Given(parameters, drivers, drivers, launch, earliest, latest, ())

    return device(given)


def _at_any_time(given: Callable) -> Callable:
    def at_any_time(launch, t, lane):
        return given(launch, lane)

    return at_any_time


def build_is_behind(loop: Any, context: BuildContext) -> Callable:
    """Return ``is_behind(launch, t, lane) -> mask``: whether a step that starts at `t` follows a
    break, so that what was known of slopes, and of observables, does not go on in it.
    """
    device = context.backend.device
    if not loop.system.breakpoints:
        return device(_behind_none)
    give = build_breaks(loop, context).give

    def is_behind(launch, t, lane):
        _, _, _, _, earliest, latest, _ = give(launch, t, lane.passed_stops[0], lane)
        return (t < earliest) | (t > latest)

    return device(is_behind)


def _behind_none(launch, t, lane):
    return t != t


def _saved(saved, lane):
    return saved


def _nothing_to_forget(fresh, lane):
    pass


def _parameters(launch, t, at, lane):
    return lane.parameters


def _given(launch, t, at, lane):
    drivers = lane.proposed_drivers
    return Given(lane.parameters, drivers, drivers, launch, t, t, lane.common)


def _lands(launch, at, lands):
    return lands


def _nothing_passed(launch, at, passed, lane):
    pass
