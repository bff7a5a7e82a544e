"""The points of runs saved at every step, put together from what launches wrote.

What is kept of the steps themselves, where the solution is a function of time, goes the same way.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cubie.backend import OutputBlock
from cubie.launch.capacity import Kept
from cubie.launch.outputs import PerRun, layout_of, mark_unsummarised, rows_needed
from cubie.launch.ragged import RaggedArray
from cubie.run.saving import SaveMode
from cubie.status import RunStatus

# Points are moved together where they fill less of the room than this.
WELL_FILLED = 0.5
NO_RUNS = np.zeros(0, np.int64)
_AT_START = np.zeros(1, np.int64)  # where a single run is


class Points(NamedTuple):
    """The points of runs, those of one run together.

    Attributes
    ----------
    blocks : dict of str to list of ndarray (n_points, size)
        What is kept of points, by its name.
    times : list of ndarray (n_points,)
        Elapsed from the start of the run; empty where these are no points, but steps.
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

    def runs_of_points(self) -> list[np.ndarray]:
        """Return of which run each point is, for each of the arrays; any, where nothing lies."""
        found = []
        for number, times in enumerate(self.times):
            runs = np.flatnonzero((self.block_of == number) & (self.counts > 0))
            counts, of_points = self.counts[runs], np.zeros(len(times), int)
            steps = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            of_points[np.repeat(self.place[runs], counts) + steps] = np.repeat(runs, counts)
            found.append(of_points)
        return found

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
        self._blocks: dict[str, list[np.ndarray]] = {name: [] for name, _ in kept.by_steps}
        self._times: list[np.ndarray] = []
        self._n_launches = 0
        self._block_of = np.full(n_runs, -1)
        self._place = np.zeros(n_runs, np.int64)
        self.counts = np.zeros(n_runs, np.int64)
        """Points that each run needs; 0 where it was not solved yet."""

    def overflown(self) -> np.ndarray:
        """Return the runs that were solved with too little room."""
        return np.flatnonzero((self._block_of < 0) & (self.counts > 0))

    def add(
        self,
        runs: np.ndarray,
        outputs: OutputBlock,
        first: np.ndarray,
        needed: np.ndarray | None = None,
    ) -> None:
        """Keep what a launch gave of these runs, but for points that had no room.

        `needed` are the points that each has, of runs that ended all of them. A signal may end
        this anywhere: that the runs have points is said last.
        """
        kept = self._kept.of_runs(len(runs))
        needed = rows_needed(outputs, kept) if needed is None else needed
        self._add_even(runs, outputs)
        self.counts[runs] = needed
        fits = needed <= np.diff(first)
        if not fits.any():
            return
        _, points = points_in(outputs, kept, first, np.where(fits, needed, 0))
        launch = self._n_launches
        for name, blocks in points.blocks.items():
            self._blocks[name][launch:] = blocks
        self._times[launch:] = points.times
        self._n_launches = launch + 1
        self._place[runs[fits]] = points.place[fits]
        self._block_of[runs[fits]] = launch

    def _add_even(self, runs: np.ndarray, outputs: OutputBlock) -> None:
        """Keep what is of each run as many numbers."""
        all_runs, n_runs = self._kept.n_runs, len(runs)
        layout = self._all.layout
        for name, kept in self._all.arrays._asdict().items():
            # What is one number is written of no run.
            if name not in (*layout.ragged, "first") and kept.size >= all_runs:
                self._all.columns(name, all_runs)[:, runs] = outputs.columns(name, n_runs)

    def add_written(
        self, runs: np.ndarray, outputs: OutputBlock, first: np.ndarray, n_written: int
    ) -> None:
        """Keep what a launch gave that was called off, and say so of all runs that lack points."""
        given, room, kept = outputs.arrays, np.diff(first), self._kept
        needed = rows_needed(outputs, kept.of_runs(len(runs)))
        needed[n_written:] = 0
        given.status[n_written:] = RunStatus.INTERRUPTED
        # These have ended, but their last points had no room.
        cut_short = needed > room
        if kept.mode is SaveMode.STEPS:
            given.status[cut_short] = RunStatus.INTERRUPTED
            needed[cut_short] = given.counters[: len(runs)][cut_short] = room[cut_short]
            given.counters[: len(runs)][cut_short] -= 1  # a step leads from one point to the next
        self.add(runs, outputs, first, needed)
        # Those of runs whose last points had no room are of more than the points there are.
        self.mark_rest(runs[cut_short])

    def mark_rest(self, cut_short: np.ndarray = NO_RUNS) -> None:
        """Say of all runs that lack points that they did not begin.

        The summaries of runs that were cut short are given up.
        """
        lost = (self._block_of < 0) | (self.counts == 0)
        self._mark_lost(lost)
        lost[cut_short] = True
        mark_unsummarised(self._all, lost, self._kept.n_runs)

    def _mark_lost(self, lost: np.ndarray) -> None:
        arrays, kept = self._all.arrays, self._kept
        arrays.status[lost] = RunStatus.INTERRUPTED
        arrays.counters.reshape(-1, kept.n_runs)[:, lost] = 0
        self.counts[lost] = self._block_of[lost] = self._place[lost] = 0
        if arrays.saved.size >= kept.n_runs:
            arrays.saved[lost] = 0
        if kept.mode is SaveMode.STEPS:
            return
        arrays.times[lost] = 0.0 if kept.mode is SaveMode.FINAL else np.nan
        for name, _ in kept.sizes:
            self._all.columns(name, kept.n_runs)[:, lost] = np.nan

    def finished(self) -> tuple[OutputBlock, Points]:
        """Return the outputs of all runs, and their points."""
        blocks, times = self._blocks, self._times
        if not self._n_launches:  # a signal came before any run had all its points
            dtype, by_steps = self._kept.dtype, self._kept.by_steps
            blocks = {name: [np.zeros((0, size), dtype)] for name, size in by_steps}
            times = [np.zeros(0, self._all.arrays.times.dtype)]
        return self._all, Points(blocks, times, self._block_of, self._place, self.counts)


