"""Events of a model as states of its own, and one step between them.

What a model calls events are together one event of the solver's (`on="while"`): its number is above
zero while something is to be done, and `apply` does one thing after the other at that time:

1. Where a trigger is not as it was, all triggers are looked at. Those that came true have their
   event wait: for its turn, or until its delay is over. Values that it will need are computed.
2. Else, of the events whose time has come, that of the highest priority is executed. Then triggers
   are looked at again.

Of each event there is a state: whether its trigger is true, and whether it waits for its turn. One
that is delayed has places for a few that wait, each with the time when it is due. Of a trigger that
is put together of several comparisons each is watched by a state of its own, so that no step goes
past what comes true and false again within it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import attrs
from attrs import field, frozen

from cubie.models.description import (
    AFTER,
    BEFORE,
    Change,
    Description,
    EventDescription,
    used_by,
)
from cubie.models.formulas import (
    TIME,
    Apply,
    Formula,
    Name,
    apply,
    comparisons_in,
    folded,
    replaced,
)
from cubie.models.margins import margin_of
from cubie.models.writing import written
from cubie.systems.events.given import WHILE, Event
from cubie.systems.symbolic.equations import Equations
from cubie.systems.symbolic.observed import computing

PLACES = 4  # for executions of one delayed event that wait
STARTS = "starts"  # the state that is one until a run has started
NEVER = 1e30  # when what does not wait is due; a number of single precision
LOWEST = -1e30  # the priority of an event that has none
TRUE, WAITS = 1.0, 2.0  # what the state of an event is a sum of


def _either(condition: Formula, a: Formula, b: Formula) -> Apply:
    return apply("piecewise", a, condition, b)


@frozen
class _Waiting:
    """A place where an execution of an event waits for its time.

    Attributes
    ----------
    event : EventDescription
    due : str
        The state that is the time; empty where it is only its turn that is waited for.
    values : tuple of str
        States that keep the values that it will set; empty names where they are computed then.
    """

    event: EventDescription
    due: str
    values: tuple[str, ...]

    def is_ready(self) -> Formula:
        """Return whether its time has come."""
        if self.due:
            return apply("geq", apply(TIME), Name(self.due))
        return apply("geq", Name(_status(self.event)), WAITS)


def _status(event: EventDescription) -> str:
    return f"{event.name} status"


@frozen(eq=False, slots=False)
class Machine:
    """A model, and its events as states.

    Attributes
    ----------
    given : Description
    start : mapping of str to Formula
        States that are computed of others when a run starts, where these differ between runs.
    """

    given: Description
    start: Mapping[str, Formula] = field(factory=dict)
    _known: dict = field(factory=dict, init=False)

    @cached_property
    def model(self) -> Description:
        """The model with the states of its events, which only those change."""
        initial = dict(self.given.initial) | ({STARTS: 1.0} if self.start else {})
        for event in self.given.events:
            initial[_status(event)] = TRUE if event.true_before else 0.0
        initial |= {name: _either(one, TRUE, 0.0) for name, one in self.watched.items()}
        for place in self.places:
            initial |= {place.due: NEVER} if place.due else {}
            initial |= {name: 0.0 for name in place.values if name}
        own = {name: 0.0 for name in initial if name not in self.given.initial}
        rates = {**self.given.rates, **own}
        return attrs.evolve(self.given, rates=rates, initial=initial)

    @cached_property
    def watched(self) -> dict[str, Formula]:
        """Comparisons that are watched by a state each, by the names of these."""
        found: dict[Formula, None] = {}
        for event in self.given.events:
            compared = dict.fromkeys(comparisons_in(event.trigger))
            found |= compared if len(compared) > 1 else {}
        return {f"condition {i + 1}": one for i, one in enumerate(found)}

    @cached_property
    def places(self) -> tuple[_Waiting, ...]:
        """Where executions of events wait."""
        found = []
        for event in self.given.events:
            keeps = [self._is_kept(event, change) for change in event.changes]
            for i in range(1 if event.delay is None else PLACES):
                number = f" {i + 1}" if event.delay is not None else ""
                values = tuple(
                    f"{event.name} {change.state}{number}" if kept else ""
                    for change, kept in zip(event.changes, keeps, strict=True)
                )
                due = "" if event.delay is None else f"{event.name} due{number}"
                found.append(_Waiting(event, due, values))
        return tuple(found)

    def _is_kept(self, event: EventDescription, change: Change) -> bool:
        """Tell whether a value may be another one when the event is executed."""
        if not event.at_trigger:
            return False
        if event.delay is not None:
            return True
        others = {
            change.state for other in self.given.events if other is not event
            for change in other.changes
        }  # fmt: skip
        return bool(others & self._needs(change.value))

    def _needs(self, formula: Formula) -> set[str]:
        """Return the names that a formula depends on."""
        found: set[str] = set()
        ahead = list(used_by(formula))
        while ahead:
            name = ahead.pop()
            if name not in found:
                found.add(name)
                ahead += used_by(self.given.defined.get(name, 0.0))
        return found

    def events(
        self, equations: Equations, called: Mapping[str, str], free: tuple[str, ...],
        numbers: Mapping[str, float],
    ) -> tuple[Event, ...]:  # fmt: skip
        """Return what solvers take: nothing, or one event.

        Parameters
        ----------
        equations : Equations
            Of the model, in which the constants `free` are parameters.
        called : mapping of str to str
            What each name is called in them.
        numbers : mapping of str to float
            Of the other constants.
        """
        if not (self.given.events or self.start):
            return ()
        if free not in self._known:
            known = {name: numbers[name] for name in self.model.constants if name not in free}
            texts = _Texts(equations, called, known)
            self._known[free] = Event(
                texts.function({}, [self._number()]), apply=self._applied(texts), on=WHILE
            )
        return (self._known[free],)

    def _number(self) -> Formula:
        """Return what is above zero while something is to be done."""
        waiting = [
            margin_of(place.is_ready()) if place.due else _either(place.is_ready(), 1.0, -1.0)
            for place in self.places
        ]
        starts = [_either(apply("geq", Name(STARTS), 0.5), 1.0, -1.0)] if self.start else []
        return _largest([*starts, *([self._changed()] if self.given.events else []), *waiting])

    def _changed(self) -> Formula:
        """Return what is above zero where a trigger is not as it was, or a part of one."""
        now = [(_is_true(event), event.trigger) for event in self.given.events]
        now += [(apply("geq", Name(name), TRUE), one) for name, one in self.watched.items()]
        return _largest([
            _either(was_true, apply("negative", margin), margin)
            for was_true, truth in now
            for margin in [margin_of(truth)]
        ])  # fmt: skip

    def _applied(self, texts: _Texts) -> Callable:
        """Return ``apply(t, y, *args)``."""
        local: dict[str, Formula] = {}
        after = self._after(local) if self.given.events else {}
        if self.start:
            after = self._started(after)
        resized = {name for event in self.given.events for name in _resized(event)}
        # Sizes come first: what is counted in them is set by their new values.
        order = sorted(after, key=lambda name: name not in resized)
        local |= {name + AFTER: after[name] for name in order}
        values = [Name(name + AFTER) if name in after else Name(name) for name in self.model.rates]
        return texts.function(local, values)

    def _started(self, after: Mapping[str, Formula]) -> dict[str, Formula]:
        """Return what becomes of states, where a run starts first."""
        starts = apply("geq", Name(STARTS), 0.5)
        found: dict[str, Formula] = {
            name: _either(starts, self.start.get(name, Name(name)), after.get(name, Name(name)))
            for name in dict.fromkeys((*after, *self.start))
        }
        return {**found, STARTS: 0.0}

    def _after(self, local: dict[str, Formula]) -> dict[str, Formula]:
        """Return what becomes of states in one step of events; what that uses goes to `local`."""
        local["changed now"] = self._changed()
        chosen = self._chosen(local)
        after: dict[str, Formula] = {}
        looks = apply("gt", Name("changed now"), 0.0)
        for name, one in self.watched.items():
            after[name] = _either(looks, _either(one, TRUE, 0.0), Name(name))
        full = [one for event in self.given.events for one in self._look(event, after)]
        for i, place in enumerate(self.places):
            self._execute(place, apply("eq", Name(chosen), float(i)), after)
        if full:
            # Nothing waits without a word: a run with no place left for it has no numbers.
            for name in self.given.rates:
                self._add(after, name, Apply("or", tuple(full)), float("nan"))
        return after

    def _chosen(self, local: dict[str, Formula]) -> str:
        """Add which place's turn it is, to `local`; return the name of that number."""
        number, highest = -1.0, LOWEST
        by_priority = any(place.event.priority is not None for place in self.places)
        for i, place in enumerate(self.places):
            none_yet, priority = apply("lt", number, 0.0), place.event.priority
            first: Formula = none_yet
            if by_priority and i:
                given = LOWEST if priority is None else priority
                first = apply("or", none_yet, apply("gt", given, highest))
            takes = apply("and", place.is_ready(), first)
            local[f"chosen {i}"] = _either(takes, float(i), number)
            if by_priority:
                given = LOWEST if priority is None else priority
                local[f"priority {i}"] = _either(takes, given, highest)
                highest = Name(f"priority {i}")
            number = Name(f"chosen {i}")
        # First all triggers are looked at.
        local["chosen"] = _either(apply("gt", Name("changed now"), 0.0), -1.0, number)
        return "chosen"

    def _look(self, event: EventDescription, after: dict[str, Formula]) -> list[Formula]:
        """Add what becomes of the states of an event where its trigger is looked at.

        Return conditions in which there is no place for one that waits.
        """
        looks, status = apply("gt", Name("changed now"), 0.0), Name(_status(event))
        holds, waits = event.trigger, apply("geq", status, WAITS)
        rises = apply("and", looks, holds, apply("not", _is_true(event)))
        stays = waits if event.persistent else apply("and", waits, holds)
        going = apply("or", stays, apply("and", holds, apply("not", _is_true(event))))
        seen = _either(holds, TRUE, 0.0)
        if event.delay is None:
            seen = apply("plus", seen, _either(going, WAITS, 0.0))
        after[_status(event)] = _either(looks, seen, status)
        taken: Formula = False
        for place in (one for one in self.places if one.event is event):
            here = rises
            if place.due:
                free = apply("geq", Name(place.due), NEVER)
                here = apply("and", rises, free, apply("not", taken))
                taken = apply("or", taken, free)
                assert event.delay is not None
                kept: Formula = Name(place.due)
                if not event.persistent:
                    kept = _either(apply("and", looks, apply("not", holds)), NEVER, kept)
                after[place.due] = _either(here, apply("plus", apply(TIME), event.delay), kept)
            for name, change in zip(place.values, event.changes, strict=True):
                if name:
                    after[name] = _either(here, change.value, Name(name))
        return [] if event.delay is None else [apply("and", rises, apply("not", taken))]

    def _execute(self, place: _Waiting, here: Formula, after: dict[str, Formula]) -> None:
        """Add what becomes of states where it is the turn of a place."""
        event = place.event
        if place.due:
            after[place.due] = _either(here, NEVER, after[place.due])
        else:
            status = _status(event)
            left = apply("minus", Name(status), WAITS)
            after[status] = _either(here, left, after[status])
        for name, change in zip(place.values, event.changes, strict=True):
            value = Name(name) if name else change.value
            if change.factor != 1.0:
                value = apply("times", value, _around(event, change.factor))
            self._add(after, change.state, here, value)
        for state, factor in event.kept:
            self._add(after, state, here, apply("times", Name(state), _around(event, factor)))

    @staticmethod
    def _add(after: dict[str, Formula], state: str, here: Formula, value: Formula) -> None:
        after[state] = _either(here, value, after.get(state, Name(state)))


