"""What a run leaves behind, and when: its end, at given times, or at every step.

*When* is a `SaveMode`; it makes the device functions for the loop, and "nothing on the way" is
functions that do nothing. *What* is kept of each point is a tuple of `Kept`, one for each array of
the outputs: what is added there is saved in every mode.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import StrEnum
from typing import Any, NamedTuple

from attrs import frozen

from cubie.backend import Backend, any_lane, in_turn, load_run, select, shared_function, store_run


class SaveMode(StrEnum):
    """Which points of a run are kept."""

    FINAL = "final"
    TIMES = "times"  # given ones, read off the solution inside steps
    STOPS = "stops"  # given ones, that steps land on
    STEPS = "steps"

    @property
    def at_times(self) -> bool:
        """Points are kept at times that are given."""
        return self in (SaveMode.TIMES, SaveMode.STOPS)


class Point(NamedTuple):
    """What there is of a run at a point, kept or not."""

    state: Any  # buffer, (n,)
    observables: Any  # buffer for their values here: anything else where there are none
    # `Lane`: whatever else the run has. Its own state may be that of the step before, and once a
    # run is over, what is not masked (as `dt`) goes on in a lane that waits for others.
    lane: Any


class Taken(NamedTuple):
    """An attempted step; values of lanes."""

    accept: Any  # lanes in which it was accepted
    at_stop: Any  # lanes in which it lands on a time to save at
    elapsed: Any  # the clock where it starts, see `cubie.run.clock`
    carry: Any
    h: Any  # its size, positive
    direction: Any  # 1 or -1
    ahead: Any  # the clock where it ends
    ahead_carry: Any
    t: Any  # the time where it starts
    given: Any  # what right-hand sides get beside the state


@frozen
class Kept:
    """One thing that is kept of each point.

    Attributes
    ----------
    name : str
        The array of `KernelOutputs` that it goes to, one of those `OF_POINTS`.
    size : int
        Its elements at each point.
    reach : callable
        ``reach(outputs, point) -> (array, buffer)``: where it goes, and where it is in a `Point`.
    chosen : tuple of int, optional
        Which elements of the buffer are kept, in this order; None for the first `size`.
    """

    name: str
    size: int
    reach: Callable
    chosen: tuple[int, ...] | None = None


def _reach_states(outputs, point):
    return outputs.states, point.state


def _reach_observables(outputs, point):
    return outputs.observables, point.observables


@frozen
class Choice:
    """Which states and observables are kept of each point.

    Attributes
    ----------
    states, observables : tuple of int or None
        In this order; None: all of them.
    """

    states: tuple[int, ...] | None = None
    observables: tuple[int, ...] | None = None

    def kept(self, n_states: int, n_observables: int) -> tuple[Kept, ...]:
        """Return what keeps them; nothing of a kind that none is kept of."""
        kinds = (
            ("states", n_states, self.states, _reach_states),
            ("observables", n_observables, self.observables, _reach_observables),
        )
        kept = []
        for name, n, chosen, reach in kinds:
            size = n if chosen is None else len(chosen)
            if size:
                kept.append(Kept(name, size, reach, chosen))
        return tuple(kept)

    def of_observables(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the names of the observables that are kept."""
        return names if self.observables is None else tuple(names[i] for i in self.observables)


Sizes = tuple[tuple[str, int], ...]


def sizes_of(kept: tuple[Kept, ...]) -> Sizes:
    """Return the name and the size of all that is kept: from them the arrays are laid out."""
    return tuple((one.name, one.size) for one in kept)


@frozen
class SaveFunctions:
    """Device functions that write the outputs of a run.

    `saved` counts the points of the run so far (int lanes).

    Attributes
    ----------
    begin : callable
        ``begin(launch, outputs, fresh, at_stop, saved, elapsed, point)``: keeps the first `Point`
        of runs in the lanes where it is due; returns the new `saved`.
    save : callable
        ``save(memory, launch, outputs, step, saved, point)``: the same of a step that was `Taken`,
        with the `Point` that it leads to, and those inside it.
    finish : callable
        ``finish(launch, outputs, valid, saved, elapsed, point)``.
    """

    begin: Callable
    save: Callable
    finish: Callable


@shared_function
def build_saving(
    mode: SaveMode,
    backend: Backend,
    kept: tuple[Kept, ...],
    observe: Callable | None = None,
    read: Callable | None = None,
) -> SaveFunctions:
    """Return the device functions of a mode, for what is kept of each point.

    `observe`, a device function ``observe(launch, outputs, point, elapsed, where, due)``, computes
    what there is of a point beside its state; it is called before a point is kept. `read`, of what
    `build_store` returns, replaces `save`: it finds points inside steps.
    """
    make = {SaveMode.FINAL: _final, SaveMode.STEPS: _steps}.get(mode, _times)
    keep, finish = (backend.device(function) for function in make(backend, kept, observe))

    def save(memory, launch, outputs, step, saved, point):
        return keep(launch, outputs, step.accept, step.at_stop, saved, step.ahead, point)

    return SaveFunctions(keep, backend.device(save) if read is None else read, finish)


def build_store_at_times(
    backend: Backend, kept: tuple[Kept, ...], observe: Callable | None
) -> Callable:
    """Return ``store(launch, outputs, point, elapsed, where, due)``: keeps point number `where`."""
    make = _in_a_row if backend.keeps_rows else _beside_other_runs
    return _build_store(backend, kept, observe, make)


def _build_store(
    backend: Backend, kept: tuple[Kept, ...], observe: Callable | None, make: Callable
) -> Callable:
    """Return one function that stores all that is kept; `make` that of one thing."""
    stores = [make(k.size, backend.device(k.reach), k.chosen) for k in kept]
    functions = [backend.device(store) for store in stores]
    if observe is not None:
        functions.insert(0, observe)
    return in_turn(backend, functions, 6)


