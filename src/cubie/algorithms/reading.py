"""The solution inside a step, where points are read off it."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from cubie.backend import Backend, rounded_sum, select


@frozen
class ReadingFunctions:
    """Device functions that read the solution off a step.

    Attributes
    ----------
    prepare : callable
        ``prepare(memory, t, h, state, given, scratch, coefficients)``: writes coefficients, from
        which all values follow. Other arguments are those of the step, and `scratch` (n,).
    value : callable
        ``value(memory, h, theta, state, coefficients, i)``: state i at the part theta of the step.
    """

    prepare: Callable
    value: Callable


def of_either(
    backend: Backend, is_second: Callable, first: ReadingFunctions, second: ReadingFunctions
) -> ReadingFunctions:
    """Return what reads off steps of one of two kinds, as ``is_second(memory)`` tells by lanes."""
    prepare_first, prepare_second = first.prepare, second.prepare
    value_of_first, value_of_second = first.value, second.value

    def prepare(memory, t, h, state, given, scratch, coefficients):
        prepare_first(memory, t, h, state, given, scratch, coefficients)
        prepare_second(memory, t, h, state, given, scratch, coefficients)

    def value(memory, h, theta, state, coefficients, i):
        one = value_of_first(memory, h, theta, state, coefficients, i)
        other = value_of_second(memory, h, theta, state, coefficients, i)
        return select(is_second(memory), other, one)

    return ReadingFunctions(backend.device(prepare), backend.device(value))


def nothing_added(t, h, state, given, scratch, stages):
    pass


def value_of_polynomial(n: int, degree: int, first: int) -> Callable:
    last = degree - 1

    def value(memory, h, theta, state, coefficients, i):
        total = coefficients[first + last * n + i]
        for k in range(last):
            total = total * theta + coefficients[first + (last - 1 - k) * n + i]
        # Rounded as a sum of its own: two ways to add it up would be two values.
        return rounded_sum(state[i], theta * total)

    return value


def power_of_derivatives(total: Callable, at: int, n: int) -> Callable:
    def power(stages, h, coefficients):
        for i in range(n):
            coefficients[at + i] = h * total(stages, i)

    return power


def power_of_increments(total: Callable, at: int, n: int) -> Callable:
    def power(stages, h, coefficients):
        for i in range(n):
            coefficients[at + i] = total(stages, i)

    return power
