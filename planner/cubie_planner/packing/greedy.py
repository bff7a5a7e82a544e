"""Greedy packings: several orders, first fit and best fit.

They say what is possible, never what is not. Items nested in one another are moved as one
rigid body, a *block* of pieces; pinned ones come first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from attrs import frozen

from cubie_planner.basics import lowest_free
from cubie_planner.packing.items import Items
from cubie_planner.packing.sections import Sections


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
