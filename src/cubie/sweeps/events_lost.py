"""Events that a sweep has no room for: counted over all chunks, and told once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from attrs import frozen

from cubie.labelled.words import N_EVENTS
from cubie.launch.event_results import told_of_lost


@frozen
class LostEvents:
    """What is not kept of events, of some runs.

    Attributes
    ----------
    room : int
        How many of each event are kept (`max_events`).
    runs : int
        In how many runs one happened more often.
    most : int
        How often the one that did so most.
    event, run : int
        Which that was, and in which run, counted in C order over all of the sweep.
    """

    room: int
    runs: int
    most: int
    event: int
    run: int

    def plus(self, other: LostEvents) -> LostEvents:
        """Return both; of equals the run that comes first."""
        first, _ = sorted((self, other), key=lambda one: (-one.most, one.run))
        return LostEvents(self.room, self.runs + other.runs, first.most, first.event, first.run)

    def told(self, n_runs: int, dims: Sequence[str], shape: Sequence[int]) -> str:
        """Return what a user should know of so many runs that were computed."""
        at = np.unravel_index(self.run, tuple(shape))
        where = ", ".join(f"{dim}={int(i)}" for dim, i in zip(dims, at, strict=True))
        runs = f"{self.runs:,} of {n_runs:,} runs"
        return told_of_lost(self.room, runs, self.event, f"at isel({where})", self.most)


def lost_events(
    values: Mapping[str, np.ndarray], room: int | None, n_runs: int, first: int
) -> LostEvents | None:
    """Return what is lost of the events of a chunk; None where all is kept, or nothing asked for.

    Parameters
    ----------
    values : mapping of str to ndarray
        What is kept of the chunk.
    room : int or None
        How many of each event are kept of a run.
    n_runs : int
        Of the chunk.
    first : int
        The number of its first run among all.
    """
    if not room or N_EVENTS not in values:
        return None
    counts = values[N_EVENTS].reshape(n_runs, -1)
    beyond = counts > room
    if not beyond.any():
        return None
    run, event = divmod(int(np.argmax(counts)), counts.shape[1])
    runs = int(np.count_nonzero(beyond.any(axis=1)))
    return LostEvents(room, runs, int(counts[run, event]), event, first + run)
