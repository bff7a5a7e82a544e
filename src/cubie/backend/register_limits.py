"""How many registers a GPU's compiler may give a thread."""

from __future__ import annotations

from attrs import field, frozen


def _optional_count(instance, attribute, value) -> None:
    if value is not None and (type(value) is not int or value < 1):
        raise ValueError(f"{attribute.name} must be a positive int or None, got {value!r}")


@frozen
class RegisterLimits:
    """How many registers a GPU's compiler may give a thread, beside what a block can have.

    Attributes
    ----------
    max_registers : int or None
        At most so many.
    min_blocks : int or None
        So few that as many blocks are resident on a multiprocessor.
    """

    max_registers: int | None = field(default=None, validator=_optional_count)
    min_blocks: int | None = field(default=None, validator=_optional_count)


NO_LIMITS = RegisterLimits()
