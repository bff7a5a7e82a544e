"""The controller that accepts every step and never changes its size."""

from __future__ import annotations

from cubie.controllers.contract import ControlFunctions, StepController
from cubie.factory import BuildContext


class FixedController(StepController):
    """Keep the step size; the last step before a stop is shortened by the loop."""

    kind = "fixed"
    adaptive = False

    def __init__(self, error_order: int | None, dtype, options):
        super().__init__(error_order, dtype, options)

    def build(self, context: BuildContext) -> ControlFunctions:
        enter_begin, enter_control = context.phase("begin"), context.phase("control")

        def start(memory, fresh, h):
            enter_begin(memory)

        def control(memory, h, norm_squared, dt, accept_step):
            enter_control(memory)
            accept_step[0] = 1

        device = context.backend.device
        return ControlFunctions(device(start), device(control))
