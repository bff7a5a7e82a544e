"""A solve with all decided but the numbers of its runs: what repeated solves find again."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from attrs import frozen

from cubie.backend import Interrupted, KernelInputs
from cubie.kernel import BatchSolverKernel, make_inputs, make_outputs, mark_unwritten
from cubie.results import Result, ResultKind, Work, with_partial_result
from cubie.saving import SaveMode
from cubie.staging import Staging
from cubie.stops import Stops, lay_out_stops
from cubie.systems import Batch, inconsistency

FIRST_ROOM = 256  # points a run saved at every step has room for at first
# Larger inputs are not kept: laying them out anew is little next to solving them.
MAX_STAGED_ELEMENTS = 100_000

Span = tuple[float, float]


@frozen
class PreparedSolve:
    """A kernel, and the checked settings that each launch hands it."""

    kernel: BatchSolverKernel
    mode: SaveMode
    dtype: np.dtype
    rtol: np.ndarray
    atol: np.ndarray
    max_step: float
    max_steps: int
    notes: tuple[str, ...]

    @property
    def adaptive(self) -> bool:
        """Step sizes are chosen as the run goes."""
        return self.kernel.integrator.controller.adaptive

    @cached_property
    def reads_time(self) -> bool:
        """The right-hand side depends on the time itself, as far as can be seen."""
        return self.kernel.integrator.loop.system.system.reads_time

    def run(self, batch: Batch, span: Span, times: np.ndarray | None, first_step: float) -> Result:
        """Lay out the inputs of a batch, launch, and shape the result.

        Parameters
        ----------
        batch : Batch
        span : (float, float)
        times : ndarray or None
            `t_eval`.
        first_step : float
            0 where it is estimated.
        """
        self.kernel.compiled.expect(batch.n_runs or 1)
        inputs = self.lay_out(batch, span, times, first_step)
        return self.launch(inputs, batch.n_runs, span, times)

    def lay_out(
        self, batch: Batch, span: Span, times: np.ndarray | None, first_step: float
    ) -> KernelInputs:
        """Return the inputs of a launch, in memory of their own."""
        return make_inputs(
            batch.y0,
            batch.parameters,
            span,
            self.dtype,
            rtol=self.rtol,
            atol=self.atol,
            first_step=first_step,
            max_step=self.max_step,
            max_steps=self.max_steps,
            save_times=times,
            counted=not self.adaptive,
            reads_time=self.reads_time,
        )

    def stops(self, span: Span, times: np.ndarray | None, first_step: float) -> Stops:
        """Return where the steps of runs must land; see `lay_out_stops`."""
        step = None if self.adaptive else min(first_step, self.max_step)
        return lay_out_stops(span, times, step, self.dtype, self.reads_time)

    def launch(
        self,
        inputs: KernelInputs,
        n_runs: int | None,
        span: Span,
        times: np.ndarray | None,
    ) -> Result:
        """Solve, with more room if steps did not fit, and shape the result.

        Whoever calls this told the compiled kernel before what to expect, so that no clock
        times a compilation.
        """
        kernel, mode, columns = self.kernel, self.mode, n_runs or 1
        room = FIRST_ROOM if mode is SaveMode.STEPS else 0
        while True:
            inputs.limits[2] = room
            points = room if mode is SaveMode.STEPS else 0 if times is None else len(times)
            n_counters = kernel.integrator.loop.n_counters
            outputs = make_outputs(
                mode, self._kind.n_states, columns, points, self.dtype, n_counters
            )
            try:
                seconds = kernel.launch(columns, inputs, outputs)
            except Interrupted as interruption:
                mark_unwritten(outputs, mode, self._kind.n_states, interruption.n_written)
                np.minimum(outputs.arrays.saved, points, out=outputs.arrays.saved)
                partial = Result(outputs, self._kind, n_runs, times, span)
                raise with_partial_result(interruption.cause, partial) from None
            needed = int(outputs.arrays.saved.max()) if mode is SaveMode.STEPS else 0
            if needed <= room:
                break
            room = needed
        times = None if times is None else times.copy()
        notes = self._notes_on_start(inputs, columns, span[0])
        return Result(outputs, self._kind, n_runs, times, span, notes, seconds)

    def _notes_on_start(self, inputs: KernelInputs, n_runs: int, start: float) -> tuple[str, ...]:
        """Say where a differential-algebraic system starts inconsistently."""
        system = self.kernel.integrator.loop.system.system
        if system.mass is None:
            return ()
        states = inputs.initial_state.reshape(system.n_states, -1)
        runs = np.arange(max(states.shape[1], 1 if system.n_parameters == 0 else n_runs))
        at = inputs.parameter_offsets[:-1, None] + inputs.parameter_strides[:-1, None] * runs
        states = np.broadcast_to(states, (len(states), len(runs)))
        found = inconsistency(system, start, states, inputs.parameters[at], self.rtol, self.atol)
        return () if found is None else (found.note,)

    @cached_property
    def _kind(self) -> ResultKind:
        loop = self.kernel.integrator.loop
        work = Work.of(loop.algorithm, loop.initial_step.rhs_evaluations)
        return ResultKind(self.mode, loop.system.n_states, work, self.kernel.plan, self.notes)


class RecurringSolve:
    """A prepared solve of inputs that have the same shapes each time.

    Parameters
    ----------
    prepared : PreparedSolve
    batch : Batch
        Of the first solve; its shapes are kept.
    args : tuple
        Plain in the sense of `cubie.staging.shapes_of`.
    """

    def __init__(self, prepared: PreparedSolve, batch: Batch, args: tuple[Any, ...]):
        self.prepared, self._batch, self._args = prepared, batch, args
        # A solve takes one, or makes it where other threads have all.
        self._idle: list[Staging] = []

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
        prepared.kernel.compiled.expect(batch.n_runs or 1)
        try:
            staging = self._idle.pop()
        except IndexError:
            inputs = prepared.lay_out(batch, span, times, first_step)
            # The states may be those of the batch itself, which other threads lay out too.
            inputs = inputs._replace(initial_state=inputs.initial_state.copy())
            staging = Staging(inputs, batch, self._args, prepared.stops)
        try:
            inputs = staging.fill(y0, args, span, times, first_step)
            return prepared.launch(inputs, batch.n_runs, span, times)
        finally:
            self._idle.append(staging)


def is_worth_keeping(batch: Batch) -> bool:
    """Tell whether laying out the inputs is much of the work of a solve."""
    return batch.y0.size + batch.parameters.size <= MAX_STAGED_ELEMENTS
