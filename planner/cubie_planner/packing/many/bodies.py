"""Rigid bodies as arrays: when they are alive, what that loads, how crowded it is around each.

Time is compressed to *ranks*: the points at which some life begins or ends, in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from attrs import frozen

from cubie_planner.packing.items import Spans

MOST_BUCKETS = 4096
"""Into so many stretches time is divided at most."""


@frozen
class Body:
    """Bytes that stay together: one range of them, alive at the same times.

    Attributes
    ----------
    size : int
        Bytes, at least 1.
    spans : sequence of (start, end)
        Half-open intervals of time, sorted and disjoint.
    modulus, residue : int
        Its offset must be `residue` modulo `modulus`.
    fixed : int
        Where it must be, or -1.
    """

    size: int
    spans: Spans
    modulus: int = 1
    residue: int = 0
    fixed: int = -1


class Tables(NamedTuple):
    """What first fit reads: integers per body, and ragged tables of them.

    `start` and `end` are ranks, of the hull of a life; `span_lo` and `span_hi` from
    `span_ptr[i]` to `span_ptr[i + 1]` are its intervals. Time is divided into buckets of
    `width` ranks; what is placed in bucket `b` is listed from `bucket_ptr[b]`.
    """

    size: Any
    modulus: Any
    residue: Any
    start: Any
    end: Any
    span_ptr: Any
    span_lo: Any
    span_hi: Any
    bucket_ptr: Any
    width: int


@frozen(eq=False)
class Bodies:
    """Very many bodies, as arrays indexed by body."""

    given: Sequence[Body]
    size: np.ndarray
    start: np.ndarray
    end: np.ndarray
    span_ptr: np.ndarray
    span_lo: np.ndarray
    span_hi: np.ndarray
    fixed: np.ndarray
    ranks: int

    @classmethod
    def of(cls, given: Sequence[Body]) -> Bodies:
        """Compress time, and lay everything out as arrays."""
        points = np.array([p for body in given for span in body.spans for p in span], np.int64)
        known, rank = np.unique(points, return_inverse=True)
        low, high = rank[0::2].astype(np.int64), rank[1::2].astype(np.int64)
        ptr = np.cumsum([0, *(len(body.spans) for body in given)], dtype=np.int64)
        return cls(
            given,
            np.array([body.size for body in given], np.int64),
            low[ptr[:-1]],
            high[ptr[1:] - 1],
            ptr,
            low,
            high,
            np.array([body.fixed for body in given], np.int64),
            len(known),
        )

    def __len__(self) -> int:
        return len(self.given)

    @cached_property
    def load(self) -> np.ndarray:
        """Bytes alive from each rank to the next."""
        change = np.zeros(self.ranks, np.int64)
        bytes_of_spans = np.repeat(self.size, np.diff(self.span_ptr))
        np.add.at(change, self.span_lo, bytes_of_spans)
        np.add.at(change, self.span_hi, -bytes_of_spans)
        return np.cumsum(change)

    @property
    def bound(self) -> int:
        """No packing is lower: the largest load, or where a fixed body ends."""
        return max(int(self.load.max()), int((self.size + np.maximum(self.fixed, 0)).max()))

    @cached_property
    def crowding(self) -> np.ndarray:
        """The largest load during the life of each body, gaps included.

        By the largest loads over 1, 2, 4, ... ranks: two of them cover any hull.
        """
        length = self.end - self.start
        level = np.frexp(length.astype(float))[1] - 1
        found = np.zeros(len(self), np.int64)
        largest, reach = self.load, 1
        for step in range(int(level.max()) + 1):
            if step:
                largest = np.maximum(largest[:-reach], largest[reach:])
                reach *= 2
            here = np.flatnonzero(level == step)
            found[here] = np.maximum(largest[self.start[here]], largest[self.end[here] - reach])
        return found

    @cached_property
    def life(self) -> np.ndarray:
        """Ranks during which each body is alive."""
        alive = np.concatenate([[0], np.cumsum(self.span_hi - self.span_lo)])
        return np.diff(alive[self.span_ptr])

    @cached_property
    def _buckets(self) -> tuple[int, np.ndarray]:
        """How wide buckets are, and where the list of each begins.

        The more buckets, the fewer bodies are looked at that live at other times, and the
        more often those that live long. What a pass looks at is about the sum of squares.
        """
        best: tuple[int, int, np.ndarray] | None = None
        count = 1
        while count <= min(MOST_BUCKETS, self.ranks):
            width = -(-self.ranks // count)
            held = np.zeros(count + 1, np.int64)
            np.add.at(held, self.start // width, 1)
            np.add.at(held, (self.end - 1) // width + 1, -1)
            held = np.cumsum(held)
            cost = int((held * held).sum())
            if best is None or cost < best[0]:
                best = cost, width, np.concatenate([[0], np.cumsum(held[:-1])])
            count *= 2
        assert best is not None
        return best[1], best[2]

    @property
    def entries(self) -> int:
        """About how many entries a pass of first fit looks at."""
        held = np.diff(self._buckets[1])
        return int((held * held).sum()) // 4

    @cached_property
    def tables(self) -> Tables:
        """What first fit reads."""
        width, bucket_ptr = self._buckets
        return Tables(
            self.size,
            np.array([body.modulus for body in self.given], np.int64),
            np.array([body.residue for body in self.given], np.int64),
            self.start,
            self.end,
            self.span_ptr,
            self.span_lo,
            self.span_hi,
            bucket_ptr,
            width,
        )
