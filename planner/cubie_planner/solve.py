"""From a problem to a checked plan: which engine, in which order, and what it proves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from cubie_planner.check import check
from cubie_planner.draft import ALL_ON, COST, Draft, Switches, Task, finish
from cubie_planner.explain import PlanUnknown, homeless_view, infeasibility, overload
from cubie_planner.large import LARGE
from cubie_planner.plan import Plan, Status
from cubie_planner.problem import Problem
from cubie_planner.quick import bounds, cheapest_only, quick

if TYPE_CHECKING:
    from cubie_planner.auto import Objective

EFFORT = 5.0
"""Deterministic time per objective: about as many seconds on a desktop core."""


def plan(
    problem: Problem,
    *,
    effort: float = EFFORT,
    objective: Objective | None = None,
    switches: Switches = ALL_ON,
) -> Plan:
    """Decide where every buffer lives.

    First-fit packing comes first; when it meets the load bound it is proven and
    nothing else runs. Otherwise the exact engines decide what is left open. Above
    `large.LARGE` buffers one pass over time, in about n log n, is all that runs.

    Parameters
    ----------
    problem : Problem
    effort : float
        Limit of the exact engines in deterministic units, never of a clock: the same
        problem and effort give the same plan on every machine.
    objective : Objective, optional
        Prices for the policy "auto", from `cubie_planner.auto.objective` with a cost
        model of one's own. By default the built-in model of the compute capability.
    switches : Switches
        For tests and experiments.

    Returns
    -------
    Plan
        Accepted by `check`.

    Raises
    ------
    PlanInfeasible
        When it is proven that no plan exists; says why.
    PlanUnknown
        When the effort was spent before anything was found.
    """
    task = Task.of(problem, objective)
    draft = quick(task) if switches.first_fit or len(task.buffers) > LARGE else None
    if len(task.buffers) > LARGE:
        draft = _only_large(task, draft)
    elif draft is None and (homeless_view(task) or overload(task)):
        raise infeasibility(task, effort)
    elif draft is None or not draft.proven(task):
        draft = _exact(task, draft, effort, switches)
    result = finish(task, draft)
    check(problem, result)
    return result


def _only_large(task: Task, draft: Draft | None) -> Draft:
    """Accept what one pass over time gives: nothing better is tried at this size."""
    if draft is None:
        raise PlanUnknown(
            f"{len(task.buffers)} buffers are more than the {LARGE} that the exact engines take, "
            "and one pass over time found no room for them; raise max_shared, lower the block "
            "size, or plan parts of the kernel on their own"
        )
    return draft


def _exact(task: Task, draft: Draft | None, effort: float, switches: Switches) -> Draft:
    from cubie_planner.model import lexicographic

    known = bounds(task)
    choices = task
    if draft is not None and draft.values(task)[COST] == known[COST]:
        choices = cheapest_only(task)
    status, found = lexicographic(choices, draft, known, effort, switches)
    if found is not None:
        return found
    if status is Status.INFEASIBLE and task.cap is not None:
        uncapped = evolve(task, cap=None)
        return _exact(uncapped, quick(uncapped), effort, switches)
    if status is Status.INFEASIBLE:
        raise infeasibility(task, effort)
    raise PlanUnknown(
        f"no plan was found within an effort of {effort}, and none was proven impossible; "
        "raise the effort or the limit, or lower the block size"
    )
