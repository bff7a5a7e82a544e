"""The arrays that launches write: how large each is, and what stands in points not written.

Of a point are kept its time and whatever `cubie.run.saving.Kept` says; sizes are asked of
nothing else, so that what is kept besides is laid out, gathered and counted like the states.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from cubie.algorithms.contract import OF_ITERATIONS
from cubie.backend import OF_POINTS, KernelOutputs, OutputBlock, OutputLayout
from cubie.launch.capacity import Kept
from cubie.run.parts import N_ATTEMPT_COUNTERS
from cubie.run.saving import SaveMode
from cubie.status import RunStatus


class PerRun(NamedTuple):
    """How many numbers are kept of each run, beside its points."""

    counters: int = N_ATTEMPT_COUNTERS + len(OF_ITERATIONS) + 1
    summaries: int = 0  # slots
    points: int = 0  # where their number is given, and that of what is kept of steps is not


USUAL = PerRun()


@lru_cache(maxsize=32)
def layout_of(kept: Kept, n_points: int, per_run: PerRun) -> OutputLayout:
    """Lay out the outputs of some runs.

    `n_points` are those of each run; where every step is saved, those of all runs together, and
    where the solution is kept as a function of time, all steps of theirs.
    """
    mode, n_runs, sizes, dtype, record, in_rows = kept
    steps, final = mode is SaveMode.STEPS, mode is SaveMode.FINAL
    of_each = per_run.points if record else n_points
    rows = n_points if steps else n_runs if final else of_each * n_runs
    counts = dict.fromkeys(KernelOutputs._fields, 1)  # a kernel argument may not be an empty array
    counts |= {name: size * rows for name, size in sizes}
    counts |= {
        "times": n_points if steps else n_runs,
        # Final states, of which every run has one, are not counted.
        "saved": 1 if final else n_runs,
        "counters": per_run.counters * n_runs,
        "summaries": per_run.summaries * n_runs or 1,
        "status": n_runs,
        "first": n_runs + 1 if steps or record else 1,
    }
    if record:
        counts["dense"] = record * n_points
    return OutputLayout.of(KernelOutputs(**counts), dtype, ragged_of(kept), in_rows)


def ragged_of(kept: Kept) -> tuple[str, ...]:
    """Return the names of the arrays in which runs have different numbers of points or steps."""
    if kept.mode is SaveMode.STEPS:
        return OF_POINTS
    return ("dense",) if kept.record else ()


def rows_needed(outputs: OutputBlock, kept: Kept) -> np.ndarray:
    """Return how many points each run has, or records of steps: room or not."""
    if kept.mode is SaveMode.STEPS:
        return outputs.arrays.saved
    # Where a run ends stands behind its steps.
    return outputs.arrays.counters[: kept.n_runs] + 1


def require_points(kept: Kept, n_points: int, per_run: PerRun) -> OutputLayout:
    """Return how outputs are laid out, where memory can hold them.

    Raises
    ------
    OutputsTooLarge
    """
    layout = layout_of(kept, n_points, per_run)
    kept.require(n_points, layout.size, per_run.summaries)
    return layout


def make_outputs(kept: Kept, n_points: int, per_run: PerRun = USUAL) -> OutputBlock:
    """Allocate what the kernel writes of final states, or at times that it may not reach.

    Raises
    ------
    OutputsTooLarge
        If that exceeds what memory is left. A device need not hold all of it.
    """
    layout = require_points(kept, n_points, per_run)
    try:
        # Of points every one is written, with NaN where a run did not reach it.
        outputs = OutputBlock.unwritten(layout)
    except MemoryError as error:
        raise kept.refusal(n_points, layout.size, None, n_summaries=per_run.summaries) from error
    # A launch that is called off leaves runs that did not begin: they are where they start.
    outputs.arrays.times.fill(0.0 if kept.mode is SaveMode.FINAL else np.nan)
    return outputs


def mark_unwritten(outputs: OutputBlock, kept: Kept, n_written: int) -> None:
    """Say of all runs but the first ones that they did not begin: a launch was called off."""
    outputs.arrays.status[n_written:] = RunStatus.INTERRUPTED
    mark_unsummarised(outputs, slice(n_written, None), kept.n_runs)
    for name, _ in kept.sizes:
        outputs.columns(name, kept.n_runs)[:, n_written:] = np.nan


def mark_unsummarised(outputs: OutputBlock, runs: slice | np.ndarray, n_runs: int) -> None:
    """Say of some runs that nothing of them was summarised."""
    slots = outputs.arrays.summaries
    if slots.size >= n_runs:
        slots[:n_runs][runs] = -1.0
