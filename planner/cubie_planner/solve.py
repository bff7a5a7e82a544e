"""From a problem to a checked plan: which engine, in which order, and what it proves."""

from __future__ import annotations

from cubie_planner.check import check
from cubie_planner.draft import Task, finish
from cubie_planner.explain import PlanUnknown
from cubie_planner.plan import Plan
from cubie_planner.problem import Problem
from cubie_planner.quick import quick


def plan(problem: Problem) -> Plan:
    """Decide where every buffer lives.

    First-fit packing comes first; when it meets the load bound it is proven and
    nothing else runs. Otherwise the exact engines decide what is left open.

    Raises
    ------
    PlanInfeasible
        When it is proven that no plan exists.
    PlanUnknown
        When the limits of the search ran out before anything was found.
    """
    task = Task.of(problem)
    draft = quick(task)
    if draft is None:
        raise PlanUnknown("first fit found no plan")
    result = finish(task, draft)
    check(problem, result)
    return result
