"""Runs saved at every step: how many points a run has is known only when it is over.

Runs are given room for as many points as runs like them needed. Those for which it was not enough
are solved again with as much as they need: runs do not depend on each other, so that a few solved
by themselves give the same numbers. What takes more room than one launch should is solved in
several, each with runs from everywhere in the batch, as neighbours are often alike.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from cubie.backend import KernelInputs, KernelOutputs, OutputBlock, OutputLayout
from cubie.capacity import Free, Kept, free_for, no_device
from cubie.checks import LARGEST_COUNT
from cubie.free_memory import free_bytes
from cubie.ragged import RaggedArray

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
# Points are moved together where they fill less of the room than this.
WELL_FILLED = 0.5

_AT_START = np.zeros(1, np.int64)  # where a single run is

Launch = Callable[[int, KernelInputs, OutputBlock], float]


class Points(NamedTuple):
    """The points of runs, those of one run together.

    Attributes
    ----------
    states : list of ndarray (n_points, n_states)
    times : list of ndarray (n_points,)
        Elapsed from the start of the run.
    block_of : ndarray of int (n_runs,)
        In which of these arrays a run is.
    place : ndarray of int (n_runs,)
        Where it begins there.
    counts : ndarray of int64 (n_runs,)
        How many points it has.
    """

    states: list[np.ndarray]
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
        fit = LAUNCH_BYTES // (kept.bytes_per_point * kept.n_runs)
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
    n_counters : int
        Of a run.
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
        n_counters: int,
        room: Room,
        runs_at_once: int,
        on_device: Free = no_device,
    ):
        self._launch, self._inputs, self._kept = launch, inputs, kept
        self._n_counters, self._room, self._runs_at_once = n_counters, room, runs_at_once
        self._on_device = on_device
        self.seconds = 0.0
        exact, at_least = points_of_steps(inputs)
        self._exact, self._most = exact, int(inputs.limits[0]) + 1
        self._least = n_points = min(at_least, self._most)
        kept.require(n_points, n_points * kept.n_runs * kept.bytes_per_point)

    def run(self) -> tuple[OutputBlock, Points]:
        """Solve, and return what there is of each run, and its points."""
        n_runs, room = self._kept.n_runs, self._points_of_room()
        if n_runs == 1:
            return self._one(room)
        if self._fits_one_launch(n_runs, room):
            first = np.arange(n_runs + 1) * room
            outputs = self._solve(self._inputs, first)
            saved = outputs.arrays.saved
            self._learn(saved)
            if saved.max() <= room:
                return _points_in(outputs, self._kept.n_states, first, saved)
            return self._in_parts(outputs, first)
        return self._in_parts()

    def _one(self, room: int) -> tuple[OutputBlock, Points]:
        """Solve a single run: users call for one after the other, and wait for each."""
        outputs = self._outputs(1, room)
        outputs.arrays.first[1] = room
        self.seconds += self._launch(1, self._inputs, outputs)
        needed = int(outputs.arrays.saved[0])
        if needed > room:
            self._kept.require(needed, needed * self._kept.bytes_per_point)
            return self._one(needed)
        if not self._exact:
            self._room.learn_one(needed)
        arrays = outputs.arrays
        states, times = arrays.states.reshape(room, self._kept.n_states), arrays.times
        if needed < WELL_FILLED * room:
            states, times = states[:needed].copy(), times[:needed].copy()
            outputs = outputs.without_points()
        return outputs, Points([states], [times], _AT_START, _AT_START, outputs.arrays.saved)

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
        run_bytes = room * self._kept.bytes_per_point
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
        gathered, waiting = _Gathered(self._kept, self._n_counters), np.arange(n_runs)
        if outputs is not None and first is not None:
            gathered.add(waiting, outputs, first)
            waiting = waiting[:0]
        while len(waiting):
            room = self._points_of_room()
            most = self._runs_of_launch(room)
            if not (self._exact or self._room.known) and self._is_deep(n_runs):
                most = min(most, DEPTH_OF_LOOK * self._runs_at_once)
            chosen = slice(None, None, -(-len(waiting) // most))
            runs, first = waiting[chosen], None
            first = np.arange(len(runs) + 1) * room
            outputs = self._solve(self._inputs_of(runs), first)
            self._learn(outputs.arrays.saved)
            gathered.add(runs, outputs, first)
            del outputs
            waiting = np.delete(waiting, chosen)
            if len(waiting):
                self._require_rest(gathered.counts)
        self._solve_again(gathered)
        return gathered.finished()

    def _solve_again(self, gathered: _Gathered) -> None:
        """Solve the runs that had too little room, with as much as they need."""
        while len(runs := gathered.overflown()):
            counts = gathered.counts
            first = np.concatenate([[0], np.cumsum(counts[runs])])
            n_bytes = int(first[-1]) * self._kept.bytes_per_point
            free = free_for(n_bytes)
            if free is not None and n_bytes > free:
                raise self._kept.refusal_of_steps(counts, n_bytes, free)
            gathered.add(runs, self._solve(self._inputs_of(runs), first, counts), first)

    def _require_rest(self, counts: np.ndarray) -> None:
        """Refuse what will not fit, judged by the runs that are over: any part is like the rest."""
        known = int(np.count_nonzero(counts))
        rest = int(counts.sum()) * (len(counts) - known) // known * self._kept.bytes_per_point
        free = free_for(rest)
        if free is not None and rest > free:
            total = rest * len(counts) // (len(counts) - known)
            raise self._kept.refusal_of_steps(counts, total, free)

    def _solve(
        self, inputs: KernelInputs, first: np.ndarray, counts: np.ndarray | None = None
    ) -> OutputBlock:
        """Launch with room for points of each run from `first` on, to the next one's.

        `counts` are the points of all runs of the batch, where they are known.
        """
        n_runs = len(first) - 1
        outputs = self._outputs(n_runs, int(first[-1]), counts)
        outputs.arrays.first[:] = first
        self.seconds += self._launch(n_runs, inputs, outputs)
        return outputs

    def _outputs(self, n_runs: int, n_points: int, counts: np.ndarray | None = None) -> OutputBlock:
        """Return outputs of some runs with room for so many points of all of them."""
        kept = self._kept
        try:
            layout = _layout(kept.n_states, n_runs, n_points, self._n_counters, kept.dtype)
            return OutputBlock.unwritten(layout)
        except MemoryError as error:
            n_bytes = n_points * kept.bytes_per_point
            if counts is None:
                raise kept.refusal(n_points // n_runs, n_bytes, None) from error
            raise kept.refusal_of_steps(counts, n_bytes, None) from error

    def _inputs_of(self, runs: np.ndarray) -> KernelInputs:
        return inputs_of_runs(self._inputs, self._kept.n_runs, runs)


class _Gathered:
    """What several launches gave, each for some of the runs."""

    def __init__(self, kept: Kept, n_counters: int):
        self._kept = kept
        n_runs = kept.n_runs
        self._all = OutputBlock(_layout(kept.n_states, n_runs, 0, n_counters, kept.dtype))
        self._states: list[np.ndarray] = []
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
        fits = given.saved <= np.diff(first)
        if not fits.any():
            return
        counts = np.where(fits, given.saved, 0)
        _, points = _points_in(outputs, self._kept.n_states, first, counts)
        self._block_of[runs[fits]] = len(self._states)
        self._place[runs[fits]] = points.place[fits]
        self._states += points.states
        self._times += points.times

    def finished(self) -> tuple[OutputBlock, Points]:
        """Return the outputs of all runs, and their points."""
        counts = self.counts
        return self._all, Points(self._states, self._times, self._block_of, self._place, counts)


def _points_in(
    outputs: OutputBlock, n_states: int, first: np.ndarray, counts: np.ndarray
) -> tuple[OutputBlock, Points]:
    """Return what a launch wrote of each run, and the first `counts` points of it.

    Points stay where they are if that wastes little.
    """
    place, n_points = first[:-1], first[-1]
    states, times = outputs.arrays.states.reshape(-1, n_states), outputs.arrays.times
    if counts.sum() < WELL_FILLED * n_points:
        parts = [slice(a, a + n) for a, n in zip(place.tolist(), counts.tolist(), strict=True)]
        states = np.concatenate([states[part] for part in parts])
        times = np.concatenate([times[part] for part in parts])
        place = np.cumsum(counts) - counts
        outputs, counts = outputs.without_points(), counts.copy()
    block_of = np.zeros(len(counts), np.int64)
    return outputs, Points([states], [times], block_of, place, counts)


def points_of_steps(inputs: KernelInputs) -> tuple[int, int]:
    """Return how many points a run will have, and how many it has at least if it succeeds.

    The first is 0 where step sizes are chosen as the run goes.
    """
    last = len(inputs.stop_counts) - 1
    counted = int(inputs.stop_counts[last])
    if counted:
        return counted + 1, counted + 1
    at_least = float(inputs.stops[last]) / float(inputs.step_limits[1])
    return 0, int(min(at_least, LARGEST_COUNT)) + 1


def inputs_of_runs(inputs: KernelInputs, n_runs: int, runs: np.ndarray) -> KernelInputs:
    """Return the inputs of some of the runs of a batch, in memory of their own."""
    states, parameters = inputs.initial_state, inputs.parameters
    offsets = inputs.parameter_offsets
    if inputs.state_stride[0]:
        states = states.reshape(-1, n_runs).take(runs, axis=1).ravel()
    if inputs.parameter_strides[0]:
        columns = parameters[:-1].reshape(-1, n_runs).take(runs, axis=1).ravel()
        parameters = np.append(columns, parameters[-1:])
        offsets = np.arange(len(offsets)) * len(runs)
    return inputs._replace(initial_state=states, parameters=parameters, parameter_offsets=offsets)


@lru_cache(maxsize=32)
def _layout(n: int, n_runs: int, n_points: int, n_counters: int, dtype) -> OutputLayout:
    counts = KernelOutputs(
        states=n_points * n,
        times=n_points,
        saved=n_runs,
        counters=n_counters * n_runs,
        status=n_runs,
        first=n_runs + 1,
    )
    return OutputLayout.of(counts, np.dtype(dtype))
