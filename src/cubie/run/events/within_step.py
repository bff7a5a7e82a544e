"""Events of an accepted step: which there are, where they are, and what follows.

A step is looked at in as many parts of equal length as `event_samples` asks for. An event whose
number changes its sign over a part has a root there. Of all roots in a part those count up to the
first that ends the run, or changes the state: there the step ends.

The number at the end of a part is that at the start of the next one. One that is zero there, and
was told of, is not told of again: in a step that begins with such a one the sign counts that it has
just behind, see `cubie.run.events.behind`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cubie.backend import absolute, any_lane, in_turn, select
from cubie.factory import BuildContext
from cubie.run.events.behind import build_behind
from cubie.run.events.buffers import (
    DUE,
    awaited_mark,
    build_evaluate,
    event_buffer,
    tells_ways,
    told_mark,
)
from cubie.run.events.failing import build_failing
from cubie.run.events.moments import build_moment, build_near, build_same_time
from cubie.run.events.repeating import build_unsettled
from cubie.run.events.roots import Bracket, build_locate, build_look
from cubie.run.events.settling import NOWHERE, build_settle
from cubie.run.inside import build_count
from cubie.systems.events.given import Rule


def build_first(loop: Any, context: BuildContext) -> Callable:
    """Return ``first(memory, launch, step, numbers, lane, looked) -> lost``: where a step begins.

    The parts where it is looked at first, and numbers there; lanes in which none can be told.
    """
    backend, rules, n_events = context.backend, loop.events.rules, loop.events.n_events
    zero = backend.constant(0.0)
    prepare, remember = build_prepare(loop, context), _build_remember(loop, context)

    def at_start(memory, launch, step, numbers, lane, looked):
        for k in range(n_events):
            numbers.roots[k] = zero
        return step.accept & ~step.accept

    if not rules.at_roots:
        return backend.device(at_start)
    unsettled = build_unsettled(loop, context)
    behind, sampled = build_behind(loop, context), rules.samples > 1
    is_marked = build_is_marked(loop, backend)

    def first(memory, launch, step, numbers, lane, looked):
        kept, accept = numbers.kept, step.accept
        remember(memory, accept, kept)
        marked = accept & ~accept
        for k in range(n_events):
            marked = marked | (accept & is_marked(kept[k]))
            numbers.roots[k] = zero
        lost = accept & ~accept
        if sampled:
            prepare(memory, step, accept, lane, looked)
        if any_lane(marked):
            if not sampled:
                prepare(memory, step, marked, lane, looked)
            lost = behind(memory, launch, step, numbers, lane, looked)
        return lost | unsettled(kept, accept)

    return backend.device(first)


def build_is_marked(loop: Any, backend: Any) -> Callable:
    """Return ``is_marked(kept)``: whether that is no number of an event, but a mark."""
    told, awaited = told_mark(backend), awaited_mark(backend)

    def told_of(kept):
        return absolute(kept) == told

    def told_of_or_awaited(kept):
        size = absolute(kept)
        return (size == told) | (size == awaited)

    return backend.device(told_of_or_awaited if tells_ways(loop) else told_of)


def _build_remember(loop: Any, context: BuildContext) -> Callable:
    """Return ``remember(memory, accept, kept)``: which events a step begins with.

    Where another changes the state within a moment, they are told of still.
    """
    backend, n_events = context.backend, loop.events.n_events
    if not loop.jumps:
        return backend.device(_nothing_to_remember)
    allocate, zero, happened = event_buffer(context, "event_changes"), backend.constant(0.0), DUE
    is_marked = build_is_marked(loop, backend)

    def remember(memory, accept, kept):
        changes = allocate(memory, None)
        for k in range(n_events):
            # One that is awaited above came from there, unless it is known where it goes.
            here = select(kept[k] > zero, happened, happened + 1)
            changes[k] = select(accept, select(is_marked(kept[k]), here, 0), changes[k])

    return backend.device(remember)


def _nothing_to_remember(memory, accept, kept):
    pass


def build_part(loop: Any, context: BuildContext) -> Callable:
    """Return ``part(memory, launch, outputs, step, going, numbers, lane, looked)``.

    It looks at the part of a step up to `going.high`, and returns `cut`, `ended` and `lost` of it.
    """
    backend, rules, n_events = context.backend, loop.events.rules, loop.events.n_events
    at_end, settle = _build_at_end(loop, context), build_settle(loop, context)
    is_marked = build_is_marked(loop, backend)
    notes = [
        backend.device(_build_note(backend, rule, k, is_marked))
        for k, rule in enumerate(rules.each)
    ]
    note, find_roots = in_turn(backend, notes, 2), _build_roots(loop, context)
    zero, one, told = backend.constant(0.0), backend.constant(1.0), told_mark(backend)
    moment, share = build_moment(backend), backend.constant(1.0 / rules.samples)
    too_close, failed = _build_too_close(loop, context), build_failing(loop, context).failed

    def part(memory, launch, outputs, step, going, numbers, lane, looked):
        kept, ahead, roots, mask = numbers.kept, numbers.ahead, numbers.roots, going.mask
        cut, ended, lost = going.cut, going.ended, going.lost
        at_end(memory, launch, step, going.high, lane, looked, ahead)
        note(going, numbers)
        due = mask & ~mask
        for k in range(n_events):
            due = due | (mask & (roots[k] <= one))
        if any_lane(due):
            find_roots(memory, launch, step, due, going, numbers, lane, looked)
            lost = lost | too_close(memory, step, mask, roots, lane)
            cut, ended = settle(memory, launch, outputs, step, going, numbers, lane, looked)
        lost = lost | failed(mask, lane)
        too_short = moment(step) >= share
        for k in range(n_events):
            was_told = absolute(kept[k]) == told
            waits = is_marked(kept[k]) & ~was_told
            is_told = (ahead[k] == zero) & ((roots[k] <= one) | was_told)
            mark = select(kept[k] > zero, told, -told)
            following = select(is_told | (was_told & too_short), mark, ahead[k])
            kept[k] = select(mask & ~waits, following, kept[k])
            roots[k] = going.high
        return cut, ended, lost

    return backend.device(part)


def _build_at_end(loop: Any, context: BuildContext) -> Callable:
    """Return ``at_end(memory, launch, step, high, lane, looked, ahead)``: the numbers there."""
    backend, n = context.backend, loop.system.n_states
    evaluate, one = build_evaluate(loop, context), backend.constant(1.0)

    def of_step(memory, launch, step, high, lane, looked, ahead):
        evaluate(memory, launch, step.ahead, lane.proposed.state, lane, ahead)

    if loop.events.rules.samples == 1 or not loop.events.rules.at_roots:
        return backend.device(of_step)
    value = loop.algorithm.build_reading(context.within("algorithm")).value

    def of_part(memory, launch, step, high, lane, looked, ahead):
        signed, at_end = step.h * step.direction, high >= one
        for i in range(n):
            inside = value(memory, signed, high, lane.state, looked.polynomial, i)
            looked.state[i] = select(at_end, lane.proposed.state[i], inside)
        elapsed = select(at_end, step.ahead, step.elapsed + high * step.h)
        evaluate(memory, launch, elapsed, looked.state, lane, ahead)

    return backend.device(of_part)


def _build_note(backend: Any, rule: Rule, k: int, is_marked: Callable) -> Callable:
    """Return ``note(going, numbers)``: whether event `k` happens in a part of a step.

    Where it does not, its root is nowhere.
    """
    zero, one, nowhere = (backend.constant(value) for value in (0.0, 1.0, NOWHERE))
    rises, falls = rule.direction >= 0, rule.direction <= 0

    def of_step(going, numbers):
        here = going.mask & (going.high >= one) & (numbers.ahead[k] > zero)
        numbers.roots[k] = select(here, one, nowhere)

    def rising(going, numbers):
        before, after = numbers.kept[k], numbers.ahead[k]
        here = going.mask & (before <= zero) & (after >= zero) & ~is_marked(before)
        numbers.roots[k] = select(here, numbers.roots[k], nowhere)

    def falling(going, numbers):
        before, after = numbers.kept[k], numbers.ahead[k]
        here = going.mask & (before >= zero) & (after <= zero) & ~is_marked(before)
        numbers.roots[k] = select(here, numbers.roots[k], nowhere)

    def either(going, numbers):
        before, after = numbers.kept[k], numbers.ahead[k]
        up, down = (before <= zero) & (after >= zero), (before >= zero) & (after <= zero)
        here = going.mask & (up | down) & ~is_marked(before)
        numbers.roots[k] = select(here, numbers.roots[k], nowhere)

    def above(going, numbers):
        here = going.mask & (numbers.kept[k] <= zero) & (numbers.ahead[k] > zero)
        numbers.roots[k] = select(here, numbers.roots[k], nowhere)

    if rule.at_steps:
        return of_step
    if rule.repeats:
        return above
    return either if rises and falls else rising if rises else falling


def _build_too_close(loop: Any, context: BuildContext) -> Callable:
    """Return ``too_close(memory, step, mask, roots, lane) -> lost``.

    Lanes in which an event happens again, where its own `apply` put the state, at what is the same
    time, and those in which one failed. Their roots are taken away.
    """
    backend, n_events = context.backend, loop.events.n_events
    failed, nowhere = build_failing(loop, context).failed, backend.constant(NOWHERE)

    def one_failed(memory, step, mask, roots, lane):
        lost = failed(mask, lane)
        for k in range(n_events):
            roots[k] = select(lost, nowhere, roots[k])
        return lost

    if not (loop.jumps and loop.events.rules.at_roots):
        return backend.device(one_failed if loop.events.n_faults else _none_too_close)
    allocate = event_buffer(context, "event_changes")
    # One that is applied while it is above zero may be so again.
    applies = tuple(rule.applies and not rule.repeats for rule in loop.events.rules.each)
    same_time, one, happened = build_same_time(backend), backend.constant(1.0), DUE

    def too_close(memory, step, mask, roots, lane):
        changes, same = allocate(memory, None), same_time(step)
        lost = failed(mask, lane)
        for k in range(n_events):
            if applies[k]:
                there = (roots[k] <= one) & (roots[k] <= same)
                lost = lost | (mask & (changes[k] >= happened) & there)
        for k in range(n_events):
            roots[k] = select(lost, nowhere, roots[k])
        return lost

    return backend.device(too_close)


def _none_too_close(memory, step, mask, roots, lane):
    return mask & ~mask


def _build_roots(loop: Any, context: BuildContext) -> Callable:
    """Return ``find_roots(memory, launch, step, due, going, numbers, lane, looked)``."""
    backend, rules = context.backend, loop.events.rules
    if not rules.at_roots:
        return backend.device(_no_roots)
    prepare, sampled = build_prepare(loop, context), rules.samples > 1
    look = build_look(loop, context)
    locates = {
        repeats: build_locate(backend, look, repeats)
        for repeats in {rule.repeats for rule in rules.each}
    }
    # What is looked at once a step is at its end.
    parts = [
        backend.device(_build_root(loop, context, k, locates[rule.repeats]))
        for k, rule in enumerate(rules.each)
        if not rule.at_steps
    ]
    find_each = in_turn(backend, parts, 7)

    def find_roots(memory, launch, step, due, going, numbers, lane, looked):
        if not sampled:
            prepare(memory, step, due, lane, looked)
        find_each(memory, launch, step, going, numbers, lane, looked)

    return backend.device(find_roots)


def _build_root(loop: Any, context: BuildContext, k: int, locate: Callable) -> Callable:
    """Return that of event `k`: its index is known, so that buffers stay in registers."""
    one, keep_residual = context.backend.constant(1.0), _build_keep_residual(loop, context)

    def find_root(memory, launch, step, going, numbers, lane, looked):
        low = numbers.roots[k]
        wanted = going.mask & (low < one)
        if any_lane(wanted):
            bracket = Bracket(wanted, low, going.high, numbers.kept[k], numbers.ahead[k])
            root, slope = locate(memory, launch, step, bracket, k, lane, looked)
            numbers.roots[k] = select(wanted, root, low)
            keep_residual(memory, step, wanted, slope, k)

    return find_root


def _build_keep_residual(loop: Any, context: BuildContext) -> Callable:
    """Return ``keep(memory, step, wanted, slope, k)``: how large a number at its root may be."""
    backend = context.backend
    if not loop.jumps:
        return backend.device(_nothing_to_keep)
    allocate, near = event_buffer(context, "event_residuals"), build_near(backend)

    def keep(memory, step, wanted, slope, k):
        residuals = allocate(memory, None)
        residuals[k] = select(wanted, near(step, slope), residuals[k])

    return backend.device(keep)


def _nothing_to_keep(memory, step, wanted, slope, k):
    pass


def _no_roots(memory, launch, step, due, going, numbers, lane, looked):
    pass


def build_prepare(loop: Any, context: BuildContext) -> Callable:
    """Return ``prepare(memory, step, due, lane, looked)``: the polynomial, for the lanes `due`."""
    backend = context.backend
    if not loop.events.rules.at_roots:
        return backend.device(_nothing_to_prepare)
    of_step = loop.algorithm.build_reading(context.within("algorithm")).prepare
    count = backend.device(build_count(loop.counter_names))

    def prepare(memory, step, due, lane, looked):
        count(due, lane.counters)
        signed = step.h * step.direction
        of_step(
            memory, step.t, signed, lane.state, step.given, looked.state, looked.polynomial
        )  # fmt: skip

    return backend.device(prepare)


def _nothing_to_prepare(memory, step, due, lane, looked):
    pass
