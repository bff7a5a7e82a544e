"""A plan that the assembler agrees with: candidates are compiled, and the cheapest is kept.

The cost model only proposes. What it makes of registers and stack is an estimate; so every
candidate is compiled, and judged by what the assembler made of it and by the instructions that
it executes. Where everything local stays in registers nothing else is tried: shared memory could
only cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from attrs import evolve, field, frozen

from cubie_planner.assembler.disassembly import UnreadableCode
from cubie_planner.declarations.limits import ProblemError
from cubie_planner.declarations.places import Place
from cubie_planner.declarations.problem import Problem
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

MOST_ARITHMETIC = 1.5
"""How many times the floating-point arithmetic of another placement a step may execute.

Where buffers lie changes nothing of it, but for what compilers work out twice rather than keep.
"""

UNTOLD = "what a step executes cannot be told"

Compile = Callable[[Plan], Assembled]


@frozen(kw_only=True)
class Candidate:
    """One placement, what became of it, and what that costs.

    Attributes
    ----------
    name : str
        Where it comes from, in words.
    places : mapping of str to Location or Pool
        Of every buffer.
    shared_bytes_per_run : int
    registers, stack_bytes, spill_bytes : int
        By the assembler, of a thread.
    cost : StaticCost or None
        At the best of the block sizes asked for. None where no block can be launched, and for
        a kernel without a stack that is the only candidate: nothing was counted.
    refused : str
        Why it may not win, if so.
    """

    name: str
    places: Mapping[str, Place] = field(repr=False)
    shared_bytes_per_run: int
    registers: int
    stack_bytes: int
    spill_bytes: int
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
    plan : Plan
        For the block size that is best, of those asked for.
    candidates : tuple of Candidate
        All that were compiled, the one with everything local first.
    winner : int
        Which of them the plan is.
    reason : str
    """

    plan: Plan = field(repr=False)
    candidates: tuple[Candidate, ...]
    winner: int
    reason: str

    @property
    def gain(self) -> float:
        """How many times as fast as everything local the winner is, by static cost."""
        if self.winner == 0:
            return 1.0
        return self.candidates[0].total / self.candidates[self.winner].total

    def __str__(self) -> str:
        return "\n".join([self.reason, *map(_line, self.candidates)])


