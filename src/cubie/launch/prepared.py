"""A solve with all decided but the numbers of its runs: what repeated solves find again."""

from __future__ import annotations

import math
from functools import cached_property, partial
from typing import Any

import numpy as np
from attrs import field, frozen

from cubie.backend import Interrupted, KernelInputs, OutputBlock, Spent
from cubie.errors import InvalidProblem
from cubie.launch.breaks import Breaks, breaks_within
from cubie.launch.capacity import kept_of
from cubie.launch.given_on_device import GivenOnDevice
from cubie.launch.inputs import make_inputs
from cubie.launch.kernel import BatchSolverKernel
from cubie.launch.outputs import PerRun, layout_of, make_outputs, mark_unwritten
from cubie.launch.points import Points
from cubie.launch.results import Result, ResultKind, Work, with_partial_result
from cubie.launch.staging import Staging
from cubie.launch.steps import Room, StepsSolve
from cubie.launch.stops import FIELDS, FIELDS_WITH_BREAKS, Stops, lay_out_stops
from cubie.launch.summaries import EVER, Window
from cubie.run.saving import SaveMode, sizes_of
from cubie.systems import Batch, System, inconsistency, note_on_index
from cubie.systems.drivers.interpolant import Driver
from cubie.systems.drivers.pieces import Pieces

# Larger inputs are not kept: laying them out anew is little next to solving them.
MAX_STAGED_ELEMENTS = 100_000

Span = tuple[float, float]
Solved = tuple[OutputBlock, Points | None, Spent]


class _CalledOff(Exception):
    """What there is of a solve that a signal ended."""

    def __init__(self, cause: BaseException, outputs: OutputBlock, points: Points | None):
        self.cause, self.outputs, self.points = cause, outputs, points


