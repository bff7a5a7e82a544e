"""Room for events: how many a run has is known only when it is over.

Runs are given room for as many of each event as runs like them had. Those that had more are solved
again with as much as they need, for the sake of their events alone: runs do not depend on each
other, so that all else of them is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from cubie.backend import Interrupted, KernelInputs, OutputBlock, Spent
from cubie.errors import CubieError
from cubie.launch.event_results import EventsKept, MoreEvents
from cubie.launch.points import Points
from cubie.launch.steps import DEEP_QUEUE, DEPTH_OF_LOOK, SHARE_SOLVED_TWICE, SLACK
from cubie.status import RunStatus

# What there is room for of each event as long as nothing is known of the runs.
FIRST_ROOM = 8
# Runs are solved again together where none has more than so many times the events of another.
ALIKE = 2

Solved = tuple[OutputBlock, Points | None, Spent]
Again = Callable[[np.ndarray, int], tuple[OutputBlock, Spent]]


class EventRoom:
    """How many of each event there is room for, learnt from the runs of the latest solve."""

    def __init__(self) -> None:
        self._events = 0

    @property
    def known(self) -> bool:
        """Whether there was a solve to learn from."""
        return self._events > 0

    def of_each(self) -> int:
        """Return the room of each event."""
        return self._events or FIRST_ROOM

    def learn(self, most: np.ndarray) -> None:
        """Choose the room by how often, in each run, that event happened that did so most often."""
        largest_first = np.sort(most)[::-1]
        share = np.cumsum(largest_first)
        beyond = int(np.searchsorted(share, share[-1] * SHARE_SOLVED_TWICE))
        self._events = int(largest_first[beyond] * SLACK) + 1


class AllEvents(NamedTuple):
    """What came of a solve with room for all events."""

    solved: Solved
    more: tuple[MoreEvents, ...] = ()
    raised: BaseException | None = None  # what a handler of signals ended it with


def solve_for_all(
    solve: Callable[[int], Solved],
    again: Again,
    kept: EventsKept,
    rooms: EventRoom,
    n_runs: int,
    at_once: int | None,
) -> AllEvents:
    """Solve with little room for events, and again those runs for which it was not enough.

    Parameters
    ----------
    solve : callable
        ``solve(room)``: solve all runs.
    again : callable
        ``again(runs, room)``: solve some of them.
    kept : EventsKept
    rooms : EventRoom
        Of earlier solves alike; learns from this one.
    n_runs : int
    at_once : int or None
        How many the target works on together; None where none can be solved alone.
    """
    looked = Spent()
    if at_once is not None and not rooms.known and n_runs >= DEEP_QUEUE * at_once:
        # A few of very many tell how many events the others may have.
        runs = np.arange(0, n_runs, n_runs // (DEPTH_OF_LOOK * at_once))
        outputs, looked = again(runs, 0)
        rooms.learn(kept.most_of_each_run(outputs, len(runs)))
    room = rooms.of_each()
    outputs, points, spent = solve(room)
    most = kept.most_of_each_run(outputs, n_runs)
    rooms.learn(most)
    if at_once is None:
        needed = int(most.max())
        return AllEvents(solve(needed) if needed > room else (outputs, points, spent))
    more, spent = [], spent.plus(looked)
    waiting = most > room
    for runs in _alike(most, room):
        try:
            found, took = again(runs, int(most[runs].max()))
            more.append(MoreEvents(runs, kept.slots(found, len(runs)).copy()))
        except (CubieError, MemoryError):
            raise
        except BaseException as raised:  # by a handler of signals
            cause = raised.cause if isinstance(raised, Interrupted) else raised
            outputs.arrays.status[waiting] = RunStatus.INTERRUPTED
            return AllEvents((outputs, points, spent), tuple(more), cause)
        spent, waiting[runs] = spent.plus(took), False
    return AllEvents((outputs, points, spent), tuple(more))


def _alike(most: np.ndarray, room: int) -> Iterator[np.ndarray]:
    """Return groups of the runs with more events than `room`, each of runs with about as many."""
    waiting = np.flatnonzero(most > room)
    waiting = waiting[np.argsort(most[waiting], kind="stable")]
    while len(waiting):
        n = int(np.searchsorted(most[waiting], ALIKE * most[waiting[0]], "right"))
        yield np.sort(waiting[:n])
        waiting = waiting[n:]


def on_host(inputs: KernelInputs) -> bool:
    """Whether all inputs are arrays of the host: some runs of them can then be solved again."""
    there: tuple[Any, ...] = inputs.initial_state, inputs.parameters
    return all(isinstance(array, np.ndarray) for array in there)
