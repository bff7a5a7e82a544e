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
from cubie.launch.clocks import Span
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
    t_span: Span,
    dtype,
    *,
    rtol: Any = 1e-3,
    atol: Any = 1e-6,
    first_step: Any = 0.0,
    max_step: Any = np.inf,
    min_step: Any = 0.0,
    max_steps: int = 100_000,
    save_times: np.ndarray | None = None,
    counted: bool = False,
    reads_time: bool = False,
    drivers: Sequence[Pieces] = (),
    breaks: Breaks | None = None,
    on_device: Free = no_device,
    window: Span = (0.0, math.inf),
    inside: bool = False,
    event_room: int = 0,
    own_clock: int | None = None,
) -> KernelInputs:
    """Lay the inputs out for the kernel; see `KernelInputs` for the shapes.

    `drivers` are what the right-hand side calls, and `breaks` times that no step crosses, which
    `on_device()` bytes can hold (see `lay_out_stops`); `reads_time` tells that the right-hand side
    depends on the time, and `counted` that all steps have the size `first_step`, or `max_step` if
    that is smaller. `window` are the times, from the start of a run, between which summaries look
    at it. `inside` tells that steps do not land on the times to save at; `event_room` how many of
    each event are kept. `own_clock` is the number of runs where the kernel is one of runs with
    clocks of their own: spans and step sizes may then be arrays (n_runs,). With any kernel
    `save_times` may have a row for each run, and tolerances be (n_runs, 1) or (n_runs, n).
    """
    dtype, own = np.dtype(dtype), own_clock is not None
    step, largest = first_step_of(first_step, max_step), float(np.finfo(dtype).max)
    of_clocks = t_span, save_times, step if counted else None, dtype
    stops = lay_out_stops(*of_clocks, reads_time, breaks, on_device, inside, own)
    counts = [stops.least_attempts(max_steps), 0 if save_times is None else save_times.shape[-1]]

    def real(values) -> np.ndarray:
        with np.errstate(over="ignore", under="ignore"):  # looked at below
            return np.ascontiguousarray(values, dtype=dtype).reshape(-1)

    m, columns = parameters.shape
    # One spare element: a kernel argument may not be an empty array.
    values = np.empty(m * columns + 1, dtype)
    values[:-1] = real(parameters)
    states, (tolerances, columns_of_tolerances) = real(y0), _tolerances(rtol, atol)
    limits = _by_run([step, np.minimum(max_step, largest), min_step], own_clock)
    span = [stops.start, stops.direction, window[0], np.minimum(window[1], largest)]
    checks.fit("y0", y0.reshape(-1), states)
    checks.fit("args", parameters.reshape(-1), values[:-1])
    checks.fit("atol", np.atleast_1d(atol), real(atol))
    for name, row in zip(("first_step", "max_step", "min_step"), limits, strict=True):
        checks.fit(name, row, real(row))
    samples, layout = tables.lay_out(drivers, dtype)
    return KernelInputs(
        initial_state=states,
        state_stride=np.array([int(y0.shape[1] > 1), y0.shape[1]], dtype=np.int64),
        parameters=values,
        parameter_offsets=np.arange(m + 1, dtype=np.int64) * columns,
        parameter_strides=np.full(m + 1, int(columns > 1), dtype=np.int64),
        save_times=stops.points.reshape(-1),
        time_span=real(_by_run(span, own_clock)),
        tolerances=real(tolerances),
        step_limits=real(limits),
        limits=np.array([*counts, *stops.shape, columns_of_tolerances, own_clock or 1, event_room]),
        stops=stops.fields.reshape(-1),
        stop_counts=stops.counts_and_attempts(max_steps),
        driver_samples=samples,
        driver_layout=layout,
    )


def first_step_of(first_step: Any, max_step: Any) -> Any:
    """Return the first step size that is taken, of all runs or of each."""
    if type(first_step) is float and type(max_step) is float:
        return min(first_step, max_step)
    return np.minimum(first_step, max_step)


def _by_run(rows: list[Any], n_runs: int | None) -> np.ndarray:
    """Return rows of one number, (K, 1), or of one for each run, (K, n_runs)."""
    if n_runs is None:
        return np.array(rows, dtype=float).reshape(-1, 1)
    return np.stack([np.broadcast_to(np.ravel(row), n_runs) for row in rows])


def _tolerances(rtol: Any, atol: Any) -> tuple[np.ndarray, int]:
    """Return rtol and atol of each component in turn as rows, and how many columns these have."""
    pairs = np.stack([np.atleast_1d(rtol), np.atleast_1d(atol)], axis=-1)
    if np.ndim(rtol) < 2:
        return pairs.reshape(-1), 1
    return pairs.reshape(len(rtol), -1).T, len(rtol)
