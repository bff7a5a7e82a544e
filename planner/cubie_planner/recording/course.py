"""The course of an execution: which program points it visits, and when.

Time is a count of accesses. A *visit* begins where a program point is entered and ends
where the next one is. A loop visits its points again in every round, so that nothing has
to be known of loops: what lives from one round to the next lives at all points between.
A branch that is not taken is passed by: who comes from point 3 to point 7 was at 4, 5 and
6 as well, as far as lifetimes go, since others may take it meanwhile.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable

import numpy as np

Span = tuple[int, int]
"""Times of the first and of the last access of a value, both included."""


class Course:
    """Accesses counted, and the visits of program points among them.

    Attributes
    ----------
    now : int
        Accesses so far.
    """

    def __init__(self) -> None:
        self.now = 0
        self._starts: list[int] = []
        self._points: list[int] = []

    def enter(self, point: int) -> None:
        """Begin a visit of a program point; nothing where it is there already."""
        if self._points and self._points[-1] == point:
            return
        self._points.append(point)
        self._starts.append(self.now + 1)

    def is_at(self, point: int) -> None:
        """Tell which point is visited, where that is known at the end of the visit only."""
        self._points[-1] = point

    @property
    def points(self) -> frozenset[int]:
        """The points that were visited."""
        return frozenset(self._points)

    def point_at(self, time: int) -> int | None:
        """Return the point that was visited at a time; None before the first."""
        number = int(np.searchsorted(np.array(self._starts), time, side="right")) - 1
        return self._points[number] if number >= 0 else None

    def visits(self, points: Collection[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return the first and the last time of every visit of some points, both in order."""
        starts = np.array(self._starts, dtype=np.int64)
        ends = np.append(starts[1:] - 1, self.now)
        asked = np.isin(np.array(self._points, dtype=np.int64), list(points))
        return starts[asked], ends[asked]

    def lived(self, spans: Iterable[Span]) -> frozenset[int]:
        """Return the points that were visited or passed by during spans of time."""
        starts, points = np.array(self._starts), self._points
        found: set[int] = set()
        for first, last in merged(spans):
            begin = max(0, int(np.searchsorted(starts, first, side="right")) - 1)
            end = int(np.searchsorted(starts, last, side="right"))
            visits = points[begin:end]
            found.update(visits)
            for point, following in set(itertools.pairwise(visits)):
                found.update(range(point + 1, following))
        return frozenset(found)

    def arrivals(self, at: int, coming_from: Iterable[int]) -> list[int]:
        """Return the times at which a point was entered right behind one of others."""
        before = frozenset(coming_from)
        pairs = zip(self._points, self._points[1:], self._starts[1:], strict=False)
        return [start for first, second, start in pairs if second == at and first in before]


def merged(spans: Iterable[Span]) -> list[Span]:
    """Return sorted spans that do not meet, of the same times as those given."""
    found: list[Span] = []
    for first, last in sorted(spans):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found
