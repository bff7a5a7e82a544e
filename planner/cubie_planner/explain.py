"""Why a plan is what it is: what its bytes are made of, and what each of its pins costs."""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve

from cubie_planner.declarations.buffers import Buffer
from cubie_planner.declarations.problem import Problem
from cubie_planner.plans.plan import Plan
from cubie_planner.report.explanation import (
    MOST_PINS,
    Explanation,
    HasOrigins,
    PinCost,
    pinned_buffers,
    unpriced,
)
from cubie_planner.solve import plan as make_plan


def explain(
    plan: Plan,
    replan: Callable[[Problem], Plan] | None = None,
    recorded: HasOrigins | None = None,
) -> Explanation:
    """Say what the peak of `plan` is made of and what each pin costs.

    Every pin is priced by planning the problem again without it, if there are at most
    `MOST_PINS`.

    Parameters
    ----------
    plan : Plan
    replan : callable, optional
        How `plan` was made, where that was not by `cubie_planner.plan` as it is.
    recorded : Recorded or Recording, optional
        What `cubie_planner.record` returns, or a `Recording`: the lives that meet at the peak are
        then told with the files and lines where they begin and end.
    """
    pinned = pinned_buffers(plan)
    priced = pinned if len(pinned) <= MOST_PINS else []
    pins = tuple(_pin_cost(plan, buffer, replan or make_plan) for buffer in priced)
    return evolve(unpriced(plan, recorded), pins=pins)


def without_pin(plan: Plan, name: str) -> Problem:
    """Return the problem of `plan` without one pin, and without a plan to stay close to."""
    buffers = [
        evolve(b, pin=None, offset=None) if b.name == name else b for b in plan.problem.buffers
    ]
    return Problem(buffers, plan.limits, plan.problem.policy)


def _pin_cost(plan: Plan, pinned: Buffer, replan: Callable[[Problem], Plan]) -> PinCost:
    free = replan(without_pin(plan, pinned.name))
    without = {level.name: level.value for level in free.levels}
    with_pin = {level.name: level.value for level in plan.levels}
    names = [name for name in with_pin if name != "moves"]
    return PinCost(pinned.name, {n: with_pin[n] - without.get(n, 0) for n in names})
