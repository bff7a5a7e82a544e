"""The families of constraints of the joint model, one function each."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from cubie_planner.declarations.buffers import Buffer, Location
from cubie_planner.engines.cpsat.solver import Literal, Terms, negated
from cubie_planner.engines.nesting import hosts
from cubie_planner.engines.task import LIMIT, Task

if TYPE_CHECKING:
    from cubie_planner.engines.cpsat.joint_model import JointModel

ARENAS = (Location.SHARED, Location.LOCAL_PERSISTENT)


def add_locations(m: JointModel) -> None:
    """Every buffer lives in exactly one location of its domain."""
    for buffer in m.task.buffers:
        domain = m.task.domains[buffer.name]
        if m.relaxable:
            _add_relaxable_location(m, buffer)
        elif len(domain) == 1:
            m.place[buffer.name] = dict.fromkeys(domain, m.sat.true)
        else:
            literals = {p: m.sat.boolean() for p in domain}
            m.sat.exactly_one(literals.values())
            m.place[buffer.name] = literals


def _add_relaxable_location(m: JointModel, buffer: Buffer) -> None:
    """Pin or policy, and the places that the buffer allows, hold where they are assumed.

    A buffer of which neither is assumed may vanish. One that a view ties to another may
    be anywhere then, so that the other can follow.
    """
    domain, allowed = m.task.domains[buffer.name], buffer.locations
    tied = buffer.name in m.tied
    places = set(Location) if tied else set(allowed if buffer.pin else domain)
    literals = {p: m.sat.boolean() for p in Location if p in places}
    m.place[buffer.name] = literals
    m.sat.at_most_one(literals.values())
    bound = set(domain) != allowed
    if bound:
        m.sat.any_of([literals[p] for p in domain], m.demand("pin", buffer.name))
    if tied or buffer.pin or not bound:
        here = [literals[p] for p in Location if p in allowed]
        m.sat.any_of(here, m.demand("allowed", buffer.name))


def add_nesting(m: JointModel) -> None:
    """A child lies inside at most one parent, a view inside exactly one, in its location."""
    for buffer in m.task.buffers:
        candidates = hosts(buffer, m.task.by_name, local=False)
        literals = {parent.name: m.sat.boolean() for parent, _ in candidates}
        m.nest[buffer.name] = literals
        if buffer.alias_required:
            m.sat.at_most_one(literals.values())
            for here in m.place[buffer.name].values():
                m.sat.any_of(literals.values(), [here, *m.demand("view", buffer.name)])
        elif len(literals) > 1:
            m.sat.at_most_one(literals.values())
        for parent, literal in literals.items():
            _add_same_location(m, buffer, m.task.by_name[parent], literal)


def _add_same_location(m: JointModel, child: Buffer, parent: Buffer, literal: Literal) -> None:
    """The same place for both; a local parent must be aligned at least like its child."""
    for place, here in m.place[child.name].items():
        there = m.place[parent.name].get(place)
        misaligned = place is Location.LOCAL and parent.alignment < child.alignment
        if there is None or misaligned:
            m.sat.implies(literal, negated(here))
        else:
            m.sat.any_of([there], [here, literal])
    m.sat.any_of(m.place[child.name].values(), [literal])


def add_offsets(m: JointModel) -> None:
    """Offsets are multiples of the alignment; pinned ones are fixed; local arrays stand apart."""
    reach = arena_reach(m.task, m.tied)
    base = local_bases(m.task, m.tied)
    local_end = max((base[name] + m.task.by_name[name].size_bytes for name in base), default=0)
    for buffer in m.task.buffers:
        places = m.place[buffer.name]
        end = max(reach.get(p, local_end) for p in places) + buffer.size_bytes
        top = max(end, local_end if Location.LOCAL in places else 0)
        unit = buffer.alignment
        offset = m.offset[buffer.name] = m.sat.integer(0, top // unit)
        if buffer.offset is not None and buffer.pin is not None:
            start = buffer.offset // unit
            pinned = [*m.demand("offset", buffer.name), places[buffer.pin]]
            m.sat.linear([(1, offset)], start, start, pinned)
        if Location.LOCAL in places:
            start = base.get(buffer.name, 0) // unit
            m.sat.linear([(1, offset)], start, start, [m.top(buffer.name, Location.LOCAL)])


def arena_reach(task: Task, anywhere: Collection[str] = ()) -> dict[Location, int]:
    """Return an offset that no sensible packing of an arena exceeds: everything stacked.

    Those named in `anywhere` may be in every place, whatever they declare.
    """
    reach = {}
    for place in ARENAS:
        members = [b for b in task.buffers if place in b.locations or b.name in anywhere]
        fixed = max((b.offset + b.size_bytes for b in members if b.offset is not None), default=0)
        stacked = sum(b.size_bytes + b.alignment for b in members)
        reach[place] = fixed + stacked
    return reach


def local_bases(task: Task, anywhere: Collection[str] = ()) -> dict[str, int]:
    """Return where on the virtual line each local array starts that aliasing concerns."""
    concerned = {a.parent for b in task.buffers for a in b.aliases}
    concerned |= {b.name for b in task.buffers if b.aliases}
    widest = max((b.alignment for b in task.buffers), default=1)
    base, end = {}, 0
    for buffer in task.buffers:
        local = Location.LOCAL in buffer.locations or buffer.name in anywhere
        if buffer.name in concerned and local:
            base[buffer.name] = end
            end += -(-buffer.size_bytes // widest) * widest
    return base


def add_containment(m: JointModel) -> None:
    """A nested child lies within its parent's bytes, at the fixed sub-offset if there is one."""
    for buffer in m.task.buffers:
        for parent, fixed in hosts(buffer, m.task.by_name, local=False):
            slack = parent.size_bytes - buffer.size_bytes
            lowest, highest = (0, slack) if fixed is None else (fixed, fixed)
            inside = [m.nest[buffer.name][parent.name]]
            m.sat.linear(_distance(m, parent, buffer), lowest, highest, inside)


