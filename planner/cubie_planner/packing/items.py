"""What is packed: sizes with alignments and lifetimes, some pinned, some inside others."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define

Spans = tuple[tuple[int, int], ...]


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


def union(several: Iterable[Spans]) -> Spans:
    """Return the points of any of several lifetimes, as sorted intervals that do not touch."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(span for spans in several for span in spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)


def family_near(items: Items) -> list[set[int]]:
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
