"""Step algorithms: one module a family, one contract for all."""

from cubie.algorithms.contract import StepAlgorithm, StepFunctions
from cubie.algorithms.erk import ERKStep
from cubie.algorithms.rosenbrock import RosenbrockStep

__all__ = ["ERKStep", "RosenbrockStep", "StepAlgorithm", "StepFunctions"]
