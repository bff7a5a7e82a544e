"""Which buffers go to global memory where a thread has too little local memory.

Local memory is global memory, interleaved by threads and cached alike: what matters of a
choice is that small buffers stay where they may become registers, and that those that are
read and written most often stay, too. So whole buffers leave, with the views in them, by
accesses per byte; what is small against the excess only leaves if nothing else is left.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from attrs import evolve

from cubie_planner.basics import round_up
from cubie_planner.declarations.places import Location, Place
from cubie_planner.declarations.problem import Problem
from cubie_planner.gpu.footprint import own_bytes
from cubie_planner.gpu.objective import OUTSIDE, Objective
from cubie_planner.gpu.shared_candidates import ViewGroup, view_groups

SMALL = 1 / 64  # of the excess: moving one would hardly help


def with_global_memory(problem: Problem, most: int) -> Problem | None:
    """Return the problem with buffers pinned to global memory, so that all else may be local.

    Parameters
    ----------
    problem : Problem
        With a policy that leaves places open: "auto", or a mapping.
    most : int
        Bytes of local and persistent arrays of a run together.

    Returns
    -------
    Problem or None
        None where too few buffers may be in global memory.
    """
    if problem.names_a_place:
        return None
    groups = [g for g in view_groups(problem) if _may_be_local(g)]
    excess = sum(map(_bytes, groups)) - most
    named = problem.policy if isinstance(problem.policy, Mapping) else {}
    movable = [g for g in groups if _may_leave(g, named)]
    movable.sort(key=lambda g: (_bytes(g) < SMALL * excess, g.density, -_bytes(g), g.root.name))
    leaving: list[ViewGroup] = []
    for group in movable:
        if excess <= 0:
            break
        leaving.append(group)
        excess -= _bytes(group)
    if excess > 0:
        return None
    for group in sorted(leaving, key=lambda g: -g.density):  # those that need not leave after all
        if _bytes(group) <= -excess:
            leaving.remove(group)
            excess += _bytes(group)
    names = {b.name for group in leaving for b in group.members}
    moved = [evolve(b, pin=Location.GLOBAL) if b.name in names else b for b in problem.buffers]
    return evolve(problem, buffers=moved)


def priced_outside(problem: Problem, objective: Objective | None) -> Objective | None:
    """Return prices of one's own, completed for what is pinned to global memory."""
    if objective is None:
        return None
    costs = dict(objective.costs)
    for buffer in problem.buffers:
        prices = costs[buffer.name]
        if buffer.pin is Location.GLOBAL and Location.GLOBAL not in prices:
            costs[buffer.name] = {**prices, Location.GLOBAL: max(prices.values()) + OUTSIDE}
    places: dict[str, Place] = {
        b.name: Location.GLOBAL for b in problem.buffers if b.pin is Location.GLOBAL
    }
    return evolve(objective, costs=costs, recommended={**objective.recommended, **places})


def _may_be_local(group: ViewGroup) -> bool:
    own = (Location.LOCAL, Location.LOCAL_PERSISTENT)
    return (group.fixed is None or group.fixed in own) and bool(group.root.locations & set(own))


def _may_leave(group: ViewGroup, named: Collection[str]) -> bool:
    counted = [b for b in group.members if b.size_bytes]
    free = all(b.pin is None and b.name not in named for b in counted)
    return free and all(Location.GLOBAL in b.locations for b in counted)


def _bytes(group: ViewGroup) -> int:
    return round_up(own_bytes(group.root), group.root.alignment)
