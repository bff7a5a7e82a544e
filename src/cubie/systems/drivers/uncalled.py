"""Drivers in `args` that nothing calls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def uncalled(systems: Iterable[Any], batch: Any, names: Sequence[str] | None) -> tuple[str, ...]:
    """Return a sentence for each driver in args that no system calls.

    Parameters
    ----------
    systems : iterable of System
        The right-hand side and what is observed.
    batch : Batch
    names : sequence of str or None
        Those of the entries of args, where these have names.
    """
    called = {where for system in systems for where in system.drivers}
    return tuple(
        f"{_label(path, names)} is a driver that neither the right-hand side nor observables call."
        for path in batch.drivers or ()
        if path not in called
    )


def _label(path: tuple, names: Sequence[str] | None) -> str:
    keys = path if names is None else (names[path[0]], *path[1:])
    return "args" + "".join(f"[{key!r}]" for key in keys)
