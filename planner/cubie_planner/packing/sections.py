"""Sections of a packing problem: what is alive together, and what follows from that.

A *section* is a set of items of which no two may overlap in offset. Time is cut where a
lifetime ends after one began; between two cuts the largest set alive is a section. An item
alive inside a living parent takes no room of its own: it belongs to a section of the
parent's interior instead.

The tables of the search are built here too: see `search.state.Tables`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import define, frozen

from cubie_planner.packing.search.state import Tables

Spans = tuple[tuple[int, int], ...]

CLIQUE_STEPS = 2_000
"""How long to look for sets of items that exclude each other without being alive at once."""


@define(eq=False)
class Items:
    """Items of a problem after what is certain was settled (`interiors.simplify`).

    All sequences are indexed by item; -1 stands for no pin, no parent, any sub-offset.
    """

    sizes: list[int]
    alignments: list[int]
    spans: list[Spans]
    pins: list[int]
    parents: list[int]
    subs: list[int]

    def __len__(self) -> int:
        return len(self.sizes)

    def children(self) -> list[list[int]]:
        """Return the direct children of every item."""
        found: list[list[int]] = [[] for _ in self.sizes]
        for child, parent in enumerate(self.parents):
            if parent >= 0:
                found[parent].append(child)
        return found

    def durations(self) -> list[int]:
        """Return how many program points every item is alive."""
        return [sum(end - start for start, end in spans) for spans in self.spans]

    def reach(self, child: int) -> int:
        """Return the highest offset of a child inside its parent."""
        if self.subs[child] >= 0:
            return self.subs[child]
        return self.sizes[self.parents[child]] - self.sizes[child]


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


def tables(items: Items, sections: Sections) -> Tables:
    """Build the tables of the search as lists."""
    count = len(items)
    children = items.children()
    present: list[list[int]] = [[] for _ in range(count)]
    for index, together in enumerate(sections.members):
        for item in together:
            present[item].append(index)
    hulls = _hulls(items, present)
    runs = [_runs(indices) for indices in present]
    plain = [items.pins[i] < 0 and items.parents[i] < 0 and not children[i] for i in range(count)]
    twin, next_twin = _twins(items, plain)
    run_ptr, flat_runs = _ragged(runs)
    child_ptr, child = _ragged(children)
    near_ptr, near = _ragged([sorted(others) for others in sections.near])
    section_ptr, section_item = _ragged(sections.members)
    rigid = [items.pins[i] >= 0 or items.subs[i] >= 0 for i in range(count)]
    return Tables(
        size=list(items.sizes),
        mask=[alignment - 1 for alignment in items.alignments],
        free=[int(not rigid[i] and not children[i]) for i in range(count)],
        slides=[int(not rigid[i] and bool(children[i])) for i in range(count)],
        parent=list(items.parents),
        sub=list(items.subs),
        reach=[items.reach(i) if items.parents[i] >= 0 else 0 for i in range(count)],
        child_ptr=child_ptr,
        child=child,
        near_ptr=near_ptr,
        near=near,
        run_ptr=run_ptr,
        run_lo=[lo for lo, _ in flat_runs],
        run_hi=[hi for _, hi in flat_runs],
        hull_lo=[lo for lo, _ in hulls],
        hull_hi=[hi for _, hi in hulls],
        section_ptr=section_ptr,
        section_item=section_item,
        twin=twin,
        next_twin=next_twin,
        special=[i for i in range(count) if items.pins[i] >= 0 or items.parents[i] >= 0],
    )


def _hulls(items: Items, present: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """Return the range of sections of every item, shared by all items of a family."""
    root = list(range(len(items)))
    for item in root:
        while items.parents[root[item]] >= 0:
            root[item] = items.parents[root[item]]
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for item, indices in enumerate(present):
        if indices:
            key = root[item]
            first[key] = min(first.get(key, indices[0]), indices[0])
            last[key] = max(last.get(key, 0), indices[-1] + 1)
    return [(first[key], last[key]) for key in root]


def _runs(indices: Sequence[int]) -> list[tuple[int, int]]:
    """Return ascending indices as half-open ranges."""
    runs: list[tuple[int, int]] = []
    for index in indices:
        if runs and runs[-1][1] == index:
            runs[-1] = (runs[-1][0], index + 1)
        else:
            runs.append((index, index + 1))
    return runs


def _ragged(rows: Sequence[Sequence]) -> tuple[list[int], list]:
    pointers = [0]
    flat: list = []
    for row in rows:
        flat.extend(row)
        pointers.append(len(flat))
    return pointers, flat


def _twins(items: Items, plain: Sequence[bool]) -> tuple[list[int], list[int]]:
    """Link items that nothing distinguishes: previous and next of the same kind, or -1."""
    twin = [-1] * len(items)
    next_twin = [-1] * len(items)
    seen: dict[tuple, int] = {}
    for item in range(len(items)):
        if not plain[item]:
            continue
        kind = (items.sizes[item], items.alignments[item], items.spans[item])
        twin[item] = seen.get(kind, -1)
        if twin[item] >= 0:
            next_twin[twin[item]] = item
        seen[kind] = item
    return twin, next_twin