def points_of_one(outputs: OutputBlock, kept: Kept) -> tuple[OutputBlock, Points]:
    """Return what a launch wrote of its only run, and the points of it."""
    arrays, blocks, counts = outputs.arrays, {}, rows_needed(outputs, kept)
    times = [arrays.times] if kept.mode is SaveMode.STEPS else []
    n_points, room = int(counts[0]), int(arrays.first[1])
    moved = n_points < WELL_FILLED * room
    for name, size in kept.by_steps:  # one loop: users wait for a single run
        block = getattr(arrays, name).reshape(-1, size)
        blocks[name] = [block[:n_points].copy() if moved else block]
    if moved:
        times = [shown[:n_points].copy() for shown in times]
        outputs = outputs.without_ragged()
        counts = rows_needed(outputs, kept)
    return outputs, Points(blocks, times, _AT_START, _AT_START, counts)


def points_in(
    outputs: OutputBlock, kept: Kept, first: np.ndarray, counts: np.ndarray
) -> tuple[OutputBlock, Points]:
    """Return what a launch wrote of each run, and the first `counts` points of it.

    Points stay where they are if that wastes little.
    """
    place, n_points = first[:-1], first[-1]
    arrays = outputs.arrays
    blocks = {name: [getattr(arrays, name).reshape(-1, size)] for name, size in kept.by_steps}
    times = [arrays.times] if kept.mode is SaveMode.STEPS else []
    if counts.sum() < WELL_FILLED * n_points:
        parts = [slice(a, a + n) for a, n in zip(place.tolist(), counts.tolist(), strict=True)]
        blocks = {
            name: [np.concatenate([block[part] for part in parts])]
            for name, (block,) in blocks.items()
        }
        times = [np.concatenate([shown[part] for part in parts]) for shown in times]
        place = np.cumsum(counts) - counts
        outputs, counts = outputs.without_ragged(), counts.copy()
    block_of = np.zeros(len(counts), np.int64)
    return outputs, Points(blocks, times, block_of, place, counts)
