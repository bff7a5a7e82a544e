"""Machine code as text: blocks, loops, how often they run, and the usual way through them."""

import pytest
from attrs import evolve
from tests.planner.assembler_text import listing, machine_code

from cubie_planner.assembler import disassembly
from cubie_planner.assembler.blocks import flow_of
from cubie_planner.assembler.classes import Kind, bytes_moved, kind_of
from cubie_planner.assembler.disassembly import NoDisassembler, UnreadableCode, disassemble
from cubie_planner.assembler.instructions import read_code
from cubie_planner.assembler.loops import loops_of
from cubie_planner.assembler.registers import read, written
from cubie_planner.assembler.sources import Marks
from cubie_planner.assembler.trips import trips_of


def trips(text: str) -> list[int | None]:
    """Return the trips of the loops of a kernel, in the order of the code."""
    flow = flow_of(read_code(listing(("kernel", text)))["kernel"])
    loops = loops_of(flow)
    found = trips_of(flow, loops, {})
    return [found[head].count for head in sorted(found)]


def instruction(text: str):
    """Return one instruction."""
    return read_code(listing(("kernel", text)))["kernel"].instructions[0]


COUNTED = {
    # A counter of 32 bits, by four, as loops are unrolled; then what was left over, one by one.
    "unrolled": (
        """
        MOV R2, RZ
        .L_0:
        IADD3 R2, R2, 0x4, RZ
        FADD R5, R5, R6
        ISETP.NE.AND P0, PT, R2, 0x14, PT
        @P0 BRA `(.L_0)
        IMAD.MOV.U32 R3, RZ, RZ, 0x3
        .L_1:
        IADD3 R3, R3, -0x1, RZ
        ISETP.NE.AND P0, PT, R3, RZ, PT
        @P0 BRA `(.L_1)
        EXIT
        """,
        [5, 3],
    ),
    # A counter of 64 bits in two registers, the upper half with what the lower carries.
    "two halves": (
        """
        CS2R R18, SRZ
        .L_0:
        IADD3 R18, P1, R18, 0x4, RZ
        IMAD.X R19, RZ, RZ, R19, P1
        ISETP.NE.U32.AND P1, PT, R18, 0x64, PT
        ISETP.NE.AND.EX P1, PT, R19, RZ, PT, P1
        @P1 BRA `(.L_0)
        EXIT
        """,
        [25],
    ),
    # The same counted upwards to zero, in uniform registers and single instructions.
    "upwards to zero": (
        """
        MOV.64 R2, 0xfffffffffffffe70
        .L_0:
        IADD.64 R2, R2, 0x10
        ISETP.NE.U64.AND P2, PT, R2, RZ, PT
        @P2 BRA `(.L_0)
        UMOV.64 UR4, URZ
        .L_1:
        UIADD3.64 UR4, UPT, UPT, UR4, 0x10, URZ
        UISETP.NE.U64.AND UP0, UPT, UR4, 0x190, UPT
        BRA.U UP0, `(.L_1)
        EXIT
        """,
        [25, 25],
    ),
    # An address on the stack against another one: only their distance is known.
    "addresses": (
        """
        LDC R1, c[0x0][0x28]
        IADD3 R1, R1, -0x100, RZ
        IADD3 R4, R1, 0x40, RZ
        MOV R5, R1
        .L_0:
        STL [R5], RZ
        IADD3 R5, R5, 0x8, RZ
        ISETP.GE.U32.AND P0, PT, R5, R4, PT
        @!P0 BRA `(.L_0)
        EXIT
        """,
        [8],
    ),
    # One, written as two numbers of half precision, up to seven.
    "half precision": (
        """
        HFMA2.MMA R2, -RZ, RZ, 0, 5.9604644775390625e-08
        .L_0:
        IADD3 R2, R2, 0x1, RZ
        ISETP.GE.AND P0, PT, R2, 0x7, PT
        @P0 BRA `(.L_2)
        BRA `(.L_0)
        .L_2:
        EXIT
        """,
        [6],
    ),
    # Inner trips of an outer loop; the inner counter is set anew each time.
    "nested": (
        """
        MOV R2, RZ
        .L_0:
        MOV R3, RZ
        .L_1:
        IADD3 R3, R3, 0x1, RZ
        ISETP.NE.AND P0, PT, R3, 0x6, PT
        @P0 BRA `(.L_1)
        IADD3 R2, R2, 0x1, RZ
        ISETP.NE.AND P0, PT, R2, 0x4, PT
        @P0 BRA `(.L_0)
        EXIT
        """,
        [4, 6],
    ),
    # A counter that was spilled to the stack, beside another spilled value.
    "on the stack": (
        """
        STL.64 [R1+0x8], RZ
        .L_0:
        LDL.LU R2, [R1+0xc]
        IADD3 R2, R2, 0x1, RZ
        STL [R1+0xc], R2
        STL [R1+0x10], R5
        ISETP.NE.AND P0, PT, R2, 0x5, PT
        @P0 BRA `(.L_0)
        EXIT
        """,
        [5],
    ),
    # The same where the disassembler says so behind the last operand.
    "on the stack, which is remarked": (
        """
        STL.64 [R1+0x8], RZ    (*"SpillRefill"*)
        .L_0:
        LDL.LU R2, [R1+0xc]    (*"SpillRefill"*)
        IADD3 R2, R2, 0x1, RZ
        STL [R1+0xc], R2       (*"SpillRefill"*)
        ISETP.NE.AND P0, PT, R2, 0x5, PT
        @P0 BRA `(.L_0)
        EXIT
        """,
        [5],
    ),
    # In shared memory, by halves of a wide access; an inner loop stores elsewhere.
    "in shared memory": (
        """
        MOV R6, RZ
        MOV R7, 0x8
        STS.64 [R3+UR4+-0x8], R6
        .L_0:
        MOV R9, RZ
        .L_1:
        STS [R3+UR4], R5
        IADD3 R9, R9, 0x1, RZ
        ISETP.NE.AND P0, PT, R9, 0x3, PT
        @P0 BRA `(.L_1)
        LDS.64 R6, [R3+UR4+-0x8]
        IADD3 R6, R6, 0x2, RZ
        STS [R3+UR4+-0x8], R6
        ISETP.LT.AND P0, PT, R6, R7, PT
        @P0 BRA `(.L_0)
        EXIT
        """,
        [4, 3],
    ),
}