def _beside_other_runs(size: int, reach: Callable, chosen: tuple[int, ...] | None):
    """Store the elements of point number `where`, each next to that of the other runs."""
    places = chosen or ()

    def store(launch, outputs, point, elapsed, where, due):
        array, values = reach(outputs, point)
        run, stride = launch.run, launch.n_runs
        for i in range(size):
            store_run(array, (where * size + i) * stride, run, due, values[i])

    def store_chosen(launch, outputs, point, elapsed, where, due):
        array, values = reach(outputs, point)
        run, stride = launch.run, launch.n_runs
        for i in range(size):
            store_run(array, (where * size + i) * stride, run, due, values[places[i]])

    return store if chosen is None else store_chosen


def _in_a_row(size: int, reach: Callable, chosen: tuple[int, ...] | None):
    """Store the elements of point number `where`, each next to that of the run's other points."""
    places = chosen or ()

    def store(launch, outputs, point, elapsed, where, due):
        array, values = reach(outputs, point)
        n_times = launch.inputs.limits[1]
        first = launch.run * (size * n_times)
        for i in range(size):
            store_run(array, i * n_times + where, first, due, values[i])

    def store_chosen(launch, outputs, point, elapsed, where, due):
        array, values = reach(outputs, point)
        n_times = launch.inputs.limits[1]
        first = launch.run * (size * n_times)
        for i in range(size):
            store_run(array, i * n_times + where, first, due, values[places[i]])

    return store if chosen is None else store_chosen


def _next_to_each_other(size: int, reach: Callable, chosen: tuple[int, ...] | None):
    """Store the elements of point number `where` of all points, one after the other."""
    places = chosen or ()

    def store(launch, outputs, point, elapsed, where, due):
        array, values = reach(outputs, point)
        for i in range(size):
            store_run(array, i, where * size, due, values[i])

    def store_chosen(launch, outputs, point, elapsed, where, due):
        array, values = reach(outputs, point)
        for i in range(size):
            store_run(array, i, where * size, due, values[places[i]])

    return store if chosen is None else store_chosen


def _final(backend: Backend, kept: tuple[Kept, ...], observe: Callable | None):
    store = _build_store(backend, kept, observe, _beside_other_runs)

    def save(launch, outputs, accept, at_stop, saved, elapsed, point):
        return saved

    def finish(launch, outputs, valid, saved, elapsed, point):
        store(launch, outputs, point, elapsed, 0, valid)
        store_run(outputs.times, 0, launch.run, valid, elapsed)

    return save, finish


def _times(backend: Backend, kept: tuple[Kept, ...], observe: Callable | None):
    store = build_store_at_times(backend, kept, observe)
    leave_out = _build_leave_out(backend, kept)

    def save(launch, outputs, accept, at_stop, saved, elapsed, point):
        due = accept & at_stop & (saved < launch.inputs.limits[1])
        store(launch, outputs, point, elapsed, saved, due)
        return select(due, saved + 1, saved)

    def finish(launch, outputs, valid, saved, elapsed, point):
        store_run(outputs.times, 0, launch.run, valid, elapsed)
        store_run(outputs.saved, 0, launch.run, valid, saved)
        leave_out(launch, outputs, valid, saved, point)

    return save, finish


def _build_leave_out(backend: Backend, kept: tuple[Kept, ...]) -> Callable:
    """Return ``leave_out(launch, outputs, valid, saved, point)``: NaN in points not reached."""
    make = _nan_in_a_row if backend.keeps_rows else _nan_beside_other_runs
    fills = [backend.device(make(k.size, backend, k.reach)) for k in kept]
    fill = in_turn(backend, fills, 5)

    def leave_out(launch, outputs, valid, saved, point):
        missing = valid & (saved < launch.inputs.limits[1])
        while any_lane(missing):
            fill(launch, outputs, point, saved, missing)
            saved = select(missing, saved + 1, saved)
            missing = missing & (saved < launch.inputs.limits[1])

    return backend.device(leave_out)


def _nan_beside_other_runs(size: int, backend: Backend, reach: Callable):
    reach, nan = backend.device(reach), backend.constant(math.nan)

    def fill(launch, outputs, point, where, missing):
        array, _ = reach(outputs, point)
        run, stride = launch.run, launch.n_runs
        for i in range(size):
            store_run(array, (where * size + i) * stride, run, missing, nan)

    return fill


def _nan_in_a_row(size: int, backend: Backend, reach: Callable):
    reach, nan = backend.device(reach), backend.constant(math.nan)

    def fill(launch, outputs, point, where, missing):
        array, _ = reach(outputs, point)
        n_times = launch.inputs.limits[1]
        first = launch.run * (size * n_times)
        for i in range(size):
            store_run(array, i * n_times + where, first, missing, nan)

    return fill


def _steps(backend: Backend, kept: tuple[Kept, ...], observe: Callable | None):
    store = _build_store(backend, kept, observe, _next_to_each_other)

    def save(launch, outputs, accept, at_stop, saved, elapsed, point):
        run, n_runs = launch.run, launch.n_runs
        # Points beyond the room are counted all the same: the caller then knows
        # how much room the run needs.
        where = load_run(outputs.first, 0, 1, run, n_runs) + saved
        due = accept & (where < load_run(outputs.first, 1, 1, run, n_runs))
        store(launch, outputs, point, elapsed, where, due)
        store_run(outputs.times, 0, where, due, elapsed)
        return select(accept, saved + 1, saved)

    def finish(launch, outputs, valid, saved, elapsed, point):
        store_run(outputs.saved, 0, launch.run, valid, saved)

    return save, finish
