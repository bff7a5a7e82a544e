"""What users give as `events`: functions with SciPy's attributes, or `Event` objects."""

from __future__ import annotations

import difflib
import operator
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any

import numpy as np
from attrs import frozen

from cubie.errors import Described, InvalidOption, UnknownOption, shown

AT_ROOTS, AT_STEPS, WHILE = "crossing", "accept", "while"  # what `on` may be
ATTRIBUTES = ("terminal", "direction", "apply", "on")
OF_EVENTS = "an attribute of an event"  # in messages
ALIKE = 0.8  # a name of a function's attribute that is taken for one of them, misspelt
NEVER = 2**30  # an event that happens so often ends no run
MOST_SAMPLES = 1000  # of one step

_FORMS = tuple(
    map(
        Described,
        (
            "a function (t, y, *args) that returns one number",
            "a `cubie.Event`",
            "an expression as text, of equations given as text",
            "a sequence of these",
        ),
    )
)


@frozen(init=False)
class Event:
    """A function whose roots are found along the solution of a run.

    A plain function with attributes of the same names, as SciPy takes it, does as well.

    Parameters
    ----------
    function : callable or str
        ``function(t, y, *args)`` returning one number, traced, or compiled as it stands, like the
        right-hand side; of equations given as text an expression, such as ``"v - 30"``.
    terminal : bool or int
        Whether a run ends at its first root, or at which one.
    direction : float
        Only roots where the function rises (> 0), or falls (< 0), count; 0: all.
    apply : callable or mapping of str to str, optional
        ``apply(t, y, *args)`` returning the new state, (n,), with which the run goes on; of
        equations given as text new values by name, ``{"v": "c", "u": "u + d"}``.
    on : {"crossing", "accept", "while"}
        With "accept" the function is a condition that is looked at once a step, at its end: what
        it returns is true, or a number above zero, where the event happens. With "while" `apply`
        makes states as soon as the number is above zero, at the start of a run too, and at that
        time again and again until it is not.
    """

    function: Any
    terminal: Any
    direction: Any
    apply: Any
    on: str

    def __init__(
        self,
        function: Any,
        *,
        terminal: Any = False,
        direction: Any = 0.0,
        apply: Any = None,
        on: str = AT_ROOTS,
        **unknown: Any,
    ):
        for name in unknown:
            raise UnknownOption(name, ATTRIBUTES, what=OF_EVENTS)
        made = (function, terminal, direction, apply, on)
        self.__attrs_init__(*made)  # pyright: ignore[reportAttributeAccessIssue]
        rule_of(self, "Event")

    def __call__(self, t: Any, y: Any, *args: Any) -> Any:
        return self.function(t, y, *args)


@frozen
class Rule:
    """What code depends on of an event.

    Attributes
    ----------
    terminal : int
        At which one of its roots a run ends; `NEVER` at none.
    direction : int
        1, -1, or 0 for both.
    at_steps : bool
        It is a condition that is looked at once a step.
    applies : bool
        The state changes there.
    repeats : bool
        And again, while its number is above zero.
    """

    terminal: int
    direction: int
    at_steps: bool
    applies: bool
    repeats: bool = False

    @property
    def ends(self) -> bool:
        """Whether runs may end there."""
        return self.terminal < NEVER

    @property
    def cuts(self) -> bool:
        """Whether a step ends there."""
        return self.ends or self.applies


@frozen
class Rules:
    """What code depends on of all events, and how often a step is looked at."""

    each: tuple[Rule, ...]
    samples: int = 1

    def __len__(self) -> int:
        return len(self.each)

    @property
    def ends(self) -> bool:
        """Whether a run may end at one of them."""
        return any(rule.ends for rule in self.each)

    @property
    def applies(self) -> bool:
        """Whether the state changes at one of them."""
        return any(rule.applies for rule in self.each)

    @property
    def repeats(self) -> bool:
        """Whether one of them is applied while its number is above zero."""
        return any(rule.repeats for rule in self.each)

    @property
    def cuts(self) -> bool:
        """Whether a step ends at one of them."""
        return self.ends or self.applies

    @property
    def at_roots(self) -> bool:
        """Whether there are roots to find."""
        return not all(rule.at_steps for rule in self.each)


