"""Loops that go as far as a table says: what they execute is counted exactly."""

import numpy as np
import pytest
from tests.planner.assembler_text import listing, machine_code

from cubie_planner.assembler.disassembly import find_nvdisasm
from cubie_planner.assembler.instructions import read_code
from cubie_planner.assembler.integers import results
from cubie_planner.assembler.machine_code import MachineCode
from cubie_planner.assembler.operands import Bits, Offset
from cubie_planner.assembler.registers import written
from cubie_planner.assembler.tables import Tables

LENGTHS = [4, 0, 8, 4, 12]

# Rows of a table: as far as the second one from where the first one begins, by two and one by one.
ROWS = """
    .L_0:
    FADD R9, R9, 1
    MOV R2, RZ
    .L_1:
    MOV R4, 32@lo(rows)
    IADD3 R4, P0, R4, R2, RZ
    LDG.E.U8{constant} R6, desc[UR4][R4.64]
    LOP3.LUT R6, R6, 0xff, RZ, 0xc0, !PT
    ISETP.EQ.AND P0, PT, R6, RZ, PT
    @P0 BRA `(.L_4)
    LOP3.LUT R7, R6, 0x1, RZ, 0xc0, !PT
    ISETP.EQ.AND P1, PT, R7, RZ, PT
    @P1 BRA `(.L_2)
    FMUL R8, R8, R8
    .L_2:
    SHF.R.U32.HI R6, RZ, 0x1, R6
    ISETP.EQ.AND P0, PT, R6, RZ, PT
    @P0 BRA `(.L_4)
    .L_3:
    FFMA R8, R8, R8, R8
    IADD3 R6, R6, -0x1, RZ
    ISETP.NE.AND P0, PT, R6, RZ, PT
    @P0 BRA `(.L_3)
    .L_4:
    IADD3 R2, R2, 0x1, RZ
    ISETP.NE.AND P0, PT, R2, 0x4, PT
    @P0 BRA `(.L_1)
    FSETP.GT.AND P2, PT, R9, R8, PT
    @P2 BRA `(.L_0)
    EXIT
"""
DATA = """
	.section	.nv.global.init,"aw",@progbits
	.align	2
.nv.global.init:
	.type		before,@object
before:
        /*0000*/ 	.byte	0x09, 0x09, 0x09
	.type		rows,@object
rows:
        /*0003*/ 	.byte	0x05, 0x00
        /*0005*/ 	.short	0x0301
	.section	.debug_str,"",@progbits
        /*0000*/ 	.byte	0x63, 0x00
"""


def rows_code(constant: str = ".CONSTANT") -> MachineCode:
    return MachineCode.of_text(
        '\t.other kernel, @"STO_CUDA_ENTRY STV_DEFAULT"\n'
        + listing(("kernel", ROWS.replace("{constant}", constant)))
        + DATA
    )


def opcodes(code: MachineCode) -> dict[str, float]:
    found: dict[str, float] = {}
    for instruction, times in code.executed().instructions.items():
        found[instruction.opcode] = found.get(instruction.opcode, 0) + times
    return found


def test_rows_of_different_lengths_are_walked():
    """Of 5, 0, 1 and 3 there are three odd ones, and 2 + 0 + 0 + 1 pairs."""
    found = opcodes(rows_code())
    assert (found["FADD"], found["FMUL"], found["FFMA"], found["LDG"]) == (1, 3, 3, 4)
    assert not rows_code().executed().repeated


def test_what_may_have_been_written_to_is_not_known():
    """A table that is loaded from as other memory is may hold anything: nothing is guessed."""
    (loop,) = rows_code("").executed().repeated
    assert not loop.compares_reals


@pytest.mark.skipif(find_nvdisasm() is None, reason="nvdisasm is not installed")
@pytest.mark.parametrize("capability", [(7, 5), (9, 0)])
def test_a_kernel_executes_what_its_table_says(capability):
    """The assembler unrolls the inner loop and peels rounds: products are as many as entries."""
    cuda = pytest.importorskip("numba.cuda")
    pytest.importorskip("cuda.bindings.nvjitlink")
    from numba import float32, int64

    from cubie.backend.cuda.resources import assemble

    start = np.concatenate([[0], np.cumsum(LENGTHS)])
    n_rows = len(LENGTHS)

    def kernel(x, out, n):
        total = float32(0)
        for _ in range(n):
            for i in range(n_rows):
                for p in range(start[i], start[i + 1]):
                    total = total * float32(0.5) + x[p]
                out[i] = total

    signature = (float32[::1], float32[::1], int64)
    ptx, _ = cuda.compile(kernel, signature, cc=capability, output="ptx", device=False, abi="numba")
    code = MachineCode.of(assemble(ptx, capability, 0).cubin)
    assert opcodes(code)["FFMA"] == sum(LENGTHS)


