"""What a CUDA kernel executes for one step: counted from its machine code, without a GPU.

The loop that takes steps is found by the source lines of its instructions, and so is the way
round it: through the algorithm, the controller and what is done after an accepted step; past
what only some steps do (saving, a second look at equations that were not solved). Of steps that
need no judging, compilers unroll several into a round of the loop; their counter says how many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from attrs import evolve, frozen

from cubie_planner.assembler.blocks import Block
from cubie_planner.assembler.calls import Place
from cubie_planner.assembler.classes import is_arithmetic
from cubie_planner.assembler.disassembly import UnreadableCode
from cubie_planner.assembler.executed import Executed
from cubie_planner.assembler.machine_code import MachineCode
from cubie_planner.assembler.sources import Marks

# What takes fixed steps that need no judging, where there are any, and what counts them; else what
# makes attempts: one in each round, since every attempt may end the loop.
FREE_STEPS = Marks(("run/free_steps.py:advance",))
COUNTS_STEPS = Marks(("run/free_steps.py:free_steps",))
ATTEMPTS = Marks(("run/attempt.py:attempt", "run/attempt.py:count", "run/attempt.py:outcome"))
ALGORITHM = ("algorithms/", "controllers/", "numerics/error_norm.py")
RARE = (
    *("run/saving.py", "run/summaries/", "run/observing.py", "run/loop.py:empty_full"),
    *("solvers/second_look.py", "solvers/restoring.py"),
)
ACCEPTED = ("run/attempt.py", "run/free_steps.py", *ALGORITHM)
REJECTED_ASIDE = (":commit",)
# Iterations: how often they go round data say, and what is assumed of one is assumed of all.
ITERATIONS = Marks(
    (
        *("solvers/newton.py:solve", "solvers/bicgstab.py", "solvers/gmres.py"),
        *("solvers/one_direction.py", "run/inside.py", "run/events/", "run/summaries/"),
    )
)
# Of the arithmetic in a kernel, but for what is done rarely, a step executes so much at least: the
# rest is the first step's derivatives, and what loops that were unrolled leave over.
LEAST_SHARE = 0.25


@frozen
class StepCode:
    """Instructions of one attempted step.

    Attributes
    ----------
    rejected, accepted : Executed
        Of a step that is rejected, and of one that is accepted and not saved. Where acceptance is
        data and no branch, they are the same.
    newton_iterations : int
        What was assumed of each iteration for the equations of a stage.
    steps_per_round : int
        Steps that were unrolled into a round of the loop.
    """

    rejected: Executed
    accepted: Executed
    newton_iterations: int
    steps_per_round: int = 1


def step_code(cubin: bytes, newton_iterations: int = 1) -> StepCode:
    """Count what a kernel executes for a step.

    Parameters
    ----------
    cubin : bytes
        Of a kernel that was compiled with lines, as ``kernel.resources(cc, lines=True)`` does.
    newton_iterations : int
        How often each iteration goes round whose length depends on data.

    Raises
    ------
    cubie_planner.assembler.disassembly.NoDisassembler
        Where `nvdisasm` is not installed.
    cubie_planner.assembler.disassembly.UnreadableCode
        Where the code is of a form that is not understood; where a loop that is no iteration goes
        round as often as data say; and where what was found is too little to be a step.
    """
    code = MachineCode.of(cubin)
    loop, steps = _steps_of(code)

    def executed(through: tuple[str, ...], aside: tuple[str, ...]) -> Executed:
        found = code.executed(
            Marks(through), Marks(aside), loop=loop, assumed_trips=newton_iterations
        )
        return evolve(found, shares=steps)

    accepted = executed(ACCEPTED, RARE)
    _require_iterations(code, accepted)
    _require_most_of_the_work(code, accepted)
    return StepCode(
        rejected=executed(ALGORITHM, (*RARE, *REJECTED_ASIDE)),
        accepted=accepted,
        newton_iterations=newton_iterations,
        steps_per_round=steps,
    )


def _require_iterations(code: MachineCode, step: Executed) -> None:
    """Refuse loops of which a number of rounds was assumed, and which are no iterations."""
    for loop in step.repeated:
        inside = [instruction for block in loop.blocks for instruction in block.instructions]
        if not loop.compares_reals or not any(map(ITERATIONS.hold_innermost, inside)):
            sources = Counter(i.source[0] for i in inside if i.source)
            where = "of unknown source"
            if sources:
                frame = sources.most_common(1)[0][0]
                where = f"at {Path(frame.file).name}:{frame.line}"
            raise UnreadableCode(
                f"How often the loop {where} goes round in a step cannot be told from the "
                "machine code: how far it counts is looked up, or depends on another loop.",
                code.kernel.name,
            )


def _require_most_of_the_work(code: MachineCode, step: Executed) -> None:
    """Refuse a step that leaves out nearly all arithmetic of the kernel: it is another loop."""
    rare = Marks(RARE)

    def work(blocks: Iterable[Block]) -> int:
        inside = (instruction for block in blocks for instruction in block.instructions)
        return sum(is_arithmetic(i) and not rare.hold(i) for i in inside)

    found, every = work(step.blocks), work(code.functions.all_blocks)
    if found < LEAST_SHARE * every:
        raise UnreadableCode(
            f"The step that was found in {code.kernel.name!r} executes {found} of {every} "
            "instructions of floating-point arithmetic: it cannot be all of a step.",
            code.kernel.name,
        )


def _steps_of(code: MachineCode) -> tuple[Marks | Place, int]:
    """Return the loop that takes steps, and how many it takes in a round."""
    counted = code.counted_loop(COUNTS_STEPS)
    if counted is not None:
        return counted
    if code.holds(FREE_STEPS):
        name = code.kernel.name
        raise UnreadableCode(
            f"How many steps a round of the loop over steps in {name!r} takes cannot be told: no "
            "counter of it was found in the machine code.",
            name,
        )
    return ATTEMPTS, 1
