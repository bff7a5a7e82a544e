"""From a problem to a checked plan: which engine, in which order, and what it proves."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from attrs import evolve

from cubie_planner.basics import Status
from cubie_planner.declarations.places import Location
from cubie_planner.declarations.problem import Problem
from cubie_planner.engines.draft import Claim, Draft
from cubie_planner.engines.exact import engines
from cubie_planner.engines.fast_path import cheapest_only, quick
from cubie_planner.engines.finish import finish
from cubie_planner.engines.infeasible import (
    PlanInfeasible,
    homeless_view,
    infeasibility,
    unknown,
)
from cubie_planner.engines.load_claims import load_claims
from cubie_planner.engines.overload import overload
from cubie_planner.engines.previous_plan import kept
from cubie_planner.engines.task import ALL_ON, LARGE, Switches, Task
from cubie_planner.plans.answer import COST
from cubie_planner.plans.check import check
from cubie_planner.plans.plan import Plan

if TYPE_CHECKING:
    from cubie_planner.gpu.objective import Objective

EFFORT = 0.2
"""Deterministic time of the solver per objective.

Counted in work, not in seconds: on these models a unit has been seen to take 5 to 25 s
of one core, so the default stops an objective that does not close after 1 to 5 s.
"""


def plan(
    problem: Problem,
    *,
    effort: float = EFFORT,
    fits: bool = False,
    objective: Objective | None = None,
    switches: Switches = ALL_ON,
) -> Plan:
    """Decide where every buffer lives.

    First-fit packing comes first; when it meets the load bound it is proven and
    nothing else runs. Otherwise the exact engines decide what is left open. Above
    `engines.task.LARGE` buffers first fit tries many orders, the largest buffers are packed
    exactly, and nothing else runs.

    Parameters
    ----------
    problem : Problem
    effort : float
        Limit of the exact engines in deterministic units, never of a clock: the same
        problem and effort give the same plan on every machine.
    fits : bool
        Return the first plan that keeps within the limits, and lower nothing further. Its
        levels have the bounds that were proven on the way; mostly it is not called optimal.
    objective : Objective, optional
        Prices for the policy "auto", from `cubie_planner.gpu.objective.objective` with a cost
        model of one's own. By default the built-in model of the compute capability.
    switches : Switches
        For tests and experiments.

    Returns
    -------
    Plan
        Accepted by `check`. Buffers that `Limits.max_local_bytes` sent to global memory are
        pinned there in its problem.

    Raises
    ------
    PlanInfeasible
        When it is proven that no plan exists; says why.
    PlanUnknown
        When the effort was spent before anything was found; tells how many shared bytes the
        lowest packing takes that was found, and how many are proven to be needed.
    TypeError, ValueError
        When `problem` is none, or `effort` no number from 0.
    """
    if not isinstance(problem, Problem):
        raise TypeError(f"plan takes a Problem, got {problem!r:.80}")
    check_options(effort, fits)
    asked = partial(_planned, effort=effort, fits=fits, switches=switches)
    result = asked(problem, objective)
    most = problem.limits.max_local_bytes
    if most is not None and result.local_bytes + result.persistent_bytes > most:
        result = _within_local_memory(result, most, objective, asked)
    check(result.problem, result)
    return result


def check_options(effort: float, fits: bool) -> None:
    """Refuse an effort that is no number from 0, and a `fits` that is neither True nor False."""
    if isinstance(effort, bool) or not isinstance(effort, numbers.Real) or not effort >= 0:
        raise ValueError(f"effort must be a number of at least 0 (inf: no limit), got {effort!r}")
    if not isinstance(fits, bool):
        raise TypeError(f"fits must be True or False, got {fits!r:.80}")


def _planned(
    problem: Problem,
    objective: Objective | None,
    effort: float,
    fits: bool,
    switches: Switches,
    local_cap: int | None = None,
) -> Plan:
    task = evolve(Task.of(problem, objective), fits=fits, local_cap=local_cap)
    draft, claims = _large(task, effort) if task.is_large else _best(task, effort, switches)
    return finish(task, draft, claims)


def _within_local_memory(
    found: Plan,
    most: int,
    objective: Objective | None,
    asked: Callable[..., Plan],
) -> Plan:
    """Plan again, with buffers pinned to global memory that `found` has no room for.

    Where too few may be there, the others are planned under the limit.
    """
    from cubie_planner.gpu.beyond_local import priced_outside, with_global_memory

    problem = with_global_memory(found.problem, most)
    outside = found.problem if problem is None else problem
    try:
        return asked(outside, priced_outside(outside, objective), local_cap=most)
    except PlanInfeasible:
        needed = found.local_bytes + found.persistent_bytes
        places = (Location.LOCAL, Location.LOCAL_PERSISTENT)
        held = [p for p in found.placements.values() if p.size_bytes and p.location in places]
        held.sort(key=lambda p: -p.size_bytes)
        largest = ", ".join(f"`{p.name}` ({p.size_bytes} B)" for p in held[:3])
        raise PlanInfeasible(
            f"{needed} B of local memory per run exceed max_local = {most} B, and what else there "
            f"is may not be in global memory. The largest buffers there are {largest}. Let the "
            "policy 'auto' choose, allow more buffers the location 'global', or raise max_local.",
            [p.name for p in held],
            irreducible=False,
        ) from None


def _large(task: Task, effort: float) -> tuple[Draft, list[Claim]]:
    """Return the lowest packing in the first places that hold everything."""
    from cubie_planner.engines.large import large_draft  # most problems are small

    draft = large_draft(task, effort)
    if draft is None:
        raise unknown(
            task,
            effort,
            f"{len(task.buffers)} buffers are more than the {LARGE} that the exact engines take, "
            "and first fit found no room for them; raise max_shared or the effort, lower the "
            "block size, or plan parts of the kernel on their own",
        )
    return draft, load_claims(task)


def _best(task: Task, effort: float, switches: Switches) -> tuple[Draft, list[Claim]]:
    """Return the best draft: by first fit or the previous plan, improved where that is open."""
    draft = quick(task) if switches.first_fit else None
    claims = load_claims(task)
    if task.problem.previous:
        stay = kept(task)
        draft = stay if stay is not None and stay.better_than(draft, task) else draft
    if draft is None and (homeless_view(task) or overload(task)):
        raise infeasibility(task, effort)
    if draft is None or not (task.fits or draft.proven(task, claims)):
        return _exact(task, draft, claims, effort, switches)
    return draft, claims


def _exact(
    task: Task, draft: Draft | None, claims: list[Claim], effort: float, switches: Switches
) -> tuple[Draft, list[Claim]]:
    """Improve a draft, or find one, by the exact engines."""
    least = next(claim.bound for claim in claims if claim.level == COST)
    choices = task
    if draft is not None and draft.values(task)[COST] == least:
        choices = cheapest_only(task)
    status, draft, claims = engines(choices, draft, claims, effort, switches)
    if draft is not None:
        return draft, claims
    if status is Status.INFEASIBLE and task.cap is not None:
        wider = task.with_wider_cap()
        return _exact(wider, quick(wider), load_claims(wider), effort, switches)
    if status is Status.INFEASIBLE:
        raise infeasibility(task, effort)
    raise unknown(
        task,
        effort,
        f"no plan was found within an effort of {effort:g}, and none was proven impossible; "
        "raise the effort or the limit, or lower the block size",
    )
