"""Arrays of runs that have different numbers of points: those of a run lie together."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from cubie.errors import OutputsTooLarge
from cubie.launch.capacity import free_for, size


class RaggedArray:
    """One array for each run of a batch; those of different runs differ in their last axis.

    ``a[run]`` is a view of what that run has, and no more. Any other choice of runs (a slice, a
    mask, an array of numbers) is a `RaggedArray` of these. NumPy's functions take it as the
    rectangular array that `padded` makes.

    Parameters
    ----------
    blocks : sequence of ndarray
        With points along the first axis, and those of a run's array behind it in reverse.
    block_of : ndarray of int (n_runs,)
        In which block a run's points are.
    place : ndarray of int (n_runs,)
        Where they begin there.
    lengths : ndarray of int (n_runs,)
        How many they are.
    """

    def __init__(
        self,
        blocks: Sequence[np.ndarray],
        block_of: np.ndarray,
        place: np.ndarray,
        lengths: np.ndarray,
    ):
        self._blocks, self._block_of, self._place = blocks, block_of, place
        self.lengths = lengths

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[np.ndarray]:
        return map(self._run, range(len(self)))

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, tuple):
            first, *rest = key if key else (slice(None),)
            if not rest:
                return self[first]
            if _number(first) is None:
                raise IndexError(
                    "The first index of every step of a batch must be one run, as in "
                    "`y[run][0, -1]`: runs have different numbers of steps. `y.padded()` is the "
                    "rectangular array, NaN where a run has ended."
                )
            return self[first][tuple(rest)]
        run = _number(key)
        if run is None:
            chosen = np.arange(len(self))[key]
            if chosen.ndim != 1:
                raise IndexError(f"{key!r} does not choose runs.")
            choice = (self._block_of[chosen], self._place[chosen], self.lengths[chosen])
            return RaggedArray(self._blocks, *choice)
        if not -len(self) <= run < len(self):
            raise IndexError(f"There is no run {run}: there are {len(self)}.")
        return self._run(run)

    def row(self, number: int) -> RaggedArray:
        """Return one row of each run's array, what is of a point, as a view."""
        blocks = [block[..., number] for block in self._blocks]
        return RaggedArray(blocks, self._block_of, self._place, self.lengths)

    def mapped(self, change: Callable[[np.ndarray], np.ndarray]) -> RaggedArray:
        """Return the same points of what `change` makes of each block, in order."""
        blocks = [change(block) for block in self._blocks]
        return RaggedArray(blocks, self._block_of, self._place, self.lengths)

    def _run(self, run: int) -> np.ndarray:
        start = self._place[run]
        return self._blocks[self._block_of[run]][start : start + self.lengths[run]].T

    def last(self) -> np.ndarray:
        """Return the last point of each run, (n_runs, ...); NaN where a run has none."""
        found = np.full(self.shape[:-1], np.nan, self.dtype)
        for number, block in enumerate(self._blocks):
            own = np.flatnonzero((self._block_of == number) & (self.lengths > 0))
            points = block[self._place[own] + self.lengths[own] - 1]
            found[own] = points.transpose(0, *range(points.ndim - 1, 0, -1))
        return found

    @property
    def dtype(self) -> np.dtype:
        return self._blocks[0].dtype

    @property
    def ndim(self) -> int:
        return 1 + self._blocks[0].ndim

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of what `padded` returns."""
        return (len(self), *self._blocks[0].shape[:0:-1], int(self.lengths.max(initial=0)))

    @property
    def nbytes(self) -> int:
        """Bytes of the numbers there are."""
        inner = int(np.prod(self._blocks[0].shape[1:]))
        return int(self.lengths.sum()) * inner * self.dtype.itemsize

    def padded(self) -> np.ndarray:
        """Return the rectangular array, NaN after the end of each run.

        Raises
        ------
        cubie.OutputsTooLarge
            If memory cannot hold it: the longest run decides on its size.
        """
        shape = self.shape
        n_bytes = int(np.prod(shape, dtype=object)) * self.dtype.itemsize
        free = free_for(n_bytes)
        if free is not None and n_bytes > free:
            raise self._refusal(n_bytes, free)
        try:
            array = np.full(shape, np.nan, self.dtype)
        except MemoryError as error:
            raise self._refusal(n_bytes, None) from error
        for run, own in enumerate(self):
            array[run, ..., : own.shape[-1]] = own
        return array

    def _refusal(self, n_bytes: int, free: int | None) -> OutputsTooLarge:
        n_runs, most, longest = len(self), self.shape[-1], int(np.argmax(self.lengths))
        there = "the system does not give it" if free is None else f"{size(free)} can be had"
        return OutputsTooLarge(
            f"As a rectangular array {n_runs:,} runs take {size(n_bytes)} and {there}, though "
            f"their points take {size(self.nbytes)}: the longest run, {longest}, has {most:,} "
            "points, and all others are filled up to that. Use one run at a time, `y[run]` and "
            "`t[run]`, or choose runs, `y[runs].padded()`.",
            n_runs,
            most,
            n_bytes,
            free,
            longest,
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("A rectangular array of runs is always a copy.")
        array = self.padded()
        return array if dtype is None else array.astype(dtype, copy=False)

    def __repr__(self) -> str:
        most = self.shape[-1]
        least = int(self.lengths.min(initial=most))
        points = f"{most:,}" if least == most else f"{least:,} to {most:,}"
        inner = "".join(f" x {n}" for n in self.shape[1:-1])
        return f"RaggedArray({len(self):,} runs{inner} x {points} points, {self.dtype.name})"


def _number(key: Any) -> int | None:
    """Return the number that an index is; None where it is of another kind."""
    if isinstance(key, (bool, np.bool_)):
        return None
    try:
        return operator.index(key)
    except TypeError:
        return None
