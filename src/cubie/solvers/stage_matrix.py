"""Changes of Newton's method by elimination in the matrix of all stages, each with its Jacobian.

Stages may lie so far apart that the Jacobian of one is many orders larger than that of another.
What is computed with one matrix, or from products of the whole, is then lost in rounding: the
equations are written stage by stage, with rows scaled, and pivots chosen among all of them.
Jacobians are central differences, over a part of where each stage is.

Only `cubie.solvers.second_look` comes here, with few unknowns; with more it goes to
`cubie.solvers.stage_jacobians`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from cubie.backend import absolute, is_finite, maximum, select
from cubie.factory import BuildContext
from cubie.numerics.error_norm import build_scale
from cubie.solvers.convergence import build_tolerated
from cubie.solvers.newton_contract import CoupledStages, SeparateStages
from cubie.solvers.newton_parts import NewtonParts


def register_buffers(newton: NewtonParts, enabled: bool) -> None:
    """Register the matrix and what is solved for; access is rare."""
    size = newton.blocks.n_unknowns
    sizes = {
        "whole_matrix": size * size,
        "whole_change": size,
        "whole_tolerances": newton.n_states,
    }
    for name, elements in sizes.items():
        newton.register_buffer(
            name, elements, phases=(("evaluate", "correct"),), enabled=enabled, access_weight=1.0
        )


def _build_separate(newton: NewtonParts, context: BuildContext) -> SeparateStages:
    rhs, add_mass = newton.child_functions(context, "system"), newton.add_mass(context)
    equations = cast(CoupledStages, newton.equations)
    scale = build_scale(context.backend, newton.n_states, newton.per_component)
    return equations.build_separate(context, rhs, add_mass, scale)


def build_separate_residual(newton: NewtonParts, context: BuildContext) -> Callable:
    """Return ``evaluate(memory, launch, stage, residual)``: stage by stage."""
    form = _build_separate(newton, context).residual
    take_argument, enter = newton.build_argument(context), context.phase("evaluate")
    alloc_temp = newton.temp_allocator(context)

    def evaluate(memory, launch, stage, residual):
        enter(memory)
        temp = alloc_temp(memory, None)
        form(launch, stage, take_argument(memory, residual, temp), temp, residual)

    return evaluate


def build_whole_change(newton: NewtonParts, context: BuildContext) -> Callable:
    """Return a function as that of `NewtonParts.build_change`, of better changes."""
    backend, n, size = context.backend, newton.n_states, newton.blocks.n_unknowns
    separate = _build_separate(newton, context)
    form_residual, form_jacobians, add_columns, back = separate
    tolerated = build_tolerated(newton, backend)
    eliminate = backend.one_copy(_build_eliminate(backend, n, size))
    take_argument = newton.build_argument(context)
    alloc_temp = newton.temp_allocator(context)
    alloc_matrix = context.allocator("whole_matrix")
    alloc_right = context.allocator("whole_change")
    alloc_tolerances = context.allocator("whole_tolerances")
    enter = context.phase("evaluate")
    zero, one = backend.constant(0.0), backend.constant(1.0)

    def change(memory, launch, stage, matrix, residual, delta, count, active):
        enter(memory)
        temp = alloc_temp(memory, None)
        argument = take_argument(memory, residual, temp)
        entries, right = alloc_matrix(memory, None), alloc_right(memory, None)
        tolerances = alloc_tolerances(memory, None)
        form_residual(launch, stage, argument, temp, right)
        for place in range(size * size):
            entries[place] = stage.h * zero
        form_jacobians(launch, stage, argument, temp, entries)
        for column in range(n):
            for k in range(n):
                argument[k] = stage.h * zero
            argument[column] = stage.h * zero + one
            add_columns(matrix.shift, argument, column, entries)
        for k in range(n):
            tolerances[k] = tolerated(launch, stage, k)
        eliminate(entries, right, tolerances)
        back(right, delta)
        usable = stage.h == stage.h
        for k in range(size):
            usable = usable & is_finite(delta[k])
        return usable

    return backend.device(change)


def _build_eliminate(backend, n: int, size: int) -> Callable:
    """Return ``eliminate(matrix, right, tolerances)``: solve in place, columns after columns.

    Lanes choose pivots of their own: rows are exchanged until the largest one is in its place.
    """
    zero, one = backend.constant(0.0), backend.constant(1.0)

    def eliminate(matrix, right, tolerances):
        for row in range(size):
            largest = right[row] * zero
            for column in range(size):
                part = absolute(matrix[column * size + row]) * tolerances[column % n]
                largest = maximum(largest, part)
            factor = one / select(largest > zero, largest, one)
            right[row] = right[row] * factor
            for column in range(size):
                place = column * size + row
                matrix[place] = matrix[place] * tolerances[column % n] * factor
        for k in range(size):
            for row in range(k + 1, size):
                swap = absolute(matrix[k * size + row]) > absolute(matrix[k * size + k])
                for column in range(k, size):
                    first, second = matrix[column * size + k], matrix[column * size + row]
                    matrix[column * size + k] = select(swap, second, first)
                    matrix[column * size + row] = select(swap, first, second)
                first, second = right[k], right[row]
                right[k] = select(swap, second, first)
                right[row] = select(swap, first, second)
            inverse = one / matrix[k * size + k]
            for row in range(k + 1, size):
                part = matrix[k * size + row] * inverse
                for column in range(k + 1, size):
                    place = column * size
                    matrix[place + row] = matrix[place + row] - part * matrix[place + k]
                right[row] = right[row] - part * right[k]
        for step in range(size):
            k = size - 1 - step
            right[k] = right[k] / matrix[k * size + k]
            for row in range(k):
                right[row] = right[row] - matrix[k * size + row] * right[k]
        for k in range(size):
            right[k] = right[k] * tolerances[k % n]

    return eliminate
