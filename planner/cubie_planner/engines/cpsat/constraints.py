"""The families of constraints of the joint model, one function each: they take its variables."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence

from cubie_planner.basics import round_up
from cubie_planner.declarations.buffers import Buffer
from cubie_planner.declarations.places import OWN_PLACES, TILE, Location, Place, Pool, Scope
from cubie_planner.engines.cpsat.solver import Literal, Terms, negated
from cubie_planner.engines.cpsat.variables import Variables
from cubie_planner.engines.nesting import alias_holds_locally, hosts
from cubie_planner.engines.task import LIMIT, Task


def add_locations(v: Variables) -> None:
    """Every buffer lives in exactly one location of its domain."""
    for buffer in v.task.buffers:
        domain = v.task.domains[buffer.name]
        if v.relaxable:
            _add_relaxable_location(v, buffer)
        elif len(domain) == 1:
            v.place[buffer.name] = dict.fromkeys(domain, v.sat.true)
        else:
            literals = {p: v.sat.boolean() for p in domain}
            v.sat.exactly_one(literals.values())
            v.place[buffer.name] = literals


def _add_relaxable_location(v: Variables, buffer: Buffer) -> None:
    """Pin or policy, and the places that the buffer allows, hold where they are assumed.

    A buffer of which neither is assumed may vanish. One that a view ties to another may
    be anywhere then, so that the other can follow.
    """
    domain, allowed = v.task.domains[buffer.name], buffer.locations
    tied = buffer.name in v.tied
    places = set(allowed if buffer.pin is not None else domain)
    if tied:
        own = OWN_PLACES if buffer.scope is Scope.THREAD else v.task.places
        places = allowed.union(place for place in own if place.scope is buffer.scope)
    literals = {p: v.sat.boolean() for p in v.task.places if p in places}
    v.place[buffer.name] = literals
    v.sat.at_most_one(literals.values())
    bound = set(domain) != allowed
    if bound:
        v.sat.any_of([literals[p] for p in domain], v.demand("pin", buffer.name))
    if tied or buffer.pin is not None or not bound:
        here = [literals[p] for p in v.task.places if p in allowed]
        v.sat.any_of(here, v.demand("allowed", buffer.name))


def add_nesting(v: Variables) -> None:
    """A child lies inside at most one parent, a view inside exactly one, in its location."""
    for buffer in v.task.buffers:
        candidates = hosts(buffer, v.task.by_name, local=False)
        literals = {parent.name: v.sat.boolean() for parent, _ in candidates}
        v.nest[buffer.name] = literals
        if buffer.alias_required:
            v.sat.at_most_one(literals.values())
            for here in v.place[buffer.name].values():
                v.sat.any_of(literals.values(), [here, *v.demand("view", buffer.name)])
        elif len(literals) > 1:
            v.sat.at_most_one(literals.values())
        for parent, literal in literals.items():
            _add_same_location(v, buffer, v.task.by_name[parent], literal)


def _add_same_location(v: Variables, child: Buffer, parent: Buffer, literal: Literal) -> None:
    """The same place for both; not every alias holds among local arrays."""
    alias = next(alias for alias in child.aliases if alias.parent == parent.name)
    holds_locally = alias_holds_locally(child, parent, alias)
    for place, here in v.place[child.name].items():
        there = v.place[parent.name].get(place)
        if there is None or (place is Location.LOCAL and not holds_locally):
            v.sat.implies(literal, negated(here))
        else:
            v.sat.any_of([there], [here, literal])
    v.sat.any_of(v.place[child.name].values(), [literal])


def add_offsets(v: Variables) -> None:
    """Offsets are multiples of the alignment; pinned ones are fixed; local arrays stand apart."""
    reach = arena_reach(v.task, v.tied)
    base = local_bases(v.task, v.tied)
    local_end = max((base[name] + v.task.by_name[name].size_bytes for name in base), default=0)
    for buffer in v.task.buffers:
        places = v.place[buffer.name]
        end = max(reach.get(p, local_end) for p in places) + buffer.size_bytes
        top = max(end, local_end if Location.LOCAL in places else 0)
        unit = buffer.alignment
        offset = v.offset[buffer.name] = v.sat.integer(0, top // unit)
        if buffer.offset is not None and buffer.pin is not None:
            start = buffer.offset // unit
            pinned = [*v.demand("offset", buffer.name), places[buffer.pin]]
            v.sat.linear([(1, offset)], start, start, pinned)
        if Location.LOCAL in places:
            start = base.get(buffer.name, 0) // unit
            v.sat.linear([(1, offset)], start, start, [v.top(buffer.name, Location.LOCAL)])


def arena_reach(task: Task, anywhere: Collection[str] = ()) -> dict[Place, int]:
    """Return an offset that no sensible packing of an arena exceeds: everything stacked.

    Those named in `anywhere` may be in every place, whatever they declare.
    """
    reach = {}
    for place in task.arenas:
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
            end += round_up(buffer.size_bytes, widest)
    return base


def add_containment(v: Variables) -> None:
    """A nested child lies within its parent's bytes, at the fixed sub-offset if there is one."""
    for buffer in v.task.buffers:
        for parent, fixed in hosts(buffer, v.task.by_name, local=False):
            slack = parent.size_bytes - buffer.size_bytes
            lowest, highest = (0, slack) if fixed is None else (fixed, fixed)
            inside = [v.nest[buffer.name][parent.name]]
            v.sat.linear(_distance(v, parent, buffer), lowest, highest, inside)


