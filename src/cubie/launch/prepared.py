"""A solve with all decided but the numbers of its runs: what repeated solves find again."""

from __future__ import annotations

from functools import cached_property, partial
from typing import Any

import numpy as np
from attrs import field, frozen

from cubie.backend import Interrupted, KernelInputs, OutputBlock, Spent
from cubie.errors import CubieError, InvalidProblem
from cubie.launch.breaks import Breaks, breaks_within
from cubie.launch.capacity import ALWAYS_THERE, Kept, kept_of
from cubie.launch.clocks import Span
from cubie.launch.event_results import EventsKept, MoreEvents, warn_of_lost, with_room
from cubie.launch.event_room import EventRoom, on_host, solve_for_all
from cubie.launch.given_on_device import GivenOnDevice
from cubie.launch.inexact import InexactSolutions
from cubie.launch.inputs import first_step_of, make_inputs
from cubie.launch.kernel import BatchSolverKernel
from cubie.launch.labelled import StateNames
from cubie.launch.notes import notes_on_parameters, notes_on_start
from cubie.launch.outputs import PerRun, layout_of, make_outputs, mark_unwritten, require_points
from cubie.launch.points import Points
from cubie.launch.result_kind import ResultKind
from cubie.launch.results import Result, with_partial_result
from cubie.launch.sensitivities import RunInputs, joint_start, names_kept, of_base
from cubie.launch.some_runs import inputs_of_runs
from cubie.launch.steps import Room, StepsSolve
from cubie.launch.stops import Stops, lay_out_stops
from cubie.launch.summaries import EVER, Window
from cubie.launch.work import Work
from cubie.run.dense import StepRecord
from cubie.run.events.recording import n_slots
from cubie.run.saving import SaveMode, sizes_of
from cubie.systems import Batch, System
from cubie.systems.drivers.interpolant import Driver
from cubie.systems.drivers.pieces import Pieces
from cubie.systems.events.traced import EventSystems

Solved = tuple[OutputBlock, Points | None, Spent]