def _distance(m: JointModel, first: Buffer, second: Buffer) -> Terms:
    """Return the bytes from the start of `first` to the start of `second`."""
    ahead = (second.alignment, m.offset[second.name])
    return [ahead, (-first.alignment, m.offset[first.name])]


def add_no_overlap(m: JointModel) -> None:
    """Buffers that lie inside no other are disjoint where they live together in an arena."""
    for place in ARENAS:
        members = [b.name for b in m.task.buffers if place in m.place[b.name]]
        intervals: dict[str, int] = {}
        for _, live in m.task.live.peak_sections(members):
            for name in live:
                if name not in intervals:
                    intervals[name] = _interval(m, m.task.by_name[name], place)
            if len(live) > 1:
                m.sat.no_overlap(intervals[name] for name in live)


def _interval(m: JointModel, buffer: Buffer, place: Location) -> int:
    present = m.top(buffer.name, place)
    return m.sat.interval(buffer.alignment, m.offset[buffer.name], buffer.size_bytes, present)


def add_nested_disjoint(m: JointModel) -> None:
    """Children are disjoint from what their parents do not keep away from them.

    A parent keeps every other buffer away while it is alive, except what lies inside
    it too. So a child needs rows of its own against possible siblings, and against
    buffers it lives with while some candidate parent does not.
    """
    buffers = m.task.buffers
    for first, second in itertools.combinations(buffers, 2):
        siblings = bool(m.reach[first.name] & m.reach[second.name])
        exposed = _outlives_host(m, first, second) or _outlives_host(m, second, first)
        together = m.task.live.masks[first.name] & m.task.live.masks[second.name]
        if not together or not (siblings or exposed):
            continue
        places = [
            p
            for p in m.place[first.name]
            if p in m.place[second.name] and (siblings or p in ARENAS)
        ]
        if places:
            _add_disjoint(m, first, second, places)


def _outlives_host(m: JointModel, child: Buffer, other: Buffer) -> bool:
    masks = m.task.live.masks
    return any(
        masks[child.name] & ~masks[parent] & masks[other.name] for parent in m.nest[child.name]
    )


def _add_disjoint(m: JointModel, first: Buffer, second: Buffer, places: Sequence[Location]) -> None:
    below, above = m.sat.boolean(), m.sat.boolean()
    m.stacked += [(below, first.name, second.name), (above, second.name, first.name)]
    m.sat.linear(_distance(m, first, second), first.size_bytes, None, [below])
    m.sat.linear(_distance(m, second, first), second.size_bytes, None, [above])
    related = inside_literals(m, first.name, second.name)
    related += inside_literals(m, second.name, first.name)
    for place in places:
        here, there = m.place[first.name][place], m.place[second.name][place]
        m.sat.any_of([below, above, *related], [here, there])


