"""The user's equations: from an ordinary SciPy right-hand side to a module a kernel can use."""

from cubie.systems.batch import Batch, argument_views, split_batch
from cubie.systems.consistency import inconsistency
from cubie.systems.derivatives.choice import Derivatives, derivatives_of, with_jacobian
from cubie.systems.derivatives.given_jacobian import read_jacobian
from cubie.systems.errors import BatchShapeError, RightHandSideError
from cubie.systems.from_function import trace
from cubie.systems.mass import with_mass
from cubie.systems.references.watched import Watched, fingerprint
from cubie.systems.symbolic.equations import Equations, equations, read_equations
from cubie.systems.symbolic.reader import EquationError
from cubie.systems.system import System

__all__ = [
    "Batch",
    "BatchShapeError",
    "Derivatives",
    "EquationError",
    "Equations",
    "RightHandSideError",
    "System",
    "Watched",
    "argument_views",
    "derivatives_of",
    "equations",
    "fingerprint",
    "inconsistency",
    "read_equations",
    "read_jacobian",
    "split_batch",
    "trace",
    "with_jacobian",
    "with_mass",
]
