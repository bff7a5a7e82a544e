"""The solution inside a step of several steps' differences: the polynomial that made it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from cubie.algorithms.order_choice import ORDER, SHIFT
from cubie.backend import Backend, rounded_sum, select


class Allocators(NamedTuple):
    """Of the buffers that a step is made of."""

    differences: Callable
    correction: Callable
    progress: Callable


def build_inside_of(backend: Backend, order: int, n: int, allocators: Allocators) -> Callable:
    """Return ``inside(memory, at, state, i) -> (value, slope)``, of orders up to `order`.

    State i at the part `at` of a step, and its derivative by that.

    With p[m](x) = x (x + 1) ... (x + m - 1) / m!, the polynomial through the points before is
    ``sum(p[m](x) D[m])`` x steps from where the differences are; what the step corrects of it
    vanishes at the state and at the points before that.
    """
    allocate, alloc_correction, alloc_progress = allocators
    zero, one = backend.constant(0.0), backend.constant(1.0)

    def inside(memory, at, state, i):
        differences, correction = allocate(memory, None), alloc_correction(memory, None)
        progress = alloc_progress(memory, None)
        sigma, highest = progress[SHIFT], progress[ORDER]
        # The step in steps of the differences, and where it is looked at, from its end.
        length = one + sigma
        s = (at - one) * length
        x = one + s
        power, slope_of_power, at_state = x * zero + one, x * zero, x * zero + one
        value, slope = x * zero, x * zero
        for m in range(order):
            slope_of_power = (slope_of_power * (x + m) + power) / (m + 1)
            power = power * (x + m) / (m + 1)
            at_state = at_state * (m - sigma) / (m + 1)
            row = differences[m * n + i]
            value = value + row * (power - at_state)
            slope = slope + row * slope_of_power
        share, slope_of_share = x * zero + one, x * zero
        for m in range(2, order + 1):
            takes_part = m <= highest
            steeper = (slope_of_share * (s + m) + share) / m
            slope_of_share = select(takes_part, steeper, slope_of_share)
            share = select(takes_part, share * (s + m) / m, share)
        value = value + correction[i] * (at * share)
        slope = length * slope + correction[i] * (share + at * length * slope_of_share)
        return rounded_sum(state[i], value), slope

    return backend.device(inside)
