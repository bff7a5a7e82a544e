"""What is kept of a sweep: variables with names, dimensions and sizes that are known before."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from attrs import field, frozen

from cubie.labelled.words import (
    COMPONENT,
    EVENT,
    N_EVENTS,
    NOT_DONE,
    OCCURRENCE,
    STATE,
    STATES,
    STATUS,
    T_EVENTS,
    T_REACHED,
    TIME,
    Y_EVENTS,
    about,
    about_states,
    about_status,
    counted_of,
    of_summary,
    own_dimensions,
    parts_of,
)
from cubie.launch.results import Result
from cubie.run.summaries.kinds import Clock
from cubie.sweeps.model import Model


@frozen(eq=False)
class Variable:
    """One array of a sweep, with the dimensions of all runs first.

    Attributes
    ----------
    name : str
    dims : tuple of str
        Behind those of the runs.
    sizes : tuple of int
    dtype : dtype
    about : dict
        Attributes, as conventions of climate and forecast data call them.
    read : callable
        ``read(result)``: its values, (n_runs, *sizes).
    """

    name: str
    dims: tuple[str, ...]
    sizes: tuple[int, ...]
    dtype: np.dtype
    about: dict[str, Any] = field(repr=False)
    read: Callable[[Result], np.ndarray] = field(repr=False)

    @property
    def bytes_per_run(self) -> int:
        """How much of it there is of a run."""
        return self.dtype.itemsize * math.prod(self.sizes)

    @property
    def fill(self) -> Any:
        """What it holds of runs that nobody computed yet."""
        if self.name == STATUS:
            return NOT_DONE
        return self.dtype.type(np.nan if self.dtype.kind in "fc" else 0)


def variables_of(model: Model) -> tuple[Variable, ...]:
    """Return what is kept of runs, the status last: it says that all else is there."""
    found = [
        *_of_points(model),
        *_of_summaries(model),
        *_of_events(model),
        *_of_work(model),
    ]
    return (*found, _status())


def components_of(model: Model) -> tuple[str, ...]:
    """Return the names of the states that are kept."""
    kept = model.run_settings.choice.states
    if kept is None:
        return model.state_names
    if model.in_pairs:
        kept = tuple(i // 2 for i in kept[::2])
    return tuple(model.state_names[i] for i in kept)


def events_of(model: Model) -> int:
    """Return how many events are looked for."""
    rules = model.run_settings.events
    return 0 if rules is None else len(rules)


def _of_points(model: Model) -> Iterator[Variable]:
    dtype = np.dtype(model.dtype)
    names, times = components_of(model), model.times
    at = () if times is None else (TIME,)
    sizes = () if times is None else (len(times),)
    if names:
        states = np.dtype(np.result_type(dtype, np.complex64)) if model.in_pairs else dtype
        yield Variable(
            STATES, (COMPONENT, *at), (len(names), *sizes), states, about_states(times is None),
            _final if times is None else _all_points,
        )  # fmt: skip
    system = model.systems.observables
    if system is not None:
        for name in model.run_settings.choice.of_observables(system.output_names):
            told = {"long_name": name}
            yield Variable(name, at, sizes, dtype, told, partial(_observable, name, times is None))


def _final(result: Result) -> np.ndarray:
    return result.y[:, :, 0]


def _all_points(result: Result) -> np.ndarray:
    return result.y


def _observable(name: str, final: bool, result: Result) -> np.ndarray:
    values = result.observables[name]
    return values[:, 0] if final else values


def _of_summaries(model: Model) -> Iterator[Variable]:
    prepared = model.prepared
    tracking = prepared.kernel.integrator.loop.tracking
    if tracking is None:
        return
    called = dict(model.summary_names)
    clock = Clock(0.0, 1.0)
    last = () if tracking.exponents is None else (tracking.exponents,)
    for tracked in (*tracking.states, *tracking.observables, *last):
        key = tracked.key if isinstance(tracked.key, str) else model.state_names[tracked.key]
        for label, summary, _ in tracked.summaries:
            alike = summary.result(np.zeros((summary.n_slots, 1)), clock)
            for part, values in parts_of(alike):
                name, told = of_summary(label, called.get(key, key), part)
                sizes = values.shape[1:]
                dims = own_dimensions(told, len(sizes))
                if not all(sizes):  # none are kept, only counted
                    continue
                read = partial(_summary, tracked.key, label, part)
                yield Variable(name, dims, sizes, values.dtype, {"long_name": name}, read)


def _summary(key: Any, label: str, part: str, result: Result) -> np.ndarray:
    return dict(parts_of(result.summaries[key][label]))[part]


def _of_events(model: Model) -> Iterator[Variable]:
    n, room = events_of(model), model.event_room
    if not n:
        return
    yield Variable(N_EVENTS, (EVENT,), (n,), np.dtype(np.int32), about(N_EVENTS), _event_counts)
    if room:
        dims, sizes = (EVENT, OCCURRENCE), (n, room)
        names = model.state_names
        whole = np.dtype(np.complex128 if model.in_pairs else np.float64)
        yield Variable(T_EVENTS, dims, sizes, np.dtype(np.float64), about(T_EVENTS), _event_times)
        yield Variable(
            Y_EVENTS, (*dims, STATE), (*sizes, len(names)), whole, about(Y_EVENTS), _event_states
        )


def _event_counts(result: Result) -> np.ndarray:
    return np.stack(result.n_events or [], axis=1)


def _event_times(result: Result) -> np.ndarray:
    return np.stack(result.t_events or [], axis=1)


def _event_states(result: Result) -> np.ndarray:
    return np.stack(result.y_events or [], axis=1)


def _of_work(model: Model) -> Iterator[Variable]:
    counters = model.prepared.kernel.integrator.loop.counter_names
    for name in counted_of(counters, model.run_settings.method.implicit):
        yield Variable(name, (), (), np.dtype(np.int32), about(name), partial(_attribute, name))
    yield Variable(
        T_REACHED, (), (), np.dtype(np.float64), about(T_REACHED), partial(_attribute, T_REACHED)
    )


def _attribute(name: str, result: Result) -> np.ndarray:
    return np.asarray(getattr(result, name))


def _status() -> Variable:
    told = about_status(not_done=True)
    return Variable(STATUS, (), (), np.dtype(np.int8), told, partial(_attribute, STATUS))


def values_of(
    variables: tuple[Variable, ...], result: Result, shape: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """Return what is kept of a result, each array with the shape of its runs first."""
    found = {}
    for variable in variables:
        values = np.asarray(variable.read(result))
        if values.shape[1:] != variable.sizes:  # fewer events happened than there is room for
            wide = np.full((len(values), *variable.sizes), variable.fill, variable.dtype)
            wide[tuple(slice(n) for n in values.shape)] = values
            values = wide
        values = values.astype(variable.dtype, copy=False)
        found[variable.name] = values.reshape(*shape, *variable.sizes)
    return found
