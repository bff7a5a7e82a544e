"""What every step-size controller offers the loop."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from attrs import frozen

from cubie.factory import CUDAFactory


@frozen
class ControlFunctions:
    """Device functions of a controller.

    Attributes
    ----------
    start : callable
        ``start(memory, fresh, h)``: prepares the history of a run in the
        lanes of the mask `fresh`; `h` only tells the number type.
    control : callable
        ``control(memory, h, norm_squared, dt, accept_step)``: judges an
        attempt of size `h` > 0 whose scaled error has the squared norm
        `norm_squared`. Reads ``accept_step[0]`` as the verdict on the attempt
        before; writes it (1 accept, 0 reject) and the next size ``dt[0]``.
    """

    start: Callable
    control: Callable


class StepController(CUDAFactory):
    """Base of the controllers; `adaptive` tells whether an error estimate is needed.

    Attributes
    ----------
    bounded_below : bool
        Launches have a bound below which no step is taken: `min_step`.
    """

    name = "controller"
    phases = ("begin", "control")
    entries = {"start": ("begin",), "control": ("control",)}  # noqa: RUF012

    kind: ClassVar[str]
    adaptive: ClassVar[bool]
    bounded_below = False

    @abstractmethod
    def __init__(self, error_order: int | None, dtype, options: Mapping[str, Any]):
        """Make the controller for errors that shrink as h**(error_order + 1)."""
        super().__init__(dtype, options)
