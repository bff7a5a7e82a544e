"""Whether what is left of a stage's equations is no more than its unknowns may be off by.

A change that is small, or no longer shrinks, says that equations are solved only where the linear
system that it solves is the right one, and is solved well. The residual says it by itself: within
reach of a solution it is at most what changes of all unknowns by their tolerances, and by rounding,
make of it. How much that is comes from changing each of them. Where the residual is larger there
is no solution so near, and where it is not, no other numbers of this precision solve the equations
much better (a componentwise backward error: Higham, Accuracy and Stability of Numerical
Algorithms, 7.1).

Only `cubie.solvers.second_look` comes here: one test takes as many residuals as there are unknowns.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cubie.backend import absolute, is_finite, select
from cubie.factory import BuildContext
from cubie.numerics.error_norm import build_scale, build_size
from cubie.solvers.convergence import build_typical
from cubie.solvers.newton_parts import NewtonParts
from cubie.solvers.stage_matrix import build_separate_residual

# Units of rounding, of all that is added up to a state, that a right-hand side may have seen.
ROUNDING = 8.0
# Newton's tolerance is one of a mean square: single components may be further off.
LARGEST_PART = 3.0


def register_buffers(newton: NewtonParts) -> None:
    """Register the residual that is tested and its bound; access is rare."""
    for name in ("residual_left", "residual_bound"):
        newton.register_buffer(
            name,
            newton.blocks.n_unknowns,
            phases=("evaluate",),
            enabled=newton.persists,
            access_weight=1.0,
        )


def build_residual_test(newton: NewtonParts, context: BuildContext) -> Callable:
    """Return ``holds(memory, launch, stage, residual, point, near)``: the mask of solved equations.

    Lanes of `near` may be as far from a solution as Newton's tolerance, others as rounding.
    `residual` (N,) and `point` (n,) are scratch.
    """
    backend, n, size = context.backend, newton.n_states, newton.blocks.n_unknowns
    evaluate = _build_evaluate(newton, context)
    place = backend.device(newton.equations.build_place(context))
    reach = backend.device(_build_reach(newton, context))
    alloc_left = context.allocator("residual_left")
    alloc_bound = context.allocator("residual_bound")
    zero = backend.constant(0.0)

    def holds(memory, launch, stage, residual, point, near):
        left, bound = alloc_left(memory, None), alloc_bound(memory, None)
        increment = stage.increment
        # What earlier stages add to a state may be far larger than it, and than the increment.
        place(stage, point)
        evaluate(memory, launch, stage, residual)
        for k in range(size):
            left[k] = residual[k]
            bound[k] = stage.h * zero
        for k in range(size):
            before = increment[k]
            increment[k] = before + reach(launch, stage, point, k % n, near)
            evaluate(memory, launch, stage, residual)
            increment[k] = before
            for row in range(size):
                effect = absolute(residual[row] - left[row])
                bound[row] = bound[row] + select(is_finite(effect), effect, zero)
        solved = stage.h == stage.h
        for row in range(size):
            solved = solved & (absolute(left[row]) <= bound[row])
        return solved

    return backend.device(holds)


def _build_evaluate(newton: NewtonParts, context: BuildContext) -> Callable:
    """Return what stores the residual, of coupled stages each by itself where that can be had."""
    backend = context.backend
    if newton.has_stage_matrix:
        return backend.one_copy(build_separate_residual(newton, context))
    together = backend.one_copy(newton.build_residual(context))

    def evaluate(memory, launch, stage, residual):
        together(memory, stage, residual)

    return backend.device(evaluate)


def _build_reach(newton: NewtonParts, context: BuildContext) -> Callable:
    """Return ``reach(launch, stage, point, i, near)``: what unknowns of state i may be off by."""
    backend, n = context.backend, newton.n_states
    sections = newton.blocks.n_unknowns // n
    scale = build_scale(backend, n, newton.per_component)
    typical, size_of = build_typical(newton, backend), build_size(backend, newton.per_component)
    tolerance = backend.constant(LARGEST_PART * newton.settings.newton_tolerance)
    rounding = backend.constant(float(ROUNDING * np.finfo(backend.dtype).eps))
    zero = backend.constant(0.0)

    def reach(launch, stage, point, i, near):
        state, increment = stage.state, stage.increment
        reference = typical(state, increment, i)
        value = absolute(size_of(state, i)) + absolute(size_of(point, i))
        for section in range(sections):
            value = value + absolute(size_of(increment, section * n + i))
        tolerated = tolerance * scale(launch, i, reference, reference)
        return rounding * value + select(near, tolerated, zero)

    return reach
