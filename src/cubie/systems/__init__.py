"""The user's equations: from an ordinary SciPy right-hand side to a module a kernel can use."""

from cubie.systems.batch import Batch, split_batch
from cubie.systems.errors import BatchShapeError, RightHandSideError
from cubie.systems.system import System
from cubie.systems.trace import trace

__all__ = [
    "Batch",
    "BatchShapeError",
    "RightHandSideError",
    "System",
    "split_batch",
    "trace",
]
