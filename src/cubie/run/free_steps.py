"""Fixed steps that need no judging: far from any stop, in all lanes of a group at once.

A step of fixed size is rejected only where its result is not finite, and both infinity and NaN
stay in a state that steps are added to. So a group may take many steps without looking at one
of them, look once at the end, and undo all where a lane turned out to have gone wrong: the
attempts that follow find out where, and say so.

This pays where a group is many lanes. They fill several vector registers; each step goes
through the group one register's worth of lanes (a *part*) after the other, so that all values
of a step stay in registers. On a GPU it pays for single runs as well: a step is as few
instructions as its formulas are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import attrs

from cubie.algorithms import StepAlgorithm
from cubie.algorithms.contract import Proposed
from cubie.backend import Backend, Launch, Memory, all_lanes, any_lane, as_real
from cubie.factory import BuildContext
from cubie.numerics.finiteness import build_all_finite
from cubie.numerics.limits import DIRECTION, FIRST_STEP, build_of_span, build_of_steps, build_time
from cubie.run.clock import ClockFunctions, build_clock
from cubie.run.inside import build_before_point
from cubie.run.parts import Lane, RunParts
from cubie.run.saving import SaveMode
from cubie.tableaus import Method

# Steps between two looks at the result, at most; a power of two. Half as many are tried where
# a stop is too near, or a result was not finite.
LONGEST = 64


def may_take_free_steps(
    algorithm: type[StepAlgorithm],
    tableau: Method,
    adaptive: bool,
    save_mode: SaveMode,
    followed: bool,
    keeps_solution: bool = False,
) -> bool:
    """Tell whether a loop of such parts takes steps without judging them, in groups of lanes.

    Each is looked at where step sizes are chosen, all are saved or kept as a function of time, or
    summaries follow them.
    """
    followed = followed or keeps_solution
    return algorithm.is_memoryless(tableau) and _decides_nothing(adaptive, save_mode, followed)


def takes_free_steps(loop: RunParts, backend: Backend) -> bool:
    """Tell whether a loop takes steps without judging them on a target."""
    kind, tableau = type(loop.algorithm), loop.algorithm.tableau
    if backend.width == 1:
        # A call that fails is told of at once, and not forgotten when the step is.
        suits = backend.runs_go_unjudged and not loop.system.n_faults
        suits = suits and kind.always_succeeds(tableau)
    else:
        suits = kind.is_memoryless(tableau)
    # Parts of a group share no look-up.
    return (
        suits
        and not loop.system.takes_given
        and loop.events is None
        and _decides_nothing(loop.controller.adaptive, loop.save_mode, _looks_at_steps(loop))
    )


def _looks_at_steps(loop: RunParts) -> bool:
    return loop.tracking is not None or loop.record is not None


def _decides_nothing(adaptive: bool, save_mode: SaveMode, followed: bool) -> bool:
    return not (adaptive or save_mode is SaveMode.STEPS or followed)


class Going(NamedTuple):
    """The size of steps and the direction of time.

    Numbers, where they are the same in all lanes: what a method makes of them is then worked out
    once. Or buffers of one element that holds lanes; in a part, lanes.
    """

    size: Any
    direction: Any


class Grid(NamedTuple):
    """Where the steps of a group's lanes lie; buffers of one element that holds lanes."""

    runs: Any
    origins: Any
    going: Any  # `Going`


def _clock(loop: RunParts, backend: Backend) -> ClockFunctions:
    adaptive = loop.controller.adaptive
    return build_clock(loop.save_mode, backend, adaptive, False, loop.system.own_clock)


def _in_all_parts(going, part):
    return going


def _as_it_is(value):
    return value


