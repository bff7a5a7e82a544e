"""Labelled results as tables of pandas: of runs, of the points of runs, or of events."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from cubie.errors import InvalidOption
from cubie.labelled.packages import pandas
from cubie.labelled.words import (
    COMPONENT,
    DRAWN,
    DT_EVENTS,
    DY_EVENTS,
    EVENT,
    OCCURRENCE,
    POINT,
    STATE,
    STATES,
    STATUS,
    T_EVENTS,
    TIME,
    Y_EVENTS,
)

RUNS, POINTS, EVENTS = "runs", "points", "events"


def tables_in(dataset: Any) -> tuple[str, ...]:
    """Return of what there is a table; the first is what `table_of` makes unless it is told."""
    dims = {dim for variable in dataset.data_vars.values() for dim in variable.dims}
    found = [POINTS] if dims & {TIME, POINT} else []
    return (*found, RUNS, *([EVENTS] if T_EVENTS in dataset else []))


def table_of(dataset: Any, rows: str | None = None) -> Any:
    """Return a DataFrame; each row has what is known of its run, and its status, too.

    Parameters
    ----------
    dataset : xarray.Dataset
    rows : {"runs", "points", "events"}, optional
        What a row is of; by default a point where points are kept, else a run.

    Raises
    ------
    InvalidOption
        Where there are none of these.
    ImportError
        Where pandas is not installed.
    """
    there = tables_in(dataset)
    rows = there[0] if rows is None else rows
    if rows not in there:
        raise InvalidOption("rows", rows, there)
    runs = tuple(map(str, dataset[STATUS].dims))
    return {RUNS: _of_runs, POINTS: _of_points, EVENTS: _of_events}[rows](dataset, runs)


def _of_runs(dataset: Any, runs: tuple[str, ...]) -> Any:
    columns: dict[str, np.ndarray] = {}
    for name, variable in _coordinates(dataset, runs):
        columns[name] = _spread(variable, dataset, runs)
    for name, variable in dataset.data_vars.items():
        if not set(variable.dims) & {TIME, POINT, OCCURRENCE}:
            columns |= _columns(dataset, str(name), runs)
    return _frame(columns, _index(dataset, runs))


def _of_points(dataset: Any, runs: tuple[str, ...]) -> Any:
    at = next(d for v in dataset.data_vars.values() for d in v.dims if d in (TIME, POINT))
    rows = (*runs, at)
    columns = {name: _spread(v, dataset, rows) for name, v in _known(dataset, runs)}
    for name, variable in dataset.data_vars.items():
        if at in variable.dims:
            columns |= _columns(dataset, str(name), rows)
    columns[STATUS] = _spread(dataset[STATUS], dataset, rows)
    times = _spread(dataset[TIME], dataset, rows) if TIME in dataset.coords else None
    if times is None or at == TIME:
        return _frame(columns, _index(dataset, rows))
    there = ~np.isnan(times)  # runs have different numbers of points
    levels = [*_levels(dataset, rows)[:-1], times]
    kept = {name: values[there] for name, values in columns.items()}
    return _frame(kept, _made([level[there] for level in levels], (*runs, TIME)))


def _of_events(dataset: Any, runs: tuple[str, ...]) -> Any:
    rows = (*runs, EVENT, OCCURRENCE)
    times = _spread(dataset[T_EVENTS], dataset, rows)
    there = ~np.isnan(times)
    columns = {name: _spread(v, dataset, rows) for name, v in _known(dataset, runs)}
    columns[TIME] = times
    if Y_EVENTS in dataset:
        states = dataset[Y_EVENTS]
        for i in range(states.sizes[STATE]):
            name = str(states[STATE].values[i]) if STATE in states.coords else f"y{i}"
            columns[name] = _spread(states.isel({STATE: i}), dataset, rows)
    for name in (DT_EVENTS, DY_EVENTS):
        if name in dataset:
            columns |= _columns(dataset, name, rows)
    columns[STATUS] = _spread(dataset[STATUS], dataset, rows)
    kept = {name: values[there] for name, values in columns.items()}
    return _frame(kept, _made([level[there] for level in _levels(dataset, rows)], rows))


def _coordinates(dataset: Any, runs: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Yield coordinates along runs that are no axes themselves."""
    for name, variable in dataset.coords.items():
        if name not in runs and variable.dims and set(variable.dims) <= set(runs):
            yield str(name), variable


def _known(dataset: Any, runs: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Yield what is known of a run beside its axes: coordinates, and what each draws for itself."""
    yield from _coordinates(dataset, runs)
    for name, variable in dataset.data_vars.items():
        if DRAWN.items() <= variable.attrs.items():
            yield str(name), variable


def _spread(variable: Any, dataset: Any, rows: Sequence[str]) -> np.ndarray:
    """Return a value of each row, (n_rows,)."""
    present = [d for d in rows if d in variable.dims]
    values = variable.transpose(*present).values
    shape = [dataset.sizes[d] if d in present else 1 for d in rows]
    whole = np.broadcast_to(values.reshape(shape), [dataset.sizes[d] for d in rows])
    return whole.reshape(-1)


def _columns(dataset: Any, name: str, rows: Sequence[str]) -> dict[str, np.ndarray]:
    """Return a column for each number that there is of a row."""
    variable = dataset[name]
    own = [d for d in variable.dims if d not in rows]
    found = {}
    for places in itertools.product(*(range(variable.sizes[d]) for d in own)):
        at = dict(zip(own, places, strict=True))
        found[_column(dataset, name, at)] = _spread(variable.isel(at), dataset, rows)
    return found


def _column(dataset: Any, name: str, at: dict[Any, int]) -> str:
    """Return what a column is called: a component by its own name."""
    if name == STATES and list(at) == [COMPONENT]:
        component = str(dataset[COMPONENT].values[at[COMPONENT]])
        if component == STATES or component not in dataset.variables:
            return component
    labels = [
        str(dataset[dim].values[place]) if dim in dataset.coords else str(place)
        for dim, place in at.items()
    ]
    return f"{name}[{', '.join(labels)}]" if labels else name


def _levels(dataset: Any, rows: Sequence[str]) -> list[np.ndarray]:
    """Return of each row where it is along each dimension."""
    sizes = [dataset.sizes[d] for d in rows]
    found = []
    for i, dim in enumerate(rows):
        own = dataset[dim].values if dim in dataset.coords else np.arange(sizes[i])
        inner = math.prod(sizes[i + 1 :])
        found.append(np.tile(np.repeat(own, inner), math.prod(sizes[:i])))
    return found


def _index(dataset: Any, rows: Sequence[str]) -> Any:
    if not rows:
        return None
    axes = [dataset[d].values if d in dataset.coords else np.arange(dataset.sizes[d]) for d in rows]
    if len(axes) == 1:
        return pandas().Index(axes[0], name=rows[0])
    return pandas().MultiIndex.from_product(axes, names=list(rows))


def _made(levels: Sequence[np.ndarray], names: Sequence[str]) -> Any:
    if len(levels) == 1:
        return pandas().Index(levels[0], name=names[0])
    return pandas().MultiIndex.from_arrays(levels, names=list(names))


def _frame(columns: dict[str, np.ndarray], index: Any) -> Any:
    return pandas().DataFrame(columns, index=index)