def _line(candidate: Candidate) -> str:
    cost, taken = (
        candidate.cost,
        f"{candidate.registers} registers, {candidate.stack_bytes} B stack",
    )
    if cost is None:
        return f"  {candidate.name}: {'; '.join(filter(None, (taken, candidate.refused)))}"
    told = (
        f"  {candidate.name}: {candidate.shared_bytes_per_run} B shared a run, {taken}, "
        f"{cost.instructions} instructions with {cost.local_accesses} accesses to local and "
        f"{cost.shared_accesses} to shared memory, {cost.resident_warps} warps; "
        f"{cost.total:.4g} cycles"
    )
    return f"{told}; refused: {candidate.refused}" if candidate.refused else told


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
    UnreadableCode
        Where it cannot be told what a step executes with everything local.
    """
    capability = problem.limits.compute_capability
    if problem.policy != "auto" or capability is None:
        raise ProblemError(
            "a checked plan needs the policy 'auto' and Limits(compute_capability=(major, minor)); "
            f"got policy {problem.policy!r} and compute capability {capability}",
            (),
        )
    model = CostModel.for_capability(capability) if model is None else model
    judge = _Judge(problem, model, block_sizes or (problem.limits.block_size,))
    local = plan(evolve(problem, policy="local"))
    proposed = replanned(problem, _places(local))
    made = compile_kernel(proposed)
    if made.stack_bytes == 0 and made.spill_bytes == 0:
        first = _candidate("everything local", proposed, made, None)
        told = f"Everything local fits in {made.registers} registers: there is no stack."
        return Verdict(judge.plan_of(first), (first,), 0, told)
    first = judge.candidate("everything local", proposed, made, None)
    found = [first]
    for name, proposed in _planned(problem, model, first):
        if len(found) > effort:
            break
        if _places(proposed) not in [candidate.places for candidate in found]:
            made = compile_kernel(proposed)
            found.append(judge.candidate(name, proposed, made, first.cost))
    winner, told = _decided(found)
    return Verdict(judge.plan_of(found[winner]), tuple(found), winner, told)


def replanned(problem: Problem, places: Mapping[str, Place], block_size: int | None = None) -> Plan:
    """Return the plan of a problem with every place given, which is what candidates are.

    Where the policy of the problem leads to the same kernel, it is the plan by that policy.
    """
    limits = problem.limits
    if block_size is not None:
        limits = evolve(limits, block_size=block_size)
    given = plan(Problem(problem.buffers, limits, places))
    by_policy = plan(evolve(problem, limits=limits))
    return by_policy if _layout(by_policy) == _layout(given) else given


@frozen
class _Judge:
    """Says what compiled plans cost."""

    problem: Problem
    model: CostModel
    block_sizes: tuple[int, ...]

    def candidate(
        self, name: str, proposed: Plan, made: Assembled, local: StaticCost | None
    ) -> Candidate:
        """Judge a plan; `local` is what the candidate with everything local costs.

        Raises
        ------
        UnreadableCode
            Where there is none as yet, or too little was counted in it: without it nothing can be
            compared.
        """
        try:
            cost = self._cost(made, proposed)
        except UnreadableCode:
            if local is None:
                raise
            return _candidate(name, proposed, made, None, UNTOLD)
        if cost is not None and local is not None:
            if cost.arithmetic > MOST_ARITHMETIC * local.arithmetic:
                raise UnreadableCode(
                    f"{UNTOLD[0].upper()}{UNTOLD[1:]}: {local.arithmetic} instructions of "
                    "floating-point arithmetic were counted with everything local, and "
                    f"{cost.arithmetic} with {name}, which does the same work.",
                    name,
                )
            if local.arithmetic > MOST_ARITHMETIC * cost.arithmetic:
                return _candidate(name, proposed, made, None, UNTOLD)
        return _candidate(name, proposed, made, cost, _refusal(cost, local))

    def _cost(self, assembled: Assembled, proposed: Plan) -> StaticCost | None:
        """Return the least cost at any block size; equals go to the size that was asked for."""
        limits = self.problem.limits
        assert limits.compute_capability is not None, "a checked plan has a target"
        device = Device.for_capability(limits.compute_capability)
        most = limits.max_shared_bytes
        most = device.shared_per_block_optin if most is None else most
        stride, start = proposed.run_stride_bytes, proposed.slices_start_bytes
        costs = (
            static_cost(device, self.model, assembled, size, stride, start)
            for size in self.block_sizes
            if start + stride * size <= most
        )
        return min(
            (cost for cost in costs if cost is not None),
            key=lambda cost: (cost.total, abs(cost.block_size - limits.block_size)),
            default=None,
        )

    def plan_of(self, candidate: Candidate) -> Plan:
        """Return the plan of a candidate, for the block size that it is best at."""
        size = None if candidate.cost is None else candidate.cost.block_size
        asked = replanned(self.problem, candidate.places)
        try:
            sized = replanned(self.problem, candidate.places, size)
        except (PlanInfeasible, PlanUnknown):
            return asked
        # Of another layout it would be another kernel than the one that was compiled.
        return sized if _layout(sized) == _layout(asked) else asked


def _candidate(
    name: str, proposed: Plan, made: Assembled, cost: StaticCost | None, refused: str = ""
) -> Candidate:
    return Candidate(
        name=name,
        places=_places(proposed),
        shared_bytes_per_run=proposed.shared_bytes_per_run,
        registers=made.registers,
        stack_bytes=made.stack_bytes,
        spill_bytes=made.spill_bytes,
        cost=cost,
        refused=refused,
    )


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


def _planned(problem: Problem, model: CostModel, local: Candidate) -> Iterator[tuple[str, Plan]]:
    """Yield the plans worth compiling, the most promising first; those without one are left out."""
    waits = local.cost is not None and 2 * local.cost.stack > local.cost.total
    for name, places in proposals(problem, model, local.registers, waits):
        try:
            found = _places(plan(places)) if isinstance(places, Problem) else places
            yield name, replanned(problem, found)
        except (PlanInfeasible, PlanUnknown, ProblemError):
            continue


def _decided(found: list[Candidate]) -> tuple[int, str]:
    """Return which candidate wins, and why."""
    first = found[0]
    allowed = [number for number, candidate in enumerate(found) if not candidate.refused]
    winner = min(allowed, key=lambda number: found[number].total, default=0)
    best = found[winner]
    if winner == 0 or best.cost is None or best.total * MIN_GAIN > first.total:
        return 0, (
            f"None of {len(found) - 1} other candidates costs clearly less than everything local, "
            f"which takes {first.total:.4g} SM cycles a run and step."
        )
    return winner, (
        f"{best.name} takes {best.total:.4g} SM cycles a run and step, and everything local "
        f"{first.total:.4g}: {first.total / best.total:.2f} times as fast, with "
        f"{best.cost.resident_runs} runs on a multiprocessor."
    )


def _layout(plan: Plan) -> tuple:
    """Return everything of a plan that a kernel is built from."""
    return tuple(
        (p.name, p.location, p.offset, p.parent, p.parent_offset) for p in plan.placements.values()
    )


def _places(plan: Plan) -> Mapping[str, Place]:
    return {name: placement.location for name, placement in plan.placements.items()}
