"""Events of an accepted step, as the loop asks for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from attrs import frozen

from cubie.backend import any_lane, minimum, select
from cubie.factory import BuildContext
from cubie.run.events.buffers import Going, Looked, Numbers, build_evaluate, event_buffer
from cubie.run.events.failing import build_failing
from cubie.run.events.recording import build_write_counts
from cubie.run.events.settling import NOWHERE, Found, build_shorten
from cubie.run.events.within_step import build_first, build_part
from cubie.run.saving import Taken
from cubie.status import RunStatus

AT_EVENT, TOO_CLOSE = int(RunStatus.EVENT), int(RunStatus.EVENTS_TOO_CLOSE)


@frozen
class EventFunctions:
    """Device functions of events; where there are none they do nothing.

    Attributes
    ----------
    begin : callable
        ``begin(memory, launch, fresh, lane)``: runs start in the lanes of a mask.
    find : callable
        ``find(memory, launch, outputs, step, ahead, lane) -> Found``: of a step that was `Taken`,
        between its `step` and `commit`. Where it goes less far, the proposed state is that there.
    close : callable
        ``close(memory, found, status, active, lane) -> (status, active)``: after an attempt.
    finish : callable
        ``finish(memory, launch, outputs, done)``: writes how often each has happened in runs that
        are done.
    reached : callable
        ``reached(memory, elapsed, status)``: when a run ended, by the clock or at an event.
    advances : callable
        ``advances(memory, accept, found) -> mask``: lanes in which an accepted step is counted; on
        a grid not where it leads to no point of that.
    steps : callable
        ``steps(memory, steps)``: all that were accepted.
    """

    begin: Callable
    find: Callable
    close: Callable
    finish: Callable
    reached: Callable
    advances: Callable
    steps: Callable


def build_events(loop: Any, context: BuildContext) -> EventFunctions:
    """Return the device functions of a loop's events."""
    device = context.backend.device
    if loop.events is None:
        nothing = _nothing_to_begin, _nothing_found, _as_it_is, _nothing_to_finish
        return EventFunctions(*map(device, (*nothing, _as_reached, _all_advance, _as_counted)))
    return EventFunctions(
        _build_begin(loop, context),
        _build_find(loop, context),
        _build_close(loop, context),
        build_write_counts(loop, context),
        *_build_on_grid(loop, context),
    )


def _nothing_to_begin(memory, launch, fresh, lane):
    pass


def _nothing_found(memory, launch, outputs, step, ahead, lane):
    return Found(ahead, step.accept, step.accept, step.accept, step.accept)


def _as_it_is(memory, found, status, active, lane):
    return status, active


def _as_reached(memory, elapsed, status):
    return elapsed


def _all_advance(memory, accept, found):
    return accept


def _as_counted(memory, steps):
    return steps


def _nothing_to_finish(memory, launch, outputs, done):
    pass


def _build_close(loop: Any, context: BuildContext) -> Callable:
    device, rules = context.backend.device, loop.events.rules
    at_event, too_close, fail = AT_EVENT, TOO_CLOSE, build_failing(loop, context).fail

    # Runs that are lost may have ended already: their step was not accepted, and none is smaller.
    def go_on(memory, found, status, active, lane):
        return fail(status, active, active | found.lost, lane)

    def end(memory, found, status, active, lane):
        status = select(found.ended, at_event, status)
        return fail(status, active & ~found.ended, active | found.lost, lane)

    def end_or_give_up(memory, found, status, active, lane):
        status = select(found.lost, too_close, select(found.ended, at_event, status))
        gone = found.ended | found.lost
        return fail(status, active & ~gone, active | found.lost, lane)

    if not rules.cuts:
        return device(go_on)
    close = device(end_or_give_up if rules.applies else end)
    if loop.controller.adaptive or not rules.ends:
        return close
    alloc_end = event_buffer(context, "event_end")

    def close_on_grid(memory, found, status, active, lane):
        reached = alloc_end(memory, None)
        reached[0] = select(found.ended, found.ahead.ahead, reached[0])
        return close(memory, found, status, active, lane)

    return device(close_on_grid)


def _build_on_grid(loop: Any, context: BuildContext) -> tuple[Callable, Callable, Callable]:
    """Return `reached`, `advances` and `steps`: steps of one size are counted along a grid."""
    device, rules, at_event = context.backend.device, loop.events.rules, AT_EVENT
    reached, advances, steps = _as_reached, _all_advance, _as_counted
    if not loop.controller.adaptive and rules.ends:
        alloc_end = event_buffer(context, "event_end")

        def reached(memory, elapsed, status):
            return select(status == at_event, alloc_end(memory, None)[0], elapsed)

    if not loop.controller.adaptive and rules.applies:
        allocate = event_buffer(context, "short_steps")

        def advances(memory, accept, found):
            short = allocate(memory, None)
            less = accept & found.short
            short[0] = select(less, short[0] + 1, short[0])
            return accept & ~found.short

        def steps(memory, steps):
            return steps + allocate(memory, None)[0]

    return device(reached), device(advances), device(steps)


