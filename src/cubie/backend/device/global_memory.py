"""Buffers of runs in global memory: what a launch brings for each of its threads.

Elements of 32 neighbouring threads lie side by side, as the hardware keeps local memory.
"""

from __future__ import annotations

from cubie.backend.base import RunMemory
from cubie.backend.device.driver import DeviceFacts
from cubie.errors import DeviceOutOfMemory

MOST_LOCAL_BYTES = 512 * 1024  # CUDA Programming Guide, table of limits: local memory per thread
# Of that, for registers that are spilled and calls: up to 12 KB were seen beside planned buffers.
ROOM_FOR_SPILLS = 16 * 1024
MOST_PLANNED_BYTES = MOST_LOCAL_BYTES - ROOM_FOR_SPILLS
WARP = 32


def bytes_of_threads(n_threads: int, global_bytes: int) -> int:
    """Return what so many threads need: whole warps have theirs."""
    return -(-n_threads // WARP) * WARP * global_bytes


def require_global_memory(memory: RunMemory, facts: DeviceFacts) -> None:
    """Refuse buffers that a device has not even for one warp, before they are compiled.

    Raises
    ------
    DeviceOutOfMemory
    """
    needed = bytes_of_threads(1, memory.global_bytes)
    if needed > facts.total_bytes:
        raise DeviceOutOfMemory(
            f"A run keeps {memory.global_bytes:,} B in global memory, {WARP} runs at once take "
            f"{needed:,} B, and {facts.name} has {facts.total_bytes:,} B. Use dtype='float32', a "
            "method with fewer stages, an iterative `linear_solver` ('bicgstab') instead of "
            "stored factors, or backend='cpu'.",
            needed,
            facts.total_bytes,
        )
