"""The inputs of some of the runs of a batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from cubie.backend import KernelInputs, ParametersOnDevice, StatesOnDevice
from cubie.systems.drivers.tables import of_runs


def inputs_of_runs(inputs: KernelInputs, n_runs: int, runs: np.ndarray) -> KernelInputs:
    """Return the inputs of some of the runs of a batch, in memory of their own."""
    states, parameters = inputs.initial_state, inputs.parameters
    offsets = inputs.parameter_offsets
    strides = inputs.state_stride
    if strides[0]:
        strides = np.array([1, len(runs)])
        states = states.reshape(-1, n_runs).take(runs, axis=1).ravel()
    if inputs.parameter_strides[0]:
        columns = parameters[:-1].reshape(-1, n_runs).take(runs, axis=1).ravel()
        parameters = np.append(columns, parameters[-1:])
        offsets = np.arange(len(offsets)) * len(runs)
    inputs = inputs._replace(**_told_of(inputs, n_runs, runs))
    samples, layout = of_runs(inputs.driver_samples, inputs.driver_layout, n_runs, runs)
    return inputs._replace(
        initial_state=states,
        state_stride=strides,
        parameters=parameters,
        parameter_offsets=offsets,
        driver_samples=samples,
        driver_layout=layout,
    )


def _told_of(inputs: KernelInputs, n_runs: int, some: np.ndarray | slice) -> dict[str, Any]:
    """Return what is told of each run by itself, but for its numbers, of some runs.

    Views of consecutive ones; of others arrays of their own.
    """
    limits = inputs.limits.copy()
    n_some = np.arange(n_runs)[some].size

    def columns(name: str) -> np.ndarray:
        rows = getattr(inputs, name).reshape(-1, n_runs)[:, some]
        return rows if isinstance(some, slice) else rows.ravel()

    told: dict[str, Any] = {"limits": limits}
    if limits[4]:
        told |= {name: columns(name) for name in ("stops", "stop_counts")}
        limits[3] = n_some
    if limits[6]:
        told["save_times"], limits[5] = columns("save_times"), n_some
    if limits[7] > 1:
        told["tolerances"], limits[7] = columns("tolerances"), n_some
    if limits[8] > 1:
        told |= {name: columns(name) for name in ("time_span", "step_limits")}
        limits[8] = n_some
    return told


def inputs_of_range(inputs: KernelInputs, n_runs: int, first: int, last: int) -> KernelInputs:
    """Return the inputs of consecutive runs: views, with gaps before their last axis."""
    some = slice(first, last)
    inputs = inputs._replace(**_told_of(inputs, n_runs, some))
    runs = np.arange(first, last)
    samples, layout = of_runs(inputs.driver_samples, inputs.driver_layout, n_runs, runs)
    inputs = inputs._replace(driver_samples=samples, driver_layout=layout)
    return _parameters_of_range(_states_of_range(inputs, n_runs, some), n_runs, some)


def _states_of_range(inputs: KernelInputs, n_runs: int, some: slice) -> KernelInputs:
    states, strides = inputs.initial_state, inputs.state_stride
    if isinstance(states, StatesOnDevice):
        there = states.of_runs.from_run(some.start)
        return inputs._replace(initial_state=states._replace(of_runs=there))
    if not strides[0]:
        return inputs
    return inputs._replace(
        initial_state=states.reshape(-1, n_runs)[:, some],
        state_stride=np.array([1, some.stop - some.start]),
    )


def _parameters_of_range(inputs: KernelInputs, n_runs: int, some: slice) -> KernelInputs:
    parameters, offsets = inputs.parameters, inputs.parameter_offsets
    on_device = None
    if isinstance(parameters, ParametersOnDevice):
        parameters, on_device = parameters
        on_device = {number: there.from_run(some.start) for number, there in on_device.items()}
    # The spare element at the end is that of an array that would be empty.
    if inputs.parameter_strides[-1]:
        parameters = parameters[:-1].reshape(-1, n_runs)[:, some]
        offsets = offsets // n_runs * (some.stop - some.start)
    if on_device is not None:
        parameters = ParametersOnDevice(parameters, on_device)
    return inputs._replace(parameters=parameters, parameter_offsets=offsets)