UNCOUNTED = {
    "a counter in memory that is written by way of another address": """
        STS [R3], RZ
        .L_0:
        LDS R2, [R3]
        IADD3 R2, R2, 0x1, RZ
        STS [R3], R2
        STS [R4+0x8], R5
        ISETP.NE.AND P0, PT, R2, 0x5, PT
        @P0 BRA `(.L_0)
        EXIT
        """,
    "a counter in memory of which a part is written": """
        STL [R1], RZ
        .L_0:
        LDL R2, [R1]
        IADD3 R2, R2, 0x1, RZ
        STL [R1], R2
        STL.U8 [R1+0x3], R5
        ISETP.NE.AND P0, PT, R2, 0x5, PT
        @P0 BRA `(.L_0)
        EXIT
        """,
    "a counter in memory whose address goes on": """
        STS [R3], RZ
        .L_0:
        LDS R2, [R3]
        IADD3 R2, R2, 0x1, RZ
        STS [R3], R2
        IADD3 R3, R3, 0x4, RZ
        ISETP.NE.AND P0, PT, R2, 0x5, PT
        @P0 BRA `(.L_0)
        EXIT
        """,
    "a counter in memory that an instruction of another kind may write": """
        STL [R1], RZ
        .L_0:
        LDL R2, [R1]
        IADD3 R2, R2, 0x1, RZ
        STL [R1], R2
        ST.E [R8], R5
        ISETP.NE.AND P0, PT, R2, 0x5, PT
        @P0 BRA `(.L_0)
        EXIT
        """,
    "a bound that was loaded": """
        LDG.E R4, [R8]
        MOV R2, RZ
        .L_0:
        IADD3 R2, R2, 0x1, RZ
        ISETP.NE.AND P0, PT, R2, R4, PT
        @P0 BRA `(.L_0)
        EXIT
        """,
    "a counter that an inner loop changes": """
        MOV R2, RZ
        .L_0:
        MOV R3, RZ
        .L_1:
        IADD3 R3, R3, 0x1, RZ
        IADD3 R2, R2, 0x1, RZ
        LDG.E R5, [R8]
        ISETP.NE.AND P0, PT, R3, R5, PT
        @P0 BRA `(.L_1)
        ISETP.LT.AND P0, PT, R2, 0x40, PT
        @P0 BRA `(.L_0)
        EXIT
        """,
    "a counter that only some rounds count": """
        MOV R2, RZ
        .L_0:
        LDG.E R5, [R8]
        ISETP.NE.AND P1, PT, R5, RZ, PT
        @P1 IADD3 R2, R2, 0x1, RZ
        ISETP.NE.AND P0, PT, R2, 0x8, PT
        @P0 BRA `(.L_0)
        EXIT
        """,
    "a counter that a function may write": """
        MOV R2, RZ
        .L_0:
        CALL.ABS.NOINC `(elsewhere)
        IADD3 R2, R2, 0x1, RZ
        ISETP.NE.AND P0, PT, R2, 0x8, PT
        @P0 BRA `(.L_0)
        EXIT
        """,
}


