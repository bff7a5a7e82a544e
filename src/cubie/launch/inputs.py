"""What a kernel reads, laid out as it takes it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cubie import checks
from cubie.backend import KernelInputs, KernelOutputs
from cubie.launch.breaks import Breaks
from cubie.launch.capacity import Free, Kept, no_device
from cubie.launch.outputs import make_outputs
from cubie.launch.stops import lay_out_stops
from cubie.run.saving import SaveMode
from cubie.systems.drivers import tables
from cubie.systems.drivers.pieces import Pieces


def sample_arguments(dtype) -> tuple[KernelInputs, KernelOutputs]:
    """Return arrays of the types a kernel takes, without contents."""
    inputs = make_inputs(np.zeros((1, 1)), np.zeros((0, 1)), (0.0, 1.0), dtype)
    return inputs, make_outputs(Kept(SaveMode.FINAL, 1, (), np.dtype(dtype)), 1).arrays


def make_inputs(
    y0: np.ndarray,
    parameters: np.ndarray,
    t_span: tuple[float, float],
    dtype,
    *,
    rtol: Any = 1e-3,
    atol: Any = 1e-6,
    first_step: float = 0.0,
    max_step: float = np.inf,
    min_step: float = 0.0,
    max_steps: int = 100_000,
    save_times: np.ndarray | None = None,
    counted: bool = False,
    reads_time: bool = False,
    drivers: Sequence[Pieces] = (),
    breaks: Breaks | None = None,
    on_device: Free = no_device,
    window: tuple[float, float] = (0.0, math.inf),
    inside: bool = False,
) -> KernelInputs:
    """Lay the inputs out for the kernel; see `KernelInputs` for the shapes.

    `drivers` are what the right-hand side calls, and `breaks` times that no step crosses, which
    `on_device()` bytes can hold (see `lay_out_stops`); `reads_time` tells that the right-hand side
    depends on the time, and `counted` that all steps have the size `first_step`, or `max_step` if
    that is smaller. `window` are the times, from the start of a run, between which summaries look
    at it. `inside` tells that steps do not land on the times to save at.
    """
    dtype = np.dtype(dtype)
    step, largest = min(first_step, max_step), float(np.finfo(dtype).max)
    sizes = step if counted else None
    stops = lay_out_stops(t_span, save_times, sizes, dtype, reads_time, breaks, on_device, inside)
    n_times = 0 if save_times is None else len(save_times)

    def real(values) -> np.ndarray:
        with np.errstate(over="ignore", under="ignore"):  # looked at below
            return np.ascontiguousarray(values, dtype=dtype).reshape(-1)

    m, columns = parameters.shape
    # One spare element: a kernel argument may not be an empty array.
    values = np.empty(m * columns + 1, dtype)
    values[:-1] = real(parameters)
    tolerances = (float(rtol), float(atol)) if np.ndim(rtol) == 0 else np.concatenate([rtol, atol])
    states, limits = real(y0), [step, min(max_step, largest), min_step]
    checks.fit("y0", y0.reshape(-1), states)
    checks.fit("args", parameters.reshape(-1), values[:-1])
    checks.fit("atol", np.atleast_1d(atol), real(atol))
    checks.fit("first_step", limits[:1], real(limits[:1]))
    checks.fit("max_step", limits[1:2], real(limits[1:2]))
    checks.fit("min_step", limits[2:], real(limits[2:]))
    samples, layout = tables.lay_out(drivers, dtype)
    return KernelInputs(
        initial_state=states,
        state_stride=np.array([int(y0.shape[1] > 1), y0.shape[1]], dtype=np.int64),
        parameters=values,
        parameter_offsets=np.arange(m + 1, dtype=np.int64) * columns,
        parameter_strides=np.full(m + 1, int(columns > 1), dtype=np.int64),
        save_times=stops.points.reshape(-1),
        time_span=real([stops.start, stops.direction, window[0], min(window[1], largest)]),
        tolerances=real(tolerances),
        step_limits=real(limits),
        limits=np.array([stops.least_attempts(max_steps), n_times, *stops.shape], np.int64),
        stops=stops.fields.reshape(-1),
        stop_counts=stops.counts_and_attempts(max_steps),
        driver_samples=samples,
        driver_layout=layout,
    )
