"""Arrays that log every read and write of an element, with its time and its place in the code."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Set
from functools import cache
from typing import Any

import numpy as np
from attrs import define, field, frozen

from cubie_planner.recording.course import Course, Span

POISON = 0xFF
"""Every byte of an array that nothing was written to: a float of these is NaN."""


@frozen
class Place:
    """A line of code."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@define
class Value:
    """What one write stored in one element, and when it was read.

    Attributes
    ----------
    written : int
        Time of the write.
    last_read : int or None
        Time of the last read; None where there was none.
    written_at, read_at : Place
        Where in the code.
    frame : int
        Which array was written through: one that a function allocates is gone when it returns.
    """

    element: int
    written: int
    written_at: Place
    frame: int
    last_read: int | None = None
    read_at: Place | None = None
    _before: tuple[int | None, Place | None] = (None, None)

    @property
    def span(self) -> Span:
        """When it has to be there: also a value that nobody reads is written somewhere."""
        return self.written, self.written if self.last_read is None else self.last_read

    def read(self, time: int, place: Place) -> None:
        self._before = self.last_read, self.read_at
        self.last_read, self.read_at = time, place

    def unread(self, time: int) -> None:
        """Take the last read back, if it was at that time."""
        if self.last_read == time:
            self.last_read, self.read_at = self._before


@frozen
class Unwritten:
    """A read of an element that nothing was written to."""

    element: int
    time: int
    read_at: Place


@frozen
class Lost:
    """A read through another array than the one that was written through."""

    value: Value
    read_at: Place


@define
class Log:
    """All that happened to the elements of one buffer.

    Attributes
    ----------
    values : list of Value
        Those that were overwritten, or left when the array was forgotten.
    unwritten : dict of time to Unwritten
    lost : dict of time to Lost
    """

    name: str
    n_elements: int
    course: Course
    skipped: Set[str] = frozenset()  # files whose callers are meant
    values: list[Value] = field(factory=list)
    unwritten: dict[int, Unwritten] = field(factory=dict)
    lost: dict[int, Lost] = field(factory=dict)
    _current: dict[int, Value] = field(factory=dict)

    def write(self, element: int, frame: int) -> None:
        self.course.now = now = self.course.now + 1
        before = self._current.get(element)
        if before is not None:
            self.values.append(before)
        self._current[element] = Value(element, now, _place(self.skipped), frame)

    def read(self, element: int, frame: int) -> int:
        """Note a read, and return its time."""
        self.course.now = now = self.course.now + 1
        value, place = self._current.get(element), _place(self.skipped)
        if value is None:
            self.unwritten[now] = Unwritten(element, now, place)
            return now
        if value.frame != frame:
            self.lost[now] = Lost(value, place)
        value.read(now, place)
        return now

    def clear(self, element: int) -> None:
        """Note a write of something that is no value."""
        self.course.now += 1
        before = self._current.pop(element, None)
        if before is not None:
            self.values.append(before)

    def unread(self, element: int, time: int) -> None:
        """Take a read back: its value was not used."""
        value = self._current.get(element)
        if value is not None:
            value.unread(time)
        self.unwritten.pop(time, None)
        self.lost.pop(time, None)

    def forget(self) -> None:
        """End all values: what comes next begins with nothing written."""
        self.values += self._current.values()
        self._current = {}

    def all_values(self) -> Iterator[Value]:
        yield from self.values
        yield from self._current.values()


@cache
def _place_of(file: str, line: int) -> Place:
    return Place(file, line)


_HERE = __file__


def _place(skipped: Set[str]) -> Place:
    """Return the line that accesses an array, not those of helpers between."""
    frame = sys._getframe(2)
    while frame.f_back is not None:
        file = frame.f_code.co_filename
        if file != _HERE and file not in skipped:
            break
        frame = frame.f_back
    return _place_of(frame.f_code.co_filename, frame.f_lineno)


class _Origin:
    """Which read a number came from; see `unused`."""

    origin: tuple[Log, int, int]


@cache
def _number_type(kind: type) -> type:
    """Return a type of numbers that know where they were read; arithmetic gives plain ones."""
    return type(f"read_{kind.__name__}", (kind, _Origin), {})


def unused(value: Any) -> None:
    """Take back the read that gave a number, where a choice between several left it aside."""
    origin = getattr(value, "origin", None)
    if origin is not None:
        log, element, time = origin
        log.unread(element, time)


def _copies_nothing(value: Any) -> bool:
    """Tell whether a number is one that nobody wrote, copied as it is: its read is taken back."""
    log, _, time = getattr(value, "origin", (None, 0, 0))
    nothing = log is not None and time in log.unwritten
    if nothing:
        unused(value)
    return nothing


class RecordedArray:
    """An array whose elements are logged; it is indexed as one of NumPy's, by basic indices.

    Parameters
    ----------
    log : Log
    contents : array
        What holds the elements, of any shape.
    frame : int
        Number of this array among those of the log.
    """

    __slots__ = ("_contents", "_flat", "_frame", "_log", "_numbers")

    def __init__(
        self, log: Log, contents: np.ndarray, frame: int = 0, numbers: np.ndarray | None = None
    ):
        self._log, self._contents, self._frame = log, contents, frame
        own = np.arange(contents.size).reshape(contents.shape) if numbers is None else numbers
        self._numbers = own
        self._flat = contents.ndim == 1 and numbers is None

    @property
    def shape(self) -> tuple[int, ...]:
        return self._contents.shape

    @property
    def dtype(self) -> np.dtype:
        return self._contents.dtype

    @property
    def ndim(self) -> int:
        return self._contents.ndim

    @property
    def size(self) -> int:
        return self._contents.size

    def __len__(self) -> int:
        return len(self._contents)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        found = self._contents[index]
        if isinstance(found, np.ndarray):
            return RecordedArray(self._log, found, self._frame, self._numbers[index])
        element = self._element(index)
        number = found if isinstance(found, np.bool_) else _number_type(type(found))(found)
        time = self._log.read(element, self._frame)
        if number is not found:
            number.origin = (self._log, element, time)
        return number

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(value, RecordedArray):
            value = np.asarray(value)
        self._contents[index] = value
        if self._flat and type(index) is int:
            element = self._element(index)
            if not _copies_nothing(value):
                self._log.write(element, self._frame)
            else:
                self._log.clear(element)
            return
        for element in np.ravel(self._numbers[index]).tolist():
            self._log.write(element, self._frame)

    def _element(self, index: Any) -> int:
        if self._flat and type(index) is int:
            return index if index >= 0 else index + len(self._contents)
        return int(self._numbers[index])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return the contents; all of them are read."""
        for element in self._numbers.ravel().tolist():
            self._log.read(element, self._frame)
        return np.array(self._contents, dtype=dtype)

    def __repr__(self) -> str:
        return f"<{self._log.name}: {self._contents!r}>"
