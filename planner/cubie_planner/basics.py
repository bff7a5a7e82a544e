"""The few helpers that many rooms need: rounding, hints, statuses, the base of errors."""

from __future__ import annotations

import difflib
import numbers
from collections.abc import Iterable
from enum import StrEnum
from typing import Any


class PlannerError(Exception):
    """Base of the errors that the planner has of its own."""


class Status(StrEnum):
    """How much was proven.

    ``OPTIMAL``: no better plan exists. ``FEASIBLE``: the plan is valid, a better one
    may exist within the reported gap. ``INFEASIBLE``: proven that none exists.
    ``UNKNOWN``: the limits of the search ran out before anything was found.
    """

    OPTIMAL = "optimal"
    FEASIBLE = "feasible"
    INFEASIBLE = "infeasible"
    UNKNOWN = "unknown"


def nearest_hint(given: object, words: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the word nearest to `given`, or nothing."""
    near = difflib.get_close_matches(str(given).lower(), list(words), n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""


def is_integer(value: object) -> bool:
    """Return whether a value is an integer of Python or NumPy; a bool is none."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def listed(value: Any) -> list[Any] | None:
    """Return the entries of something, None where it has none."""
    try:
        return list(value)
    except TypeError:
        return None


def round_up(value: int, unit: int) -> int:
    """Return the smallest multiple of `unit` that is not below `value`."""
    return -(-value // unit) * unit


def lowest_free(
    clashes: list[tuple[int, int]], unit: int, least: int = 0, wanted: int = -1, snug: bool = False
) -> int | None:
    """Return a multiple of `unit`, at least `least`, strictly inside no interval of `clashes`.

    `wanted` >= 0 is the only place allowed. `snug` asks for the tightest gap instead of
    the lowest one.
    """
    if wanted >= 0:
        free = all(not lo < wanted < hi for lo, hi in clashes)
        return wanted if free and wanted % unit == 0 else None
    clashes.sort()
    spot = round_up(least, unit)
    tightest: int | None = None
    waste = 0
    for lo, hi in clashes:
        if spot <= lo:
            if not snug:
                return spot
            if tightest is None or lo - spot < waste:
                tightest, waste = spot, lo - spot
        if hi > spot:
            spot = -(-hi // unit) * unit  # round_up, without a call for every clash
    return spot if tightest is None else tightest