@pytest.mark.parametrize("form", COUNTED)
def test_trips_of_counted_loops(form):
    """Loops are counted whatever form the assembler gave their counters."""
    text, expected = COUNTED[form]
    assert trips(text) == expected


@pytest.mark.parametrize("form", UNCOUNTED)
def test_trips_are_never_guessed(form):
    """Where a counter depends on data, the trips are not known."""
    assert None in trips(UNCOUNTED[form])


# Loops that end where data say: how far the counter goes on in a round.
UNROLLED = {
    "two at once": (
        """
        .L_0:
        IADD3 R2, R2, 0x2, RZ
        FADD R5, R5, R6
        ISETP.GE.AND P0, PT, R2, R7, PT
        @!P0 BRA `(.L_0)
        EXIT
        """,
        2,
    ),
    "one by one, and by way of another register": (
        """
        .L_0:
        IADD3 R3, R2, 0x1, RZ
        FADD R5, R5, R6
        IADD3 R4, R3, 0x2, RZ
        ISETP.LT.AND P0, PT, R4, R7, PT
        MOV R2, R4
        @P0 BRA `(.L_0)
        EXIT
        """,
        3,
    ),
    "what is left, downwards, in 64 bits": (
        """
        .L_0:
        UIADD3.64 UR4, UPT, UPT, UR4, -0x4, URZ
        UISETP.NE.U64.AND UP0, UPT, UR4, URZ, UPT
        BRA.U UP0, `(.L_0)
        EXIT
        """,
        4,
    ),
    "as much on two ways": (
        """
        .L_0:
        @P3 BRA `(.L_1)
        IADD3 R2, R2, 0x2, RZ
        BRA `(.L_2)
        .L_1:
        IADD3 R2, R2, 0x1, RZ
        IADD3 R2, R2, 0x1, RZ
        .L_2:
        ISETP.NE.AND P0, PT, R2, R7, PT
        @P0 BRA `(.L_0)
        EXIT
        """,
        2,
    ),
    "in a spilled register": (
        """
        .L_0:
        LDL.LU R4, [R1+0x1c]   (*"SpillRefill"*)
        IADD3 R4, R4, 0x2, RZ
        STL [R1+0x1c], R4      (*"SpillRefill"*)
        ISETP.GE.AND P0, PT, R4, R7, PT
        @!P0 BRA `(.L_0)
        EXIT
        """,
        2,
    ),
    "in an array of global memory": (
        """
        .L_0:
        LDG.E R4, desc[UR4][R2.64+0x10]
        IADD3 R5, R4, 0x2, RZ
        STG.E desc[UR4][R2.64+0x14], R8
        STS [R9], R8
        STG.E desc[UR4][R2.64+0x10], R5
        ISETP.GE.AND P0, PT, R5, R7, PT
        @!P0 BRA `(.L_0)
        EXIT
        """,
        2,
    ),
    "in shared memory, beside an array of results that is reached another way": (
        """
        .L_0:
        LDS R4, [R2]
        FADD R8, R8, R6
        IADD3 R4, R4, 0x2, RZ
        STS [R2], R4
        STS [R9+0x4], R8
        ISETP.GE.AND P0, PT, R4, R7, PT
        @!P0 BRA `(.L_0)
        EXIT
        """,
        2,
    ),
    "in shared memory, at an address that is made anew in every round": (
        """
        .L_0:
        FADD R3, R5, R6
        FADD R8, R3, R6
        STS [R7+0x4ec], R8
        S2R R11, SR_CgaCtaId
        MOV R3, 0x400
        LEA R11, R11, R3, 0x18
        S2R R3, SR_TID.X
        IMAD R3, R3, 0x5b4, R11
        LDS R4, [R3+0x5a0]
        LDS R9, [R3+0x454]
        STS [R3+0x450], R9
        IADD3 R4, R4, 0x1, RZ
        STS [R3+0x5a0], R4
        ISETP.GE.AND P0, PT, R4, R10, PT
        @!P0 BRA `(.L_0)
        EXIT
        """,
        1,
    ),
    "in shared memory, beside a copy to an address that is another in every round": (
        """
        .L_0:
        LDS R3, [R12]
        LDS R4, [R12+0x5a0]
        LDS R9, [R12+0x454]
        IADD3 R4, R4, 0x1, RZ
        STS [R12+0x5a0], R4
        STS [R3+0x450], R9
        ISETP.GE.AND P0, PT, R4, R10, PT
        @!P0 BRA `(.L_0)
        EXIT
        """,
        None,
    ),
    "in shared memory, beside whole numbers that are reached another way": (
        """
        .L_0:
        LDS R4, [R2]
        FADD R8, R8, R6
        MOV R8, R3
        IADD3 R4, R4, 0x2, RZ
        STS [R2], R4
        STS [R9+0x4], R8
        ISETP.GE.AND P0, PT, R4, R7, PT
        @!P0 BRA `(.L_0)
        EXIT
        """,
        None,
    ),
    "in shared memory, only in some rounds": (
        """
        .L_0:
        LDS R4, [R2]
        IADD3 R4, R4, 0x1, RZ
        @P3 STS [R2], R4
        ISETP.GE.AND P0, PT, R4, R7, PT
        @!P0 BRA `(.L_0)
        EXIT
        """,
        None,
    ),
    "more on one way": (
        """
        .L_0:
        IADD3 R2, R2, 0x1, RZ
        @P3 BRA `(.L_1)
        IADD3 R2, R2, 0x1, RZ
        .L_1:
        ISETP.NE.AND P0, PT, R2, R7, PT
        @P0 BRA `(.L_0)
        EXIT
        """,
        None,
    ),
    "only in some rounds": (
        """
        .L_0:
        LDG.E R5, [R8]
        ISETP.NE.AND P1, PT, R5, RZ, PT
        @P1 IADD3 R2, R2, 0x1, RZ
        ISETP.NE.AND P0, PT, R2, R7, PT
        @P0 BRA `(.L_0)
        EXIT
        """,
        None,
    ),
    "nothing": (
        """
        .L_0:
        FADD R5, R5, R6
        FSETP.GT.AND P0, PT, R5, RZ, PT
        @P0 BRA `(.L_0)
        EXIT
        """,
        None,
    ),
}