@pytest.mark.parametrize(
    ("text", "known", "expected"),
    [
        ("LOP3.LUT R1, R2, 0xff, RZ, 0xc0, !PT", {"R2": 0x1234}, 0x34),
        ("LOP3.LUT R1, R2, R3, R4, 0x96, !PT", {"R2": 5, "R3": 6, "R4": 8}, 5 ^ 6 ^ 8),
        ("LOP3.LUT R1, RZ, R2, RZ, 0x33, !PT", {"R2": 1}, 0xFFFFFFFE),
        ("LOP3.LUT R1, R2, RZ, RZ, 0xc0, !PT", {}, 0),
        ("LOP3.LUT R1, R2, 0xff, RZ, 0xc0, !PT", {}, Bits(0, 0xFFFFFF00)),
        ("ULOP3.LUT UR1, UR2, 0x3, URZ, 0xfc, !UPT", {"UR2": 4}, 7),
        ("SHF.L.U32 R1, R2, 0x4, RZ", {"R2": 0xF0000001}, 0x10),
        ("SHF.R.U32.HI R1, RZ, 0x4, R2", {"R2": 0xF0000001}, 0x0F000000),
        ("SHF.R.S32.HI R1, RZ, 0x1f, R2", {"R2": 0x80000000}, 0xFFFFFFFF),
        ("SHF.L.U64.HI R1, R2, 0x1, R3", {"R2": 0x80000000, "R3": 1}, 3),
        ("SHF.R.U64 R1, R2, 0x1, R3", {"R2": 2, "R3": 1}, 0x80000001),
        ("PRMT R1, R2, 0x7610, R3", {"R2": 0x11112222, "R3": 0x33334444}, 0x33332222),
        ("PRMT R1, RZ, 0x7610, R3", {}, Bits(0, 0xFFFF)),
        ("PRMT R1, R2, 0x8880, RZ", {"R2": 0x80}, 0xFFFFFF80),
        ("IMAD.WIDE.U32 R4, R2, 0x4, R6", {"R2": 1 << 31, "R6": 1, "R7": 1}, 1),
        ("IMAD.WIDE R4, R2, 0x4, RZ", {"R2": 0xFFFFFFFF}, 0xFFFFFFFC),
    ],
)
def test_bits_are_followed(text, known, expected):
    (instruction,) = read_code(listing(("kernel", text)))["kernel"].instructions
    assert results(instruction, known)[written(instruction)[0]] == expected


def test_known_bits_are_enough():
    """Code clears the lower half of a word of which the upper one is not known."""
    lines = "PRMT R6, RZ, 0x7610, R6\nLOP3.LUT R7, R6, 0xff, RZ, 0xc0, !PT"
    first, second = read_code(listing(("kernel", lines)))["kernel"].instructions
    assert results(second, results(first, {}))["R7"] == 0


@pytest.mark.parametrize(
    ("text", "known", "expected"),
    [
        ("LOP3.LUT P5, RZ, R46, 0x1, RZ, 0xc0, !PT", {"R46": 3}, True),
        ("LOP3.LUT P5, RZ, R46, 0x1, RZ, 0xc0, !PT", {"R46": 4}, False),
        ("LOP3.LUT P5, R3, R46, 0x1, RZ, 0xc0, !PT", {"R46": Bits(1, 1)}, True),
        ("LOP3.LUT P5, RZ, R46, 0x3, RZ, 0xc0, !PT", {"R46": Bits(0, 1)}, None),
        ("LOP3.LUT P5, RZ, R46, 0x1, RZ, 0xc0, P2", {"R46": 4}, None),
    ],
)
def test_any_bit_is_a_predicate(text, known, expected):
    (instruction,) = read_code(listing(("kernel", text)))["kernel"].instructions
    assert results(instruction, known)["P5"] is expected


def test_an_address_may_be_a_sum_of_registers():
    """An index in one, and the start of the table in another."""
    tables = Tables(bytes([7, 8, 9]), {"rows": 1})
    text = "LDG.E.U8.CONSTANT.SYS R171, [R2.64+UR4+0x1]"
    (instruction,) = read_code(listing(("kernel", text)))["kernel"].instructions
    known = {"R2": 0, "R3": 0, "UR4": Offset("32@lo(rows)", 0)}
    assert tables.loaded(instruction, known) == {"R171": 9}
    assert tables.loaded(instruction, {"UR4": Offset("32@lo(rows)", 0)}) == {}


@pytest.mark.parametrize(("less", "expected"), [(0, True), (3, True), (5, False)])
def test_a_difference_carries_where_nothing_is_borrowed(less, expected):
    """Of a number and its complement plus one: taking nothing away carries as well."""
    text = "IADD3 R6, P0, R20, -R2, RZ"
    (instruction,) = read_code(listing(("kernel", text)))["kernel"].instructions
    assert results(instruction, {"R20": 4, "R2": less})["P0"] is expected


def test_a_shift_keeps_a_half_of_what_it_shifts():
    (instruction,) = read_code(listing(("kernel", "SHF.L.U64.HI R13, R14, 0x2, R35")))[
        "kernel"
    ].instructions
    assert written(instruction) == ("R13",)


def test_constants_of_a_bank_are_read():
    """By a register, by a number, signed or not; nothing beyond the end."""
    tables = Tables(bytes([1, 0, 0, 0, 0xFF, 0xFF, 2, 0]), {".nv.constant3": 0})
    known = {"R4": 4}
    texts = {
        "LDC R1, c[0x3][0x0]": {"R1": 1},
        "LDC.S16 R1, c[0x3][R4]": {"R1": 0xFFFFFFFF},
        "LDC.U16 R1, c[0x3][R4+0x2]": {"R1": 2},
        "LDC.64 R2, c[0x3][R4+-0x4]": {"R2": 1, "R3": 0x2FFFF},
        "LDC R1, c[0x3][R4+0x4]": {"R1": None},
        "LDC R1, c[0x3][R5]": {},
        "LDC R1, c[0x0][0x0]": {},
    }
    for text, expected in texts.items():
        (instruction,) = read_code(listing(("kernel", text)))["kernel"].instructions
        assert tables.loaded(instruction, known) == expected, text


def test_code_without_tables_is_read_as_before():
    assert not machine_code("FADD R2, R2, R3\nEXIT").tables.starts
