"""What follows from the roots in a part of a step: up to where it goes, and what is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from cubie.backend import any_lane, in_turn, minimum, select
from cubie.factory import BuildContext
from cubie.run.clock import Arrival
from cubie.run.events.buffers import CHANGES, DUE, Going, event_buffer, is_cut_later
from cubie.run.events.moments import build_moment, build_same_time
from cubie.run.events.recording import Root, build_reach, build_record
from cubie.run.events.roots import build_look

# In the place of a root, of an event that has none.
NOWHERE = 2.0


class Found(NamedTuple):
    """What came of the events of a step."""

    ahead: Arrival  # the step as far as it goes
    ended: Any  # lanes in which it ends the run
    short: Any  # lanes in which it goes less far than it was to
    accept: Any  # lanes in which it is taken
    lost: Any  # lanes whose runs cannot go on from where it begins


def build_settle(loop: Any, context: BuildContext) -> Callable:
    """Return ``settle(memory, launch, outputs, step, going, numbers, lane, looked)``.

    It finds the first root that cuts the step, records all up to there, and returns where it is
    cut, and in which lanes the run ends.
    """
    backend, rules, n_events = context.backend, loop.events.rules, loop.events.n_events
    record, one = build_record(loop, context), backend.constant(1.0)
    terminal = tuple(rule.terminal for rule in rules.each)
    cuts_from = tuple(0 if rule.applies else rule.terminal for rule in rules.each)
    mark, forget = _build_mark_changes(loop, context)
    same_time = build_same_time(backend)
    look_at_conditions = _build_look_at_conditions(loop, context)

    def settle(memory, launch, outputs, step, going, numbers, lane, looked):
        cut, ended, mask = going.cut, going.ended, going.mask
        roots, counts = numbers.roots, numbers.counts
        for k in range(n_events):
            here = mask & (roots[k] <= one) & (counts[k] + 1 >= cuts_from[k])
            cut = select(here, minimum(cut, roots[k]), cut)
        so_far = Going(mask, cut, cut, ended, going.lost)
        look_at_conditions(memory, launch, step, so_far, numbers, lane, looked)
        forget(memory, step, mask, cut)
        same = same_time(step)
        for k in range(n_events):
            due = mask & (roots[k] <= one) & (roots[k] <= cut + same)
            if any_lane(due):
                root = Root(k, minimum(roots[k], cut), counts[k], due)
                record(memory, launch, outputs, step, root, lane, looked)
            counts[k] = select(due, counts[k] + 1, counts[k])
            ended = ended | (due & (counts[k] >= terminal[k]))
        mark(memory, mask, cut, same, numbers)
        return cut, ended

    return backend.device(settle)


def _build_look_at_conditions(loop: Any, context: BuildContext) -> Callable:
    """Return ``look(memory, launch, step, going, numbers, lane, looked)``.

    Conditions are looked at where a step ends: in lanes in which others cut it, there.
    """
    backend, rules, n_events = context.backend, loop.events.rules, loop.events.n_events
    at_steps = tuple(rule.at_steps for rule in rules.each)
    if not (rules.cuts and rules.at_roots and any(at_steps)):
        return backend.device(_no_conditions)
    look, zero, one = build_look(loop, context), backend.constant(0.0), backend.constant(1.0)
    nowhere = backend.constant(NOWHERE)

    def look_at_conditions(memory, launch, step, going, numbers, lane, looked):
        short = going.mask & (going.cut < one)
        if any_lane(short):
            cut = select(short, going.cut, one)
            look(memory, launch, step, cut, lane, looked)
            for k in range(n_events):
                if at_steps[k]:
                    root = select(looked.values[k] > zero, cut, nowhere)
                    numbers.roots[k] = select(short, root, numbers.roots[k])

    return backend.device(look_at_conditions)


def _no_conditions(memory, launch, step, going, numbers, lane, looked):
    pass


def _build_mark_changes(loop: Any, context: BuildContext) -> tuple[Callable, Callable]:
    """Return ``mark(memory, mask, cut, same, numbers)``: which events happened where steps are cut.

    And ``forget(memory, step, mask, cut)``: of events that were told of before, whose numbers count
    again where the step goes on for longer than a moment.
    """
    backend, n_events = context.backend, loop.events.n_events
    if not loop.jumps:
        return backend.device(_nothing_to_mark), backend.device(_nothing_to_forget)
    allocate, moment = event_buffer(context, "event_changes"), build_moment(backend)
    parts = [backend.device(_build_mark(loop, context, k)) for k in range(n_events)]

    def forget(memory, step, mask, cut):
        changes, counts_again = allocate(memory, None), mask & (cut > moment(step))
        for k in range(n_events):
            changes[k] = select(counts_again, 0, changes[k])

    return in_turn(backend, parts, 5), backend.device(forget)


def _build_mark(loop: Any, context: BuildContext, k: int) -> Callable:
    allocate, zero = event_buffer(context, "event_changes"), context.backend.constant(0.0)
    one, happened = context.backend.constant(1.0), DUE
    if loop.events.rules.each[k].applies:
        happened = CHANGES

    def mark(memory, mask, cut, same, numbers):
        changes, root, kept = allocate(memory, None), numbers.roots[k], numbers.kept[k]
        due = mask & (root <= one) & (root <= cut + same) & (root >= cut - same)
        fell = (kept > zero) | ((kept == zero) & (numbers.ahead[k] < zero))
        changes[k] = select(due, select(fell, happened, happened + 1), changes[k])

    return mark


def _nothing_to_mark(memory, mask, cut, same, numbers):
    pass


def _nothing_to_forget(memory, step, mask, cut):
    pass


def build_shorten(loop: Any, context: BuildContext) -> Callable:
    """Return ``shorten(memory, step, ahead, going, lane, looked) -> Found``."""
    backend, n, one = context.backend, loop.system.n_states, context.backend.constant(1.0)
    if not (loop.events.rules.cuts and loop.events.rules.at_roots):
        return backend.device(_not_taken if loop.events.n_faults else _never_shorter)
    value = loop.algorithm.build_reading(context.within("algorithm")).value
    reach, put = build_reach(loop, backend), backend.device(_later if is_cut_later(loop) else _now)

    def shorten(memory, step, ahead, going, lane, looked):
        cut, ended, lost = going.cut, going.ended, going.lost
        short = cut < one
        cut = select(short, cut, one)
        elapsed, carry = reach(step, cut)
        # What is no different from its end to the clock is its end.
        short = short & (elapsed < ahead.ahead)
        if any_lane(short):
            signed = step.h * step.direction
            for i in range(n):
                there = value(memory, signed, cut, lane.state, looked.polynomial, i)
                put(lane.proposed.state, looked.state, i, short, there)
        arrival = Arrival(
            ahead.h,
            ahead.planned,
            ahead.lands & ~short,
            select(short, elapsed, ahead.ahead),
            select(short, carry, ahead.ahead_carry),
        )
        return Found(arrival, ended, short, step.accept & ~lost, lost)

    return backend.device(shorten)


def _now(proposed, later, i, short, value):
    proposed[i] = select(short, value, proposed[i])


def _later(proposed, later, i, short, value):
    later[i] = value


def build_place(loop: Any, context: BuildContext) -> Callable:
    """Return ``place(memory, found, lane)``: a step that goes less far leads there.

    Where steps are summarised that is not said before.
    """
    if loop.events is None or not is_cut_later(loop):
        return context.backend.device(_nothing_to_place)
    allocate, n = event_buffer(context, "event_state"), loop.system.n_states

    def place(memory, found, lane):
        there, proposed = allocate(memory, None), lane.proposed.state
        for i in range(n):
            proposed[i] = select(found.short, there[i], proposed[i])

    return context.backend.device(place)


def _nothing_to_place(memory, found, lane):
    pass


def _not_taken(memory, step, ahead, going, lane, looked):
    return Found(ahead, going.ended, going.ended, step.accept & ~going.lost, going.lost)


def _never_shorter(memory, step, ahead, going, lane, looked):
    return Found(ahead, going.ended, going.ended, step.accept, going.lost)
