"""Solves of inputs that have the same shapes each time: numbers go into places that are there."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from cubie.launch.clocks import Span
from cubie.launch.prepared import PreparedSolve
from cubie.launch.results import Result
from cubie.launch.staging import Staging
from cubie.launch.stops import FIELDS, FIELDS_WITH_BREAKS
from cubie.systems import Batch

# Larger inputs are not kept: laying them out anew is little next to solving them.
MAX_STAGED_ELEMENTS = 100_000


class RecurringSolve:
    """A prepared solve of inputs that have the same shapes each time.

    Parameters
    ----------
    prepared : PreparedSolve
    batch : Batch
        Of the first solve; its shapes are kept.
    args : tuple
        Plain in the sense of `cubie.launch.staging.shapes_of`.
    """

    def __init__(self, prepared: PreparedSolve, batch: Batch, args: tuple[Any, ...]):
        self.prepared, self._batch, self._args = prepared, batch, args
        # A solve takes one, or makes it where other threads have all.
        self._idle: list[Staging] = []

    def held_bytes(self) -> int:
        """Return how many bytes of arrays are kept alive for the next solve."""
        batch = [self._batch.y0, self._batch.parameters]
        given = [value for value in self._args if isinstance(value, np.ndarray)]
        laid_out = [array for staging in list(self._idle) for array in staging.inputs]
        return sum(array.nbytes for array in (*batch, *given, *(laid_out or batch)))

    def run(
        self,
        y0: Any,
        args: tuple[Any, ...],
        span: Span,
        times: np.ndarray | None,
        first_step: float,
    ) -> Result:
        """Write the numbers into their places, launch, and shape the result."""
        prepared, batch = self.prepared, self._batch
        kernel = prepared.kernel
        kernel.compiled.expect(batch.n_runs or 1, kernel.config.block_size)
        try:
            staging = self._idle.pop()
        except IndexError:
            inputs = prepared.lay_out(batch, span, times, first_step)
            # The states may be those of the batch itself, which other threads lay out too.
            inputs = inputs._replace(initial_state=inputs.initial_state.copy())
            stops = partial(prepared.stops, batch=batch)
            window, max_steps = prepared.window_of, prepared.max_steps
            staging = Staging(inputs, batch, self._args, stops, window, max_steps)
        # Not used again where anything raises: a signal may have come between two of its writes.
        inputs = staging.fill(y0, args, span, times, first_step)
        result = prepared.launch(inputs, batch, span, times)
        self._idle.append(staging)
        return result


def is_worth_keeping(prepared: PreparedSolve, batch: Batch, n_times: int) -> bool:
    """Tell whether laying out the inputs is much of the work of a solve."""
    if prepared.system.joint is not None:  # more is laid out than is given
        return False
    breakpoints = prepared.breakpoints
    n_stops = FIELDS * n_times
    if breakpoints is not None:
        n_stops = (
            FIELDS_WITH_BREAKS
            * (n_times + breakpoints.shape[-1])
            * math.prod(breakpoints.shape[:-1])
        )
    return batch.y0.size + batch.parameters.size + n_stops <= MAX_STAGED_ELEMENTS
