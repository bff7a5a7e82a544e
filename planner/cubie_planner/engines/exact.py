"""The exact engines, one after the other: two stages, then everything in one model."""

from __future__ import annotations

from cubie_planner.basics import Status
from cubie_planner.engines.draft import Claim, Draft
from cubie_planner.engines.task import ALL_ON, Switches, Task

JOINT = 400
"""Above so many buffers the joint model is not built: it could not close."""


def engines(
    task: Task,
    draft: Draft | None,
    claims: list[Claim],
    effort: float,
    switches: Switches = ALL_ON,
) -> tuple[Status, Draft | None, list[Claim]]:
    """Run the staged search, then what it leaves open through the joint model.

    Both are loaded here, since most kernels are planned without either.
    """
    from cubie_planner.engines.cpsat.levels import lexicographic

    status = Status.UNKNOWN
    if switches.exact_packing:
        from cubie_planner.engines.two_stages import staged

        status, found, proven = staged(task, effort)
        claims = [*claims, *proven]
        if found is not None and found.better_than(draft, task):
            draft = found
        done = draft is not None and (task.fits or draft.proven(task, claims))
        if status is Status.INFEASIBLE or done:
            return status, draft, claims
    if len(task.buffers) > JOINT:
        return status, draft, claims
    return lexicographic(task, draft, claims, effort, switches)
