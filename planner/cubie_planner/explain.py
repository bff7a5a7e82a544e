"""Why a problem has no plan, and what would let it have one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from cubie_planner.buffers import Buffer, Interval, Location
from cubie_planner.device import Device, DeviceError
from cubie_planner.draft import LIMIT, Draft, Task
from cubie_planner.explain_plan import Explanation, PinCost, explain
from cubie_planner.nesting import hosts
from cubie_planner.plan import Status
from cubie_planner.problem import Limits
from cubie_planner.quick import load_claims, quick

if TYPE_CHECKING:
    from cubie_planner.model import Demand, JointModel

__all__ = [
    "LIMIT",
    "Explanation",
    "PinCost",
    "PlanInfeasible",
    "PlanUnknown",
    "explain",
    "homeless_view",
    "infeasibility",
    "overload",
]

LIMIT_ROUNDS = 8
"""How often a smaller limit that would do is looked for; they share the effort."""


class PlanInfeasible(Exception):
    """No plan exists; proven.

    Attributes
    ----------
    core : tuple of str
        Buffers, and ``max_shared`` where it takes part, that cannot hold together.
        Dropping any one of them (a pin, the limit, or a buffer that has no other
        place) lets the others hold, unless `irreducible` is False.
    limit : int or None
        The `max_shared` in force, in bytes per block.
    needed : int or None
        The smallest `max_shared`, in bytes per block, that would do; None when no
        limit would.
    largest_block : int or None
        The largest block size that would do under the present limit; 0 for none.
    irreducible : bool
        Whether it was proven that every member of the core is needed.
    """

    def __init__(
        self,
        message: str,
        core: Iterable[str] = (),
        limit: int | None = None,
        needed: int | None = None,
        largest_block: int | None = None,
        irreducible: bool = True,
    ):
        super().__init__(message)
        self.core = tuple(core)
        self.limit = limit
        self.needed = needed
        self.largest_block = largest_block
        self.irreducible = irreducible


class PlanUnknown(Exception):
    """The search ended before it found a plan or proved that there is none."""


# --- infeasible problems --------------------------------------------------------------


def infeasibility(task: Task, effort: float) -> PlanInfeasible:
    """Return the error that says why `task`, known to be impossible, has no plan."""
    homeless = homeless_view(task)
    if homeless is not None:
        return homeless
    load = overload(task)
    if load is not None and load.plain:
        core, irreducible = [*load.core, LIMIT], True
    else:
        core, irreducible = _core_by_model(task, effort)
    needed = _smallest_limit(task, effort) if LIMIT in core else None
    limit = task.problem.limits.max_shared_bytes
    block = None
    if needed and limit is not None:
        block = limit // (needed // task.problem.limits.block_size)
    return PlanInfeasible(
        _message(task, core, load, needed, block), core, limit, needed, block, irreducible
    )


def homeless_view(task: Task) -> PlanInfeasible | None:
    """Return the error for a view that none of its candidates is large enough to hold."""
    for view in task.buffers:
        if not view.alias_required or hosts(view, task.by_name, local=False):
            continue
        sizes = {
            alias.parent: task.problem.by_name[alias.parent].size_bytes for alias in view.aliases
        }
        told = ", ".join(f"`{name}` ({size} B)" for name, size in sizes.items())
        return PlanInfeasible(
            f"`{view.name}` ({view.size_bytes} B) must lie inside one of {told}, and none can hold "
            "it. Enlarge or enable a parent, or let the alias be optional.",
            (view.name, *sizes),
        )
    return None


@frozen
class Overload:
    """A section in which more shared bytes are alive than a run may use.

    Attributes
    ----------
    interval : (start, end) or None
        Its program points; None when everything is always alive.
    live, core : tuple of str
        All buffers that must be shared there, and a smallest choice that overflows.
    capacity : int
        Bytes per run.
    plain : bool
        True when adding sizes is the whole proof, in both directions.
    """

    interval: Interval | None
    live: tuple[str, ...]
    core: tuple[str, ...]
    live_bytes: int
    capacity: int
    plain: bool


def overload(task: Task) -> Overload | None:
    """Return the worst section in which what must be shared exceeds the limit, if any does."""
    forced = [b for b in task.buffers if set(task.domains[b.name]) == {Location.SHARED}]
    own = [b for b in forced if not hosts(b, task.by_name, local=False)]
    if task.problem.limits.max_shared_bytes is None or not own:
        return None
    capacity = _roomiest(task, own)
    worst: Overload | None = None
    sections = task.live.peak_sections([b.name for b in own])
    for section, names in sections:
        live = [task.by_name[name] for name in names]
        load = sum(b.size_bytes for b in live)
        if load > capacity and (worst is None or load > worst.live_bytes):
            core = _smallest_overflow(live, capacity)
            span = task.live.sections[section]
            plain = _is_plain(task, core)
            worst = Overload(span, names, core, load, capacity, plain)
    return worst


def _roomiest(task: Task, forced: Sequence[Buffer]) -> int:
    """Return the bytes a run may use, under the padding that leaves most."""
    widest = max(b.alignment for b in forced)
    limits = task.problem.limits
    units = {b.alignment for b in task.may_be(Location.SHARED) if b.alignment >= widest}
    return max(limits.run_capacity(unit) or 0 for unit in units)


def _smallest_overflow(live: Sequence[Buffer], capacity: int) -> tuple[str, ...]:
    """Drop the smallest buffers while the rest still overflows."""
    kept = sorted(live, key=lambda b: -b.size_bytes)
    while sum(b.size_bytes for b in kept[:-1]) > capacity:
        kept.pop()
    names = {b.name for b in kept}
    return tuple(b.name for b in live if b.name in names)


def _is_plain(task: Task, core: Sequence[str]) -> bool:
    """Return whether any proper part of the core could simply be stacked under the limit."""
    members = [task.by_name[name] for name in core]
    stackable = all(b.size_bytes % b.alignment == 0 and b.offset is None for b in members)
    one_unit = len({max(4, b.alignment) for b in task.may_be(Location.SHARED)}) == 1
    return stackable and one_unit


def _core_by_model(task: Task, effort: float) -> tuple[list[str], bool]:
    """Return an irreducible clashing set: a core from the solver, then deletion filtering."""
    from cubie_planner.model import JointModel

    model = JointModel(evolve(task, cap=None), relaxable=True)
    status, core = model.clash(model.demands, effort)
    if status is not Status.INFEASIBLE:
        return list(dict.fromkeys(key.name for key in model.demands)), False
    core, proven = _filter(model, core, effort)
    return list(dict.fromkeys(key.name for key in core)), proven


def _filter(model: JointModel, core: list[Demand], effort: float) -> tuple[list[Demand], bool]:
    """Drop every member without which the others still clash."""
    proven = True
    needed: list[Demand] = []
    while core:
        candidate, *rest = core
        status, smaller = model.clash([*needed, *rest], effort)
        if status is Status.INFEASIBLE:
            core = [key for key in rest if key in smaller]
        else:
            proven &= status in (Status.OPTIMAL, Status.FEASIBLE)
            needed.append(candidate)
            core = rest
    return needed, proven


def _smallest_limit(task: Task, effort: float) -> int | None:
    """Return the smallest max_shared that would do, in bytes per block; None if none would."""
    problem = task.problem
    limit: int | None = None
    found: int | None = None
    for _ in range(LIMIT_ROUNDS):
        relaxed = Task.of(evolve(problem, limits=evolve(problem.limits, max_shared_bytes=limit)))
        draft = _least_shared(relaxed, effort / LIMIT_ROUNDS)
        if draft is None:
            return found
        found = _block_bytes(relaxed, draft)
        if found == 0:
            return 0
        limit = found - 1
    return found


def _least_shared(task: Task, effort: float) -> Draft | None:
    """Return a draft with as few shared bytes as possible, whatever else it costs."""
    free = evolve(task, cap=None, domains={n: dict.fromkeys(d, 0) for n, d in task.domains.items()})
    draft, claims = quick(free), load_claims(free)
    if draft is not None and draft.proven(free, claims):
        return draft
    from cubie_planner.solve import engines

    return engines(free, draft, claims, effort)[1]


def _block_bytes(task: Task, draft: Draft) -> int:
    shared = [b for b in task.buffers if draft.locations[b.name] is Location.SHARED]
    height = max((draft.offsets[b.name] + b.size_bytes for b in shared), default=0)
    widest = max((b.alignment for b in shared), default=1)
    limits = task.problem.limits
    return limits.stride(height, widest) * limits.block_size


def _message(
    task: Task,
    core: Sequence[str],
    load: Overload | None,
    needed: int | None,
    block: int | None,
) -> str:
    names = [name for name in core if name != LIMIT]
    alone = len(names) == 1
    told = _listed([_member(task, name) for name in names])
    limits = task.problem.limits
    if LIMIT not in core:
        return (
            f"{told} cannot hold together, whatever max_shared is. Unpin one of them, or change "
            "its offset, its size or its alias."
        )
    verb = "does" if alone else "do"
    text = f"{told} {verb} not fit under max_shared = {_bytes(limits.max_shared_bytes or 0)}"
    if load is not None:
        when = (
            f" at program points {load.interval[0]} to {load.interval[1]}" if load.interval else ""
        )
        text += (
            f": {load.live_bytes} B per run must be shared{when} ({', '.join(load.live)}), "
            f"{load.live_bytes - load.capacity} B more than the {load.capacity} B that "
            f"{limits.block_size} runs per block leave each"
        )
    unpin = "unpin it" if alone else "unpin one of them"
    remedies = [unpin] if any(_pinned(task, n) for n in core) else []
    if any(_policy_put(task, n) for n in core):
        remedies.append("let the policy 'auto' choose")
    if block:
        remedies.append(f"lower block_size from {limits.block_size} to {block}")
    if needed is not None and needed <= _most_shared(limits):
        remedies.append(f"raise max_shared to {_bytes(needed)}")
    remedy = f". To make it work, {', or '.join(remedies)}" if remedies else ""
    return f"{text}{remedy}."


def _most_shared(limits: Limits) -> float:
    """Return the shared bytes that a block can have at all on the device that is meant."""
    if limits.compute_capability is None:
        return math.inf
    try:
        return Device.for_capability(limits.compute_capability).shared_per_block_optin
    except DeviceError:  # a device that only the user knows
        return math.inf


def _pinned(task: Task, name: str) -> bool:
    buffer = task.by_name.get(name)
    return buffer is not None and buffer.pin is not None


def _policy_put(task: Task, name: str) -> bool:
    buffer = task.by_name.get(name)
    if buffer is None or buffer.pin is not None or len(buffer.locations) == 1:
        return False
    return task.problem.policy == "shared" and not buffer.alias_required


def _member(task: Task, name: str) -> str:
    buffer = task.by_name[name]
    places = list(task.domains[name])
    if buffer.pin is not None:
        at = "" if buffer.offset is None else f" at offset {buffer.offset}"
        why = f"pinned to {buffer.pin}{at}"
    elif buffer.alias_required:
        why = f"a view of {' or '.join(alias.parent for alias in buffer.aliases)}"
    elif len(buffer.locations) == 1:
        why = f"allowed only in {places[0]}"
    elif len(places) == 1:
        why = f"put in {places[0]} by the policy"
    else:
        why = f"allowed in {' or '.join(places)}"
    return f"`{name}` ({buffer.size_bytes} B, {why})"


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _bytes(value: int) -> str:
    return f"{value} B ({value / 1024:.4g} KiB)" if value >= 1024 else f"{value} B"
