"""What a run needs of each planned place, and whose bytes a buffer is made of."""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import instance_of

from cubie.backend.slices import KeptPerRun
from cubie_planner import Location, Placement


@frozen
class RunMemory:
    """Bytes one run needs in each planned space, and the spacing of runs in shared memory.

    `global_bytes` are those of global memory that a launch brings; `kept` is what is kept of a
    run where launches end in the middle of runs.
    """

    shared_stride: int = field(validator=instance_of(int))
    persistent_bytes: int = field(validator=instance_of(int))
    local_bytes: int = field(default=0, validator=instance_of(int))
    global_bytes: int = field(default=0, validator=instance_of(int))
    kept: KeptPerRun | None = None


def own_placement(placement: Placement) -> str:
    """Classify where an allocator takes its bytes from.

    Returns one of "empty", "shared", "persistent", "global", "view" (inside a local
    parent), "local" (an array of its own).
    """
    if placement.size_bytes == 0:
        return "empty"
    if placement.location is Location.SHARED:
        return "shared"
    if placement.location is Location.LOCAL_PERSISTENT:
        return "persistent"
    if placement.location is Location.GLOBAL:
        return "global"
    return "view" if placement.parent is not None else "local"
