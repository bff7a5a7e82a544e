"""What the parameters of summaries may be."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from cubie.errors import InvalidOption
from cubie.reals import NotReal, real

MOST_KEPT = 1000  # events of a run whose times are kept
DIRECTIONS = ("both", "up", "down")


def a_count(least: int) -> Callable:
    """Return a validator of whole numbers from `least` on."""

    def check(instance: Any, attribute: Any, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST_KEPT:
            advice = f"It must be an int from {least} to {MOST_KEPT}."
            raise InvalidOption(_label(instance, attribute), value, advice=advice)

    return check


def a_number(optional: bool = False) -> Callable:
    """Return a validator of finite numbers; with `optional` None is one."""

    def check(instance: Any, attribute: Any, value: Any) -> None:
        if optional and value is None:
            return
        try:
            number = real(value)
            if not math.isfinite(number):
                raise NotReal("is not finite")
            object.__setattr__(instance, attribute.name, number)
        except (NotReal, TypeError, ValueError) as error:
            raise InvalidOption(
                _label(instance, attribute), value, advice="It must be a finite number."
            ) from error

    return check


def a_size(instance: Any, attribute: Any, value: Any) -> None:
    """Check a number that may not be negative."""
    a_number()(instance, attribute, value)
    if getattr(instance, attribute.name) < 0.0:
        advice = "It must not be negative."
        raise InvalidOption(_label(instance, attribute), value, advice=advice)


def a_direction(instance: Any, attribute: Any, value: Any) -> None:
    """Check the direction of a crossing."""
    if value not in DIRECTIONS:
        raise InvalidOption(_label(instance, attribute), value, DIRECTIONS)


def _label(instance: Any, attribute: Any) -> str:
    return f"{type(instance).name}({attribute.name}=)"
