"""What a run is made of: its equations, algorithm, controller, and the buffers of its loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from attrs import evolve

from cubie.algorithms import StepAlgorithm
from cubie.algorithms.contract import Proposed
from cubie.backend import Backend
from cubie.controllers import StepController
from cubie.factory import BuildContext, CUDAFactory
from cubie.run.breaks import N_PASSED
from cubie.run.clock import ClockFunctions, build_clock
from cubie.run.dense import StepRecord
from cubie.run.events.buffers import register_events, tells_ways
from cubie.run.events.grid import build_between_points
from cubie.run.exponents import register_exponents
from cubie.run.initial_step import EstimatedFirstStep, GivenFirstStep
from cubie.run.inside import register_points
from cubie.run.saving import Choice, Kept, SaveMode
from cubie.run.summaries.lyapunov import lyapunov
from cubie.run.summaries.quantities import register_summaries
from cubie.run.summaries.request import Tracking
from cubie.systems.component import SystemComponent, may_have_common
from cubie.systems.drivers.calls import n_kept
from cubie.systems.events.component import EventsComponent
from cubie.systems.observables.component import ObservablesComponent
from cubie_planner import Alias

# What a run counts: attempts, what its algorithm counts, steps that points were read off, where
# that takes evaluations of the right-hand side, and those that it took to begin anew.
OF_ATTEMPTS, OF_READING, OF_RESTARTS = ("steps", "rejected"), ("read",), ("anew",)
N_ATTEMPT_COUNTERS = len(OF_ATTEMPTS)


class Lane(NamedTuple):
    """Buffers of a lane, or of a group of them."""

    state: Any  # (n,)
    parameters: Any  # (m,), and what a right-hand side that failed writes behind them
    counters: Any  # (n_counters,)
    dt: Any  # (1,): size of the next step
    accept_step: Any  # (1,): the controller's verdict
    proposed: Proposed
    observables: Any  # of the state; any buffer where there are none
    proposed_observables: Any  # of the proposed state
    drivers: Any  # values of drivers at the start of the step, and the time that they are of
    proposed_drivers: Any  # what was asked for since, see `cubie.systems.drivers.calls`
    passed_stops: Any  # (2,): see `cubie.run.breaks`
    observable_drivers: Any  # what drivers gave that observables call
    common: Any  # what one evaluation of the equations keeps for several rows; () for nothing


class Progress(NamedTuple):
    """How far the run of a lane is; values of lanes."""

    elapsed: Any  # the clock, see `cubie.run.clock`
    carry: Any
    saved: Any  # points saved so far
    status: Any
    active: Any  # the run goes on
    settled: Any  # the attempt before was accepted, or there was none


ALL = Choice()


def _as_given(memory, parent):
    return parent


def _in_algorithm(aliases: tuple[Alias, ...]) -> tuple[Alias, ...]:
    return tuple(evolve(alias, parent=f"algorithm.{alias.parent}") for alias in aliases)


def _nothing(memory, parent):
    return ()


class RunParts(CUDAFactory):
    """The base of the loop: the components that it calls, and its buffers.

    Parameters
    ----------
    system : SystemComponent
    algorithm : StepAlgorithm
    controller : StepController
    initial_step : CUDAFactory
        Chooses the first step size.
    save_mode : SaveMode
    per_component : bool
        Whether tolerances are given per component.
    dtype : dtype
    options : mapping
    observables : ObservablesComponent, optional
        None where there are none.
    choice : Choice
        What is kept of each point that is saved.
    tracking : Tracking, optional
        What is summarised of a run.
    keeps_solution : bool
        The solution inside every step is kept, as a function of time.
    events : EventsComponent, optional
        None where there are none.
    """

    name = "loop"
    phases = (
        "load", "start", "begin", "step", "judge", "control", "save", "summarise", "commit",
        "finish",
    )  # fmt: skip

    def __init__(
        self,
        system: SystemComponent,
        algorithm: StepAlgorithm,
        controller: StepController,
        initial_step: EstimatedFirstStep | GivenFirstStep,
        save_mode: SaveMode,
        per_component: bool,
        dtype,
        options: Mapping[str, Any],
        observables: ObservablesComponent | None = None,
        choice: Choice = ALL,
        tracking: Tracking | None = None,
        keeps_solution: bool = False,
        events: EventsComponent | None = None,
    ):
        if events is not None:
            at = self.phases.index("save")
            vars(self)["phases"] = (*self.phases[:at], "events", *self.phases[at:])
        if tracking is not None and tracking.exponents is not None:
            vars(self)["phases"] = (*self.phases[:-1], "renormalise", self.phases[-1])
        super().__init__(dtype, options)
        self.events = events
        self.observables, self.choice, self.tracking = observables, choice, tracking
        self.system, self.algorithm, self.controller = system, algorithm, controller
        self.initial_step = initial_step
        self.save_mode = save_mode
        self.per_component = per_component
        self.record = None
        if keeps_solution:
            self.record = StepRecord(system.n_states, algorithm.centres)
        n_faults = 0 if events is None else events.n_faults
        self.n_slots = system.n_parameters + system.n_faults + n_faults
        self._register_buffers(system.n_states)
        self.add_child(initial_step, during="start")
        inside = ("summarise",) if events is None else ("events", "summarise")
        calls: dict[str, Any] = {"start": "start", "step": "step", "inside": inside}
        calls["commit"] = "commit"
        if algorithm.restores:
            calls = {"restore": "start", **calls}
        if algorithm.controls_steps:
            calls = {**calls, "control": "control"}
        self.add_child(algorithm, during=calls)
        self.add_child(controller, during={"start": "start", "control": "control"})
        if observables is not None:
            self.add_child(observables, during=self._observing_phases())
            self._register_observables(observables.n_outputs)
        if tracking is not None and tracking.follows:
            register_summaries(self, tracking)
        if self.exponents is not None:
            register_exponents(self)
        if save_mode is SaveMode.TIMES or keeps_solution:
            register_points(self)
        if events is not None:
            self.add_child(events, during=("start", "events"))
            register_events(self)
            if tells_ways(self):
                self.add_child(system, during="start")
        self._register_common()

    def _register_common(self) -> None:
        """Register what functions of the equations store and read during one call of theirs.

        They are called at many places, and never one within another: all use the same buffer.
        """
        callers = {part.name for part in self.walk() if may_have_common(part)}
        self.register_buffer(
            "common_values",
            lambda: max(getattr(part, "n_common", 0) for part in self.walk()),
            phases=tuple(f"*.{name}.evaluate" for name in sorted(callers)),
            enabled=lambda: self.system.has_common,
            access_weight=4.0,
        )

    @property
    def jumps(self) -> bool:
        """Whether events change the state."""
        return self.events is not None and self.events.rules.applies

    @property
    def follows(self) -> bool:
        """Whether summaries follow quantities between the steps."""
        return self.tracking is not None and self.tracking.follows

    @property
    def exponents(self) -> lyapunov | None:
        """The Lyapunov exponents of its runs, None where there are none."""
        tracked = None if self.tracking is None else self.tracking.exponents
        one = None if tracked is None else tracked.summaries[0][1]
        return one if isinstance(one, lyapunov) else None

    @property
    def begins_anew(self) -> bool:
        """Whether runs begin anew on their way."""
        return self.system.breakpoints or self.jumps

    @property
    def cuts(self) -> bool:
        """Whether events end steps."""
        return self.events is not None and self.events.rules.cuts

    def clock(self, backend: Backend) -> ClockFunctions:
        """Return the clock of its runs."""
        adaptive, breaks = self.controller.adaptive, self.system.breakpoints
        clock = build_clock(self.save_mode, backend, adaptive, breaks, self.system.own_clock)
        return build_between_points(backend, clock) if self.jumps and not adaptive else clock

    def _observing_phases(self) -> tuple[str, ...]:
        """Return the phases in which points are saved, and steps summarised."""
        saving = ("finish",) if self.save_mode is SaveMode.FINAL else ("start", self._saving_phase)
        followed = self.tracking is not None and bool(self.tracking.observables)
        return (*saving, "summarise") if followed else saving

    @property
    def _saving_phase(self) -> str:
        """When the points of a step are kept."""
        return "summarise" if self.save_mode is SaveMode.TIMES else "save"

    @property
    def reads_observables(self) -> bool:
        """Whether observables are computed at all."""
        return self.observables is not None and self.choice.observables != ()

    def _register_observables(self, n: int) -> None:
        on_the_way, kept = self.save_mode is not SaveMode.FINAL, self.reads_observables
        followed = self.tracking is not None and bool(self.tracking.observables)
        # Of a state that was committed: a run's first, or its last; in summaries those before
        # and after a piece of a step.
        committed = ("start" if on_the_way else "finish",) if kept else ()
        proposed = (self._saving_phase,) if kept and on_the_way else ()
        also = ("summarise",) if followed else ()
        for name, phases in (("observables", committed), ("proposed_observables", proposed)):
            used = (*phases, *also)
            self.register_buffer(name, n, phases=used or ("finish",), enabled=bool(used))

    def _register_buffers(self, n: int) -> None:
        # What an attempted step writes may lie where its stages do.
        solution_places, error_places = map(_in_algorithm, self.algorithm.result_aliases)
        proposed = (("algorithm.solution", "commit"),)
        estimates = self.algorithm.n_error_estimates if self.controller.adaptive else 0
        # What a lane carries from step to step lives always: while some lanes
        # start and finish runs, others are in the middle of theirs.
        self.register_buffer("state", n, access_weight=10.0)
        self.register_buffer(
            "proposed_state", n, phases=proposed, aliases=solution_places, access_weight=4.0
        )
        self.register_buffer("parameters", self.n_slots, access_weight=6.0)
        self.register_buffer(
            "error",
            n * estimates,
            phases=(("algorithm.error_estimate", "judge"),),
            enabled=estimates > 0,
            aliases=error_places,
            access_weight=2.0,
        )
        self._register_values_of_drivers()
        self._register_progress()

    def _register_values_of_drivers(self) -> None:
        # Values at the start of a step, and the time that they are of; then what is asked for in
        # the attempt, which begins with them.
        has_drivers = self.system.n_drivers > 0
        self.register_buffer(
            "drivers",
            lambda: n_kept(self.system.n_drivers),
            enabled=has_drivers,
            access_weight=2.0,
        )
        self.register_buffer(
            "proposed_drivers",
            lambda: max(getattr(component, "n_slots", 0) for component in self.walk()),
            phases=("start", ("step", "commit")),
            enabled=has_drivers,
            access_weight=4.0,
        )
        self.register_buffer(
            "observable_drivers",
            lambda: 0 if self.observables is None else self.observables.n_called,
            # Of what is not there a plan holds the same words, however points are saved.
            phases=("start",) if self.observables is None else self._observing_phases(),
            enabled=lambda: self.observables is not None and self.observables.n_drivers > 0,
        )

    def _register_progress(self) -> None:
        self.register_buffer(
            "passed_stops",
            N_PASSED,
            dtype=np.int32,
            enabled=self.system.breakpoints,
            access_weight=2.0,
        )
        self.register_buffer("counters", self.n_counters, dtype=np.int32, access_weight=2.0)
        # What an algorithm counts of a step, such as iterations: explicit methods nothing.
        self.register_buffer(
            "proposed_counters",
            self.algorithm.n_counters,
            dtype=np.int32,
            phases=((f"algorithm.{self.algorithm.counted_in}", "commit"),),
            enabled=self.algorithm.n_counters > 0,
        )
        self.register_buffer("dt", 1, access_weight=4.0)
        # From one attempt to the next its verdict goes as a mask.
        self.register_buffer(
            "accept_step", 1, dtype=np.int32, phases=("control",), access_weight=3.0
        )

    @property
    def counter_names(self) -> tuple[str, ...]:
        """What a lane counts, in the order of its counters."""
        own = self.algorithm.counts
        is_read = self.algorithm.is_read and self.algorithm.rhs_per_reading
        restarts = OF_RESTARTS if self.begins_anew else ()
        return (*OF_ATTEMPTS, *own, *(OF_READING if is_read else ()), *restarts)

    @property
    def n_counters(self) -> int:
        """How many counters a lane keeps."""
        return len(self.counter_names)

    @property
    def kept(self) -> tuple[Kept, ...]:
        """What is kept of each point that is saved."""
        n_observables = 0 if self.observables is None else self.observables.n_outputs
        return self.choice.kept(self.system.n_states, n_observables)

    def common_allocator(self, context: BuildContext) -> Callable:
        """Return the allocator of `common_values`; where there are none, of nothing at all."""
        if self.system.has_common:
            return context.allocator("common_values")
        return context.backend.device(_nothing)

    def observables_allocators(self, context: BuildContext) -> tuple[Callable, Callable]:
        """Return the allocators of `observables` and `proposed_observables`.

        Those of buffers that there are not return what they are given as parent.
        """
        there, nowhere = self.buffer_registry.buffers, context.backend.device(_as_given)
        first, second = (
            context.allocator(name) if name in there else nowhere
            for name in ("observables", "proposed_observables")
        )
        return first, second

    def proposed_state_allocator(self, context: BuildContext) -> Callable:
        """Return the allocator of `proposed_state`, for the target of `context`."""
        return context.allocator("proposed_state")
