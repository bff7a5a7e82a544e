"""The arrays that a kernel reads, and those that it writes: one block of memory a launch."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from attrs import frozen

from cubie.backend import recycling

ALIGNMENT = 64  # bytes: threads write to neighbouring arrays
LARGEST_ITEM = 8  # bytes


class KernelInputs(NamedTuple):
    """Arrays a kernel reads; all one-dimensional. N runs, n states, m parameters."""

    initial_state: Any  # (n * N or n * 1,) dtype: [component][run]
    state_stride: Any  # (1,) int64: 1 when each run has its own state, else 0
    parameters: Any  # dtype: parameter j of a run is at offset[j] + stride[j] * run
    parameter_offsets: Any  # (m,) int64
    parameter_strides: Any  # (m,) int64: 1 or 0
    # [2][time][column]: times to save at that steps do not land on, from the start of the run, and
    # what rounding took from them
    save_times: Any
    # start, 1 or -1 for the direction, and between which times from the start of a run summaries
    # look at it
    time_span: Any  # (4,) dtype
    tolerances: Any  # rtol then atol; (2,) or (2 n,) dtype
    step_limits: Any  # (3,) dtype: first step, largest step, smallest step
    # (7,) int64: attempted steps every run may use; times to save; `Stops.shape`; how many columns
    # `save_times` has, and how far apart those of two runs are
    limits: Any
    stops: Any  # dtype: [field][stop][column], see `cubie.launch.stops.Stops`
    # int32: [stop][column], see there; with breaks also [column], attempted steps of that run
    stop_counts: Any
    driver_samples: Any  # dtype: see `cubie.systems.drivers.tables`
    driver_layout: Any  # int64: see there


class KernelOutputs(NamedTuple):
    """Arrays a kernel writes; all one-dimensional. C counters, T saved points.

    Where every step is saved, P is the room for points of all runs together.
    """

    states: Any  # (T * n * N,) dtype: [time][component][run]; or (P * n,): [point][component]
    times: Any  # (N,) or (P,) dtype
    saved: Any  # (N,) int64: points saved, or that there should have been room for
    counters: Any  # (C * N,) int64
    status: Any  # (N,) int32
    summaries: Any  # (K * N,) dtype: [slot][run], K slots of summaries
    first: Any  # (N + 1,) int64, only read: where the points of each run begin, and P
    observables: Any  # like states, of as many as are kept


# Elements of arrays that do not have the runs' dtype.
DTYPES = {
    "state_stride": np.int64,
    "parameter_offsets": np.int64,
    "parameter_strides": np.int64,
    "limits": np.int64,
    "stop_counts": np.int32,
    "driver_layout": np.int64,
    "saved": np.int64,
    "counters": np.int64,
    "status": np.int32,
    "first": np.int64,
}
# What a launch writes of each point; it lies at the end of the block.
OF_POINTS = ("states", "times", "observables")


def element_dtypes(record: type, dtype: np.dtype) -> dict[str, np.dtype]:
    """Return the dtype of the elements of each array of a record, for runs of a dtype."""
    return {name: np.dtype(DTYPES.get(name, dtype)) for name in record._fields}


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
        dtypes = KernelOutputs(**element_dtypes(KernelOutputs, dtype))
        offsets, size = {}, 0
        of_runs = [name for name in KernelOutputs._fields if name not in OF_POINTS]
        for name in (*of_runs, *OF_POINTS):
            count, itemsize = getattr(counts, name), getattr(dtypes, name).itemsize
            # What is one number is of one run, or not written: no thread writes beside it.
            apart = ALIGNMENT if count > 1 else LARGEST_ITEM
            offsets[name] = -(-size // apart) * apart
            size = offsets[name] + count * itemsize
        return cls(counts, dtypes, KernelOutputs(**offsets), size)

    @property
    def head_bytes(self) -> int:
        """Bytes before the points."""
        return min(getattr(self.offsets, name) for name in OF_POINTS)

    @cached_property
    def without_points(self) -> OutputLayout:
        """What comes before the points, by itself."""
        size = self.head_bytes
        counts = self.counts._replace(**dict.fromkeys(OF_POINTS, 0))
        offsets = self.offsets._replace(**dict.fromkeys(OF_POINTS, size))
        return OutputLayout(counts, self.dtypes, offsets, size)


class OutputBlock:
    """The outputs of one launch; the arrays are made when they are asked for.

    Parameters
    ----------
    layout : OutputLayout
    memory : ndarray of bytes, optional
        The block; zeros unless given.
    """

    def __init__(self, layout: OutputLayout, memory: np.ndarray | None = None):
        self.layout = layout
        self.memory = np.zeros(layout.size, np.uint8) if memory is None else memory

    @classmethod
    def unwritten(cls, layout: OutputLayout) -> OutputBlock:
        """Return a block whose points hold anything: no page of them is touched before a run is."""
        memory = recycling.unwritten(layout.size)
        memory[: layout.head_bytes] = 0
        return cls(layout, memory)

    def without_points(self) -> OutputBlock:
        """Return what there is of each run beyond its points, in memory of its own."""
        kept = self.layout.without_points
        return OutputBlock(kept, self.memory[: kept.size].copy())

    def __getstate__(self) -> dict[str, Any]:
        """Leave out views, which a copy makes of its own memory, and room that nothing tells of.

        Of runs saved at every step the points are others' to keep.
        """
        kept = self.without_points() if self.layout.counts.first > 1 else self
        return {"layout": kept.layout, "memory": kept.memory}

    @cached_property
    def arrays(self) -> KernelOutputs:
        """Views of the block, as kernels take them."""
        layout = self.layout
        parts = zip(layout.counts, layout.dtypes, layout.offsets, strict=True)
        return KernelOutputs(*(np.ndarray(n, dtype, self.memory, at) for n, dtype, at in parts))
