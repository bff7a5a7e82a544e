"""First-fit packing of one place, with aliases: fast, and often provably optimal.

Buffers that lie inside one another form a *group*: a rigid body of parts with fixed
distances. Groups are dropped, in a few orders, to the lowest base at which no part
meets a part of another group that lives at the same time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from attrs import define, frozen

from cubie_planner.buffers import Buffer

Rule = Callable[[Buffer, Buffer], bool]
"""Says whether a child should use the chance to lie inside a parent."""


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


@frozen
class Part:
    """A buffer inside a group, `start` bytes after the group's base."""

    name: str
    start: int
    size: int
    mask: int


@define(eq=False)
class Group:
    """A rigid body of parts; its base must be `residue` modulo `modulus`."""

    root: Buffer
    parts: list[Part]
    modulus: int
    residue: int = 0
    fixed: int | None = None


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


def local_bound(
    buffers: Sequence[Buffer], masks: Mapping[str, int], among: Sequence[Buffer]
) -> int:
    """Return bytes of own arrays that local `buffers` need: what none of `among` can hold."""
    names = {b.name: b for b in among}
    own = 0
    only: dict[str, list[Buffer]] = {}
    for buffer in buffers:
        candidates = hosts(buffer, names, local=True)
        if not candidates:
            own += buffer.size_bytes
        elif len(candidates) == 1:
            only.setdefault(candidates[0][0].name, []).append(buffer)
    return own + sum(_crowded_out(names[name], only[name], masks) for name in only)


def _crowded_out(host: Buffer, children: Sequence[Buffer], masks: Mapping[str, int]) -> int:
    """Return bytes of `children` for which `host`, their only one, has no room at some time."""
    if sum(b.size_bytes for b in children) <= host.size_bytes:
        return 0
    least = 0
    for section in range(max(masks[b.name] for b in children).bit_length()):
        sizes = [b.size_bytes for b in children if masks[b.name] >> section & 1]
        excess = sum(sizes) - host.size_bytes
        if excess > 0:
            least = max(least, excess, min(sizes))
    return least


