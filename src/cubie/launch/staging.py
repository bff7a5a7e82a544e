"""Inputs laid out for a kernel once: solves that differ in numbers only write those anew."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any

import numpy as np

from cubie import checks
from cubie.backend import KernelInputs
from cubie.launch.stops import Stops
from cubie.systems import Batch, argument_views

Shapes = tuple[Any, ...]


def shapes_of(y0: Any, args: Any) -> Shapes | None:
    """Return what decides how plain inputs are laid out, None where they are not plain.

    Plain are arrays of floats, as `y0` and in the tuple `args`, and floats in `args`; as `y0` whole
    numbers as well, and lists and tuples. Two solves with the same shapes differ in numbers only.
    An array that shows the same memory again and again is not plain: it is laid out once.
    """
    if type(y0) is np.ndarray and y0.dtype.kind in "fiu" and 0 not in y0.strides:
        shapes: list[Any] = [y0.shape, y0.dtype.char]
    elif type(y0) in (list, tuple) and all(map(_is_plain, y0)):
        shapes = [len(y0), None]
    else:
        return None
    if type(args) is not tuple:
        return None
    for value in args:
        if type(value) is np.ndarray and value.dtype.kind == "f" and 0 not in value.strides:
            shapes.append((value.shape, value.dtype.char))
        elif type(value) is float:
            shapes.append(None)
        else:
            return None
    return tuple(shapes)


def _is_plain(value: Any) -> bool:
    """Tell whether a state in a list is a number that an array of floats takes as it is."""
    kind = type(value)
    return kind is float or kind is np.float64 or (kind is int and abs(value) < 2**53)


def _all_finite(values: np.ndarray) -> bool:
    if values.size <= checks.FEW_VALUES:
        return all(map(isfinite, values.tolist()))
    return np.count_nonzero(np.isfinite(values)) == values.size


class Staging:
    """The inputs of a launch, and views of the places that the next solve writes to.

    Parameters
    ----------
    inputs : KernelInputs
        Of the first launch; owned, and written to.
    batch : Batch
        What they were made of: its shapes are used.
    args : tuple
        Plain in the sense of `shapes_of`.
    stops : callable
        ``stops(span, times, first_step)``: where the steps of runs must land.
    window : callable
        ``window(span)``: between which times from the start of runs summaries look at them.
    max_steps : int
    """

    def __init__(
        self,
        inputs: KernelInputs,
        batch: Batch,
        args: tuple[Any, ...],
        stops: Callable[[tuple[float, float], np.ndarray | None, float], Stops],
        window: Callable[[tuple[float, float]], tuple[float, float]],
        max_steps: int,
    ):
        self.inputs, self._max_steps = inputs, max_steps
        self._stops, self._window = stops, window
        self._known: tuple[Any, ...] | None = None
        self._rounds = inputs.stops.dtype != np.float64
        states = inputs.initial_state.reshape(batch.y0.shape)
        # The run axis comes first where it is given: what serves all runs is broadcast.
        self._states = states[:, 0] if batch.n_runs is None or states.shape[1] == 1 else states.T
        rows = inputs.parameters[:-1].reshape(batch.parameters.shape)
        self._parameters = argument_views(args, batch.n_runs, rows)

    def fill(
        self,
        y0: Any,
        args: tuple[Any, ...],
        span: tuple[float, float],
        times: np.ndarray | None,
        first_step: float,
    ) -> KernelInputs:
        """Write the numbers of another solve, and return the inputs.

        Raises
        ------
        InvalidProblem
            For initial states that are not finite, and numbers that the dtype cannot hold.
        """
        if self._rounds:
            with np.errstate(over="ignore", under="ignore"):
                self._write(y0, args)
            checks.fit("y0", y0, self._states)
            for view, value in zip(self._parameters, args, strict=True):
                checks.fit("args", value, view)
        else:
            self._write(y0, args)
        if times is not None or (span, first_step) != self._known:
            self._set_stops(span, times, first_step)
        return self.inputs

    def _write(self, y0: Any, args: tuple[Any, ...]) -> None:
        """Write states and parameters into their places."""
        inputs = self.inputs
        self._states[...] = y0
        if not _all_finite(inputs.initial_state):
            states = np.asarray(y0, dtype=float)
            checks.initial_states(states.reshape(-1, states.shape[-1]).T)
        for view, value in zip(self._parameters, args, strict=True):
            view[...] = value

    def _set_stops(
        self, span: tuple[float, float], times: np.ndarray | None, first_step: float
    ) -> None:
        """Tell the clock where the runs start and stop."""
        inputs, stops = self.inputs, self._stops(span, times, first_step)
        fields, counts = stops.fields.reshape(-1), stops.counts_and_attempts(self._max_steps)
        inputs.save_times[...] = stops.points.reshape(-1)
        told = slice(2, 2 + len(stops.shape))
        if stops.shape != tuple(inputs.limits[told].tolist()):
            # The last time to save at was the end, or is no longer; or breaks lie elsewhere.
            self.inputs = inputs = inputs._replace(stops=fields, stop_counts=counts)
            inputs.limits[told] = stops.shape
        else:
            inputs.stops[...], inputs.stop_counts[...] = fields, counts
        inputs.limits[0] = stops.least_attempts(self._max_steps)
        inputs.time_span[0], inputs.time_span[1] = stops.start, stops.direction
        inputs.time_span[2:] = self._window(span)
        inputs.step_limits[0] = min(first_step, inputs.step_limits[1])
        self._known = (span, first_step) if times is None else None
