"""Where more bytes must be shared at once than a run may use."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from attrs import frozen

from cubie_planner.declarations.buffers import Buffer, Interval, Location
from cubie_planner.engines.nesting import hosts
from cubie_planner.engines.task import Task


@frozen
class Overload:
    """A section in which more shared bytes are alive than a run may use.

    Attributes
    ----------
    interval : (start, end) or None
        Its program points; None when everything is always alive.
    live, core : tuple of str
        All buffers that must be shared there, and a smallest choice that overflows.
    capacity : int
        Bytes per run.
    plain : bool
        True when adding sizes is the whole proof, in both directions.
    """

    interval: Interval | None
    live: tuple[str, ...]
    core: tuple[str, ...]
    live_bytes: int
    capacity: int
    plain: bool


def overload(task: Task, among: Collection[str] | None = None) -> Overload | None:
    """Return the worst section in which what must be shared exceeds the limit, if any does.

    With `among` only these buffers are counted.
    """
    forced = [
        b
        for b in task.buffers
        if set(task.domains[b.name]) == {Location.SHARED} and (among is None or b.name in among)
    ]
    own = [b for b in forced if not hosts(b, task.by_name, local=False)]
    if task.problem.limits.max_shared_bytes is None or not own:
        return None
    capacity = _roomiest(task, own)
    worst: Overload | None = None
    sections = task.live.peak_sections([b.name for b in own])
    for section, names in sections:
        live = [task.by_name[name] for name in names]
        load = sum(b.size_bytes for b in live)
        if load > capacity and (worst is None or load > worst.live_bytes):
            core = _smallest_overflow(live, capacity)
            span = task.live.sections[section]
            plain = _is_plain(task, core)
            worst = Overload(span, names, core, load, capacity, plain)
    return worst


def _roomiest(task: Task, forced: Sequence[Buffer]) -> int:
    """Return the bytes a run may use, under the padding that leaves most."""
    widest = max(b.alignment for b in forced)
    limits = task.problem.limits
    units = {b.alignment for b in task.may_be(Location.SHARED) if b.alignment >= widest}
    return max(limits.run_capacity(unit) or 0 for unit in units)


def _smallest_overflow(live: Sequence[Buffer], capacity: int) -> tuple[str, ...]:
    """Drop the smallest buffers while the rest still overflows."""
    kept = sorted(live, key=lambda b: -b.size_bytes)
    while sum(b.size_bytes for b in kept[:-1]) > capacity:
        kept.pop()
    names = {b.name for b in kept}
    return tuple(b.name for b in live if b.name in names)


def _is_plain(task: Task, core: Sequence[str]) -> bool:
    """Return whether any proper part of the core could simply be stacked under the limit."""
    members = [task.by_name[name] for name in core]
    stackable = all(b.size_bytes % b.alignment == 0 and b.offset is None for b in members)
    one_unit = len({max(4, b.alignment) for b in task.may_be(Location.SHARED)}) == 1
    return stackable and one_unit
