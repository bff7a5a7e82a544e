"""Runs saved at every step: how many points a run has is known only when it is over.

So it is of runs whose solution is kept as a function of time, of which there are records of steps
instead, or as well: what is said of points here holds for these.

Runs are given room for as many points as runs like them needed. Those for which it was not enough
are solved again with as much as they need: runs do not depend on each other, so that a few solved
by themselves give the same numbers. What takes more room than one launch should is solved in
several, each with runs from everywhere in the batch, as neighbours are often alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from cubie.backend import KernelInputs, OutputBlock, Spent, free_bytes
from cubie.checks import LARGEST_COUNT
from cubie.launch.capacity import Free, Kept, free_for, no_device
from cubie.launch.outputs import PerRun, layout_of, rows_needed
from cubie.launch.points import Gathered, Points, points_in, points_of_one
from cubie.launch.some_runs import inputs_of_runs
from cubie.numerics.limits import LARGEST_STEP

# Room for points that the runs of one launch have together; more is not touched before it is used.
LAUNCH_BYTES = 256 * 2**20
# What a run gets as long as nothing is known of others: the less, the more runs a launch has.
FIRST_ROOM, LEAST_FIRST_ROOM = 1024, 256
# The longest runs that take so little of all steps may as well be solved twice.
SHARE_SOLVED_TWICE = 0.02
SLACK, SPARE_POINTS = 1.125, 16
# A target that has so many times the runs it works on at once can look at a few of them first.
DEEP_QUEUE, DEPTH_OF_LOOK = 64, 8
# A launch of fewer leaves much of the target idle towards its end.
ENOUGH_DEPTH = 4

Launch = Callable[[int, KernelInputs, OutputBlock], Spent]


class Room:
    """How many points a run is given room for, learnt from the runs of the latest solve."""

    def __init__(self) -> None:
        self._points = 0

    @property
    def known(self) -> bool:
        """Whether there was a solve to learn from."""
        return self._points > 0

    def points(self, kept: Kept) -> int:
        """Return the room that runs are given."""
        if self.known:
            return self._points
        fit = LAUNCH_BYTES // (kept.bytes_per_step * kept.n_runs)
        return min(max(fit, LEAST_FIRST_ROOM), FIRST_ROOM)

    def learn(self, counts: np.ndarray) -> None:
        """Choose the room by the points of runs that are over."""
        longest_first = np.sort(counts)[::-1]
        share = np.cumsum(longest_first)
        beyond = int(np.searchsorted(share, share[-1] * SHARE_SOLVED_TWICE))
        self.learn_one(int(longest_first[beyond]))

    def learn_one(self, enough: int) -> None:
        """Choose the room by a run that had so many points."""
        self._points = int(enough * SLACK) + SPARE_POINTS


class StepsSolve:
    """One batch saved at every step.

    Parameters
    ----------
    launch : callable
        ``launch(n_runs, inputs, outputs)``: solve, and return the seconds that it took.
    inputs : KernelInputs
    kept : Kept
    per_run : PerRun
    room : Room
        Of earlier solves alike; learns from this one.
    runs_at_once : int
        How many the target works on together.
    on_device : callable
        ``on_device()``: bytes that a device with memory of its own has left.
    """

    def __init__(
        self,
        launch: Launch,
        inputs: KernelInputs,
        kept: Kept,
        per_run: PerRun,
        room: Room,
        runs_at_once: int,
        on_device: Free = no_device,
    ):
        self._launch, self._inputs, self._kept = launch, inputs, kept
        self._per_run, self._room, self._runs_at_once = per_run, room, runs_at_once
        self._on_device = on_device
        self.spent = Spent()
        self._gathered: Gathered | None = None  # where one launch is not enough
        self._latest: tuple[np.ndarray | None, OutputBlock | None] = None, None
        self._is_written = False  # the latest launch is over
        exact, at_least = points_of_steps(inputs)
        self._exact, self._most = exact, most_points(inputs)
        self._least = n_points = min(at_least, self._most)
        n_bytes = n_points * kept.n_runs * kept.bytes_per_step
        if per_run.points:
            n_bytes += layout_of(kept, 0, per_run).size
        kept.require(n_points, n_bytes)

    def run(self) -> tuple[OutputBlock, Points]:
        """Solve, and return what there is of each run, and its points."""
        n_runs, room = self._kept.n_runs, self._points_of_room()
        if n_runs == 1:
            return self._one(room)
        if self._fits_one_launch(n_runs, room):
            first = np.arange(n_runs + 1) * room
            outputs = self._solve(None, first)
            needed = rows_needed(outputs, self._kept)
            self._learn(needed)
            if needed.max() <= room:
                return points_in(outputs, self._kept, first, needed)
            return self._in_parts(outputs, first)
        return self._in_parts()

    def _one(self, room: int) -> tuple[OutputBlock, Points]:
        """Solve a single run: users call for one after the other, and wait for each."""
        outputs = self._outputs(1, room)
        outputs.arrays.first[1] = room
        self._launch_one_more(None, 1, self._inputs, outputs)
        needed = int(rows_needed(outputs, self._kept)[0])
        if needed > room:
            self._kept.require(needed, needed * self._kept.bytes_per_step)
            return self._one(needed)
        if not self._exact:
            self._room.learn_one(needed)
        return points_of_one(outputs, self._kept)

    def _points_of_room(self) -> int:
        if self._exact:
            return self._least
        return min(max(self._room.points(self._kept), self._least), self._most)

    def _learn(self, saved: np.ndarray) -> None:
        if not self._exact:
            self._room.learn(saved)

    def _fits_one_launch(self, n_runs: int, room: int) -> bool:
        looks_first = not (self._exact or self._room.known) and self._is_deep(n_runs)
        return not looks_first and n_runs <= self._runs_of_launch(room)

    def _is_deep(self, n_runs: int) -> bool:
        return n_runs >= DEEP_QUEUE * self._runs_at_once

    def _runs_of_launch(self, room: int) -> int:
        """Return how many runs to launch together: few bytes, but enough runs for the target."""
        run_bytes = room * self._kept.bytes_per_step
        most, n_runs = LAUNCH_BYTES // run_bytes, self._kept.n_runs
        wanted = n_runs if self._exact else min(n_runs, ENOUGH_DEPTH * self._runs_at_once)
        if most < wanted:
            free = [value for value in (free_bytes(), self._on_device()) if value is not None]
            most = max(most, min(wanted, min(free, default=0) // 4 // run_bytes))
        return max(1, most)

    def _in_parts(
        self, outputs: OutputBlock | None = None, first: np.ndarray | None = None
    ) -> tuple[OutputBlock, Points]:
        """Solve launch by launch, or what is left after a first one with all runs."""
        n_runs = self._kept.n_runs
        gathered = self._gathered = Gathered(self._kept, self._per_run)
        waiting = np.arange(n_runs)
        if outputs is not None and first is not None:
            self._gather(gathered, waiting, outputs, first)
            waiting = waiting[:0]
        while len(waiting):
            room = self._points_of_room()
            most = self._runs_of_launch(room)
            if not (self._exact or self._room.known) and self._is_deep(n_runs):
                most = min(most, DEPTH_OF_LOOK * self._runs_at_once)
            chosen = slice(None, None, -(-len(waiting) // most))
            runs = waiting[chosen]
            first = np.arange(len(runs) + 1) * room
            outputs = self._solve(runs, first)
            self._learn(rows_needed(outputs, self._kept.of_runs(len(runs))))
            self._gather(gathered, runs, outputs, first)
            del outputs
            waiting = np.delete(waiting, chosen)
            if len(waiting):
                self._require_rest(gathered.counts)
        self._solve_again(gathered)
        return gathered.finished()

    def _solve_again(self, gathered: Gathered) -> None:
        """Solve the runs that had too little room, with as much as they need."""
        while len(runs := gathered.overflown()):
            counts = gathered.counts
            first = np.concatenate([[0], np.cumsum(counts[runs])])
            n_bytes = int(first[-1]) * self._kept.bytes_per_step
            free = free_for(n_bytes)
            if free is not None and n_bytes > free:
                raise self._kept.refusal_of_steps(counts, n_bytes, free)
            self._gather(gathered, runs, self._solve(runs, first, counts), first)

    def _gather(
        self, gathered: Gathered, runs: np.ndarray, outputs: OutputBlock, first: np.ndarray
    ) -> None:
        gathered.add(runs, outputs, first)
        self._latest = None, None

    def _require_rest(self, counts: np.ndarray) -> None:
        """Refuse what will not fit, judged by the runs that are over: any part is like the rest."""
        known = int(np.count_nonzero(counts))
        rest = int(counts.sum()) * (len(counts) - known) // known * self._kept.bytes_per_step
        free = free_for(rest)
        if free is not None and rest > free:
            total = rest * len(counts) // (len(counts) - known)
            raise self._kept.refusal_of_steps(counts, total, free)

    def _solve(
        self, runs: np.ndarray | None, first: np.ndarray, counts: np.ndarray | None = None
    ) -> OutputBlock:
        """Launch some runs, or all, with room for points of each from `first` on.

        `counts` are the points of all runs of the batch, where they are known.
        """
        n_runs, inputs = len(first) - 1, self._inputs
        if runs is not None:
            inputs = inputs_of_runs(inputs, self._kept.n_runs, runs)
        outputs = self._outputs(n_runs, int(first[-1]), counts)
        outputs.arrays.first[:] = first
        self._launch_one_more(runs, n_runs, inputs, outputs)
        return outputs

    def _launch_one_more(
        self, runs: np.ndarray | None, n_runs: int, inputs: KernelInputs, outputs: OutputBlock
    ) -> None:
        self._is_written = False
        self._latest = runs, outputs
        self.spent = self.spent.plus(self._launch(n_runs, inputs, outputs))
        self._is_written = True

    def _outputs(self, n_runs: int, n_points: int, counts: np.ndarray | None = None) -> OutputBlock:
        """Return outputs of some runs with room for so many points of all of them."""
        kept = self._kept
        try:
            layout = layout_of(kept.of_runs(n_runs), n_points, self._per_run)
            return OutputBlock.unwritten(layout)
        except MemoryError as error:
            n_bytes = n_points * kept.bytes_per_step
            if counts is None:
                raise kept.refusal(n_points // n_runs, n_bytes, None) from error
            raise kept.refusal_of_steps(counts, n_bytes, None) from error

    def so_far(self, n_written: int | None = None) -> tuple[OutputBlock, Points]:
        """Return what there is where a signal ended the solve.

        If it called the latest launch off, the first `n_written` of its runs were written, though
        not all of them have ended. Else it came between two launches, or while one was gathered.
        """
        (runs, outputs), kept = self._latest, self._kept
        gathered = self._gathered or Gathered(kept, self._per_run)
        if outputs is None:
            gathered.mark_rest()
            return gathered.finished()
        runs = np.arange(kept.n_runs) if runs is None else runs
        if n_written is None:
            n_written = len(runs) if self._is_written else 0
        gathered.add_written(runs, outputs, outputs.arrays.first, n_written)
        return gathered.finished()


def points_of_steps(inputs: KernelInputs) -> tuple[int, int]:
    """Return how many points a run will have, and how many it has at least if it succeeds.

    The first is 0 where step sizes are chosen as the run goes.
    """
    n_stops, columns = inputs.limits[2:4].tolist()
    counted = inputs.stop_counts[(n_stops - 1) * columns : n_stops * columns]
    if counted.any():
        at_least = int(counted.min()) + 1
        return (at_least if counted.max() < at_least else 0), at_least
    elapsed = inputs.stops[(n_stops - 1) * columns : n_stops * columns].astype(float)
    largest = inputs.step_limits.reshape(3, -1)[LARGEST_STEP].astype(float)
    with np.errstate(over="ignore"):
        at_least = float((elapsed / largest).min())
    return 0, int(min(at_least, LARGEST_COUNT)) + 1


def most_points(inputs: KernelInputs) -> int:
    """Return how many points a run may have at most: its attempts, and where it starts."""
    attempts = inputs.stop_counts[math.prod(inputs.limits[2:4].tolist()) :]  # of runs by themselves
    return int(attempts.max(initial=inputs.limits[0])) + 1
