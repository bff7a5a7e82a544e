"""Sweeps: very many runs of one system, labelled, in chunks, stopped and gone on with at will."""

from cubie.sweeps.axes import Space, grid, sampled, table, zipped
from cubie.sweeps.begin import sweep
from cubie.sweeps.errors import (
    ChunksLost,
    OtherSweep,
    RunsFailed,
    StoreError,
    SweepFailed,
    SweepTooLarge,
)
from cubie.sweeps.planned import SweepPlan
from cubie.sweeps.progress import Progress
from cubie.sweeps.running import Sweep

__all__ = [
    "ChunksLost",
    "OtherSweep",
    "Progress",
    "RunsFailed",
    "Space",
    "StoreError",
    "Sweep",
    "SweepFailed",
    "SweepPlan",
    "SweepTooLarge",
    "grid",
    "sampled",
    "sweep",
    "table",
    "zipped",
]
