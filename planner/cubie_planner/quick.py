"""The fast path: cheapest locations, first-fit packing, bounds by load.

It proves optimality whenever the packing meets the load bound, which is the usual
case for kernels, and then nothing heavier is ever imported.
"""

from __future__ import annotations

from collections.abc import Mapping

from cubie_planner.buffers import Buffer, Location
from cubie_planner.draft import COST, MOVES, PRIVATE, SHARED, Draft, Task
from cubie_planner.greedy import Arrangement, load_bound, local_bound, pack_arena, pack_local


def quick(task: Task) -> Draft | None:
    """Return a draft with the cheapest locations, or else with the recommended ones.

    None when first fit finds room for neither; that proves nothing.
    """
    for preference in ({}, task.recommended):
        locations = _cheapest(task, preference)
        draft = None if locations is None else _draft(task, locations)
        if draft is not None or not task.recommended:
            return draft
    return None


def _draft(task: Task, locations: dict[str, Location]) -> Draft | None:
    arrangements = {}
    for place in Location:
        members = [b for b in task.buffers if locations[b.name] is place]
        found = _arrange(task, place, members, locations)
        if found is None:
            return None
        arrangements[place] = found
    return Draft(
        locations,
        {name: offset for a in arrangements.values() for name, offset in a.offsets.items()},
        {child: parent for a in arrangements.values() for child, parent in a.parents.items()},
        bounds(task),
    )


def _arrange(
    task: Task, place: Location, members: list[Buffer], locations: dict[str, Location]
) -> Arrangement | None:
    if place is Location.LOCAL:
        return pack_local(members, task.live.masks)
    capacity = task.run_capacity(locations) if place is Location.SHARED else None
    return pack_arena(members, task.live.masks, capacity)


def bounds(task: Task) -> dict[str, int]:
    """Return a lower bound per level, from what must be where at the lowest cost."""
    cheapest = {name: min(domain.values()) for name, domain in task.domains.items()}

    def surely(place: Location) -> list[Buffer]:
        return [
            b
            for b in task.buffers
            if [p for p, cost in task.domains[b.name].items() if cost == cheapest[b.name]]
            == [place]
        ]

    private = local_bound(surely(Location.LOCAL), task.may_be(Location.LOCAL))
    arena = surely(Location.LOCAL_PERSISTENT)
    private += load_bound(arena, task.live.masks, task.may_be(Location.LOCAL_PERSISTENT))
    shared = load_bound(surely(Location.SHARED), task.live.masks, task.may_be(Location.SHARED))
    return {COST: sum(cheapest.values()), SHARED: shared, PRIVATE: private, MOVES: 0}


def _cheapest(task: Task, preference: Mapping[str, Location]) -> dict[str, Location] | None:
    """Return the preferred, else the cheapest, location of every buffer.

    A view goes where a parent of it goes. None when the views allow no such choice.
    """
    allowed = {
        name: sorted(domain, key=lambda place: place is not preference.get(name))
        for name, domain in task.domains.items()
    }
    views = [b for b in task.buffers if b.alias_required]
    changed = True
    while changed:
        changed = False
        for view in views:
            hosts = [a.parent for a in view.aliases if a.parent in allowed]
            if len(hosts) != 1:
                continue
            for name, other in ((view.name, hosts[0]), (hosts[0], view.name)):
                kept = [place for place in allowed[name] if place in allowed[other]]
                changed |= len(kept) < len(allowed[name])
                allowed[name] = kept
    if not all(allowed.values()):
        return None
    chosen = {b.name: allowed[b.name][0] for b in task.buffers if not b.alias_required}
    waiting = [view.name for view in views]
    while waiting:
        name = waiting.pop(0)
        hosts = [a.parent for a in task.by_name[name].aliases if a.parent in allowed]
        open_hosts = [host for host in hosts if host not in chosen]
        places = [
            chosen[host] for host in hosts if host in chosen and chosen[host] in allowed[name]
        ]
        if places:
            chosen[name] = places[0]
        elif open_hosts:
            waiting.append(name)
        else:
            return None
    return {b.name: chosen[b.name] for b in task.buffers}
