"""How a method solves its linear systems, and what that makes of totals that equations keep."""

from __future__ import annotations

from enum import Enum

from cubie.factory import CUDAFactory
from cubie.solvers.contract import LinearSolver
from cubie.solvers.krylov import KrylovSolver
from cubie.solvers.newton_parts import NewtonParts


class SolvedBy(Enum):
    """How linear systems are solved, and why totals may be lost so."""

    ITERATION = (
        "Iterations without a matrix keep totals to the tolerances of the moment, which were "
        "larger before: leave `linear_solver` out, or give much smaller tolerances."
    )
    NARROW_FACTORS = (
        "Factors in single precision keep totals to the tolerances of the moment, which were "
        "larger before: leave `factor_dtype` out, or give much smaller tolerances."
    )
    FACTORS = (
        "Rounding of these numbers is more than the tolerances: give larger ones, or measure "
        "states in other units."
    )
    UNCORRECTED = (
        'Rosenbrock steps, which "auto" makes of stiff equations, take the solutions of linear '
        "systems as they are, with what rounding, or the end of an iteration, leaves in them. "
        "Newton's method corrects that: choose 'kvaerno5', 'radau_iia_5' or 'bdf' with "
        "linear_solver='lu'."
    )


def solved_by(algorithm: CUDAFactory) -> SolvedBy | None:
    """Return how an algorithm solves linear systems; None where there are none."""
    parts = [*algorithm.walk()]
    solvers = [part for part in parts if isinstance(part, LinearSolver)]
    if not solvers:
        return None
    if not any(isinstance(part, NewtonParts) for part in parts):
        return SolvedBy.UNCORRECTED
    if any(isinstance(part, KrylovSolver) for part in solvers):
        return SolvedBy.ITERATION
    narrow = any(part.narrows for part in solvers)
    return SolvedBy.NARROW_FACTORS if narrow else SolvedBy.FACTORS