@pytest.mark.parametrize("form", UNROLLED)
def test_counters_tell_how_much_was_unrolled_into_a_round(form):
    """Also where a loop ends is not known; where ways differ, nothing is told."""
    text, expected = UNROLLED[form]
    code = machine_code(text)
    (place,) = code.functions.places
    assert code.counted_in_a_round(place) == expected


@pytest.mark.parametrize(("callee", "expected"), [("FADD R9, R9, R9", 5), ("STL [R9], R8", None)])
def test_what_a_function_stores_is_no_longer_known(callee, expected):
    """A counter on the stack is followed over a call that stores nothing there."""
    text = """
        STL [R1], RZ
        .L_0:
        CALL.ABS.NOINC `(function)
        LDL R2, [R1]
        IADD3 R2, R2, 0x1, RZ
        STL [R1], R2
        ISETP.NE.AND P0, PT, R2, 0x5, PT
        @P0 BRA `(.L_0)
        EXIT
    """
    code = machine_code(text, ("function", f"{callee}\nRET.ABS.NODEC R20"))
    assert [found.count for found in code.trips.values()] == [expected]


def test_of_an_unrolled_loop_and_what_it_leaves_over_the_first_is_the_loop():
    """Marked source code counts both; instructions are those of one of the rounds in a round."""
    text = """
        .L_more:
        ## File "/somewhere/count.py", line 1
        FADD R5, R5, R6
        IADD3 R2, R2, 0x1, RZ
        ISETP.NE.AND P0, PT, R2, R3, PT
        @P0 BRA `(.L_more)
        .L_most:
        FADD R5, R5, R6
        FADD R5, R5, R6
        IADD3 R2, R2, 0x2, RZ
        ISETP.LT.AND P0, PT, R2, R7, PT
        @P0 BRA `(.L_most)
        ## File "/somewhere/other.py", line 1
        .L_other:
        IADD3 R2, R2, 0x8, RZ
        ISETP.LT.AND P0, PT, R2, R7, PT
        @P0 BRA `(.L_other)
        EXIT
    """
    code = machine_code(text)
    place, steps = code.counted_loop(Marks(["count.py"]))
    found = evolve(code.executed(loop=place), shares=steps)
    assert steps == 2
    assert (found.total, found.kinds[Kind.FP32], found.kinds[Kind.BRANCH]) == (2.5, 1, 0.5)
    assert code.counted_loop(Marks(["nothing.py"])) is None


