"""Options decided together with places and offsets: the best combination, and the proof of it.

Every combination of options is a problem of its own. Those whose lower bound is above what was
reached need no plan; the others are planned, the most promising first. What is proven of all of
them together is what is claimed.
"""

from cubie_planner.declarations.choices import Alternatives, Choice, Option, Picked
from cubie_planner.declarations.limits import ProblemError
from cubie_planner.engines.infeasible import PlanInfeasible, PlanUnknown
from cubie_planner.engines.load_claims import load_claims
from cubie_planner.engines.task import Task
from cubie_planner.plans.answer import COST
from cubie_planner.plans.decision import (
    Decision,
    Outcome,
    check_decision,
    in_order,
    joint_levels,
    levels_of,
)
from cubie_planner.plans.plan import Plan
from cubie_planner.solve import EFFORT, check_options, plan

__all__ = ["Alternatives", "Choice", "Decision", "Option", "Outcome", "decide"]


ENOUGH = "not looked at: another one fits"


def decide(alternatives: Alternatives, *, effort: float = EFFORT, fits: bool = False) -> Decision:
    """Pick an option of every choice, and plan what they make.

    The objectives are those of plans, in their order: the cost of places and options together,
    then bytes. Among equals the combination that comes first wins.

    Parameters
    ----------
    alternatives : Alternatives
    effort : float
        As for `plan`, for each combination.
    fits : bool
        Take the first combination, the least costs first, of which a plan keeps within its limits,
        and lower nothing further. What was not looked at keeps its bounds by load.

    Returns
    -------
    Decision
        OPTIMAL only where no other combination can be better: each was proven to be worse, to be
        equal, or to have no plan.

    Raises
    ------
    PlanInfeasible
        When it is proven that no combination has a plan; says why of the first.
    PlanUnknown
        When none was found, and that is not proven of all.
    ProblemError
        When costs of combinations count different things.
    TypeError, ValueError
        As of `plan`.
    """
    if not isinstance(alternatives, Alternatives):
        raise TypeError(f"decide takes Alternatives, got {alternatives!r:.80}")
    check_options(effort, fits)
    combinations = list(alternatives.combinations())
    tasks = [Task.of(alternatives.problem_of(picked)) for picked in combinations]
    _check_units(tasks)
    least = [_least(alternatives, *pair) for pair in zip(combinations, tasks, strict=True)]
    outcomes: dict[int, Outcome] = {}
    plans: dict[int, Plan] = {}
    refused: dict[int, PlanInfeasible] = {}
    best: int | None = None
    for index in sorted(range(len(combinations)), key=lambda i: (least[i][COST], i)):
        picked = combinations[index]
        if best is not None and _is_worse(least[index], outcomes[best]):
            told = f"costs at least {least[index][COST]}, more than what was picked"
            if least[index][COST] == _reached(outcomes[best])[COST]:
                told = "costs as much and needs more bytes"
            outcomes[index] = Outcome(picked, None, least[index], False, told)
            continue
        if fits and best is not None:
            outcomes[index] = Outcome(picked, None, least[index], False, ENOUGH)
            continue
        try:
            made = plan(tasks[index].problem, effort=effort, fits=fits)
        except PlanInfeasible as error:
            outcomes[index], refused[index] = Outcome(picked, None, {}, True, str(error)), error
            continue
        except PlanUnknown as error:
            outcomes[index] = Outcome(picked, None, least[index], False, str(error))
            continue
        plans[index] = made
        outcomes[index] = _planned(alternatives, picked, made)
        if best is None or _comes_first(outcomes, index, best):
            best = index
    ordered = tuple(outcomes[index] for index in range(len(combinations)))
    if best is None:
        raise _nothing(ordered, refused)
    reached = {name: _reached(ordered[best]).get(name, 0) for name in levels_of(ordered)}
    levels = joint_levels(reached, ordered)
    decision = Decision(alternatives, combinations[best], plans[best], levels, ordered)
    check_decision(decision)
    return decision


def _check_units(tasks: list[Task]) -> None:
    """Refuse costs that cannot be added up: of points and of cycles, say."""
    units = {task.unit: task.problem for task in tasks if task.has_cost}
    if len(units) > 1:
        one, other = list(units)[:2]
        raise ProblemError(
            f"the costs of some options count {one}; those of others, {other}: they cannot be "
            "compared. Name a policy such as 'shared', or give no compute capability"
        )


def _least(alternatives: Alternatives, picked: Picked, task: Task) -> dict[str, int]:
    """Return what no plan of a combination does better than, by load alone."""
    bounds = dict.fromkeys((*task.levels(), COST), 0)
    for claim in load_claims(task):
        if claim.level in bounds:
            bounds[claim.level] = max(bounds[claim.level], claim.bound)
    bounds[COST] += alternatives.cost_of(picked)
    return bounds


def _planned(alternatives: Alternatives, picked: Picked, made: Plan) -> Outcome:
    extra = alternatives.cost_of(picked)
    values = {level.name: level.value for level in made.levels}
    bounds = {level.name: level.bound for level in made.levels}
    values[COST] = values.get(COST, 0) + extra
    bounds[COST] = bounds.get(COST, 0) + extra
    return Outcome(picked, values, bounds)


def _reached(outcome: Outcome) -> dict[str, int]:
    assert outcome.values is not None, "the best has a plan"
    return dict(outcome.values)


def _is_worse(least: dict[str, int], best: Outcome) -> bool:
    """Return whether bounds alone prove that a combination cannot even be equal.

    Bounds by load of bytes are about plans of the least cost: they say nothing where a plan may
    cost more and still be as good.
    """
    reached = _reached(best)
    if least[COST] != reached[COST]:
        return least[COST] > reached[COST]
    for name in in_order({*least, *reached} - {COST}):
        bound, value = least.get(name, 0), reached.get(name, 0)
        if bound != value:
            return bound > value
    return False


def _comes_first(outcomes: dict[int, Outcome], one: int, other: int) -> bool:
    mine, theirs = _reached(outcomes[one]), _reached(outcomes[other])
    names = in_order({*mine, *theirs})
    first, second = ([values.get(name, 0) for name in names] for values in (mine, theirs))
    return (first, one) < (second, other)


def _nothing(
    outcomes: tuple[Outcome, ...], refused: dict[int, PlanInfeasible]
) -> PlanInfeasible | PlanUnknown:
    """Return the error of alternatives of which none has a plan."""
    if all(outcome.impossible for outcome in outcomes):
        first = refused[min(refused)]
        told = ", ".join(f"{n} = {option}" for n, option in outcomes[min(refused)].picked.items())
        text = f"none of {len(outcomes)} combinations of options has a plan; with {told}: {first}"
        return PlanInfeasible(
            text, first.core, first.limit, first.needed, first.largest_block, first.irreducible
        )
    return PlanUnknown("no combination of options was found to have a plan; raise the effort")
