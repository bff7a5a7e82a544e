"""Newton's method for equations that must be solved: no smaller step will be tried.

It starts as any: with the matrix of the step's start. In lanes where the changes do not shrink, or
not fast enough, it starts again from the state, and rebuilds the matrix at every iterate. At first
1 / h in the matrix is larger than it is, less and less so: each iteration is then an implicit step
of growing size of ``M z' = residual(z)``, which leads from the state to a solution where Newton's
own path would jump about (pseudo-transient continuation; Kelley & Keyes, SIAM J. Numer. Anal. 35
(1998) 508-523). Once 1 / h is what it is, a change that is not smaller than the one before halves
the part that is taken of the next.

All lanes of a group rebuild when one does, each where its own matrix is to be: what a lane gets
does not depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from cubie.backend import absolute, any_lane, is_finite, maximum, minimum, select, square_root
from cubie.backend.power import build_exp2, build_log2
from cubie.error_norm import build_scale
from cubie.factory import BuildContext

# Exponent by which an old rate of convergence loses its weight (H&W II, IV.8, eq. 8.10).
FADING = 0.8

if TYPE_CHECKING:
    from cubie.solvers.newton import NewtonSolver

# What `newton_matrix` says.
NONE, AT_START, FOLLOWS, DIVERGED, SINGULAR = range(5)

# By how much 1 / h in the matrix is enlarged at first, how that shrinks, and where it ends.
DAMPING, DAMPING_FACTOR, LEAST_DAMPING = 3.0, 0.6, 0.05
# A part of a change that is taken grows so much after one that shrinks.
GROWTH = 1.2
# Iterations of a second look: ten are damped, and some equations converge slowly.
MOST_ITERATIONS = 80
# No rate of convergence is known: larger than any change is small.
UNKNOWN = 1e30
# Changes that do not shrink any more are rounding below so many units of it.
NOISE = 100.0


def build_prepare(newton: NewtonSolver, context: BuildContext) -> Callable:
    """Return `prepare`, which leaves building to the first iteration of the step."""
    enter, alloc_matrix = context.phase("prepare"), context.allocator("newton_matrix")
    none = NONE

    def prepare(shared, persistent, t, shift, state, parameters):
        enter(shared, persistent)
        matrix = alloc_matrix(shared, persistent, None)
        regular = shift == shift
        matrix[0] = select(regular, none, none)
        return regular

    return prepare


def build_regular(newton: NewtonSolver, context: BuildContext) -> Callable:
    """Return `regular`: no matrix of the step was singular where a run gave up."""
    enter, alloc_matrix = context.phase("outcome"), context.allocator("newton_matrix")
    singular = SINGULAR

    def regular(shared, persistent, prepared):
        enter(shared, persistent)
        matrix = alloc_matrix(shared, persistent, None)
        return matrix[0] != singular

    return regular


def build_solve(newton: NewtonSolver, context: BuildContext) -> Callable:
    """Return `solve`; see `cubie.solvers.newton.NewtonFunctions`."""
    backend = context.backend
    look, change = _build_look(newton, context), newton.build_change(context)
    judge, move = _build_judge(newton, context), _build_move(newton, context)
    clear, taken = newton.build_counting(context)
    alloc_delta, alloc_residual = context.allocator("delta"), context.allocator("residual")
    alloc_count, alloc_point = (
        context.allocator("krylov_iters_local"),
        context.allocator("newton_point"),
    )
    alloc_matrix = context.allocator("newton_matrix")
    exp2, log2 = build_exp2(backend), build_log2(backend)
    fading, tiny = backend.constant(FADING), backend.constant(1e-16)
    zero, one, unknown = backend.constant(0.0), backend.constant(1.0), backend.constant(UNKNOWN)
    strongest = backend.constant(DAMPING)
    follows, diverged, singular = FOLLOWS, DIVERGED, SINGULAR
    limit = newton.settings.max_newton_iterations
    most = max(MOST_ITERATIONS, limit)

    def solve(
        shared, persistent, inputs, run, n_runs, t, t_stage, h, shift, state, parameters,
        base, increment, eta,
    ):  # fmt: skip
        residual = alloc_residual(shared, persistent, None)
        delta = alloc_delta(shared, persistent, residual)
        count = alloc_count(shared, persistent, None)
        point = alloc_point(shared, persistent, None)
        matrix = alloc_matrix(shared, persistent, None)
        clear(t, count)
        eta = exp2(fading * log2(maximum(eta, tiny)))
        previous, damping, pace = h * zero, h * zero, h * zero + one
        # Lanes between two runs take steps of no size.
        active = (h != zero) & (matrix[0] < diverged)
        solved, regular = h != h, h == h
        follow = active & (matrix[0] == follows)
        damping = select(follow, damping + strongest, damping)
        eta = select(follow, unknown, eta)
        iterations = select(active, 0, 0)
        since = select(active, 0, 0)
        while any_lane(active):
            regular, t_point = look(
                shared, persistent, t, t_stage, h, shift, state, parameters, base, increment,
                point, matrix, damping, follow, active, regular,
            )  # fmt: skip
            usable = change(
                shared, persistent, t_stage, h, shift, state, parameters, base, increment,
                t_point, shift * (one + damping), point, residual, delta, count, active,
            )  # fmt: skip
            size, shrinks, eta, converged = judge(
                inputs, run, n_runs, state, increment, delta, previous, eta, since, damping,
                follow, active & usable & regular,
            )  # fmt: skip
            plainly = active & ~follow
            goes_on = plainly & usable & regular & shrinks & ~converged & (since + 1 < limit)
            restarts = plainly & ~goes_on & ~converged
            pace, damping = move(
                increment, delta, size, shrinks, since, converged, goes_on, restarts,
                follow & active, regular, pace, damping,
            )  # fmt: skip
            iterations = select(active, iterations + 1, iterations)
            solved = solved | converged
            active = (active & ~converged) & (restarts | goes_on | (since + 1 < most))
            since = select(restarts, 0, since + 1)
            eta = select(restarts, unknown, eta)
            previous = select(active, size, previous)
            follow = follow | restarts
            matrix[0] = select(restarts, follows, matrix[0])
        matrix[0] = select(
            solved | (matrix[0] != follows), matrix[0], select(regular, diverged, singular)
        )
        return solved, select(follow, one + h * zero, eta), iterations, taken(t, count)

    return solve


def _build_look(newton: NewtonSolver, context: BuildContext) -> Callable:
    """Build the matrix where it is none yet, or follows the iterates."""
    backend, n = context.backend, newton.n_states
    enter = context.phase("look")
    place = backend.device(newton.equations.build_place(context))
    prepare = newton.child_functions(context, "linear_solver").prepare
    one = backend.constant(1.0)
    none, at_start = NONE, AT_START
    # Without factors every product is taken there.
    needs_point = newton.iterative

    def look(
        shared, persistent, t, t_stage, h, shift, state, parameters, base, increment,
        point, matrix, damping, follow, active, regular,
    ):  # fmt: skip
        stale = any_lane(active & (matrix[0] != at_start))
        t_point = t
        if needs_point or stale:
            enter(shared, persistent)
            t_point = place(t_stage, h, state, base, increment, point)
            for i in range(n):
                point[i] = select(follow, point[i], state[i])
            t_point = select(follow, t_point, t)
        if stale:
            ok = prepare(shared, persistent, t_point, shift * (one + damping), point, parameters)
            regular = select(active, ok, regular)
            matrix[0] = select(matrix[0] == none, at_start, matrix[0])
        return regular, t_point

    return backend.device(look)


def _build_judge(newton: NewtonSolver, context: BuildContext) -> Callable:
    """Return the change's size, whether it shrinks, the rate's estimate, and who is done."""
    backend, n = context.backend, newton.n_states
    sections = newton.blocks.n_unknowns // n
    scale = build_scale(backend, n, newton.per_component)
    inverse = backend.constant(1.0 / newton.blocks.n_unknowns)
    zero, one = backend.constant(0.0), backend.constant(1.0)
    tolerance = backend.constant(newton.settings.newton_tolerance)
    noise = backend.constant((NOISE * np.finfo(backend.dtype).eps) ** 2)
    rounding = backend.constant(newton.rounding(backend.dtype))
    trusted = newton.build_trusted(backend)

    def judge(
        inputs, run, n_runs, state, increment, delta, previous, eta, since, damping, follow,
        active,
    ):  # fmt: skip
        total, largest = state[0] * zero, state[0] * zero
        for i in range(n):
            weight = scale(inputs.tolerances, run, n_runs, i, state[i], state[i])
            value = absolute(state[i])
            for section in range(sections):
                value = maximum(value, absolute(increment[section * n + i]))
            weight = one / maximum(weight, rounding * value)
            for section in range(sections):
                ratio = delta[section * n + i] * weight
                total = total + ratio * ratio
            largest = maximum(largest, value * weight)
        size = square_root(total * inverse) * (one + damping)
        first = since == 0
        shrinks = first | (size < previous)
        measured = active & shrinks & ~first
        rate = select(measured, size, zero) / select(measured, previous, one)
        eta = select(measured, trusted(rate / (one - rate), since), eta)
        converged = active & ((shrinks & (eta * size <= tolerance)) | (size == zero))
        # Near a solution that rounding hides, changes are small, and no longer shrink.
        still = follow & ~shrinks & (damping == zero) & (size * size <= noise * largest * largest)
        return size, shrinks, eta, converged | (active & still)

    return backend.device(judge)


def _build_move(newton: NewtonSolver, context: BuildContext) -> Callable:
    """Change the increments, and choose how much of the next change is taken."""
    backend, size = context.backend, newton.blocks.n_unknowns
    constant = backend.constant
    zero, one, half, quarter = constant(0.0), constant(1.0), constant(0.5), constant(0.25)
    growth, factor, least = constant(GROWTH), constant(DAMPING_FACTOR), constant(LEAST_DAMPING)
    strongest = constant(DAMPING)

    def move(
        increment, delta, change, shrinks, since, converged, goes_on, restarts, follows, regular,
        pace, damping,
    ):  # fmt: skip
        settled = follows & (damping == zero) & (since > 0)
        adapted = select(shrinks, minimum(one, growth * pace), half * pace)
        pace = select(settled, adapted, pace)
        # Where nothing can be computed it is nearer to the state that it can.
        sound = is_finite(change) & regular
        moves = converged | goes_on | (follows & sound)
        lost = follows & ~sound
        part = select(converged, one, pace)
        shrunk = select(restarts, zero, select(lost, quarter, one))
        for i in range(size):
            step = select(moves, part * delta[i], zero)
            increment[i] = select(restarts, zero, shrunk * increment[i] + step)
        lower = select(damping * factor < least, zero, damping * factor)
        damping = select(follows, lower, damping)
        damping = select(lost, maximum(damping, strongest), damping)
        damping = select(restarts, strongest, damping)
        return pace, damping

    return backend.device(move)