def _build_begin(loop: Any, context: BuildContext) -> Callable:
    backend, n_events = context.backend, loop.events.n_events
    evaluate, zero = build_evaluate(loop, context), backend.constant(0.0)
    alloc_kept, alloc_counts = (
        event_buffer(context, "event_values"),
        event_buffer(context, "event_counts"),
    )
    alloc_values, clear = event_buffer(context, "values_ahead"), _build_clear(loop, context)

    def begin(memory, launch, fresh, lane):
        clear(memory, fresh)
        kept, counts = alloc_kept(memory, None), alloc_counts(memory, None)
        values = alloc_values(memory, None)
        evaluate(memory, launch, select(fresh, zero, zero), lane.state, lane, values)
        for k in range(n_events):
            kept[k] = select(fresh, values[k], kept[k])
            counts[k] = select(fresh, 0, counts[k])

    return backend.device(begin)


def _build_clear(loop: Any, context: BuildContext) -> Callable:
    """Return ``clear(memory, fresh)``: no event has changed a run, in the lanes of a mask."""
    backend, n_events = context.backend, loop.events.n_events
    if not loop.jumps:
        return backend.device(_nothing_to_clear)
    allocate, zero = event_buffer(context, "event_changes"), backend.constant(0.0)
    alloc_residuals = event_buffer(context, "event_residuals")

    def clear_events(memory, fresh):
        changes, residuals = allocate(memory, None), alloc_residuals(memory, None)
        for k in range(n_events):
            changes[k] = select(fresh, 0, changes[k])
            residuals[k] = select(fresh, zero, residuals[k])

    clear = backend.device(clear_events)
    if loop.follows:
        clear = backend.device(_and_jump(clear, event_buffer(context, "event_jumped")))
    if loop.controller.adaptive:
        return clear
    alloc_short = event_buffer(context, "short_steps")

    def clear_both(memory, fresh):
        short = alloc_short(memory, None)
        short[0] = select(fresh, 0, short[0])
        clear(memory, fresh)

    return backend.device(clear_both)


def _and_jump(clear: Callable, allocate: Callable) -> Callable:
    def clear_all(memory, fresh):
        clear(memory, fresh)
        jumped = allocate(memory, None)
        jumped[0] = select(fresh, 0, jumped[0])

    return clear_all


def _nothing_to_clear(memory, fresh):
    pass


def _build_find(loop: Any, context: BuildContext) -> Callable:
    """Return `find`: the parts of a step, one after the other."""
    backend, rules = context.backend, loop.events.rules
    enter, samples = context.phase("events"), rules.samples
    names = "event_values", "values_ahead", "event_roots", "event_counts"
    alloc_kept, alloc_ahead, alloc_roots, alloc_counts = (
        event_buffer(context, name) for name in names
    )
    alloc_looked = _looked_allocators(loop, context)
    alloc_polynomial, alloc_state, alloc_values = alloc_looked
    part_of_step = build_part(loop, context)
    first, shorten = build_first(loop, context), build_shorten(loop, context)
    one, nowhere = backend.constant(1.0), backend.constant(NOWHERE)
    share = backend.constant(_share(samples, backend.dtype))

    def find(memory, launch, outputs, step, ahead, lane):
        enter(memory)
        numbers = Numbers(
            alloc_kept(memory, None),
            alloc_ahead(memory, None),
            alloc_roots(memory, None),
            alloc_counts(memory, None),
        )
        looked = Looked(
            alloc_polynomial(memory, None), alloc_state(memory, None), alloc_values(memory, None)
        )
        taken = Taken(
            step.accept, step.at_stop, step.elapsed, step.carry, select(step.accept, step.h, one),
            step.direction, step.ahead, step.ahead_carry, step.t, step.given,
        )  # fmt: skip
        mask, ended = step.accept, step.accept & ~step.accept
        cut, lost = select(ended, one, nowhere), ended
        if any_lane(mask):
            lost = first(memory, launch, taken, numbers, lane, looked)
            mask = mask & ~lost
            for s in range(samples):
                until = share * (s + 1)
                high = minimum(one, select(mask, until, until))
                cut, ended, lost = part_of_step(
                    memory, launch, outputs, taken, Going(mask, high, cut, ended, lost), numbers,
                    lane, looked,
                )  # fmt: skip
                mask = mask & (cut > one) & ~lost
        return shorten(memory, taken, ahead, Going(mask, cut, cut, ended, lost), lane, looked)

    return backend.device(find)


def _share(samples: int, dtype: Any) -> float:
    """Return the part of a step between two looks; so many of them are not less than one."""
    kind = np.dtype(dtype).type
    share = kind(1.0 / samples)
    while share * kind(samples) < 1:
        share = np.nextafter(share, kind(1))
    return float(share)


def _looked_allocators(loop: Any, context: BuildContext) -> tuple[Callable, Callable, Callable]:
    """Return the allocators of `Looked`; of what nobody looks at any other buffer's."""
    state = event_buffer(context, "event_state")
    if not loop.events.rules.at_roots:
        return state, state, state
    values = event_buffer(context, "values_inside")
    if not loop.algorithm.n_coefficients:
        return state, state, values
    return event_buffer(context, "event_polynomial"), state, values
