"""Kernels that call functions: which code is the kernel, where its work is, what a way executes."""

import pytest
from tests.planner.assembler_text import listing, machine_code

from cubie_planner.assembler.calls import Place
from cubie_planner.assembler.classes import Kind
from cubie_planner.assembler.disassembly import UnreadableCode
from cubie_planner.assembler.machine_code import MachineCode
from cubie_planner.assembler.sources import Marks

SHORT_KERNEL = """
    MOV R2, RZ
    .L_0:
    ## File "/there/loop.py", line 5
    CALL.ABS.NOINC `(attempt)
    ISETP.NE.AND P0, PT, R9, RZ, PT
    @P0 BRA `(.L_0)
    .L_1:
    FADD R5, R5, R6
    FADD R5, R5, R6
    LDG.E R8, [R10]
    ISETP.NE.AND P1, PT, R8, RZ, PT
    @P1 BRA `(.L_1)
    EXIT
"""
ATTEMPT = """
    ## File "/there/attempt.py", line 3
    FADD R5, R5, R6
    FADD R5, R5, R6
    FADD R5, R5, R6
    @P3 BRA `(.L_3)
    CALL.ABS.NOINC `(solve)
    CALL.ABS.NOINC `(solve)
    .L_3:
    FADD R5, R5, R6
    FADD R5, R5, R6
    FADD R5, R5, R6
    RET.ABS.NODEC R20 0x0
"""
SOLVE = """
    ## File "/there/solve.py", line 8
    .L_2:
    FFMA R5, R5, R6, R7
    FSETP.GT.AND P0, PT, R5, RZ, PT
    @P0 BRA `(.L_2)
    RET.ABS.NODEC R20 0x0
"""
CODE = listing(("attempt", ATTEMPT), ("kernel", SHORT_KERNEL), ("solve", SOLVE))
ENTRY = '        .other          kernel,@"STO_CUDA_ENTRY STV_DEFAULT"\n'


def with_called() -> MachineCode:
    """Return a kernel that calls a longer function, which calls another one twice."""
    return MachineCode.of_text(ENTRY + CODE)


def test_a_kernel_may_be_shorter_than_what_it_calls():
    """What is launched is the kernel; functions are none, whatever they are named."""
    assert with_called().kernel.name == "kernel"
    text = listing(("attempt", ATTEMPT), ("kernel", SHORT_KERNEL), ("solve", SOLVE))
    with pytest.raises(
        UnreadableCode, match=r"no kernel 'attempt' in the code; there are kernel\."
    ):
        MachineCode.of_text(ENTRY + text, "attempt")
    with pytest.raises(UnreadableCode, match=r"no kernel in the code; there are none, but attempt"):
        MachineCode.of_text(text)


def test_a_loop_holds_what_is_called_in_it():
    """The loop of work that became a function is found by the source lines of that one."""
    code = with_called()
    assert code.main_loop(Marks(["attempt.py"])) == Place("kernel", 1)
    assert code.main_loop(Marks(["solve.py"])) == Place("solve", 0)
    assert code.main_loop() == Place("kernel", 1)  # it does most, all in all


def test_a_loop_that_counts_is_not_that_of_the_work_it_is_in():
    """However much of the marked source is in a loop of known rounds, the loop around it is it."""
    code = machine_code(
        """
        .L_0:
        ## File "/there/attempt.py", line 3
        FADD R5, R5, R6
        MOV R2, RZ
        .L_1:
        FADD R5, R5, R6
        FADD R5, R5, R6
        FADD R5, R5, R6
        FADD R5, R5, R6
        IADD3 R2, R2, 0x4, RZ
        ISETP.NE.AND P0, PT, R2, 0x64, PT
        @P0 BRA `(.L_1)
        FSETP.GT.AND P1, PT, R5, RZ, PT
        @P1 BRA `(.L_0)
        EXIT
        """
    )
    assert code.main_loop(Marks(["attempt.py"])) == Place("kernel", 0)
    assert code.executed(loop=Marks(["attempt.py"])).arithmetic == 1 + 25 * 4


def test_work_that_no_loop_holds_is_not_looked_for_in_another():
    """Without marked source code in a loop nothing is counted instead of it."""
    code = with_called()
    with pytest.raises(UnreadableCode, match=r"No loop of 'kernel' holds .* from elsewhere\.py"):
        code.executed(loop=Marks(["elsewhere.py"]))


@pytest.mark.parametrize("rounds", [1, 3])
def test_calls_in_functions_that_are_called_count(rounds):
    """A way leads through the calls that do the work, and counts all that they execute."""
    found = with_called().executed(loop=Marks(["attempt.py"]), assumed_trips=rounds)
    assert found.kinds[Kind.FP32] == 6 + 2 * (2 * rounds)
    assert found.arithmetic == 6 + 2 * rounds
    assert found.total == 3 + (6 + 2 + 2) + 2 * (3 * rounds + 1)
    assert [(loop.entered, loop.trips) for loop in found.repeated] == [(2, rounds)]


def test_trips_may_be_assumed_of_each_loop():
    """Of loops whose trips depend on data each may have its own."""
    code, asked = with_called(), []

    def trips(flow, head):
        asked.append((flow.code.name, head))
        return 5

    place = code.main_loop(Marks(["attempt.py"]))
    assert code.executed(loop=place, assumed_trips=trips).arithmetic == 6 + 2 * 5
    assert ("solve", 0) in asked


def test_iterations_are_told_from_loops_that_count_too_far_to_be_known():
    """Only the end of an iteration depends on comparisons of real numbers."""
    counted = machine_code(
        """
        LDG.E R4, [R8]
        MOV R2, RZ
        .L_0:
        IADD3 R2, R2, 0x1, RZ
        ISETP.NE.AND P0, PT, R2, R4, PT
        @P0 BRA `(.L_0)
        EXIT
        """
    )
    assert [found.compares_reals for found in counted.trips.values()] == [False]
    iterated = with_called().functions["solve"]
    assert [found.compares_reals for found in iterated.trips.values()] == [True]


def test_a_function_that_calls_itself_is_refused():
    """How often it does no code says."""
    text = """
        .L_0:
        CALL.ABS.NOINC `(helper)
        FSETP.GT.AND P0, PT, R5, RZ, PT
        @P0 BRA `(.L_0)
        EXIT
    """
    code = machine_code(text, ("helper", "CALL.ABS.NOINC `(helper)\nRET.ABS.NODEC R20 0x0"))
    with pytest.raises(UnreadableCode, match="'helper', or what it calls, may call itself"):
        code.executed()


def test_a_function_that_calls_unknown_code_may_write_anything():
    """A counter is followed over it no further."""
    text = """
        MOV R2, RZ
        .L_0:
        CALL.ABS.NOINC `(helper)
        IADD3 R2, R2, 0x1, RZ
        ISETP.NE.AND P0, PT, R2, 0x8, PT
        @P0 BRA `(.L_0)
        EXIT
    """
    known = ("helper", "FADD R9, R9, R9\nRET.ABS.NODEC R20 0x0")
    unknown = ("helper", "CALL.ABS.NOINC `(elsewhere)\nRET.ABS.NODEC R20 0x0")
    found = [[t.count for t in machine_code(text, one).trips.values()] for one in (known, unknown)]
    assert found == [[8], [None]]
