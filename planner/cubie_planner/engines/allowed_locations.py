"""Where each buffer may go and what each choice costs: pins, policy, views.

A pin is hard. A policy decides what has no pin: "local", "shared" and "global" are hard too,
except that a buffer tied to a pinned one by a required alias may follow that pin.
"auto" leaves every allowed location open at the price the cost model gives it.
What a place costs is the same for a pinned buffer: a pin takes choices away, no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from cubie_planner.declarations.buffers import Buffer
from cubie_planner.declarations.places import OWN_PLACES, Location, Place, first_choice, rank
from cubie_planner.declarations.problem import Problem

if TYPE_CHECKING:
    from cubie_planner.gpu.objective import Objective

BY_POLICY = "buffers that are elsewhere than the policy puts them first"
"""Unit of the prices under a policy that names a place."""

Domain = Mapping[Place, int]
"""Allowed locations of a buffer, each with its cost, cheapest first."""

PREFERENCE = {
    "local": (Location.LOCAL, Location.LOCAL_PERSISTENT, Location.SHARED, Location.GLOBAL),
    "shared": (Location.SHARED, Location.LOCAL, Location.LOCAL_PERSISTENT, Location.GLOBAL),
    "global": (Location.GLOBAL, Location.LOCAL, Location.LOCAL_PERSISTENT, Location.SHARED),
}


def domains(problem: Problem, objective: Objective | None = None) -> dict[str, Domain]:
    """Return the domain of every buffer that needs bytes.

    Parameters
    ----------
    problem : Problem
    objective : Objective, optional
        The prices of "auto"; without it every local place is cheapest.
    """
    if isinstance(problem.policy, str) and problem.policy != "auto":
        found = _by_preference(problem, PREFERENCE[problem.policy])
    else:
        named = problem.policy if isinstance(problem.policy, Mapping) else {}
        found = {}
        for buffer in problem.buffers:
            if buffer.size_bytes == 0:
                continue
            prices = _prices(buffer, objective)
            if buffer.pin is not None:
                prices = {buffer.pin: prices[buffer.pin]}
            elif buffer.name in named:
                place = buffer.resolve(named[buffer.name])
                prices = {place: prices[place]}
            found[buffer.name] = prices
    return {name: dict(sorted(d.items(), key=_by_cost)) for name, d in found.items()}


def cheapest_places(prices: Domain) -> list[Place]:
    """Return the places of least price."""
    return [place for place, price in prices.items() if price == min(prices.values())]


def _by_cost(item: tuple[Place, int]) -> tuple[int, tuple[int, str]]:
    return item[1], rank(item[0])


def _by_preference(problem: Problem, order: tuple[Location, ...]) -> dict[str, Domain]:
    """Give each buffer its first allowed location; views and their parents may follow a pin."""
    forced = _forced_by_views(problem)
    found: dict[str, Domain] = {}
    for buffer in problem.buffers:
        if buffer.size_bytes == 0:
            continue
        first = first_choice(order, buffer.locations)
        if buffer.pin is not None:
            away = buffer.pin is not first and not buffer.alias_required
            found[buffer.name] = {buffer.pin: int(away)}
        elif buffer.alias_required:
            found[buffer.name] = dict.fromkeys(buffer.locations, 0)
        else:
            others = forced.get(buffer.name, set()) & buffer.locations - {first}
            found[buffer.name] = {first: 0, **dict.fromkeys(others, 1)}
    return found


def _forced_by_views(problem: Problem) -> dict[str, set[Place]]:
    """Return, per buffer tied by required aliases, the locations its group insists on."""
    group = {buffer.name: buffer.name for buffer in problem.buffers}

    def find(name: str) -> str:
        while group[name] != name:
            group[name] = group[group[name]]
            name = group[name]
        return name

    views = [b for b in problem.buffers if b.alias_required and b.size_bytes]
    for view in views:
        for alias in view.aliases:
            group[find(view.name)] = find(alias.parent)
    insisted: dict[str, set[Place]] = {}
    for buffer in problem.buffers:
        places = {buffer.pin} if buffer.pin is not None else buffer.locations
        if len(places) == 1 or buffer.alias_required:
            insisted.setdefault(find(buffer.name), set()).update(
                () if places >= OWN_PLACES else places
            )
    tied = {v.name for v in views} | {alias.parent for v in views for alias in v.aliases}
    return {name: insisted.get(find(name), set()) for name in tied}


def _prices(buffer: Buffer, objective: Objective | None) -> Domain:
    """Return what each allowed location costs under "auto"."""
    if buffer.alias_required and objective is None:
        return dict.fromkeys(buffer.locations, 0)
    if objective is not None:
        return objective.costs[buffer.name]
    ranks: list[Place] = list(PREFERENCE["local"])
    return {p: ranks.index(p) if p in ranks else len(ranks) for p in buffer.locations}
