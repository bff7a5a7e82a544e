"""Inputs laid out for a kernel once: solves that differ in numbers only write those anew."""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np

from cubie import checks
from cubie.backend import KernelInputs
from cubie.stops import lay_out_stops
from cubie.systems import Batch, argument_views

Shapes = tuple[Any, ...]

FEW_VALUES = 16  # are looked at sooner one by one


def shapes_of(y0: Any, args: Any) -> Shapes | None:
    """Return what decides how plain inputs are laid out, None where they are not plain.

    Plain are arrays of floats, as `y0` and in the tuple `args`; a list of floats as `y0`, and
    floats in `args`. Two solves with the same shapes differ in numbers only.
    """
    if type(y0) is np.ndarray and y0.dtype.kind == "f":
        shapes: list[Any] = [y0.shape, y0.dtype.char]
    elif type(y0) is list and all(type(value) is float for value in y0):
        shapes = [len(y0), None]
    else:
        return None
    if type(args) is not tuple:
        return None
    for value in args:
        if type(value) is np.ndarray and value.dtype.kind == "f":
            shapes.append((value.shape, value.dtype.char))
        elif type(value) is float:
            shapes.append(None)
        else:
            return None
    return tuple(shapes)


def _all_finite(values: np.ndarray) -> bool:
    if values.size <= FEW_VALUES:
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
    counted : bool
        All steps have the size that is given with each launch, or `max_step` if that is smaller.
    max_step : float
    """

    def __init__(
        self, inputs: KernelInputs, batch: Batch, args: tuple[Any, ...], counted: bool,
        max_step: float,
    ):  # fmt: skip
        self.inputs = inputs
        self._counted, self._max_step = counted, max_step
        self._known: tuple[Any, ...] = (None, None, None)
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
            For initial states that are not finite.
        """
        inputs = self.inputs
        self._states[...] = y0
        if not _all_finite(inputs.initial_state):
            states = np.asarray(y0, dtype=float)
            checks.initial_states(states.reshape(-1, states.shape[-1]).T)
        for view, value in zip(self._parameters, args, strict=True):
            view[...] = value
        inputs.step_limits[0] = first_step
        self._set_stops(span, times, first_step)
        return inputs

    def _set_stops(self, span, times, first_step) -> None:
        """Tell the clock when the runs start and stop, unless it was told the same before."""
        known = (span, first_step, times)
        if known[:2] == self._known[:2] and times is self._known[2] is None:
            return
        inputs, step = self.inputs, None
        if self._counted:
            step = min(first_step, self._max_step)
            inputs.step_limits[0] = step
        stops = lay_out_stops(span, times, step, inputs.stops.dtype)
        if len(stops.counts) != inputs.limits[3]:
            self.inputs = inputs = inputs._replace(
                stops=stops.fields.reshape(-1), stop_counts=stops.counts
            )
            inputs.limits[3] = len(stops.counts)
        inputs.time_span[0], inputs.time_span[1] = stops.start, stops.direction
        inputs.stops[...] = stops.fields.reshape(-1)
        inputs.stop_counts[...] = stops.counts
        self._known = known
