"""What `--check` says of a saved plan: what was verified, and what only its file claims."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import evolve

from cubie.cli.objectives import OBJECTIVES, task
from cubie_planner import Plan, Status
from cubie_planner.check_claims import Finding, findings
from cubie_planner.draft import Task
from cubie_planner.quick import load_claims

CLAIMED = "claimed by the file, not verified here"


def checked_lines(name: str, plan: Plan) -> Iterator[str]:
    """Yield the verdict on a plan that the checker has accepted, then what it rests on.

    ``optimal`` is said where it was proven again that no plan does better, level by level;
    else it is told as a claim. So it is where nobody knows the prices of the file.
    """
    objective, known = _known_prices(plan)
    found = findings(plan.problem, plan)
    if known is not None:
        found = _by_load(known, found)
    least = all(finding.status is Status.OPTIMAL for finding in found)
    proven = least and objective is not None
    claim = ", as the file claims" if plan.status is Status.OPTIMAL and not proven else ""
    yield f"{name}: accepted ({'optimal' if proven else plan.status}{claim})"
    limit = plan.limits.max_shared_bytes
    under = "" if limit is None else f" under max_shared = {limit} B"
    yield f"verified: the places and bytes of {len(plan.placements)} buffers{under}, all totals"
    for finding in found:
        yield f"  {finding}"
    if plan.prices.mean_anything or objective is None:
        told = f"those of --objective {objective}" if objective else CLAIMED
        yield f"prices: {told}; they count {plan.prices.unit or 'nothing'}"
    words = ["the reason of every place", *(["the note"] if plan.note else [])]
    yield f"{CLAIMED}: {' and '.join(words)}"


def _known_prices(plan: Plan) -> tuple[str, Task] | tuple[None, None]:
    """Return the objective whose prices the plan has, all of them, and the task with it."""
    for objective in OBJECTIVES:
        known = task(plan.problem, objective)
        if known.prices == plan.prices:
            return objective, known
    return None, None


def _by_load(known: Task, found: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Raise the bounds to what the load proves, as it does before any search.

    That counts what the checker leaves out: buffers that may lie inside one another.
    """
    values = {finding.level.name: finding.level.value for finding in found}
    bounds = {finding.level.name: finding.proven for finding in found}
    for claim in load_claims(known):
        holds = all(values.get(level, 0) <= value for level, value in claim.given.items())
        if holds and claim.level in bounds:
            bounds[claim.level] = max(bounds[claim.level], claim.bound)
    return tuple(evolve(finding, proven=bounds[finding.level.name]) for finding in found)
