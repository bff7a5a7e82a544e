"""Step-size controllers: one class each, and their names."""

from cubie.controllers.adaptive import (
    AdaptiveController,
    GustafssonController,
    IController,
    PIController,
    PIDController,
)
from cubie.controllers.contract import ControlFunctions, StepController
from cubie.controllers.fixed import FixedController

CONTROLLERS: dict[str, type[StepController]] = {
    controller.kind: controller
    for controller in (
        FixedController,
        IController,
        PIController,
        PIDController,
        GustafssonController,
    )
}

__all__ = [
    "CONTROLLERS",
    "AdaptiveController",
    "ControlFunctions",
    "FixedController",
    "GustafssonController",
    "IController",
    "PIController",
    "PIDController",
    "StepController",
]
