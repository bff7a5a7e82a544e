"""From a draft to the plan of the whole problem, with a reason for every place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cubie_planner.declarations.buffers import Buffer
from cubie_planner.declarations.places import Location, Place
from cubie_planner.engines.draft import Claim, Draft
from cubie_planner.engines.task import Task
from cubie_planner.plans.answer import Level, Placement
from cubie_planner.plans.plan import Plan


def finish(task: Task, draft: Draft, claims: Iterable[Claim]) -> Plan:
    """Turn a draft into a plan of the whole problem."""
    problem = task.problem
    placements = {buffer.name: _placement(task, draft, buffer) for buffer in problem.buffers}
    values, bounds = draft.values(task), draft.bounds(task, claims)
    levels = tuple(Level(name, values[name], bounds[name]) for name in task.levels())
    return Plan(problem, placements, levels, problem.digest, task.note, task.prices)


def _placement(task: Task, draft: Draft, buffer: Buffer) -> Placement:
    lifetime = None if buffer.always_alive else buffer.lifetime
    if buffer.size_bytes == 0:
        where = buffer.pin or next(p for p in task.places if p in buffer.locations)
        why = "disabled" if not buffer.enabled else "has no elements"
        return Placement(
            buffer.name, where, None, 0, 0, buffer.dtype, None, None, lifetime, buffer.pin, why
        )
    where = draft.locations[buffer.name]
    parent = draft.parents.get(buffer.name)
    offset = draft.offsets[buffer.name]
    return Placement(
        buffer.name,
        where,
        None if where is Location.LOCAL else offset,
        buffer.size_bytes,
        buffer.n_elements,
        buffer.dtype,
        parent,
        None if parent is None else offset - draft.offsets[parent],
        lifetime,
        buffer.pin,
        _reason(task, buffer, where, parent),
    )


def _reason(task: Task, buffer: Buffer, where: Place, parent: str | None) -> str:
    policy = task.problem.policy
    if buffer.pin is not None:
        why = "pinned"
    elif isinstance(policy, Mapping) and buffer.name in policy:
        why = "pinned by the policy"
    elif buffer.alias_required:
        why = "follows its parent"
    elif len(buffer.locations) == 1:
        why = "only place allowed"
    elif len(task.domains[buffer.name]) == 1:
        why = f"policy {policy!r}"
    elif where is next(iter(task.domains[buffer.name])):
        why = "cheapest place"
    else:
        why = "cheapest place that fits with the others"
    if parent is not None:
        why += f"; {'view of' if buffer.alias_required else 'shares the bytes of'} {parent}"
    return why
