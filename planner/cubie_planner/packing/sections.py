"""Sections of a packing problem: what is alive together, and what follows from that.

A *section* is a set of items of which no two may overlap in offset. Time is cut where a
lifetime ends after one began; between two cuts the largest set alive is a section. An item
alive inside a living parent takes no room of its own: it belongs to a section of the
parent's interior instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import frozen

from cubie_planner.packing.items import Items, Spans

CLIQUE_STEPS = 2_000
"""How long to look for sets of items that exclude each other without being alive at once."""


@frozen(eq=False)
class Sections:
    """Sections in the order of time.

    Attributes
    ----------
    members : list of list of int
        Items of each section.
    inside : list of int
        The parent whose interior the section is, -1 for ordinary ones.
    near : list of set of int
        Per item, the items it shares a section with.
    """

    members: list[list[int]]
    inside: list[int]
    near: list[set[int]]

    @classmethod
    def of(cls, items: Items) -> Sections:
        """Cut time into sections."""
        members: list[list[int]] = []
        inside: list[int] = []
        near: list[set[int]] = [set() for _ in items.sizes]
        has_children = {parent for parent in items.parents if parent >= 0}
        live: set[int] = set()
        previous: dict[int, set[int]] = {}
        grew = False
        for _, starts, item in _events(items.spans):
            if starts:
                live.add(item)
                grew = True
                continue
            if grew:
                for parent, together in _interiors(items.parents, live, has_children):
                    known = previous.get(parent, set())
                    if together == known:
                        continue
                    members.append(sorted(together))
                    inside.append(parent)
                    for newcomer in together - known:
                        near[newcomer] |= together
                    previous[parent] = together
            live.discard(item)
            # Children that outlive their parent need room of their own from here on.
            grew = item in has_children
        for item, others in enumerate(near):
            others.discard(item)
            for other in others:
                near[other].add(item)
        if has_children or any(len(intervals) > 1 for intervals in items.spans):
            _add_hidden(members, inside, near)
        return cls(members, inside, near)

    def loads(self, sizes: Sequence[int]) -> list[int]:
        """Return the sum of sizes per section."""
        return [sum(sizes[i] for i in together) for together in self.members]

    def crowding(self, sizes: Sequence[int]) -> list[int]:
        """Return, per item, the largest load of a section it is in."""
        most = [0] * len(sizes)
        for together, load in zip(self.members, self.loads(sizes), strict=True):
            for item in together:
                most[item] = max(most[item], load)
        return most

    def lower_bound(self, items: Items) -> int:
        """Return a height that no packing can be below.

        In a section every item starts at a multiple of the smallest alignment there, so
        each but the topmost also occupies the bytes up to the next multiple.
        """
        bound = 0
        for together, parent in zip(self.members, self.inside, strict=True):
            if parent >= 0:
                continue
            unit = min(items.alignments[i] for i in together)
            padded = [-items.sizes[i] % unit for i in together]
            load = sum(items.sizes[i] for i in together) + sum(padded) - max(padded)
            bound = max(bound, load)
        for size, pin in zip(items.sizes, items.pins, strict=True):
            bound = max(bound, size + max(pin, 0))
        return bound


def _add_hidden(members: list[list[int]], inside: list[int], near: Sequence[set[int]]) -> None:
    """Insert sets whose items exclude each other in pairs, though never all are alive at once.

    With single intervals there are none (intervals that meet in pairs share a point).
    """
    first: dict[int, int] = {}
    masks = []
    for index, together in enumerate(members):
        masks.append(sum(1 << item for item in together))
        for item in together:
            first.setdefault(item, index)
    found = []
    for clique in _cliques(near):
        if clique.bit_count() > 2 and not any(clique & mask == clique for mask in masks):
            hidden = _bits(clique)
            found.append((max(first[item] for item in hidden), hidden))
    for index, hidden in sorted(found, reverse=True):
        members.insert(index + 1, hidden)
        inside.insert(index + 1, -1)


def _cliques(near: Sequence[set[int]]) -> Iterator[int]:
    """Yield maximal cliques as bit masks (Bron and Kerbosch 1973), for a bounded time."""
    adjacent = [sum(1 << other for other in others) for others in near]
    steps = 0
    stack = [(0, (1 << len(near)) - 1, 0)]
    while stack and steps < CLIQUE_STEPS:
        steps += 1
        clique, candidates, excluded = stack.pop()
        if not candidates:
            if not excluded:
                yield clique
            continue
        pivot = max(
            _bits(candidates | excluded), key=lambda i: (candidates & adjacent[i]).bit_count()
        )
        for item in _bits(candidates & ~adjacent[pivot]):
            stack.append(
                (clique | 1 << item, candidates & adjacent[item], excluded & adjacent[item])
            )
            candidates &= ~(1 << item)
            excluded |= 1 << item


def _bits(mask: int) -> list[int]:
    found = []
    while mask:
        found.append((mask & -mask).bit_length() - 1)
        mask &= mask - 1
    return found


def _events(spans: Sequence[Spans]) -> list[tuple[int, int, int]]:
    """Return (time, 1 if it starts else 0, item), ends before starts at equal times."""
    events = []
    for item, intervals in enumerate(spans):
        for start, end in intervals:
            events.append((start, 1, item))
            events.append((end, 0, item))
    events.sort()
    return events


def _interiors(
    parents: Sequence[int], live: set[int], has_children: set[int]
) -> list[tuple[int, set[int]]]:
    """Return the live items by nearest living ancestor (-1: none)."""
    if not has_children:
        return [(-1, set(live))]
    found: dict[int, set[int]] = {-1: set()}
    for item in live:
        holder = parents[item]
        while holder >= 0 and holder not in live:
            holder = parents[holder]
        found.setdefault(holder, set()).add(item)
    return [
        (holder, together)
        for holder, together in sorted(found.items())
        if together and (holder < 0 or len(together) > 1)
    ]
