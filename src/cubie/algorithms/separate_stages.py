"""The equations of all stages of a fully implicit method, each with one right-hand side.

``f(t + c h, y + z) - (A^-1 x M) z / h = 0``, of stage after stage. In the form that eigenvectors
take apart every equation holds the right-hand sides of all stages: where one of them is larger
than another by more than the digits of a number, that other is lost.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cubie.backend import absolute, in_turn, is_finite, select
from cubie.factory import BuildContext
from cubie.solvers.newton_contract import SeparateStages
from cubie.systems.drivers.calling import build_recall


def build_separate_stages(
    equations, context: BuildContext, rhs: Callable, add_mass: Callable, scale: Callable
) -> SeparateStages:
    """Return device functions of `CoupledEquations`; see `SeparateStages`."""
    backend, n = context.backend, equations.n_states
    transformation = equations.transformation
    to_stages, to_blocks = (
        np.array(rows) for rows in (transformation.to_stages, transformation.to_blocks)
    )
    # A^-1 times the transformation: increments of stages from those of blocks.
    inverse = to_stages @ _block_diagonal(transformation.eigenvalues)
    reach = backend.device(_build_reach(backend, scale))
    size = n * len(equations.c)
    residuals, blocks, masses, backs = [], [], [], []
    for i, c in enumerate(equations.c):
        at, recall = i * n, build_recall(backend, equations.system, i)
        total, part = _sum(backend, n, to_stages[i]), _sum(backend, n, inverse[i])
        value = backend.one_copy(_build_value(n, total, backend.constant(c), recall, rhs, reach))
        residuals.append(backend.device(_build_residual(n, at, value, part, add_mass)))
        blocks.append(backend.device(_build_block(n, size, at, value, backend)))
        backs.append(backend.device(_build_back(n, at, _sum(backend, n, to_blocks[i]))))
        for j, factor in enumerate((inverse @ to_blocks)[i]):
            each = backend.constant(float(factor))
            masses.append(backend.device(_build_mass(n, size, at, j * n, each, add_mass)))
    return SeparateStages(
        in_turn(backend, residuals, 5, backend.one_copy),
        in_turn(backend, blocks, 5, backend.one_copy),
        in_turn(backend, masses, 4, backend.one_copy),
        in_turn(backend, backs, 2),
    )


def _block_diagonal(eigenvalues) -> np.ndarray:
    """Return the real matrix that has a block for each eigenvalue."""
    size = sum(2 if value.imag else 1 for value in eigenvalues)
    matrix, at = np.zeros((size, size)), 0
    for value in eigenvalues:
        matrix[at, at] = value.real
        if value.imag:
            matrix[at : at + 2, at : at + 2] = [
                [value.real, -value.imag],
                [value.imag, value.real],
            ]
        at += 2 if value.imag else 1
    return matrix


def _sum(backend, n: int, weights) -> Callable:
    return backend.weighted_sum([(j * n, float(weight)) for j, weight in enumerate(weights)])


def _build_reach(backend, scale: Callable) -> Callable:
    """Return ``reach(launch, state, i)``: half of how far apart a central difference is taken.

    A part of the argument itself: a state may have fallen to a small part of what it was.
    """
    part = backend.constant(float(np.cbrt(np.finfo(backend.dtype).eps)))
    zero = backend.constant(0.0)

    def reach(launch, value, i):
        nothing = scale(launch, i, zero * value, zero * value)
        return part * select(value == zero, nothing, absolute(value))

    return reach


def _build_value(n: int, total, c, recall, rhs, reach) -> Callable:
    """Return ``value(launch, stage, argument, out, moved, side)``.

    It stores the right-hand side of a stage, with one state `moved` to a `side`, and returns
    where that state was.
    """

    def value(launch, stage, argument, out, moved, side):
        for k in range(n):
            argument[k] = stage.state[k] + total(stage.increment, k)
        there = argument[moved] + side * reach(launch, argument[moved], moved)
        argument[moved] = there
        t = stage.t + c * stage.h
        recall(t, stage.parameters)
        rhs(t, argument, stage.parameters, out, 0)
        return there

    return value


def _build_residual(n: int, at: int, value, part, add_mass) -> Callable:
    def residual(launch, stage, argument, temp, out):
        value(launch, stage, argument, temp, 0, stage.h - stage.h)
        for k in range(n):
            out[at + k] = temp[k]
        for k in range(n):
            argument[k] = part(stage.increment, k)
        add_mass(-stage.shift, argument, 0, out, at)

    return residual


def _build_block(n: int, size: int, at: int, value, backend) -> Callable:
    """Return ``block(launch, stage, argument, temp, matrix)``: minus the Jacobian of a stage."""
    zero, one = backend.constant(0.0), backend.constant(1.0)

    def block(launch, stage, argument, temp, matrix):
        side = stage.h * zero + one
        for column in range(n):
            first = (at + column) * size + at
            above = value(launch, stage, argument, temp, column, side)
            for k in range(n):
                matrix[first + k] = temp[k]
            below = value(launch, stage, argument, temp, column, -side)
            for k in range(n):
                slope = (temp[k] - matrix[first + k]) / (above - below)
                matrix[first + k] = select(is_finite(slope), slope, zero)

    return block


def _build_mass(n: int, size: int, at: int, column_at: int, factor, add_mass) -> Callable:
    """Return ``mass(shift, unit, column, matrix)``: a column of a stage's part in another's."""

    def mass(shift, unit, column, matrix):
        add_mass(shift * factor, unit, 0, matrix, (column_at + column) * size + at)

    return mass


def _build_back(n: int, at: int, total) -> Callable:
    def back(change, delta):
        for k in range(n):
            delta[at + k] = total(change, k)

    return back
