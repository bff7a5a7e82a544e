"""Why a problem has no plan."""

from __future__ import annotations

from collections.abc import Iterable


class PlanInfeasible(Exception):
    """No plan exists; proven.

    Attributes
    ----------
    core : tuple of str
        The buffers (and ``max_shared``) that cannot hold together.
    limit : int or None
        The `max_shared` in force, in bytes per block.
    needed : int or None
        Bytes per block they need at least, when bytes are what lacks.
    """

    def __init__(
        self,
        message: str,
        core: Iterable[str] = (),
        limit: int | None = None,
        needed: int | None = None,
    ):
        super().__init__(message)
        self.core = tuple(core)
        self.limit = limit
        self.needed = needed


class PlanUnknown(Exception):
    """The search ended before it found a plan or proved that there is none."""
