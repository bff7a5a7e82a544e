"""What couples the right-hand sides of sensitivities with the states, as a component."""

from __future__ import annotations

import functools
from collections.abc import Callable

from cubie.systems.derivatives.choice import Derivatives, coupling_of
from cubie.systems.derivatives.component import Derivative


class CouplingComponent(Derivative):
    """Build ``coupling(t, y, p, vec, vec_at, out, at)`` of a system with sensitivities.

    It stores in `out`, for all of them, the derivative of their right-hand sides by the states,
    along the vector of states that is read at ``vec[vec_at + j]``.
    """

    name = "coupling"

    @functools.cached_property
    def derivatives(self) -> Derivatives:
        return coupling_of(self.system.system)

    @property
    def vanishes(self) -> bool:
        """No sensitivity's right-hand side depends on the states: the equations are linear."""
        return self.derivatives.constant

    def _build_exact(self, generated: Callable) -> Callable:
        def coupling(t, y, p, vec, vec_at, out, at):
            generated(t, y, p, vec, vec_at, out, at)

        return coupling
