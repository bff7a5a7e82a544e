"""Minimal residual and steepest descent (Saad, Iterative Methods for Sparse Linear Systems, 2nd
edition, 5.3)."""

from __future__ import annotations

from collections.abc import Callable

from cubie.backend import Backend, any_lane, select
from cubie.factory import BuildContext
from cubie.solvers.krylov import KrylovSolver, Part, build_dot


class _OneDirection(KrylovSolver):
    """Iterations along the preconditioned residual z, with A z in `temp`."""

    def _build_length(self, backend: Backend, n: int) -> Callable:
        """Return ``length(residual, z, image) -> (numerator, denominator)`` of the step."""
        raise NotImplementedError

    def _build_iterate(self, context: BuildContext, part: Part) -> Callable:
        backend, n = context.backend, part.blocks.n_unknowns
        product = self._build_product(context, part)
        length, measure = self._build_length(backend, n), self._build_measure(backend, part)
        limit = self.settings.max_linear_iterations
        zero, one = backend.constant(0.0), backend.constant(1.0)

        def iterate(memory, launch, matrix, work, target):
            x, x_at, residual, inverse, per_shift, _, image = work
            size = measure(launch, matrix.y, inverse, per_shift, residual)
            active = size > target
            iterations = select(active, 0, 0)
            while any_lane(active):
                z = product(memory, launch, matrix, work, residual, image)
                above, below = length(residual, z, image)
                usable = active & (below != zero)
                step = select(usable, above, zero) / select(usable, below, one)
                for i in range(n):
                    x[x_at + i] = select(usable, x[x_at + i] + step * z[i], x[x_at + i])
                    residual[i] = select(usable, residual[i] - step * image[i], residual[i])
                size = measure(launch, matrix.y, inverse, per_shift, residual)
                iterations = select(active, iterations + 1, iterations)
                active = usable & (size > target) & (iterations < limit)
            return size <= target, iterations

        return backend.iterated(iterate)


class MinimalResidual(_OneDirection):
    """Each step makes the residual as small as its direction allows (Saad, 5.3.2)."""

    kind = "minimal_residual"

    def _build_length(self, backend: Backend, n: int) -> Callable:
        dot = build_dot(backend, n)

        def length(residual, z, image):
            return dot(image, residual), dot(image, image)

        return backend.device(length)


class SteepestDescent(_OneDirection):
    """The step of an exact line search, for matrices close to symmetric (Saad, 5.3.1)."""

    kind = "steepest_descent"
    needs_preconditioned = True

    def _build_length(self, backend: Backend, n: int) -> Callable:
        dot = build_dot(backend, n)

        def length(residual, z, image):
            return dot(z, residual), dot(z, image)

        return backend.device(length)
