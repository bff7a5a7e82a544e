"""Fit what the cost model says of registers and stack to what an assembler made of kernels.

No card is needed: kernels with everything local are compiled, and their registers and stack read.
The constants that come of it say how many registers so many live words take, and what lies in
the stack where they are too many; see `cost_constants`.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import numpy as np
from attrs import evolve, frozen

from cubie_planner.gpu.cost import CostError, CostModel
from cubie_planner.gpu.cost_constants import Constants

MOST_REGISTERS = 255


@frozen(kw_only=True)
class CompiledKernel:
    """A kernel with everything local, as an assembler reports it.

    Attributes
    ----------
    live_words : int
        Words of its arrays that are alive at once, as `footprint.live_words` counts them.
    local_bytes : int
        Bytes of all its arrays.
    registers, stack_bytes : int
        Of a thread.
    """

    live_words: int
    local_bytes: int
    registers: int
    stack_bytes: int


@frozen(kw_only=True)
class RegisterFit:
    """Constants with what is known about the fit.

    Attributes
    ----------
    constants : Constants
        Those given, with the fitted ones in place.
    kernels : int
    register_error, worst_register_error : float
        Median and largest relative error in kernels without a stack.
    stack_error : float
        Median relative error in kernels that have one, or were predicted to.
    """

    constants: Constants
    kernels: int
    register_error: float
    worst_register_error: float
    stack_error: float


def fit_registers(kernels: Sequence[CompiledKernel], model: CostModel) -> RegisterFit:
    """Fit the register and stack constants of a model; all others stay.

    Raises
    ------
    CostError
        Where fewer than three kernels have no stack, or none of them differ.
    """
    small = [k for k in kernels if k.stack_bytes == 0 and k.registers < MOST_REGISTERS]
    if len({k.live_words for k in small}) < 3:
        raise CostError(
            f"{len(small)} kernels without a stack are too few for a fit; give three or more of "
            "different sizes."
        )
    # Relative errors: a row is divided by what it is to give.
    rows = np.array([[1 / k.registers, k.live_words / k.registers] for k in small])
    base, per_word = np.linalg.lstsq(rows, np.ones(len(small)), rcond=None)[0]
    base, per_word = max(1.0, float(base)), max(1e-3, float(per_word))
    fitted = evolve(model.constants, registers_base=base, registers_per_word=per_word)
    fitted = _with_stack(fitted, [k for k in kernels if k.stack_bytes])
    errors = [abs(_demand(fitted, k) - k.registers) / k.registers for k in small]
    return RegisterFit(
        constants=fitted,
        kernels=len(kernels),
        register_error=median(errors),
        worst_register_error=max(errors),
        stack_error=stack_error(fitted, kernels),
    )


def _demand(constants: Constants, kernel: CompiledKernel) -> float:
    return constants.registers_base + constants.registers_per_word * kernel.live_words


def _with_stack(constants: Constants, kernels: Sequence[CompiledKernel]) -> Constants:
    """Choose where whole arrays fall into the stack so that the error is least."""
    if not kernels:
        return constants
    demands = sorted(_demand(constants, k) for k in kernels)
    options = []
    for threshold in [demands[0] - 1.0, *demands]:
        spilled = [k for k in kernels if _demand(constants, k) <= threshold]
        framed = [k for k in kernels if _demand(constants, k) > threshold]
        per_word = [
            k.stack_bytes / max(1.0, _demand(constants, k) - MOST_REGISTERS) for k in spilled
        ]
        factors = [k.stack_bytes / k.local_bytes for k in framed]
        options.append(
            evolve(
                constants,
                frame_demand=max(threshold, 1.0),
                spill_bytes_per_word=median(per_word)
                if spilled
                else constants.spill_bytes_per_word,
                frame_factor=median(factors) if framed else constants.frame_factor,
            )
        )
    return min(options, key=lambda option: sum(_stack_errors(option, kernels)))


def stack_error(constants: Constants, kernels: Sequence[CompiledKernel]) -> float:
    """Return the median relative error of the stack, where there is one or was to be one."""
    errors = _stack_errors(constants, kernels)
    return median(errors) if errors else 0.0


def _stack_errors(constants: Constants, kernels: Sequence[CompiledKernel]) -> list[float]:
    errors = []
    for kernel in kernels:
        demand = _demand(constants, kernel)
        missing = max(0.0, demand - MOST_REGISTERS)
        in_frame = demand > constants.frame_demand
        predicted = (
            constants.frame_factor * kernel.local_bytes
            if in_frame
            else constants.spill_bytes_per_word * missing
        )
        if predicted or kernel.stack_bytes:
            larger = max(predicted, kernel.stack_bytes)
            errors.append(abs(predicted - kernel.stack_bytes) / larger)
    return errors
