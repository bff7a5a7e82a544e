"""Events of runs as users get them, of what the kernel wrote."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from attrs import frozen

from cubie.backend import KernelInputs, OutputBlock
from cubie.errors import InvalidProblem, OutputsTooLarge, level_of_caller
from cubie.launch.capacity import no_device, shortage, takes
from cubie.run.events.recording import ROOM, first_slot


class EventsLost(UserWarning):
    """Events happened more often in some runs than there was room for."""


class MoreEvents(NamedTuple):
    """Events of runs that had more than there was room for."""

    runs: np.ndarray
    slots: np.ndarray  # (n_events, room, 1 + n_states, n_runs): those with room as well


@frozen
class EventsKept:
    """Where events are in what a kernel writes of each run.

    Attributes
    ----------
    n_events, n_states : int
    first_slot, first_counter : int
        Behind what else is kept of a run.
    trimmed : bool
        Nobody asked for so much room: results have as much as is filled.
    ends : bool
        Runs may end at events.
    """

    n_events: int
    n_states: int
    first_slot: int
    first_counter: int
    trimmed: bool
    ends: bool

    @classmethod
    def of(cls, loop: Any, trimmed: bool, asked: bool) -> EventsKept | None:
        """Return that of a loop; None where nobody `asked` for events, be it for none."""
        n_states, slot = loop.system.n_states, first_slot(loop)
        if loop.events is None:
            return cls(0, n_states, slot, loop.n_counters, trimmed, False) if asked else None
        n_events, ends = loop.events.n_events, loop.events.rules.ends
        return cls(n_events, n_states, slot, loop.n_counters, trimmed, ends)

    def counts(self, outputs: OutputBlock, n_runs: int) -> np.ndarray:
        """Return how often each event happened in each run, (n_events, n_runs)."""
        rows = outputs.arrays.counters.reshape(-1, n_runs)
        return rows[self.first_counter : self.first_counter + self.n_events]

    def most_of_each_run(self, outputs: OutputBlock, n_runs: int) -> np.ndarray:
        """Return how often, in each run, that event happened that did so most often."""
        return self.counts(outputs, n_runs).max(axis=0, initial=0)

    def slots(self, outputs: OutputBlock, n_runs: int) -> np.ndarray:
        """Return what was kept, (n_events, room, 1 + n_states, n_runs)."""
        each, written = self.n_events * (1 + self.n_states), outputs.arrays.summaries.reshape(-1)
        room = (len(written) // n_runs - self.first_slot) // each
        first = self.first_slot * n_runs
        # An array of nothing has an element all the same.
        slots = written[first : first + room * each * n_runs]
        return slots.reshape(self.n_events, room, 1 + self.n_states, n_runs)

    def of_event(
        self,
        k: int,
        outputs: OutputBlock,
        more: Sequence[MoreEvents],
        n_runs: int,
        at: Callable,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the times of event `k`, (n_runs, room), and states, (n_runs, room, n_states).

        NaN where it did not happen so often. ``at(elapsed)`` are the times that a clock showed.
        """
        slots, counts = self.slots(outputs, n_runs)[k], self.counts(outputs, n_runs)[k]
        if self.trimmed:
            slots = slots[: int(counts.max(initial=0))]
        room = np.full(n_runs, len(slots))
        if more:
            slots = self._wide(k, slots, int(counts.max(initial=0)), more)
            for runs, of_these in more:
                room[runs] = of_these.shape[1]
        there = np.arange(len(slots)) < np.minimum(counts, room)[:, None]
        with np.errstate(invalid="ignore"):  # of what no run wrote to
            times = np.where(there, at(slots[:, 0]).T, np.nan)
        states = np.where(there[..., None], slots[:, 1:].transpose(2, 0, 1), np.nan)
        return times, states.astype(slots.dtype, copy=False)

    def _wide(
        self, k: int, slots: np.ndarray, width: int, more: Sequence[MoreEvents]
    ) -> np.ndarray:
        """Return what was kept of event `k` in all runs, (width, 1 + n_states, n_runs)."""
        wide = np.full((width, *slots.shape[1:]), np.nan, slots.dtype)
        wide[: len(slots)] = slots
        for runs, of_these in more:
            n = min(width, of_these.shape[1])
            wide[:n, :, runs] = of_these[k, :n]
        return wide

    def require_shown(self, counts: np.ndarray) -> None:
        """Refuse arrays as wide as the run needs that has most events, where they do not fit.

        Raises
        ------
        OutputsTooLarge
        """
        n_runs = counts.shape[1]
        width = int(counts.max(initial=0))
        n_bytes = sum(int(of_runs.max(initial=0)) for of_runs in counts)
        n_bytes *= 2 * n_runs * (1 + self.n_states) * 8
        lacking = shortage(n_bytes, no_device)
        if lacking is not None:
            told = takes(n_bytes, *lacking)
            raise OutputsTooLarge(
                f"To show the events of {n_runs:,} runs, up to {width:,} of each, filled up with "
                f"NaN, {told} Give a bound for what is kept (max_events=), or only count them "
                "(max_events=0): `n_events` tells how many each run has.",
                n_runs, width, n_bytes, lacking[0],
            )  # fmt: skip


def with_room(inputs: KernelInputs, room: int) -> KernelInputs:
    """Return inputs that tell of so much room for each event."""
    limits = inputs.limits.copy()
    limits[ROOM] = room
    return inputs._replace(limits=limits)


