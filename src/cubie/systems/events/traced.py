"""Events as systems: one that computes the numbers of all, and one of each that changes states.

Where an event cannot be traced each is a system of its own, and its function is compiled as it
stands, as that of a right-hand side is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import attrs
from attrs import frozen

from cubie.systems.batch import checked_args
from cubie.systems.errors import EventError, RightHandSideError
from cubie.systems.events.given import (
    applied_of,
    function_of,
    read_events,
    rule_of,
)
from cubie.systems.events.requests import AllEvents, NotTogether, OneCondition, OneEvent, values_of
from cubie.systems.from_function import ObservableRequest, trace
from cubie.systems.parameters import check_signature
from cubie.systems.references.watched import Watched
from cubie.systems.symbolic.equations import Equations
from cubie.systems.system import System


@frozen
class EventSystems:
    """What events compute.

    Attributes
    ----------
    values : tuple of System
        One with an output for each event; where some cannot be traced, one for each event.
    applied : tuple of (System or None)
        Of each event the new state, where it makes one.
    timings : tuple of (System or None)
        Where there are sensitivities, of each event the derivatives of its time by the inputs,
        times their sizes. Nothing that runs compute.
    """

    values: tuple[System, ...]
    applied: tuple[System | None, ...]
    timings: tuple[System | None, ...] = ()

    def __iter__(self) -> Iterator[System]:
        yield from self.values
        yield from (system for system in self.applied if system is not None)


def events_of(
    given: Any,
    equations: Equations | None,
    n_states: int,
    args: Any,
    names: Sequence[str] | None = None,
    pairs: Any = None,
    **of_args: Any,
) -> EventSystems:
    """Trace events, as `read_events` lets them through, and what they make of the state.

    What cannot be traced becomes a "compiled" system, as `trace` makes it of a right-hand side.

    Parameters
    ----------
    equations : Equations or None
        What the states follow, where that was given as text.
    args : tuple
        Of one run.
    names : sequence of str, optional
        Of the states.
    pairs : Pairs, optional
        Where the states, or args, are complex.
    **of_args
        What `trace` is told of args: `constants` and `swept`.

    Raises
    ------
    EventError, EquationError
    """
    events = read_events(given)
    functions = tuple(_function(event, i, equations) for i, event in enumerate(events))
    for i, function in enumerate(functions):
        _check_signature(function, args, f"events[{i}]")
    conditions = tuple(rule_of(event, "events").at_steps for event in events)
    of = _same if pairs is None else pairs.of_observables
    function = of(partial(values_of, functions, conditions))
    try:
        values = (_traced_values(AllEvents, function, n_states, args, names, of_args),)
    except NotTogether:
        values = tuple(
            _traced_value(of(function), i, condition, n_states, args, names, of_args)
            for i, (function, condition) in enumerate(zip(functions, conditions, strict=True))
        )
    applied = []
    for i, event in enumerate(events):
        change = _change(event, i, equations)
        if change is not None and pairs is not None:
            change = pairs.of_states(change, n_states)
        applied.append(
            None if change is None else _traced_state(change, i, n_states, args, names, of_args)
        )
    return EventSystems(values, tuple(applied))


def _check_signature(function: Callable, args: Any, name: str) -> None:
    try:
        check_signature(function, tuple(checked_args(args)))
    except TypeError as error:
        told = str(error)
        if not told.startswith("fun is called"):
            raise
        raise EventError(told.replace("fun", name, 1)) from None


def _same(function: Callable) -> Callable:
    return function


def _traced_values(
    kind: type[ObservableRequest],
    function: Callable,
    n_states: int,
    args: Any,
    names: Any,
    of_args: Mapping[str, Any],
    place: int | None = None,
) -> System:
    given = frozenset(of_args.get("constants", ())), of_args.get("swept"), of_args.get("near", ())
    content, what = Watched(function).current, "events" if place is None else f"events[{place}]"
    try:
        request = kind.of(function, n_states, args, names, None, content, given)
        if isinstance(request, OneEvent):
            request.place = place or 0
        return request.system()
    except RightHandSideError as error:  # of what any traced function may do wrong
        told = str(error)
        told = re.sub(r"\bevents raises\b", "events raise", told)
        told = re.sub(r"\bfun\b", what, told)
        raise EventError(told, getattr(error, "of_shape", False)) from error.__cause__


def _traced_value(
    function: Callable, i: int, condition: bool, n_states: int, args: Any, names: Any, of_args: Any
) -> System:
    """Return the system of one event."""
    kind = OneCondition if condition else OneEvent
    system = _traced_values(kind, function, n_states, args, names, of_args, i)
    return _noted(system, f"events[{i}]")


def _noted(system: System, what: str) -> System:
    """Return a system whose note, where it is compiled as it stands, says what it is."""
    if system.kind != "compiled":
        return system
    return attrs.evolve(system, note=f"{what}: {system.note}")


def _traced_state(
    change: Callable, i: int, n_states: int, args: Any, names: Any, of_args: Mapping[str, Any]
) -> System:
    what = f"`apply` of events[{i}]"
    try:
        system = trace(change, n_states, args, names=names, **of_args)
    except (RightHandSideError, TypeError) as error:
        told = str(error)
        if isinstance(error, TypeError) and not told.startswith("fun is called"):
            raise
        told = re.sub(r"\bfun\b", what, told).replace("the derivative of", "the new value of")
        raise EventError(told, getattr(error, "of_shape", False)) from error.__cause__
    output = f"the new value of state {{}} behind events[{i}]"
    return attrs.evolve(_noted(system, what), output=output)


def _function(event: Any, i: int, equations: Equations | None) -> Callable:
    """Return the function of an event, of a text one that computes it."""
    given = function_of(event)
    if callable(given):
        return given
    if equations is None:
        raise EventError(_NO_EQUATIONS.format(f"events[{i}]"))
    name = f"event{i}"
    return partial(_only_value, _of_texts({name: given}, equations, f"events[{i}]"))


def _change(event: Any, i: int, equations: Equations | None) -> Callable | None:
    """Return ``change(t, y, *args)``, the new state at an event; None where it stays."""
    given = applied_of(event)
    if given is None or callable(given):
        return given
    if equations is None:
        raise EventError(_NO_EQUATIONS.format(f"`apply` of events[{i}]"))
    states = equations.states
    for name in given:
        if name not in states:
            raise EventError(
                f"`apply` of events[{i}] gives a value to {name!r}, and the states are "
                f"{', '.join(states)}."
            )
    new = {f"{name} at event {i}": text for name, text in given.items()}
    places = tuple(f"{name} at event {i}" if name in given else None for name in states)
    texts = _of_texts(new, equations, f"`apply` of events[{i}]")
    return partial(_new_state, texts, places)


_NO_EQUATIONS = (
    "{} is text, which is for equations given as text, and here `fun` is a function: give a "
    "function (t, y, *args)."
)


def _of_texts(texts: Mapping[str, Any], equations: Equations, what: str) -> Callable:
    """Return ``function(t, y, *parameters)``: a dict of the values of expressions.

    Messages call them `what`.
    """
    from cubie.systems.symbolic.observed import defining
    from cubie.systems.symbolic.reader import EquationError

    try:
        return defining(equations, texts)
    except EquationError as error:
        told = re.sub(r"the observable `[^`]*`", what, str(error))
        raise EquationError(told.replace("`observables`", what)) from None


def _only_value(function: Callable, t: Any, y: Any, *args: Any) -> Any:
    (value,) = function(t, y, *args).values()
    return value


def _new_state(
    function: Callable, places: tuple[str | None, ...], t: Any, y: Any, *args: Any
) -> list:
    values = function(t, y, *args)
    return [y[i] if name is None else values[name] for i, name in enumerate(places)]
