"""Exceptions of sweeps."""

from __future__ import annotations

from cubie.errors import CubieError, OutputsTooLarge


class StoreError(CubieError, OSError):
    """A store cannot be read, or written to, or holds something else."""


class NeedsFunction(StoreError):
    """A store can be gone on with only beside the function that it is of, which is no data."""


class OtherSweep(StoreError):
    """A store holds results of another sweep.

    Attributes
    ----------
    differences : tuple of str
    """

    def __init__(self, message: str, differences: tuple[str, ...] = ()):
        self.differences = differences
        super().__init__(message)


class SweepTooLarge(OutputsTooLarge):
    """A sweep keeps more than the memory, or the disk, has room for."""


class SweepFailed(CubieError, RuntimeError):
    """A chunk could not be computed, or not be stored; what was done before is kept.

    Attributes
    ----------
    chunk : int or None
    """

    def __init__(self, message: str, chunk: int | None = None):
        self.chunk = chunk
        super().__init__(message)


class ChunksLost(UserWarning):
    """Files of chunks that were done are gone, or cut short: what they held is no result."""


class RunsFailed(UserWarning):
    """Some of the runs of a sweep failed; what is kept of them are no results."""
