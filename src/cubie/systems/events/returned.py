"""What events, and what they make of the state, must return."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cubie.systems.errors import EventError
from cubie.systems.tracing.arithmetic import select
from cubie.systems.tracing.nodes import is_complex, is_mask, operand
from cubie.systems.tracing.returned import what


class EventValues:
    """One number of each event; of a condition 1 where it holds, -1 elsewhere.

    Parameters
    ----------
    conditions : tuple of bool
        Which of the events are conditions.
    """

    function, purpose, error = "events", "an event", EventError
    keeps_products = False

    def __init__(self, conditions: tuple[bool, ...]):
        self._conditions = conditions

    def entries(self, result: Any) -> list:
        """Return the numbers of what `values_of` returned."""
        pairs = zip(result, self._conditions, strict=True)
        return [
            _value(entry, self.label(i), condition) for i, (entry, condition) in enumerate(pairs)
        ]

    def nothing(self) -> list:
        """Return as many entries that are no numbers."""
        return [math.nan] * len(self._conditions)

    def label(self, i: int) -> str:
        """Return which event it is."""
        return f"events[{i}]"


class EventValue(EventValues):
    """The number of one event, by itself.

    Parameters
    ----------
    place : int
        Which of the events it is.
    condition : bool
    """

    def __init__(self, place: int, condition: bool):
        super().__init__((condition,))
        self.function = self.label(place)

    def entries(self, result: Any) -> list:
        """Return the number that an event returned."""
        return [_value(result, self.function, *self._conditions)]


def _value(entry: Any, where: str, condition: bool) -> Any:
    if isinstance(entry, np.ndarray) and entry.size == 1:
        entry = entry.reshape(()).item()
    elif isinstance(entry, (list, tuple)) and len(entry) == 1:
        entry = entry[0]
    number = NotImplemented if isinstance(entry, str) else operand(entry)
    if number is NotImplemented:
        hint = " Is there a `return`?" if entry is None else ""
        raise EventError(
            f"{where} returned {what(entry)}; an event must return one number, whose roots are "
            f"found.{hint}"
        )
    if is_complex(number):
        raise EventError(
            f"{where} returned a complex number; an event must return one real number."
        )
    if not is_mask(number):
        return number
    if not condition:
        raise EventError(
            f"{where} returned a truth value, which has no roots: return a number that changes its "
            "sign where the event is, or set its `on` to 'accept', for a condition that is looked "
            "at once a step."
        )
    return select(number, 1.0, -1.0)
