"""What load alone proves: the bytes that must be alive at once, wherever they are put."""

from __future__ import annotations

from collections.abc import Iterable

from cubie_planner.declarations.buffers import Buffer, Location
from cubie_planner.declarations.lifetimes import peak_load
from cubie_planner.engines.allowed_locations import cheapest_places
from cubie_planner.engines.draft import Claim
from cubie_planner.engines.lower_bounds import load_bound, local_bound
from cubie_planner.engines.task import Task
from cubie_planner.plans.answer import COST, IN_GLOBAL, PRIVATE, SHARED


def load_claims(task: Task) -> list[Claim]:
    """Return what load alone proves, from what must be where at the lowest cost."""
    if task.is_large:
        return _claims_of_many(task)
    cost = task.extra
    surely: dict[Location, list[Buffer]] = {place: [] for place in Location}
    possibly: dict[Location, list[Buffer]] = {place: [] for place in Location}
    for members, prices in task.groups:
        places = cheapest_places(prices)
        cost += min(prices.values(), default=0)
        for place in places:
            possibly[place] += members
        if len(places) == 1:
            surely[places[0]] += members
    masks = task.live.masks
    local, arena, shared = Location.LOCAL, Location.LOCAL_PERSISTENT, Location.SHARED
    private = local_bound(surely[local], masks, possibly[local])
    private += load_bound(surely[arena], masks, possibly[arena])
    top = load_bound(surely[shared], masks, possibly[shared])
    in_global = Location.GLOBAL
    outside = load_bound(surely[in_global], masks, possibly[in_global])
    return _claims(cost, top, private, outside)


def _claims(cost: int, shared: int, private: int, in_global: int) -> list[Claim]:
    """Return what is proven of plans of that cost."""
    given = {COST: cost}
    bounds = {SHARED: shared, PRIVATE: private, IN_GLOBAL: in_global}
    return [Claim(COST, cost), *(Claim(level, bound, given) for level, bound in bounds.items())]


def _claims_of_many(task: Task) -> list[Claim]:
    """Return what load alone proves, by a sweep over lifetimes."""
    cost = task.extra
    surely: dict[Location, list[Buffer]] = {place: [] for place in Location}
    for members, prices in task.groups:
        places = cheapest_places(prices)
        cost += min(prices.values(), default=0)
        if len(places) == 1:
            surely[places[0]] += [b for b in members if not b.aliases]
    private = sum(b.size_bytes for b in surely[Location.LOCAL])
    private += _peak_bytes(surely[Location.LOCAL_PERSISTENT])
    shared, in_global = _peak_bytes(surely[Location.SHARED]), _peak_bytes(surely[Location.GLOBAL])
    return _claims(cost, shared, private, in_global)


def _peak_bytes(buffers: Iterable[Buffer]) -> int:
    return peak_load((buffer, buffer.size_bytes) for buffer in buffers)
