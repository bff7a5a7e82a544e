"""Launches that end in the middle of runs, and what is kept of each run for the next to go on.

A run that goes on does what it would have done in one launch: of what it holds from one step to
the next nothing is left out, and nothing is rounded.
"""

from __future__ import annotations

from typing import Any, NamedTuple

# The first words of `KeptState.whole`; the rest is of runs.
# Whether a run is not over, which runs say; how many attempts each run makes in the launch; and
# whether it goes on with what an earlier one left.
UNFINISHED, ATTEMPTS, GOES_ON = 0, 1, 2
HEADER = 8


class KeptState(NamedTuple):
    """What a launch leaves for the next one, in two arrays: numbers of runs, [number][run] each."""

    reals: Any  # of the run's dtype
    whole: Any  # int32, behind `HEADER` words


class KeptPerRun(NamedTuple):
    """How many numbers are kept of a run."""

    reals: int
    whole: int


class Slice(NamedTuple):
    """The queue of a thread whose launch ends in the middle of runs: its run, and for how long.

    `left` holds the attempts that are left, and changes.
    """

    run: Any
    left: Any
    reals: Any
    whole: Any
