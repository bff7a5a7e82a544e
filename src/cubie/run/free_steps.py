"""Fixed steps that need no judging: far from any stop, in all lanes of a group at once.

A step of fixed size is rejected only where its result is not finite, and both infinity and NaN
stay in a state that steps are added to. So a group may take many steps without looking at one
of them, look once at the end, and undo all where a lane turned out to have gone wrong: the
attempts that follow find out where, and say so.

This pays where a group is many lanes. They fill several vector registers; each step goes
through the group one register's worth of lanes (a *part*) after the other, so that all values
of a step stay in registers.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from cubie.algorithms import StepAlgorithm
from cubie.algorithms.contract import Proposed
from cubie.backend import Launch, Memory, all_lanes, as_real
from cubie.factory import BuildContext
from cubie.numerics.finiteness import build_all_finite
from cubie.run.clock import build_clock, time_of
from cubie.run.inside import build_before_point
from cubie.run.parts import Lane, RunParts
from cubie.run.saving import SaveMode
from cubie.tableaus import Tableau

# Steps between two looks at the result, at most; a power of two. Half as many are tried where
# a stop is too near, or a result was not finite.
LONGEST = 64


def may_take_free_steps(
    algorithm: type[StepAlgorithm],
    tableau: Tableau,
    adaptive: bool,
    save_mode: SaveMode,
    followed: bool,
) -> bool:
    """Tell whether a loop of such parts takes steps without judging them, in groups of lanes.

    Each is looked at where step sizes are chosen, all are saved, or summaries follow them.
    """
    judged = adaptive or save_mode is SaveMode.STEPS or followed
    return algorithm.is_memoryless(tableau) and not judged


def takes_free_steps(loop: RunParts, width: int) -> bool:
    """Tell whether a loop takes steps without judging them, in groups of `width` lanes."""
    algorithm, adaptive = loop.algorithm, loop.controller.adaptive
    # Parts of a group share no look-up.
    return (
        width > 1
        and not loop.system.takes_given
        and may_take_free_steps(
            type(algorithm), algorithm.tableau, adaptive, loop.save_mode, loop.tracking is not None
        )
    )


def build_free_steps(loop: RunParts, context: BuildContext) -> Callable:
    """Return the device function that takes steps for as long as nothing can happen.

    ``free_steps(memory, launch, queue, final, saved, lane)``. Every lane must be in the middle of
    a run, or beyond the last one. Afterwards the states and counters, and with them the clock,
    are those after as many accepted attempts.
    """
    backend, n = context.backend, loop.system.n_states
    if not takes_free_steps(loop, backend.width):

        def none(memory, launch, queue, final, saved, lane):
            pass

        return backend.device(none)

    advance, allowed = _build_advance(loop, context), _build_allowed(loop, context)
    next_stop = build_clock(loop.save_mode, backend, loop.controller.adaptive).stop
    keep = backend.parts().keep
    all_finite, interrupted = build_all_finite(backend, n), backend.interrupted()
    longest = LONGEST

    def free_steps(memory, launch, queue, final, saved, lane):
        run, n_runs = launch.run, launch.n_runs
        state, counters = lane.state, lane.counters
        beyond = run >= n_runs
        stop = next_stop(launch, final, saved)
        runs, origins = keep(run), keep(stop.origin)
        block = longest
        while block > 0 and not interrupted(queue):
            if not all_lanes(allowed(launch, stop, counters, block, saved) | beyond):
                block = block // 2
                continue
            before = keep(state)
            advance(memory, launch, runs, origins, block, lane)
            if all_lanes(all_finite(state) | beyond):
                counters[0] = counters[0] + block
            else:
                for i in range(n):
                    state[i] = before[i]
                block = block // 2

    return backend.device(free_steps)


def _build_allowed(loop: RunParts, context: BuildContext) -> Callable:
    """Tell in which lanes so many steps reach no stop, no point, and not the limit of steps."""
    before = build_before_point(loop, context)

    def allowed(launch, stop, counters, steps, saved):
        inputs, after = launch.inputs, counters[0] + steps
        size = inputs.step_limits[0]
        ahead = stop.origin + as_real(after, stop.origin) * size
        # The step that lands on the stop may have another size: an attempt takes it.
        allowed_steps = (after < stop.count) & (after < inputs.limits[0])
        return allowed_steps & before(launch, ahead, saved)

    return context.backend.device(allowed)


def _build_advance(loop: RunParts, context: BuildContext) -> Callable:
    """Return the function that takes `steps` steps in all lanes, part by part."""
    parts = context.backend.parts()
    count, following, part_of = parts.count, parts.following, parts.of
    step_part = _build_step_part(loop, context)

    def advance(memory, launch, runs, origins, steps, lane):
        # The same in all lanes: what a method makes of it is worked out once.
        size, direction = launch.inputs.step_limits[0], launch.inputs.time_span[1]
        for step in range(steps):
            part = 0
            while part < count():
                step_part(
                    Memory(part_of(memory.shared, part), part_of(memory.persistent, part)),
                    Launch(launch.inputs, part_of(runs, part), launch.n_runs),
                    step, part_of(origins, part), size, direction,
                    Lane(
                        part_of(lane.state, part), part_of(lane.parameters, part),
                        part_of(lane.counters, part), lane.dt, lane.accept_step,
                        Proposed(
                            lane.proposed.state, part_of(lane.proposed.error, part),
                            part_of(lane.proposed.counters, part),
                        ),
                        lane.observables, lane.proposed_observables,
                        lane.drivers, lane.proposed_drivers, lane.passed_stops,
                        lane.observable_drivers,
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
    time = backend.device(time_of)
    alloc_proposed = loop.proposed_state_allocator(part_context)

    def step_part(memory, launch, taken, origin, size, direction, lane):
        inputs, runs, n_runs = launch
        state, counters = lane.state, lane.counters
        elapsed = origin[0] + as_real(counters[0] + taken, origin[0]) * size
        t = time(inputs, direction, elapsed)
        proposed_state = alloc_proposed(memory, None)
        proposed = Proposed(proposed_state, lane.proposed.error, lane.proposed.counters)
        step(
            memory, Launch(inputs, runs[0], n_runs), t, size * direction, state, lane.parameters,
            proposed,
        )  # fmt: skip
        for i in range(n):
            state[i] = proposed_state[i]

    return backend.device(step_part)
