"""Plans that are compiled before one is kept: which candidates, which wins, and why."""

from collections import Counter

import pytest
from attrs import evolve

from cubie_planner import Buffer, Limits, Location, Problem, ProblemError, check
from cubie_planner.assembler.blocks import Block
from cubie_planner.assembler.disassembly import UnreadableCode
from cubie_planner.assembler.executed import Executed
from cubie_planner.assembler.instructions import Instruction
from cubie_planner.checked import checked_plan
from cubie_planner.gpu.cost import CostModel
from cubie_planner.gpu.device import Device, known_devices
from cubie_planner.gpu.static_cost import Assembled, static_cost, throughput

HOPPER = (9, 0)


def executed(**counts: int) -> Executed:
    """Return so many executions of instructions by opcode; ``LDL_64`` is ``LDL.64``."""
    blocks = {}
    for name, times in counts.items():
        instruction = Instruction(0, None, False, name.replace("_", "."), ("R2", "R4"))
        blocks[Block(0, (instruction,))] = times
    return Executed(Counter(blocks))


def assembled(registers: int = 64, stack: int = 0, **counts: int) -> Assembled:
    """Return what an assembler might say."""
    return Assembled(
        registers=registers, stack_bytes=stack, spill_bytes=0, count=lambda: executed(**counts)
    )


def problem(n: int = 200, capability=HOPPER, **changes) -> Problem:
    """Return a kernel whose arrays do not fit in registers."""
    buffers = [
        Buffer("hot", n, "f4", access_weight=30),
        *(Buffer(f"k{j}", n, "f4", access_weight=4) for j in range(8)),
    ]
    limits = Limits(block_size=64, compute_capability=capability)
    return Problem(buffers, limits, **changes)


class Compiler:
    """Pretends to compile: local arrays of more than 255 words lie in the stack."""

    def __init__(self, instructions: int = 1000):
        self.plans = []
        self.instructions = instructions

    def __call__(self, plan):
        self.plans.append(plan)
        local = [p for p in plan.placements.values() if p.location is not Location.SHARED]
        weights = plan.problem.by_name
        moved = [p for p in plan.placements.values() if p.location is Location.SHARED]
        touched = [sum(weights[p.name].access_weight * 200 for p in ps) for ps in (local, moved)]
        stack = sum(p.size_bytes for p in local)
        return assembled(
            255 if stack else 80, stack, FFMA=self.instructions, LDL=touched[0], LDS=touched[1]
        )


def test_nothing_else_is_compiled_where_there_is_no_stack():
    """A kernel that stays in registers costs one compilation, and nothing is shared."""
    compiled = []

    def in_registers(plan):
        compiled.append(plan)
        # What it executes is not asked for: that may need what is not installed.
        return Assembled(registers=40, stack_bytes=0, spill_bytes=0, count=lambda: 1 / 0)

    verdict = checked_plan(problem(), in_registers)
    assert len(compiled) == len(verdict.candidates) == 1
    assert verdict.plan.shared_bytes_per_run == 0
    assert "40 registers" in verdict.reason


@pytest.mark.parametrize("effort", [1, 2, 5])
def test_effort_is_how_many_are_compiled(effort):
    """At most so many candidates are compiled beside the one with everything local, each once."""
    compiler = Compiler()
    verdict = checked_plan(problem(), compiler, effort=effort)
    assert len(compiler.plans) == len(verdict.candidates) <= effort + 1
    places = [tuple(sorted(candidate.places.items())) for candidate in verdict.candidates]
    assert len(set(places)) == len(places)


def test_the_cheapest_candidate_is_kept():
    """What was compiled and costs least is the plan; it is valid, and the gain is that of costs."""
    asked = problem()
    verdict = checked_plan(asked, Compiler(), effort=6)
    totals = [candidate.total for candidate in verdict.candidates]
    assert totals[verdict.winner] == min(totals) < totals[0]
    assert verdict.gain == totals[0] / min(totals)
    check(verdict.plan.problem, verdict.plan)
    won = verdict.candidates[verdict.winner]
    assert {n: p.location for n, p in verdict.plan.placements.items()} == won.places
    assert won.name in verdict.reason
    assert str(verdict).count("\n") == len(verdict.candidates)


