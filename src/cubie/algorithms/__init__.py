"""Step algorithms: one module a family, one contract for all."""

from cubie.algorithms.contract import StepAlgorithm, StepFunctions
from cubie.algorithms.erk import ERKStep

__all__ = ["ERKStep", "StepAlgorithm", "StepFunctions"]
