"""Problems beyond what exact engines can hold: one pass over time, in about n log n.

Buffers are placed as a memory allocator would: in the order in which they come alive,
each at the lowest free gap that holds it, freed when they die for good (gaps inside a
lifetime are not used). Optional aliases are not taken, views are. The load of every
program point gives the bound.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Mapping, Sequence

from attrs import define, field, frozen

from cubie_planner.declarations.buffers import FOREVER, Buffer, Location
from cubie_planner.declarations.lifetimes import liveness
from cubie_planner.engines.draft import Draft
from cubie_planner.engines.fast_path import first_draft
from cubie_planner.engines.nesting import nest
from cubie_planner.engines.task import Task

MOST_TIED = 4000
"""Most views and parents of views that this engine takes."""


@frozen
class Body:
    """A buffer with the views inside it: one rectangle over its hull in time.

    Attributes
    ----------
    parts : mapping of str to int
        Offsets of its members from its base.
    start, end : int
        Program points.
    modulus, residue : int
        Its base must be `residue` modulo `modulus`.
    fixed : int or None
        Where its base must be.
    """

    parts: Mapping[str, int]
    size: int
    start: int
    end: int
    modulus: int
    residue: int = 0
    fixed: int | None = None


def in_one_pass(task: Task) -> Draft | None:
    """Return a draft of a large task; None when one pass finds no room, which proves nothing."""
    return first_draft(task, _packed_in_one_pass)


def _packed_in_one_pass(task: Task, locations: Mapping[str, Location]) -> Draft | None:
    offsets: dict[str, int] = {}
    parents: dict[str, str] = {}
    for place in Location:
        members = [b for b in task.buffers if locations[b.name] is place]
        found = _bodies(members, place is Location.LOCAL)
        if found is None:
            return None
        bodies, nested = found
        parents |= nested
        if place is Location.LOCAL:
            offsets.update(item for body in bodies for item in body.parts.items())
        else:
            capacity = task.run_capacity(locations) if place is Location.SHARED else None
            if not _place(bodies, offsets, FOREVER if capacity is None else capacity):
                return None
    return Draft(locations, offsets, parents)


def _bodies(members: Sequence[Buffer], local: bool) -> tuple[list[Body], dict[str, str]] | None:
    """Return the rigid bodies of one place; None when some view finds no room."""
    tied = {b.name for b in members if b.alias_required}
    tied |= {a.parent for b in members if b.alias_required for a in b.aliases}
    group_members = [b for b in members if b.name in tied]
    if len(group_members) > MOST_TIED:
        return None
    live = liveness(group_members)
    nested = nest(group_members, live.masks, lambda child, parent: False, local)
    if nested is None:
        return None
    by_name = {b.name: b for b in group_members}
    bodies = []
    for group in nested[0]:
        hulls = [by_name[part.name].hull for part in group.parts]
        parts = {part.name: part.start for part in group.parts}
        start, end = min(a for a, _ in hulls), max(b for _, b in hulls)
        size = group.root.size_bytes
        bodies.append(Body(parts, size, start, end, group.modulus, group.residue, group.fixed))
    for buffer in members:
        if buffer.name not in tied:
            start, end = buffer.hull
            size = buffer.size_bytes
            bodies.append(
                Body({buffer.name: 0}, size, start, end, buffer.alignment, 0, buffer.offset)
            )
    return bodies, nested[1]


@define
class _Gaps:
    """Free ranges of bytes, sorted, never adjacent; the last one has no end."""

    starts: list[int] = field(factory=lambda: [0])
    ends: list[int] = field(factory=lambda: [FOREVER])

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


def _place(bodies: Sequence[Body], offsets: dict[str, int], capacity: int) -> bool:
    """Write the offsets of all bodies; False when one ends above `capacity`.

    What has a fixed base lies below everything else, which starts above it.
    """
    floor = 0
    for body in bodies:
        if body.fixed is not None:
            floor = max(floor, body.fixed + body.size)
            offsets.update((name, body.fixed + at) for name, at in body.parts.items())
    gaps = _Gaps([floor], [FOREVER])
    dying: list[tuple[int, int, int]] = []
    top = floor
    free = [body for body in bodies if body.fixed is None]
    for body in sorted(free, key=lambda b: (b.start, -b.size)):
        while dying and dying[0][0] <= body.start:
            _, start, end = heapq.heappop(dying)
            gaps.give(start, end)
        base = gaps.take(body)
        heapq.heappush(dying, (body.end, base, base + body.size))
        offsets.update((name, base + at) for name, at in body.parts.items())
        top = max(top, base + body.size)
    return top <= capacity