def read_events(given: Any) -> tuple[Any, ...]:
    """Return the events that were given, one or several, as they are.

    Raises
    ------
    InvalidOption
        For what is no event, and attributes that cannot be, or are one misspelt.
    """
    if given is None:
        return ()
    if callable(given) or isinstance(given, (str, Event)):
        given = (given,)
    if not isinstance(given, Sequence) or isinstance(given, (bytes, Mapping)):
        raise InvalidOption("events", given, _FORMS)
    for i, event in enumerate(given):
        if not (callable(event) or isinstance(event, (str, Event))):
            raise InvalidOption("events", Described(f"a sequence with {shown(event)}"), _FORMS)
        rule_of(event, f"events[{i}]")
    return tuple(given)


def rules_of(given: Any, samples: int) -> Rules | None:
    """Return what code depends on of events, as their attributes are now; None without any."""
    events = read_events(given)
    if not events:
        return None
    return Rules(tuple(rule_of(event, f"events[{i}]") for i, event in enumerate(events)), samples)


def rule_of(event: Any, name: str) -> Rule:
    """Read the attributes of an event that messages call `name`."""
    _require_known(event, name)
    on = getattr(event, "on", AT_ROOTS)
    if on not in (AT_ROOTS, AT_STEPS, WHILE):
        raise InvalidOption(f"{name}.on", on, (AT_ROOTS, AT_STEPS, WHILE))
    direction = _direction(getattr(event, "direction", None), f"{name}.direction")
    if on != AT_ROOTS and direction:
        advice = f"It is a condition, with on={on!r}, that has no direction: leave it out."
        raise InvalidOption(f"{name}.direction", direction, advice=advice)
    applied = applied_of(event)
    if not (applied is None or callable(applied) or isinstance(applied, Mapping)):
        advice = "It must be a function (t, y, *args) that returns the new state."
        raise InvalidOption(f"{name}.apply", applied, advice=advice)
    terminal = _terminal(getattr(event, "terminal", None), f"{name}.terminal")
    if on == WHILE and (applied is None or terminal < NEVER):
        wrong, given = ("apply", applied) if applied is None else ("terminal", True)
        advice = (
            "With on='while' an event changes the state until its number is no longer above zero: "
            "it has an `apply`, and ends no run."
        )
        raise InvalidOption(f"{name}.{wrong}", given, advice=advice)
    return Rule(terminal, direction, on == AT_STEPS, applied is not None, on == WHILE)


def _require_known(event: Any, name: str) -> None:
    """Refuse an attribute of a function that has nearly the name of one that counts."""
    if not isinstance(event, FunctionType):
        return
    for given in vars(event):
        if given not in ATTRIBUTES and difflib.get_close_matches(
            given.lower(), ATTRIBUTES, cutoff=ALIKE
        ):
            raise UnknownOption(f"{name}.{given}", ATTRIBUTES, what=OF_EVENTS)


def applied_of(event: Any) -> Any:
    """Return what an event makes of the state; None where it leaves it."""
    return getattr(event, "apply", None)


def _terminal(given: Any, name: str) -> int:
    """Return at which root a run ends."""
    if given is None or (isinstance(given, (bool, np.bool_)) and not given):
        return NEVER
    try:
        # SciPy takes whole numbers of any type.
        number = int(given) if given == int(given) else -1
    except (TypeError, ValueError, OverflowError):
        number = -1
    if number == 0:
        return NEVER
    if not 0 < number < NEVER:
        advice = (
            "The `terminal` attribute of each event must be a boolean or positive integer: at "
            "which of its roots a run ends."
        )
        raise InvalidOption(name, given, advice=advice)
    return number


def _direction(given: Any, name: str) -> int:
    if given is None:
        return 0
    try:
        number = float(given)
        if np.isnan(number):
            raise ValueError
    except (TypeError, ValueError):
        advice = (
            "It must be a number: above 0 for roots where the function rises, below 0 where it "
            "falls, 0 for all."
        )
        raise InvalidOption(name, given, advice=advice) from None
    return int(np.sign(number))


def samples_of(given: Any) -> int:
    """Return how many parts of a step are looked at by themselves.

    Raises
    ------
    InvalidOption
    """
    try:
        number = 0 if isinstance(given, (bool, np.bool_)) else operator.index(given)
    except TypeError:
        number = 0
    if not 1 <= number <= MOST_SAMPLES:
        advice = f"Give a whole number from 1 (steps as they are) to {MOST_SAMPLES}."
        raise InvalidOption("event_samples", given, advice=advice)
    return number


def function_of(event: Any) -> Callable | str:
    """Return the function of an event, or its text."""
    return event.function if isinstance(event, Event) else event
