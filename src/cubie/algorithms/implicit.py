"""What the implicit families share: the choice of the linear solver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from cubie.errors import InvalidOption
from cubie.solvers import LINEAR_SOLVERS, Blocks, LinearSolver
from cubie.systems.component import SystemComponent


def _known(instance, attribute, value):
    if value not in tuple(LINEAR_SOLVERS):
        raise InvalidOption(attribute.name, value, LINEAR_SOLVERS)


@frozen
class ImplicitSettings:
    """Options of all implicit algorithms.

    Attributes
    ----------
    linear_solver : str
        A name of `LINEAR_SOLVERS`.
    """

    linear_solver: str = field(default="lu", validator=_known)

    @property
    def direct(self) -> bool:
        """Linear systems are factorised, not iterated on."""
        return self.linear_solver == "lu"


def make_linear_solver(
    settings: ImplicitSettings,
    system: SystemComponent,
    blocks: Blocks,
    dtype,
    options: Mapping[str, Any],
) -> LinearSolver:
    """Return the linear solver that the settings name."""
    return LINEAR_SOLVERS[settings.linear_solver](system, blocks, dtype, options)
