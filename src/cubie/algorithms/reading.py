"""The solution inside a step, where points are read off it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from attrs import frozen

from cubie.backend import Backend, rounded_sum, select

if TYPE_CHECKING:
    from cubie.tableaus.nested import Slopes


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
    from_coefficients : bool
        Whether a value follows from theta, the state and the coefficients alone.
    """

    prepare: Callable
    value: Callable
    from_coefficients: bool = False


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


def as_one_polynomial(
    backend: Backend,
    is_second: Callable,
    of_both: ReadingFunctions,
    places: tuple[int, int],
    sizes: tuple[int, int],
) -> ReadingFunctions:
    """Return what reads off steps of one of two kinds, whose `prepare` leaves one polynomial.

    `places` are where the coefficients of each kind begin, of which there are `sizes`. Where the
    second kind has a step, its own replace those of the first, where there is room for as many.
    """
    is_second, prepare_both = backend.device(is_second), of_both.prepare
    (first, second), (n_first, n_second) = places, sizes
    n_shared, n_all = min(sizes), max(sizes)
    zero = backend.constant(0.0)

    def extend(other, coefficients):
        for j in range(n_shared, n_all):
            coefficients[first + j] = select(other, coefficients[second + j], zero)

    def cut(other, coefficients):
        for j in range(n_shared, n_all):
            coefficients[first + j] = select(other, zero, coefficients[first + j])

    rest = backend.device(extend if n_second > n_first else cut)

    def prepare(memory, t, h, state, given, scratch, coefficients):
        prepare_both(memory, t, h, state, given, scratch, coefficients)
        other = is_second(memory)
        for j in range(n_shared):
            own = coefficients[first + j]
            coefficients[first + j] = select(other, coefficients[second + j], own)
        rest(other, coefficients)

    return ReadingFunctions(backend.device(prepare), of_both.value)


def nothing_added(t, h, state, given, scratch, stages):
    pass


def value_of_polynomial(backend: Backend, n: int, centres: Sequence[float], first: int) -> Callable:
    """Return the `value` of coefficients in Newton's form over `centres`, of which one is 0.

    The coefficients of state i are in places ``first + k * n + i``, see `cubie.tableaus.nested`.
    """
    total = backend.device(_last_of_nested(first + (len(centres) - 1) * n))
    for k in reversed(range(len(centres) - 1)):
        centre, place = backend.constant(centres[k + 1]), first + k * n
        total = backend.device(_one_of_nested(total, centre, place))

    def value(memory, h, theta, state, coefficients, i):
        # Rounded as a sum of its own: two ways to add it up would be two values.
        return rounded_sum(state[i], theta * total(theta, coefficients, i))

    return backend.device(value)


def _last_of_nested(place: int) -> Callable:
    def total(theta, coefficients, i):
        return coefficients[place + i]

    return total


def _one_of_nested(inner: Callable, centre, place: int) -> Callable:
    def total(theta, coefficients, i):
        return inner(theta, coefficients, i) * (theta - centre) + coefficients[place + i]

    return total


def coefficient_of_derivatives(total: Callable, at: int, n: int) -> Callable:
    def coefficient(stages, h, coefficients):
        for i in range(n):
            coefficients[at + i] = h * total(stages, i)

    return coefficient


def coefficient_of_increments(total: Callable, at: int, n: int) -> Callable:
    def coefficient(stages, h, coefficients):
        for i in range(n):
            coefficients[at + i] = total(stages, i)

    return coefficient


def coefficients_of_slopes(
    backend: Backend, slopes: Slopes, terms: Callable, first: int, n: int, derivatives: bool
) -> Callable:
    """Return what makes the second and the third coefficient of the others, and of slopes.

    `terms` turns weights of stages into what a `weighted_sum` takes.
    """
    of_start, of_end = (backend.weighted_sum(terms(row)) for row in (slopes.start, slopes.end))
    to_third = [(first + (m + 3) * n, w) for m, w in enumerate(slopes.third) if w]
    to_second = [(first + (m + 2) * n, w) for m, w in enumerate(slopes.second) if w]
    third, second = backend.weighted_sum(to_third), backend.weighted_sum(to_second)

    def of_derivatives(stages, h, coefficients):
        for i in range(n):
            change = coefficients[first + i]
            start, end = h * of_start(stages, i), h * of_end(stages, i)
            bend = (start - change) + (end - change)
            coefficients[first + 2 * n + i] = bend + third(coefficients, i)
            coefficients[first + n + i] = (change - start) + second(coefficients, i)

    def of_increments(stages, h, coefficients):
        for i in range(n):
            change = coefficients[first + i]
            start, end = of_start(stages, i), of_end(stages, i)
            bend = (start - change) + (end - change)
            coefficients[first + 2 * n + i] = bend + third(coefficients, i)
            coefficients[first + n + i] = (change - start) + second(coefficients, i)

    return backend.device(of_derivatives if derivatives else of_increments)
