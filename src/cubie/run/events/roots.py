"""A root of an event between two parts of a step, in all lanes together.

The interval is cut by inverse quadratic interpolation where that is safe, and halved elsewhere
(Chandrupatla, Advances in Engineering Software 28, 1997, p. 145), until it is as short as the
time there can be told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from cubie.backend import absolute, any_lane, maximum, minimum, select
from cubie.factory import BuildContext
from cubie.run.events.buffers import build_evaluate
from cubie.run.events.recording import build_reach

# Halving alone takes as many as a number has bits; the interpolation errs a few times at most.
MOST_ROUNDS = 120


class Bracket(NamedTuple):
    """Two parts of a step between which the number of an event changes its sign."""

    wanted: Any  # lanes in which it does
    low: Any
    high: Any
    at_low: Any  # the number there
    at_high: Any


class _Cuts(NamedTuple):
    """The latest cut, the other end of the interval, and the cut before; with numbers."""

    x1: Any
    f1: Any
    x2: Any
    f2: Any
    x3: Any
    f3: Any


def build_locate(backend: Any, look: Callable, above: bool = False) -> Callable:
    """Return ``locate(memory, launch, step, bracket, k, lane, looked) -> (theta, slope)``.

    The part of the step where event `k` has its root, and how steep, either way, its number goes
    through it. `look`, ``look(memory, launch, step, theta,
    lane, looked)``, fills `Looked` at a part of a step. With `above` it is the first part that can
    be told where the number is above zero, and zero counts as below.
    """
    zero, one, half = (backend.constant(value) for value in (0.0, 1.0, 0.5))
    eps = backend.constant(float(np.finfo(backend.dtype).eps))
    most, cut = MOST_ROUNDS, backend.device(_build_cut(zero))
    best = backend.device(_build_above(zero) if above else _best)
    read = backend.device(_build_never_zero(backend) if above else _as_it_is)
    following = backend.device(_build_following(zero, one, half))

    def locate(memory, launch, step, bracket, k, lane, looked):
        wanted, low, high, at_low, at_high = bracket
        at_low = read(at_low)
        root = select(at_low == zero, low, high)
        going = wanted & (at_low != zero) & (at_high != zero)
        # As finely as the clock tells times.
        finest = eps * maximum(one, step.ahead / step.h)
        cuts = _Cuts(high, at_high, low, at_low, low, at_low)
        part, rounds = half + zero * low, 0
        slope = absolute(at_high - at_low) / (high - low)
        while any_lane(going) and rounds < most:
            x = cuts.x1 + part * (cuts.x2 - cuts.x1)
            look(memory, launch, step, x, lane, looked)
            f = read(looked.values[k])
            cuts = cut(cuts, x, f)
            root = select(going, select(f == zero, x, best(cuts)), root)
            width = absolute(cuts.x2 - cuts.x1)
            steep = absolute(cuts.f2 - cuts.f1) / select(width > zero, width, one)
            slope = select(going, steep, slope)
            going = going & (f != zero) & (width > finest)
            part = following(cuts, finest, width)
            rounds += 1
        return root, slope

    return backend.device(locate)


def _build_cut(zero: Any) -> Callable:
    def cut(cuts, x, f):
        x1, f1, x2, f2, _, _ = cuts
        same = ((f > zero) & (f1 > zero)) | ((f < zero) & (f1 < zero))
        return _Cuts(
            x,
            f,
            select(same, x2, x1),
            select(same, f2, f1),
            select(same, x1, x2),
            select(same, f1, f2),
        )

    return cut


def _build_above(zero: Any) -> Callable:
    def above(cuts):
        return select(cuts.f1 > zero, cuts.x1, cuts.x2)

    return above


def _build_never_zero(backend: Any) -> Callable:
    """Return a number as it is, or a little below zero where it is zero."""
    least, zero = backend.constant(-float(np.finfo(backend.dtype).tiny)), backend.constant(0.0)

    def never_zero(value):
        return select(value == zero, least, value)

    return never_zero


def _as_it_is(value):
    return value


def _best(cuts):
    return select(absolute(cuts.f2) < absolute(cuts.f1), cuts.x2, cuts.x1)


def _build_following(zero: Any, one: Any, half: Any) -> Callable:
    """Return ``following(cuts, finest, width)``: where to cut next, as a part of the interval."""

    def following(cuts, finest, width):
        x1, f1, x2, f2, x3, f3 = cuts
        # Where the interval is as short as can be, nothing of this is used.
        there = (x3 != x2) & (f3 != f2) & (f3 != f1) & (f2 != f1) & (x2 != x1)
        xi = select(there, x1 - x2, one) / select(there, x3 - x2, one)
        phi = select(there, f1 - f2, one) / select(there, f3 - f2, one)
        safe = there & (phi * phi < xi) & ((one - phi) * (one - phi) < one - xi)
        first = (f1 / select(safe, f2 - f1, one)) * (f3 / select(safe, f2 - f3, one))
        ratio = (x3 - x1) / select(safe, x2 - x1, one)
        second = ratio * (f1 / select(safe, f3 - f1, one)) * (f2 / select(safe, f3 - f2, one))
        part = select(safe, first + second, half)
        least = half * finest / select(width > zero, width, one)
        least = minimum(least, half)
        return minimum(maximum(part, least), one - least)

    return following


def build_look(loop: Any, context: BuildContext) -> Callable:
    """Return ``look(memory, launch, step, theta, lane, looked)``: the solution, and all events."""
    backend, n = context.backend, loop.system.n_states
    evaluate = build_evaluate(loop, context)
    value = loop.algorithm.build_reading(context.within("algorithm")).value
    # What is above zero where it is looked at must be so where the step is cut: by the same clock.
    when = build_reach(loop, backend) if loop.events.rules.repeats else backend.device(_when)

    def look(memory, launch, step, theta, lane, looked):
        signed, polynomial = step.h * step.direction, looked.polynomial
        for i in range(n):
            looked.state[i] = value(memory, signed, theta, lane.state, polynomial, i)
        elapsed, _ = when(step, theta)
        evaluate(memory, launch, elapsed, looked.state, lane, looked.values)

    return backend.device(look)


def _when(step, theta):
    return step.elapsed + theta * step.h, step.carry
