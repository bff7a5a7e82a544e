"""Step-size controllers: one class each, and their names."""

from cubie.controllers.adaptive import ADAPTIVE, AdaptiveController
from cubie.controllers.contract import ControlFunctions, StepController
from cubie.controllers.fixed import FixedController
from cubie.controllers.own import OwnController

CONTROLLERS: dict[str, type[StepController]] = {
    controller.kind: controller for controller in (FixedController, *ADAPTIVE)
}

__all__ = [
    "CONTROLLERS",
    "AdaptiveController",
    "ControlFunctions",
    "OwnController",
    "StepController",
]