def build_free_steps(loop: RunParts, context: BuildContext) -> Callable:
    """Return the device function that takes steps for as long as nothing can happen.

    ``free_steps(memory, launch, queue, final, saved, lane)``. Every lane must be in the middle of
    a run, or beyond the last one. Afterwards the states and counters, and with them the clock,
    are those after as many accepted attempts.
    """
    backend, n = context.backend, loop.system.n_states
    if takes_free_steps(loop, backend) and backend.width == 1:
        return _build_lone_steps(loop, context)
    if not takes_free_steps(loop, backend):

        def none(memory, launch, queue, final, saved, lane):
            pass

        return backend.device(none)

    advance, allowed = _build_advance(loop, context), _build_allowed(loop, context)
    next_stop, keep = _clock(loop, backend).stop, backend.keep()
    own = loop.system.own_clock
    size_of = build_of_steps(backend, FIRST_STEP, own)
    direction_of = build_of_span(backend, DIRECTION, own)
    hold = keep if own else backend.device(_as_it_is)
    all_finite, interrupted = build_all_finite(backend, n), backend.interrupted()
    longest = LONGEST

    def free_steps(memory, launch, queue, final, saved, lane):
        run, n_runs = launch.run, launch.n_runs
        state, counters = lane.state, lane.counters
        beyond = run >= n_runs
        stop = next_stop(launch, final, saved)
        runs, origins = keep(run), keep(stop.origin)
        going = Going(hold(size_of(launch)), hold(direction_of(launch)))
        block = longest
        while block > 0 and not interrupted(queue):
            if not all_lanes(allowed(launch, stop, counters, block, saved) | beyond):
                block = block // 2
                continue
            before = keep(state)
            advance(memory, launch, Grid(runs, origins, going), block, lane)
            if all_lanes(all_finite(state) | beyond):
                counters[0] = counters[0] + block
                counters[1] = counters[1] + block
            else:
                for i in range(n):
                    state[i] = before[i]
                block = block // 2

    return backend.device(free_steps)


def _build_lone_steps(loop: RunParts, context: BuildContext) -> Callable:
    """Return `free_steps` of a group that is a single run."""
    backend, n = context.backend, loop.system.n_states
    advance, undo, allowed = *_build_lone_step(loop, context), _build_allowed(loop, context)
    next_stop = _clock(loop, backend).stop
    keep, all_finite = backend.keep(), build_all_finite(backend, n)
    longest, spent = LONGEST, backend.spent()

    def free_steps(memory, launch, queue, final, saved, lane):
        state, counters = lane.state, lane.counters
        stop = next_stop(launch, final, saved)
        block = longest
        while block > 0 and not spent(queue, 0):
            if not all_lanes(allowed(launch, stop, counters, block, saved)):
                block = block // 2
                continue
            before, until = keep(state), counters[0] + block
            while any_lane(counters[0] < until):
                advance(memory, launch, stop, lane)
                counters[0] = counters[0] + 1
            spent(queue, block)
            if all_lanes(all_finite(state)):
                counters[1] = counters[1] + block
            else:
                counters[0] = until - block
                undo(memory, launch, stop, before, lane)
                block = block // 2

    return backend.device(free_steps)


def _build_lone_step(loop: RunParts, context: BuildContext) -> tuple[Callable, Callable]:
    """Return what takes a step in every lane, and what goes back to an earlier state."""
    backend, n = context.backend, loop.system.n_states
    algorithm = loop.child_functions(context, "algorithm")
    start, step, commit = algorithm.start, algorithm.step, algorithm.commit
    own = loop.system.own_clock
    time, everywhere = build_time(backend, own), backend.device(_everywhere)
    size_of = build_of_steps(backend, FIRST_STEP, own)
    direction_of = build_of_span(backend, DIRECTION, own)

    def advance(memory, launch, stop, lane):
        counters, state = lane.counters, lane.state
        size, direction = size_of(launch), direction_of(launch)
        elapsed = stop.origin + as_real(counters[0], stop.origin) * size
        t = time(launch, direction, elapsed)
        step(memory, launch, t, size * direction, state, lane.parameters, lane.proposed)
        for i in range(n):
            state[i] = lane.proposed.state[i]
        commit(memory, everywhere(elapsed))

    def undo(memory, launch, stop, before, lane):
        counters, state = lane.counters, lane.state
        elapsed = stop.origin + as_real(counters[0], stop.origin) * size_of(launch)
        for i in range(n):
            state[i] = before[i]
        t = time(launch, direction_of(launch), elapsed)
        start(memory, everywhere(elapsed), t, state, lane.parameters)

    return backend.device(advance), backend.device(undo)


