"""From logs to lifetimes: at which program points the values of a buffer have to be there."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from cubie_planner.recording.arrays import Log, Value
from cubie_planner.recording.course import Course, Span, merged


@frozen
class Life:
    """When a buffer was in use.

    Attributes
    ----------
    points : frozenset
        Program points at which one of its values lives: from the write to the last read.
    first, last : Value or None
        The value that was written first, and the one that was read last; None where nothing was
        ever written.
    unread : tuple of Value
        One for each line that wrote values of which none was ever read.
    """

    name: str
    points: frozenset[int]
    first: Value | None
    last: Value | None
    unread: tuple[Value, ...] = ()


def life_of(log: Log, elements: range | None = None) -> Life:
    """Return when a buffer, or a range of its elements, was in use.

    Parameters
    ----------
    elements : range, optional
        By default all of them.
    """
    values = [v for v in log.all_values() if elements is None or v.element in elements]
    if not values:
        return Life(log.name, frozenset(), None, None)
    points = log.course.lived(value.span for value in values)
    first = min(values, key=lambda value: value.written)
    last = max(values, key=lambda value: value.span[1])
    used = {value.written_at for value in values if value.last_read is not None}
    unread = {v.written_at: v for v in values if v.written_at not in used}
    return Life(log.name, points, first, last, tuple(unread.values()))


def witness(log: Log, course: Course, point: int) -> Value | None:
    """Return a value that lives at a program point."""
    return next((v for v in log.all_values() if point in course.lived([v.span])), None)


@frozen
class Clash:
    """Two values that would lie in the same bytes at the same time."""

    kept: Value
    lost_to: Value


def clash(inner: Log, outer: Log, offset: int) -> Clash | None:
    """Return two values that clash where a buffer lies inside another one.

    In place is allowed: a value may be written where another one was read the moment before.

    Parameters
    ----------
    offset : int
        Element of `outer` at which `inner` begins.
    """
    both: dict[int, list[tuple[Value, bool]]] = {}
    for log, shift in ((inner, offset), (outer, 0)):
        for value in log.all_values():
            both.setdefault(value.element + shift, []).append((value, log is inner))
    for values in both.values():
        values.sort(key=lambda pair: pair[0].written)
        latest: dict[bool, Value] = {}  # of each of the two
        for value, is_inner in values:
            other = latest.get(not is_inner)
            if other is not None and (other.last_read or 0) > value.written:
                return Clash(other, value)
            latest[is_inner] = value
    return None


def intervals(points: Iterable[int]) -> tuple[Span, ...]:
    """Return half-open ranges of whole program points."""
    return tuple((first, last + 1) for first, last in merged((p, p) for p in points))
