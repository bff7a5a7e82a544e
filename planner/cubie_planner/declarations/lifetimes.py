"""Program points compressed to sections, and lifetimes as bit masks over them.

A *section* is a range of program points between two consecutive ends of lifetimes:
inside one, the same buffers are alive throughout. Bit `s` of a buffer's mask is set
when it is alive in section `s`; two buffers live together when their masks meet.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from cubie_planner.declarations.buffers import Buffer, Interval


@frozen
class Liveness:
    """Sections in time order, and the mask of every buffer.

    Attributes
    ----------
    sections : tuple of (start, end) or None
        Half-open ranges of program points; a single None when nothing has a lifetime.
    masks : mapping of str to int
    """

    sections: tuple[Interval | None, ...]
    masks: Mapping[str, int]

    def peak_sections(self, names: Sequence[str]) -> list[tuple[int, tuple[str, ...]]]:
        """Return (section, live names) for sections whose live set is not part of another's."""
        live_sets: dict[frozenset[str], int] = {}
        for index in range(len(self.sections)):
            live = frozenset(name for name in names if self.masks[name] >> index & 1)
            if live:
                live_sets.setdefault(live, index)
        maximal = [live for live in live_sets if not any(live < other for other in live_sets)]
        order = {name: i for i, name in enumerate(names)}
        return [(live_sets[live], tuple(sorted(live, key=order.__getitem__))) for live in maximal]


def liveness(buffers: Iterable[Buffer]) -> Liveness:
    """Compress the lifetimes of `buffers`."""
    buffers = list(buffers)
    timed = [b for b in buffers if not b.always_alive]
    bounds = sorted({point for b in timed for span in b.lifetime or () for point in span})
    sections: tuple[Interval | None, ...] = tuple(itertools.pairwise(bounds)) or (None,)
    everything = (1 << len(sections)) - 1
    masks = {}
    for buffer in buffers:
        if buffer.always_alive:
            masks[buffer.name] = everything
            continue
        mask = 0
        for start, end in buffer.lifetime or ():
            mask |= (1 << bisect_left(bounds, end)) - (1 << bisect_left(bounds, start))
        masks[buffer.name] = mask
    return Liveness(sections, masks)


def peak_load(sized: Iterable[tuple[Buffer, int]]) -> int:
    """Largest sum of sizes over the buffers alive at one program point."""
    always = 0
    events: list[tuple[int, int]] = []
    for buffer, size in sized:
        if buffer.always_alive or buffer.lifetime is None:
            always += size
            continue
        for start, end in buffer.lifetime:
            events += ((start, size), (end, -size))
    load = peak = 0
    # At one point the ends (negative) sort first, because intervals are half-open.
    for _, change in sorted(events):
        load += change
        peak = max(peak, load)
    return always + peak
