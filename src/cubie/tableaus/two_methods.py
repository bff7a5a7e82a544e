"""Methods that are two: an explicit one, and one for where a run is stiff."""

from functools import cached_property
from typing import ClassVar, Self

import numpy as np
from attrs import evolve, field, frozen, validators

from cubie.tableaus.kinds import ERKTableau, RosenbrockTableau
from cubie.tableaus.method import Method


@frozen(kw_only=True)
class SwitchingMethod(Method):
    """Steps of an explicit method where a run is not stiff, of a Rosenbrock method where it is.

    Parameters
    ----------
    nonstiff : ERKTableau
        With FSAL, and another stage at the step's end: what lies between the two tells the largest
        rate of the system (Hairer & Wanner II, IV.2, on the detection of stiffness).
    stiff : RosenbrockTableau
        Its error estimate has the same order.
    """

    implicit: ClassVar[bool] = True

    nonstiff: ERKTableau = field(validator=validators.instance_of(ERKTableau))
    stiff: RosenbrockTableau = field(validator=validators.instance_of(RosenbrockTableau))

    def __attrs_post_init__(self) -> None:
        parts = (self.nonstiff, self.stiff)
        if {part.error_order for part in parts} != {self.error_order}:
            self._fail("error estimate", "both methods must have the error_order that is given")
        if not self.nonstiff.fsal or self.nonstiff.c_exact[-2] != 1:
            self._fail("stages", "the explicit method must be FSAL and have two stages at its end")
        if self.nonstiff.dense.nodes:
            self._fail("stages", "the explicit method must need no more of them inside its steps")

    @property
    def order_inside(self) -> int:
        return min(self.nonstiff.order_inside, self.stiff.order_inside)

    def without_error_estimate(self) -> Self:
        """Return the same method for steps of a fixed size."""
        nonstiff, stiff = (part.without_error_estimate() for part in (self.nonstiff, self.stiff))
        return evolve(self, nonstiff=nonstiff, stiff=stiff, error_order=None)

    @cached_property
    def stable_until(self) -> float:
        """Length of the negative real axis on which steps of the explicit method do not grow."""
        reached = 0.0
        for z in np.arange(0.01, 50.0, 0.01):
            if abs(self.nonstiff.stability_function(-z)) > 1.0:
                break
            reached = float(z)
        return reached
