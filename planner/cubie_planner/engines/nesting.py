"""Buffers inside one another: which may hold which, and groups of those that do.

Buffers that lie inside one another form a *group*: a rigid body of parts with fixed
distances.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from attrs import define, frozen

from cubie_planner.basics import lowest_free
from cubie_planner.declarations.buffers import Alias, Buffer

Rule = Callable[[Buffer, Buffer], bool]
"""Says whether a child should use the chance to lie inside a parent."""


@frozen
class Part:
    """A buffer inside a group, `start` bytes after the group's base."""

    name: str
    start: int
    size: int
    mask: int


@define(eq=False)
class Group:
    """A rigid body of parts; its base must be `residue` modulo `modulus`.

    What its outermost part holds alone is kept as a group of its own until it is settled:
    each link of a chain of views would otherwise be moved once per link above it.
    """

    root: Buffer
    parts: list[Part]
    modulus: int
    residue: int = 0
    fixed: int | None = None
    held: tuple[int, Group] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing lies inside its outermost part yet."""
        return len(self.parts) == 1 and self.held is None

    def settle(self) -> None:
        """Make what is held a part like the others."""
        start, held, self.held = 0, self.held, None
        while held is not None:
            start += held[0]
            self.parts += [Part(p.name, start + p.start, p.size, p.mask) for p in held[1].parts]
            held = held[1].held


def reachable(buffers: Sequence[Buffer]) -> dict[str, set[str]]:
    """Return, per buffer, the buffers it may lie inside, directly or through others."""
    names = {b.name: b for b in buffers}
    depths = _depths(buffers)
    reach: dict[str, set[str]] = {}
    for buffer in sorted(buffers, key=lambda b: depths[b.name]):
        direct = {host.name for host, _ in hosts(buffer, names, local=False)}
        reach[buffer.name] = direct.union(*(reach[name] for name in direct))
    return reach


def alias_holds_locally(child: Buffer, parent: Buffer, alias: Alias) -> bool:
    """Tell whether a child may lie in a parent that is a local array."""
    return parent.alignment >= child.alignment and not alias.across_frames


def hosts(
    child: Buffer, names: Mapping[str, Buffer], local: bool
) -> list[tuple[Buffer, int | None]]:
    """Return the candidate parents of `child` in the same place that can hold it."""
    found = []
    for alias in child.aliases:
        parent = names.get(alias.parent)
        if parent is None or (local and not alias_holds_locally(child, parent, alias)):
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
    for group in groups.values():
        group.settle()
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
    if offset is not None and not (0 <= offset <= limit and _compatible(child, host, offset)):
        return None
    clashes = [] if host.is_empty else _clashes(child, host)
    if offset is not None:
        return None if any(low < offset < high for low, high in clashes) else offset
    first = (child.residue - host.residue) % child.modulus
    shifted = [(low - first, high - first) for low, high in clashes]
    base = lowest_free(shifted, child.modulus)
    return None if base is None or first + base > limit else first + base


def _compatible(child: Group, host: Group, base: int) -> bool:
    """Return whether one base of the host suits both alignments (powers of two)."""
    step = min(child.modulus, host.modulus)
    return (host.residue + base - child.residue) % step == 0


def _clashes(child: Group, host: Group) -> list[tuple[int, int]]:
    """Return open ranges of bases at which some part of the child meets a part of the host."""
    child.settle()
    host.settle()
    return [
        (other.start - part.start - part.size, other.start + other.size - part.start)
        for part in child.parts
        for other in host.parts[1:]
        if part.mask & other.mask
    ]


def _merge(groups: dict[str, Group], child_name: str, parent_name: str, base: int) -> None:
    child, host = groups.pop(child_name), groups[parent_name]
    if host.is_empty:
        host.held = (base, child)
    else:
        child.settle()
        host.settle()
        host.parts += [Part(p.name, base + p.start, p.size, p.mask) for p in child.parts]
    if child.modulus > host.modulus:
        host.modulus, host.residue = child.modulus, (child.residue - base) % child.modulus
    if child.fixed is not None:
        host.fixed = child.fixed - base
