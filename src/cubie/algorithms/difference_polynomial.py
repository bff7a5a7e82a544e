"""The solution inside a step of several steps' differences: the polynomial that made it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from cubie.algorithms.order_choice import ORDER, SHIFT
from cubie.algorithms.reading import ReadingFunctions
from cubie.backend import Backend, rounded_sum, select
from cubie.factory import BuildContext


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


def build_reading_of(
    context: BuildContext, order: int, n: int, first: int, allocators: Allocators, basis: str | None
) -> ReadingFunctions:
    """Return what reads off a step; `basis` is a buffer for scratch (order,), if it is recorded.

    It lives in the phase `inside`.
    """
    backend = context.backend
    inside = build_inside_of(backend, order, n, allocators)

    def value(memory, h, theta, state, coefficients, i):
        found, _ = inside(memory, theta, state, i)
        return found

    def nothing(memory, t, h, state, given, scratch, coefficients):
        pass

    if basis is None:
        return ReadingFunctions(backend.device(nothing), backend.device(value))
    powers = build_powers_of(backend, order, n, first, allocators)
    alloc_basis, enter = context.allocator(basis), context.phase("inside")

    def prepare(memory, t, h, state, given, scratch, coefficients):
        enter(memory)
        powers(memory, alloc_basis(memory, None), coefficients)

    made = ReadingFunctions(backend.device(prepare), backend.device(value))
    return backend.called(context.path, ("inside",), made)


def build_powers_of(
    backend: Backend, order: int, n: int, first: int, allocators: Allocators
) -> Callable:
    """Return ``powers(memory, basis, coefficients)``: the same polynomial by powers of the part.

    The coefficient of ``theta**(1 + k)``, of state i, goes to place ``first + k * n + i``; `basis`
    is scratch, (order,).

    With x = L theta - sigma, of steps L = 1 + sigma long, the polynomial through the points before
    is ``x (D[0] + (x + 1)/2 (D[1] + (x + 2)/3 (D[2] + ...)))``, and what the step corrects of it
    ``theta (x + 1)/2 (x + 2)/3 ... (x + k - 1)/k``, k the order of the step.
    """
    allocate, alloc_correction, alloc_progress = allocators
    zero, one, last = backend.constant(0.0), backend.constant(1.0), order - 1

    def of_correction(sigma, length, highest, basis):
        for k in range(order):
            basis[k] = sigma * zero
        basis[0] = sigma * zero + one
        for m in range(2, order + 1):
            takes_part = m <= highest
            constant = select(takes_part, (m - length) / m, one)
            slope = select(takes_part, length / m, zero)
            for j in range(last):  # from the highest down
                k = last - j
                basis[k] = basis[k] * constant + basis[k - 1] * slope
            basis[0] = basis[0] * constant

    def of_differences(sigma, length, differences, coefficients):
        for i in range(n):
            for k in range(order):
                coefficients[first + k * n + i] = sigma * zero
            coefficients[first + i] = differences[last * n + i]
        for inner in range(last):
            m = last - inner
            constant, slope = (m - sigma) / (m + 1), length / (m + 1)
            for i in range(n):
                for j in range(last):
                    k = last - j
                    below = coefficients[first + (k - 1) * n + i]
                    own = coefficients[first + k * n + i]
                    coefficients[first + k * n + i] = own * constant + below * slope
                lowest = coefficients[first + i] * constant
                coefficients[first + i] = lowest + differences[(m - 1) * n + i]

    of_correction, of_differences = backend.device(of_correction), backend.device(of_differences)

    def powers(memory, basis, coefficients):
        differences, correction = allocate(memory, None), alloc_correction(memory, None)
        progress = alloc_progress(memory, None)
        sigma = progress[SHIFT]
        length = one + sigma
        of_correction(sigma, length, progress[ORDER], basis)
        of_differences(sigma, length, differences, coefficients)
        for i in range(n):
            for k in range(last):
                above = coefficients[first + (k + 1) * n + i]
                inner = length * coefficients[first + k * n + i] - sigma * above
                coefficients[first + k * n + i] = inner + correction[i] * basis[k]
            inner = length * coefficients[first + last * n + i]
            coefficients[first + last * n + i] = inner + correction[i] * basis[last]

    return backend.device(powers)
