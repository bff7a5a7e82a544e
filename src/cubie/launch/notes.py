"""What a result says of inputs: of runs that failed, and of starts that miss equations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cubie.backend import KernelInputs, OutputBlock
from cubie.launch.event_room import on_host
from cubie.status import RunStatus
from cubie.systems import System, inconsistency, note_on_index
from cubie.systems.drivers.pieces import Pieces


def notes_on_start(
    system: System,
    inputs: KernelInputs,
    n_runs: int,
    start: Any,
    tolerances: tuple[np.ndarray, np.ndarray],
    drivers: Sequence[Pieces],
) -> tuple[str, ...]:
    """Say where the start misses algebraic equations, and where their index is above 1."""
    if system.mass is None:
        return ()
    if not on_host(inputs):
        return ("Whether the start meets the algebraic equations was not looked at: it, or a "
                "parameter, lies on a device.",)  # fmt: skip
    rtol, atol = tolerances
    states = inputs.initial_state.reshape(system.n_states, -1)
    alike = system.n_parameters == 0 and np.ndim(start) == 0 and rtol.ndim == 1
    runs = np.arange(max(states.shape[1], 1 if alike else n_runs))
    at = inputs.parameter_offsets[:-1, None] + inputs.parameter_strides[:-1, None] * runs
    states = np.broadcast_to(states, (len(states), len(runs)))
    parameters = inputs.parameters[at]
    found = inconsistency(system, start, states, parameters, rtol, atol, drivers)
    notes = (None if found is None else found.note,)
    notes += (note_on_index(system, start, states, parameters, drivers),)
    return tuple(filter(None, notes))


def notes_on_parameters(
    outputs: OutputBlock, n_runs: int, inputs: KernelInputs, names: tuple[str, ...]
) -> tuple[str, ...]:
    """Name the parameters that were infinite or NaN in runs that failed, however that showed.

    Parameters
    ----------
    outputs : OutputBlock
        Where they lie on a device, they are asked for only where a parameter is not finite.
    n_runs : int
    inputs : KernelInputs
        Of parameters on a device nothing is said.
    names : tuple of str
        Of the parameters, in their order.
    """
    # Of a million runs the parameters are cold by now: they are not read where no run failed.
    if not outputs.stays and outputs.arrays.status[:n_runs].min(initial=0) >= 0:
        return ()
    if not on_host(inputs) or np.isfinite(inputs.parameters).all():
        return ()
    status = outputs.arrays.status[:n_runs]
    runs = np.flatnonzero((status < 0) & (status != RunStatus.INTERRUPTED))
    if not runs.size:
        return ()
    starts, strides = inputs.parameter_offsets[: len(names)], inputs.parameter_strides[: len(names)]
    given = inputs.parameters[starts[:, None] + strides[:, None] * runs]
    found = []
    for name, numbers in zip(names, given, strict=True):
        own = np.flatnonzero(~np.isfinite(numbers))
        if not own.size:
            continue
        where = "" if len(status) == 1 else f" in run {runs[own[0]]}"
        if own.size > 1:
            where += f" and not finite in {own.size - 1} more of the runs that failed"
        found.append(f"The parameter `{name}` is {numbers[own[0]]}{where}.")
    return tuple(found)
