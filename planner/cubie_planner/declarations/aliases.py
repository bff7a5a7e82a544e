"""Where a buffer may lie inside another one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from attrs import frozen

from cubie_planner.basics import is_integer, listed


@frozen
class Alias:
    """A place inside `parent` where a child may lie.

    Parameters
    ----------
    parent : str
        Name of the buffer whose bytes may be used.
    offset : int or None
        Byte offset inside the parent; None means anywhere it fits.
    across_frames : bool
        Parent and child are allocated by different functions. Local arrays belong to the
        function that allocates them: as one the child does not lie inside the parent.
    """

    parent: str
    offset: int | None = None
    across_frames: bool = False

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.across_frames, bool | np.bool_):
            raise ValueError(f"across_frames must be True or False, got {self.across_frames!r}")
        if not isinstance(self.parent, str) or not self.parent:
            raise ValueError(f"alias parent must be a buffer's name, got {self.parent!r}")
        if self.offset is not None and (not is_integer(self.offset) or self.offset < 0):
            raise ValueError(
                f"alias offset inside `{self.parent}` must be a byte count >= 0 or None, "
                f"got {self.offset!r}"
            )


def as_aliases(value: Iterable[Alias | str]) -> tuple[Alias, ...]:
    items = [value] if isinstance(value, str | Alias) else listed(value)
    if items is None or not all(isinstance(item, str | Alias) for item in items):
        raise ValueError(f"aliases must be names or Alias objects, got {value!r}")
    return tuple(Alias(item) if isinstance(item, str) else item for item in items)


def alias_to_dict(alias: Alias) -> dict[str, Any]:
    """Return an alias as plain JSON values."""
    # Digests of plans without such aliases stay what they were.
    apart = {"across_frames": True} if alias.across_frames else {}
    return {"parent": alias.parent, "offset": alias.offset, **apart}
