"""Registries of frozen specs, and choosing from them on a command line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar


class _Named(Protocol):
    @property
    def name(self) -> str: ...


Entry = TypeVar("Entry", bound=_Named)


def by_name(*entries: Entry) -> dict[str, Entry]:
    """Return entries by their names, in the order given."""
    return {entry.name: entry for entry in entries}


def chosen(kind: str, names: str | None, known: Iterable[str]) -> list[str] | None:
    """Return the names of a comma-separated list; None where there is no list.

    Raises
    ------
    SystemExit
        For an unknown name, telling its kind and the names there are.
    """
    if names is None:
        return None
    wanted = [name.strip() for name in names.split(",")]
    for name in wanted:
        if name not in known:
            raise SystemExit(f"There is no {kind} {name!r}; there are {', '.join(known)}.")
    return wanted