def warn_of_lost(kept: EventsKept, outputs: OutputBlock, n_runs: int, room: int) -> None:
    """Warn of events that there was no room for; where none are to be kept, of none."""
    if room == 0:
        return
    counts = kept.counts(outputs, n_runs)
    most = int(counts.max(initial=0))
    if most <= room:
        return
    k, run = np.unravel_index(int(np.argmax(counts)), counts.shape)
    runs = int(np.count_nonzero((counts > room).any(axis=0)))
    told = told_of_lost(room, f"{runs:,} of {n_runs:,} runs", int(k), f"in run {run}", most)
    warnings.warn(told, EventsLost, stacklevel=level_of_caller())


def told_of_lost(room: int, runs: str, event: int, where: str, most: int) -> str:
    """Return what a user should know of events that there was no room for.

    `event` happened most often, `most` times, `where` is the run that it did so in.
    """
    return (
        f"Events happened more often than max_events={room} in {runs}: the first {room} of each "
        "are in `t_events` and `y_events`, and `n_events` counts all. Most often happened event "
        f"{event} {where}, {most:,} times: give max_events={most}, end runs before "
        "(`terminal`), or only count them (max_events=0)."
    )


class OfEvents:
    """The attributes of a result that are of events."""

    _outputs: OutputBlock
    _more_events: tuple[MoreEvents, ...]
    _kind: Any
    _n_runs: int | None
    _at: Callable
    _by: Any

    @property
    def t_events(self) -> list[np.ndarray] | None:
        return None if self._events is None else [times for times, _ in self._events]

    @property
    def y_events(self) -> list[np.ndarray] | None:
        return None if self._events is None else [states for _, states in self._events]

    @property
    def n_events(self) -> list[Any] | None:
        kept: EventsKept | None = self._kind.events
        if kept is None:
            return None
        counts = kept.counts(self._outputs, self._n_runs or 1)
        return [int(of_runs[0]) if self._n_runs is None else of_runs for of_runs in counts]

    @property
    def _shapes_of_states(self) -> list[tuple[int, ...]] | None:
        """The shapes of `y_events`, which are not made for it."""
        kept: EventsKept | None = self._kind.events
        if kept is None:
            return None
        n_runs = self._n_runs or 1
        n = kept.n_states // (2 if self._kind.in_pairs else self._kind.n_blocks)
        most = kept.counts(self._outputs, n_runs).max(axis=1, initial=0).tolist()
        room = None if kept.trimmed else kept.slots(self._outputs, n_runs).shape[1]
        if self._n_runs is not None:
            return [(n_runs, one if room is None else room, n) for one in most]
        widths = [one if room is None else min(one, room) for one in most]
        return [(width, n) if width else (0,) for width in widths]

    @property
    def dt_events(self) -> list[np.ndarray | None] | None:
        return None if self._by_inputs is None else [one and one[0] for one in self._by_inputs]

    @property
    def dy_events(self) -> list[np.ndarray | None] | None:
        return None if self._by_inputs is None else [one and one[1] for one in self._by_inputs]

    @cached_property
    def _notes_on_grazing(self) -> tuple[str, ...]:
        """Which events happen where their number turns back within its own error."""
        try:
            found = self._by_inputs or ()
        except (InvalidProblem, OutputsTooLarge):  # who asks for them is told why there are none
            return ()
        many = [0 if one is None else int(one[2].any(axis=1).sum()) for one in found]
        return tuple(
            f"events[{k}] grazes{f' in {n} runs' if n > 1 else ''}: its number goes through zero "
            "and turns back within what tolerances leave open. Derivatives of its time are NaN "
            "there; where it changes the state, those of all that comes later are not to be "
            "believed."
            for k, n in enumerate(many)
            if n
        )

    @cached_property
    def _by_inputs(self) -> list[tuple[np.ndarray, np.ndarray, np.ndarray] | None] | None:
        """The derivatives of times and states of each event, and where it grazes.

        None of one whose time has none.
        """
        joint, by = self._kind.joint, self._by
        if joint is None or by is None or self._kept_events is None:
            return None
        found: list[tuple[np.ndarray, np.ndarray, np.ndarray] | None] = []
        for k, (times, states) in enumerate(self._kept_events):
            timing = self._kind.timings[k]
            if timing is None:
                found.append(None)
                continue
            moves, changes, grazes = by.of_event(k, timing, joint, times, states)
            if self._n_runs is None:
                n_kept = int(np.count_nonzero(~np.isnan(times[0])))
                moves, changes = moves[0, :n_kept], changes[0, :n_kept]
            found.append((moves, changes, grazes))
        return found

    @cached_property
    def _kept_events(self) -> list[tuple[np.ndarray, np.ndarray]] | None:
        """Times and states of each event, (n_runs, room) and (n_runs, room, N)."""
        kept: EventsKept | None = self._kind.events
        if kept is None:
            return None
        outputs, n_runs = self._outputs, self._n_runs or 1
        if kept.trimmed:
            kept.require_shown(kept.counts(outputs, n_runs))
        more = self._more_events
        return [kept.of_event(k, outputs, more, n_runs, self._at) for k in range(kept.n_events)]

    @cached_property
    def _events(self) -> list[tuple[np.ndarray, np.ndarray]] | None:
        """Times and states of each event."""
        if self._kept_events is None:
            return None
        found = []
        for times, states in self._kept_events:
            states = states[..., : states.shape[-1] // self._kind.n_blocks]
            if self._kind.in_pairs:
                states = states[..., 0::2] + 1j * states[..., 1::2]
            if self._n_runs is None:
                n_kept = int(np.count_nonzero(~np.isnan(times[0])))
                # As SciPy has it, the states of an event that never happened have no components.
                times, states = times[0, :n_kept], states[0, :n_kept] if n_kept else times[0, :0]
            found.append((times, states))
        return found
