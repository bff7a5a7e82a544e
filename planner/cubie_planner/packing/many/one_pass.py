"""One pass over time, in about n log n: what there is always time for.

Bodies are placed as a memory allocator would: in the order in which they come alive, each at
the lowest free gap that holds it, freed when they die for good (gaps inside a lifetime are
not used).
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Sequence

from attrs import define, field

from cubie_planner.packing.many.bodies import Body

ENDLESS = 1 << 62


@define
class _Gaps:
    """Free ranges of bytes, sorted, never adjacent; the last one has no end."""

    starts: list[int] = field(factory=lambda: [0])
    ends: list[int] = field(factory=lambda: [ENDLESS])

    def take(self, body: Body) -> int:
        """Cut the lowest range that holds `body` and return its start."""
        for index, (start, end) in enumerate(zip(self.starts, self.ends, strict=True)):
            base = start + (body.residue - start) % body.modulus
            if base + body.size <= end:
                pieces = [(a, b) for a, b in ((start, base), (base + body.size, end)) if a < b]
                self.starts[index : index + 1] = [a for a, _ in pieces]
                self.ends[index : index + 1] = [b for _, b in pieces]
                return base
        raise AssertionError("the last gap has no end")

    def give(self, start: int, end: int) -> None:
        """Return a range, joining it with its neighbours."""
        index = bisect_left(self.starts, start)
        if index < len(self.starts) and self.starts[index] == end:
            self.starts[index] = start
        else:
            self.starts.insert(index, start)
            self.ends.insert(index, end)
        if index and self.ends[index - 1] == start:
            self.ends[index - 1] = self.ends.pop(index)
            del self.starts[index]


def in_one_pass(bodies: Sequence[Body]) -> list[int] | None:
    """Return an offset of every body; what is fixed lies below everything else.

    None if bodies that are fixed overlap.
    """
    if _clash([body for body in bodies if body.fixed >= 0]):
        return None
    offsets = [max(body.fixed, 0) for body in bodies]
    floor = max((body.fixed + body.size for body in bodies if body.fixed >= 0), default=0)
    gaps = _Gaps([floor], [ENDLESS])
    dying: list[tuple[int, int, int]] = []
    free = [i for i, body in enumerate(bodies) if body.fixed < 0]
    for i in sorted(free, key=lambda i: (bodies[i].spans[0][0], -bodies[i].size)):
        body = bodies[i]
        while dying and dying[0][0] <= body.spans[0][0]:
            _, start, end = heapq.heappop(dying)
            gaps.give(start, end)
        offsets[i] = gaps.take(body)
        heapq.heappush(dying, (body.spans[-1][1], offsets[i], offsets[i] + body.size))
    return offsets


def _clash(fixed: Sequence[Body]) -> bool:
    """Return whether fixed bodies overlap, by a sweep over time."""
    events = sorted(
        event
        for body in fixed
        for start, end in body.spans
        for event in (
            (start, 1, body.fixed, body.fixed + body.size),
            (end, 0, body.fixed, body.fixed + body.size),
        )
    )
    live: list[tuple[int, int]] = []
    for _, starts, low, high in events:
        if not starts:
            del live[bisect_left(live, (low, high))]
            continue
        index = bisect_left(live, (low, high))
        if index < len(live) and live[index][0] < high:
            return True
        if index and live[index - 1][1] > low:
            return True
        insort(live, (low, high))
    return False
