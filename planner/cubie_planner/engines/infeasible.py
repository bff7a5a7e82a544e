"""Why a problem has no plan, and what would let it have one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from cubie_planner.basics import PlannerError, Status
from cubie_planner.declarations.places import TILE, Location
from cubie_planner.engines.clashes import Clash, clashes, message
from cubie_planner.engines.draft import Claim, Draft
from cubie_planner.engines.exact import engines
from cubie_planner.engines.fast_path import quick
from cubie_planner.engines.load_claims import load_claims
from cubie_planner.engines.nesting import hosts
from cubie_planner.engines.overload import overload
from cubie_planner.engines.task import LIMIT, Task
from cubie_planner.plans.answer import SHARED

if TYPE_CHECKING:
    from cubie_planner.engines.cpsat.joint_model import JointModel
    from cubie_planner.engines.cpsat.variables import Demand

MOST_NESTED = 150
"""With more buffers that may lie in others a clash is not looked for among offsets: the
model grows with their pairs."""

MOST_THINNED = 80
"""Members of a clash that are each tried without, offsets left out."""

MOST_FILTERED = 24
"""Members of a clash that are each tried without, offsets included."""

SOLVES = 12
"""How often a filter may spend the whole effort."""

LIMIT_ROUNDS = 8
"""How often a smaller limit that would do is looked for; they share the effort."""


class PlanInfeasible(PlannerError):
    """No plan exists; proven.

    Attributes
    ----------
    core : tuple of str
        Buffers, and ``max_shared`` and pools where their limits take part, that cannot hold
        together: those that the message names. Dropping any one of them lets the others
        hold, unless `irreducible` is False. To drop a limit is to have none; to drop a buffer is to
        let it be anywhere, without its pin, its offset and its duty to lie in a parent; to
        drop a parent is to let it hold its views wherever they are.
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


class PlanUnknown(PlannerError):
    """The search ended before it found a plan or proved that there is none.

    Attributes
    ----------
    lowest_bytes : int or None
        Shared bytes per run of the lowest packing that was found, above the limit; None where
        none was, or where no limit of shared memory is in the way.
    bound_bytes : int or None
        No packing takes fewer; proven.
    """

    def __init__(
        self, message: str, lowest_bytes: int | None = None, bound_bytes: int | None = None
    ):
        if lowest_bytes is not None:
            message += (
                f". The lowest packing found takes {lowest_bytes} B of shared memory per run; "
                f"at least {bound_bytes} B are needed"
            )
        super().__init__(message)
        self.lowest_bytes = lowest_bytes
        self.bound_bytes = bound_bytes


# --- infeasible problems --------------------------------------------------------------


def infeasibility(task: Task, effort: float) -> PlanInfeasible:
    """Return the error that says why `task`, known to be impossible, has no plan."""
    homeless = homeless_view(task)
    if homeless is not None:
        return homeless
    if task.local_cap is not None:  # what clashes is told by who knows the plan without this cap
        return PlanInfeasible(f"local memory has no room within {task.local_cap} B")
    load = overload(task)
    if load is not None and load.plain:
        core, proven = [_forced(task, name) for name in load.core], True
        core.append(Clash(LIMIT, ("limit",)))
    else:
        core, proven = _core_by_model(task, effort)
    names = [member.name for member in core]
    limit = task.problem.limits.max_shared_bytes
    needed = block = None
    if LIMIT in names:
        least = _smallest_limit(task, effort)
        needed = None if least is None else least.block_bytes
        if least is not None and needed and limit is not None:
            block = _largest_block(task, least, limit)
    load = None if LIMIT not in names else overload(task, names)
    text = message(task, core, load, needed, block)
    return PlanInfeasible(text, names, limit, needed, block, proven)


def _forced(task: Task, name: str) -> Clash:
    """Return what makes a buffer shared: where it is allowed alone, its pin, or the policy."""
    alone = len(task.by_name[name].locations) == 1
    return Clash(name, ("allowed",) if alone else ("pin",))


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


def _core_by_model(task: Task, effort: float) -> tuple[list[Clash], bool]:
    """Return an irreducible clashing set: a core from the solver, then deletion filtering.

    Places and parents alone clash most often; then offsets are only asked about among the
    members. The sets that are too large for that are not claimed to be irreducible.
    """
    from cubie_planner.engines.cpsat.joint_model import JointModel

    whole = evolve(task, cap=None)
    model = JointModel(whole, relaxable=True, offsets=False)
    status, core = model.clash(model.variables.demands, effort)
    if status is Status.INFEASIBLE:
        if len(core) <= MOST_THINNED:
            core, _ = _filter(model, core, effort)
        if len(core) > MOST_FILTERED:
            return clashes(task, core), False
        model = JointModel(_among(whole, core), relaxable=True, tied=model.variables.tied)
    elif sum(bool(b.aliases) for b in task.buffers) <= MOST_NESTED:
        model = JointModel(whole, relaxable=True)
        status, core = model.clash(model.variables.demands, effort)
    if status is not Status.INFEASIBLE:
        return clashes(task, list(model.variables.demands)), False
    core, proven = _filter(model, core, effort)
    return clashes(task, _without_needless_pins(model, core, effort)), proven


