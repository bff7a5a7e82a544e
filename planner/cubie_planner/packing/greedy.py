"""Greedy packings: several orders, first fit and best fit; and a skyline for huge problems.

They say what is possible, never what is not. Items nested in one another are moved as one
rigid body, a *block* of pieces; pinned ones come first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from attrs import define, frozen

from cubie_planner.basics import lowest_free, round_up
from cubie_planner.packing.sections import Items, Sections, Spans


@frozen
class Block:
    """A rigid body: (item, distance from the block's base); the base is a multiple of `unit`."""

    pieces: tuple[tuple[int, int], ...]
    unit: int
    pin: int

    def length(self, items: Items) -> int:
        """Return the bytes from the base to the highest end."""
        return max(distance + items.sizes[item] for item, distance in self.pieces)


def greedy(items: Items, sections: Sections, enough: int) -> list[int] | None:
    """Return the lowest packing of the portfolio; stops at a height of `enough`.

    None if pins or children found no room; that proves nothing.
    """
    blocks = build_blocks(items, sections.near)
    if blocks is None:
        return None
    best: list[int] | None = None
    best_height = 0
    for order in _orders(items, sections, blocks):
        for snug in (False, True):
            offsets = _drop(items, sections.near, order, snug)
            if offsets is None:
                return best
            height = max(o + s for o, s in zip(offsets, items.sizes, strict=True))
            if best is None or height < best_height:
                best, best_height = offsets, height
            if best_height <= enough:
                return best
    return best


def _orders(items: Items, sections: Sections, blocks: Sequence[Block]) -> Iterator[list[Block]]:
    """Yield orders: by size, area, largest load of its sections, lifetime, start."""
    sizes = items.sizes
    total, width = sections.crowding(items.sizes), items.durations()

    def size(block: Block) -> int:
        return block.length(items)

    def area(block: Block) -> int:
        return sum(sizes[i] * width[i] for i, _ in block.pieces)

    def crowd(block: Block) -> int:
        return max(total[i] for i, _ in block.pieces)

    def life(block: Block) -> int:
        return max(width[i] for i, _ in block.pieces)

    def start(block: Block) -> int:
        return -min(items.spans[i][0][0] for i, _ in block.pieces)

    rankings: tuple[tuple[Ranking, Ranking], ...] = (
        (size, life),
        (area, size),
        (crowd, size),
        (life, size),
        (start, size),
    )
    for keys in rankings:
        yield sorted(
            blocks, key=lambda b, keys=keys: (b.pin < 0, *(-key(b) for key in keys), b.pieces[0][0])
        )


def build_blocks(items: Items, near: Sequence[set[int]]) -> list[Block] | None:
    """Put children into their parents; None if a child found no room."""
    children = items.children()
    blocks = []
    for root in range(len(items)):
        if items.parents[root] >= 0:
            continue
        if not children[root]:
            blocks.append(Block(((root, 0),), items.alignments[root], items.pins[root]))
            continue
        block = _nest(items, near, children, root)
        if block is None:
            return None
        blocks.append(block)
    return blocks


def _nest(
    items: Items, near: Sequence[set[int]], children: Sequence[Sequence[int]], root: int
) -> Block | None:
    """Choose distances for everything inside `root`, larger children first."""
    family = [root]
    for item in family:
        family.extend(sorted(children[item], key=lambda i: (items.subs[i] < 0, -items.sizes[i], i)))
    unit = max(items.alignments[i] for i in family)
    pin = max(items.pins[root], -1)
    distances = {root: 0}
    for item in family[1:]:
        parent = items.parents[item]
        base = distances[parent]
        clashes = [
            (distances[other] - items.sizes[item], distances[other] + items.sizes[other])
            for other in near[item]
            if other in distances
        ]
        wanted = base + items.subs[item] if items.subs[item] >= 0 else -1
        if items.pins[item] >= 0:
            if pin < 0:
                # The first pin inside decides where the whole block is.
                wanted = base if wanted < 0 else wanted
                pin = items.pins[item] - wanted
            wanted = items.pins[item] - pin
        spot = lowest_free(clashes, items.alignments[item], base, wanted)
        if spot is None or not base <= spot <= base + items.reach(item):
            return None
        distances[item] = spot
    if pin < -1 or (
        pin >= 0 and any((pin + d) % items.alignments[i] for i, d in distances.items())
    ):
        return None
    return Block(tuple(distances.items()), unit, pin)


def _drop(
    items: Items, near: Sequence[set[int]], order: Sequence[Block], snug: bool
) -> list[int] | None:
    """Place blocks in order, each at its lowest place or in its tightest gap."""
    offsets = [-1] * len(items)
    sizes = items.sizes
    for block in order:
        clashes = [
            (offsets[other] - sizes[item] - distance, offsets[other] + sizes[other] - distance)
            for item, distance in block.pieces
            for other in near[item]
            if offsets[other] >= 0
        ]
        base = lowest_free(clashes, block.unit, 0, block.pin, snug)
        if base is None:
            return None
        for item, distance in block.pieces:
            offsets[item] = base + distance
    return offsets


Ranking = Callable[[Block], int]


@define(eq=False)
class Skyline:
    """Packing without looking for gaps, in a time that does not depend on how many overlap.

    Each item goes on top of what was placed before it in its sections.
    """

    items: Items

    def pack(self) -> tuple[list[int] | None, int]:
        """Return offsets (None if pins clash) and the load bound."""
        import numpy as np

        runs, count = _section_runs(self.items.spans)
        load = np.zeros(count + 1, dtype=np.int64)
        for item, parent in enumerate(self.items.parents):
            if parent < 0:
                for lo, hi in runs[item]:
                    load[lo] += self.items.sizes[item]
                    load[hi] -= self.items.sizes[item]
        bound = int(np.cumsum(load).max())
        bound = max(
            bound,
            *(s + max(p, 0) for s, p in zip(self.items.sizes, self.items.pins, strict=True)),
        )
        blocks = build_blocks(self.items, _family_near(self.items))
        if blocks is None:
            return None, bound
        width = self.items.durations()
        best: list[int] | None = None
        best_height = 0
        for key in (
            lambda b: -b.length(self.items),
            lambda b: -max(width[i] for i, _ in b.pieces),
        ):
            free = sorted((b for b in blocks if b.pin < 0), key=key)
            pinned = sorted((b for b in blocks if b.pin >= 0), key=lambda b: b.pin)
            offsets = self._stack([*pinned, *free], runs, count)
            if offsets is None:
                return best, bound
            height = max(o + s for o, s in zip(offsets, self.items.sizes, strict=True))
            if best is None or height < best_height:
                best, best_height = offsets, height
        return best, bound

    def _stack(self, order, runs, count: int) -> list[int] | None:
        import numpy as np

        floor = np.zeros(count, dtype=np.int64)
        offsets = [0] * len(self.items)
        for block in order:
            base = max(block.pin, 0)
            for item, distance in block.pieces:
                for lo, hi in runs[item]:
                    base = max(base, int(floor[lo:hi].max()) - distance)
            base = round_up(base, block.unit)
            if block.pin >= 0 and base != block.pin:
                return None
            for item, distance in block.pieces:
                offsets[item] = base + distance
                for lo, hi in runs[item]:
                    part = floor[lo:hi]
                    np.maximum(part, offsets[item] + self.items.sizes[item], out=part)
        return offsets


def _section_runs(spans: Sequence[Spans]) -> tuple[list[list[tuple[int, int]]], int]:
    """Return per item its half-open ranges of sections, and the number of sections."""
    events = []
    for item, intervals in enumerate(spans):
        for index, (start, end) in enumerate(intervals):
            events.append((start, 1, item, index))
            events.append((end, 0, item, index))
    events.sort()
    runs = [[(0, 0)] * len(intervals) for intervals in spans]
    count = 0
    grew = False
    for _, starts, item, index in events:
        if starts:
            grew = True
            runs[item][index] = (count, count)
        else:
            count += grew
            grew = False
            runs[item][index] = (runs[item][index][0], count)
    return runs, count


def _family_near(items: Items) -> list[set[int]]:
    """Return, per item, the relatives it may overlap in time: all but ancestors."""
    near: list[set[int]] = [set() for _ in items.sizes]
    families: dict[int, list[int]] = {}
    ancestors: list[set[int]] = [set() for _ in items.sizes]
    for item in range(len(items)):
        holder = items.parents[item]
        root = item
        while holder >= 0:
            ancestors[item].add(holder)
            root = holder
            holder = items.parents[holder]
        if root != item:
            families.setdefault(root, []).append(item)
    for members in families.values():
        for a in members:
            near[a].update(
                b
                for b in members
                if b != a
                and b not in ancestors[a]
                and a not in ancestors[b]
                and _meet(items.spans[a], items.spans[b])
            )
    return near


def _meet(a: Spans, b: Spans) -> bool:
    return any(s < f and t < e for s, e in a for t, f in b)
