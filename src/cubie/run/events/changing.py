"""States that events make: the run goes on with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from attrs import frozen

from cubie.backend import absolute, any_lane, in_turn, maximum, select
from cubie.factory import BuildContext
from cubie.run.events.buffers import (
    CHANGES,
    DUE,
    awaited_mark,
    build_evaluate,
    build_given_events,
    event_buffer,
    tells_ways,
    told_mark,
)
from cubie.run.events.failing import build_failing, build_unblamed

# A number clearly leaves its root where it gets this part of what may be at a root still.
CLEAR = 1.0 / 16.0


class Start(NamedTuple):
    """Where a run begins anew; values of lanes."""

    t: Any
    elapsed: Any
    direction: Any  # 1 or -1
    h: Any  # the size of the next step


@frozen
class ChangeFunctions:
    """Device functions of events that change the state; where there are none they do nothing.

    Attributes
    ----------
    are_due : callable
        ``are_due(memory, active) -> mask``: lanes whose latest step ended with such an event.
    change : callable
        ``change(memory, launch, t, changed, lane)``: in these lanes, one event after the other.
    doubt : callable
        ``doubt(memory, launch, start, changed, given, lane)``: looks at the state before the
        change. Where a number by its derivative cannot have come the way that it came, it cannot
        be told which way it leaves.
    renew : callable
        ``renew(memory, launch, start, changed, given, lane)``: the numbers of events of the new
        state, at a `Start`. Those that happened, and are at their roots still, are told of.
    """

    are_due: Callable
    change: Callable
    doubt: Callable
    renew: Callable


def build_changes(loop: Any, context: BuildContext) -> ChangeFunctions:
    """Return the device functions of a loop's events."""
    device = context.backend.device
    if not loop.jumps:
        return ChangeFunctions(
            *map(device, (_none_is_due, _nothing_changes, _nothing_renewed, _nothing_renewed))
        )
    allocate, n_events = event_buffer(context, "event_changes"), loop.events.n_events
    changes_state = CHANGES

    def are_due(memory, active):
        changes, due = allocate(memory, None), active & ~active
        for k in range(n_events):
            due = due | (active & (changes[k] >= changes_state))
        return due

    applied, each = loop.child_functions(context, "events").applied, loop.events.rules.each
    parts = [
        device(_build_one(loop, context, k, apply))
        for k, apply in enumerate(applied)
        if apply and not each[k].repeats
    ]
    return ChangeFunctions(
        device(are_due),
        in_turn(context.backend, parts, 5),
        _build_doubt(loop, context),
        _build_renew(loop, context),
    )


def _none_is_due(memory, active):
    return active & ~active


def _nothing_changes(memory, launch, t, changed, lane):
    pass


def _nothing_renewed(memory, launch, start, changed, given, lane):
    pass


def _build_one(loop: Any, context: BuildContext, k: int, apply: Callable) -> Callable:
    allocate, alloc_state = (
        event_buffer(context, "event_changes"),
        event_buffer(context, "event_state"),
    )
    given, n, changes_state = build_given_events(loop, context), loop.system.n_states, CHANGES

    failed = build_failing(loop, context).failed

    def change(memory, launch, t, changed, lane):
        changes, new = allocate(memory, None), alloc_state(memory, None)
        here = changed & (changes[k] >= changes_state)
        if any_lane(here):
            apply(t, lane.state, given(memory, launch, t, lane), new, 0)
            here = here & ~failed(here, lane)
            for i in range(n):
                lane.state[i] = select(here, new[i], lane.state[i])

    return change


