"""What a kernel writes: one block of memory for each launch, and arrays in it."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from attrs import frozen

from cubie.backend.base import KernelOutputs

ALIGNMENT = 64  # bytes: threads write to neighbouring arrays


@frozen
class OutputLayout:
    """Where the arrays of a launch lie in their block.

    Attributes
    ----------
    counts : KernelOutputs
        Elements of each array.
    dtypes : KernelOutputs
    offsets : KernelOutputs
        Bytes from the start of the block.
    size : int
        Bytes of the block.
    """

    counts: KernelOutputs
    dtypes: KernelOutputs
    offsets: KernelOutputs
    size: int

    @classmethod
    def of(cls, counts: KernelOutputs, dtype: np.dtype) -> OutputLayout:
        """Lay out arrays of so many elements; `dtype` is the runs'."""
        integers, long_integers = np.dtype(np.int32), np.dtype(np.int64)
        dtypes = KernelOutputs(dtype, dtype, long_integers, long_integers, integers)
        offsets, size = [], 0
        for count, kind in zip(counts, dtypes, strict=True):
            offsets.append(size)
            size += -(-count * kind.itemsize // ALIGNMENT) * ALIGNMENT
        return cls(counts, dtypes, KernelOutputs(*offsets), size)


class OutputBlock:
    """The outputs of one launch, zero before it; the arrays are made when they are asked for.

    Parameters
    ----------
    layout : OutputLayout
    """

    def __init__(self, layout: OutputLayout):
        self.layout = layout
        self.memory = np.zeros(layout.size, np.uint8)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the views: a copy makes them of its own memory."""
        return {"layout": self.layout, "memory": self.memory}

    @cached_property
    def arrays(self) -> KernelOutputs:
        """Views of the block, as kernels take them."""
        layout = self.layout
        parts = zip(layout.counts, layout.dtypes, layout.offsets, strict=True)
        return KernelOutputs(*(np.ndarray(n, dtype, self.memory, at) for n, dtype, at in parts))
