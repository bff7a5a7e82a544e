"""Events that are applied while their number is above zero: again, and at the start of a run.

Where plain events, or the start, leave such a number above zero the states that its `apply` makes
follow one another at that time, until it is not. A run in which that has no end does not go on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cubie.backend import any_lane, in_turn, select
from cubie.factory import BuildContext
from cubie.run.events.buffers import build_evaluate, build_given_events, event_buffer
from cubie.run.events.failing import build_failing

MOST_REPEATED = 1000  # times that such events are applied at one time


def build_repeat(loop: Any, context: BuildContext) -> Callable:
    """Return ``repeat(memory, launch, t, elapsed, mask, lane)``: in these lanes."""
    backend, n = context.backend, loop.system.n_states
    if loop.events is None or not loop.events.rules.repeats:
        return backend.device(_nothing_repeated)
    evaluate = build_evaluate(loop, context)
    applied = loop.child_functions(context, "events").applied
    alloc_values, alloc_state = (
        event_buffer(context, name) for name in ("values_ahead", "event_state")
    )
    given, failed = build_given_events(loop, context), build_failing(loop, context).failed
    zero, most = backend.constant(0.0), MOST_REPEATED
    repeated = [k for k, rule in enumerate(loop.events.rules.each) if rule.repeats]

    def build_one(k: int, apply: Callable) -> Callable:
        def apply_one(memory, launch, t, going, values, lane):
            new = alloc_state(memory, None)
            here = going & (values[k] > zero)
            if any_lane(here):
                apply(t, lane.state, given(memory, launch, t, lane), new, 0)
                for i in range(n):
                    lane.state[i] = select(here, new[i], lane.state[i])

        return backend.device(apply_one)

    apply_each = in_turn(backend, [build_one(k, applied[k]) for k in repeated], 6)
    due = backend.device(_build_due(repeated, zero))

    def repeat(memory, launch, t, elapsed, mask, lane):
        values = alloc_values(memory, None)
        evaluate(memory, launch, elapsed, lane.state, lane, values)
        going, rounds = due(values, mask), 0
        while any_lane(going) and rounds < most:
            apply_each(memory, launch, t, going, values, lane)
            evaluate(memory, launch, elapsed, lane.state, lane, values)
            going = due(values, going & ~failed(going, lane))
            rounds += 1

    return backend.device(repeat)


def _nothing_repeated(memory, launch, t, elapsed, mask, lane):
    pass


def build_unsettled(loop: Any, context: BuildContext) -> Callable:
    """Return ``unsettled(kept, mask) -> mask``: lanes in which a step begins with one still due."""
    if not loop.events.rules.repeats:
        return context.backend.device(_all_settled)
    repeated = [k for k, rule in enumerate(loop.events.rules.each) if rule.repeats]
    return context.backend.device(_build_due(repeated, context.backend.constant(0.0)))


def _all_settled(kept, mask):
    return mask & ~mask


def _build_due(repeated: list[int], zero: Any) -> Callable:
    which, n_repeated = tuple(repeated), len(repeated)

    def due(values, mask):
        found = mask & ~mask
        for i in range(n_repeated):
            found = found | (mask & (values[which[i]] > zero))
        return found

    return due
