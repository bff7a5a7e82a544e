"""What stands around generated functions: it takes a `Given` apart and answers calls of drivers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cubie.backend import Backend, is_finite, maximum, minimum, select
from cubie.systems.drivers.lookup import build_lookup

OUTSIDE = 2.0  # what is written behind the parameters where a driver was asked for too much


def build_driven(
    backend: Backend, system: Any, name: str, module: Any, generated: Callable
) -> Callable:
    """Return a generated function that takes a `Given` in the place of parameters.

    Parameters
    ----------
    system : SystemComponent
    name : str
        Of the function in its module: "rhs", "jacobian", "jvp", "diagonal", "time_derivative".
    module : module
        With the calls of the function.
    generated : callable
        ``generated(t, y, p, ..., out, at)``, or ``generated(t, y, p, d, ..., out, at)``.
    """
    limit = backend.device(_within if system.breakpoints else _unlimited)
    shape = _SHAPES[name]
    if not system.n_drivers:
        return backend.device(shape.without(generated, limit))
    answer = _build_answers(backend, system, name, module)
    return backend.device(shape.with_drivers(generated, limit, answer))


def _unlimited(t, given):
    return t


def _within(t, given):
    return maximum(minimum(t, given.latest), given.earliest)


class _RightHandSide:
    """Functions of (t, y, p, out, at)."""

    @staticmethod
    def without(generated, limit):
        def driven(t, y, given, out, at):
            generated(limit(t, given), y, given.parameters, out, at)

        return driven

    @staticmethod
    def with_drivers(generated, limit, answer):
        def driven(t, y, given, out, at):
            now = limit(t, given)
            answer(now, y, given)
            generated(now, y, given.parameters, given.drivers, out, at)

        return driven


class _Product:
    """Functions of (t, y, p, vec, vec_at, out, at)."""

    @staticmethod
    def without(generated, limit):
        def driven(t, y, given, vec, vec_at, out, at):
            generated(limit(t, given), y, given.parameters, vec, vec_at, out, at)

        return driven

    @staticmethod
    def with_drivers(generated, limit, answer):
        def driven(t, y, given, vec, vec_at, out, at):
            now = limit(t, given)
            answer(now, y, given)
            generated(now, y, given.parameters, given.drivers, vec, vec_at, out, at)

        return driven


_SHAPES = dict.fromkeys(("rhs", "jacobian", "diagonal", "time_derivative"), _RightHandSide)
_SHAPES["jvp"] = _Product


def _build_answers(backend: Backend, system: Any, name: str, module: Any) -> Callable:
    """Return ``answer(t, y, given)``: fill the slots that a function reads."""
    driven = getattr(module, f"{name.upper()}_DRIVEN")
    rounds = getattr(module, f"{name.upper()}_CALLS")
    chain = backend.device(_nothing)
    for number in driven:
        value = _build_value(backend, system, number, 0)
        chain = backend.device(_then(chain, backend.device(_at_the_time(value, number))))
    for which, calls in enumerate(rounds):
        store = getattr(module, f"{name}_arguments_{which}")
        store = backend.straight_line(store, as_written=True)
        chain = backend.device(_then(chain, backend.device(_arguments(store))))
        for slot, number, order in calls:
            value = _build_value(backend, system, number, order)
            chain = backend.device(_then(chain, backend.device(_at_an_argument(value, slot))))
    return chain


def _nothing(t, y, given):
    pass


def _then(before: Callable, after: Callable) -> Callable:
    def both(t, y, given):
        before(t, y, given)
        after(t, y, given)

    return both


def _at_the_time(value: Callable, slot: int) -> Callable:
    def fill(t, y, given):
        given.drivers[slot] = value(given, t)

    return fill


def _arguments(store: Callable) -> Callable:
    def fill(t, y, given):
        store(t, y, given.parameters, given.drivers)

    return fill


def _at_an_argument(value: Callable, slot: int) -> Callable:
    def fill(t, y, given):
        given.drivers[slot] = value(given, given.drivers[slot])

    return fill


def _build_value(backend: Backend, system: Any, number: int, order: int) -> Callable:
    """Return ``value(given, x)``: what a driver gives, and note that it has nothing there."""
    structure = system.system.structures[number]
    look_up = build_lookup(backend, number, structure, order)
    slot, outside = system.n_parameters, backend.constant(OUTSIDE)

    def value(given, x):
        return look_up(given.launch, x)

    def watched(given, x):
        found = look_up(given.launch, x)
        lacking = ~is_finite(found) & is_finite(x)
        given.parameters[slot] = select(lacking, outside, given.parameters[slot])
        return found

    bounded = structure[2]
    return backend.device(watched if bounded else value)
