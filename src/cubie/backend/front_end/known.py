"""Lowered functions, kept to be linked again; what was not used for longest is forgotten."""

from __future__ import annotations

from typing import Any, NamedTuple

from attrs import field, frozen

MOST_FUNCTIONS = 4000  # of a few kilobytes each


class Lowered(NamedTuple):
    """A function of a kernel: its name there, and the type that it returns."""

    symbol: str
    returned: Any


@frozen
class Call:
    """A call of another device function, as it was typed."""

    callee: int  # among the device functions that the caller closes over
    arguments: tuple
    returned: Any
    symbol: str


@frozen
class Known:
    """A lowered function, linked to nothing, and what that needs.

    Attributes
    ----------
    lowered : Lowered
    code : bytes or str
        As the target keeps it.
    libraries : tuple
        numba's, of functions on plain numbers.
    calls : tuple of Call
    """

    lowered: Lowered
    code: Any = field(repr=False)
    libraries: tuple = field(repr=False)
    calls: tuple[Call, ...]


class Remembered:
    """What a target lowered before, by the looks of functions.

    It is looked at and changed while numba's lock on compilers is held.
    """

    def __init__(self) -> None:
        self._known: dict[tuple, list[Known]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def clear(self) -> None:
        self._known.clear()

    def of(self, key: tuple) -> list[Known]:
        """Return what was lowered of functions of these looks, which are used last from now on."""
        found = self._known.pop(key, None)
        if found is None:
            return []
        self._known[key] = found
        return found

    def keep(self, key: tuple, known: Known) -> None:
        self._known.setdefault(key, []).append(known)
        if len(self._known) > MOST_FUNCTIONS:
            self._known.pop(next(iter(self._known)))