def load_bound(buffers: Sequence[Buffer], masks: Mapping[str, int], among: Sequence[Buffer]) -> int:
    """Return a lower bound on the height: the bytes that must be alive in some section.

    A buffer that may lie inside another one alive with it is counted only beyond what
    that other one could hold.

    Parameters
    ----------
    buffers : sequence of Buffer
        Those that live in this place for certain.
    among : sequence of Buffer
        Those that may live there, which includes the former.
    """
    top = max((b.offset + b.size_bytes for b in buffers if b.offset is not None), default=0)
    reach = reachable(among)
    every = 0
    for buffer in buffers:
        every |= masks[buffer.name]
    for section in range(every.bit_length()):
        live = [b for b in buffers if masks[b.name] >> section & 1]
        names = {b.name for b in live}
        inside = {b.name for b in live if reach[b.name] & names}
        own = sum(b.size_bytes for b in live if b.name not in inside)
        if not inside:
            top = max(top, own)
            continue
        top = max(top, own, sum(b.size_bytes for b in live) - _most_saved(live, names, reach))
    unit = _granularity(among)
    return -(-top // unit) * unit


def _granularity(buffers: Sequence[Buffer]) -> int:
    """Return a number of which every offset and end of some lowest packing is a multiple."""
    numbers = [n for b in buffers for n in (b.size_bytes, b.alignment, b.offset or 0)]
    numbers += [alias.offset or 0 for b in buffers for alias in b.aliases]
    return math.gcd(*numbers) or 1


def _most_saved(live: Sequence[Buffer], names: set[str], reach: Mapping[str, set[str]]) -> int:
    """Return a bound on the bytes that the live buffers can share by lying inside others."""
    saved = 0
    only: dict[str, int] = {}
    for buffer in live:
        around = reach[buffer.name] & names
        if len(around) == 1:
            (host,) = around
            only[host] = only.get(host, 0) + buffer.size_bytes
        elif around:
            saved += buffer.size_bytes
    return saved + sum(min(b.size_bytes, only.get(b.name, 0)) for b in live)


def reachable(buffers: Sequence[Buffer]) -> dict[str, set[str]]:
    """Return, per buffer, the buffers it may lie inside, directly or through others."""
    names = {b.name: b for b in buffers}
    depths = _depths(buffers)
    reach: dict[str, set[str]] = {}
    for buffer in sorted(buffers, key=lambda b: depths[b.name]):
        direct = {host.name for host, _ in hosts(buffer, names, local=False)}
        reach[buffer.name] = direct.union(*(reach[name] for name in direct))
    return reach


def hosts(
    child: Buffer, names: Mapping[str, Buffer], local: bool
) -> list[tuple[Buffer, int | None]]:
    """Return the candidate parents of `child` in the same place that can hold it."""
    found = []
    for alias in child.aliases:
        parent = names.get(alias.parent)
        if parent is None or (local and parent.alignment < child.alignment):
            continue
        if (alias.offset or 0) + child.size_bytes <= parent.size_bytes:
            found.append((parent, alias.offset))
    return found


def _depths(buffers: Sequence[Buffer]) -> dict[str, int]:
    """Return, per buffer, the length of its longest chain of candidate parents."""
    names = {b.name: b for b in buffers}
    depths: dict[str, int] = {}
    stack = [b.name for b in buffers]
    while stack:
        parents = [a.parent for a in names[stack[-1]].aliases if a.parent in names]
        waiting = [parent for parent in parents if parent not in depths]
        if waiting:
            stack.extend(waiting)
        else:
            depths[stack.pop()] = 1 + max((depths[parent] for parent in parents), default=-1)
    return depths


def nestings(buffers: Sequence[Buffer], masks: Mapping[str, int]) -> Iterator[Rule]:
    """Yield rules that say which optional aliases to use: most useful first."""
    yield lambda child, parent: masks[child.name] & ~masks[parent.name] == 0
    if any(b.aliases for b in buffers):
        yield lambda child, parent: True
        yield lambda child, parent: False


def nest(
    buffers: Sequence[Buffer], masks: Mapping[str, int], willing: Rule, local: bool
) -> tuple[list[Group], dict[str, str]] | None:
    """Build groups by putting children into parents, children's children first.

    Returns None when a required alias found no room.
    """
    names = {b.name: b for b in buffers}
    groups = {
        b.name: Group(b, [Part(b.name, 0, b.size_bytes, masks[b.name])], b.alignment, 0, b.offset)
        for b in buffers
    }
    parents: dict[str, str] = {}
    if not any(b.aliases for b in buffers):
        return list(groups.values()), parents
    depths = _depths(buffers)
    ordered = sorted(
        (b for b in buffers if b.aliases),
        key=lambda b: (-depths[b.name], not b.alias_required, -b.size_bytes),
    )
    for child in ordered:
        for parent, offset in hosts(child, names, local):
            if not (child.alias_required or willing(child, parent)):
                continue
            base = _room(groups[child.name], groups[parent.name], offset)
            if base is not None:
                _merge(groups, child.name, parent.name, base)
                parents[child.name] = parent.name
                break
        else:
            if child.alias_required:
                return None
    return list(groups.values()), parents


def _room(child: Group, host: Group, offset: int | None) -> int | None:
    """Return where in `host` the child's group fits, or None."""
    limit = host.root.size_bytes - child.root.size_bytes
    if child.fixed is not None:
        limit = min(limit, child.fixed)  # the host cannot start below 0
    if child.fixed is not None and host.fixed is not None:
        wanted = child.fixed - host.fixed
        if offset not in (None, wanted):
            return None
        offset = wanted
    if offset is not None:
        fits = 0 <= offset <= limit and _compatible(child, host, offset)
        return offset if fits and _clash(child, host, offset) is None else None
    base = (child.residue - host.residue) % child.modulus
    while base <= limit:
        end = _clash(child, host, base)
        if end is None:
            return base
        base += _round_up(end - base, child.modulus)
    return None


def _compatible(child: Group, host: Group, base: int) -> bool:
    """Return whether one base of the host suits both alignments (powers of two)."""
    step = min(child.modulus, host.modulus)
    return (host.residue + base - child.residue) % step == 0


def _clash(child: Group, host: Group, base: int) -> int | None:
    """Return the base beyond which some part no longer meets a part of the host, if one does."""
    for part in child.parts:
        start = base + part.start
        for other in host.parts[1:]:
            meets = start < other.start + other.size and other.start < start + part.size
            if meets and part.mask & other.mask:
                return other.start + other.size - part.start
    return None


def _merge(groups: dict[str, Group], child_name: str, parent_name: str, base: int) -> None:
    child, host = groups.pop(child_name), groups[parent_name]
    host.parts += [Part(p.name, base + p.start, p.size, p.mask) for p in child.parts]
    if child.modulus > host.modulus:
        host.modulus, host.residue = child.modulus, (child.residue - base) % child.modulus
    if child.fixed is not None:
        host.fixed = child.fixed - base


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step


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
    whole = 0
    for part in group.parts:
        whole |= part.mask
    rivals = sorted(block for block in placed if block[2] & whole)
    base = group.residue if group.fixed is None else group.fixed
    if base < 0 or base % group.modulus != group.residue:
        return None
    moved = True
    while moved:
        moved = False
        for start, end, mask in rivals:
            for part in group.parts:
                low = base + part.start
                if low < end and start < low + part.size and part.mask & mask:
                    base += _round_up(end - low, group.modulus)
                    moved = True
        if moved and group.fixed is not None:
            return None
    return base