def _everywhere(value):
    """Return a mask that holds in every lane, as compilers see."""
    return (value == value) | (value != value)


def _build_allowed(loop: RunParts, context: BuildContext) -> Callable:
    """Tell in which lanes so many steps reach no stop, no point, and not the limit of steps."""
    before = build_before_point(loop, context)
    size_of = build_of_steps(context.backend, FIRST_STEP, loop.system.own_clock)

    def allowed(launch, stop, counters, steps, saved):
        inputs, after = launch.inputs, counters[0] + steps
        ahead = stop.origin + as_real(after, stop.origin) * size_of(launch)
        # The step that lands on the stop may have another size: an attempt takes it.
        allowed_steps = (after < stop.count) & (after < inputs.limits[0])
        return allowed_steps & before(launch, ahead, saved)

    return context.backend.device(allowed)


def _build_advance(loop: RunParts, context: BuildContext) -> Callable:
    """Return the function that takes `steps` steps in all lanes, part by part."""
    parts = context.backend.parts()
    count, following, part_of = parts.count, parts.following, parts.of

    def both_in_part(going, part):
        size, direction = going
        return Going(part_of(size, part)[0], part_of(direction, part)[0])

    in_part = context.backend.device(both_in_part if loop.system.own_clock else _in_all_parts)
    step_part = _build_step_part(loop, context)

    def advance(memory, launch, grid, steps, lane):
        runs, origins, going = grid
        for step in range(steps):
            part = 0
            while part < count():
                step_part(
                    Memory(
                        part_of(memory.shared, part),
                        part_of(memory.persistent, part),
                        part_of(memory.global_memory, part),
                    ),
                    Launch(launch.inputs, part_of(runs, part), launch.n_runs),
                    step, part_of(origins, part), in_part(going, part),
                    Lane(
                        part_of(lane.state, part), part_of(lane.parameters, part),
                        part_of(lane.counters, part), lane.dt, lane.accept_step,
                        Proposed(
                            lane.proposed.state, part_of(lane.proposed.error, part),
                            part_of(lane.proposed.counters, part),
                        ),
                        lane.observables, lane.proposed_observables,
                        lane.drivers, lane.proposed_drivers, lane.passed_stops,
                        lane.observable_drivers, lane.common,
                    ),
                )  # fmt: skip
                part = following(part)

    return context.backend.device(advance)


def _build_step_part(loop: RunParts, context: BuildContext) -> Callable:
    """Return the function that takes one step in a part of the lanes."""
    n = loop.system.n_states
    backend = context.backend.part_backend()
    part_context = attrs.evolve(context, backend=backend)
    step = loop.child_functions(part_context, "algorithm").step
    time = build_time(backend, loop.system.own_clock)
    alloc_proposed = loop.proposed_state_allocator(part_context)

    def step_part(memory, launch, taken, origin, going, lane):
        inputs, runs, n_runs = launch
        size, direction = going
        state, counters = lane.state, lane.counters
        elapsed = origin[0] + as_real(counters[0] + taken, origin[0]) * size
        of_part = Launch(inputs, runs[0], n_runs)
        t = time(of_part, direction, elapsed)
        proposed_state = alloc_proposed(memory, None)
        proposed = Proposed(proposed_state, lane.proposed.error, lane.proposed.counters)
        step(memory, of_part, t, size * direction, state, lane.parameters, proposed)
        for i in range(n):
            state[i] = proposed_state[i]

    return backend.device(step_part)
