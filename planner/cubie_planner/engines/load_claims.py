"""What load alone proves: the bytes that must be alive at once, wherever they are put."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cubie_planner.declarations.buffers import Buffer
from cubie_planner.declarations.lifetimes import peak_load
from cubie_planner.declarations.places import Location, Place
from cubie_planner.engines.allowed_locations import cheapest_places
from cubie_planner.engines.draft import Claim
from cubie_planner.engines.lower_bounds import load_bound, local_bound
from cubie_planner.engines.task import Task
from cubie_planner.plans.answer import COST, PRIVATE, level_of


def load_claims(task: Task) -> list[Claim]:
    """Return what load alone proves, from what must be where at the lowest cost."""
    if task.is_large:
        return _claims_of_many(task)
    cost = task.extra
    surely: dict[Place, list[Buffer]] = {place: [] for place in task.places}
    possibly: dict[Place, list[Buffer]] = {place: [] for place in task.places}
    for members, prices in task.groups:
        places = cheapest_places(prices)
        cost += min(prices.values(), default=0)
        for place in places:
            possibly[place] += members
        if len(places) == 1:
            surely[places[0]] += members
    masks = task.live.masks
    own = local_bound(surely[Location.LOCAL], masks, possibly[Location.LOCAL])
    heights = {place: load_bound(surely[place], masks, possibly[place]) for place in task.arenas}
    return _claims(cost, own, heights)


def _claims(cost: int, own: int, heights: Mapping[Place, int]) -> list[Claim]:
    """Return what is proven of plans of that cost: bytes of arrays of their own, and of arenas."""
    given = {COST: cost}
    bounds = {level_of(place): height for place, height in heights.items()}
    bounds[PRIVATE] += own
    return [Claim(COST, cost), *(Claim(level, bound, given) for level, bound in bounds.items())]


def _claims_of_many(task: Task) -> list[Claim]:
    """Return what load alone proves, by a sweep over lifetimes."""
    cost = task.extra
    surely: dict[Place, list[Buffer]] = {place: [] for place in task.places}
    for members, prices in task.groups:
        places = cheapest_places(prices)
        cost += min(prices.values(), default=0)
        if len(places) == 1:
            surely[places[0]] += [b for b in members if not b.aliases]
    own = sum(b.size_bytes for b in surely[Location.LOCAL])
    return _claims(cost, own, {place: _peak_bytes(surely[place]) for place in task.arenas})


def _peak_bytes(buffers: Iterable[Buffer]) -> int:
    return peak_load((buffer, buffer.size_bytes) for buffer in buffers)