def inside_literals(m: JointModel, child: str, ancestor: str) -> list[Literal]:
    """Return literals of which each implies that `child` lies inside `ancestor`; one is
    true whenever it does."""
    key = (child, ancestor)
    if key not in m.within:
        found = []
        for parent, literal in m.nest[child].items():
            if parent == ancestor:
                found.append(literal)
            elif ancestor in m.reach[parent]:
                for further in inside_literals(m, parent, ancestor):
                    both = m.sat.boolean()
                    m.sat.implies(both, literal)
                    m.sat.implies(both, further)
                    m.sat.any_of([both], [literal, further])
                    found.append(both)
        m.within[key] = found if len(found) <= 1 else [_any(m, found)]
    return m.within[key]


def _any(m: JointModel, literals: Sequence[Literal]) -> Literal:
    """Return a literal that is true exactly when one of these is: ways do not multiply."""
    some = m.sat.boolean()
    for literal in literals:
        m.sat.implies(literal, some)
    m.sat.any_of(literals, [some])
    return some


def add_heights(m: JointModel) -> None:
    """An arena has a height, at least the end of every pinned offset in it."""
    reach = arena_reach(m.task, m.tied)
    for place in ARENAS:
        members = [b for b in m.task.buffers if place in m.place[b.name]]
        if members:
            m.height[place] = m.sat.integer(0, reach[place])
        for buffer in members:
            if buffer.offset is not None and buffer.pin is place and not m.relaxable:
                m.sat.linear([(1, m.height[place])], buffer.offset + buffer.size_bytes)


def add_ends(m: JointModel) -> None:
    """The height of an arena is at least every end in it."""
    for place, height in m.height.items():
        for buffer in m.task.buffers:
            if place in m.place[buffer.name]:
                above = [(1, height), (-buffer.alignment, m.offset[buffer.name])]
                m.sat.linear(above, buffer.size_bytes, None, [m.top(buffer.name, place)])


def add_load_rows(m: JointModel) -> None:
    """In every section the bytes alive fit under the height, and inside each parent.

    Implied by what comes before, but far stronger. A nested buffer counts where its
    parent, and everything that may hold the parent, is dead.
    """
    for place, height in m.height.items():
        members = [b.name for b in m.task.buffers if place in m.place[b.name]]
        for section, live in m.task.live.peak_sections(members):
            load = [(m.task.by_name[n].size_bytes, m.top(n, place)) for n in live]
            for name in live:
                size = m.task.by_name[name].size_bytes
                load += [(size, m.inside(name, p, place)) for p in _exposed(m, name, section)]
            m.sat.linear([*load, (-1, height)], None, 0)
    for parent in m.task.buffers:
        children = [b.name for b in m.task.buffers if parent.name in m.nest[b.name]]
        if sum(m.task.by_name[name].size_bytes for name in children) <= parent.size_bytes:
            continue
        for _, live in m.task.live.peak_sections(children):
            load = [(m.task.by_name[n].size_bytes, m.nest[n][parent.name]) for n in live]
            m.sat.linear(load, None, parent.size_bytes)


def _exposed(m: JointModel, name: str, section: int) -> list[str]:
    """Return the candidate parents of `name` that are dead in a section, with all above them."""
    return [
        parent
        for parent in m.nest[name]
        if not any(m.task.live.masks[p] >> section & 1 for p in (parent, *m.reach[parent]))
    ]


def add_capacity(m: JointModel) -> None:
    """The slices of all runs of a block fit under the limit, padding included.

    The padding depends on the widest alignment that is shared, so there is one row per
    alignment, enforced when that is the widest.
    """
    height = m.height.get(Location.SHARED)
    if height is None or m.task.capacity(1) is None:
        return
    members = [b for b in m.task.buffers if Location.SHARED in m.place[b.name]]
    units = sorted({b.alignment for b in members})
    assumed = m.demand("limit", LIMIT)
    for unit in units:
        wider = [m.place[b.name][Location.SHARED] for b in members if b.alignment > unit]
        same = [m.place[b.name][Location.SHARED] for b in members if b.alignment == unit]
        if m.sat.true in wider:
            continue
        capacity = m.task.capacity(unit) or 0
        for literal in [m.sat.true] if m.sat.true in same else same:
            when = [*assumed, literal, *map(negated, wider)]
            m.sat.linear([(1, height)], None, capacity, when)