def test_threads_go_on_where_they_met():
    """A BSYNC leads where the BSSY of the same barrier said, and nowhere else."""
    flow = flow_of(
        read_code(
            listing(
                (
                    "kernel",
                    """
                    BSSY B0, `(.L_2)
                    @P0 BRA `(.L_1)
                    FADD R1, R1, R2
                    BSYNC B0
                    .L_1:
                    FMUL R1, R1, R2
                    BSYNC B0
                    NOP
                    .L_2:
                    EXIT
                    """,
                )
            )
        )["kernel"]
    )
    assert flow.following == {0: (4, 2), 2: (7,), 4: (7,), 7: ()}


# A loop over steps: a test that skips the work, a slow case, an iteration of unknown length, a
# result that only some steps store, and an inner loop of ten rounds.
STEPS = """
    .L_step:
    @P3 BRA `(.L_after)
    MUFU.RCP R2, R3
    @P1 BRA `(.L_fast)
    MOV R8, 0x100
    CALL.REL.NOINC `($__internal_0_$__cuda_sm20_rcp)
    MOV R2, R9
    .L_fast:
    FMUL R2, R2, R3
    .L_newton:
    FFMA R2, R2, R3, R4
    FSETP.GT.AND P2, PT, R2, RZ, PT
    @P2 BRA `(.L_newton)
    MOV R6, RZ
    .L_sum:
    FADD R7, R7, R2
    IADD3 R6, R6, 0x1, RZ
    ISETP.NE.AND P0, PT, R6, 0xa, PT
    @P0 BRA `(.L_sum)
    @!P4 BRA `(.L_after)
    STG.E [R10], R7
    .L_after:
    LDG.E R5, [R12]
    ISETP.NE.AND P5, PT, R5, RZ, PT
    @P5 BRA `(.L_step)
    EXIT
    $__internal_0_$__cuda_sm20_rcp:
    FADD R9, R9, R9
    RET.REL.NODEC R8 `(kernel)
"""


