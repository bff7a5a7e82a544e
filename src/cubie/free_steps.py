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
from typing import TYPE_CHECKING

import attrs
import numpy as np

from cubie.algorithms import StepAlgorithm
from cubie.backend import absolute, all_lanes, maximum
from cubie.factory import BuildContext
from cubie.finiteness import build_all_finite
from cubie.saving import SaveMode, build_saving
from cubie.tableaus import Tableau

if TYPE_CHECKING:
    from cubie.loop import IVPLoop

# Steps between two looks at the result, at most; a power of two. Half as many are tried where
# a stop is too near, or a result was not finite.
LONGEST = 64
# Steps left before a stop, where a step may be stretched or cut to land on it, and rounding
# errors of the comparison count.
MARGIN = 2


def may_take_free_steps(
    algorithm: type[StepAlgorithm], tableau: Tableau, adaptive: bool, save_mode: SaveMode
) -> bool:
    """Tell whether a loop of such parts takes steps without judging them, in groups of lanes."""
    judged = adaptive or save_mode is SaveMode.STEPS
    return algorithm.is_memoryless(tableau) and not judged


def takes_free_steps(loop: IVPLoop, width: int) -> bool:
    """Tell whether a loop takes steps without judging them, in groups of `width` lanes."""
    algorithm, adaptive = loop.algorithm, loop.controller.adaptive
    return width > 1 and may_take_free_steps(
        type(algorithm), algorithm.tableau, adaptive, loop.save_mode
    )


def build_free_steps(loop: IVPLoop, context: BuildContext) -> Callable:
    """Return the device function that takes steps for as long as nothing can happen.

    ``free_steps(shared, persistent, run, n_runs, inputs, t, t_end, direction, saved, state,
    parameters, error, counters, proposed_counters) -> t``. Every lane must be in the middle of
    a run, or beyond the last one. Afterwards the states, counters and times are those after as
    many accepted attempts.
    """
    backend, n = context.backend, loop.system.n_states
    if not takes_free_steps(loop, backend.width):

        def none(
            shared, persistent, run, n_runs, inputs, t, t_end, direction, saved, state,
            parameters, error, counters, proposed_counters,
        ):  # fmt: skip
            return t

        return backend.device(none)

    advance, allowed = _build_advance(loop, context), _build_allowed(context)
    next_stop = build_saving(loop.save_mode, backend, n).next_stop
    keep = backend.parts().keep
    all_finite = build_all_finite(backend, n)
    longest = LONGEST

    def free_steps(
        shared, persistent, run, n_runs, inputs, t, t_end, direction, saved, state,
        parameters, error, counters, proposed_counters,
    ):  # fmt: skip
        beyond = run >= n_runs
        stop = next_stop(inputs, saved, t_end)
        h = min(inputs.step_limits[0], inputs.step_limits[1])
        runs, times = keep(run), keep(t)
        block = longest
        while block > 0:
            if not all_lanes(allowed(inputs, t, stop, h, direction, counters, block) | beyond):
                block = block // 2
                continue
            before = keep(state)
            advance(
                shared, persistent, runs, n_runs, inputs, times, block, state, parameters,
                error, proposed_counters,
            )  # fmt: skip
            if all_lanes(all_finite(state) | beyond):
                t = times[0]
                counters[0] = counters[0] + block
            else:
                for i in range(n):
                    state[i] = before[i]
                times[0] = t
                block = block // 2
        return t

    return backend.device(free_steps)


def _build_allowed(context: BuildContext) -> Callable:
    """Tell in which lanes so many steps reach neither a stop nor the limit of steps."""
    backend, margin = context.backend, MARGIN
    spacing = backend.constant(np.finfo(backend.dtype).eps)

    def allowed(inputs, t, stop, h, direction, counters, steps):
        # Rounding moves each new time by at most half the spacing of numbers there.
        longest = h + spacing * maximum(absolute(t), absolute(stop))
        far = (stop - t) * direction > longest * (steps + margin)
        return far & (counters[0] + counters[1] + steps < inputs.limits[0])

    return backend.device(allowed)


def _build_advance(loop: IVPLoop, context: BuildContext) -> Callable:
    """Return the function that takes `steps` steps in all lanes, part by part."""
    parts = context.backend.parts()
    count, following, part_of = parts.count, parts.following, parts.of
    step_part = _build_step_part(loop, context)

    def advance(
        shared, persistent, runs, n_runs, inputs, times, steps, state, parameters, error,
        proposed_counters,
    ):  # fmt: skip
        h = min(inputs.step_limits[0], inputs.step_limits[1])
        h = -h if inputs.time_span[1] < inputs.time_span[0] else h
        for _ in range(steps):
            part = 0
            while part < count():
                step_part(
                    part_of(shared, part), part_of(persistent, part), inputs,
                    part_of(runs, part), n_runs, part_of(times, part), h, part_of(state, part),
                    part_of(parameters, part), part_of(error, part),
                    part_of(proposed_counters, part),
                )  # fmt: skip
                part = following(part)

    return context.backend.device(advance)


def _build_step_part(loop: IVPLoop, context: BuildContext) -> Callable:
    """Return the function that takes one step in a part of the lanes."""
    n = loop.system.n_states
    backend = context.backend.part_backend()
    part_context = attrs.evolve(context, backend=backend)
    step = loop.child_functions(part_context, "algorithm").step
    alloc_proposed = loop.proposed_state_allocator(part_context)

    def step_part(
        shared, persistent, inputs, run, n_runs, times, h, state, parameters, error,
        proposed_counters,
    ):  # fmt: skip
        t = times[0]
        proposed_state = alloc_proposed(shared, persistent, None)
        step(
            shared, persistent, inputs, run[0], n_runs, t, h, state, parameters,
            proposed_state, error, proposed_counters,
        )  # fmt: skip
        for i in range(n):
            state[i] = proposed_state[i]
        times[0] = t + h

    return backend.device(step_part)