def _build_renew(loop: Any, context: BuildContext) -> Callable:
    backend, n_events = context.backend, loop.events.n_events
    evaluate, zero, happened = build_evaluate(loop, context), backend.constant(0.0), DUE
    mark, way = awaited_mark(backend), _build_way(loop, context)
    jump, counts_as_it_is = (
        _build_jump(loop, context),
        tuple(rule.repeats for rule in loop.events.rules.each),
    )
    alloc_kept, alloc_values = (
        event_buffer(context, "event_values"),
        event_buffer(context, "values_ahead"),
    )
    alloc_changes, alloc_residuals = (
        event_buffer(context, "event_changes"),
        event_buffer(context, "event_residuals"),
    )
    fell, clearly = CHANGES, backend.constant(CLEAR)
    if not tells_ways(loop):
        mark = told_mark(backend)

    def renew(memory, launch, start, changed, given, lane):
        kept, values = alloc_kept(memory, None), alloc_values(memory, None)
        changes, residuals = alloc_changes(memory, None), alloc_residuals(memory, None)
        evaluate(memory, launch, start.elapsed, lane.state, lane, values)
        ahead = way(memory, launch, start, given, lane, values)
        for k in range(n_events):
            at_root = (changes[k] >= happened) & (absolute(values[k]) <= absolute(residuals[k]))
            if counts_as_it_is[k]:
                at_root = changed & ~changed
            # Back to where it came from, if it does not clearly leave the other way.
            back = (changes[k] == happened) | (changes[k] == fell)
            # Those that are doubted are below zero.
            leaves, at_most = ahead[k] - values[k], absolute(residuals[k])
            clear = (absolute(leaves) > clearly * at_most) & (residuals[k] >= zero)
            residuals[k] = select(changed, at_most, residuals[k])
            above = (clear & (leaves > zero)) | (~clear & back)
            kept[k] = select(
                changed, select(at_root, select(above, mark, -mark), values[k]), kept[k]
            )
            changes[k] = select(changed, 0, changes[k])
        jump(memory, changed)

    return backend.device(renew)


def _build_jump(loop: Any, context: BuildContext) -> Callable:
    """Return ``jump(memory, changed)``: notes for summaries where the state changed."""
    if not loop.follows:
        return context.backend.device(_nothing_to_note)
    allocate = event_buffer(context, "event_jumped")

    def jump(memory, changed):
        jumped = allocate(memory, None)
        jumped[0] = select(changed, 1, jumped[0])

    return context.backend.device(jump)


def _nothing_to_note(memory, changed):
    pass


def _build_doubt(loop: Any, context: BuildContext) -> Callable:
    """Return ``doubt(memory, launch, start, changed, given, lane)``."""
    backend, n_events = context.backend, loop.events.n_events
    if not tells_ways(loop):
        return backend.device(_nothing_renewed)
    evaluate, way = build_evaluate(loop, context), _build_way(loop, context)
    alloc_values, alloc_changes, alloc_residuals = (
        event_buffer(context, name) for name in ("values_ahead", "event_changes", "event_residuals")
    )
    zero, clearly = backend.constant(0.0), backend.constant(CLEAR)
    happened, fell, risen = DUE, CHANGES, CHANGES + 1

    def doubt(memory, launch, start, changed, given, lane):
        values, changes = alloc_values(memory, None), alloc_changes(memory, None)
        residuals = alloc_residuals(memory, None)
        evaluate(memory, launch, start.elapsed, lane.state, lane, values)
        ahead = way(memory, launch, start, given, lane, values)
        for k in range(n_events):
            goes = ahead[k] - values[k]
            falling = (changes[k] == happened) | (changes[k] == fell)
            rising = (changes[k] == happened + 1) | (changes[k] == risen)
            wrong = (falling & (goes > zero)) | (rising & (goes < zero))
            wrong = changed & wrong & (absolute(goes) > clearly * residuals[k])
            residuals[k] = select(wrong, -residuals[k], residuals[k])

    return backend.device(doubt)


def _build_way(loop: Any, context: BuildContext) -> Callable:
    """Return ``way(memory, launch, start, given, lane, values)``: numbers a little further on.

    On the straight line of the derivatives at the new state: what turns back soon is not seen.
    Where there are no derivatives, `values` themselves.
    """
    backend, n = context.backend, loop.system.n_states
    if not tells_ways(loop):
        return backend.device(_no_way)
    rhs = loop.child_functions(context, "system")
    # Where it is looked at the solution need not come.
    evaluate = build_unblamed(loop, context, build_evaluate(loop, context))
    alloc_slopes, alloc_state, alloc_inside = (
        event_buffer(context, name) for name in ("event_slopes", "event_state", "values_inside")
    )
    share = backend.constant(float(np.finfo(backend.dtype).eps) ** 0.25)

    def way(memory, launch, start, given, lane, values):
        slopes, probe = alloc_slopes(memory, None), alloc_state(memory, None)
        ahead, state = alloc_inside(memory, None), lane.state
        rhs(start.t, state, given, slopes, 0)
        passed = share * (maximum(absolute(start.t), start.elapsed) + start.h)
        for i in range(n):
            probe[i] = state[i] + passed * start.direction * slopes[i]
        evaluate(memory, launch, start.elapsed + passed, probe, lane, ahead)
        return ahead

    return backend.device(way)


def _no_way(memory, launch, start, given, lane, values):
    return values