def _among(task: Task, core: Sequence[Demand]) -> Task:
    """Return the task of the members of a core and of the parents their views may have."""
    names = {key.name for key in core}
    views = [b for b in task.buffers if b.name in names and b.alias_required]
    names |= {alias.parent for view in views for alias in view.aliases}
    return evolve(task, buffers=tuple(b for b in task.buffers if b.name in names))


def _filter(model: JointModel, core: list[Demand], effort: float) -> tuple[list[Demand], bool]:
    """Drop every member without which the others still clash; large cores share the effort."""
    proven = True
    needed: list[Demand] = []
    share = effort * min(1.0, SOLVES / max(1, len(core)))
    while core:
        candidate, *rest = core
        status, smaller = model.clash([*needed, *rest], share)
        if status is Status.INFEASIBLE:
            core = [key for key in rest if key in smaller]
        else:
            proven &= status in (Status.OPTIMAL, Status.FEASIBLE)
            needed.append(candidate)
            core = rest
    return needed, proven


def _without_needless_pins(model: JointModel, core: list[Demand], effort: float) -> list[Demand]:
    """Blame a pin only where the buffer's own places would not clash just the same."""
    for index, key in enumerate(core):
        own = evolve(key, kind="allowed")
        if key.kind != "pin" or own in core or own not in model.variables.demands:
            continue
        other = [*core[:index], own, *core[index + 1 :]]
        if model.clash(other, effort)[0] is Status.INFEASIBLE:
            core = other
    return core


@frozen
class Least:
    """The least shared memory with which there is a plan: of a block, and of one run.

    `start` is where the slices of runs begin: what is below belongs to the block.
    """

    block_bytes: int
    run_bytes: int
    stride: int
    start: int


def _smallest_limit(task: Task, effort: float) -> Least | None:
    """Return the smallest max_shared that would do, in bytes per block; None if none would."""
    problem = task.problem
    limit: int | None = None
    found: Least | None = None
    for _ in range(LIMIT_ROUNDS):
        relaxed = Task.of(evolve(problem, limits=evolve(problem.limits, max_shared_bytes=limit)))
        draft, _ = _least_shared(relaxed, effort / LIMIT_ROUNDS)
        if draft is None:
            return found
        height, unit, tiles = _slice(relaxed, draft)
        lowest = height if found is None else min(height, found.run_bytes)
        limits = problem.limits
        block, start = limits.block_bytes(height, unit, tiles), limits.slices_start(tiles, unit)
        found = Least(block, lowest, limits.stride(height, unit), start)
        if found.block_bytes == 0:
            return found
        limit = found.block_bytes - 1
    return found


def _largest_block(task: Task, least: Least, limit: int) -> int | None:
    """Return the most runs per block, up to the present number, under the present limit.

    None where no number helps: without runs there is nothing to lower.
    """
    if not task.problem.has_runs or least.start > limit:
        return None
    left = limit - least.start
    runs = left // least.stride if least.stride else task.problem.limits.block_size
    if runs < 2:  # a block of one run needs its slice alone
        runs = int(least.run_bytes <= left)
    return min(runs, task.problem.limits.block_size)


def unknown(task: Task, effort: float, message: str) -> PlanUnknown:
    """Return the error for a task left open, with the lowest packing that does without limit."""
    problem = task.problem
    if problem.limits.max_shared_bytes is None:
        return PlanUnknown(message)
    relaxed = Task.of(evolve(problem, limits=evolve(problem.limits, max_shared_bytes=None)))
    draft, claims = _least_shared(relaxed, effort)
    if draft is None:
        return PlanUnknown(message)
    lowest = draft.values(relaxed)[SHARED]
    bounds = [claim.bound for claim in claims if claim.level == SHARED]
    return PlanUnknown(message, lowest, min(lowest, max(bounds, default=0)))


def _least_shared(task: Task, effort: float) -> tuple[Draft | None, list[Claim]]:
    """Return a draft with as few shared bytes as possible, whatever else it costs, and proofs."""
    free = evolve(task, cap=None, domains={n: dict.fromkeys(d, 0) for n, d in task.domains.items()})
    claims = load_claims(free)
    if task.is_large:
        from cubie_planner.engines.large import large_draft  # most problems are small

        return large_draft(free, effort), claims
    draft = quick(free)
    if draft is not None and draft.proven(free, claims):
        return draft, claims
    _, draft, claims = engines(free, draft, claims, effort)
    return draft, claims


def _slice(task: Task, draft: Draft) -> tuple[int, int, int]:
    """Return the bytes of a run's slice, the widest alignment in it, and the bytes of tiles."""
    shared = [b for b in task.buffers if draft.locations[b.name] is Location.SHARED]
    tiles = [b for b in task.buffers if draft.locations[b.name] == TILE]
    height, below = (
        max((draft.offsets[b.name] + b.size_bytes for b in held), default=0)
        for held in (shared, tiles)
    )
    return height, max((b.alignment for b in shared), default=1), below
