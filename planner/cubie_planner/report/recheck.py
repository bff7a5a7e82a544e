"""A plan that was read: how far its claims can be verified without searching again."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import evolve, frozen

from cubie_planner.basics import Status
from cubie_planner.declarations.problem import Problem
from cubie_planner.engines.load_claims import load_claims
from cubie_planner.engines.task import Task
from cubie_planner.gpu.device import DeviceError
from cubie_planner.plans.check_claims import Finding, findings
from cubie_planner.plans.plan import Plan

Tasks = Mapping[str, Callable[[Problem], Task]]
BUILT_IN: Tasks = {"cost": Task.of}


@frozen
class Recheck:
    """What was verified of an accepted plan.

    Attributes
    ----------
    findings : tuple of Finding
        Per level, the bound that was proven again.
    prices : str or None
        Name of the objective whose prices the plan has; None where nobody knows them.
    """

    findings: tuple[Finding, ...]
    prices: str | None

    @property
    def unverified(self) -> frozenset[str]:
        """Names of the levels of which it is only claimed that no plan does better.

        Without known prices these are all: each level is about plans as cheap as this one.
        """
        if self.prices is None:
            return frozenset(finding.level.name for finding in self.findings)
        open_ = (f for f in self.findings if f.status is not Status.OPTIMAL)
        return frozenset(finding.level.name for finding in open_)


def recheck(plan: Plan, tasks: Tasks = BUILT_IN) -> Recheck:
    """Prove again what is cheap to prove of a plan that `check` accepts.

    Parameters
    ----------
    plan : Plan
    tasks : mapping of str to callable
        Objectives by name, each as what makes a problem ready to solve with its prices.
    """
    found = findings(plan.problem, plan)
    for name, prepare in tasks.items():
        try:
            task = prepare(plan.problem)
        except DeviceError:  # a device that only its maker knows
            continue
        if task.prices == plan.prices:
            return Recheck(_by_load(task, found), name)
    return Recheck(found, None)


def _by_load(task: Task, found: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Raise the bounds to what the load proves, as it does before any search.

    That counts what the checker leaves out: buffers that may lie inside one another.
    """
    values = {finding.level.name: finding.level.value for finding in found}
    bounds = {finding.level.name: finding.proven for finding in found}
    for claim in load_claims(task):
        holds = all(values.get(level, 0) <= value for level, value in claim.given.items())
        if holds and claim.level in bounds:
            bounds[claim.level] = max(bounds[claim.level], claim.bound)
    return tuple(evolve(finding, proven=bounds[finding.level.name]) for finding in found)
