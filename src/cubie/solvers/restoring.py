"""Consistent states behind a break, where an input jumps and algebraic variables must follow.

Across a break the state of M y' = f(t, y) keeps M y, while the equations without a derivative, the
z f = 0 with z M = 0, have another solution. Newton's method finds it, as codes for such systems do
at a start (Brown, Hindmarsh & Petzold, SIAM J. Sci. Comput. 19 (1998) 1495-1512). Its changes are

    (shift M - J) d = Q f(t, y),    y := y + P d,

with P and Q the projectors of `cubie.systems.null_space`: M y stays to rounding what it is, and
only a solution brings d to zero, whatever the shift. For index 1 and a large shift d is the change
of Newton's method for the algebraic equations alone, so that it converges as fast. The linear
solver is that of steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from cubie.backend import (
    Backend,
    absolute,
    any_lane,
    is_finite,
    maximum,
    minimum,
    select,
    square_root,
)
from cubie.factory import BuildContext
from cubie.numerics.error_norm import build_scale, build_size
from cubie.solvers.contract import Matrix
from cubie.systems.derivatives.choice import derivatives_of
from cubie.systems.mass import build_mass_product
from cubie.systems.null_space import may_have_index_one, null_projectors

# The shift is at first so many times 1 / h, and grows with every iteration, to 1 / h over the
# rounding unit to a power. Where it is too large to solve with, it goes back.
FIRST, GROWTH, LARGEST = 1e3, 100.0, 1.5
# Where null vectors mix states, as those of a capacitor between two nodes do, what the shift
# multiplies cancels, and J must not drown in it.
FIRST_OF_MIXED, GROWTH_OF_MIXED, LARGEST_OF_MIXED = 10.0, 10.0, 0.5
# Iterative solvers stop where the shift makes a residual small. Right-hand sides are made larger
# for them by one over the rounding unit to this power: one that the shift hides is seen.
MAGNIFIED = 0.5
# A change of so many tolerances is the last one.
TOLERANCE = 0.01
# Errors of so many units of rounding are not worth an iteration.
ROUNDING = 10.0
# Exponentials, as those of diodes, take one for each unit that their argument is off.
MOST_ITERATIONS = 600
# Linear equations that were not solved count for so many.
UNSOLVED = 20
# A change that turns back, and is not this much smaller than the one before, says that too much was
# taken of that: half of it is taken back. So it is where nothing can be computed.
TURNING, LEAST_PACE = 0.5, 2.0**-20
# After so many iterations a change below the tolerance that no longer shrinks is rounding.
PATIENCE = 4


class Buffers(NamedTuple):
    """What a state is restored in; see `register_buffers`."""

    point: Any  # (n,): the state as far as it was found
    residual: Any  # the unknowns of the linear solver
    change: Any  # (n,)
    before: Any  # (n,): the change before


def restores(system: Any) -> bool:
    """Tell whether states of a system with a singular mass matrix can be made consistent.

    Where algebraic equations surely do not determine the states without a derivative (an index
    above 1) there are hidden equations, and none that Newton's method could solve for them.
    """
    return may_have_index_one(system.mass, derivatives_of(system).pattern)


def register_buffers(owner: Any, enabled: bool, elsewhere: str) -> None:
    """Register the buffers with the owner of a linear solver; a phase `elsewhere` if not used."""
    n = owner.n_states
    during = {
        "phases": ("restore" if enabled else elsewhere,), "enabled": enabled, "access_weight": 0.01
    }  # fmt: skip
    owner.register_buffer("restored_state", n, **during)
    owner.register_buffer("restoring_residual", owner.blocks.n_unknowns, **during)
    owner.register_buffer("restoring_change", n, **during)
    owner.register_buffer("restoring_change_before", n, **during)


def build_restore(owner: Any, context: BuildContext, iterative: bool) -> Callable:
    """Return ``restore(memory, launch, t, h, state, parameters, fresh) -> found``.

    It makes `state` consistent in the lanes of the mask `fresh` where it can, which `found` tells;
    elsewhere the state stays. `h`, the signed size of a step, says how fast the system is.

    Parameters
    ----------
    owner : component
        With `n_states`, `blocks`, `per_component`, and as children a system and a linear solver.
    iterative : bool
        The linear solver iterates.
    """
    backend, n, constant = context.backend, owner.n_states, context.backend.constant
    mass = owner.children["linear_solver"].system.system.mass
    onto_algebraic, onto_null = null_projectors(mass)
    improve = _build_improve(owner, context, iterative, onto_algebraic, onto_null)
    judge, move = _build_judge(owner, backend), backend.device(_build_move(n))
    names = ("restored_state", "restoring_residual", "restoring_change", "restoring_change_before")
    alloc = [context.allocator(name) for name in names]
    alloc_point, alloc_residual, alloc_change, alloc_before = alloc
    enter = context.phase("restore")
    mixed = any(i != j for entries in (onto_algebraic, onto_null) for i, j in entries)
    change_shift, first_factor, largest_factor = _build_change_shift(backend, mixed)
    zero, one, half = constant(0.0), constant(1.0), constant(0.5)
    tolerance, least_pace = constant(TOLERANCE), constant(LEAST_PACE)
    most, patience, unsolved = MOST_ITERATIONS, PATIENCE, UNSOLVED

    def restore(memory, launch, t, h, state, parameters, fresh):
        enter(memory)
        buffers = Buffers(
            alloc_point(memory, None), alloc_residual(memory, None),
            alloc_change(memory, None), alloc_before(memory, None),
        )  # fmt: skip
        point = buffers.point
        for i in range(n):
            point[i] = state[i]
            buffers.before[i] = h * zero
        active, found, iterations = fresh, h != h, select(fresh, 0, 0)
        factor, pace, previous = h * zero + first_factor, h * zero + one, h * zero
        largest = h * zero + largest_factor
        while any_lane(active):
            enter(memory)
            matrix = Matrix(t, factor / h, point, parameters)
            regular, solved = improve(memory, launch, matrix, buffers)
            size, turns = judge(launch, state, buffers, previous)
            still = (iterations >= patience) & (size >= previous) & (size <= one)
            sound = regular & is_finite(size)
            converged = active & solved & sound & ((size <= tolerance) | still)
            back = (turns | ~sound) & ~converged
            pace = minimum(one, select(back, maximum(half * pace, least_pace), pace + pace))
            move(buffers, active, back, select(converged, one, pace))
            previous = select(back, previous, size)
            found = found | converged
            iterations = iterations + select(solved, 1, unsolved)
            active = active & ~converged & (iterations < most)
            factor, largest = change_shift(factor, largest, solved)
        for i in range(n):
            state[i] = select(found, point[i], state[i])
        return found

    return backend.one_copy(restore, iterated=True)


def _build_improve(
    owner: Any, context: BuildContext, iterative: bool, onto_algebraic, onto_null
) -> Callable:
    """Return ``improve(memory, launch, matrix, buffers) -> (regular, solved)``.

    It stores the next change, and tells in which lanes the matrix is regular, and in which of them
    the linear equations were solved.
    """
    backend, n, size = context.backend, owner.n_states, owner.blocks.n_unknowns
    rhs = owner.child_functions(context, "system")
    linear_solver = owner.child_functions(context, "linear_solver")
    prepare, solve = linear_solver.prepare, linear_solver.solve
    add_algebraic = build_mass_product(backend, n, onto_algebraic)
    add_null = build_mass_product(backend, n, onto_null)
    zero = backend.constant(0.0)
    magnified = float(np.finfo(backend.dtype).eps) ** -MAGNIFIED if iterative else 1.0
    larger, smaller = backend.constant(magnified), backend.constant(1.0 / magnified)

    def improve(memory, launch, matrix, buffers):
        _, residual, change, _ = buffers
        regular = prepare(memory, launch, matrix)
        rhs(matrix.t, matrix.y, matrix.parameters, change, 0)
        # Of several blocks of unknowns the first one will do: a complex one has the same real part.
        for i in range(size):
            residual[i] = matrix.shift * zero
        add_algebraic(larger, change, 0, residual, 0)
        solved, _ = solve(memory, launch, matrix, residual, 0, residual, 0)
        for i in range(n):
            change[i] = matrix.shift * zero
        add_null(smaller, residual, 0, change, 0)
        return regular, regular & solved

    return backend.device(improve)


def _build_judge(owner: Any, backend: Backend) -> Callable:
    """Return ``judge(launch, state, buffers, previous) -> (size, turns)`` of a change.

    Its size in tolerances, and whether it points against the one before, of the size `previous`.
    """
    n, scale = owner.n_states, build_scale(backend, owner.n_states, owner.per_component)
    size_of = build_size(backend, owner.per_component)
    rounding = backend.constant(float(ROUNDING * np.finfo(backend.dtype).eps / TOLERANCE))
    zero, one, turning = backend.constant(0.0), backend.constant(1.0), backend.constant(TURNING)

    def judge(launch, state, buffers, previous):
        point, _, change, before = buffers
        total, along = previous * zero, previous * zero
        for i in range(n):
            # Where a state was, is, or goes: a jump may begin or end at zero.
            most = maximum(absolute(size_of(point, i)), absolute(size_of(change, i)))
            most = maximum(most, absolute(size_of(state, i)))
            weight = maximum(scale(launch, i, most, most), rounding * most)
            per_weight = one / select(weight > zero, weight, one)
            ratio = change[i] * per_weight
            total = total + ratio * ratio
            along = along + ratio * (before[i] * per_weight)
        size = square_root(total)
        return size, (along < zero) & (size > turning * previous)

    return backend.device(judge)


def _build_move(n: int) -> Callable:
    """Return ``move(buffers, active, back, part)``: take a part of the change.

    In the lanes of the mask `back` the point goes back by that part of the change before, which is
    half of what was taken of it.
    """

    def move(buffers, active, back, part):
        point, _, change, before = buffers
        for i in range(n):
            moved = select(back, point[i] - part * before[i], point[i] + part * change[i])
            point[i] = select(active, moved, point[i])
            before[i] = select(back, before[i], change[i])

    return move


def _build_change_shift(backend: Backend, mixed: bool) -> tuple[Callable, Any, Any]:
    """Return ``change_shift(factor, largest, solved)``, and what both are at first.

    `factor` is the shift in units of 1 / h, `largest` the most that it may be.
    """
    first, growth, power = FIRST, GROWTH, LARGEST
    if mixed:
        first, growth, power = FIRST_OF_MIXED, GROWTH_OF_MIXED, LARGEST_OF_MIXED
    most = float(np.finfo(backend.dtype).eps) ** -power
    one, growing = backend.constant(1.0), backend.constant(growth)

    def change_shift(factor, largest, solved):
        largest = select(solved, largest, maximum(factor / growing, one))
        return minimum(growing * factor, largest), largest

    return backend.device(change_shift), backend.constant(first), backend.constant(most)