def _is_true(event: EventDescription) -> Formula:
    """Return whether the trigger of an event was true."""
    status = Name(_status(event))
    if event.delay is not None:
        return apply("geq", status, TRUE)
    return apply("or", apply("eq", status, TRUE), apply("eq", status, TRUE + WAITS))


def _resized(event: EventDescription) -> set[str]:
    """Return the states that an event sets, and that others are counted in."""
    factors = [change.factor for change in event.changes] + [factor for _, factor in event.kept]
    used = {name.removesuffix(AFTER) for factor in factors for name in used_by(factor)}
    return used & _changed_by(event)


def _around(event: EventDescription, factor: Formula) -> Formula:
    """Return a factor with the values before and after an event that it asks for."""
    sizes = {one + BEFORE: Name(one) for one in _changed_by(event)}
    return replaced(factor, sizes | {one + AFTER: Name(one + AFTER) for one in _changed_by(event)})


def _changed_by(event: EventDescription) -> set[str]:
    return {change.state for change in event.changes}


def _largest(of: Sequence[Formula]) -> Formula:
    return of[0] if len(of) == 1 else Apply("max", tuple(of))


class _Texts:
    """Functions of equations, with constants put in."""

    def __init__(self, equations: Equations, called: Mapping[str, str], known: Mapping[str, float]):
        self.equations, self.called, self.known = equations, called, known

    def function(self, local: Mapping[str, Formula], values: Sequence[Formula]) -> Callable:
        """Return ``function(t, y, *args)``: a list of the values.

        Parameters
        ----------
        local : mapping of str to Formula
            What the values use, in that order.
        """
        taken, called = set(self.called.values()), dict(self.called)
        for i, name in enumerate(local):
            own = f"event_value_{i}"
            while own in taken:
                own += "_"
            called[name] = own

        def text(formula: Formula) -> str:
            return written(folded(formula, self.known), called)

        lines = {called[name]: text(formula) for name, formula in local.items()}
        return computing(self.equations, lines, [text(value) for value in values])


def events_of(model: Description) -> Machine:
    """Return a model with the states of its events."""
    return Machine(model)