def _distance(v: Variables, first: Buffer, second: Buffer) -> Terms:
    """Return the bytes from the start of `first` to the start of `second`."""
    ahead = (second.alignment, v.offset[second.name])
    return [ahead, (-first.alignment, v.offset[first.name])]


def add_no_overlap(v: Variables) -> None:
    """Buffers that lie inside no other are disjoint where they live together in an arena."""
    for place in v.task.arenas:
        members = [b.name for b in v.task.buffers if place in v.place[b.name]]
        intervals: dict[str, int] = {}
        for _, live in v.task.live.peak_sections(members):
            for name in live:
                if name not in intervals:
                    intervals[name] = _interval(v, v.task.by_name[name], place)
            if len(live) > 1:
                v.sat.no_overlap(intervals[name] for name in live)


def _interval(v: Variables, buffer: Buffer, place: Place) -> int:
    present = v.top(buffer.name, place)
    return v.sat.interval(buffer.alignment, v.offset[buffer.name], buffer.size_bytes, present)


def add_nested_disjoint(v: Variables) -> None:
    """Children are disjoint from what their parents do not keep away from them.

    A parent keeps every other buffer away while it is alive, except what lies inside
    it too. So a child needs rows of its own against possible siblings, and against
    buffers it lives with while some candidate parent does not.
    """
    buffers = v.task.buffers
    for first, second in itertools.combinations(buffers, 2):
        siblings = bool(v.reach[first.name] & v.reach[second.name])
        exposed = _outlives_host(v, first, second) or _outlives_host(v, second, first)
        together = v.task.live.masks[first.name] & v.task.live.masks[second.name]
        if not together or not (siblings or exposed):
            continue
        places = [
            p
            for p in v.place[first.name]
            if p in v.place[second.name] and (siblings or p is not Location.LOCAL)
        ]
        if places:
            _add_disjoint(v, first, second, places)


def _outlives_host(v: Variables, child: Buffer, other: Buffer) -> bool:
    masks = v.task.live.masks
    return any(
        masks[child.name] & ~masks[parent] & masks[other.name] for parent in v.nest[child.name]
    )


