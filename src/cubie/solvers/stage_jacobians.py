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
from typing import TYPE_CHECKING

import numpy as np

from cubie.backend import absolute, any_lane, is_finite, maximum, select, square_root
from cubie.factory import BuildContext
from cubie.numerics.error_norm import build_scale
from cubie.solvers.convergence import rounding_of

if TYPE_CHECKING:
    from cubie.solvers.newton import NewtonSolver

# Directions are as many as unknowns, which solves a system; of large ones fewer are kept.
MOST_DIRECTIONS, FEWEST_DIRECTIONS, MOST_ELEMENTS = 12, 2, 1000
# What may be left of a residual.
LEFT = 0.01


def n_directions(n_unknowns: int) -> int:
    """Return how many directions are kept."""
    fits = max(FEWEST_DIRECTIONS, MOST_ELEMENTS // n_unknowns)
    return min(n_unknowns, MOST_DIRECTIONS, fits)


def register_buffers(newton: NewtonSolver, enabled: bool) -> None:
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


def build_stage_change(newton: NewtonSolver, context: BuildContext) -> Callable:
    """Return a function as that of `NewtonSolver.build_change`, of better changes."""
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

    def change(
        shared, persistent, inputs, run, n_runs, t_stage, h, stage_shift, state, parameters,
        base, increment, t, shift, point, residual, delta, count, active,
    ):  # fmt: skip
        remainder = alloc_remainder(shared, persistent, None)
        total = alloc_change(shared, persistent, None)
        weights = alloc_weights(shared, persistent, None)
        # Local ones would be other ones at each call of a function of its own.
        directions = alloc_directions(shared, persistent, None)
        images = alloc_images(shared, persistent, None)
        trial = alloc_trial(shared, persistent, None)
        evaluate(
            shared, persistent, t_stage, h, stage_shift, state, parameters, base, increment,
            residual,
        )  # fmt: skip
        usable = correct(
            shared, persistent, inputs, run, n_runs, t, shift, point, parameters, residual, delta,
            count, active,
        )  # fmt: skip
        large = weigh(inputs, run, n_runs, state, increment, weights)
        for k in range(size):
            remainder[k] = delta[k] * weights[k % n]
            total[k] = remainder[k] * zero
        first = dot(remainder, 0, remainder, 0)
        going = active & usable & is_finite(first) & (first > zero)
        simple = h == h
        for number in range(most):
            if any_lane(going):
                good = follow(
                    shared, persistent, inputs, run, n_runs, t_stage, h, state, parameters, base,
                    increment, t, shift, point, residual, delta, count, weights, large,
                    remainder, total, directions, images, trial, number, going,
                )  # fmt: skip
                simple = simple & ~good
                going = good & (dot(remainder, 0, remainder, 0) > left * first)
        # Where no difference could be taken the change is that of the one matrix.
        for k in range(size):
            delta[k] = select(simple, remainder[k], total[k]) / weights[k % n]
        return usable

    return backend.device(change)


def _build_weigh(newton: NewtonSolver, context: BuildContext) -> Callable:
    """Store the inverse of the tolerances, and return how large the unknowns are in them."""
    backend, n = context.backend, newton.n_states
    sections = newton.blocks.n_unknowns // n
    scale = build_scale(backend, n, newton.per_component)
    rounding = backend.constant(rounding_of(newton, backend))
    zero, one = backend.constant(0.0), backend.constant(1.0)

    def weigh(inputs, run, n_runs, state, increment, weights):
        total = state[0] * zero
        for i in range(n):
            value = absolute(state[i])
            for section in range(sections):
                value = maximum(value, absolute(increment[section * n + i]))
            weight = scale(inputs.tolerances, run, n_runs, i, value, value)
            weight = maximum(weight, rounding * value)
            weights[i] = one / select(weight > zero, weight, one)
            total = total + (value * weights[i]) * (value * weights[i])
        return square_root(total)

    return backend.device(weigh)


def _build_follow(
    newton: NewtonSolver, context: BuildContext, evaluate: Callable, correct: Callable
) -> Callable:
    """Take the part of the remainder away that one more direction can; return where it did."""
    backend, n, size = context.backend, newton.n_states, newton.blocks.n_unknowns
    dot = backend.device(_dot(size))
    step = backend.constant(float(np.cbrt(np.finfo(backend.dtype).eps)))
    zero, one, half = backend.constant(0.0), backend.constant(1.0), backend.constant(0.5)

    def follow(
        shared, persistent, inputs, run, n_runs, t_stage, h, state, parameters, base, increment,
        t, shift, point, residual, delta, count, weights, large, remainder, total, directions,
        images, trial, number, going,
    ):  # fmt: skip
        at = number * size
        length = square_root(dot(remainder, 0, remainder, 0))
        # Central differences, over a small part of the unknowns and of the change.
        reach = step * (one + large / select(length > zero, length, one))
        for k in range(size):
            directions[at + k] = remainder[k]
            trial[k] = increment[k] + reach * remainder[k] / weights[k % n]
        evaluate(shared, persistent, t_stage, h, shift, state, parameters, base, trial, residual)
        for k in range(size):
            images[at + k] = residual[k]
            trial[k] = increment[k] - reach * remainder[k] / weights[k % n]
        evaluate(shared, persistent, t_stage, h, shift, state, parameters, base, trial, residual)
        for k in range(size):
            residual[k] = (residual[k] - images[at + k]) * (half / reach)
        solved = correct(
            shared, persistent, inputs, run, n_runs, t, shift, point, parameters, residual, delta,
            count, going,
        )  # fmt: skip
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
