"""The points of runs saved at every step, put together from what launches wrote."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cubie.backend import OutputBlock
from cubie.launch.capacity import Kept
from cubie.launch.outputs import PerRun, layout_of, mark_unsummarised
from cubie.launch.ragged import RaggedArray
from cubie.run.saving import Sizes
from cubie.status import RunStatus

# Points are moved together where they fill less of the room than this.
WELL_FILLED = 0.5
_AT_START = np.zeros(1, np.int64)  # where a single run is


class Points(NamedTuple):
    """The points of runs, those of one run together.

    Attributes
    ----------
    blocks : dict of str to list of ndarray (n_points, size)
        What is kept of points, by its name.
    times : list of ndarray (n_points,)
        Elapsed from the start of the run.
    block_of : ndarray of int (n_runs,)
        In which of these arrays a run is.
    place : ndarray of int (n_runs,)
        Where it begins there.
    counts : ndarray of int64 (n_runs,)
        How many points it has.
    """

    blocks: dict[str, list[np.ndarray]]
    times: list[np.ndarray]
    block_of: np.ndarray
    place: np.ndarray
    counts: np.ndarray

    def ragged(self, blocks: list[np.ndarray]) -> RaggedArray:
        """Return what `blocks` have of each run, laid out as these points are."""
        return RaggedArray(blocks, self.block_of, self.place, self.counts)

    def last_times(self) -> np.ndarray:
        """Return the times of the last points; zero for a run without points."""
        last = np.zeros(len(self.counts), self.times[0].dtype)
        for number, times in enumerate(self.times):
            own = np.flatnonzero((self.block_of == number) & (self.counts > 0))
            last[own] = times[self.place[own] + self.counts[own] - 1]
        return last


class Gathered:
    """What several launches gave, each for some of the runs."""

    def __init__(self, kept: Kept, per_run: PerRun):
        self._kept = kept
        n_runs = kept.n_runs
        self._all = OutputBlock(layout_of(kept, 0, per_run))
        self._blocks: dict[str, list[np.ndarray]] = {name: [] for name, _ in kept.sizes}
        self._times: list[np.ndarray] = []
        self._block_of = np.full(n_runs, -1)
        self._place = np.zeros(n_runs, np.int64)

    @property
    def counts(self) -> np.ndarray:
        """Points that each run needs; 0 where it was not solved yet."""
        return self._all.arrays.saved

    def overflown(self) -> np.ndarray:
        """Return the runs that were solved with too little room."""
        return np.flatnonzero((self._block_of < 0) & (self.counts > 0))

    def add(self, runs: np.ndarray, outputs: OutputBlock, first: np.ndarray) -> None:
        """Keep what a launch gave of these runs, but for points that had no room."""
        given, kept = outputs.arrays, self._all.arrays
        kept.status[runs], kept.saved[runs] = given.status, given.saved
        columns = kept.counters.reshape(-1, self._kept.n_runs)
        columns[:, runs] = given.counters.reshape(-1, len(runs))
        if kept.summaries.size >= self._kept.n_runs:
            slots = kept.summaries.reshape(-1, self._kept.n_runs)
            slots[:, runs] = given.summaries.reshape(-1, len(runs))
        fits = given.saved <= np.diff(first)
        if not fits.any():
            return
        counts = np.where(fits, given.saved, 0)
        _, points = points_in(outputs, self._kept.sizes, first, counts)
        self._block_of[runs[fits]] = len(self._times)
        self._place[runs[fits]] = points.place[fits]
        for name, blocks in points.blocks.items():
            self._blocks[name] += blocks
        self._times += points.times

    def add_written(
        self, runs: np.ndarray, outputs: OutputBlock, first: np.ndarray, n_written: int
    ) -> None:
        """Keep what a launch gave that was called off, and say so of all runs that lack points."""
        given, room = outputs.arrays, np.diff(first)
        given.status[n_written:] = RunStatus.INTERRUPTED
        # These have ended, but their last points had no room.
        cut_short = given.saved > room
        given.status[cut_short] = RunStatus.INTERRUPTED
        given.saved[cut_short] = given.counters[: len(runs)][cut_short] = room[cut_short]
        given.counters[: len(runs)][cut_short] -= 1  # a step leads from one point to the next
        self.add(runs, outputs, first)
        kept, lost = self._all.arrays, self._block_of < 0
        lost |= self.counts == 0
        kept.status[lost], kept.saved[lost] = RunStatus.INTERRUPTED, 0
        kept.counters.reshape(-1, self._kept.n_runs)[:, lost] = 0
        self._block_of[lost] = self._place[lost] = 0
        # Those of runs whose last points had no room are of more than the points there are.
        lost[runs[cut_short]] = True
        mark_unsummarised(self._all, lost, self._kept.n_runs)

    def finished(self) -> tuple[OutputBlock, Points]:
        """Return the outputs of all runs, and their points."""
        counts = self.counts
        return self._all, Points(self._blocks, self._times, self._block_of, self._place, counts)


def points_of_one(outputs: OutputBlock, sizes: Sizes) -> tuple[OutputBlock, Points]:
    """Return what a launch wrote of its only run, and the points of it."""
    arrays, blocks = outputs.arrays, {}
    times, n_points = arrays.times, int(arrays.saved[0])
    moved = n_points < WELL_FILLED * len(times)
    for name, size in sizes:  # one loop: users wait for a single run
        block = getattr(arrays, name).reshape(-1, size)
        blocks[name] = [block[:n_points].copy() if moved else block]
    if moved:
        times, outputs = times[:n_points].copy(), outputs.without_points()
    return outputs, Points(blocks, [times], _AT_START, _AT_START, outputs.arrays.saved)


def points_in(
    outputs: OutputBlock, sizes: Sizes, first: np.ndarray, counts: np.ndarray
) -> tuple[OutputBlock, Points]:
    """Return what a launch wrote of each run, and the first `counts` points of it.

    Points stay where they are if that wastes little.
    """
    place, n_points = first[:-1], first[-1]
    arrays = outputs.arrays
    blocks = {name: [getattr(arrays, name).reshape(-1, size)] for name, size in sizes}
    times = arrays.times
    if counts.sum() < WELL_FILLED * n_points:
        parts = [slice(a, a + n) for a, n in zip(place.tolist(), counts.tolist(), strict=True)]
        blocks = {
            name: [np.concatenate([block[part] for part in parts])]
            for name, (block,) in blocks.items()
        }
        times = np.concatenate([times[part] for part in parts])
        place = np.cumsum(counts) - counts
        outputs, counts = outputs.without_points(), counts.copy()
    block_of = np.zeros(len(counts), np.int64)
    return outputs, Points(blocks, [times], block_of, place, counts)
