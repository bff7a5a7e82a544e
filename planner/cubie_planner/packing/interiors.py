"""What is certain before any search: empty items, pins that follow, interiors of their own.

A parent whose children live only while it does, and are no more strictly aligned, is a
packing problem of its own: its interior. It is solved first, and the children then travel
with the parent. What remains nested are children that outlive a parent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from attrs import define

from cubie_planner.packing.items import Items, Spans, union

SolveInside = Callable[[Items, int], tuple[bool | None, list[int] | None]]
"""Packs items within a capacity: (True, offsets), (False, None): proven impossible, or
(None, None): not known."""


@define(eq=False)
class Simplified:
    """Items left to pack, and how to get all offsets back.

    Attributes
    ----------
    items : Items
    kept : list of int
        Original index of each item.
    riders : list of (int, int, int)
        (child, carrier, distance): original indices, carriers first.
    """

    items: Items
    kept: list[int]
    riders: list[tuple[int, int, int]]

    def expand(self, offsets: Sequence[int], count: int) -> list[int]:
        """Return the offsets of all `count` original items."""
        full = [0] * count
        for original, offset in zip(self.kept, offsets, strict=True):
            full[original] = offset
        for child, carrier, distance in self.riders:
            full[child] = full[carrier] + distance
        return full


def simplify(items: Items, solve_inside: SolveInside) -> Simplified | None:
    """Settle what is certain; return None if that shows a contradiction."""
    pins = _derived_pins(items)
    if pins is None:
        return None
    items = Items(items.sizes, items.alignments, items.spans, pins, items.parents, items.subs)
    children = items.children()
    riders: list[tuple[int, int, int]] = []
    carried: set[int] = set()
    for root in _from_the_top(items.parents, children):
        if root in carried:
            continue
        family = list(_descendants(root, children))
        if not family or not _self_contained(items, root, family):
            continue
        inner = _interior(items, root, family)
        if inner is None:
            return None
        solved, offsets = solve_inside(inner, items.sizes[root])
        if solved is False:
            return None
        if offsets is not None:
            riders.extend((i, root, o) for i, o in zip(family, offsets, strict=True))
            carried.update(family)
    kept = [i for i in range(len(items)) if items.sizes[i] > 0 and i not in carried]
    return Simplified(_select(items, kept, items.parents, items.pins, items.subs), kept, riders)


def families(items: Items) -> Iterator[list[Items]]:
    """Yield every family of nested items alone, in each way its alignments can fall.

    A family that cannot be arranged in any of its ways cannot be arranged at all. Other
    pins than that of the outermost item are left out.
    """
    children = items.children()
    for root in range(len(items)):
        if items.parents[root] >= 0 or not children[root]:
            continue
        chosen = [root, *_descendants(root, children)]
        widest = max(items.alignments[i] for i in chosen)
        ways = []
        for base in range(0, widest, items.alignments[root]):
            pins = [-1] * len(items)
            pins[root] = base
            ways.append(_select(items, chosen, items.parents, pins, items.subs))
        yield ways


def _derived_pins(items: Items) -> list[int] | None:
    """Return the pins with those that follow through fixed sub-offsets; None if they clash."""
    pins = list(items.pins)
    changed = True
    while changed:
        changed = False
        for child, parent in enumerate(items.parents):
            if parent < 0:
                continue
            sub = items.subs[child]
            if max(sub, 0) + items.sizes[child] > items.sizes[parent]:
                return None
            if sub >= 0 and pins[parent] >= 0 and pins[child] < 0:
                pins[child] = pins[parent] + sub
                changed = True
            elif sub >= 0 and pins[child] >= 0 and pins[parent] < 0:
                if pins[child] < sub:
                    return None
                pins[parent] = pins[child] - sub
                changed = True
            if pins[parent] >= 0 and pins[child] >= 0:
                distance = pins[child] - pins[parent]
                room = items.sizes[parent] - items.sizes[child]
                if not 0 <= distance <= room or (sub >= 0 and distance != sub):
                    return None
    for pin, alignment in zip(pins, items.alignments, strict=True):
        if pin >= 0 and pin % alignment:
            return None
    return pins


def _from_the_top(parents: Sequence[int], children: Sequence[Sequence[int]]) -> Iterator[int]:
    """Yield every item that has children, parents before their children."""
    queue = [i for i, parent in enumerate(parents) if parent < 0 and children[i]]
    for item in queue:
        yield item
        queue.extend(child for child in children[item] if children[child])


def _descendants(root: int, children: Sequence[Sequence[int]]) -> Iterator[int]:
    queue = list(children[root])
    for item in queue:
        yield item
        queue.extend(children[item])


def _self_contained(items: Items, root: int, family: Sequence[int]) -> bool:
    """Return whether what happens inside `root` concerns nothing outside."""
    return all(
        items.alignments[i] <= items.alignments[root]
        and (items.pins[i] < 0 or items.pins[root] >= 0)
        and covers(items.spans[root], items.spans[i])
        for i in family
    )


def covers(outer: Spans, inner: Spans) -> bool:
    """Return whether every point of `inner` lies in `outer`."""
    merged = union([outer])
    return all(any(lo <= start and end <= hi for lo, hi in merged) for start, end in inner)


def _interior(items: Items, root: int, family: Sequence[int]) -> Items | None:
    """Return the packing problem inside `root`; None if pins there clash."""
    pins = []
    for i in family:
        pin = items.pins[i] - items.pins[root] if items.pins[i] >= 0 else -1
        if items.parents[i] == root and items.subs[i] >= 0:
            pin = items.subs[i]
        if pin >= 0 and pin % items.alignments[i]:
            return None
        pins.append(pin)
    position = {i: k for k, i in enumerate(family)}
    own = [i if i in position else -1 for i in items.parents]
    inner = _select(items, family, own, items.pins, items.subs)
    inner.pins = pins
    inner.subs = [
        -1 if items.parents[i] == root else sub for i, sub in zip(family, inner.subs, strict=True)
    ]
    return inner


def _select(
    items: Items,
    chosen: Sequence[int],
    parents: Sequence[int],
    pins: Sequence[int],
    subs: Sequence[int],
) -> Items:
    position = {i: k for k, i in enumerate(chosen)}
    return Items(
        [items.sizes[i] for i in chosen],
        [items.alignments[i] for i in chosen],
        [items.spans[i] for i in chosen],
        [pins[i] for i in chosen],
        [position.get(parents[i], -1) if parents[i] >= 0 else -1 for i in chosen],
        [subs[i] for i in chosen],
    )
