"""A packing for huge problems, which takes no longer however many items overlap."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define

from cubie_planner.basics import round_up
from cubie_planner.packing.greedy import build_blocks
from cubie_planner.packing.items import Items, Spans


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
