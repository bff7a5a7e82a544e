"""The integration of runs over their time span: start, attempt steps until done, finish, repeat.

A group of lanes works through a queue of runs. Lanes whose runs are done wait
until enough of them do, and are then given the next runs together, while the
others keep their place; with one lane this is a plain loop over one run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cubie.algorithms import StepAlgorithm
from cubie.backend import Backend, any_lane, load_run, maximum, select, store_run
from cubie.controllers import StepController
from cubie.factory import BuildContext, CUDAFactory
from cubie.run.attempt import build_attempt
from cubie.run.clock import build_clock, time_of
from cubie.run.free_steps import build_free_steps, takes_free_steps
from cubie.run.initial_step import EstimatedFirstStep, GivenFirstStep
from cubie.run.saving import SaveMode, build_saving
from cubie.status import RunStatus
from cubie.systems.component import SystemComponent

# What a run counts; the last two are kept only for algorithms that iterate.
COUNTERS = ("steps", "rejected", "newton", "linear")
N_ATTEMPT_COUNTERS = 2
N_ITERATION_COUNTERS = 2
# A counter that reaches this is added to the results and starts again: an attempt that follows
# cannot make it wrap.
FULL_COUNTER = 2**30

# Filled by time-dependent inputs and derived outputs, which the loop does not
# have yet: no elements, no bytes.
NOT_YET = (
    "drivers",
    "proposed_drivers",
    "observables",
    "proposed_observables",
    "state_summary",
    "observable_summary",
)


class IVPLoop(CUDAFactory):
    """Step, judge, save, commit, until every run of the queue is done.

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
    """

    name = "loop"
    phases = ("load", "start", "begin", "step", "judge", "control", "save", "commit", "finish")

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
    ):
        super().__init__(dtype, options)
        self.system, self.algorithm, self.controller = system, algorithm, controller
        self.initial_step = initial_step
        self.save_mode = save_mode
        self.per_component = per_component
        self._register_buffers(system.n_states, system.n_parameters)
        self.add_child(initial_step, during="start")
        calls = {"start": "start", "step": "step", "commit": "commit"}
        self.add_child(algorithm, during=calls)
        self.add_child(controller, during={"start": "start", "control": "control"})

    def _register_buffers(self, n: int, m: int) -> None:
        proposed = (("algorithm.solution", "commit"),)
        estimates = self.algorithm.n_error_estimates if self.controller.adaptive else 0
        # What a lane carries from step to step lives always: while some lanes
        # start and finish runs, others are in the middle of theirs.
        self.register_buffer("state", n, access_weight=10.0)
        self.register_buffer("proposed_state", n, phases=proposed, access_weight=4.0)
        slots = m + self.system.n_faults
        self.register_buffer("parameters", slots, access_weight=6.0)
        for later in NOT_YET:
            self.register_buffer(later, 0, enabled=False)
        self.register_buffer(
            "error",
            n * estimates,
            phases=(("algorithm.error_estimate", "judge"),),
            enabled=estimates > 0,
            access_weight=2.0,
        )
        self.register_buffer("counters", self.n_counters, dtype=np.int32, access_weight=2.0)
        # Iterations of the solvers inside a step: explicit methods have none.
        self.register_buffer(
            "proposed_counters",
            N_ITERATION_COUNTERS,
            dtype=np.int32,
            phases=proposed,
            enabled=self.algorithm.iterates,
        )
        self.register_buffer("dt", 1, access_weight=4.0)
        # From one attempt to the next its verdict goes as a mask.
        self.register_buffer(
            "accept_step", 1, dtype=np.int32, phases=("control",), access_weight=3.0
        )

    @property
    def n_counters(self) -> int:
        """How many counters a lane keeps."""
        return N_ATTEMPT_COUNTERS + (N_ITERATION_COUNTERS if self.algorithm.iterates else 0)

    def proposed_state_allocator(self, context: BuildContext) -> Callable:
        """Return the allocator of `proposed_state`, for the target of `context`."""
        return context.allocator("proposed_state")

    def facts(self) -> tuple:
        return (
            self.save_mode.value,
            self.per_component,
            self.system.n_states,
            self.system.n_parameters,
            self.algorithm.iterates,
            FULL_COUNTER,
            self.algorithm.proportional_below,
        )

    def build(self, context: BuildContext) -> Callable:
        """Return ``loop(shared, persistent, queue, n_runs, inputs, outputs)``."""
        backend = context.backend
        load, finish = self._build_load(context), self._build_finish(context)
        start, attempt = self._build_start(context), build_attempt(self, context)
        free_steps = build_free_steps(self, context)
        first_runs, more_runs = backend.first_runs(), backend.more_runs()
        interrupted, interruption = backend.interrupted(), int(RunStatus.INTERRUPTED)
        keep_going = backend.keep_going(together=takes_free_steps(self, backend.width))
        alloc = {name: context.allocator(name) for name in self.buffer_registry.buffers}
        alloc_state, alloc_parameters = alloc["state"], alloc["parameters"]
        alloc_proposed, alloc_error = alloc["proposed_state"], alloc["error"]
        alloc_counters, alloc_dt = alloc["counters"], alloc["dt"]
        alloc_accept, alloc_proposed_counters = alloc["accept_step"], alloc["proposed_counters"]
        clock = build_clock(self.save_mode, backend, self.controller.adaptive)
        final_stop, restart = clock.final_stop, clock.restart
        empty_full = self._build_empty_full(backend)
        success, initial = int(RunStatus.SUCCESS), backend.constant(0.0)

        def loop(shared, persistent, queue, n_runs, inputs, outputs):
            state = alloc_state(shared, persistent, None)
            parameters = alloc_parameters(shared, persistent, None)
            proposed_state = alloc_proposed(shared, persistent, None)
            error = alloc_error(shared, persistent, None)
            counters = alloc_counters(shared, persistent, None)
            proposed_counters = alloc_proposed_counters(shared, persistent, None)
            dt = alloc_dt(shared, persistent, None)
            accept_step = alloc_accept(shared, persistent, None)

            run = first_runs(queue)
            direction = load_run(inputs.time_span, 1, 0, run, n_runs)
            final = final_stop(inputs, run, n_runs)
            saved = run * 0
            valid = run < n_runs
            fresh = direction == direction
            active = direction != direction
            settled = direction == direction
            elapsed, carry = restart(fresh, initial, initial)
            status = select(fresh, success, success)
            while any_lane(valid):
                load(shared, persistent, fresh, run, n_runs, inputs, state, parameters)
                elapsed, carry = restart(fresh, elapsed, carry)
                status = select(fresh, success, status)
                saved = start(
                    shared, persistent, fresh, run, n_runs, inputs, outputs, final, direction,
                    saved, state, parameters, counters, dt,
                )  # fmt: skip
                settled = settled | fresh
                active = active | (fresh & valid & (final.elapsed > 0))
                while keep_going(queue, active, run >= n_runs):
                    free_steps(
                        shared, persistent, queue, run, n_runs, inputs, final, saved, state,
                        parameters, error, counters, proposed_counters,
                    )  # fmt: skip
                    elapsed, carry, saved, status, active, settled = attempt(
                        shared, persistent, run, n_runs, inputs, outputs, elapsed, carry, final,
                        direction, saved, status, active, settled, state, parameters,
                        proposed_state, error, counters, proposed_counters, dt, accept_step,
                    )  # fmt: skip
                    empty_full(run, n_runs, active, outputs, counters)
                stop = interrupted(queue)
                if stop:
                    status = select(active, interruption, status)
                    active = active & (run < 0)
                done = valid & ~active
                finish(
                    shared, persistent, run, n_runs, inputs, outputs, final, done, saved, status,
                    elapsed, state, counters, dt,
                )  # fmt: skip
                fresh = ~active
                # Runs that were taken from the queue are those that were written.
                if stop:
                    valid = run < 0
                else:
                    run = more_runs(queue, fresh, run, n_runs)
                    valid = run < n_runs

        return backend.device(loop)

    def _build_load(self, context: BuildContext) -> Callable:
        """Read the inputs of fresh lanes."""
        n, m = self.system.n_states, self.system.n_parameters
        n_faults, no_fault = self.system.n_faults, context.backend.constant(0.0)
        enter = context.phase("load")

        def load(shared, persistent, fresh, run, n_runs, inputs, state, parameters):
            enter(shared, persistent)
            stride = inputs.state_stride[0]
            columns = 1 + stride * (n_runs - 1)
            for i in range(n):
                value = load_run(inputs.initial_state, i * columns, stride, run, n_runs)
                state[i] = select(fresh, value, state[i])
            for j in range(m):
                offset, stride = inputs.parameter_offsets[j], inputs.parameter_strides[j]
                parameters[j] = load_run(inputs.parameters, offset, stride, run, n_runs)
            for j in range(n_faults):
                parameters[m + j] = select(fresh, no_fault, parameters[m + j])

        return context.backend.device(load)

    def _build_start(self, context: BuildContext) -> Callable:
        """Prepare fresh lanes: step size, algorithm, controller; save the initial state."""
        backend = context.backend
        choose = self.child_functions(context, "initial_step")
        algorithm = self.child_functions(context, "algorithm")
        controller = self.child_functions(context, "controller")
        start_algorithm, start_controller = algorithm.start, controller.start
        save = build_saving(self.save_mode, backend, self.system.n_states).save
        clock = build_clock(self.save_mode, backend, self.controller.adaptive)
        next_stop, time, zero = clock.stop, backend.device(time_of), backend.constant(0.0)
        enter = context.phase("start")
        n_counters = self.n_counters

        def start(
            shared, persistent, fresh, run, n_runs, inputs, outputs, final, direction, saved, state,
            parameters, counters, dt,
        ):  # fmt: skip
            enter(shared, persistent)
            nothing = select(fresh, zero, zero)
            t_start = time(inputs, direction, nothing)
            h = choose(
                shared, persistent, inputs, run, n_runs, t_start, final.elapsed, direction, state,
                parameters,
            )  # fmt: skip
            start_algorithm(shared, persistent, fresh, t_start, state, parameters)
            start_controller(shared, persistent, fresh, h)
            dt[0] = select(fresh, h, dt[0])
            for i in range(n_counters):
                counters[i] = select(fresh, 0, counters[i])
            saved = select(fresh, 0, saved)
            at_stop = next_stop(inputs, final, saved).elapsed == zero
            due = fresh & (run < n_runs)
            return save(inputs, outputs, run, n_runs, due, at_stop, saved, nothing, state)

        return backend.device(start)

    def _build_finish(self, context: BuildContext) -> Callable:
        """Write the outputs of lanes whose runs are done."""
        backend, n, n_counters = context.backend, self.system.n_states, self.n_counters
        write_end = build_saving(self.save_mode, backend, n).finish
        clock = build_clock(self.save_mode, backend, self.controller.adaptive)
        next_stop, now = clock.stop, clock.now
        enter = context.phase("finish")
        n_attempt_counters = N_ATTEMPT_COUNTERS

        def finish(
            shared, persistent, run, n_runs, inputs, outputs, final, done, saved, status, elapsed,
            state, counters, dt,
        ):  # fmt: skip
            enter(shared, persistent)
            reached = now(next_stop(inputs, final, saved), elapsed, dt, counters)
            write_end(outputs, run, n_runs, done, saved, reached, state)
            store_run(outputs.status, 0, run, done, status)
            for i in range(n_attempt_counters):
                store_run(outputs.counters, i * n_runs, run, done, counters[i])
            for i in range(n_attempt_counters, n_counters):
                total = load_run(outputs.counters, i * n_runs, 1, run, n_runs) + counters[i]
                store_run(outputs.counters, i * n_runs, run, done, total)

        return backend.device(finish)

    def _build_empty_full(self, backend: Backend) -> Callable:
        """Add counters of iterations that grew too large to the results, and begin anew."""
        first, n_counters, full = N_ATTEMPT_COUNTERS, self.n_counters, FULL_COUNTER

        def nothing(run, n_runs, active, outputs, counters):
            pass

        def empty_full(run, n_runs, active, outputs, counters):
            largest = counters[first]
            for i in range(first + 1, n_counters):
                largest = maximum(largest, counters[i])
            if any_lane(active & (largest >= full)):
                for i in range(first, n_counters):
                    total = load_run(outputs.counters, i * n_runs, 1, run, n_runs) + counters[i]
                    store_run(outputs.counters, i * n_runs, run, active, total)
                    counters[i] = select(active, 0, counters[i])

        return backend.device(empty_full if self.algorithm.iterates else nothing)