@pytest.mark.parametrize("rounds", [1, 3])
def test_the_usual_way_round_a_step(rounds):
    """It does the work, passes slow cases and stores by, and multiplies by the trips."""
    found = machine_code(STEPS).executed(assumed_trips=rounds)
    before, newton, inner, after = 4, 3, 4, 3
    assert found.total == before + newton * rounds + 1 + inner * 10 + 1 + after
    (loop,) = found.repeated
    assert (loop.entered, loop.trips, sum(loop.blocks.values())) == (1, rounds, 1)
    assert found.kinds[Kind.FP32] == 1 + 2 * rounds + 10
    assert Kind.GLOBAL in found.kinds
    assert not any(i.opcode in ("STG", "CALL") for i in found.instructions)


def test_a_call_that_cannot_be_avoided_counts():
    """What a function executes is counted where every way calls it."""
    text = """
        .L_0:
        FADD R2, R2, R3
        CALL.ABS.NOINC `(helper)
        ISETP.NE.AND P0, PT, R5, RZ, PT
        @P0 BRA `(.L_0)
        EXIT
    """
    found = machine_code(text, ("helper", "FMUL R2, R2, R2\nRET.ABS.NODEC R20 0x0"))
    assert found.executed().total == 4 + 2


def test_a_call_of_a_bare_label_leaves_the_loop():
    """Some devices leave loops by a CALL that never comes back: what follows is not of the loop."""
    code = machine_code(
        """
        BSSY B0, `(.L_end)
        .L_loop:
        FADD R2, R2, R3
        FSETP.GT.AND P3, PT, R2, RZ, PT
        @P3 CALL.REL.NOINC `(.L_out)
        BRA `(.L_loop)
        .L_out:
        BSYNC B0
        .L_end:
        STG.E [R2], R25
        EXIT
        """
    )
    assert list(code.functions.by_label) == ["kernel"]
    assert code.flow.following == {0: (1,), 1: (5, 4), 4: (1,), 5: (6,), 6: ()}
    assert code.executed().total == 4


def test_a_loop_over_results_is_not_the_step():
    """Of a loop that stores in every round, the loop inside it is what is measured."""
    code = machine_code(
        """
        .L_runs:
        LDG.E R2, [R8]
        .L_steps:
        FFMA R2, R2, R3, R4
        FSETP.GT.AND P2, PT, R2, RZ, PT
        @P2 BRA `(.L_steps)
        STG.E [R8], R2
        ISETP.NE.AND P0, PT, R9, RZ, PT
        @P0 BRA `(.L_runs)
        EXIT
        """
    )
    assert code.executed().total == 3


LINES = """
    .L_0:
    ## File "/somewhere/steps.py", line 7 inlined at "/somewhere/loop.py", line 3
    ## File "/somewhere/loop.py", line 3
    FADD R2, R2, R3
    @P1 BRA `(.L_1)
    ## File "/somewhere/rare.py", line 5 inlined at "/somewhere/loop.py", line 4
    ## File "/somewhere/loop.py", line 4
    FADD R2, R2, R3
    FADD R2, R2, R3
    .L_1:
    ## File "/somewhere/loop.py", line 9
    ISETP.NE.AND P0, PT, R5, RZ, PT
    @P0 BRA `(.L_0)
    EXIT
"""


def test_ways_are_told_apart_by_source_lines():
    """A way leads through the code that is asked for, and past what is named as aside."""
    code = machine_code(LINES)
    every = code.executed(Marks(["loop.py"]), loop=Marks(["loop.py"]))
    usual = code.executed(Marks(["loop.py"]), Marks(["rare.py"]))
    assert (every.total, usual.total) == (6, 4)
    inlined = code.kernel.instructions[0].source
    assert [(frame.file, frame.line) for frame in inlined] == [
        ("/somewhere/steps.py", 7),
        ("/somewhere/loop.py", 3),
    ]


def test_marks_name_functions(tmp_path):
    """A mark with a name holds the lines of that function alone."""
    file = tmp_path / "parts.py"
    file.write_text("def one():\n    pass\n\n\ndef other():\n    pass\n", encoding="utf-8")
    text = f'## File "{file}", line 6\nFADD R2, R2, R3\nEXIT'
    found = instruction(text)
    assert all(Marks([mark]).hold(found) for mark in ("parts.py", "parts.py:other", ":other"))
    assert not any(Marks([mark]).hold(found) for mark in ("parts.py:one", "arts.py", ":one"))


