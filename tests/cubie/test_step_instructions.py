"""How many instructions a step takes on a GPU, by the assembler: no more than once measured."""

import re

import numpy as np
import pytest
from benchmarks.resources import right_hand_side

from cubie import Solver
from cubie.errors import CubieError
from cubie.launch.step_code import step_code
from tests.cubie import ptx
from tests.cubie.test_cuda_compile import same_toolkit

pytestmark = [
    pytest.mark.skipif(ptx.find_nvdisasm() is None, reason="needs nvdisasm"),
    pytest.mark.skipif(not same_toolkit(), reason="other compilers, other instructions"),
]

ARITHMETIC = ("FADD", "FMUL", "FFMA", "DADD", "DMUL", "DFMA")

# Method, states, dtype, adaptive: instructions and registers at most, on sm_90.
MOST = {
    ("tsit5", 3, "float32", True): (208, 40),
    ("tsit5", 3, "float32", False): (115, 40),
    ("tsit5", 3, "float64", True): (364, 72),
    ("tsit5", 20, "float32", True): (1213, 168),
    ("tsit5", 20, "float32", False): (845, 168),
    ("rodas5p", 3, "float32", True): (420, 56),
}


def robertson(t, y, rate):
    """Three reactions, of which one is slow."""
    slow, fast, faster = rate * y[0], 1e4 * y[1] * y[2], 3e7 * y[1] * y[1]
    return [fast - slow, slow - fast - faster, faster]


def resources_of(
    method: str, states: int, dtype: str, adaptive: bool, lines: bool = False, **options
):
    """Compile runs that keep their ends, everything local."""
    fun, args = right_hand_side(states)
    if method != "tsit5":
        fun, args = robertson, (0.04,)
    if not adaptive:
        options |= {"step_controller": "fixed", "first_step": 1e-3}
    solver = Solver(fun, backend="cuda", method=method, locations="local", save="final", **options)
    solver.prepare(np.ones(states, dtype), args, dtype=dtype)
    return solver.kernel.resources((9, 0), lines)


def step_of(cubin: bytes) -> list[str]:
    """Return the instructions of a step: the shortest loop that holds most of the arithmetic."""
    loops = ptx.straight_loops(cubin)
    work = [sum(ptx.opcodes(loop)[name] for name in ARITHMETIC) for loop in loops]
    return min((loop for loop, n in zip(loops, work, strict=True) if n > 0.6 * max(work)), key=len)


@pytest.mark.parametrize("case", MOST, ids=str)
def test_a_step_takes_no_more_instructions_than_once_measured(case):
    """Registers neither; nothing is on the stack, and no division or root is a subroutine."""
    instructions, registers = MOST[case]
    found = resources_of(*case)
    step = step_of(found.cubin)
    assert len(step) <= instructions
    assert found.registers <= registers
    assert (found.stack_bytes, found.spill_store_bytes) == (0, 0)
    assert not any("CALL" in instruction for instruction in step)
    assert "alloca" not in re.sub(r"_Z\w+", "", found.ptx)  # but of names: frames are of one size


# Of implicit methods, whose iterations are loops of their own: instructions of a step with two
# iterations a stage, and registers.
MOST_IMPLICIT = {
    ("kvaerno5", 3, "float32", True): (1345, 72),
    ("kvaerno5", 3, "float64", True): (2905, 128),
    ("radau_iia_5", 3, "float32", True): (830, 72),
}


@pytest.mark.parametrize("case", MOST_IMPLICIT, ids=str)
def test_an_implicit_step_takes_no_more_than_once_measured(case):
    """What is done after the loop over steps, or rarely in it, takes no registers in it."""
    instructions, registers = MOST_IMPLICIT[case]
    found = resources_of(*case, lines=True)
    assert step_code(found.cubin, 2).accepted.total <= instructions
    assert found.registers <= registers
    assert (found.stack_bytes, found.spill_store_bytes) == (0, 0)


def test_a_limit_of_registers_is_kept():
    """By the number itself, by blocks that are to be resident, and by a block that is large."""
    case = ("tsit5", 20, "float32", True)
    limited = resources_of(*case, max_registers=96)
    assert limited.registers <= 96
    assert limited.stack_bytes > 0
    assert resources_of(*case, min_blocks=8).registers <= 65536 // (8 * 64)
    assert resources_of(*case, block_size=1024).registers <= 65536 // 1024


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"max_registers": 16}, r"`max_registers` is 16. Give a number from 24 to 255."),
        ({"max_registers": 2.5}, "`max_registers` is 2.5, but must be an integer of at least 1."),
        ({"min_blocks": 33}, r"`min_blocks` is 33. Give a number from 1 to 32."),
        (
            {"min_blocks": 9, "block_size": 256},
            r"`min_blocks` is 9. Blocks of 256 with 0 B of shared memory: at most 8 are resident "
            "on sm_90 at once, limited by warps.",
        ),
    ],
)
def test_limits_that_cannot_be_are_refused(options, told):
    """With what is allowed, and what stands in the way."""
    with pytest.raises(CubieError, match=f"^{re.escape(told)}$"):
        resources_of("tsit5", 3, "float32", True, **options)
