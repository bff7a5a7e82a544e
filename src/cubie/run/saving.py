"""What a run leaves behind: its end, its state at given times, or every step.

Each way is an object that makes two device functions for the loop; "save
nothing on the way" is functions that do nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from attrs import frozen

from cubie.backend import Backend, load_run, select, shared_function, store_run


class SaveMode(StrEnum):
    """Which points of a run are kept."""

    FINAL = "final"
    TIMES = "times"
    STEPS = "steps"


@frozen
class SaveFunctions:
    """Device functions that write the outputs of a run.

    `saved` counts the points of the run so far (int lanes).

    Attributes
    ----------
    save : callable
        ``save(launch, outputs, accept, at_stop, saved, elapsed, state)``:
        keeps a point in the lanes where it is due; returns the new `saved`.
    finish : callable
        ``finish(launch, outputs, valid, saved, elapsed, state)``.
    """

    save: Callable
    finish: Callable


@shared_function
def build_saving(mode: SaveMode, backend: Backend, n: int) -> SaveFunctions:
    """Return the device functions of a mode for `n` states."""
    make = {SaveMode.FINAL: _final, SaveMode.TIMES: _times, SaveMode.STEPS: _steps}[mode]
    return SaveFunctions(*(backend.device(function) for function in make(backend, n)))


def _final(backend: Backend, n: int):
    def save(launch, outputs, accept, at_stop, saved, elapsed, state):
        return saved

    def finish(launch, outputs, valid, saved, elapsed, state):
        run, n_runs = launch.run, launch.n_runs
        for i in range(n):
            store_run(outputs.states, i * n_runs, run, valid, state[i])
        store_run(outputs.times, 0, run, valid, elapsed)

    return save, finish


def _times(backend: Backend, n: int):
    def save(launch, outputs, accept, at_stop, saved, elapsed, state):
        inputs, run, n_runs = launch
        due = accept & at_stop & (saved < inputs.limits[1])
        for i in range(n):
            store_run(outputs.states, (saved * n + i) * n_runs, run, due, state[i])
        return select(due, saved + 1, saved)

    def finish(launch, outputs, valid, saved, elapsed, state):
        store_run(outputs.times, 0, launch.run, valid, elapsed)
        store_run(outputs.saved, 0, launch.run, valid, saved)

    return save, finish


def _steps(backend: Backend, n: int):
    def save(launch, outputs, accept, at_stop, saved, elapsed, state):
        run, n_runs = launch.run, launch.n_runs
        # Points beyond the room are counted all the same: the caller then knows
        # how much room the run needs.
        point = load_run(outputs.first, 0, 1, run, n_runs) + saved
        due = accept & (point < load_run(outputs.first, 1, 1, run, n_runs))
        for i in range(n):
            store_run(outputs.states, i, point * n, due, state[i])
        store_run(outputs.times, 0, point, due, elapsed)
        return select(accept, saved + 1, saved)

    def finish(launch, outputs, valid, saved, elapsed, state):
        store_run(outputs.saved, 0, launch.run, valid, saved)

    return save, finish
