"""The fast path: cheapest locations, first-fit packing, bounds by load.

It proves optimality whenever the packing meets the load bound, which is the usual
case for kernels, and then nothing heavier is ever imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from attrs import evolve

from cubie_planner.declarations.buffers import Buffer
from cubie_planner.declarations.places import TILE, Location, Place
from cubie_planner.engines.allowed_locations import PREFERENCE, Domain, cheapest_places
from cubie_planner.engines.draft import Draft
from cubie_planner.engines.first_fit import Arrangement, pack_arena, pack_local
from cubie_planner.engines.task import Task

Packer = Callable[[Task, Mapping[str, Place]], Draft | None]
"""Places the buffers of a task where they are told to be; None when it finds no room."""


def quick(task: Task) -> Draft | None:
    """Return what first fit makes of the locations that are worth trying; None for nothing."""
    return first_draft(task, _packed_by_first_fit)


def first_draft(task: Task, pack: Packer) -> Draft | None:
    """Return a draft with the cheapest locations, or else recommended, or else local ones.

    None when `pack` finds room for none of them; that proves nothing.
    """
    for preference in _preferences(task):
        locations = _cheapest(task, preference)
        draft = None if locations is None else pack(task, locations)
        if draft is not None and draft.has_local_room(task):
            return draft
    return None


def _preferences(task: Task) -> Iterator[Mapping[str, Place]]:
    yield {}
    if task.recommended:
        yield task.recommended
        yield {
            name: next(
                (place for place in PREFERENCE["local"] if place in domain), next(iter(domain))
            )
            for name, domain in task.domains.items()
        }


def _packed_by_first_fit(task: Task, locations: Mapping[str, Place]) -> Draft | None:
    arrangements: dict[Place, Arrangement] = {}
    for place in task.places:
        members = [b for b in task.buffers if locations[b.name] == place]
        if place is Location.LOCAL:
            found = pack_local(members, task.live.masks)
        else:
            tiles = arrangements.get(TILE)
            room = task.room(place, locations, 0 if tiles is None else tiles.height)
            found = pack_arena(members, task.live.masks, room)
        if found is None:
            return None
        arrangements[place] = found
    return Draft(
        locations,
        {name: offset for a in arrangements.values() for name, offset in a.offsets.items()},
        {child: parent for a in arrangements.values() for child, parent in a.parents.items()},
    )


def cheapest_only(task: Task) -> Task:
    """Return `task` without the locations that no plan of least cost uses.

    Only for a task of which a plan reaches the bound of the cost.
    """
    domains: dict[str, Domain] = {}
    for members, prices in task.groups:
        places = cheapest_places(prices)
        for buffer in members:
            domains[buffer.name] = {place: task.domains[buffer.name][place] for place in places}
    return evolve(task, domains={b.name: domains[b.name] for b in task.buffers})


def _cheapest(task: Task, preference: Mapping[str, Place]) -> dict[str, Place] | None:
    """Return the preferred, else the cheapest, location of every buffer.

    A view goes where a parent of it goes. None when the views allow no such choice.
    """
    chosen: dict[str, Place] = {}
    waiting: list[tuple[tuple[Buffer, ...], Domain]] = []
    for members, prices in task.groups:
        if not prices:
            return None
        if members[0].alias_required:
            waiting.append((members, prices))
            continue
        liked = [p for p in prices if any(preference.get(b.name) == p for b in members)]
        place = min(liked or prices, key=lambda p: prices[p])
        chosen.update((b.name, place) for b in members)
    while waiting:
        members, prices = waiting.pop(0)
        parents = [a.parent for a in members[0].aliases if a.parent in task.by_name]
        places = [chosen[p] for p in parents if p in chosen and chosen[p] in prices]
        if places:
            chosen.update((b.name, places[0]) for b in members)
        elif any(p not in chosen for p in parents):
            waiting.append((members, prices))
        else:
            return None
    return chosen
