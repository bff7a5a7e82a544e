"""A memory of a few things: what was not used for longest is forgotten first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

V = TypeVar("V")


class Recent(Generic[V]):
    """What was used last, by keys.

    Threads may share one: every change is a single operation of a dictionary, and what another
    thread forgets meanwhile is only made again.

    Parameters
    ----------
    most : int
        How many things are remembered.
    most_bytes : int, optional
        How many bytes they may keep alive together; the latest one is kept in any case.
    bytes_of : callable, optional
        ``bytes_of(thing)``: how many one keeps alive now.
    """

    def __init__(
        self,
        most: int,
        most_bytes: int | None = None,
        bytes_of: Callable[[V], int] | None = None,
    ):
        self._most, self._most_bytes, self._bytes_of = most, most_bytes, bytes_of
        self._kept: OrderedDict[Any, V] = OrderedDict()
        self._latest: tuple[Any, V] | None = None  # found without a search

    def get(self, key: Any) -> V | None:
        """Return what is remembered, which counts as a use; None where there is nothing."""
        latest = self._latest
        if latest is not None and latest[0] == key:
            return latest[1]
        found = self._kept.get(key)
        if found is not None:
            self._use(key)
            self._latest = key, found
        return found

    def put(self, key: Any, thing: V) -> V:
        """Remember, and return what is remembered: what another thread put first, if one did."""
        thing = self._kept.setdefault(key, thing)
        self._use(key)
        self._latest = key, thing
        while len(self._kept) > self._most or self._is_too_large():
            try:
                self._kept.popitem(last=False)
            except KeyError:  # another thread has just forgotten the last one
                break
        return thing

    def _use(self, key: Any) -> None:
        try:  # noqa: SIM105 - at each solve: suppress() would take several times as long
            self._kept.move_to_end(key)
        except KeyError:  # another thread has just forgotten it
            pass

    def _is_too_large(self) -> bool:
        if self._bytes_of is None or self._most_bytes is None or len(self._kept) < 2:
            return False
        return sum(map(self._bytes_of, list(self._kept.values()))) > self._most_bytes

    def clear(self) -> None:
        """Forget everything."""
        self._latest = None
        self._kept.clear()

    def __contains__(self, key: Any) -> bool:
        return key in self._kept

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._kept))
