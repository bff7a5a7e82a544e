"""What a CUDA kernel executes for one step: counted from its machine code, without a GPU.

The loop that takes steps is found by the source lines of its instructions, and so is the way
round it: through the algorithm, the controller and what is done after an accepted step; past
what only some steps do (saving, a second look at equations that were not solved).
"""

from __future__ import annotations

from attrs import frozen

from cubie_planner.assembler.executed import Executed, MachineCode
from cubie_planner.assembler.sources import Marks

# Of fixed steps that need no judging, where there are any; else of attempts.
LOOPS = (
    Marks(("run/free_steps.py:advance",)),
    Marks(("run/attempt.py:attempt", "run/attempt.py:count", "run/attempt.py:outcome")),
)
ALGORITHM = ("algorithms/", "controllers/", "numerics/error_norm.py")
RARE = (
    *("run/saving.py", "run/summaries/", "run/observing.py", "run/loop.py:empty_full"),
    *("solvers/second_look.py", "solvers/restoring.py"),
)
ACCEPTED = ("run/attempt.py", "run/free_steps.py", *ALGORITHM)
REJECTED_ASIDE = (":commit",)


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
    """

    rejected: Executed
    accepted: Executed
    newton_iterations: int


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
    """
    code = MachineCode.of(cubin)
    loop = next((marks for marks in LOOPS if code.holds(marks)), None)

    def executed(through: tuple[str, ...], aside: tuple[str, ...]) -> Executed:
        return code.executed(
            Marks(through), Marks(aside), loop=loop, assumed_trips=newton_iterations
        )

    return StepCode(
        rejected=executed(ALGORITHM, (*RARE, *REJECTED_ASIDE)),
        accepted=executed(ACCEPTED, RARE),
        newton_iterations=newton_iterations,
    )
