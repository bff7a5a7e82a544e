"""A batch in portions: the runs of each are solved by themselves, and written where they belong.

Runs do not depend on each other: a batch gives the same numbers in one launch and in many.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from cubie.backend.arrays import (
    ALIGNMENT,
    KernelInputs,
    KernelOutputs,
    OutputBlock,
    OutputLayout,
)

# How the inputs of the runs from one number up to another are laid out.
InputsOf = Callable[[int, int], KernelInputs]


class Spent(NamedTuple):
    """Seconds of a solve.

    Attributes
    ----------
    total : float
        From the first copy to the last; without compilation.
    kernel : float
        Of the kernel alone, as the target's own clock shows them.
    """

    total: float = 0.0
    kernel: float = 0.0

    def plus(self, other: Spent) -> Spent:
        """Return those of two solves."""
        return Spent(self.total + other.total, self.kernel + other.kernel)


class InputsLayout(NamedTuple):
    """Where the arrays of inputs lie in one block of memory, and its bytes."""

    offsets: KernelInputs
    size: int


def inputs_layout(inputs: KernelInputs) -> InputsLayout:
    """Lay inputs out in one block; what lies on the device already takes none of it."""
    offsets, size = [], 0
    for array in inputs:
        size = -(-size // ALIGNMENT) * ALIGNMENT
        offsets.append(size)
        size += host_bytes(array)
    return InputsLayout(KernelInputs(*offsets), size)


def host_bytes(array: Any) -> int:
    """Return how many bytes of an input are the host's."""
    return array.nbytes if isinstance(array, np.ndarray) else array.host_bytes


class Portion(NamedTuple):
    """Some of the runs of a batch.

    Attributes
    ----------
    first, last : int
        The runs from `first` up to, and without, `last`.
    inputs : KernelInputs
        Of these runs; arrays may be views with gaps before their last axis.
    placed : InputsLayout
        Where they lie in one block of memory.
    layout : OutputLayout
        Of what is written of these runs.
    places : KernelOutputs or None
        Views of where it belongs, (rows, numbers) each; None where that is the whole block.
    begins : ndarray of int64, or None
        Where the points of each run begin, or its steps, of these runs alone
        (`KernelOutputs.first`); None where that is not asked.
    """

    first: int
    last: int
    inputs: KernelInputs
    placed: InputsLayout
    layout: OutputLayout
    places: KernelOutputs | None
    begins: np.ndarray | None

    @property
    def n_runs(self) -> int:
        return self.last - self.first


class Portions:
    """Hands out the runs of a batch, in order.

    Parameters
    ----------
    n_runs : int
    inputs : KernelInputs
        Of all runs.
    outputs : OutputBlock
        Of all runs.
    inputs_of : callable, optional
        See `InputsOf`; None: the batch cannot be divided.
    """

    def __init__(
        self,
        n_runs: int,
        inputs: KernelInputs,
        outputs: OutputBlock,
        inputs_of: InputsOf | None = None,
    ):
        self.n_runs, self.inputs, self.outputs = n_runs, inputs, outputs
        self._inputs_of = inputs_of
        self.taken = 0  # runs that were handed out, from the first on
        layout = outputs.layout
        self._begins = outputs.arrays.first if layout.counts.first > 1 else None

    @property
    def divisible(self) -> bool:
        """Whether some of the runs can be solved by themselves."""
        return self._inputs_of is not None and self.n_runs > 1

    @property
    def left(self) -> int:
        """How many runs were not handed out."""
        return self.n_runs - self.taken

    @cached_property
    def total_bytes(self) -> int:
        """Bytes of the inputs and outputs of all runs."""
        return self._placed.size + self.outputs.layout.size

    @cached_property
    def _placed(self) -> InputsLayout:
        return inputs_layout(self.inputs)

    @cached_property
    def fixed_bytes(self) -> int:
        """Bytes of any portion, however few runs it has."""
        if self._inputs_of is None or not self.divisible:
            return self.total_bytes
        return min(inputs_layout(self._inputs_of(0, 1)).size, self.total_bytes)

    @property
    def run_bytes(self) -> float:
        """Bytes that each run adds, on average."""
        return (self.total_bytes - self.fixed_bytes) / self.n_runs

    def take(self, most: int) -> Portion:
        """Return the next runs, at most so many; all that are left where they cannot be divided."""
        first, last = self.taken, min(self.n_runs, self.taken + most)
        if not self.divisible:
            first, last = 0, self.n_runs
        self.taken = last
        if (first, last) == (0, self.n_runs):
            return self._whole()
        assert self._inputs_of is not None
        layout, begins = self._layout_of(first, last)
        places = self._places(first, last, layout)
        inputs = self._inputs_of(first, last)
        return Portion(first, last, inputs, inputs_layout(inputs), layout, places, begins)

    def put_back(self, portion: Portion) -> None:
        """Hand out a portion, the latest one, again."""
        self.taken = portion.first

    def _whole(self) -> Portion:
        places = None
        if self._begins is not None:
            places = KernelOutputs(*(array.reshape(1, -1) for array in self.outputs.arrays))
        layout = self.outputs.layout
        inputs, placed = self.inputs, self._placed
        return Portion(0, self.n_runs, inputs, placed, layout, places, self._begins)

    def _layout_of(self, first: int, last: int) -> tuple[OutputLayout, np.ndarray | None]:
        layout, n_runs = self.outputs.layout, last - first
        counts, begins = {}, None
        for name, count in layout.counts._asdict().items():
            rows = self._rows(count)
            counts[name] = rows * n_runs if rows else count
        if self._begins is not None:
            begins = self._begins[first : last + 1] - self._begins[first]
            n_points, of_all = int(begins[-1]), int(self._begins[-1])
            counts |= {name: self._of_point(name, of_all) * n_points for name in layout.ragged}
            counts |= {name: max(1, counts[name]) for name in layout.ragged}
            counts["first"] = len(begins)
        return OutputLayout.of(KernelOutputs(**counts), layout.dtypes.times, layout.ragged), begins

    def _rows(self, count: int) -> int:
        """Return how many numbers of an array each run has; 0 where it is none of runs."""
        return count // self.n_runs if count % self.n_runs == 0 else 0

    def _of_point(self, name: str, n_points: int) -> int:
        """Return how many numbers of a ragged array each point has, or each step."""
        count = getattr(self.outputs.layout.counts, name)
        return count // n_points if n_points and count >= n_points else 0

    def _places(self, first: int, last: int, layout: OutputLayout) -> KernelOutputs:
        places = {}
        for name, array in self.outputs.arrays._asdict().items():
            if self._begins is not None and name in layout.ragged:
                begin, end = self._begins[[first, last]].tolist()
                of_point = self._of_point(name, int(self._begins[-1]))
                places[name] = array[begin * of_point : end * of_point].reshape(1, -1)
                continue
            rows = self._rows(array.size)
            if rows:
                places[name] = array.reshape(rows, self.n_runs)[:, first:last]
            else:  # one number that nobody writes, or what is only read
                places[name] = array[:0].reshape(1, 0)
        return KernelOutputs(**places)
