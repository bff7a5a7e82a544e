"""Problems beyond what exact engines can hold: locations first, then rigid bodies in bytes.

A buffer and the views inside it are one body, with the lifetime of all of them. Optional
aliases are not taken. The load of every program point gives the bound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from attrs import frozen

from cubie_planner.declarations.buffers import Buffer
from cubie_planner.declarations.lifetimes import liveness
from cubie_planner.declarations.places import TILE, Location, Place
from cubie_planner.engines.draft import Draft
from cubie_planner.engines.fast_path import first_draft
from cubie_planner.engines.nesting import nest
from cubie_planner.engines.task import Task, nodes_of
from cubie_planner.packing.items import Spans, union
from cubie_planner.packing.many.bodies import Bodies, Body
from cubie_planner.packing.packer import pack_bodies

MOST_TIED = 4000
"""Most views and parents of views that this engine takes."""


@frozen
class Group:
    """Buffers that lie inside one another: offsets of its members from its base, and its body."""

    parts: Mapping[str, int]
    body: Body


def large_draft(task: Task, effort: float) -> Draft | None:
    """Return a draft of a large task; None when no room was found, which proves nothing."""
    return first_draft(task, partial(_packed, effort=effort))


def _packed(task: Task, locations: Mapping[str, Place], effort: float) -> Draft | None:
    offsets: dict[str, int] = {}
    parents: dict[str, str] = {}
    tile_bytes = 0
    for place in task.places:
        members = [b for b in task.buffers if locations[b.name] == place]
        found = _groups(members, place is Location.LOCAL)
        if found is None:
            return None
        groups, nested = found
        parents |= nested
        capacity = None if place is Location.LOCAL else task.room(place, locations, tile_bytes)
        bases: list[int] | None = [0] * len(groups)
        if place is not Location.LOCAL and groups:
            bodies = [group.body for group in groups]
            if capacity is not None and capacity < Bodies.of(bodies).bound:
                return None
            enough = (
                (1 << 61 if capacity is None else capacity) if task.any_height_fits(place) else 0
            )
            bases = pack_bodies(bodies, enough, nodes_of(effort))
        if bases is None:
            return None
        for group, base in zip(groups, bases, strict=True):
            offsets.update((name, base + at) for name, at in group.parts.items())
        top = max((offsets[b.name] + b.size_bytes for b in members), default=0)
        if capacity is not None and capacity < top:
            return None
        tile_bytes = top if place == TILE else tile_bytes
    return Draft(locations, offsets, parents)


def _groups(members: Sequence[Buffer], local: bool) -> tuple[list[Group], dict[str, str]] | None:
    """Return the groups of one place; None when some view finds no room."""
    tied = {b.name for b in members if b.alias_required}
    tied |= {a.parent for b in members if b.alias_required for a in b.aliases}
    group_members = [b for b in members if b.name in tied]
    if len(group_members) > MOST_TIED:
        return None
    live = liveness(group_members)
    nested = nest(group_members, live.masks, lambda child, parent: False, local)
    if nested is None:
        return None
    by_name = {b.name: b for b in group_members}
    groups = []
    for group in nested[0]:
        spans = union(_spans(by_name[part.name]) for part in group.parts)
        fixed = -1 if group.fixed is None else group.fixed
        body = Body(group.root.size_bytes, spans, group.modulus, group.residue, fixed)
        groups.append(Group({part.name: part.start for part in group.parts}, body))
    for buffer in members:
        if buffer.name not in tied:
            fixed = -1 if buffer.offset is None else buffer.offset
            body = Body(buffer.size_bytes, _spans(buffer), buffer.alignment, 0, fixed)
            groups.append(Group({buffer.name: 0}, body))
    return groups, nested[1]


def _spans(buffer: Buffer) -> Spans:
    return (buffer.hull,) if buffer.always_alive else tuple(buffer.lifetime or ())