def test_more_instructions_and_more_traffic_never_win():
    """A candidate that executes more and has more local traffic is refused, whatever it costs."""

    def worse(plan):
        if plan.shared_bytes_per_run:
            return assembled(32, 16, FFMA=1001, LDL=101, LDS=1)
        return assembled(255, 4000, FFMA=1000, LDL=100)

    verdict = checked_plan(problem(), worse, effort=4)
    assert verdict.winner == 0
    assert min(candidate.total for candidate in verdict.candidates) < verdict.candidates[0].total
    assert all("more local traffic" in c.refused for c in verdict.candidates[1:])


def test_everything_shared_is_tried_where_the_stack_takes_most_of_the_time():
    """A few warps without a stack may be faster than many that wait for theirs; others may not."""

    def made(stack):
        def compile_kernel(plan):
            if any(p.location is Location.LOCAL for p in plan.placements.values()):
                return assembled(255, stack, FFMA=1000, LDL=stack // 40)
            return assembled(40, 0, FFMA=1000, LDS=400)

        return compile_kernel

    for stack, won in ((16_000, "everything shared"), (16, "everything local")):
        verdict = checked_plan(problem(n=60), made(stack))
        names = [candidate.name for candidate in verdict.candidates]
        assert names[verdict.winner] == won
        assert ("everything shared" in names) == (stack == 16_000)
    too_large = checked_plan(problem(n=200), made(16_000)).candidates
    assert "everything shared" not in [candidate.name for candidate in too_large]


def test_a_candidate_that_cannot_be_counted_is_refused():
    """The others are judged all the same; without everything local nothing is."""

    def made(unreadable):
        def compile_kernel(plan):
            def count():
                if unreadable(plan.shared_bytes_per_run):
                    raise UnreadableCode("A loop of no known form.", "kernel")
                return executed(FFMA=1000, LDL=100)

            return Assembled(registers=255, stack_bytes=4000, spill_bytes=0, count=count)

        return compile_kernel

    verdict = checked_plan(problem(), made(lambda shared: shared > 0))
    assert verdict.winner == 0
    assert len(verdict.candidates) > 1
    assert all("cannot be told" in c.refused for c in verdict.candidates[1:])
    with pytest.raises(UnreadableCode, match="no known form"):
        checked_plan(problem(), made(lambda shared: True))


def test_a_count_with_too_little_arithmetic_is_not_believed():
    """Placements do the same work: who does far less was not counted whole, and nobody wins by it.

    Where it is everything local that does less there is nothing to compare with.
    """

    def made(local, shared):
        def compile_kernel(plan):
            work = shared if plan.shared_bytes_per_run else local
            return assembled(255, 4000, FFMA=work, LDL=100)

        return compile_kernel

    verdict = checked_plan(problem(), made(1000, 600))
    assert verdict.winner == 0
    assert [c.cost for c in verdict.candidates[1:]] == [None] * (len(verdict.candidates) - 1)
    assert all("cannot be told" in c.refused for c in verdict.candidates[1:])
    with pytest.raises(UnreadableCode, match=r"1000 .* everything local, and 1600 with"):
        checked_plan(problem(), made(1000, 1600))
    assert checked_plan(problem(), made(1000, 1400)).candidates[1].cost is not None


def test_a_gain_that_cannot_be_told_is_not_taken():
    """Everything local stays where another placement costs only a little less."""

    def alike(plan):
        return assembled(255, 64, FFMA=1000 - bool(plan.shared_bytes_per_run), LDL=1)

    assert checked_plan(problem(), alike).winner == 0


def test_pins_are_kept_by_all_candidates():
    """A buffer that is pinned is where its pin says, in everything that is compiled."""
    asked = problem()
    pinned = [evolve(b, pin=Location.SHARED) if b.name == "k3" else b for b in asked.buffers]
    compiler = Compiler()
    checked_plan(Problem(pinned, asked.limits), compiler, effort=4)
    assert all(p.placements["k3"].location is Location.SHARED for p in compiler.plans)


def test_a_free_block_size_is_chosen_without_compiling_again():
    """Of the block sizes allowed, the plan has the one that costs least."""
    compiler = Compiler()
    sizes = (64, 32, 128)
    verdict = checked_plan(problem(), compiler, effort=3, block_sizes=sizes)
    won = verdict.candidates[verdict.winner]
    assert verdict.plan.limits.block_size == won.cost.block_size
    assert len(compiler.plans) == len(verdict.candidates)
    alone = [checked_plan(problem(), Compiler(), effort=3, block_sizes=(s,)) for s in sizes]
    assert won.total <= min(v.candidates[v.winner].total for v in alone)


def test_the_same_question_has_the_same_answer():
    """Nothing depends on time or order of memory."""
    one, other = (checked_plan(problem(), Compiler(), effort=4) for _ in range(2))
    assert str(one) == str(other)
    assert one.plan.to_json() == other.plan.to_json()


@pytest.mark.parametrize("changes", [{"policy": "local"}, {"capability": None}])
def test_only_auto_for_a_device_is_checked(changes):
    """Another policy, or no device, is an error that says what is needed."""
    with pytest.raises(ProblemError, match="policy 'auto' and Limits"):
        checked_plan(problem(**changes), Compiler())


# ---- what it costs -------------------------------------------------------------------


def cost(found: Assembled, block_size: int = 64, stride: int = 0, capability=HOPPER):
    """Return the static cost on a device."""
    return static_cost(
        Device.for_capability(capability),
        CostModel.for_capability(capability),
        found,
        block_size,
        stride,
    )


def test_double_precision_takes_its_lanes():
    """On a card with two lanes of double precision an instruction takes as long as 64 others."""
    single, double = assembled(32, FFMA=64), assembled(32, DFMA=1)
    assert cost(single, capability=(8, 9)).total == cost(double, capability=(8, 9)).total
    assert cost(assembled(32, DFMA=64)).total < cost(single).total * 4


@pytest.mark.parametrize("capability", known_devices())
def test_every_capability_has_throughputs(capability):
    """Units of each class have a rate on every device, and none is above four warps a cycle."""
    rates, issued = throughput(capability)
    assert issued == 4
    assert all(0 < rate <= 32 * issued for rate in rates.values())


def test_stack_costs_what_the_caches_do_not_hold():
    """Equal accesses cost more where the frames of all resident threads exceed L1."""
    small, large = (assembled(255, stack, FFMA=100, LDL=50) for stack in (16, 16_000))
    assert cost(small).stack < cost(large).stack
    assert cost(small).issue == cost(large).issue


def test_accesses_that_may_be_of_any_memory_are_taken_for_those_of_the_stack():
    """A function that was not made part of the kernel gets addresses whose memory nothing tells."""
    told, untold = (
        assembled(64, 512, FFMA=100, LDL=50, STL=50),
        assembled(64, 512, FFMA=100, LD=50, ST=50),
    )
    assert cost(untold) == cost(told)
    assert cost(told).local_accesses == 100


def test_shared_memory_takes_cache_residency_and_conflicts():
    """A larger slice leaves less cache and fewer blocks; an even stride has conflicts."""
    found = assembled(64, 512, FFMA=100, LDL=50, LDS=50)
    odd, even, large = (cost(found, stride=stride) for stride in (132, 128, 1028))
    assert odd.shared < even.shared
    assert large.resident_warps < odd.resident_warps
    assert cost(found, stride=4000) is None
    wide = assembled(64, 512, FFMA=100, LDL=50, LDS_64=50)
    assert cost(wide, stride=132).shared > odd.shared


def test_few_warps_leave_the_schedulers_idle():
    """The same instructions take longer where too few warps are resident to hide latencies."""
    few, many = (assembled(registers, FFMA=100) for registers in (255, 40))
    assert cost(few).issue > cost(many).issue