class _CalledOff(Exception):
    """What there is of a solve that a signal ended."""

    def __init__(
        self,
        cause: BaseException,
        outputs: OutputBlock,
        points: Points | None,
        more: tuple[MoreEvents, ...] = (),
    ):
        self.cause, self.outputs, self.points, self.more = cause, outputs, points, more


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
    rtol: np.ndarray  # (1,) or (n,), or with a row for each run
    atol: np.ndarray
    max_step: Any  # a number, or (n_runs,), as `min_step`
    max_steps: int
    notes: tuple[str, ...]
    window: Window | None = None  # of summaries
    breakpoints: np.ndarray | None = None  # (B,) or (n_runs, B)
    in_pairs: bool = False  # of complex states
    named: bool = False  # states have names that users gave
    min_step: Any = 0.0
    on_device: bool = False  # results stay where they were computed
    events: EventSystems | None = None
    events_asked: bool = False  # be it for none
    event_room: int | None = 0  # how many of each event are kept of a run; None: all
    warns: bool = True  # of events that there was no room for
    room: Room = field(factory=Room, init=False, eq=False)  # for points, where steps are saved
    room_of_events: EventRoom = field(factory=EventRoom, init=False, eq=False)

    @cached_property
    def adaptive(self) -> bool:
        """Step sizes are chosen as the run goes."""
        return self.kernel.integrator.controller.adaptive

    @property
    def own_clock(self) -> bool:
        """The kernel is one of runs with spans, step sizes, or stops of their own."""
        return self.kernel.integrator.loop.system.own_clock

    @cached_property
    def reads_time(self) -> bool:
        """What runs compute depends on the time itself, as far as can be seen."""
        return any(system.reads_time for system in self._systems)

    @property
    def _systems(self) -> list[System]:
        """All that is computed, in the order in which their drivers are laid out."""
        there = [self.system] if self.observables is None else [self.system, self.observables]
        return there + list(self.events or ())

    def run(
        self,
        batch: Batch,
        span: Span,
        times: np.ndarray | None,
        first_step: Any,
        given: GivenOnDevice | None = None,
        args: Any = (),
    ) -> Result:
        """Lay out the inputs of a batch, launch, and shape the result.

        Parameters
        ----------
        batch : Batch
        span : (float, float) or (ndarray (n_runs,), ndarray (n_runs,))
        times : ndarray or None
            `t_eval`.
        first_step : float or ndarray (n_runs,)
            0 where it is estimated.
        given : GivenOnDevice, optional
            What of the inputs is no array of the host, with its stand-ins in `args`.
        """
        n_runs, n_points = batch.n_runs or 1, 0 if times is None else times.shape[-1]
        if 8 * n_points * n_runs > ALWAYS_THERE and not self.on_device:  # before they are laid out
            require_points(self._kept(n_runs), n_points, self._per_run(self.event_room or 0))
        compiled = self.kernel.compiled
        compiled.expect(n_runs, self.kernel.config.block_size)
        inputs = self.lay_out(batch, span, times, first_step)
        if given is not None:
            self._require_taken(given)
            inputs = given.into(inputs, batch, args)
            compiled.await_streams(given.streams)
        return self.launch(inputs, batch, span, times)

    def _require_taken(self, given: GivenOnDevice) -> None:
        """Refuse arrays on a device where the target, or what is saved, cannot do with them."""
        backend, name = self.kernel.backend, "args" if given.y0 is None else "y0"
        if self.system.joint is not None:
            raise InvalidProblem(
                name,
                "lies on a device, and sensitivities need the numbers on the host, for the size of "
                "inputs: give arrays of the host.",
            )
        if not backend.has_own_memory:
            raise InvalidProblem(
                name,
                f"lies on a device, and backend={backend.name!r} works in the memory of the host: "
                "give an array of the host, or solve with the device.",
            )
        if self.mode is SaveMode.STEPS or self._record is not None:
            raise InvalidProblem(
                name,
                "lies on a device, and runs saved at every step, or with dense_output=True, may be "
                "solved again, in another order: give `t_eval` without it, or arrays of the host.",
            )

    def lay_out(
        self, batch: Batch, span: Span, times: np.ndarray | None, first_step: Any
    ) -> KernelInputs:
        """Return the inputs of a launch, in memory of their own."""
        return make_inputs(
            joint_start(self.system.joint, batch.y0, self.dtype, self.rtol, self.atol),
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
            event_room=self.event_room or 0,
            own_clock=(batch.n_runs or 1) if self.own_clock else None,
        )

    def window_of(self, span: Span) -> Span:
        """Return between which times from the start of runs summaries look at them."""
        return EVER if self.window is None else self.window.elapsed(span)

    def _pieces(self, batch: Batch) -> list[Pieces]:
        called = [system.drivers_of(batch.drivers) for system in self._systems]
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

    def stops(self, span: Span, times: np.ndarray | None, first_step: Any, batch: Batch) -> Stops:
        """Return where the steps of runs must land; see `lay_out_stops`."""
        step = None if self.adaptive else first_step_of(first_step, self.max_step)
        breaks, on_device = self._breaks(span, batch), self.kernel.compiled.free_bytes
        inside = self.mode is SaveMode.TIMES
        return lay_out_stops(
            span, times, step, self.dtype, self.reads_time, breaks, on_device, inside
        )

    def launch(
        self, inputs: KernelInputs, batch: Batch, span: Span, times: np.ndarray | None
    ) -> Result:
        """Solve, and shape the result.

        Whoever calls this told the compiled kernel before what to expect, so that no clock
        times a compilation.
        """
        n_runs = batch.n_runs
        columns, times = n_runs or 1, None if times is None else times.copy()
        by = RunInputs.of(self.system, self.events, inputs, columns, batch, (self.rtol, self.atol))
        try:
            outputs, points, spent, more = self._solve_all(inputs, columns, times)
        except _CalledOff as called_off:
            found, points, more = called_off.outputs, called_off.points, called_off.more
            about = (), 0.0, 0.0, more, by
            partial = Result(found, self._kind, n_runs, times, span, points, *about)
            raise with_partial_result(called_off.cause, partial) from None
        of_start = columns, span[0], (self.rtol, self.atol), self._pieces(batch)
        notes = notes_on_start(self.system, inputs, *of_start)
        notes += notes_on_parameters(outputs, columns, inputs, self.system.parameter_names)
        about = self._kind, n_runs, times, span, points, notes
        result = Result(outputs, *about, *spent, more, by)
        return result if self._inexact is None else self._inexact.noted(result, inputs)

    @cached_property
    def _inexact(self) -> InexactSolutions | None:
        of_loop = self.kernel.integrator.loop, self.system
        return InexactSolutions.of(*of_loop, self.rtol, self.atol, self.in_pairs)

    def _solve_all(
        self, inputs: KernelInputs, n_runs: int, times: np.ndarray | None
    ) -> tuple[OutputBlock, Points | None, Spent, tuple[MoreEvents, ...]]:
        """Solve, with room for as many events as are asked for or, as usual, for all."""
        kept, room = self._kind.events, self.event_room
        if kept is None or not kept.n_events:
            return (*self._solve(inputs, n_runs, times), ())
        if room is not None:
            solved = self._solve(inputs, n_runs, times, room)
            warn_of_lost(kept, solved[0], n_runs, room if self.warns else 0)
            return (*solved, ())

        def solve(room):
            return self._solve(with_room(inputs, room), n_runs, times, room)

        at_once = self.kernel.backend.runs_at_once if on_host(inputs) else None
        again = partial(self._solve_again, inputs, n_runs, times)
        found = solve_for_all(solve, again, kept, self.room_of_events, n_runs, at_once)
        outputs, points, spent = found.solved
        if found.raised is not None:
            raise _CalledOff(found.raised, outputs, points, found.more)
        return outputs, points, spent, found.more

    def _solve_again(
        self,
        inputs: KernelInputs,
        n_runs: int,
        times: np.ndarray | None,
        runs: np.ndarray,
        room: int,
    ) -> tuple[OutputBlock, Spent]:
        """Solve some runs for the sake of their events.

        Of points that each run has a number of its own there is room for none.
        """
        inputs = with_room(inputs_of_runs(inputs, n_runs, runs), room)
        n_points = 1 if times is None else times.shape[-1]
        per_run, kept = self._per_run(room), self._kept(len(runs))
        if kept.record:
            per_run, n_points = per_run._replace(points=n_points), 1
        outputs = make_outputs(kept, n_points, per_run)
        outputs.arrays.first.fill(0)
        return outputs, self.kernel.launch(len(runs), inputs, outputs)

    def _solve(
        self, inputs: KernelInputs, n_runs: int, times: np.ndarray | None, room: int = 0
    ) -> Solved:
        """Launch with so much room for each event."""
        by_steps = self.mode is SaveMode.STEPS or self._record is not None
        solve = self._solve_steps if by_steps else self._solve_points
        return solve(inputs, n_runs, times, self._per_run(room))

    def _kept(self, n_runs: int) -> Kept:
        record = 0 if self._record is None else self._record.size
        in_rows = self.mode.at_times and self.kernel.backend.keeps_rows
        return kept_of(self.mode, n_runs, self._kind.sizes, self.dtype, record, in_rows)

    def _solve_points(
        self, inputs: KernelInputs, n_runs: int, times: np.ndarray | None, per_run: PerRun
    ) -> Solved:
        kernel, kept = self.kernel, self._kept(n_runs)
        n_points = 1 if times is None else times.shape[-1]
        if self.on_device:
            layout = layout_of(kept, n_points, per_run)
            outputs = kernel.compiled.resident_block(layout)
        else:
            outputs = make_outputs(kept, n_points, per_run)
        try:
            return outputs, None, kernel.launch(n_runs, inputs, outputs)
        except Interrupted as interruption:
            if outputs.stays:  # nothing of them is anybody's
                raise interruption.cause from None
            mark_unwritten(outputs, kept, interruption.n_written)
            raise _CalledOff(interruption.cause, outputs, None) from None

    def _solve_steps(
        self, inputs: KernelInputs, n_runs: int, times: np.ndarray | None, per_run: PerRun
    ) -> Solved:
        kernel, kept = self.kernel, self._kept(n_runs)
        if kept.record and self.mode is not SaveMode.STEPS:
            per_run = per_run._replace(points=1 if times is None else times.shape[-1])
        steps = StepsSolve(
            kernel.launch,
            inputs,
            kept,
            per_run,
            self.room,
            kernel.backend.runs_at_once,
            kernel.compiled.free_bytes,
        )
        try:
            return (*steps.run(), steps.spent)
        except Interrupted as interruption:
            so_far = steps.so_far(interruption.n_written)
            raise _CalledOff(interruption.cause, *so_far) from None
        except (CubieError, MemoryError):
            raise
        except BaseException as raised:  # by a handler of signals, between two launches
            raise _CalledOff(raised, *steps.so_far()) from None

    @cached_property
    def _without_events(self) -> PerRun:
        loop = self.kernel.integrator.loop
        return PerRun(loop.n_counters, 0 if loop.tracking is None else loop.tracking.n_slots)

    def _per_run(self, room: int) -> PerRun:
        """Return how many numbers are kept of each run, with so much room for each event."""
        per_run, kept = self._without_events, self._kind.events
        if kept is None:
            return per_run
        more = n_slots(kept.n_events, kept.n_states, room)
        return PerRun(per_run.counters + kept.n_events, per_run.summaries + more)

    @cached_property
    def _kind(self) -> ResultKind:
        loop = self.kernel.integrator.loop
        work = Work.of(loop.algorithm, loop.initial_step.rhs_evaluations)
        observables = None if loop.observables is None else loop.observables.system
        return ResultKind(
            self.mode,
            sizes_of(loop.kept),
            names_kept(observables, loop.choice),
            work,
            self.kernel.plan,
            self.notes,
            loop.tracking,
            loop.counter_names,
            self.in_pairs,
            self._states,
            self._record,
            EventsKept.of(loop, self.event_room is None, self.events_asked),
            self.window,
            self.system.joint,
            () if self.events is None else self.events.timings,
        )

    @property
    def _states(self) -> StateNames:
        base, chosen = of_base(self.system, self.kernel.integrator.loop.choice.states)
        return StateNames.of(base.state_names, chosen, self.named, self.in_pairs)

    @property
    def _record(self) -> StepRecord | None:
        return self.kernel.integrator.loop.record
