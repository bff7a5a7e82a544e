"""The buffers of events, and what of a step is looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from cubie.backend import Backend, Given
from cubie.factory import BuildContext
from cubie.numerics.limits import DIRECTION, build_of_span, build_time
from cubie.run.breaks import build_breaks
from cubie.systems.drivers.calling import never_a_time


class Looked(NamedTuple):
    """Buffers that hold the solution at one part of a step."""

    polynomial: Any  # what it follows from
    state: Any  # (n,)
    values: Any  # (n_events,)


# What is kept of an event with which a step ended: that it happened there, and that it changes the
# state; of one whose number rose these and one more.
DUE, CHANGES = 1, 3


class Numbers(NamedTuple):
    """Buffers of one number for each event."""

    kept: Any  # of its function, where the part of a step begins
    ahead: Any  # and where it ends
    roots: Any  # where it has a root
    counts: Any  # how often it has happened


class Going(NamedTuple):
    """How far the look at a step has come; values of lanes."""

    mask: Any  # lanes that are looked at further
    high: Any  # until which part of the step now
    cut: Any  # where it was cut, `NOWHERE` where it was not
    ended: Any  # lanes whose runs end there
    lost: Any  # lanes in which an event happens again sooner than can be told


def register_events(loop: Any) -> None:
    """Register the buffers of a loop's events."""
    events, n = loop.events, loop.system.n_states
    n_events, coefficients = events.n_events, loop.algorithm.n_coefficients
    at_roots = events.rules.at_roots
    # The numbers with which a step begins; how often each event has happened; and what became of
    # it where a step ended.
    loop.register_buffer("event_values", n_events, persistent=True, access_weight=2.0)
    loop.register_buffer("event_counts", n_events, dtype=np.int32, persistent=True)
    changes = events.rules.applies
    loop.register_buffer(
        "event_changes", n_events, dtype=np.int32, persistent=True, enabled=changes
    )
    loop.register_buffer("event_residuals", n_events, persistent=True, enabled=changes)
    for name, size, used in (
        ("event_polynomial", n * coefficients, at_roots and coefficients > 0),
        ("event_roots", n_events, True),
    ):
        loop.register_buffer(name, size, phases=("events",), enabled=used, access_weight=2.0)
    both = {"phases": ("start", "events"), "access_weight": 2.0}
    ways = tells_ways(loop)
    looked_at = both["phases"] if ways else ("events",)
    loop.register_buffer(
        "values_inside", n_events, phases=looked_at, enabled=at_roots, access_weight=2.0
    )
    loop.register_buffer("event_slopes", n, phases=("start",), enabled=ways, access_weight=0.1)
    later = is_cut_later(loop)
    state = ("start", ("events", "commit")) if later else ("start", "events")
    loop.register_buffer("event_state", n, phases=state, persistent=later, access_weight=2.0)
    loop.register_buffer("values_ahead", n_events, **both)
    # Of steps of one size: when a run ended at an event, and how many steps went less far.
    counted = not loop.controller.adaptive
    loop.register_buffer("event_end", 1, persistent=True, enabled=counted and events.rules.ends)
    loop.register_buffer(
        "short_steps", 1, dtype=np.int32, persistent=True, enabled=counted and changes
    )
    # Whether the next step begins with a state that an event made, for summaries.
    loop.register_buffer(
        "event_jumped",
        1,
        dtype=np.int32,
        persistent=True,
        enabled=changes and loop.follows,
    )
    loop.register_buffer(
        "event_drivers",
        lambda: events.n_called,
        phases=("start", "events"),
        enabled=lambda: events.n_drivers > 0,
    )


def is_cut_later(loop: Any) -> bool:
    """Tell whether a step that is cut is summarised before its end is that at the cut."""
    return loop.events.rules.cuts and loop.follows


def event_buffer(context: BuildContext, name: str) -> Callable:
    """Return the allocator of one of these buffers."""
    return context.allocator(name)


def told_mark(backend: Backend) -> Any:
    """Return what is kept of the number of an event that is zero, and was told of.

    With the sign that it had before.
    """
    return backend.constant(float(np.finfo(backend.dtype).max))


def awaited_mark(backend: Backend) -> Any:
    """Return what is kept of one that is near zero, and will have the sign of this."""
    return backend.constant(0.5 * float(np.finfo(backend.dtype).max))


def tells_ways(loop: Any) -> bool:
    """Tell whether it is known which way numbers leave from where events put the state."""
    mass = getattr(loop.system.system, "mass", None)
    return loop.jumps and loop.events.rules.at_roots and mass is None


def build_given_events(loop: Any, context: BuildContext) -> Callable:
    """Return ``given(memory, launch, t, lane)``: what events get beside the time and the state."""
    device, events = context.backend.device, loop.events
    if not events.takes_given:
        return device(_parameters)
    allocate, never = context.allocator("event_drivers"), never_a_time(context.backend)
    give = build_breaks(loop, context).give

    def at_any_time(memory, launch, t, lane):
        drivers = allocate(memory, None)
        return Given(lane.parameters, drivers, drivers, launch, never, never, ())

    def on_one_side(memory, launch, t, lane):
        parameters, _, _, _, earliest, latest, _ = give(launch, t, lane.passed_stops[0], lane)
        drivers = allocate(memory, None)
        return Given(parameters, drivers, drivers, launch, earliest, latest, ())

    return device(on_one_side if events.breakpoints else at_any_time)


def _parameters(memory, launch, t, lane):
    return lane.parameters


def build_evaluate(loop: Any, context: BuildContext) -> Callable:
    """Return ``evaluate(memory, launch, elapsed, state, lane, out)``: the numbers of all events."""
    backend = context.backend
    values = loop.child_functions(context, "events").values
    given, own = build_given_events(loop, context), loop.system.own_clock
    time, direction_of = build_time(backend, own), build_of_span(backend, DIRECTION, own)

    def evaluate(memory, launch, elapsed, state, lane, out):
        t = time(launch, direction_of(launch), elapsed)
        values(t, state, given(memory, launch, t, lane), out, 0)

    return backend.device(evaluate)
