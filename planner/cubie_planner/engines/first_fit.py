"""First-fit packing of one place, with aliases: fast, and often provably optimal.

Groups of buffers that lie inside one another are dropped, in a few orders, to the lowest
base at which no part meets a part of another group that lives at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from attrs import frozen

from cubie_planner.basics import lowest_free
from cubie_planner.declarations.buffers import Buffer
from cubie_planner.engines.lower_bounds import load_bound, local_bound
from cubie_planner.engines.nesting import Group, nest, nestings

LIFTS = 4
"""How often the group on top is placed first before first fit gives up."""


@frozen
class Arrangement:
    """Offsets and parents of the buffers of one place.

    Attributes
    ----------
    offsets : mapping of str to int
        Absolute byte offsets; for the local place relative to the outermost parent.
    parents : mapping of str to str
        Chosen alias parents.
    height : int
        Bytes needed.
    bound : int
        No arrangement needs fewer.
    """

    offsets: Mapping[str, int]
    parents: Mapping[str, str]
    height: int
    bound: int


def pack_arena(
    buffers: Sequence[Buffer], masks: Mapping[str, int], capacity: int | None = None
) -> Arrangement | None:
    """Pack buffers of shared memory or of the persistent arena.

    Parameters
    ----------
    buffers : sequence of Buffer
        Those that live there, declared order.
    masks : mapping of str to int
        Lifetimes as bit masks.
    capacity : int or None
        A packing that reaches higher is not returned.

    Returns
    -------
    Arrangement or None
        None when no attempt succeeded; that proves nothing.
    """
    bound = load_bound(buffers, masks, buffers)
    best: Arrangement | None = None
    tried: list[dict[str, str]] = []
    for willing in nestings(buffers, masks):
        nested = nest(buffers, masks, willing, local=False)
        if nested is None or nested[1] in tried:
            continue
        groups, parents = nested
        tried.append(parents)
        enough = bound if best is None else min(bound, best.height)
        found = _best_fit(groups, enough)
        if found is not None and (best is None or found[1] < best.height):
            best = Arrangement(found[0], parents, found[1], bound)
        if best is not None and best.height == bound:
            break
    return None if best is None or (capacity is not None and best.height > capacity) else best


def _best_fit(groups: list[Group], enough: int) -> tuple[dict[str, int], int] | None:
    """Drop the groups in several orders; then lift what ends on top to the front, repeatedly."""
    best: tuple[dict[str, int], int] | None = None
    best_order: list[Group] = []
    for order in _orders(groups):
        offsets = _first_fit(order)
        if offsets is None:
            return None
        height = _height(groups, offsets)
        if best is None or height < best[1]:
            best, best_order = (offsets, height), order
        if best[1] <= enough:
            return best
    order, offsets = best_order, best[0] if best else {}
    seen: set[tuple[int, ...]] = set()
    for _ in range(LIFTS):
        height = _height(groups, offsets)
        last = [g for g in order if _height([g], offsets) == height]
        order = [*last, *(g for g in order if g not in last)]
        order.sort(key=lambda g: g.fixed is None)
        key = tuple(id(g) for g in order)
        lowered = None if key in seen else _first_fit(order)
        if lowered is None:
            break
        seen.add(key)
        offsets = lowered
        if best is None or _height(groups, offsets) < best[1]:
            best = offsets, _height(groups, offsets)
            if best[1] <= enough:
                break
    return best


def _height(groups: Sequence[Group], offsets: Mapping[str, int]) -> int:
    return max((offsets[p.name] + p.size for g in groups for p in g.parts), default=0)


def pack_local(buffers: Sequence[Buffer], masks: Mapping[str, int]) -> Arrangement | None:
    """Nest local buffers inside their parents; what remains has an array of its own."""
    nested = nest(buffers, masks, lambda child, parent: True, local=True)
    if nested is None:
        return None
    groups, parents = nested
    offsets = {part.name: part.start for group in groups for part in group.parts}
    height = sum(b.size_bytes for b in buffers if b.name not in parents)
    return Arrangement(offsets, parents, height, local_bound(buffers, masks, buffers))


def _orders(groups: list[Group]) -> Iterator[list[Group]]:
    """Yield the groups in the orders worth trying; groups with a fixed base come first."""
    area = {id(g): sum(p.size * p.mask.bit_count() for p in g.parts) for g in groups}
    keys: tuple[Callable[[Group], tuple[int, ...]], ...] = (
        lambda g: (-g.root.size_bytes, -area[id(g)]),
        lambda g: (-g.parts[0].mask.bit_count(), -g.root.size_bytes),
        lambda g: (-area[id(g)],),
        lambda g: (g.parts[0].mask & -g.parts[0].mask, -g.root.size_bytes),
        lambda g: (-g.parts[0].mask.bit_length(), -g.root.size_bytes),
        lambda g: (-g.modulus, -g.root.size_bytes),
    )
    for key in keys:
        yield sorted(groups, key=lambda g: (g.fixed is None, key(g)))


def _first_fit(groups: list[Group]) -> dict[str, int] | None:
    """Drop each group to its lowest base; None when fixed bases meet each other."""
    placed: list[tuple[int, int, int]] = []
    offsets: dict[str, int] = {}
    for group in groups:
        base = _lowest_base(group, placed)
        if base is None:
            return None
        for part in group.parts:
            offsets[part.name] = base + part.start
            placed.append((base + part.start, base + part.start + part.size, part.mask))
    return offsets


def _lowest_base(group: Group, placed: list[tuple[int, int, int]]) -> int | None:
    """Return the lowest base at which no part meets a block; None when a fixed base does."""
    residue = group.residue
    clashes = [
        (start - part.start - part.size - residue, end - part.start - residue)
        for part in group.parts
        for start, end, mask in placed
        if mask & part.mask
    ]
    if group.fixed is None:
        wanted = -1
    elif group.fixed < residue:
        return None
    else:
        wanted = group.fixed - residue
    base = lowest_free(clashes, group.modulus, wanted=wanted)
    return None if base is None else base + residue
