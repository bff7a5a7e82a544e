"""The integration of runs over their time span: start, attempt steps until done, finish, repeat.

A group of lanes works through a queue of runs. Lanes whose runs are done wait
until enough of them do, and are then given the next runs together, while the
others keep their place; with one lane this is a plain loop over one run.
"""

from __future__ import annotations

from collections.abc import Callable

from cubie.algorithms.contract import Proposed
from cubie.backend import Backend, Launch, any_lane, load_run, maximum, select, store_run
from cubie.factory import BuildContext
from cubie.run.attempt import build_attempt
from cubie.run.breaks import build_begin_anew, build_breaks
from cubie.run.clock import ClockFunctions, build_clock, time_of
from cubie.run.driving import build_keeping
from cubie.run.free_steps import build_free_steps, takes_free_steps
from cubie.run.inside import build_begins
from cubie.run.observing import build_observe
from cubie.run.parts import N_ATTEMPT_COUNTERS, Lane, Progress, RunParts
from cubie.run.saving import Point, build_saving, sizes_of
from cubie.run.summaries.tracking import build_tracking
from cubie.status import RunStatus

# A counter that reaches this is added to the results and starts again: an attempt that follows
# cannot make it wrap.
FULL_COUNTER = 2**30


class IVPLoop(RunParts):
    """Step, judge, save, commit, until every run of the queue is done; see `RunParts`."""

    def facts(self) -> tuple:
        return (
            self.save_mode.value,
            sizes_of(self.kept),
            self.choice,
            self.per_component,
            self.system.n_states,
            self.system.n_parameters,
            self.algorithm.iterates,
            FULL_COUNTER,
            self.algorithm.proportional_below,
            self.tracking,
        )

    def build(self, context: BuildContext) -> Callable:
        """Return ``loop(memory, queue, n_runs, inputs, outputs)``."""
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
        alloc_drivers, alloc_at_end = alloc["drivers"], alloc["proposed_drivers"]
        alloc_passed, alloc_observed = alloc["passed_stops"], alloc["observable_drivers"]
        begin_anew = build_begin_anew(self, context)
        alloc_observables, alloc_following = self.observables_allocators(context)
        clock = self._clock(backend)
        final_stop, restart = clock.final_stop, clock.restart
        empty_full = self._build_empty_full(backend)
        success, initial = int(RunStatus.SUCCESS), backend.constant(0.0)

        def loop(memory, queue, n_runs, inputs, outputs):
            # An array belongs to the frame of the function that allocates it.
            state, parameters = alloc_state(memory, None), alloc_parameters(memory, None)
            proposed_state, error = alloc_proposed(memory, None), alloc_error(memory, None)
            counters = alloc_counters(memory, None)
            proposed_counters = alloc_proposed_counters(memory, None)
            proposed = Proposed(proposed_state, error, proposed_counters)
            dt, accept_step = alloc_dt(memory, None), alloc_accept(memory, None)
            observables = alloc_observables(memory, state)
            following = alloc_following(memory, state)
            drivers, at_end = alloc_drivers(memory, None), alloc_at_end(memory, None)
            passed = alloc_passed(memory, None)
            lane = Lane(
                state,
                parameters,
                counters,
                dt,
                accept_step,
                proposed,
                observables,
                following,
                drivers,
                at_end,
                passed,
                alloc_observed(memory, None),
            )

            run = first_runs(queue)
            launch = Launch(inputs, run, n_runs)
            direction = load_run(inputs.time_span, 1, 0, run, n_runs)
            final = final_stop(launch)
            saved = run * 0
            valid = run < n_runs
            fresh = direction == direction
            active = direction != direction
            settled = direction == direction
            elapsed, carry = restart(fresh, initial, initial)
            status = select(fresh, success, success)
            while any_lane(valid):
                launch = Launch(inputs, run, n_runs)
                load(memory, launch, fresh, lane)
                elapsed, carry = restart(fresh, elapsed, carry)
                status = select(fresh, success, status)
                saved = start(memory, launch, outputs, fresh, final, direction, saved, lane)
                settled = settled | fresh
                active = active | (fresh & valid & (final.elapsed > 0))
                while keep_going(queue, active, run >= n_runs):
                    free_steps(memory, launch, queue, final, saved, lane)
                    elapsed, carry, saved, status, active, settled = attempt(
                        memory, launch, outputs, final, direction,
                        Progress(elapsed, carry, saved, status, active, settled), lane,
                    )  # fmt: skip
                    status, active = begin_anew(
                        memory, launch, final, direction,
                        Progress(elapsed, carry, saved, status, active, settled), lane,
                    )  # fmt: skip
                    empty_full(launch, outputs, active, counters)
                stop = interrupted(queue)
                if stop:
                    status = select(active, interruption, status)
                    active = active & (run < 0)
                done = valid & ~active
                finish(
                    memory, launch, outputs, final, done,
                    Progress(elapsed, carry, saved, status, active, settled), lane,
                )  # fmt: skip
                fresh = ~active
                # Runs that were taken from the queue are those that were written.
                if stop:
                    valid = run < 0
                else:
                    run = more_runs(queue, fresh, run, n_runs)
                    valid = run < n_runs

        return backend.device(loop)

    def _clock(self, backend: Backend) -> ClockFunctions:
        adaptive, breaks = self.controller.adaptive, self.system.breakpoints
        return build_clock(self.save_mode, backend, adaptive, breaks)

    def _build_load(self, context: BuildContext) -> Callable:
        """Read the inputs of fresh lanes."""
        n, m = self.system.n_states, self.system.n_parameters
        n_faults, no_fault = self.system.n_faults, context.backend.constant(0.0)
        enter = context.phase("load")

        def load(memory, launch, fresh, lane):
            enter(memory)
            inputs, run, n_runs = launch
            state, parameters = lane.state, lane.parameters
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
        begin_summaries = build_tracking(self, context).begin
        start_algorithm, start_controller = algorithm.start, controller.start
        observe = build_observe(self, context)
        save = build_saving(self.save_mode, backend, self.kept, observe).begin
        begins = build_begins(self, context)
        clock = self._clock(backend)
        next_stop, time, zero = clock.stop, backend.device(time_of), backend.constant(0.0)
        breaks, enter = build_breaks(self, context), context.phase("start")
        number, forget, give = breaks.number, breaks.forget, breaks.give
        keeping = build_keeping(self, context)
        forget_drivers, forget_proposed = keeping.forget, keeping.reset
        is_point, pass_stop = breaks.is_point, breaks.pass_stop
        n_counters = self.n_counters

        def start(memory, launch, outputs, fresh, final, direction, saved, lane):
            enter(memory)
            nothing = select(fresh, zero, zero)
            t_start = time(launch.inputs, direction, nothing)
            state, counters = lane.state, lane.counters
            saved = select(fresh, 0, saved)
            forget(fresh, lane)
            forget_drivers(fresh, lane)
            forget_proposed(lane)
            given = give(launch, t_start, number(saved, lane), lane)
            h = choose(memory, launch, t_start, final.elapsed, direction, state, given)
            start_algorithm(memory, fresh, t_start, state, given)
            start_controller(memory, fresh, h)
            begin_summaries(memory, fresh)
            lane.dt[0] = select(fresh, h, lane.dt[0])
            for i in range(n_counters):
                counters[i] = select(fresh, 0, counters[i])
            at = number(saved, lane)
            at_stop = next_stop(launch, final, at).elapsed == zero
            due = fresh & (launch.run < launch.n_runs)
            at_point = begins(launch, saved, is_point(launch, at, at_stop))
            point = Point(state, lane.observables, lane)
            saved = save(launch, outputs, due, at_point, saved, nothing, point)
            pass_stop(launch, at, due & at_stop, lane)
            return saved

        return backend.device(start)

    def _build_finish(self, context: BuildContext) -> Callable:
        """Write the outputs of lanes whose runs are done."""
        backend, n_counters = context.backend, self.n_counters
        observe = build_observe(self, context)
        write_end = build_saving(self.save_mode, backend, self.kept, observe).finish
        clock, number = self._clock(backend), build_breaks(self, context).number
        next_stop, now = clock.stop, clock.now
        finish_summaries = build_tracking(self, context).finish
        enter = context.phase("finish")
        n_attempt_counters = N_ATTEMPT_COUNTERS

        def finish(memory, launch, outputs, final, done, progress, lane):
            enter(memory)
            run, n_runs = launch.run, launch.n_runs
            counters, saved = lane.counters, progress.saved
            stop = next_stop(launch, final, number(saved, lane))
            reached = now(stop, progress.elapsed, lane.dt, counters)
            point = Point(lane.state, lane.observables, lane)
            write_end(launch, outputs, done, saved, reached, point)
            finish_summaries(memory, launch, outputs, done)
            store_run(outputs.status, 0, run, done, progress.status)
            for i in range(n_attempt_counters):
                store_run(outputs.counters, i * n_runs, run, done, counters[i])
            for i in range(n_attempt_counters, n_counters):
                total = load_run(outputs.counters, i * n_runs, 1, run, n_runs) + counters[i]
                store_run(outputs.counters, i * n_runs, run, done, total)

        return backend.device(finish)

    def _build_empty_full(self, backend: Backend) -> Callable:
        """Add counters of iterations that grew too large to the results, and begin anew."""
        first, n_counters, full = N_ATTEMPT_COUNTERS, self.n_counters, FULL_COUNTER

        def nothing(launch, outputs, active, counters):
            pass

        def empty_full(launch, outputs, active, counters):
            run, n_runs = launch.run, launch.n_runs
            largest = counters[first]
            for i in range(first + 1, n_counters):
                largest = maximum(largest, counters[i])
            if any_lane(active & (largest >= full)):
                for i in range(first, n_counters):
                    total = load_run(outputs.counters, i * n_runs, 1, run, n_runs) + counters[i]
                    store_run(outputs.counters, i * n_runs, run, active, total)
                    counters[i] = select(active, 0, counters[i])

        return backend.device(empty_full if self.algorithm.iterates else nothing)
