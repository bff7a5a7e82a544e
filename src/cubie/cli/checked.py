"""What `--check` says of a saved plan: what was verified, and what only its file claims."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from cubie.cli.objectives import OBJECTIVES, task
from cubie_planner import Plan, Status
from cubie_planner.report.recheck import recheck

CLAIMED = "claimed by the file, not verified here"
TASKS = {objective: partial(task, objective=objective) for objective in OBJECTIVES}


def checked_lines(name: str, plan: Plan) -> Iterator[str]:
    """Yield the verdict on a plan that the checker has accepted, then what it rests on.

    ``optimal`` is said where it was proven again that no plan does better, level by level;
    else it is told as a claim. So it is where nobody knows the prices of the file.
    """
    found = recheck(plan, TASKS)
    proven = not found.unverified
    claim = ", as the file claims" if plan.status is Status.OPTIMAL and not proven else ""
    yield f"{name}: accepted ({'optimal' if proven else plan.status}{claim})"
    limit = plan.limits.max_shared_bytes
    under = "" if limit is None else f" under max_shared = {limit} B"
    yield f"verified: the places and bytes of {len(plan.placements)} buffers{under}, all totals"
    for finding in found.findings:
        yield f"  {finding}"
    if plan.prices.mean_anything or found.prices is None:
        told = f"those of --objective {found.prices}" if found.prices else CLAIMED
        yield f"prices: {told}; they count {plan.prices.unit or 'nothing'}"
    words = ["the reason of every place", *(["the note"] if plan.note else [])]
    yield f"{CLAIMED}: {' and '.join(words)}"
