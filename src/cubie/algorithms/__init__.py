"""Step algorithms: one module a family, one contract for all."""

from cubie.algorithms.contract import StepAlgorithm, StepFunctions
from cubie.algorithms.dirk import DIRKStep
from cubie.algorithms.erk import ERKStep
from cubie.algorithms.firk import FIRKStep
from cubie.algorithms.low_storage import LowStorageStep
from cubie.algorithms.multistep import MultistepStep
from cubie.algorithms.rosenbrock import RosenbrockStep
from cubie.algorithms.stage_storage import sums_stages
from cubie.algorithms.switching import SwitchingStep

__all__ = [
    "DIRKStep",
    "ERKStep",
    "FIRKStep",
    "LowStorageStep",
    "MultistepStep",
    "RosenbrockStep",
    "StepAlgorithm",
    "StepFunctions",
    "SwitchingStep",
    "sums_stages",
]
