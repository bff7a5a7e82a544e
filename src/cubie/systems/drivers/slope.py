"""A derivative of a driver, as a function."""

from __future__ import annotations

from typing import Any

from attrs import frozen


@frozen(eq=False)
class Slope:
    """A derivative of a driver.

    Attributes
    ----------
    driver : callable
        ``driver(t, nu)``.
    order : int
    """

    driver: Any
    order: int = 1

    def __call__(self, t: Any, nu: int = 0) -> Any:
        """Return the value at `t`."""
        return self.driver(t, self.order + nu)

    def derivative(self, nu: int = 1) -> Slope:
        """Return a derivative of this one."""
        return Slope(self.driver, self.order + nu)
