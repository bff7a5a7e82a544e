"""The equation of one diagonally implicit stage, and what its error estimate needs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from attrs import frozen

from cubie.factory import BuildContext
from cubie.tableaus import DIRKTableau


@frozen
class StageEquation:
    """``f(t, base + z) - M z / (h gamma) = 0``."""

    n_states: int
    couples_stages = False

    def build(self, context: BuildContext, rhs: Callable, add_mass: Callable) -> Callable:
        n = self.n_states

        def evaluate(t, h, shift, state, parameters, base, increment, argument, temp, out):
            for i in range(n):
                argument[i] = base[i] + increment[i]
            rhs(t, argument, parameters, out, 0)
            add_mass(-shift, increment, 0, out, 0)

        return evaluate


def needs_filter(tableau: DIRKTableau) -> bool:
    """Tell whether the error estimate grows without bound on stiff components.

    It is then multiplied by ``(M - h gamma J)^-1 M`` (Hosea & Shampine, Appl. Numer. Math. 20
    (1996) 21-37).
    """
    if tableau.error_weights is None:
        return False
    z = -1e10
    stages = np.eye(tableau.n_stages) - z * np.array(tableau.a)
    derivatives = np.linalg.solve(stages, np.ones(tableau.n_stages))
    return bool(abs(z * np.dot(tableau.error_weights, derivatives)) > 1e5)
