"""BiCGSTAB, preconditioned from the right (Saad, Iterative Methods for Sparse Linear Systems, 2nd
edition, 7.4.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from cubie.backend import Backend, any_lane, maximum, select
from cubie.factory import BuildContext
from cubie.solvers.contract import Blocks
from cubie.solvers.krylov import KrylovSolver, Part, build_dot
from cubie.systems.component import SystemComponent

# Units of rounding that residuals may lose on the way.
LOST = 10.0


class Recurrence(NamedTuple):
    """Buffers that the iteration carries on beside the residual."""

    shadow: Any
    direction: Any
    image: Any  # of the direction, by the preconditioned matrix


class BiCGSTAB(KrylovSolver):
    """Stabilised biconjugate gradients (van der Vorst, SIAM J. Sci. Stat. Comput. 13 (1992))."""

    kind = "bicgstab"

    def __init__(
        self,
        system: SystemComponent,
        blocks: Blocks,
        per_component: bool,
        tolerance: float,
        dtype,
        options: Mapping[str, Any],
    ):
        super().__init__(system, blocks, per_component, tolerance, dtype, options)
        n = blocks.n_unknowns
        self.register_buffer("krylov_shadow", n, phases=("solve",), access_weight=20.0)
        self.register_buffer("krylov_direction", n, phases=("solve",), access_weight=20.0)
        self.register_buffer("krylov_image", n, phases=("solve",), access_weight=20.0)

    def _build_iterate(self, context: BuildContext, part: Part) -> Callable:
        backend, n = context.backend, part.blocks.n_unknowns
        dot, measure = build_dot(backend, n), self._build_measure(backend, part)
        product = self._build_product(context, part)
        first = self._build_first_half(backend, n, product, dot)
        second = self._build_second_half(backend, n, product, dot)
        alloc_shadow = context.allocator("krylov_shadow")
        alloc_direction = context.allocator("krylov_direction")
        alloc_image = context.allocator("krylov_image")
        limit = self.settings.max_linear_iterations
        zero = backend.constant(0.0)
        lost = backend.constant((LOST * np.finfo(backend.dtype).eps) ** 2)

        def iterate(memory, launch, matrix, work, target):
            residual, inverse, per_shift = work.residual, work.inverse, work.per_shift
            shadow, direction = alloc_shadow(memory, None), alloc_direction(memory, None)
            image = alloc_image(memory, None)
            recurrence = Recurrence(shadow, direction, image)
            for i in range(n):
                shadow[i] = residual[i]
                direction[i] = residual[i]
                image[i] = residual[i] * zero
            rho = dot(residual, residual)
            size = measure(launch, matrix.y, inverse, per_shift, residual)
            peak = size
            active = size > target
            iterations = select(active, 0, 0)
            while any_lane(active):
                alpha, active = first(memory, launch, matrix, work, recurrence, rho, active)
                iterations = select(active, iterations + 1, iterations)
                # The direction alone may do: the rest of the step would divide zero by zero.
                size = measure(launch, matrix.y, inverse, per_shift, residual)
                peak = maximum(peak, size)
                active = active & (size > target)
                rho, active = second(memory, launch, matrix, work, recurrence, rho, alpha, active)
                iterations = select(active, iterations + 1, iterations)
                size = measure(launch, matrix.y, inverse, per_shift, residual)
                peak = maximum(peak, size)
                active = active & (size > target) & (iterations < limit)
            # Rounding of the largest residual stays in the solution, unseen by the last one.
            return (size <= target) & (lost * peak <= target), iterations

        return backend.iterated(iterate)

    def _build_first_half(
        self, backend: Backend, n: int, product: Callable, dot: Callable
    ) -> Callable:
        """Step along the direction: x += alpha z, r -= alpha A z, with z = P direction."""
        zero, one = backend.constant(0.0), backend.constant(1.0)

        def first(memory, launch, matrix, work, recurrence, rho, active):
            x, x_at, residual = work.x, work.x_at, work.residual
            shadow, direction, image = recurrence
            z = product(memory, launch, matrix, work, direction, image)
            below = dot(shadow, image)
            usable = active & (below != zero)
            alpha = select(usable, rho, zero) / select(usable, below, one)
            for i in range(n):
                x[x_at + i] = select(usable, x[x_at + i] + alpha * z[i], x[x_at + i])
                residual[i] = select(usable, residual[i] - alpha * image[i], residual[i])
            return alpha, usable

        return backend.device(first)

    def _build_second_half(
        self, backend: Backend, n: int, product: Callable, dot: Callable
    ) -> Callable:
        """Minimise the residual along z = P residual, and turn the direction."""
        zero, one = backend.constant(0.0), backend.constant(1.0)

        def second(memory, launch, matrix, work, recurrence, rho, alpha, active):
            x, x_at, residual, temp = work.x, work.x_at, work.residual, work.temp
            shadow, direction, image = recurrence
            z = product(memory, launch, matrix, work, residual, temp)
            below = dot(temp, temp)
            usable = active & (below != zero)
            omega = select(usable, dot(temp, residual), zero) / select(usable, below, one)
            for i in range(n):
                x[x_at + i] = select(usable, x[x_at + i] + omega * z[i], x[x_at + i])
                residual[i] = select(usable, residual[i] - omega * temp[i], residual[i])
            new_rho = dot(shadow, residual)
            turns = usable & (omega != zero) & (rho != zero)
            beta = select(turns, new_rho * alpha, zero) / select(turns, rho * omega, one)
            for i in range(n):
                turned = residual[i] + beta * (direction[i] - omega * image[i])
                direction[i] = select(turns, turned, direction[i])
            return select(turns, new_rho, rho), turns

        return backend.device(second)
