"""Registers and stack of the cost model, fitted to compiled kernels."""

import pytest
from attrs import evolve

from cubie_planner.gpu.cost import CostError, CostModel
from cubie_planner.gpu.register_fit import CompiledKernel, fit_registers, stack_error

MODEL = CostModel.for_capability((9, 0))
TRUE = evolve(
    MODEL.constants,
    registers_base=20.0,
    registers_per_word=0.5,
    spill_bytes_per_word=7.0,
    frame_demand=600.0,
    frame_factor=0.8,
)


def kernel(words: int) -> CompiledKernel:
    """Return a kernel as the true constants would have it."""
    demand = TRUE.registers_base + TRUE.registers_per_word * words
    stack = 0.0
    if demand > TRUE.frame_demand:
        stack = TRUE.frame_factor * 8 * words
    elif demand > 255:
        stack = TRUE.spill_bytes_per_word * (demand - 255)
    return CompiledKernel(
        live_words=words,
        local_bytes=8 * words,
        registers=min(255, round(demand)),
        stack_bytes=round(stack),
    )


KERNELS = [kernel(words) for words in (20, 60, 100, 200, 400, 600, 800, 1000, 1300, 2000, 3000)]


def test_constants_are_recovered():
    """Kernels that follow the model give its constants back, with next to no error."""
    found = fit_registers(KERNELS, MODEL)
    for name in ("registers_base", "registers_per_word", "spill_bytes_per_word", "frame_factor"):
        assert getattr(found.constants, name) == pytest.approx(getattr(TRUE, name), rel=0.02), name
    assert 519 < found.constants.frame_demand < 670
    assert found.worst_register_error < 0.02
    assert found.stack_error < 0.02
    assert stack_error(MODEL.constants, KERNELS) > 0.1
    assert found.constants.l2_cycles == MODEL.constants.l2_cycles


def test_without_a_stack_its_constants_stay():
    """What the kernels say nothing of is not changed."""
    found = fit_registers(KERNELS[:4], MODEL)
    assert found.constants.frame_factor == MODEL.constants.frame_factor
    assert found.stack_error == 0.0


def test_too_few_kernels_are_refused():
    """Two sizes make no line that could be wrong."""
    with pytest.raises(CostError, match="three or more of different sizes"):
        fit_registers(KERNELS[:2], MODEL)
