"""The integration of one run (or one group of runs in lockstep) over its time span."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cubie.algorithms import StepAlgorithm
from cubie.backend import (
    absolute,
    any_lane,
    is_finite,
    load_run,
    maximum,
    minimum,
    select,
    store_run,
)
from cubie.controllers import StepController
from cubie.error_norm import build_error_norm
from cubie.factory import BuildContext, CUDAFactory
from cubie.initial_step import EstimatedFirstStep, GivenFirstStep
from cubie.saving import SaveMode, build_saving
from cubie.status import RunStatus
from cubie.systems.component import SystemComponent

COUNTERS = ("steps", "rejected", "rhs")
N_COUNTERS = len(COUNTERS)

# A step may reach this much farther than planned to land on a stop: it saves
# the sliver of a step that rounding would leave.
STRETCH = 1.0 + 1e-6
# Squared norm that stands for "not finite": the controller then shrinks the
# step as far as it may.
REJECT_ALWAYS = 1e20


class IVPLoop(CUDAFactory):
    """Step, judge, save, commit, until every lane's run is done.

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
        in_loop = (("start", "finish"),)
        self.register_buffer("state", n, phases=(("load", "finish"),), access_weight=10.0)
        self.register_buffer("proposed_state", n, phases=proposed, access_weight=4.0)
        self.register_buffer("parameters", m, phases=(("load", "commit"),), access_weight=6.0)
        # Filled by time-dependent inputs and derived outputs, which the loop does
        # not have yet: no elements, no bytes.
        for later in (
            "drivers",
            "proposed_drivers",
            "observables",
            "proposed_observables",
            "state_summary",
            "observable_summary",
        ):
            self.register_buffer(later, 0, enabled=False)
        self.register_buffer(
            "error",
            n * estimates,
            phases=(("algorithm.error_estimate", "judge"),),
            enabled=estimates > 0,
            access_weight=2.0,
        )
        integers = {"dtype": np.int32, "phases": in_loop, "access_weight": 2.0}
        self.register_buffer("counters", N_COUNTERS, **integers)
        # Iterations of the solvers inside a step: explicit methods have none.
        self.register_buffer("proposed_counters", 2, enabled=False, **integers)
        self.register_buffer("dt", 1, phases=in_loop, access_weight=4.0)
        self.register_buffer("accept_step", 1, **integers)

    def facts(self) -> tuple:
        return (
            self.save_mode.value,
            self.per_component,
            self.system.n_states,
            self.system.n_parameters,
            self.algorithm.rhs_per_start,
            self.algorithm.rhs_per_step,
        )

    def build(self, context: BuildContext) -> Callable:
        """Return ``loop(shared, persistent, run, n_runs, inputs, outputs)``."""
        backend = context.backend
        load, finish = self._build_load(context), self._build_finish(context)
        start, attempt = self._build_start(context), self._build_attempt(context)
        alloc = {name: context.allocator(name) for name in self.buffer_registry.buffers}
        alloc_state, alloc_parameters = alloc["state"], alloc["parameters"]
        alloc_proposed, alloc_error = alloc["proposed_state"], alloc["error"]
        alloc_counters, alloc_dt = alloc["counters"], alloc["dt"]
        alloc_accept = alloc["accept_step"]
        success = int(RunStatus.SUCCESS)

        def loop(shared, persistent, run, n_runs, inputs, outputs):
            state = alloc_state(shared, persistent, None)
            parameters = alloc_parameters(shared, persistent, None)
            proposed_state = alloc_proposed(shared, persistent, None)
            error = alloc_error(shared, persistent, None)
            counters = alloc_counters(shared, persistent, None)
            dt = alloc_dt(shared, persistent, None)
            accept_step = alloc_accept(shared, persistent, None)

            load(shared, persistent, run, n_runs, inputs, state, parameters)
            valid = run < n_runs
            t = load_run(inputs.time_span, 0, 0, run, n_runs)
            t_end = load_run(inputs.time_span, 1, 0, run, n_runs)
            direction = select(t_end < t, t * 0.0 - 1.0, t * 0.0 + 1.0)
            saved = start(
                shared, persistent, run, n_runs, inputs, outputs, t, t_end, direction,
                state, parameters, counters, dt, accept_step,
            )  # fmt: skip
            active = valid & (t != t_end)
            status = select(active, success, success)
            while any_lane(active):
                t, saved, status, active = attempt(
                    shared, persistent, run, n_runs, inputs, outputs, t, t_end, direction,
                    saved, status, active, state, parameters, proposed_state, error,
                    counters, dt, accept_step,
                )  # fmt: skip
            finish(
                shared, persistent, run, n_runs, outputs, valid, saved, status, t, state, counters
            )

        return backend.device(loop)

    def _build_load(self, context: BuildContext) -> Callable:
        n, m = self.system.n_states, self.system.n_parameters
        enter = context.phase("load")

        def load(shared, persistent, run, n_runs, inputs, state, parameters):
            enter(shared, persistent)
            stride = inputs.state_stride[0]
            columns = 1 + stride * (n_runs - 1)
            for i in range(n):
                state[i] = load_run(inputs.initial_state, i * columns, stride, run, n_runs)
            for j in range(m):
                parameters[j] = load_run(
                    inputs.parameters,
                    inputs.parameter_offsets[j],
                    inputs.parameter_strides[j],
                    run,
                    n_runs,
                )

        return context.backend.device(load)

    def _build_start(self, context: BuildContext) -> Callable:
        """Prepare algorithm, controller and first step; save the initial state if wanted."""
        backend = context.backend
        choose = self.child_functions(context, "initial_step")
        algorithm = self.child_functions(context, "algorithm")
        controller = self.child_functions(context, "controller")
        start_algorithm, start_controller = algorithm.start, controller.start
        saving = build_saving(self.save_mode, backend, self.system.n_states)
        next_stop, save = saving.next_stop, saving.save
        enter = context.phase("start")
        rhs_count = self.algorithm.rhs_per_start + self.initial_step.rhs_evaluations

        def start(
            shared, persistent, run, n_runs, inputs, outputs, t, t_end, direction,
            state, parameters, counters, dt, accept_step,
        ):  # fmt: skip
            enter(shared, persistent)
            valid = run < n_runs
            span = absolute(t_end - t)
            h = choose(
                shared, persistent, inputs, run, n_runs, t, span, direction, state, parameters
            )
            start_algorithm(shared, persistent, t, state, parameters)
            start_controller(shared, persistent, h)
            dt[0] = h
            accept_step[0] = 1
            counters[0] = 0
            counters[1] = 0
            counters[2] = rhs_count
            none = run * 0
            at_stop = next_stop(inputs, none, t_end) == t
            return save(inputs, outputs, run, n_runs, valid, at_stop, none, t, state)

        return backend.device(start)

    def _build_attempt(self, context: BuildContext) -> Callable:
        """One attempted step in all active lanes."""
        backend, n = context.backend, self.system.n_states
        constant = backend.constant
        algorithm = self.child_functions(context, "algorithm")
        step, commit = algorithm.step, algorithm.commit
        control = self.child_functions(context, "controller").control
        saving = build_saving(self.save_mode, backend, n)
        next_stop, save = saving.next_stop, saving.save
        judge = self._build_judge(context)
        outcome = self._build_outcome(context)
        begin, enter_step = context.phase("begin"), context.phase("step")
        enter_control = context.phase("control")
        enter_save, enter_commit = context.phase("save"), context.phase("commit")
        stretch, reject_always = constant(STRETCH), constant(REJECT_ALWAYS)
        rhs_per_step = self.algorithm.rhs_per_step

        def attempt(
            shared, persistent, run, n_runs, inputs, outputs, t, t_end, direction,
            saved, status, active, state, parameters, proposed_state, error,
            counters, dt, accept_step,
        ):  # fmt: skip
            begin(shared, persistent)
            stop = next_stop(inputs, saved, t_end)
            remaining = (stop - t) * direction
            planned = minimum(dt[0], load_run(inputs.step_limits, 1, 0, run, n_runs))
            at_stop = planned * stretch >= remaining
            h = select(at_stop, remaining, planned)
            enter_step(shared, persistent)
            step(
                shared, persistent, t, h * direction, state, parameters, proposed_state, error
            )
            norm_squared, finite = judge(
                shared, persistent, inputs, run, n_runs, state, proposed_state, error
            )
            enter_control(shared, persistent)
            control(
                shared, persistent, h, select(finite, norm_squared, reject_always), dt, accept_step
            )
            accept = finite & (accept_step[0] != 0) & active
            # A step cut short to land says nothing against the size planned before.
            dt[0] = select(accept & at_stop, maximum(dt[0], planned), dt[0])
            t_new = select(at_stop, stop, t + h * direction)
            enter_save(shared, persistent)
            saved = save(
                inputs, outputs, run, n_runs, accept, at_stop, saved, t_new, proposed_state
            )
            enter_commit(shared, persistent)
            for i in range(n):
                state[i] = select(accept, proposed_state[i], state[i])
            commit(shared, persistent, accept)
            counters[0] = select(accept, counters[0] + 1, counters[0])
            counters[1] = select(active & ~accept, counters[1] + 1, counters[1])
            counters[2] = select(active, counters[2] + rhs_per_step, counters[2])
            t = select(accept, t_new, t)
            status, active = outcome(
                inputs, run, n_runs, t, t_end, h, accept, finite, status, active, counters
            )
            return t, saved, status, active

        return backend.device(attempt)

    def _build_judge(self, context: BuildContext) -> Callable:
        """Return the squared error norm of an attempt and whether its result is finite."""
        backend, n = context.backend, self.system.n_states
        enter = context.phase("judge")
        zero = backend.constant(0.0)

        def sum_is_finite(proposed_state):
            total = proposed_state[0]
            for i in range(1, n):
                total = total + proposed_state[i]
            return is_finite(total)

        sum_is_finite = backend.device(sum_is_finite)

        def fixed(shared, persistent, inputs, run, n_runs, state, proposed_state, error):
            enter(shared, persistent)
            return state[0] * zero, sum_is_finite(proposed_state)

        if not self.controller.adaptive:
            return backend.device(fixed)
        norm = build_error_norm(backend, n, self.algorithm.n_error_estimates, self.per_component)

        def adaptive(shared, persistent, inputs, run, n_runs, state, proposed_state, error):
            enter(shared, persistent)
            norm_squared = norm(inputs.tolerances, run, n_runs, state, proposed_state, error)
            return norm_squared, is_finite(norm_squared) & sum_is_finite(proposed_state)

        return backend.device(adaptive)

    def _build_outcome(self, context: BuildContext) -> Callable:
        """Decide per lane whether its run goes on, and why not."""
        backend = context.backend
        spacing = backend.constant(10 * np.finfo(backend.dtype).eps)
        too_small, non_finite = int(RunStatus.STEP_TOO_SMALL), int(RunStatus.NON_FINITE)
        too_many = int(RunStatus.TOO_MANY_STEPS)
        smallest = backend.constant(np.finfo(backend.dtype).tiny * 1e3)
        adaptive = self.controller.adaptive

        def no_way_on(t, h, accept, finite):
            return ~finite

        def step_exhausted(t, h, accept, finite):
            return ~accept & (h <= maximum(spacing * absolute(t), smallest))

        give_up = backend.device(step_exhausted if adaptive else no_way_on)

        def outcome(
            inputs, run, n_runs, t, t_end, h, accept, finite, status, active, counters
        ):
            stuck = active & give_up(t, h, accept, finite)
            reason = select(finite, too_small, non_finite)
            status = select(stuck, reason, status)
            active = active & ~stuck & (t != t_end)
            exhausted = active & (counters[0] + counters[1] >= inputs.limits[0])
            status = select(exhausted, too_many, status)
            return status, active & ~exhausted

        return backend.device(outcome)

    def _build_finish(self, context: BuildContext) -> Callable:
        backend, n = context.backend, self.system.n_states
        write_end = build_saving(self.save_mode, backend, n).finish
        enter = context.phase("finish")

        def finish(
            shared, persistent, run, n_runs, outputs, valid, saved, status, t, state, counters
        ):
            enter(shared, persistent)
            write_end(outputs, run, n_runs, valid, saved, t, state)
            store_run(outputs.status, 0, run, valid, status)
            for i in range(N_COUNTERS):
                store_run(outputs.counters, i * n_runs, run, valid, counters[i])

        return backend.device(finish)
