"""Which way the number of an event goes that is zero where a step begins, and was told of.

Where the run began anew, by the `apply` of the event, it may come back very soon: a ball that
bounces lower and lower does. Which way it leaves says its derivative there. The sign of that way is
awaited in the step: looked for in the middle first, then nearer and nearer to the start, down to
what is the same time; from there on the number counts. Where it does not leave at all, it is
awaited where it came from.

Who never gets there, but clearly to the other side, has no next time: it comes back sooner than
can be told, or not at all, as a ball that lies on the ground. Such a run ends, and says why.

With a mass matrix derivatives are not at hand. There, and where no state was changed, the sign
counts that a number has a moment after the start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from cubie.backend import absolute, any_lane, in_turn, minimum, select
from cubie.factory import BuildContext
from cubie.run.events.buffers import awaited_mark, event_buffer, told_mark
from cubie.run.events.moments import SAME_TIME, build_moment, build_same_time
from cubie.run.events.roots import build_look

RUNG = 0.125  # the next part of the step that is looked at


class _Awaited(NamedTuple):
    """The number of an event whose side is awaited; values of lanes."""

    mask: Any
    above: Any  # it is to get above zero
    near: Any  # numbers no larger than that may be at a root still


class _Side(NamedTuple):
    """What came of it."""

    low: Any  # from which part of the step on the number counts
    value: Any  # one with the sign that it has then; zero where it is awaited still
    lost: Any  # lanes in which it got to the other side


def build_behind(loop: Any, context: BuildContext) -> Callable:
    """Return ``behind(memory, launch, step, numbers, lane, looked) -> lost``.

    It finds from which part of a step on numbers count that were told of, and their signs. Runs of
    the lanes `lost` are not to go on.
    """
    backend, rules, n_events = context.backend, loop.events.rules, loop.events.n_events
    zero, told = backend.constant(0.0), told_mark(backend)
    part, moment = backend.constant(1.0 / rules.samples), build_moment(backend)
    look, await_sides = build_look(loop, context), _build_await_sides(loop, context)

    def behind(memory, launch, step, numbers, lane, looked):
        kept, values, after = numbers.kept, looked.values, moment(step)
        long_enough = step.accept & (after < part)
        marked = long_enough & ~long_enough
        for k in range(n_events):
            marked = marked | (long_enough & (absolute(kept[k]) == told))
        if any_lane(marked):
            look(memory, launch, step, minimum(after, part), lane, looked)
            for k in range(n_events):
                here = long_enough & (absolute(kept[k]) == told)
                numbers.roots[k] = select(here, after, zero)
                kept[k] = select(here & (values[k] != zero), values[k], kept[k])
        return await_sides(memory, launch, step, long_enough, numbers, lane, looked)

    return backend.device(behind)


def _build_await_sides(loop: Any, context: BuildContext) -> Callable:
    """Return ``await_sides(memory, launch, step, mask, numbers, lane, looked) -> lost``."""
    backend, rules, n_events = context.backend, loop.events.rules, loop.events.n_events
    if not loop.jumps:
        return backend.device(_none_awaited)
    zero, find_side = backend.constant(0.0), _build_side(loop, context)
    # One function for each: a buffer with an index that is known stays in registers.
    parts = [
        backend.device(_build_await(loop, context, k, find_side))
        for k, rule in enumerate(rules.each)
        if not (rule.at_steps or rule.repeats)
    ]
    await_each = in_turn(backend, parts, 7)

    def await_sides(memory, launch, step, mask, numbers, lane, looked):
        await_each(memory, launch, step, mask, numbers, lane, looked)
        lost = mask & ~mask
        for k in range(n_events):
            lost = lost | (mask & (numbers.roots[k] < zero))
        return lost

    return backend.device(await_sides)


def _build_await(loop: Any, context: BuildContext, k: int, find_side: Callable) -> Callable:
    """Return that of event `k`; where it is lost its root is below zero."""
    backend, applies = context.backend, loop.events.rules.each[k].applies
    allocate, awaited = event_buffer(context, "event_residuals"), awaited_mark(context.backend)
    zero, below = backend.constant(0.0), backend.constant(-1.0)

    def await_side(memory, launch, step, mask, numbers, lane, looked):
        kept, roots = numbers.kept, numbers.roots
        here = mask & (absolute(kept[k]) == awaited)
        if any_lane(here):
            of = _Awaited(here, kept[k] > zero, allocate(memory, None)[k])
            side = find_side(memory, launch, step, of, k, lane, looked)
            roots[k] = select(here, side.low, roots[k])
            kept[k] = select(here & (side.value != zero), side.value, kept[k])
            if applies:
                roots[k] = select(side.lost, below, roots[k])

    return await_side


def _none_awaited(memory, launch, step, mask, numbers, lane, looked):
    return mask & ~mask


def _build_side(loop: Any, context: BuildContext) -> Callable:
    """Return ``find_side(memory, launch, step, awaited, k, lane, looked) -> _Side``."""
    backend, look = context.backend, build_look(loop, context)
    zero, half = backend.constant(0.0), backend.constant(0.5)
    rung, least = backend.constant(RUNG), backend.constant(1.0 / SAME_TIME)
    moment, same_time = build_moment(backend), build_same_time(backend)

    def find_side(memory, launch, step, awaited, k, lane, looked):
        first, lowest = moment(step), least * same_time(step)
        going, unsettled = awaited.mask, awaited.mask
        theta = select(going, half, half)
        low, value = first, zero * first
        while any_lane(going):
            look(memory, launch, step, theta, lane, looked)
            number = looked.values[k]
            there = (awaited.above & (number > zero)) | (~awaited.above & (number < zero))
            there = going & there
            # Until then the other side, where it is clearly there.
            clear = going & (absolute(number) > awaited.near) & (value == zero)
            value = select(there | clear, number, value)
            low = select(there, minimum(theta, first), low)
            unsettled = unsettled & ~there
            theta = rung * theta
            going = going & ~there & (theta > lowest)
        return _Side(low, value, unsettled & (value != zero))

    return backend.device(find_side)
