"""Derivatives by inputs that are kept of a sweep, and what inputs are called there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from cubie.labelled import derivatives
from cubie.labelled.words import (
    COMPONENT,
    DERIVATIVES,
    DT_EVENTS,
    DY_EVENTS,
    EVENT,
    INPUT,
    OCCURRENCE,
    STATE,
    TIME,
    about,
    of_derivative,
    of_summary,
    own_dimensions,
)
from cubie.launch.results import Result
from cubie.launch.sensitivities import names_kept
from cubie.run.summaries.kinds import Clock
from cubie.sweeps.model import Model
from cubie.sweeps.variable import Variable


def inputs_of(model: Model) -> tuple[str, ...]:
    """Return what runs are differentiated by; initial states by the names of their states."""
    joint = model.systems.states.joint
    if joint is None or joint.of_directions:
        return ()
    named = model.state_names != tuple(f"y{i}" for i in range(len(model.state_names)))
    return tuple(
        f"y0[{model.state_names[one.number]}]" if one.is_initial and named else one.name
        for one in joint.inputs
    )


def derivatives_of(model: Model, components: Sequence[str]) -> Iterator[Variable]:
    """Yield the derivatives of all that is kept of runs and has some.

    `components` are the states that are kept.
    """
    n_inputs = len(inputs_of(model))
    if n_inputs:
        yield from _of_points(model, components, n_inputs)
        yield from _of_summaries(model, n_inputs)
        yield from _of_events(model, n_inputs)


def _of_points(model: Model, components: Sequence[str], n_inputs: int) -> Iterator[Variable]:
    dtype, times = np.dtype(model.dtype), model.times
    at = () if times is None else (TIME,)
    sizes = n_inputs, *(() if times is None else (len(times),))
    read = partial(derivatives.of_points, final=times is None, at=at)
    if components:
        yield Variable(
            DERIVATIVES, (COMPONENT, INPUT, *at), (len(components), *sizes), dtype,
            about(DERIVATIVES), partial(_one_of, read, DERIVATIVES),
        )  # fmt: skip
    for key in names_kept(model.systems.observables, model.run_settings.choice):
        name, told = of_derivative(key)
        yield Variable(name, (INPUT, *at), sizes, dtype, told, partial(_one_of, read, name))


def _of_summaries(model: Model, n_inputs: int) -> Iterator[Variable]:
    tracking = model.prepared.kernel.integrator.loop.tracking
    if tracking is None:
        return
    called, seen = dict(model.summary_names), set()
    for tracked in (*tracking.states, *tracking.observables):
        if tracked.by is None:
            continue
        given = tracked.key
        key = given if isinstance(given, str) else model.state_names[given]
        for label, summary, _ in tracked.summaries:
            if (given, label) in seen:  # of another input
                continue
            seen.add((given, label))
            alike = summary.result(np.zeros((summary.n_slots, 1)), Clock(0.0, 1.0))
            plain, told = of_summary(label, called.get(key, key), "")
            name, about_it = of_derivative(plain)
            own = alike.shape[1:]
            yield Variable(
                name, (*own_dimensions(told, len(own)), INPUT), (*own, n_inputs), alike.dtype,
                about_it, partial(_summary, given, label),
            )  # fmt: skip


def _summary(key: Any, label: str, result: Result) -> np.ndarray:
    return result.dsummaries[key][label]


def _of_events(model: Model, n_inputs: int) -> Iterator[Variable]:
    events, room = model.systems.events, model.event_room
    if events is None or not room or all(one is None for one in events.timings):
        return
    n_events, dtype = len(events.timings), np.dtype(np.float64)
    read = partial(derivatives.of_events, n_before=1, width=room)
    n_states = len(model.state_names)
    for name, dims, sizes in (
        (DT_EVENTS, (EVENT, OCCURRENCE, INPUT), (n_events, room, n_inputs)),
        (DY_EVENTS, (EVENT, OCCURRENCE, STATE, INPUT), (n_events, room, n_states, n_inputs)),
    ):
        yield Variable(name, dims, sizes, dtype, about(name), partial(_one_of, read, name))


def _one_of(
    read: Callable[[Result], Iterator[derivatives.Variable]], name: str, result: Result
) -> np.ndarray:
    return next(values for found, _, values, _ in read(result) if found == name)
