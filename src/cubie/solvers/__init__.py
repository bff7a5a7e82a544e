"""Solvers of the equations inside implicit steps."""

from cubie.solvers.bicgstab import BiCGSTAB
from cubie.solvers.contract import Blocks, LinearSolver, LinearSolverFunctions
from cubie.solvers.gmres import GMRES
from cubie.solvers.krylov import KrylovSolver
from cubie.solvers.lu import LUSolver
from cubie.solvers.one_direction import MinimalResidual, SteepestDescent

# Values of the option `linear_solver`.
LINEAR_SOLVERS: dict[str, type[LUSolver] | type[KrylovSolver]] = {
    "lu": LUSolver,
    "minimal_residual": MinimalResidual,
    "steepest_descent": SteepestDescent,
    "bicgstab": BiCGSTAB,
    "gmres": GMRES,
}

__all__ = [
    "GMRES",
    "LINEAR_SOLVERS",
    "BiCGSTAB",
    "Blocks",
    "KrylovSolver",
    "LUSolver",
    "LinearSolver",
    "LinearSolverFunctions",
    "MinimalResidual",
    "SteepestDescent",
]