def _add_disjoint(v: Variables, first: Buffer, second: Buffer, places: Sequence[Place]) -> None:
    below, above = v.sat.boolean(), v.sat.boolean()
    v.stacked += [(below, first.name, second.name), (above, second.name, first.name)]
    v.sat.linear(_distance(v, first, second), first.size_bytes, None, [below])
    v.sat.linear(_distance(v, second, first), second.size_bytes, None, [above])
    related = inside_literals(v, first.name, second.name)
    related += inside_literals(v, second.name, first.name)
    for place in places:
        here, there = v.place[first.name][place], v.place[second.name][place]
        v.sat.any_of([below, above, *related], [here, there])


def inside_literals(v: Variables, child: str, ancestor: str) -> list[Literal]:
    """Return literals of which each implies that `child` lies inside `ancestor`; one is
    true whenever it does."""
    key = (child, ancestor)
    if key not in v.within:
        found = []
        for parent, literal in v.nest[child].items():
            if parent == ancestor:
                found.append(literal)
            elif ancestor in v.reach[parent]:
                for further in inside_literals(v, parent, ancestor):
                    both = v.sat.boolean()
                    v.sat.implies(both, literal)
                    v.sat.implies(both, further)
                    v.sat.any_of([both], [literal, further])
                    found.append(both)
        v.within[key] = found if len(found) <= 1 else [_any(v, found)]
    return v.within[key]


def _any(v: Variables, literals: Sequence[Literal]) -> Literal:
    """Return a literal that is true exactly when one of these is: ways do not multiply."""
    some = v.sat.boolean()
    for literal in literals:
        v.sat.implies(literal, some)
    v.sat.any_of(literals, [some])
    return some


def add_heights(v: Variables) -> None:
    """An arena has a height, at least the end of every pinned offset in it."""
    reach = arena_reach(v.task, v.tied)
    for place in v.task.arenas:
        members = [b for b in v.task.buffers if place in v.place[b.name]]
        if members:
            v.height[place] = v.sat.integer(0, reach[place])
        for buffer in members:
            if buffer.offset is not None and buffer.pin == place and not v.relaxable:
                v.sat.linear([(1, v.height[place])], buffer.offset + buffer.size_bytes)


def add_ends(v: Variables) -> None:
    """The height of an arena is at least every end in it."""
    for place, height in v.height.items():
        for buffer in v.task.buffers:
            if place in v.place[buffer.name]:
                above = [(1, height), (-buffer.alignment, v.offset[buffer.name])]
                v.sat.linear(above, buffer.size_bytes, None, [v.top(buffer.name, place)])


def add_load_rows(v: Variables) -> None:
    """In every section the bytes alive fit under the height, and inside each parent.

    Implied by what comes before, but far stronger. A nested buffer counts where its
    parent, and everything that may hold the parent, is dead.
    """
    for place, height in v.height.items():
        members = [b.name for b in v.task.buffers if place in v.place[b.name]]
        for section, live in v.task.live.peak_sections(members):
            load = [(v.task.by_name[n].size_bytes, v.top(n, place)) for n in live]
            for name in live:
                size = v.task.by_name[name].size_bytes
                load += [(size, v.inside(name, p, place)) for p in _exposed(v, name, section)]
            v.sat.linear([*load, (-1, height)], None, 0)
    for parent in v.task.buffers:
        children = [b.name for b in v.task.buffers if parent.name in v.nest[b.name]]
        if sum(v.task.by_name[name].size_bytes for name in children) <= parent.size_bytes:
            continue
        for _, live in v.task.live.peak_sections(children):
            load = [(v.task.by_name[n].size_bytes, v.nest[n][parent.name]) for n in live]
            v.sat.linear(load, None, parent.size_bytes)


def _exposed(v: Variables, name: str, section: int) -> list[str]:
    """Return the candidate parents of `name` that are dead in a section, with all above them."""
    return [
        parent
        for parent in v.nest[name]
        if not any(v.task.live.masks[p] >> section & 1 for p in (parent, *v.reach[parent]))
    ]