@frozen
class PreparedSolve:
    """A kernel, and the checked settings that each launch hands it.

    The system is that of the solve: that of the kernel, found again, may call drivers with the same
    equations and other samples.
    """

    kernel: BatchSolverKernel
    system: System
    observables: System | None
    mode: SaveMode
    dtype: np.dtype
    rtol: np.ndarray
    atol: np.ndarray
    max_step: float
    max_steps: int
    notes: tuple[str, ...]
    window: Window | None = None  # of summaries
    breakpoints: np.ndarray | None = None  # (B,) or (n_runs, B)
    in_pairs: bool = False  # of complex states
    named: bool = False  # states have names that users gave
    min_step: float = 0.0
    on_device: bool = False  # results stay where they were computed
    room: Room = field(factory=Room, init=False, eq=False)  # for points, where steps are saved

    @cached_property
    def adaptive(self) -> bool:
        """Step sizes are chosen as the run goes."""
        return self.kernel.integrator.controller.adaptive

    @cached_property
    def reads_time(self) -> bool:
        """What runs compute depends on the time itself, as far as can be seen."""
        return self.system.reads_time or (
            self.observables is not None and self.observables.reads_time
        )

    def run(
        self,
        batch: Batch,
        span: Span,
        times: np.ndarray | None,
        first_step: float,
        given: GivenOnDevice | None = None,
        args: Any = (),
    ) -> Result:
        """Lay out the inputs of a batch, launch, and shape the result.

        Parameters
        ----------
        batch : Batch
        span : (float, float)
        times : ndarray or None
            `t_eval`.
        first_step : float
            0 where it is estimated.
        given : GivenOnDevice, optional
            What of the inputs is no array of the host, with its stand-ins in `args`.
        """
        compiled = self.kernel.compiled
        compiled.expect(batch.n_runs or 1, self.kernel.config.block_size)
        inputs = self.lay_out(batch, span, times, first_step)
        if given is not None:
            self._require_taken(given)
            inputs = given.into(inputs, batch, args)
            compiled.await_streams(given.streams)
        return self.launch(inputs, batch, span, times)

    def _require_taken(self, given: GivenOnDevice) -> None:
        """Refuse arrays on a device where the target, or what is saved, cannot do with them."""
        backend, name = self.kernel.backend, "args" if given.y0 is None else "y0"
        if not backend.has_own_memory:
            raise InvalidProblem(
                name,
                f"lies on a device, and backend={backend.name!r} works in the memory of the host: "
                "give an array of the host, or solve with the device.",
            )
        if self.mode is SaveMode.STEPS:
            raise InvalidProblem(
                name,
                "lies on a device, and runs saved at every step may be solved again, in another "
                "order: give `t_eval`, save='final', or arrays of the host.",
            )

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
            min_step=self.min_step,
            max_steps=self.max_steps,
            save_times=times,
            counted=not self.adaptive,
            reads_time=self.reads_time,
            window=self.window_of(span),
            drivers=self._pieces(batch),
            breaks=self._breaks(span, batch),
            on_device=self.kernel.compiled.free_bytes,
            inside=self.mode is SaveMode.TIMES,
        )

    def window_of(self, span: Span) -> Span:
        """Return between which times from the start of runs summaries look at them."""
        return EVER if self.window is None else self.window.elapsed(span)

    def _pieces(self, batch: Batch) -> list[Pieces]:
        systems = (self.system, self.observables)
        called = [s.drivers_of(batch.drivers) for s in systems if s is not None]
        return [driver.pieces for drivers in called for driver in drivers]

    def _breaks(self, span: Span, batch: Batch) -> Breaks | None:
        """Return the times that no step crosses; None where the kernel knows of none."""
        if not self.kernel.integrator.loop.system.breakpoints:
            return None
        tracking = self.kernel.integrator.loop.tracking
        systems = [self.system]
        if self.observables is not None and tracking is not None and tracking.observables:
            systems.append(self.observables)
        driven: dict[int, Driver] = {}  # what both call counts once
        for system in systems:
            drivers = system.drivers_of(batch.drivers)
            driven |= {id(drivers[number]): drivers[number] for number in system.driven}
        return breaks_within(span, self.breakpoints, list(driven.values()))

    def stops(self, span: Span, times: np.ndarray | None, first_step: float, batch: Batch) -> Stops:
        """Return where the steps of runs must land; see `lay_out_stops`."""
        step = None if self.adaptive else min(first_step, self.max_step)
        breaks, on_device = self._breaks(span, batch), self.kernel.compiled.free_bytes
        inside = self.mode is SaveMode.TIMES
        return lay_out_stops(
            span, times, step, self.dtype, self.reads_time, breaks, on_device, inside
        )

    def launch(
        self,
        inputs: KernelInputs,
        batch: Batch,
        span: Span,
        times: np.ndarray | None,
    ) -> Result:
        """Solve, and shape the result.

        Whoever calls this told the compiled kernel before what to expect, so that no clock
        times a compilation.
        """
        n_runs = batch.n_runs
        columns, times = n_runs or 1, None if times is None else times.copy()
        solve = self._solve_steps if self.mode is SaveMode.STEPS else self._solve
        try:
            outputs, points, spent = solve(inputs, columns, times)
        except _CalledOff as called_off:
            partial = Result(called_off.outputs, self._kind, n_runs, times, span, called_off.points)
            raise with_partial_result(called_off.cause, partial) from None
        notes = self._notes_on_start(inputs, batch, span[0])
        return Result(outputs, self._kind, n_runs, times, span, points, notes, *spent)

    def _solve(self, inputs: KernelInputs, n_runs: int, times: np.ndarray | None) -> Solved:
        kernel, kept = self.kernel, kept_of(self.mode, n_runs, self._kind.sizes, self.dtype)
        n_points = 1 if times is None else len(times)
        if self.on_device:
            layout = layout_of(kept, n_points, self._per_run)
            outputs = kernel.compiled.resident_block(layout)
        else:
            outputs = make_outputs(kept, n_points, self._per_run)
        try:
            return outputs, None, kernel.launch(n_runs, inputs, outputs)
        except Interrupted as interruption:
            if outputs.stays:  # nothing of them is anybody's
                raise interruption.cause from None
            mark_unwritten(outputs, kept, interruption.n_written)
            raise _CalledOff(interruption.cause, outputs, None) from None

    def _solve_steps(self, inputs: KernelInputs, n_runs: int, times: np.ndarray | None) -> Solved:
        kernel = self.kernel
        kept = kept_of(self.mode, n_runs, self._kind.sizes, self.dtype)
        steps = StepsSolve(
            kernel.launch,
            inputs,
            kept,
            self._per_run,
            self.room,
            kernel.backend.runs_at_once,
            kernel.compiled.free_bytes,
        )
        try:
            return (*steps.run(), steps.spent)
        except Interrupted as interruption:
            so_far = steps.so_far(interruption.n_written)
            raise _CalledOff(interruption.cause, *so_far) from None

    def _notes_on_start(self, inputs: KernelInputs, batch: Batch, start: float) -> tuple[str, ...]:
        """Say where the start misses algebraic equations, and where their index is above 1."""
        system = self.system
        if system.mass is None:
            return ()
        if not all(isinstance(a, np.ndarray) for a in (inputs.initial_state, inputs.parameters)):
            return ("Whether the start meets the algebraic equations was not looked at: it, or a "
                    "parameter, lies on a device.",)  # fmt: skip
        n_runs = batch.n_runs or 1
        states = inputs.initial_state.reshape(system.n_states, -1)
        runs = np.arange(max(states.shape[1], 1 if system.n_parameters == 0 else n_runs))
        at = inputs.parameter_offsets[:-1, None] + inputs.parameter_strides[:-1, None] * runs
        states = np.broadcast_to(states, (len(states), len(runs)))
        parameters, drivers = inputs.parameters[at], self._pieces(batch)
        found = inconsistency(system, start, states, parameters, self.rtol, self.atol, drivers)
        notes = (None if found is None else found.note,)
        notes += (note_on_index(system, start, states, parameters, drivers),)
        return tuple(filter(None, notes))

    @cached_property
    def _per_run(self) -> PerRun:
        loop = self.kernel.integrator.loop
        return PerRun(loop.n_counters, 0 if loop.tracking is None else loop.tracking.n_slots)

    @cached_property
    def _kind(self) -> ResultKind:
        loop = self.kernel.integrator.loop
        work = Work.of(loop.algorithm, loop.initial_step.rhs_evaluations)
        observables = () if loop.observables is None else loop.observables.system.output_names
        return ResultKind(
            self.mode,
            sizes_of(loop.kept),
            loop.choice.of_observables(observables),
            work,
            self.kernel.plan,
            self.notes,
            loop.tracking,
            loop.counter_names,
            self.in_pairs,
            self._names,
        )

    @property
    def _names(self) -> tuple[str, ...]:
        """Names of the states that are kept, where they have names of their own."""
        names, chosen = self.system.state_names, self.kernel.integrator.loop.choice.states
        if not self.named:
            return ()
        return names if chosen is None else tuple(names[i] for i in chosen)


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
    breakpoints = prepared.breakpoints
    n_stops = FIELDS * n_times
    if breakpoints is not None:
        n_stops = (
            FIELDS_WITH_BREAKS
            * (n_times + breakpoints.shape[-1])
            * math.prod(breakpoints.shape[:-1])
        )
    return batch.y0.size + batch.parameters.size + n_stops <= MAX_STAGED_ELEMENTS
