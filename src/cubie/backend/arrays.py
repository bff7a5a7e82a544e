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
    # (2,) int64, in elements: from one run's state to the next (1, or 0 where all begin in the
    # same; on a device any number), and from one component to the next
    state_stride: Any
    parameters: Any  # dtype: parameter j of a run is at offset[j] + stride[j] * run
    parameter_offsets: Any  # (m,) int64
    parameter_strides: Any  # (m,) int64: 1 or 0
    # [2][time][column]: times to save at that steps do not land on, from the start of the run, and
    # what rounding took from them
    save_times: Any
    # dtype: [number][column], see `cubie.numerics.limits`; start, 1 or -1 for the direction, and
    # between which times from the start of a run summaries look at it
    time_span: Any
    tolerances: Any  # dtype: [number][column]; rtol, atol: of all, or n times
    step_limits: Any  # dtype: [number][column]; first step, largest step, smallest step
    # (10,) int64: attempted steps every run may use; times to save; `Stops.shape`; the columns of
    # `tolerances`, and those of `time_span` and `step_limits`: 1, or one for each
    # run; how many of each event are kept
    limits: Any
    stops: Any  # dtype: [field][stop][column], see `cubie.launch.stops.Stops`
    # int32: [stop][column], see there; with columns also [column], attempted steps of that run
    stop_counts: Any
    driver_samples: Any  # dtype: see `cubie.systems.drivers.tables`
    driver_layout: Any  # int64: see there


class KernelOutputs(NamedTuple):
    """Arrays a kernel writes; all one-dimensional. C counters, T saved points.

    Of what it finds there it reads `first`, and counters, which begin at zero.

    Where every step is saved, P is the room for points of all runs together; where the solution is
    kept as a function of time, that for their steps.
    """

    # (T * n * N,) dtype: [time][component][run], or where a target keeps rows
    # [run][component][time]; or (P * n,): [point][component]
    states: Any
    times: Any  # (N,) or (P,) dtype
    saved: Any  # (N,) int64: points saved, or that there should have been room for
    counters: Any  # (C * N,) int64; how often events happened come last
    status: Any  # (N,) int32
    summaries: Any  # (K * N,) dtype: [slot][run], K slots of summaries, and of events behind them
    first: Any  # (N + 1,) int64, only read: where the points of each run begin, and P
    observables: Any  # like states, of as many as are kept
    # (P * R,) dtype: [step][number], R numbers of each accepted step, where the solution is kept as
    # a function of time, and of where the run ends: see `cubie.run.dense`
    dense: Any


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
OF_POINTS = ("states", "times", "observables", "dense")


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
    ragged : tuple of str
        Arrays in which runs have different numbers of points or steps, those of a run together;
        they lie at the end.
    in_rows : bool
        Whether of each number that is kept of points those of one run lie in a row.
    """

    counts: KernelOutputs
    dtypes: KernelOutputs
    offsets: KernelOutputs
    size: int
    ragged: tuple[str, ...] = ()
    in_rows: bool = False

    @classmethod
    def of(
        cls,
        counts: KernelOutputs,
        dtype: np.dtype,
        ragged: tuple[str, ...] | None = None,
        in_rows: bool = False,
    ) -> OutputLayout:
        """Lay out arrays of so many elements; `dtype` is the runs'.

        Where it is not said which are ragged, all of points are if any.
        """
        if ragged is None:
            ragged = OF_POINTS if counts.first > 1 else ()
        dtypes = KernelOutputs(**element_dtypes(KernelOutputs, dtype))
        offsets, size = {}, 0
        of_runs = [name for name in KernelOutputs._fields if name not in OF_POINTS]
        of_points = [name for name in OF_POINTS if name not in ragged]
        for name in (*of_runs, *of_points, *ragged):
            count, itemsize = getattr(counts, name), getattr(dtypes, name).itemsize
            # What is one number is of one run, or not written: no thread writes beside it.
            apart = ALIGNMENT if count > 1 else LARGEST_ITEM
            offsets[name] = -(-size // apart) * apart
            size = offsets[name] + count * itemsize
        return cls(counts, dtypes, KernelOutputs(**offsets), size, ragged, in_rows)

    @property
    def head_bytes(self) -> int:
        """Bytes before the points."""
        return min(getattr(self.offsets, name) for name in OF_POINTS)

    @property
    def even_bytes(self) -> int:
        """Bytes before what is ragged."""
        return min((getattr(self.offsets, name) for name in self.ragged), default=self.size)

    @cached_property
    def without_ragged(self) -> OutputLayout:
        """What comes before what is ragged, by itself."""
        size, ragged = self.even_bytes, self.ragged
        counts = self.counts._replace(**dict.fromkeys(ragged, 0))
        offsets = self.offsets._replace(**dict.fromkeys(ragged, size))
        return OutputLayout(counts, self.dtypes, offsets, size, ragged, self.in_rows)


class OutputBlock:
    """The outputs of one launch; the arrays are made when they are asked for.

    Parameters
    ----------
    layout : OutputLayout
    memory : ndarray of bytes, optional
        The block; zeros unless given.

    Attributes
    ----------
    stays : bool
        Whether points stay in the memory of the device that wrote them.
    """

    stays = False

    def __init__(self, layout: OutputLayout, memory: np.ndarray | None = None):
        self.layout = layout
        self.memory = np.zeros(layout.size, np.uint8) if memory is None else memory

    @classmethod
    def unwritten(cls, layout: OutputLayout) -> OutputBlock:
        """Return a block whose points hold anything: no page of them is touched before a run is."""
        memory = recycling.unwritten(layout.size)
        memory[: layout.head_bytes] = 0
        return cls(layout, memory)

    def columns(self, name: str, n_runs: int) -> np.ndarray:
        """Return a view of one of the arrays that are not ragged, with a column for each run."""
        array = getattr(self.arrays, name)
        if self.layout.in_rows and name in OF_POINTS and name != "times":
            return array.reshape(n_runs, -1).T
        return array.reshape(-1, n_runs)

    def points(self, name: str, size: int, n_runs: int) -> np.ndarray:
        """Return a view (n_runs, size, n_points) of what is kept of points, if it is not ragged."""
        array = getattr(self.arrays, name)
        if self.layout.in_rows:
            return array.reshape(n_runs, size, -1)
        return array.reshape(-1, size, n_runs).transpose(2, 1, 0)

    def without_ragged(self) -> OutputBlock:
        """Return what there is of each run beyond what is ragged, in memory of its own."""
        kept = self.layout.without_ragged
        return OutputBlock(kept, self.memory[: kept.size].copy())

    def on_device(self, name: str, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
        """Return an array that stays on a device; strides in elements."""
        raise NotImplementedError("the outputs are the host's")

    def __getstate__(self) -> dict[str, Any]:
        """Leave out views, which a copy makes of its own memory, and room that nothing tells of.

        What is ragged is others' to keep.
        """
        kept = self.without_ragged() if self.layout.ragged else self
        return {"layout": kept.layout, "memory": kept.memory}

    @cached_property
    def arrays(self) -> KernelOutputs:
        """Views of the block, as kernels take them."""
        layout = self.layout
        parts = zip(layout.counts, layout.dtypes, layout.offsets, strict=True)
        return KernelOutputs(*(np.ndarray(n, dtype, self.memory, at) for n, dtype, at in parts))
