"""What stands around generated functions: it takes a `Given` apart and answers calls of drivers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cubie.backend import Backend, Given, any_lane, in_turn, is_finite, maximum, minimum, select
from cubie.systems.drivers.calls import n_kept
from cubie.systems.drivers.lookup import build_lookup

OUTSIDE = 2.0  # what is written behind the parameters where a driver was asked for too much


def build_driven(
    backend: Backend,
    system: Any,
    name: str,
    module: Any,
    generated: Callable,
    limited: bool,
    adds: bool = False,
) -> Callable:
    """Return a generated function that takes a `Given` in the place of parameters.

    Parameters
    ----------
    system : SystemComponent
    name : str
        Of the function in its module: "rhs", "jacobian", "jvp", "diagonal", "time_derivative",
        "coupling", "observe_with_rate".
    module : module
        With the calls of the function.
    generated : callable
        ``generated(t, y, p, ..., out, at)``; behind `p` come `d`, where drivers are called, and
        `common`, where outputs have values in common.
    limited : bool
        Only times between the limits of the `Given` are asked for.
    adds : bool
        The right-hand side takes a factor behind `at`, see `cubie.systems.adding`.
    """
    limit = backend.device(_within if limited else _unlimited)
    has_common = bool(getattr(module, f"{name.upper()}_COMMON", 0))
    shape = _ADDED[has_common] if adds else (_WITH_COMMON if has_common else _SHAPES)[name]
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


class _AddedRightHandSide:
    """Functions of (t, y, p, out, at, factor)."""

    @staticmethod
    def without(generated, limit):
        def driven(t, y, given, out, at, factor):
            generated(limit(t, given), y, given.parameters, out, at, factor)

        return driven

    @staticmethod
    def with_drivers(generated, limit, answer):
        def driven(t, y, given, out, at, factor):
            now = limit(t, given)
            answer(now, y, given)
            generated(now, y, given.parameters, given.drivers, out, at, factor)

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


class _RightHandSideOfCommon:
    """Functions of (t, y, p, common, out, at)."""

    @staticmethod
    def without(generated, limit):
        def driven(t, y, given, out, at):
            generated(limit(t, given), y, given.parameters, given.common, out, at)

        return driven

    @staticmethod
    def with_drivers(generated, limit, answer):
        def driven(t, y, given, out, at):
            now = limit(t, given)
            answer(now, y, given)
            generated(now, y, given.parameters, given.drivers, given.common, out, at)

        return driven


class _AddedRightHandSideOfCommon:
    """Functions of (t, y, p, common, out, at, factor)."""

    @staticmethod
    def without(generated, limit):
        def driven(t, y, given, out, at, factor):
            generated(limit(t, given), y, given.parameters, given.common, out, at, factor)

        return driven

    @staticmethod
    def with_drivers(generated, limit, answer):
        def driven(t, y, given, out, at, factor):
            now, p, common = limit(t, given), given.parameters, given.common
            answer(now, y, given)
            generated(now, y, p, given.drivers, common, out, at, factor)

        return driven


class _ProductOfCommon:
    """Functions of (t, y, p, common, vec, vec_at, out, at)."""

    @staticmethod
    def without(generated, limit):
        def driven(t, y, given, vec, vec_at, out, at):
            now, p, common = limit(t, given), given.parameters, given.common
            generated(now, y, p, common, vec, vec_at, out, at)

        return driven

    @staticmethod
    def with_drivers(generated, limit, answer):
        def driven(t, y, given, vec, vec_at, out, at):
            now, p, common = limit(t, given), given.parameters, given.common
            answer(now, y, given)
            generated(now, y, p, given.drivers, common, vec, vec_at, out, at)

        return driven


class _WithRate:
    """Functions of (t, y, dy, p, out, rate)."""

    @staticmethod
    def without(generated, limit):
        def driven(t, y, dy, given, out, rate):
            generated(limit(t, given), y, dy, given.parameters, out, rate)

        return driven

    @staticmethod
    def with_drivers(generated, limit, answer):
        def driven(t, y, dy, given, out, rate):
            now = limit(t, given)
            answer(now, y, given)
            generated(now, y, dy, given.parameters, given.drivers, out, rate)

        return driven


_ADDED = (_AddedRightHandSide, _AddedRightHandSideOfCommon)
_SHAPES: dict[str, Any] = {
    **dict.fromkeys(("rhs", "jacobian", "diagonal", "time_derivative"), _RightHandSide),
    **dict.fromkeys(("jvp", "coupling"), _Product),
    "observe_with_rate": _WithRate,
}
_WITH_COMMON: dict[str, Any] = {
    **dict.fromkeys(("rhs", "jacobian", "diagonal", "time_derivative"), _RightHandSideOfCommon),
    **dict.fromkeys(("jvp", "coupling"), _ProductOfCommon),
}


def _build_answers(backend: Backend, system: Any, name: str, module: Any) -> Callable:
    """Return ``answer(t, y, given)``: fill the slots that a function reads."""
    rounds = getattr(module, f"{name.upper()}_CALLS")
    found = []
    if getattr(module, f"{name.upper()}_DRIVEN"):
        found.append(_build_refresh(backend, system))
    for which, calls in enumerate(rounds):
        store = getattr(module, f"{name}_arguments_{which}")
        store = backend.straight_line(store, as_written=True)
        found.append(backend.device(_arguments(store)))
        for slot, number, order in calls:
            value = _build_value(backend, system, number, order)
            found.append(backend.device(_at_an_argument(value, slot)))
    return in_turn(backend, found, 3)


def _build_refresh(backend: Backend, system: Any) -> Callable:
    """Return ``refresh(t, y, given)``: look up all values at the time, if they are of another.

    All of them: what one function does not ask for, another one will.
    """
    values = [(number, _build_value(backend, system, number, 0)) for number in system.system.driven]
    fill = in_turn(backend, [backend.device(_at_the_time(value, i)) for i, value in values], 3)
    time = system.n_drivers

    def refresh(t, y, given):
        drivers = given.drivers
        if any_lane(drivers[time] != t):
            fill(t, y, given)
            drivers[time] = t

    return backend.device(refresh)


def build_recall(backend: Backend, system: Any, stage: int) -> Callable:
    """Return ``recall(t, given)``: have the values of a stage that is one of several.

    They are looked up once, and kept in the stack: at the times of other stages too others are
    asked for before this one is again.
    """
    if not system.n_drivers or not system.system.driven:
        return backend.device(_nothing_to_recall)
    limit = backend.device(_within if system.breakpoints else _unlimited)
    refresh, n = _build_refresh(backend, system), n_kept(system.n_drivers)
    at, time = stage * n, stage * n + system.n_drivers

    def recall(t, given):
        now, stack, drivers = limit(t, given), given.stack, given.drivers
        if any_lane(stack[time] != now):
            refresh(now, now, given)
            for k in range(n):
                stack[at + k] = drivers[k]
        for k in range(n):
            drivers[k] = stack[at + k]

    return backend.device(recall)


def build_with_stack(backend: Backend, system: Any, n_stages: int) -> Callable:
    """Return ``with_stack(given, stack)``: what stages are given that `build_recall` is for."""
    if not system.n_drivers:
        return backend.device(_as_it_is)
    never, n, n_drivers = never_a_time(backend), n_kept(system.n_drivers), system.n_drivers

    def with_stack(given, stack):
        for stage in range(n_stages):
            stack[stage * n + n_drivers] = never
        parameters, drivers, _, launch, earliest, latest, common = given
        return Given(parameters, drivers, stack, launch, earliest, latest, common)

    return backend.device(with_stack)


def never_a_time(backend: Backend) -> Any:
    """Return a number that no time of a run is."""
    return backend.constant(float(np.finfo(backend.dtype).max))


def _as_it_is(given, stack):
    return given


def _nothing_to_recall(t, given):
    pass


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
    look_up = build_lookup(backend, system.first_driver + number, structure, order)
    slot, outside = system.n_parameters, backend.constant(OUTSIDE)

    def value(given, x):
        return look_up(given.launch, x)

    def watched(given, x):
        found = look_up(given.launch, x)
        lacking = ~is_finite(found) & is_finite(x)
        given.parameters[slot] = select(lacking, outside, given.parameters[slot])
        return found

    bounded = structure[2] and system.may_leave_samples
    return backend.device(watched if bounded else value)
