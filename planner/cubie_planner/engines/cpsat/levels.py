"""Level after level through the joint model; each is fixed before the next one starts."""

from __future__ import annotations

from collections.abc import Sequence

from cubie_planner.basics import Status
from cubie_planner.engines.cpsat.joint_model import JointModel
from cubie_planner.engines.draft import Claim, Draft
from cubie_planner.engines.task import ALL_ON, Switches, Task
from cubie_planner.plans.answer import COST


def lexicographic(
    task: Task,
    draft: Draft | None,
    claims: Sequence[Claim],
    effort: float,
    switches: Switches = ALL_ON,
) -> tuple[Status, Draft | None, list[Claim]]:
    """Optimise level after level; each is fixed before the next one starts.

    Where the first draft that fits will do, any solution is one, and nothing is optimised.

    Parameters
    ----------
    draft : Draft or None
        A solution to start from.
    claims : sequence of Claim
        What is proven already.
    effort : float
        Deterministic time for each level.
    switches : Switches

    Returns
    -------
    Status, Draft or None, list of Claim
        FEASIBLE with a draft, or INFEASIBLE or UNKNOWN without; and all that is proven.
    """
    joint = JointModel(task, load_rows=switches.load_rows)
    if task.fits:
        any_outcome = joint.solve(None, effort)
        return any_outcome.status, any_outcome.draft, list(claims)
    known = list(claims)
    given: dict[str, int] = {}
    for level in task.levels():
        objective = joint.objective(level)
        extra = task.extra if level == COST else 0
        if draft is None or draft.values(task)[level] > draft.bounds(task, known)[level]:
            if draft is not None and switches.hints:
                joint.hint(draft)
            outcome = joint.solve(objective, effort)
            draft = outcome.draft or draft
            if draft is None:
                return outcome.status, None, known
            known.append(Claim(level, outcome.bound + extra, dict(given)))
        given[level] = draft.values(task)[level]
        joint.variables.sat.linear(objective, None, given[level] - extra)
    return Status.FEASIBLE, draft, known