def add_capacity(v: Variables) -> None:
    """The slices of all runs of a block fit above its tiles under the limit, padding included.

    The padding depends on the widest alignment that is shared, so there is one row per
    alignment, enforced when that is the widest. Pools keep their own capacities.
    """
    for pool, height in v.height.items():
        if isinstance(pool, Pool) and pool.capacity_bytes is not None:
            assumed = v.demand("capacity", pool.name)
            v.sat.linear([(1, height)], None, pool.capacity_bytes, assumed)
    most = v.task.problem.limits.max_shared_bytes
    tiles = v.height.get(TILE)
    if tiles is not None and most is not None:
        v.sat.linear([(1, tiles)], None, most, v.demand("limit", LIMIT))
    height = v.height.get(Location.SHARED)
    if height is None or v.task.capacity(1) is None:
        return
    members = [b for b in v.task.buffers if Location.SHARED in v.place[b.name]]
    units = sorted({b.alignment for b in members})
    assumed = v.demand("limit", LIMIT)
    for unit in units:
        wider = [v.place[b.name][Location.SHARED] for b in members if b.alignment > unit]
        same = [v.place[b.name][Location.SHARED] for b in members if b.alignment == unit]
        if v.sat.true in wider:
            continue
        capacity = v.task.capacity(unit) or 0
        for literal in [v.sat.true] if v.sat.true in same else same:
            when = [*assumed, literal, *map(negated, wider)]
            v.sat.linear([(1, height)], None, capacity, when)
            if tiles is not None and most is not None:
                _add_slices_above_tiles(v, unit, most, when)


def _add_slices_above_tiles(v: Variables, unit: int, most: int, when: list[Literal]) -> None:
    """Tiles, rounded up to where slices may start, and a stride for every run fit together."""
    limits = v.task.problem.limits
    height, tiles = v.height[Location.SHARED], v.height[TILE]
    start = v.sat.integer(0, -(-most // unit))
    v.sat.linear([(unit, start), (-1, tiles)], 0, None, when)
    if limits.block_size == 1:
        v.sat.linear([(unit, start), (1, height)], None, most, when)
        return
    step = max(4, unit)
    words = v.sat.integer(0, most // step + 1)
    if limits.pad_banks:  # an odd number of units: 2 * halves + 1
        halves = words
        v.sat.linear([(2 * step, halves), (-1, height)], -step, None, when)
        block = [(2 * step * limits.block_size, halves), (unit, start)]
        v.sat.linear(block, None, most - step * limits.block_size, when)
        return
    v.sat.linear([(step, words), (-1, height)], 0, None, when)
    v.sat.linear([(step * limits.block_size, words), (unit, start)], None, most, when)


def add_local_capacity(v: Variables) -> None:
    """Arrays of their own and the persistent arena fit together under the task's cap of them."""
    if v.task.local_cap is None or v.relaxable:
        return
    own = v.task.may_be(Location.LOCAL)
    terms = [(b.size_bytes, v.top(b.name, Location.LOCAL)) for b in own]
    arena = v.height.get(Location.LOCAL_PERSISTENT)
    terms += [] if arena is None else [(1, arena)]
    v.sat.linear(terms, None, v.task.local_cap)


def moved_literals(v: Variables) -> list[Literal]:
    """Return, per buffer of the previous plan, a literal that is true when it moved."""
    moved = []
    for name, (where, start) in v.task.problem.previous.items():
        if name not in v.place:
            continue
        literal = v.sat.boolean()
        moved.append(literal)
        here = v.place[name].get(where)
        unit = v.task.by_name[name].alignment
        if here is None or (start is not None and start % unit):
            v.sat.any_of([literal])
            continue
        v.sat.any_of([literal, here])
        if start is not None:
            at = start // unit
            v.sat.linear([(1, v.offset[name])], at, at, [negated(literal)])
    return moved
