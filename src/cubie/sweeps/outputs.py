"""What is kept of a sweep: variables with names, dimensions and sizes that are known before."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from cubie.labelled.words import (
    COMPONENT,
    EVENT,
    N_EVENTS,
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
from cubie.launch.sensitivities import names_kept, of_base
from cubie.run.summaries.kinds import Clock
from cubie.sweeps.derivatives import derivatives_of
from cubie.sweeps.model import Model
from cubie.sweeps.variable import Variable


def variables_of(model: Model) -> tuple[Variable, ...]:
    """Return what is kept of runs, the status last: it says that all else is there."""
    found = [
        *_of_points(model),
        *_of_summaries(model),
        *_of_events(model),
        *derivatives_of(model, components_of(model)),
        *_of_work(model),
    ]
    return (*found, _status())


def components_of(model: Model) -> tuple[str, ...]:
    """Return the names of the states that are kept."""
    _, kept = of_base(model.systems.states, model.run_settings.choice.states)
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
    for name in names_kept(model.systems.observables, model.run_settings.choice):
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
        if tracked.by is not None:
            continue  # derivatives are told apart
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
