"""One attempted step in all active lanes: step, judge, control, save, commit, decide."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cubie.backend import Backend, is_finite, maximum, select
from cubie.clock import build_clock, time_of
from cubie.error_norm import build_error_norm
from cubie.factory import BuildContext
from cubie.faults import build_faults
from cubie.finiteness import build_all_finite
from cubie.saving import build_saving
from cubie.status import RunStatus

if TYPE_CHECKING:
    from cubie.loop import IVPLoop

# Squared norm that stands for "not finite": the controller then shrinks the
# step as far as it may.
REJECT_ALWAYS = 1e20


def build_attempt(loop: IVPLoop, context: BuildContext) -> Callable:
    """Return the device function that attempts one step; see `IVPLoop.build` for its arguments.

    It returns the new state of the clock, number of saved points, status, and masks of the lanes
    whose runs go on, and of those whose attempt was accepted: `settled` of the next one.
    """
    backend, n = context.backend, loop.system.n_states
    constant = backend.constant
    algorithm = loop.child_functions(context, "algorithm")
    step, commit = algorithm.step, algorithm.commit
    control = loop.child_functions(context, "controller").control
    save = build_saving(loop.save_mode, backend, n).save
    clock = build_clock(loop.save_mode, backend, loop.controller.adaptive)
    next_stop, now, propose, keep = clock.stop, clock.now, clock.propose, clock.keep
    time = backend.device(time_of)
    judge = _build_judge(loop, context)
    account = build_faults(backend, loop.system)
    outcome = _build_outcome(loop, backend)
    count = backend.device(_build_count(loop))
    begin, enter_step = context.phase("begin"), context.phase("step")
    enter_control = context.phase("control")
    enter_save, enter_commit = context.phase("save"), context.phase("commit")
    reject_always = constant(REJECT_ALWAYS)

    def attempt(
        shared, persistent, run, n_runs, inputs, outputs, elapsed, carry, final, direction,
        saved, status, active, settled, state, parameters, proposed_state, error,
        counters, proposed_counters, dt, accept_step,
    ):  # fmt: skip
        begin(shared, persistent)
        stop = next_stop(inputs, final, saved)
        t = time(inputs, direction, now(stop, elapsed, dt, counters))
        h, planned, at_stop, ahead, ahead_carry = propose(
            inputs, run, n_runs, stop, elapsed, carry, dt, counters
        )
        enter_step(shared, persistent)
        failure = step(
            shared, persistent, inputs, run, n_runs, t, h * direction, state, parameters,
            proposed_state, error, proposed_counters,
        )  # fmt: skip
        norm_squared, finite = judge(
            shared, persistent, inputs, run, n_runs, state, proposed_state, error
        )
        failure = account(parameters, failure, finite)
        enter_control(shared, persistent)
        usable = finite & (failure == 0)
        judged = select(usable, norm_squared, reject_always)
        accept_step[0] = select(settled, 1, 0)
        control(shared, persistent, h, judged, dt, accept_step)
        accept = usable & (accept_step[0] != 0) & active
        # A step cut short to land says nothing against the size planned before.
        dt[0] = select(accept & at_stop, maximum(dt[0], planned), dt[0])
        enter_save(shared, persistent)
        saved = save(inputs, outputs, run, n_runs, accept, at_stop, saved, ahead, proposed_state)
        enter_commit(shared, persistent)
        for i in range(n):
            state[i] = select(accept, proposed_state[i], state[i])
        commit(shared, persistent, accept)
        count(active, accept, counters, proposed_counters)
        status, active = outcome(
            inputs, stop, final, elapsed, h, at_stop, accept, finite, failure, status, active,
            counters,
        )  # fmt: skip
        elapsed, carry = keep(accept, ahead, ahead_carry, elapsed, carry)
        return elapsed, carry, saved, status, active, accept

    return backend.device(attempt)


def _build_count(loop: IVPLoop) -> Callable:
    """Count an attempt, and the iterations that it took."""
    n_counters = loop.n_counters

    def count(active, accept, counters, proposed_counters):
        counters[0] = select(accept, counters[0] + 1, counters[0])
        counters[1] = select(active & ~accept, counters[1] + 1, counters[1])
        for i in range(2, n_counters):
            counters[i] = select(active, counters[i] + proposed_counters[i - 2], counters[i])

    return count


def _build_judge(loop: IVPLoop, context: BuildContext) -> Callable:
    """Return the squared error norm of an attempt and whether its result is finite."""
    backend, n = context.backend, loop.system.n_states
    enter = context.phase("judge")
    zero = backend.constant(0.0)

    all_finite = build_all_finite(backend, n)

    def fixed(shared, persistent, inputs, run, n_runs, state, proposed_state, error):
        enter(shared, persistent)
        return state[0] * zero, all_finite(proposed_state)

    if not loop.controller.adaptive:
        return backend.device(fixed)
    algorithm = loop.algorithm
    norm = build_error_norm(
        backend, n, algorithm.n_error_estimates, loop.per_component, algorithm.proportional_below
    )

    def adaptive(shared, persistent, inputs, run, n_runs, state, proposed_state, error):
        enter(shared, persistent)
        norm_squared, finite = norm(inputs.tolerances, run, n_runs, state, proposed_state, error)
        return norm_squared, is_finite(norm_squared) & finite

    return backend.device(adaptive)


def _build_outcome(loop: IVPLoop, backend: Backend) -> Callable:
    """Decide per lane whether its run goes on, and if not why."""
    clock = build_clock(loop.save_mode, backend, loop.controller.adaptive)
    has_ended, is_stuck = clock.has_ended, clock.is_stuck
    too_small, non_finite = int(RunStatus.STEP_TOO_SMALL), int(RunStatus.NON_FINITE)
    too_many, stopped = int(RunStatus.TOO_MANY_STEPS), int(RunStatus.CLOCK_STANDS_STILL)

    def outcome(
        inputs, stop, final, elapsed, h, lands, accept, finite, failure, status, active, counters
    ):
        solved = failure == 0
        stuck = active & is_stuck(accept, h, elapsed)
        why = select(finite, select(accept, stopped, too_small), non_finite)
        status = select(stuck, select(solved, why, failure), status)
        active = active & ~stuck & ~(accept & has_ended(lands, stop, final))
        exhausted = active & (counters[0] + counters[1] >= inputs.limits[0])
        status = select(exhausted, too_many, status)
        return status, active & ~exhausted

    return backend.device(outcome)
