"""What is packed: sizes with alignments and lifetimes, some pinned, some inside others."""

from __future__ import annotations

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
