"""What couples the right-hand sides of sensitivities with the states, as a component."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from cubie.backend import absolute, maximum, select
from cubie.factory import BuildContext
from cubie.numerics.error_norm import build_tolerances
from cubie.systems.component import SystemComponent
from cubie.systems.derivatives.choice import EXACT_TO, Derivatives, coupling_of
from cubie.systems.derivatives.component import Derivative


class CouplingComponent(Derivative):
    """Build ``coupling(memory, launch, matrix, vec, vec_at, out, at)`` of joint equations.

    It stores in `out`, for all sensitivities, the derivative of their right-hand sides by the
    states, along the vector of states that is read at ``vec[vec_at + j]``.
    """

    name = "coupling"

    def __init__(self, system: SystemComponent, per_component: bool, dtype, options):
        super().__init__(system, per_component, dtype, options)
        for buffer in ("coupling_state", "coupling_ahead", "coupling_behind"):
            self.register_buffer(
                buffer, self.n_states, phases=("evaluate",), enabled=self.by_differences
            )

    @functools.cached_property
    def derivatives(self) -> Derivatives:
        return coupling_of(self.system.system)

    @property
    def vanishes(self) -> bool:
        """No sensitivity's right-hand side depends on the states: the equations are linear."""
        return self.derivatives.constant

    def _build_exact(self, generated: Callable) -> Callable:
        def coupling(memory, launch, matrix, vec, vec_at, out, at):
            generated(matrix.t, matrix.y, matrix.parameters, vec, vec_at, out, at)

        return coupling

    def _build_differences(self, context: BuildContext) -> Callable:
        """Return it by central differences, of equations that cannot be traced."""
        size, n = self.n_states, self.n_states // self.system.n_blocks
        rhs = self.child_functions(context, "system")
        alloc_state = context.allocator("coupling_state")
        alloc_ahead = context.allocator("coupling_ahead")
        alloc_behind = context.allocator("coupling_behind")
        backend = context.backend
        tolerances = backend.device(build_tolerances(self.per_component))
        eps = float(np.finfo(backend.dtype).eps)
        fraction, least = backend.constant(max(eps, EXACT_TO) ** (1 / 3)), backend.constant(eps)
        zero, one, twice = backend.constant(0.0), backend.constant(1.0), backend.constant(2.0)

        def coupling(memory, launch, matrix, vec, vec_at, out, at):
            t, _, y, p = matrix
            shifted = alloc_state(memory, None)
            ahead = alloc_ahead(memory, None)
            behind = alloc_behind(memory, None)
            # So far along the vector that each state changes by a part of itself, or of the size
            # from which on its tolerance is a relative one.
            most = t * zero
            for j in range(n):
                rtol, atol = tolerances(launch, j)
                weight = absolute(y[j]) + atol / maximum(rtol, least)
                weight = select(weight <= zero, one, weight)
                most = maximum(absolute(vec[vec_at + j]) / weight, most)
            length = fraction / select(most <= zero, one, most)
            for i in range(size):
                shifted[i] = y[i]
            for j in range(n):
                shifted[j] = y[j] + length * vec[vec_at + j]
            rhs(t, shifted, p, ahead, 0)
            for j in range(n):
                shifted[j] = y[j] - length * vec[vec_at + j]
            rhs(t, shifted, p, behind, 0)
            for i in range(n, size):
                out[at + i - n] = (ahead[i] - behind[i]) / (twice * length)

        return coupling
