"""Newton's method for equations that must be solved: no smaller step will be tried.

It starts as any: with the matrix of the step's start. In lanes where the changes do not shrink, or
not fast enough, it starts again from the state, and rebuilds the matrix at every iterate. At first
1 / h in the matrix is larger than it is, less and less so: each iteration is then an implicit step
of growing size of ``M z' = residual(z)``, which leads from the state to a solution where Newton's
own path would jump about (pseudo-transient continuation; Kelley & Keyes, SIAM J. Numer. Anal. 35
(1998) 508-523). Once 1 / h is what it is, a change that is not smaller than the one before halves
the part that is taken of the next. Where that leads nowhere the damped changes begin again from
where the iteration is. Steps that are far too long may have several solutions, and none that is
continuous with the state: what is found solves the equations of the step, as a step of that size
asks for, and says nothing of how good the step is. Where stages are coupled the matrix is that of
all their Jacobians, see `cubie.solvers.stage_jacobians`.

All lanes of a group rebuild when one does, each where its own matrix is to be: what a lane gets
does not depend on its neighbours, which find the matrix of their step's start after it. A lane
that was looked at again is so in all later stages of its step. A matrix may be so much too large
that only parts of the changes are left, which are small and shrink: that it solves some equations
of a step is what it is trusted by with the next ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from cubie.backend import (
    absolute,
    any_lane,
    as_real,
    is_finite,
    maximum,
    minimum,
    select,
    square_root,
)
from cubie.factory import BuildContext
from cubie.numerics.error_norm import build_scale, states_in
from cubie.solvers.contract import Matrix
from cubie.solvers.convergence import build_largest, build_typical, rounding_of
from cubie.solvers.newton_parts import NewtonParts
from cubie.solvers.residual_test import build_residual_test
from cubie.solvers.stage_jacobians import build_stage_change
from cubie.solvers.stage_matrix import build_whole_change

# By how much 1 / h in the matrix is enlarged at first, how that shrinks, and where it ends.
DAMPING, DAMPING_FACTOR, LEAST_DAMPING = 3.0, 0.7, 0.05
# Where it begins again it is larger by so much for every iteration before.
MORE_DAMPING = 0.005
# A part of a change that is taken grows so much after one that shrinks.
GROWTH = 1.2
LEAST_PACE = 0.3
# Iterations of a second look: twelve are damped, and some equations converge slowly.
MOST_ITERATIONS = 600
# No change of rounding is larger than so many tolerances, and than this part of its unknown: where
# states cancel that have blown up, a residual may be rounding, and say nothing of the others.
MOST_STILL, PART_STILL = 100.0, 0.01
# No rate of convergence is known: larger than any change is small.
UNKNOWN = 1e30


class Judged(NamedTuple):
    """What is thought of a change; values of lanes."""

    size: Any
    shrinks: Any  # it is smaller than the one before
    eta: Any  # how much of it is left as error
    near: Any  # by the rate at which changes shrink hardly anything is left
    still: Any  # it no longer shrinks, or is nothing: rounding, or a matrix that leads nowhere


def register_buffers(newton: NewtonParts) -> None:
    """Register where the matrix of a second look is taken."""
    newton.register_buffer(
        "newton_point",
        newton.n_states,
        # Without factors all products are taken there; the test of a residual writes to it.
        phases=(("look", "correct" if newton.iterative else "evaluate"),),
        enabled=newton.persists,
        access_weight=2.0,
    )


def build_second_look(newton: NewtonParts, context: BuildContext) -> Callable:
    """Return what solves the equations in lanes where they are not; see `NewtonParts`.

    It returns the mask of the lanes that are solved, and all iterations taken, of both kinds.
    """
    backend = context.backend
    iterate = backend.one_copy(_build_iterate(newton, context), iterated=True)
    alloc_point, zero = context.allocator("newton_point"), backend.constant(0.0)

    def again(memory, launch, matrix, stage, solved, iterations, linear):
        # Lanes between two runs take steps of no size.
        unsolved = ~solved & (stage.h != zero)
        point = alloc_point(memory, None)
        if any_lane(unsolved):
            found, more_iterations, more_linear = iterate(
                memory, launch, matrix, stage, point, unsolved
            )
            solved = solved | found
            iterations, linear = iterations + more_iterations, linear + more_linear
        return solved, iterations, linear

    return backend.device(again)


def _build_iterate(newton: NewtonParts, context: BuildContext) -> Callable:
    """Return the iteration of the lanes of a mask, which holds some."""
    backend, n, size = context.backend, newton.n_states, newton.blocks.n_unknowns
    enter = context.phase("look")
    place = backend.device(newton.equations.build_place(context))
    prepare, change = _build_change(newton, context)
    holds = build_residual_test(newton, context)
    judge, move = _build_judge(newton, context), _build_move(newton, context)
    clear, taken = newton.build_counting(context)
    alloc_residual, alloc_delta, alloc_count = newton.allocators(context)
    constant = backend.constant
    zero, one, unknown = constant(0.0), constant(1.0), constant(UNKNOWN)
    strongest = constant(DAMPING)
    most = max(MOST_ITERATIONS, newton.settings.max_newton_iterations)

    def iterate(memory, launch, matrix, stage, point, unsolved):
        # Buffers of its own where they are local: those of the first look stay in registers.
        residual = alloc_residual(memory, None)
        delta = alloc_delta(memory, residual)
        count = alloc_count(memory, None)
        h, shift, state, increment = stage.h, stage.shift, stage.state, stage.increment
        enter(memory)
        clear(h, count)
        for i in range(size):
            increment[i] = select(unsolved, zero, increment[i])
        active, solved, iterations = unsolved, h != h, select(unsolved, 0, 0)
        previous, pace = h * zero, h * zero + one
        damping, eta = h * zero + strongest, h * zero + unknown
        while any_lane(active):
            enter(memory)
            t_point = place(stage, point)
            for i in range(n):
                point[i] = select(active, point[i], state[i])
            t_point = select(active, t_point, matrix.t)
            damped = select(active, shift * (one + damping), shift)
            there = Matrix(t_point, damped, point, stage.parameters)
            regular = prepare(memory, launch, there)
            usable = change(memory, launch, stage, there, residual, delta, count, active)
            usable = active & usable & regular
            judged = judge(launch, stage, delta, previous, eta, iterations, damping, usable)
            pace, damping = move(
                increment, delta, judged, iterations, active, usable, pace, damping
            )
            iterations = select(active, iterations + 1, iterations)
            tested = judged.near | judged.still
            if any_lane(tested):
                solved = solved | (
                    tested & holds(memory, launch, stage, residual, point, judged.near)
                )
            previous, eta = judged.size, judged.eta
            active = active & ~solved & (iterations < most)
        return solved, iterations, taken(h, count)

    return iterate


def _build_change(newton: NewtonParts, context: BuildContext) -> tuple[Callable, Callable]:
    """Return what prepares a matrix, and what finds a change."""

    def nothing(memory, launch, matrix):
        return matrix.t == matrix.t

    if newton.has_stage_matrix:
        return context.backend.device(nothing), build_whole_change(newton, context)
    build = build_stage_change if newton.has_stage_jacobians else NewtonParts.build_change
    return newton.build_matrix(context), build(newton, context)


def _build_judge(newton: NewtonParts, context: BuildContext) -> Callable:
    """Return what judges a change: see `Judged`."""
    backend, n = context.backend, newton.n_states
    sections = newton.blocks.n_unknowns // n
    scale = build_scale(backend, n, newton.per_component)
    n_unknowns = states_in(newton.blocks.n_unknowns, newton.per_component)
    inverse = backend.constant(1.0 / n_unknowns)
    zero, one = backend.constant(0.0), backend.constant(1.0)
    tolerance = backend.constant(newton.settings.newton_tolerance)
    rounding = backend.constant(rounding_of(newton, backend))
    typical, largest = build_typical(newton, backend), build_largest(newton, backend)
    most, part = backend.constant(MOST_STILL), backend.constant(PART_STILL)

    def judge(launch, stage, delta, previous, eta, iterations, damping, active):
        state, increment = stage.state, stage.increment
        total, rounded = state[0] * zero, active
        for i in range(n):
            value = largest(stage, i)
            reference = typical(state, increment, i)
            weight = scale(launch, i, reference, reference)
            weight = maximum(weight, rounding * value)
            for section in range(sections):
                ratio = delta[section * n + i] / weight
                total = total + ratio * ratio
                far = absolute(delta[section * n + i]) > maximum(most * weight, part * value)
                rounded = rounded & ~far
        size = square_root(total * inverse) * (one + damping)
        first = iterations == 0
        shrinks = first | (size < previous)
        measured = active & shrinks & ~first
        rate = select(measured, size, zero) / select(measured, previous, one)
        eta = select(measured, rate / (one - rate), eta)
        # A matrix that is rebuilt, or damped, makes no constant rate: a huge change and then a
        # large one say nothing. A whole change below the tolerance does.
        whole = active & (damping == zero)
        near = whole & (size <= one) & shrinks & (eta * size <= tolerance)
        still = whole & (~shrinks | (size == zero)) & ~near & rounded
        return Judged(size, shrinks, eta, near, still)

    return backend.device(judge)


def _build_move(newton: NewtonParts, context: BuildContext) -> Callable:
    """Change the increments of active lanes, and choose how much of the next change is taken."""
    backend, n_unknowns = context.backend, newton.blocks.n_unknowns
    constant = backend.constant
    zero, one, half, quarter = constant(0.0), constant(1.0), constant(0.5), constant(0.25)
    growth, factor, least = constant(GROWTH), constant(DAMPING_FACTOR), constant(LEAST_DAMPING)
    strongest, least_pace = constant(DAMPING), constant(LEAST_PACE)
    more = constant(MORE_DAMPING)

    def move(increment, delta, judged, iterations, active, usable, pace, damping):
        size, shrinks, _, near, _ = judged
        adapted = select(shrinks, minimum(one, growth * pace), half * pace)
        pace = select((damping == zero) & (iterations > 0), adapted, pace)
        sound = is_finite(size) & usable
        part = select(near, one, pace)
        # Where hardly anything is taken of the changes they point nowhere.
        stuck = (pace < least_pace) & ~near
        for i in range(n_unknowns):
            # Where nothing can be computed it is nearer to the state that it can.
            moved = select(sound, increment[i] + part * delta[i], quarter * increment[i])
            increment[i] = select(active, moved, increment[i])
        lower = select(damping * factor < least, zero, damping * factor)
        # On by damped changes.
        # Stronger each time: the same way again would lead round in a circle.
        again = strongest * (one + more * as_real(iterations, size))
        damping = select(sound & ~stuck, lower, maximum(damping, again))
        return select(stuck, one, pace), damping

    return backend.device(move)
