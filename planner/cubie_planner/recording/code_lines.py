"""Where the lives of buffers begin and end in the code: the lines that write and read values."""

import sys
from collections.abc import Collection, Iterable, Mapping
from itertools import groupby
from pathlib import Path

import numpy as np
from attrs import frozen

from cubie_planner.recording.arrays import Log, Place, Value

MOST_LINES = 3  # of one file that are told one by one


@frozen
class Origin:
    """Which lines of code begin and end the lives of a buffer's values.

    Attributes
    ----------
    written_at : tuple of Place
        Lines that wrote the values, by file and line.
    read_at : tuple of Place
        Those that read them last; empty where nobody read them.
    """

    written_at: tuple[Place, ...]
    read_at: tuple[Place, ...]

    @classmethod
    def of(cls, values: Iterable[Value]) -> "Origin":
        """Return the lines of some values."""
        found = list(values)
        reads = {value.read_at for value in found if value.read_at is not None}
        return cls(_in_order(value.written_at for value in found), _in_order(reads))

    def __str__(self) -> str:
        written = f"written at {told(self.written_at)}"
        return f"{written}, read last at {told(self.read_at)}" if self.read_at else written


def origins(logs: Mapping[str, Log], points: Collection[int] | None = None) -> Mapping[str, Origin]:
    """Return the lines that begin and end the lives of the values that meet at program points.

    Parameters
    ----------
    logs : mapping of str to Log
    points : collection of int, optional
        By default all of them.

    Returns
    -------
    mapping of str to Origin
        By the names of the buffers. One of which no value lived there when it was recorded is
        left out: its life there is that of other executions.
    """
    found = {}
    for name, log in logs.items():
        values = list(log.all_values())
        if points is not None and values:
            values = _living(values, *log.course.visits(points))
        if values:
            found[name] = Origin.of(values)
    return found


def _living(values: list[Value], begins: np.ndarray, ends: np.ndarray) -> list[Value]:
    """Return the values that live in one of some ranges of time, which are in order."""
    if not len(begins):
        return []
    spans = np.array([value.span for value in values])
    at = np.searchsorted(ends, spans[:, 0])  # the first range that does not end before the write
    meets = (at < len(ends)) & (begins[np.minimum(at, len(ends) - 1)] <= spans[:, 1])
    return [values[number] for number in np.flatnonzero(meets)]


def _in_order(places: Iterable[Place]) -> tuple[Place, ...]:
    return tuple(sorted(set(places), key=lambda place: (place.file, place.line)))


def told(places: Iterable[Place]) -> str:
    """Return lines of code in words, file by file: ``erk.py:12, 15 and loop.py:3``."""
    files = []
    for file, group in groupby(places, key=lambda place: place.file):
        lines = [str(place.line) for place in group]
        last = lines if len(lines) <= MOST_LINES else [f"{lines[0]} to {lines[-1]}"]
        files.append(f"{_short(file)}:{', '.join(last)}")
    return " and ".join(files)


def _short(file: str) -> str:
    """Return a file as it is found where modules are looked for."""
    path = Path(file)
    folders = [Path(folder or ".").absolute() for folder in sys.path]
    inside = [folder for folder in folders if path.is_relative_to(folder)]
    if not inside:
        return file
    return path.relative_to(max(inside, key=lambda folder: len(folder.parts))).as_posix()
