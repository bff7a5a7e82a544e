"""A plan that the assembler agrees with: candidates are compiled, and the cheapest is kept.

The cost model only proposes. What it makes of registers and stack is an estimate; so every
candidate is compiled, and judged by what the assembler made of it and by the instructions that
it executes. Where everything local stays in registers nothing else is tried: shared memory could
only cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from attrs import evolve, field, frozen

from cubie_planner.declarations.buffers import Location
from cubie_planner.declarations.problem import Problem, ProblemError
from cubie_planner.engines.infeasible import PlanInfeasible, PlanUnknown
from cubie_planner.gpu.cost import CostModel
from cubie_planner.gpu.device import Device
from cubie_planner.gpu.objective import MIN_GAIN
from cubie_planner.gpu.proposals import proposals
from cubie_planner.gpu.static_cost import Assembled, StaticCost, static_cost
from cubie_planner.plans.plan import Plan
from cubie_planner.solve import plan

EFFORT = 3
"""Candidates that are compiled beside the one with everything local."""

BLOCK_SIZES = (32, 64, 128, 256)

Compile = Callable[[Plan], Assembled]


@frozen
class Candidate:
    """One plan, what became of it, and what that costs.

    Attributes
    ----------
    name : str
        Where it comes from, in words.
    plan : Plan
    assembled : Assembled
    cost : StaticCost or None
        At the best of the block sizes asked for; None where no block can be launched.
    refused : str
        Why it may not win, if so.
    """

    name: str
    plan: Plan = field(repr=False)
    assembled: Assembled
    cost: StaticCost | None
    refused: str = ""

    @property
    def total(self) -> float:
        """SM cycles per run and round."""
        return float("inf") if self.cost is None else self.cost.total


@frozen
class Verdict:
    """The plan that was kept, and why.

    Attributes
    ----------
    winner : Candidate
    candidates : tuple of Candidate
        All that were compiled, the one with everything local first.
    reason : str
    """

    winner: Candidate
    candidates: tuple[Candidate, ...]
    reason: str

    @property
    def plan(self) -> Plan:
        return self.winner.plan

    @property
    def gain(self) -> float:
        """How many times as fast as everything local the winner is, by static cost."""
        return self.candidates[0].total / self.winner.total


def checked_plan(
    problem: Problem,
    compile_kernel: Compile,
    *,
    effort: int = EFFORT,
    model: CostModel | None = None,
    block_sizes: tuple[int, ...] | None = None,
) -> Verdict:
    """Plan for the policy "auto", and let the assembler decide.

    Parameters
    ----------
    problem : Problem
        With the policy "auto" and a compute capability in its limits.
    compile_kernel : callable
        ``compile_kernel(plan) -> Assembled``.
    effort : int
        How many candidates are compiled at most beside the one with everything local.
    model : CostModel, optional
        The built-in model of the compute capability if not given.
    block_sizes : tuple of int, optional
        What the block size may be; that of the limits if not given. The winner's plan is
        one for its block size.

    Returns
    -------
    Verdict

    Raises
    ------
    ProblemError
        For another policy, or without a compute capability.
    PlanInfeasible
        Where no plan keeps pins and limits.
    """
    capability = problem.limits.compute_capability
    if problem.policy != "auto" or capability is None:
        raise ProblemError(
            "a checked plan needs the policy 'auto' and Limits(compute_capability=(major, minor)); "
            f"got policy {problem.policy!r} and compute capability {capability}",
            (),
        )
    model = CostModel.for_capability(capability) if model is None else model
    judge = _Judge(problem, compile_kernel, model, block_sizes or (problem.limits.block_size,))
    first = judge.candidate("everything local", plan(evolve(problem, policy="local")), None)
    if first.assembled.stays_in_registers:
        told = f"everything local fits in {first.assembled.registers} registers: no stack is used."
        return Verdict(judge.resized(first), (first,), told)
    found = [first]
    seen = {_layout(first.plan)}
    for name, proposed in _planned(problem, model, first.assembled):
        if len(found) > effort:
            break
        if _layout(proposed) not in seen:
            seen.add(_layout(proposed))
            found.append(judge.candidate(name, proposed, first))
    return _decided(judge, found)


@frozen
class _Judge:
    """Compiles plans, and says what they cost."""

    problem: Problem
    compile_kernel: Compile
    model: CostModel
    block_sizes: tuple[int, ...]

    def candidate(self, name: str, proposed: Plan, local: Candidate | None) -> Candidate:
        """Compile a plan; `local` is the candidate with everything local."""
        assembled = self.compile_kernel(proposed)
        capability = self.problem.limits.compute_capability
        assert capability is not None, "a checked plan has a target"
        device = Device.for_capability(capability)
        stride, limit = proposed.run_stride_bytes, self.problem.limits.max_shared_bytes
        most = device.shared_per_block_optin if limit is None else limit
        costs = [
            static_cost(device, self.model, assembled, size, stride)
            for size in self.block_sizes
            if stride * size <= most
        ]
        possible = [cost for cost in costs if cost is not None]
        asked = self.problem.limits.block_size
        # Equals go to the size that was asked for, or the nearest one to it.
        cost = min(
            possible,
            key=lambda cost: (cost.total, abs(cost.block_size - asked)),
            default=None,
        )
        refused = "" if local is None else _refusal(cost, local.cost)
        return Candidate(name, proposed, assembled, cost, refused)

    def resized(self, candidate: Candidate) -> Candidate:
        """Return the candidate with a plan for the block size that it is best at."""
        cost = candidate.cost
        if cost is None or cost.block_size == candidate.plan.limits.block_size:
            return candidate
        limits = evolve(self.problem.limits, block_size=cost.block_size)
        sized = plan(Problem(self.problem.buffers, limits, _places(candidate.plan)))
        if _layout(sized) != _layout(candidate.plan):
            return candidate  # another kernel: it would have to be compiled again
        return evolve(candidate, plan=sized)


def _refusal(cost: StaticCost | None, local: StaticCost | None) -> str:
    """Say why a candidate may not win against everything local; nothing where it may."""
    if cost is None:
        return "no block of it can be launched"
    if local is None:
        return ""
    more = cost.instructions > local.instructions
    if more and cost.local_accesses > local.local_accesses:
        return "it executes more instructions and has more local traffic"
    return ""


def _planned(problem: Problem, model: CostModel, local: Assembled) -> Iterator[tuple[str, Plan]]:
    """Yield the plans worth compiling, the most promising first; those without one are left out."""
    for name, places in proposals(problem, model, local.registers):
        policy = "auto" if places is None else places
        try:
            yield name, plan(evolve(problem, policy=policy))
        except (PlanInfeasible, PlanUnknown, ProblemError):
            continue


def _decided(judge: _Judge, found: list[Candidate]) -> Verdict:
    first = found[0]
    allowed = [candidate for candidate in found if not candidate.refused]
    best = min(allowed, key=lambda candidate: candidate.total)
    if best.total * MIN_GAIN > first.total:
        best = first
    if best is first:
        told = (
            f"of {len(found)} candidates none costs so much less than everything local "
            f"({first.total:.4g} SM cycles a run and round) that it could be told."
        )
    else:
        assert best.cost is not None, "what costs less than infinity can be launched"
        told = (
            f"{best.name}: {best.total:.4g} SM cycles a run and round against {first.total:.4g} "
            f"with everything local, {first.total / best.total:.2f} times as fast, with "
            f"{best.cost.resident_runs} runs a multiprocessor."
        )
    return Verdict(judge.resized(best), tuple(found), told)


def _layout(plan: Plan) -> tuple:
    """Return everything of a plan that a kernel is built from."""
    return tuple(
        (p.name, p.location, p.offset, p.parent, p.parent_offset) for p in plan.placements.values()
    )


def _places(plan: Plan) -> Mapping[str, Location]:
    return {name: placement.location for name, placement in plan.placements.items()}
