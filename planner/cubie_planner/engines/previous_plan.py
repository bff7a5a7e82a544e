"""Staying close to a previous plan: keep it whole where it is still an answer."""

from __future__ import annotations

from cubie_planner.declarations.buffers import Buffer
from cubie_planner.declarations.places import Location, Place
from cubie_planner.engines.draft import Draft
from cubie_planner.engines.finish import finish
from cubie_planner.engines.first_fit import pack_local
from cubie_planner.engines.nesting import hosts
from cubie_planner.engines.task import Task
from cubie_planner.plans.check import PlanRejected, check


def kept(task: Task) -> Draft | None:
    """Return the previous plan as a draft, if it places every buffer and still holds."""
    previous = task.problem.previous
    if any(b.name not in previous for b in task.buffers):
        return None
    locations = {b.name: previous[b.name][0] for b in task.buffers}
    if any(place not in task.domains[name] for name, place in locations.items()):
        return None
    local = [b for b in task.buffers if locations[b.name] is Location.LOCAL]
    arrangement = pack_local(local, task.live.masks)
    if arrangement is None:
        return None
    offsets, parents = dict(arrangement.offsets), dict(arrangement.parents)
    for buffer in task.buffers:
        if locations[buffer.name] is Location.LOCAL:
            continue
        offset = previous[buffer.name][1]
        if offset is None:
            return None
        offsets[buffer.name] = offset
    for buffer in task.buffers:
        parent = _lies_in(task, buffer, locations, offsets)
        if parent is not None:
            parents[buffer.name] = parent
    draft = Draft(locations, offsets, parents)
    try:
        check(task.problem, finish(task, draft, ()))
    except PlanRejected:
        return None
    return draft


def _lies_in(
    task: Task, child: Buffer, locations: dict[str, Place], offsets: dict[str, int]
) -> str | None:
    """Return the first candidate parent whose bytes hold those of `child`, in an arena."""
    if locations[child.name] is Location.LOCAL:
        return None
    for parent, fixed in hosts(child, task.by_name, local=False):
        inner = offsets[child.name] - offsets[parent.name]
        fits = 0 <= inner <= parent.size_bytes - child.size_bytes and fixed in (None, inner)
        if fits and locations[parent.name] == locations[child.name]:
            return parent.name
    return None
