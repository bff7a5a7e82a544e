"""Changes of Newton's method with the Jacobian of every stage.

One matrix, of one Jacobian, takes the equations of all stages apart into blocks. Where stages lie
far apart it is no longer near the true one, and iterations with it move away from a solution. The
true one is never formed: its product with a vector is a difference of residuals, and the system is
solved by minimal residuals along orthogonalised directions (GCR: Eisenstat, Elman & Schultz, SIAM
J. Numer. Anal. 20 (1983) 345-357), the one matrix being the preconditioner.

Only `cubie.solvers.second_look` comes here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from cubie.backend import any_lane, is_finite, select, square_root
from cubie.factory import BuildContext
from cubie.solvers.convergence import build_largest, build_tolerated
from cubie.solvers.newton_contract import Stage
from cubie.solvers.newton_parts import NewtonParts

# Directions are as many as unknowns, which solves a system: with fewer, a small change says little
# of how far away a solution is. Only of more than thirty unknowns fewer are kept.
MOST_DIRECTIONS, FEWEST_DIRECTIONS, MOST_ELEMENTS = 31, 2, 1000
# What may be left of a residual.
LEFT = 0.01


class Search(NamedTuple):
    """Buffers of the search; their unknowns are in units of the tolerances."""

    remainder: Any
    total: Any  # the change so far
    directions: Any
    images: Any  # of the directions
    trial: Any
    weights: Any  # (n,): the inverse of the tolerances


class Correction(NamedTuple):
    """Buffers of Newton's method that a product with the matrix uses."""

    residual: Any
    delta: Any
    count: Any


class Direction(NamedTuple):
    """Which direction is taken, and how large the unknowns are."""

    number: Any
    large: Any


