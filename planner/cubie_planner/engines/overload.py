"""Where more bytes must be shared at once than a run, or the tiles of a block, may use."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from attrs import evolve, frozen

from cubie_planner.declarations.buffers import Buffer, Interval
from cubie_planner.declarations.places import TILE, Location, Place
from cubie_planner.engines.lower_bounds import load_bound
from cubie_planner.engines.nesting import hosts
from cubie_planner.engines.task import Task


@frozen
class Overload:
    """A section in which more shared bytes are alive than a run, or a block's tiles, may use.

    Attributes
    ----------
    interval : (start, end) or None
        Its program points; None when everything is always alive.
    live, core : tuple of str
        All buffers that must be shared there, and a smallest choice that overflows.
    capacity : int
        Bytes per run, or per block.
    plain : bool
        True when adding sizes is the whole proof, in both directions.
    place : Location or Pool
        Slices of shared memory, or tiles.
    beside : int
        Bytes of tiles that slices have to leave.
    """

    interval: Interval | None
    live: tuple[str, ...]
    core: tuple[str, ...]
    live_bytes: int
    capacity: int
    plain: bool
    place: Place = Location.SHARED
    beside: int = 0


def overload(task: Task, among: Collection[str] | None = None) -> Overload | None:
    """Return the worst section in which what must be shared exceeds the limit, if any does.

    With `among` only these buffers are counted.
    """
    limits = task.problem.limits
    if limits.max_shared_bytes is None:
        return None
    slices, tiles = _forced(task, Location.SHARED, among), _forced(task, TILE, among)
    found = _overload(task, tiles, limits.max_shared_bytes, TILE) if tiles else None
    if found is None and slices:
        found = _overload(task, slices, _roomiest(task, slices, tiles), Location.SHARED)
        if found is not None and tiles:
            # Tiles take their share of the limit: they belong to the clash, which is not plain.
            return evolve(found, plain=False, beside=_least_bytes(task, tiles))
    return found


def _forced(task: Task, place: Place, among: Collection[str] | None) -> list[Buffer]:
    """Return the buffers that take bytes of their own in a place, wherever else others go."""
    forced = [
        b
        for b in task.buffers
        if set(task.domains[b.name]) == {place} and (among is None or b.name in among)
    ]
    return [b for b in forced if not hosts(b, task.by_name, local=False)]


def _overload(task: Task, own: Sequence[Buffer], capacity: int, place: Place) -> Overload | None:
    """Return the worst section in which these buffers exceed the capacity of their place."""
    worst: Overload | None = None
    sections = task.live.peak_sections([b.name for b in own])
    for section, names in sections:
        live = [task.by_name[name] for name in names]
        load = sum(b.size_bytes for b in live)
        if load > capacity and (worst is None or load > worst.live_bytes):
            core = _smallest_overflow(live, capacity)
            span = task.live.sections[section]
            plain = _is_plain(task, core, place)
            worst = Overload(span, names, core, load, capacity, plain, place)
    return worst


def _roomiest(task: Task, forced: Sequence[Buffer], tiles: Sequence[Buffer]) -> int:
    """Return the bytes a run may use, under the padding that leaves most, beside tiles."""
    widest = max(b.alignment for b in forced)
    limits = task.problem.limits
    beside = _least_bytes(task, tiles)
    units = {b.alignment for b in task.may_be(Location.SHARED) if b.alignment >= widest}
    return max(limits.run_capacity(unit, beside) or 0 for unit in units)


def _least_bytes(task: Task, tiles: Sequence[Buffer]) -> int:
    """Return bytes that tiles cannot do without."""
    return load_bound(tiles, task.live.masks, task.may_be(TILE)) if tiles else 0


def _smallest_overflow(live: Sequence[Buffer], capacity: int) -> tuple[str, ...]:
    """Drop the smallest buffers while the rest still overflows."""
    kept = sorted(live, key=lambda b: -b.size_bytes)
    while sum(b.size_bytes for b in kept[:-1]) > capacity:
        kept.pop()
    names = {b.name for b in kept}
    return tuple(b.name for b in live if b.name in names)


def _is_plain(task: Task, core: Sequence[str], place: Place) -> bool:
    """Return whether any proper part of the core could simply be stacked under the limit."""
    members = [task.by_name[name] for name in core]
    stackable = all(b.size_bytes % b.alignment == 0 and b.offset is None for b in members)
    one_unit = len({max(4, b.alignment) for b in task.may_be(place)}) == 1
    return stackable and one_unit
