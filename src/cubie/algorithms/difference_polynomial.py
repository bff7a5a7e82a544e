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
    weights: Callable  # scratch of ``2 * order + 1`` elements


def build_inside_of(
    backend: Backend, order: int, n: int, allocators: Allocators, theta: float
) -> Callable:
    """Return the `build_inside` of a method of several steps, of orders up to `order`.

    With p[m](x) = x (x + 1) ... (x + m - 1) / m!, the polynomial through the points before is
    ``sum(p[m](x) D[m])`` x steps from where the differences are; what the step corrects of it
    vanishes at the state and at the points before that.
    """
    allocate, alloc_correction, alloc_progress, _ = allocators
    at = backend.constant(theta)
    zero, one = backend.constant(0.0), backend.constant(1.0)

    def inside(memory, h, state, i):
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


def build_coefficients(backend: Backend, order: int, n: int, allocators: Allocators) -> Callable:
    """Return ``fill(memory, coefficients)``: the same polynomial, by powers of theta.

    It writes the coefficient of ``theta**(1 + k)`` of state i to place ``k * n + i``. Both products
    of linear factors are multiplied out, one factor after the other.
    """
    allocate, alloc_correction, alloc_progress, alloc_weights = allocators
    zero, one, size = backend.constant(0.0), backend.constant(1.0), order * n
    at_share = order + 1  # in the scratch, behind the powers of the other product

    def fill(memory, coefficients):
        differences, correction = allocate(memory, None), alloc_correction(memory, None)
        progress, weights = alloc_progress(memory, None), alloc_weights(memory, None)
        length, highest = one + progress[SHIFT], progress[ORDER]
        for k in range(size):
            coefficients[k] = length * zero
        for k in range(2 * order + 1):
            weights[k] = length * zero
        weights[0] = length * zero + one
        weights[at_share] = length * zero + one
        for m in range(order):
            at_start, slope = (m + 1 - length) / (m + 1), length / (m + 1)
            for back in range(m + 1):
                j = m + 1 - back
                weights[j] = at_start * weights[j] + slope * weights[j - 1]
            weights[0] = at_start * weights[0]
            for j in range(1, m + 2):
                for i in range(n):
                    place = (j - 1) * n + i
                    part = weights[j] * differences[m * n + i]
                    coefficients[place] = coefficients[place] + part
        for m in range(2, order + 1):
            at_start, slope = (m - length) / m, length / m
            for back in range(m - 1):
                j = at_share + m - 1 - back
                product = at_start * weights[j] + slope * weights[j - 1]
                weights[j] = select(m <= highest, product, weights[j])
            product = at_start * weights[at_share]
            weights[at_share] = select(m <= highest, product, weights[at_share])
        for j in range(order):
            for i in range(n):
                part = weights[at_share + j] * correction[i]
                coefficients[j * n + i] = coefficients[j * n + i] + part

    return backend.device(fill)
