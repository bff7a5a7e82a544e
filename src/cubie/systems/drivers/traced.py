"""A driver in `args`, as code that is being traced meets it."""

from __future__ import annotations

from typing import Any

import numpy as np

from cubie.systems.drivers.slope import Slope
from cubie.systems.errors import Untraceable
from cubie.systems.tracing.arrays import elementwise
from cubie.systems.tracing.nodes import operand


class Argument:
    """Stands for a driver of which all but the form is data."""

    def __init__(self, driver: Any, graph: Any):
        self._driver, self._graph = driver, graph

    def __call__(self, t: Any, nu: int = 0) -> Any:
        def one(x):
            return self._graph.call_driver(self._driver, nu, x)

        if np.ndim(t):
            return elementwise(one, np.array(t, dtype=object))
        x = operand(t)
        if x is NotImplemented:
            raise Untraceable(f"an interpolant is called with a {type(t).__name__}")
        return one(x)

    def derivative(self, nu: int = 1) -> Slope:
        """Return the derivative of order `nu` as a function."""
        return Slope(self, nu)

    def __getattr__(self, name: str) -> Any:
        raise Untraceable(f"`{name}` of an interpolant in args is asked for; it can only be called")