@pytest.mark.parametrize(
    ("text", "kind", "size"),
    [
        ("FFMA.FTZ R1, R2, R3, R4", Kind.FP32, 0),
        ("DFMA R2, R4, R6, R8", Kind.FP64, 0),
        ("MUFU.RCP R1, R2", Kind.MUFU, 0),
        ("F2F.F64.F32 R2, R4", Kind.CONVERT, 0),
        ("IMAD.MOV.U32 R1, RZ, RZ, R2", Kind.MOVE, 0),
        ("HFMA2.MMA R1, -RZ, RZ, 0, 0", Kind.MOVE, 0),
        ("FSEL R1, R2, R3, P0", Kind.MOVE, 0),
        ("IMAD R1, R2, R3, R4", Kind.INTEGER, 0),
        ("LDL.LU.64 R2, [R1+0x8]", Kind.LOCAL, 8),
        ("STL [R1], R2", Kind.LOCAL, 4),
        ("LDS.128 R4, [R8]", Kind.SHARED, 16),
        ("STG.E.U8 desc[UR4][R2.64], R3", Kind.GLOBAL, 1),
        ("LD.E.64 R2, [R16.64]", Kind.GENERIC, 8),
        ("ULDC.64 UR4, c[0x0][0x208]", Kind.CONSTANT, 0),
        ("@P0 BRA `(kernel)", Kind.BRANCH, 0),
        ("FROB R1, R2", Kind.OTHER, 0),
    ],
)
def test_classes_and_bytes(text, kind, size):
    """Each instruction has one class, by the unit that executes it, and moves so many bytes."""
    found = instruction(text)
    assert (kind_of(found), bytes_moved(found)) == (kind, size)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("IADD3 R29, P1, R6, -0x1, RZ", ("R29", "P1")),
        ("ISETP.GE.AND.EX P0, PT, R3, R7, PT, P0", ("P0",)),
        ("LDG.E.64 R8, desc[UR4][R4.64+0x10]", ("R8", "R9")),
        ("DADD R4, R6, R8", ("R4", "R5")),
        ("SEL R29, R29, R2, P0", ("R29",)),
        ("LOP3.LUT P0, RZ, R0, 0x3, RZ, 0xc0, !PT", ("P0",)),
        ("STS [R30+0x62c], R25", ()),
        ("IADD3 R2, PT, PT, R2, 0x1, RZ", ("R2",)),
    ],
)
def test_registers_written(text, names):
    """What an instruction writes is known, the halves of wide values and carries included."""
    assert written(instruction(text)) == names


def test_registers_read():
    """Addresses, pairs and predicates are read."""
    names = read(instruction("@!P2 STG.E desc[UR4][R2.64], R7"))
    assert {"P2", "UR4", "UR5", "R2", "R3", "R7"} <= names


def test_no_disassembler_is_said(monkeypatch):
    """Without nvdisasm the message says what to install."""
    monkeypatch.setattr(disassembly, "find_nvdisasm", lambda: None)
    with pytest.raises(NoDisassembler, match="pip install nvidia-cuda-nvdisasm"):
        disassemble(b"")


def test_a_loop_with_two_entries_is_refused():
    """It has no head: what it executes would count once, however often it goes round."""
    text = """
        @P0 BRA `(.L_second)
        .L_first:
        FADD R2, R2, R3
        .L_second:
        FMUL R2, R2, R3
        FSETP.GT.AND P1, PT, R2, RZ, PT
        @P1 BRA `(.L_first)
        EXIT
    """
    with pytest.raises(UnreadableCode, match="loop of 'kernel' is entered at more than one place"):
        machine_code(text).executed()


def test_unreadable_code_is_said():
    """A branch without known targets, and text without code, are errors that tell which."""
    with pytest.raises(UnreadableCode, match=r"branch at 0x0 of kernel .*BRX R2"):
        flow_of(read_code(listing(("kernel", "BRX R2 -0x10\nEXIT")))["kernel"])
    with pytest.raises(UnreadableCode, match="no instructions"):
        read_code("nothing")
