"""What the parameters of summaries may be."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Any

from cubie.errors import Described, InvalidOption
from cubie.reals import NotReal, real

MOST_KEPT = 1000  # events of a run whose times are kept
MOST_SLOTS = 100_000  # of a summary that a user wrote
DIRECTIONS = ("both", "up", "down")


def a_count(least: int) -> Callable:
    """Return a validator of whole numbers from `least` on."""

    def check(instance: Any, attribute: Any, value: Any) -> None:
        if not _is_whole(value) or not least <= value <= MOST_KEPT:
            advice = f"It must be an int from {least} to {MOST_KEPT}."
            raise InvalidOption(_label(instance, attribute), value, advice=advice)
        object.__setattr__(instance, attribute.name, int(value))

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


def checked_own(where: str, summary: Any) -> Any:
    """Return a summary that a user wrote; `where` it was given.

    Raises
    ------
    InvalidOption
        For one without a name, without its functions, or with no sensible number of slots.
    """
    kind, wrong = type(summary), ""
    name, n_slots = getattr(summary, "name", None), summary.n_slots
    missing = [at for at in ("build_start", "build_update") if _is_abstract(kind, at)]
    if not isinstance(name, str) or not name:
        wrong = f"its `name` is {name!r}: give the class one, as in `name = 'swing'`."
    elif missing:
        wrong = f"it has no `{'` and no `'.join(missing)}`, which return its device functions."
    elif not _is_whole(n_slots) or not 1 <= n_slots <= MOST_SLOTS:
        wrong = f"its `n_slots` is {n_slots!r}: it must be an int from 1 to {MOST_SLOTS}."
    else:
        try:
            hash(summary)
        except TypeError as error:
            wrong = (
                f"it cannot be hashed ({error}): let it be frozen (`@attrs.frozen`), with tuples."
            )
    if wrong:
        what = Described(f"{kind.__name__}, a summary of your own")
        raise InvalidOption(where, what, advice=f"But {wrong}")
    return summary


def _is_abstract(kind: type, method: str) -> bool:
    return getattr(kind, method).__module__ == "cubie.run.summaries.kinds" and (
        getattr(kind, method).__qualname__ == f"Summary.{method}"
    )


def _is_whole(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _label(instance: Any, attribute: Any) -> str:
    return f"{type(instance).name}({attribute.name}=)"
