"""Events that a sweep has no room for: counted over all chunks, and told once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from attrs import frozen

from cubie.labelled.words import N_EVENTS


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
        return (
            f"Events happened more often than max_events={self.room} in {self.runs:,} of "
            f"{n_runs:,} runs: the first {self.room} of each are in `t_events` and `y_events`, and "
            f"`n_events` counts all. Most often happened event {self.event} at isel({where}), "
            f"{self.most:,} times: begin a sweep with max_events={self.most}, end runs before "
            "(`terminal`), or only count events (max_events=0)."
        )


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
