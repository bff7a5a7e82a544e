"""Derivatives by inputs as labelled variables, of a result that has some."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from cubie.labelled.words import (
    COMPONENT,
    DERIVATIVES,
    DT_EVENTS,
    DY_EVENTS,
    EVENT,
    INPUT,
    OCCURRENCE,
    STATE,
    about,
    of_derivative,
    of_summary,
    own_dimensions,
)

Variable = tuple[str, tuple[str, ...], np.ndarray, dict[str, Any]]
"""A name, dimensions behind that of the runs, values, and attributes."""


def of_points(result: Any, final: bool, at: tuple[str, ...]) -> Iterator[Variable]:
    """Yield those of states and observables; `at` is the dimension of points, if there is one."""

    def values(found: Any) -> np.ndarray:
        found = np.asarray(found)
        return found[..., 0] if final else found

    if result.dy is not None and result._kind.states.kept:
        dims = COMPONENT, INPUT, *at
        yield DERIVATIVES, dims, values(result.dy), about(DERIVATIVES)
    for key, found in result.dobservables.items():
        name, told = of_derivative(key)
        yield name, (INPUT, *at), values(found), told


def of_summaries(result: Any, names: Sequence[str], n_before: int) -> Iterator[Variable]:
    """Yield those of summaries.

    Parameters
    ----------
    result : Result
    names : sequence of str
        Of all states.
    n_before : int
        Dimensions of runs: 1 of a batch, 0 of one run.
    """
    for key, of_one in result.dsummaries.items():
        quantity = str(key if isinstance(key, str) else names[key])
        for label, found in of_one.items():
            plain, told = of_summary(label, quantity, "")
            name, about_it = of_derivative(plain)
            own = own_dimensions(told, found.ndim - 1 - n_before)
            yield name, (*own, INPUT), found, about_it


def of_events(result: Any, n_before: int, width: int | None = None) -> Iterator[Variable]:
    """Yield those of times of events and of the states then.

    Parameters
    ----------
    result : Result
    n_before : int
        As that of `of_summaries`.
    width : int, optional
        How many of each event there is room for; as many as there are by default.
    """
    times, states = result.dt_events, result.dy_events
    known = [one for one in times or () if one is not None]
    if not known:
        return
    if width is None:
        width = int(max(one.shape[n_before] for one in known))
    for name, dims, found in (
        (DT_EVENTS, (EVENT, OCCURRENCE, INPUT), times),
        (DY_EVENTS, (EVENT, OCCURRENCE, STATE, INPUT), states),
    ):
        first = next(one for one in found if one is not None)
        shape: list[int] = [len(found), *first.shape]
        shape[n_before + 1] = width
        # Of an event whose time has no derivative all are missing.
        wide = np.full(shape, np.nan, np.result_type(first, float))
        for place, one in zip(wide, found, strict=True):
            if one is not None:
                place[tuple(slice(n) for n in one.shape)] = one
        yield name, dims, np.moveaxis(wide, 0, n_before), about(name)
