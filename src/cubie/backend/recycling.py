"""Memory of results that nobody holds any more, for the next ones.

A system hands out large blocks page by page, each at a cost beyond that of writing to it: of a
solve with many points that can be more than the solve itself.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

# Smaller blocks are reused by the allocator of the C library itself.
LEAST_BYTES = 1 << 20
# Kept at most, of all blocks together.
MOST_BYTES = 512 << 20
# A block serves for one that is smaller by no more than this share of it.
LEAST_SHARE = 0.75

# The latest last. Without a lock: what is done to it, one instruction at a time, may be done by a
# collection of garbage in the middle of anything.
_idle: deque[np.ndarray] = deque()


class _Lease:
    """Owns a block for as long as an array refers to it."""

    def __init__(self, block: np.ndarray, size: int):
        self._block = block
        self.__array_interface__ = {**block[:size].__array_interface__}

    def __del__(self) -> None:
        _take_back(self._block)


def unwritten(size: int) -> np.ndarray:
    """Return an array of so many bytes that hold anything.

    Raises
    ------
    MemoryError
    """
    if not LEAST_BYTES <= size <= MOST_BYTES:
        return np.empty(size, np.uint8)
    block = _find(size)
    return np.asarray(_Lease(_made(size) if block is None else block, size))


def _made(size: int) -> np.ndarray:
    """Return new memory; what waits for results is given up first where there is too little."""
    try:
        return np.empty(size, np.uint8)
    except MemoryError:
        give_up()
        return np.empty(size, np.uint8)


def idle_bytes() -> int:
    """Return how many bytes wait for results."""
    return sum(block.nbytes for block in tuple(_idle))


def give_up() -> None:
    """Let go of all blocks that nobody uses."""
    _idle.clear()


def _find(size: int) -> np.ndarray | None:
    """Take a block that is large enough, and not much larger."""
    for _ in range(len(_idle)):
        try:
            block: Any = _idle.pop()
        except IndexError:
            return None
        if LEAST_SHARE * block.nbytes <= size <= block.nbytes:
            return block
        _idle.appendleft(block)
    return None


def _take_back(block: np.ndarray) -> None:
    _idle.append(block)
    while idle_bytes() > MOST_BYTES:
        try:
            _idle.popleft()
        except IndexError:
            return
