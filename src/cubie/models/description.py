"""What a model says, in no format's words: states, formulas, constants, events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from attrs import Factory, field, frozen

from cubie.models.errors import ModelError
from cubie.models.formulas import RATE_OF, Apply, Formula, Name, names_in, parts_of, rate_name
from cubie.systems.symbolic.names import hint

BEFORE, AFTER = " before", " after"  # behind names in factors: values around an event


@frozen
class Change:
    """What an event sets.

    Attributes
    ----------
    state : str
    value : Formula
        What is computed; where that is at the time of the trigger, then.
    factor : Formula
        Of the value where it is set; names ending in `BEFORE` and `AFTER` are states that the event
        changes.
    """

    state: str
    value: Formula
    factor: Formula = 1.0


@frozen
class EventDescription:
    """Something that happens when a condition comes true.

    Attributes
    ----------
    name : str
    trigger : Formula
    changes : tuple of Change
    kept : tuple of (str, Formula)
        States that are multiplied where the event changes what they are counted in, and by what.
    delay : Formula or None
        How long after its trigger it happens.
    priority : Formula or None
        Of events at one time that of the highest goes first.
    persistent : bool
        It happens though its trigger is false again by then.
    true_before : bool
        The trigger counts as true before the start, so that it does not happen there.
    at_trigger : bool
        Values are those at the time of the trigger.
    """

    name: str
    trigger: Formula
    changes: tuple[Change, ...]
    kept: tuple[tuple[str, Formula], ...] = ()
    delay: Formula | None = None
    priority: Formula | None = None
    persistent: bool = True
    true_before: bool = True
    at_trigger: bool = True


@frozen
class View:
    """What of a quantity there is: itself, and as an amount and a concentration.

    Attributes
    ----------
    value, amount, concentration : Formula
        None where there is none.
    """

    value: Formula
    amount: Formula | None = None
    concentration: Formula | None = None


@frozen(eq=False)
class Description:
    """What a model says.

    Attributes
    ----------
    name : str
    rates : mapping of str to Formula
        Of each state its derivative.
    formulas : mapping of str to Formula
        Of each quantity what it is, at all times.
    initial : mapping of str to Formula
        Of each state, and each constant, what it is at the start.
    views : mapping of str to View
        What can be asked for.
    kinds : mapping of str to str
        Of what can be asked for: "species", "compartment", "parameter", ...
    units : mapping of str to str
        Where they are told.
    titles : mapping of str to str
        Names for people.
    events : tuple of EventDescription
    """

    name: str
    rates: Mapping[str, Formula]
    formulas: Mapping[str, Formula]
    initial: Mapping[str, Formula]
    views: Mapping[str, View]
    kinds: Mapping[str, str] = field(factory=dict)
    units: Mapping[str, str] = field(factory=dict)
    titles: Mapping[str, str] = field(factory=dict)
    events: tuple[EventDescription, ...] = ()
    defined: Mapping[str, Formula] = field(
        init=False,
        repr=False,
        default=Factory(lambda self: _with_rates(self), takes_self=True),
    )

    @property
    def constants(self) -> tuple[str, ...]:
        """What does not change in a run."""
        return tuple(name for name in self.initial if name not in self.rates)

    def require_names(self) -> None:
        """Refuse formulas with names that nothing has.

        Raises
        ------
        ModelError
        """
        for owner, formula in self._all_formulas():
            for name in used_by(formula):
                if name not in self.initial and name not in self.defined:
                    raise ModelError(
                        f"The formula of `{owner}` in {self.name} uses `{name}`, which there is "
                        f"not{hint(name, (*self.initial, *self.formulas))}"
                    )

    def _all_formulas(self) -> Iterator[tuple[str, Formula]]:
        for formulas in (self.rates, self.defined, self.initial):
            yield from formulas.items()
        for event in self.events:
            yield event.name, event.trigger
            for formula in (event.delay, event.priority):
                if formula is not None:
                    yield event.name, formula
            for change in event.changes:
                yield event.name, change.value
                yield event.name, Name(change.state)

    def uses_at_start(self, name: str) -> set[str]:
        """Return the names in what something is at the start."""
        if name in self.initial:
            return set(used_by(self.initial[name]))
        return set(used_by(self.defined[name])) if name in self.defined else set()

    def follow_from(self, changed: Iterable[str]) -> set[str]:
        """Return what is something else at the start where others are given other values there."""
        users: dict[str, list[str]] = {}
        for name in (*self.initial, *self.defined):
            for used in self.uses_at_start(name):
                users.setdefault(used, []).append(name)
        found, ahead = set(), list(changed)
        while ahead:
            for user in users.get(ahead.pop(), ()):
                if user not in found:
                    found.add(user)
                    ahead.append(user)
        return found


def used_by(formula: Formula) -> Iterator[str]:
    """Yield the names in a formula; of rates that it asks for those of the rates."""
    if isinstance(formula, Apply) and formula.function == RATE_OF:
        yield rate_name(formula.arguments[0])
    elif isinstance(formula, Apply):
        for argument in formula.arguments:
            yield from used_by(argument)
    elif isinstance(formula, Name):
        yield formula.name


def _with_rates(model: Description) -> dict[str, Formula]:
    """Return the formulas of quantities, and of rates that something asks for."""
    every = [*model.rates.values(), *model.formulas.values(), *model.initial.values()]
    for view in model.views.values():
        every += [one for one in (view.value, view.amount, view.concentration) if one is not None]
    for event in model.events:
        every += [event.trigger, *(change.value for change in event.changes)]
        every += [one for one in (event.delay, event.priority) if one is not None]
    found, asked = dict(model.formulas), set()
    while every:
        for part in parts_of(every.pop()):
            if part.function == RATE_OF and part.arguments[0] not in asked:
                asked.add(part.arguments[0])
                rate = rate_of(model, part.arguments[0])
                found[rate_name(part.arguments[0])] = rate
                every.append(rate)
    return found


def rate_of(model: Description, of: Formula) -> Formula:
    """Return the derivative of something with respect to time.

    Raises
    ------
    ModelError
        For what has a formula that is neither a state, a constant, nor a state over one.
    """
    assert isinstance(of, Name)
    if of.name in model.rates:
        return model.rates[of.name]
    if of.name not in model.formulas:
        return 0.0
    formula = model.formulas[of.name]
    if isinstance(formula, Apply) and formula.function == "divide":
        above, below = formula.arguments
        if all(isinstance(one, Name) for one in (above, below)):
            d_above, d_below = Apply(RATE_OF, (above,)), Apply(RATE_OF, (below,))
            return Apply(
                "divide", (Apply("minus", (d_above, Apply("times", (of, d_below)))), below)
            )
    if not any(name in model.rates for name in names_in(formula)):
        return 0.0
    raise ModelError(
        f"The rate of `{of.name}` is asked for, which an assignment rule determines: rates are of "
        "states alone.",
        "rateOf of what has an assignment rule",
    )
