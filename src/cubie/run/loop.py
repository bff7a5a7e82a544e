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
from cubie.numerics.limits import DIRECTION, build_of_span, build_time
from cubie.run.attempt import build_attempt
from cubie.run.breaks import build_breaks
from cubie.run.dense import build_end_record
from cubie.run.driving import build_keeping
from cubie.run.events.failing import build_failing
from cubie.run.events.finding import build_events
from cubie.run.events.repeating import build_repeat
from cubie.run.exponents import build_exponents
from cubie.run.free_steps import build_free_steps, takes_free_steps
from cubie.run.inside import build_begins
from cubie.run.observing import build_observe
from cubie.run.parts import N_ATTEMPT_COUNTERS, Lane, Progress, RunParts
from cubie.run.restarts import build_begin_anew
from cubie.run.saving import Point, build_saving, sizes_of
from cubie.run.slices import build_slices
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
            self.algorithm.n_counters,
            FULL_COUNTER,
            self.algorithm.proportional_below,
            self.tracking,
            self.record,
            self.n_counters,
        )

    def build(self, context: BuildContext) -> Callable:
        """Return ``loop(memory, queue, n_runs, inputs, outputs)``."""
        backend = context.backend
        load, finish = self._build_load(context), self._build_finish(context)
        start, attempt = self._build_start(context), build_attempt(self, context)
        free_steps = build_free_steps(self, context)
        first_runs, more_runs = backend.first_runs(), backend.more_runs()
        here = backend.worked_out_here()
        interrupted, interruption = backend.interrupted(), int(RunStatus.INTERRUPTED)
        keep_going = backend.keep_going(together=takes_free_steps(self, backend))
        alloc = {name: context.allocator(name) for name in self.buffer_registry.buffers}
        alloc_state, alloc_parameters = alloc["state"], alloc["parameters"]
        alloc_proposed, alloc_error = alloc["proposed_state"], alloc["error"]
        alloc_counters, alloc_dt = alloc["counters"], alloc["dt"]
        alloc_accept, alloc_proposed_counters = alloc["accept_step"], alloc["proposed_counters"]
        alloc_drivers, alloc_at_end = alloc["drivers"], alloc["proposed_drivers"]
        alloc_common = self.common_allocator(context)
        alloc_passed, alloc_observed = alloc["passed_stops"], alloc["observable_drivers"]
        begin_anew = build_begin_anew(self, context)
        renormalise = build_exponents(self, context).renormalise
        spent, (begins, resume, pause) = backend.spent(), build_slices(self, context)
        alloc_observables, alloc_following = self.observables_allocators(context)
        clock = self.clock(backend)
        final_stop, restart = clock.final_stop, clock.restart
        end_of, direction_of = self._build_renew(backend, final_stop)
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
                state, parameters, counters, dt, accept_step, proposed, observables, following,
                drivers, at_end, passed, alloc_observed(memory, None), alloc_common(memory, None),
            )  # fmt: skip

            run = first_runs(queue)
            launch = Launch(inputs, run, n_runs)
            direction = load_run(inputs.time_span, 1, 0, run, n_runs)
            final = final_stop(launch)
            saved = run * 0
            fresh = direction == direction
            active = direction != direction
            settled = direction == direction
            elapsed, carry = restart(fresh, initial, initial)
            status = select(fresh, success, success)
            fresh, valid, elapsed, carry = begins(queue, launch, fresh, elapsed, carry)
            while any_lane(valid):
                launch = Launch(inputs, run, n_runs)
                final, direction = end_of(launch, final), direction_of(launch, direction)
                load(memory, launch, fresh, lane)
                elapsed, carry = restart(fresh, elapsed, carry)
                status = select(fresh, success, status)
                saved = start(memory, launch, outputs, fresh, final, direction, saved, lane)
                settled = settled | fresh
                active = active | (fresh & valid & (final.elapsed > 0))
                elapsed, carry, saved, status, active, settled = resume(
                    memory, queue, launch, lane,
                    Progress(elapsed, carry, saved, status, active, settled), fresh,
                )  # fmt: skip
                while keep_going(queue, active, run >= n_runs):
                    free_steps(memory, launch, queue, final, saved, lane)
                    if spent(queue, 1):
                        continue
                    before = active
                    elapsed, carry, saved, status, active, settled = attempt(
                        memory, launch, outputs, final, direction,
                        Progress(elapsed, carry, saved, status, active, settled), lane,
                    )  # fmt: skip
                    status, active = begin_anew(
                        memory, launch, final, direction,
                        Progress(elapsed, carry, saved, status, active, settled), lane,
                    )  # fmt: skip
                    renormalise(
                        memory, launch, final, before,
                        Progress(elapsed, carry, saved, status, active, settled), lane,
                    )  # fmt: skip
                    empty_full(launch, outputs, active, counters)
                stop = interrupted(queue)
                if stop:
                    status = select(active, interruption, status)
                    active = active & (run < 0)
                done = valid & ~active
                finish(
                    memory, Launch(inputs, here(run), n_runs), outputs, final, done,
                    Progress(elapsed, carry, saved, status, active, settled), lane,
                )  # fmt: skip
                pause(
                    memory, queue, Launch(inputs, here(run), n_runs), lane,
                    Progress(elapsed, carry, saved, status, active, settled),
                )  # fmt: skip
                fresh = ~active
                # Runs that were taken from the queue are those that were written.
                if stop:
                    valid = run < 0
                else:
                    run = more_runs(queue, fresh, run, n_runs)
                    valid = run < n_runs

        return backend.device(loop)

    def _build_renew(self, backend: Backend, final_stop: Callable) -> tuple[Callable, Callable]:
        """Return what gives the end and the direction of runs that were taken from the queue.

        Each from that of runs before: where all have the same it goes on. Runs with breaks of their
        own may reach the same end in other numbers of steps.
        """
        own, breaks = self.system.own_clock, self.system.breakpoints

        def end_of_run(launch, final):
            return final_stop(launch)

        of_run = build_of_span(backend, DIRECTION, True)

        def direction_of_run(launch, direction):
            return of_run(launch)

        end_of = end_of_run if own or breaks else _as_before
        return backend.device(end_of), backend.device(direction_of_run if own else _as_before)

    def _build_load(self, context: BuildContext) -> Callable:
        """Read the inputs of fresh lanes."""
        n, m = self.system.n_states, self.system.n_parameters
        n_slots, no_fault = self.n_slots, context.backend.constant(0.0)
        enter = context.phase("load")

        def load(memory, launch, fresh, lane):
            enter(memory)
            inputs, run, n_runs = launch
            state, parameters = lane.state, lane.parameters
            of_runs, of_components = inputs.state_stride[0], inputs.state_stride[1]
            for i in range(n):
                at = i * of_components
                value = load_run(inputs.initial_state, at, of_runs, run, n_runs)
                state[i] = select(fresh, value, state[i])
            for j in range(m):
                offset, stride = inputs.parameter_offsets[j], inputs.parameter_strides[j]
                parameters[j] = load_run(inputs.parameters, offset, stride, run, n_runs)
            for j in range(m, n_slots):
                parameters[j] = select(fresh, no_fault, parameters[j])

        return context.backend.device(load)

    def _build_start(self, context: BuildContext) -> Callable:
        """Prepare fresh lanes: step size, algorithm, controller; save the initial state."""
        backend = context.backend
        choose = self.child_functions(context, "initial_step")
        algorithm = self.child_functions(context, "algorithm")
        controller = self.child_functions(context, "controller")
        begin_summaries = build_tracking(self, context).begin
        begin_exponents = build_exponents(self, context).begin
        begin_events = build_events(self, context).begin
        start_algorithm, start_controller = algorithm.start, controller.start
        observe = build_observe(self, context)
        save = build_saving(self.save_mode, backend, self.kept, observe).begin
        begins = build_begins(self, context)
        clock = self.clock(backend)
        next_stop, zero = clock.stop, backend.constant(0.0)
        time = build_time(backend, self.system.own_clock)
        breaks, enter = build_breaks(self, context), context.phase("start")
        number, forget, give = breaks.number, breaks.forget, breaks.give
        keeping = build_keeping(self, context)
        forget_drivers, forget_proposed = keeping.forget, keeping.reset
        is_point, pass_stop = breaks.is_point, breaks.pass_stop
        n_counters, repeat = self.n_counters, build_repeat(self, context)

        def start(memory, launch, outputs, fresh, final, direction, saved, lane):
            enter(memory)
            nothing = select(fresh, zero, zero)
            t_start = time(launch, direction, nothing)
            state, counters = lane.state, lane.counters
            saved = select(fresh, 0, saved)
            forget(fresh, lane)
            forget_drivers(fresh, lane)
            forget_proposed(lane)
            given = give(launch, t_start, number(saved, lane), lane)
            repeat(memory, launch, t_start, nothing, fresh, lane)
            h = choose(memory, launch, t_start, final.elapsed, direction, state, given)
            start_algorithm(memory, fresh, t_start, state, given)
            start_controller(memory, fresh, h)
            begin_summaries(memory, fresh)
            begin_exponents(memory, launch, fresh, lane)
            begin_events(memory, launch, fresh, lane)
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
        clock, number = self.clock(backend), build_breaks(self, context).number
        next_stop, now = clock.stop, clock.now
        finish_summaries = build_tracking(self, context).finish
        finish_exponents = build_exponents(self, context).finish
        end_record = build_end_record(self, context)
        events = build_events(self, context)
        finish_events, when_ended, all_steps = events.finish, events.reached, events.steps
        told, enter = build_failing(self, context).told, context.phase("finish")
        first_iterations = N_ATTEMPT_COUNTERS

        def finish(memory, launch, outputs, final, done, progress, lane):
            enter(memory)
            run, n_runs = launch.run, launch.n_runs
            counters, saved = lane.counters, progress.saved
            stop = next_stop(launch, final, number(saved, lane))
            reached = now(stop, progress.elapsed, lane.dt, counters)
            reached = when_ended(memory, reached, progress.status)
            point = Point(lane.state, lane.observables, lane)
            write_end(launch, outputs, done, saved, reached, point)
            end_record(memory, launch, outputs, done, reached, progress.carry, lane)
            finish_summaries(memory, launch, outputs, done)
            finish_exponents(memory, launch, outputs, done)
            finish_events(memory, launch, outputs, done)
            store_run(outputs.status, 0, run, done, told(progress.status, lane))
            steps, attempts = all_steps(memory, counters[0]), counters[1]
            store_run(outputs.counters, 0, run, done, steps)
            store_run(outputs.counters, n_runs, run, done, attempts - steps)
            for i in range(first_iterations, n_counters):
                total = load_run(outputs.counters, i * n_runs, 1, run, n_runs) + counters[i]
                store_run(outputs.counters, i * n_runs, run, done, total)

        return backend.device(finish)

    def _build_empty_full(self, backend: Backend) -> Callable:
        """Add counters of iterations that grew too large to the results, and begin anew."""
        first, n_counters, full = N_ATTEMPT_COUNTERS, self.n_counters, FULL_COUNTER
        here = backend.worked_out_here()

        def nothing(launch, outputs, active, counters):
            pass

        def empty_full(launch, outputs, active, counters):
            largest = counters[first]
            for i in range(first + 1, n_counters):
                largest = maximum(largest, counters[i])
            if any_lane(active & (largest >= full)):
                run, n_runs = here(launch.run), here(launch.n_runs)
                for i in range(first, n_counters):
                    total = load_run(outputs.counters, i * n_runs, 1, run, n_runs) + counters[i]
                    store_run(outputs.counters, i * n_runs, run, active, total)
                    counters[i] = select(active, 0, counters[i])

        return backend.device(empty_full if self.algorithm.n_counters else nothing)


def _as_before(launch, value):
    return value
