"""Cheap checks that nothing changed in what was looked at before.

Whatever can change is compared by identity with a copy of what it held: where that holds, so
does everything that was found by looking closely. Where it does not, one has to look again: an
equal number may have taken another's place.
"""

import hashlib
from collections.abc import Collection, Iterable
from operator import is_, itemgetter
from typing import Any

import numpy as np

MOST_BYTES_KEPT = 1 << 20  # of an array; of a larger one a hash

_attribute = object.__getattribute__
_MISSING = object()


class Watch:
    """What was looked at, and what it held then."""

    def __init__(self) -> None:
        self._blind = False
        self._functions: list[tuple] = []
        self._attributes: list[tuple[Any, str, Any]] = []
        self._slots: list[tuple[Any, Any, Any]] = []
        self._cells: list[tuple[Any, Any]] = []
        self._contents: list[tuple[Collection, tuple]] = []
        self._arrays: list[tuple] = []
        self._names: dict[int, tuple[dict, set[str]]] = {}
        self._looked_up: list[tuple] = []
        self._more = True  # than functions; known once everything was looked at

    def hidden(self) -> None:
        """Something was looked at that cannot be checked cheaply."""
        self._blind = True

    def function(self, function) -> None:
        """Keep what of a function can be replaced."""
        self._functions.append(
            (function, function.__code__, function.__defaults__, function.__kwdefaults__)
        )

    def attribute(self, value, name: str) -> None:
        """Keep an attribute that is not computed."""
        self._attributes.append((value, name, _attribute(value, name)))

    def slot(self, value, descriptor) -> None:
        """Keep what is in a slot, or that it is empty."""
        self._slots.append((value, descriptor, _in_slot(descriptor, value)))

    def cell(self, cell) -> None:
        """Keep the contents of a closure's cell."""
        self._cells.append((cell, _in_cell(cell)))

    def contents(self, container: Collection) -> None:
        """Keep the entries of a list, a set or a view of a dictionary."""
        self._contents.append((container, tuple(container)))

    def mapping(self, mapping) -> None:
        """Keep keys and values, in order."""
        self.contents(mapping.keys())
        if mapping:
            self.contents(mapping.values())

    def array(self, array: np.ndarray) -> None:
        """Keep the numbers of an array."""
        # Entries that are objects are compared by their addresses, which must stay taken.
        entries = array.tolist() if array.dtype.hasobject else None
        self._arrays.append((array, array.shape, array.dtype, _numbers(array), entries))

    def names(self, namespace: dict, names: Iterable[str]) -> None:
        """Keep what names stand for in a namespace, and which are absent."""
        self._names.setdefault(id(namespace), (namespace, set()))[1].update(names)

    def begin(self) -> None:
        """Gather what names stand for: call it once, when everything was looked at."""
        for namespace, names in self._names.values():
            present = sorted(name for name in names if name in namespace)
            values = tuple(namespace[name] for name in present)
            take = itemgetter(*present) if len(present) > 1 else None
            only = present[0] if len(present) == 1 else None
            absent = frozenset(names.difference(present))
            if names:
                self._looked_up.append((namespace, take, only, values, absent))
        self._names = {}
        self._more = bool(
            self._looked_up or self._contents or self._cells or self._attributes
            or self._slots or self._arrays
        )  # fmt: skip

    def holds(self) -> bool:
        """Tell whether everything is as it was; False where that cannot be told."""
        if self._blind:
            return False
        try:
            return self._all_hold()
        except RuntimeError:  # another thread changes something that is looked through
            return False

    def _all_hold(self) -> bool:
        for function, code, defaults, keywords in self._functions:
            if (
                function.__code__ is not code
                or function.__defaults__ is not defaults
                or function.__kwdefaults__ is not keywords
            ):
                return False
        if not self._more:  # as of most functions, some of which are solved in microseconds
            return True
        try:
            for namespace, take, only, values, absent in self._looked_up:
                if take is not None:
                    if not all(map(is_, take(namespace), values)):
                        return False
                elif only is not None and namespace[only] is not values[0]:
                    return False
                if not namespace.keys().isdisjoint(absent):
                    return False
        except KeyError:
            return False
        for container, kept in self._contents:
            if len(container) != len(kept) or (kept and not all(map(is_, container, kept))):
                return False
        return self._rarer_things_hold()

    def _rarer_things_hold(self) -> bool:
        for cell, kept in self._cells:
            if _in_cell(cell) is not kept:
                return False
        for value, name, kept in self._attributes:
            if _attribute(value, name) is not kept:
                return False
        for value, descriptor, kept in self._slots:
            if _in_slot(descriptor, value) is not kept:
                return False
        for array, shape, dtype, numbers, _ in self._arrays:
            if array.shape != shape or array.dtype != dtype or _numbers(array) != numbers:
                return False
        return True


def _in_cell(cell):
    try:
        return cell.cell_contents
    except ValueError:
        return _MISSING


def _in_slot(descriptor, value):
    try:
        return descriptor.__get__(value)
    except AttributeError:
        return _MISSING


def _numbers(array: np.ndarray) -> bytes:
    data = array.tobytes()
    return data if len(data) <= MOST_BYTES_KEPT else hashlib.sha256(data).digest()
