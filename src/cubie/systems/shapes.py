"""Sizes of a system: what composing components needs to know of one."""

from typing import Any, Protocol, Self

from attrs import frozen


class SystemLike(Protocol):
    """What composing components needs to know of a system, of states or of observables."""

    @property
    def n_states(self) -> int: ...

    @property
    def n_parameters(self) -> int: ...

    @property
    def n_outputs(self) -> int: ...


@frozen
class Shape:
    """Sizes in place of a system, to learn which options a solver has."""

    n_states: int = 1
    n_parameters: int = 0
    n_outputs: int = 1
    joint: Any = None

    @classmethod
    def of(cls, settings: Any) -> Self:
        """Return that of what the settings are for: states alone, or with a sensitivity."""
        return cls(2, joint=JointShape(cls())) if settings.differentiates else cls()


@frozen
class JointShape:
    """Sizes in place of a `cubie.systems.system.Joint`, of one input."""

    base: Shape
    n_blocks: int = 2