def n_directions(n_unknowns: int) -> int:
    """Return how many directions are kept."""
    fits = max(FEWEST_DIRECTIONS, MOST_ELEMENTS // n_unknowns)
    return min(n_unknowns, MOST_DIRECTIONS, fits)


def register_buffers(newton: NewtonParts, enabled: bool) -> None:
    """Register what the directions need; access is rare."""
    size = newton.blocks.n_unknowns
    sizes = {
        "stage_directions": size * n_directions(size),
        "stage_images": size * n_directions(size),
        "stage_trial": size,
        "stage_remainder": size,
        "stage_change": size,
        "stage_weights": newton.n_states,
    }
    for name, elements in sizes.items():
        newton.register_buffer(
            name, elements, phases=(("evaluate", "correct"),), enabled=enabled, access_weight=1.0
        )


def build_stage_change(newton: NewtonParts, context: BuildContext) -> Callable:
    """Return a function as that of `NewtonParts.build_change`, of better changes."""
    backend, size = context.backend, newton.blocks.n_unknowns
    evaluate = backend.one_copy(newton.build_residual(context))
    correct = backend.one_copy(newton.build_correction(context))
    weigh, dot = _build_weigh(newton, context), backend.device(_dot(size))
    follow = backend.one_copy(_build_follow(newton, context, evaluate, correct))
    alloc_remainder = context.allocator("stage_remainder")
    alloc_change = context.allocator("stage_change")
    alloc_weights = context.allocator("stage_weights")
    alloc_directions = context.allocator("stage_directions")
    alloc_images = context.allocator("stage_images")
    alloc_trial = context.allocator("stage_trial")
    n, most = newton.n_states, n_directions(size)
    zero, left = backend.constant(0.0), backend.constant(LEFT**2)

    def change(memory, launch, stage, matrix, residual, delta, count, active):
        # Local ones would be other ones at each call of a function of its own.
        remainder, total = alloc_remainder(memory, None), alloc_change(memory, None)
        directions, images = alloc_directions(memory, None), alloc_images(memory, None)
        weights, trial = alloc_weights(memory, None), alloc_trial(memory, None)
        search = Search(remainder, total, directions, images, trial, weights)
        evaluate(memory, stage, residual)
        usable = correct(memory, launch, matrix, residual, delta, count, active)
        large = weigh(launch, stage, weights)
        for k in range(size):
            remainder[k] = delta[k] * weights[k % n]
            total[k] = remainder[k] * zero
        first = dot(remainder, 0, remainder, 0)
        going = active & usable & is_finite(first) & (first > zero)
        simple = stage.h == stage.h
        for number in range(most):
            if any_lane(going):
                good = follow(
                    memory, launch, stage, matrix,
                    Correction(residual, delta, count), search, Direction(number, large), going,
                )  # fmt: skip
                simple = simple & ~good
                going = good & (dot(remainder, 0, remainder, 0) > left * first)
        # Where no difference could be taken the change is that of the one matrix.
        for k in range(size):
            delta[k] = select(simple, remainder[k], total[k]) / weights[k % n]
        return usable

    return backend.device(change)


def _build_weigh(newton: NewtonParts, context: BuildContext) -> Callable:
    """Store the inverse of the tolerances, and return how large the unknowns are in them."""
    backend, n = context.backend, newton.n_states
    tolerated, largest = build_tolerated(newton, backend), build_largest(newton, backend)
    zero, one = backend.constant(0.0), backend.constant(1.0)

    def weigh(launch, stage, weights):
        total = stage.state[0] * zero
        for i in range(n):
            value = largest(stage, i)
            weights[i] = one / tolerated(launch, stage, i)
            total = total + (value * weights[i]) * (value * weights[i])
        return square_root(total)

    return backend.device(weigh)


def _build_follow(
    newton: NewtonParts, context: BuildContext, evaluate: Callable, correct: Callable
) -> Callable:
    """Take the part of the remainder away that one more direction can; return where it did."""
    backend, n, size = context.backend, newton.n_states, newton.blocks.n_unknowns
    dot = backend.device(_dot(size))
    step = backend.constant(float(np.cbrt(np.finfo(backend.dtype).eps)))
    zero, one, half = backend.constant(0.0), backend.constant(1.0), backend.constant(0.5)

    def follow(memory, launch, stage, matrix, correction, search, direction, going):
        remainder, total, directions, images, trial, weights = search
        residual, delta, count = correction
        number, large = direction
        increment = stage.increment
        tried = Stage(
            stage.t, stage.h, matrix.shift, stage.state, stage.parameters, stage.base, trial
        )
        at = number * size
        length = square_root(dot(remainder, 0, remainder, 0))
        # Central differences, over a small part of the unknowns and of the change.
        reach = step * (one + large / select(length > zero, length, one))
        for k in range(size):
            directions[at + k] = remainder[k]
            trial[k] = increment[k] + reach * remainder[k] / weights[k % n]
        evaluate(memory, tried, residual)
        for k in range(size):
            images[at + k] = residual[k]
            trial[k] = increment[k] - reach * remainder[k] / weights[k % n]
        evaluate(memory, tried, residual)
        for k in range(size):
            residual[k] = (residual[k] - images[at + k]) * (half / reach)
        solved = correct(memory, launch, matrix, residual, delta, count, going)
        for k in range(size):
            images[at + k] = delta[k] * weights[k % n]
        for other in range(number):
            shared_part = dot(images, other * size, images, at)
            for k in range(size):
                images[at + k] = images[at + k] - shared_part * images[other * size + k]
                directions[at + k] = directions[at + k] - shared_part * directions[other * size + k]
        square = dot(images, at, images, at)
        good = going & solved & is_finite(square) & (square > zero)
        inverse = one / square_root(select(good, square, one))
        for k in range(size):
            images[at + k] = images[at + k] * inverse
            directions[at + k] = directions[at + k] * inverse
        part = dot(images, at, remainder, 0)
        for k in range(size):
            total[k] = select(good, total[k] + part * directions[at + k], total[k])
            remainder[k] = select(good, remainder[k] - part * images[at + k], remainder[k])
        return good

    return follow


def _dot(size: int) -> Callable:
    """Return ``dot(a, a_at, b, b_at)`` of parts of two buffers."""

    def dot(a, a_at, b, b_at):
        total = a[a_at] * b[b_at]
        for k in range(1, size):
            total = total + a[a_at + k] * b[b_at + k]
        return total

    return dot
