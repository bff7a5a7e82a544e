"""The controller of algorithms that choose the size of their steps by themselves."""

from __future__ import annotations

from cubie.controllers.contract import ControlFunctions, StepController
from cubie.factory import BuildContext


class OwnController(StepController):
    """Do nothing: the algorithm judges its steps, see `cubie.algorithms.contract`.

    No name of a controller stands for it: it comes with the method.
    """

    kind = "own"
    adaptive = True

    def __init__(self, error_order: int | None, dtype, options):
        super().__init__(error_order, dtype, options)

    def build(self, context: BuildContext) -> ControlFunctions:
        enter_begin, enter_control = context.phase("begin"), context.phase("control")

        def start(memory, fresh, h):
            enter_begin(memory)

        def control(memory, h, norm_squared, dt, accept_step):
            enter_control(memory)

        device = context.backend.device
        return ControlFunctions(device(start), device(control))
