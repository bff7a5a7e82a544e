"""What no run may have: times, and numbers, that `solve_ivp` would refuse of it by itself.

Looked at before anything is computed: of axes that are held as numbers, however many runs they
make. What a distribution draws is looked at chunk by chunk.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from attrs import evolve

from cubie import checks
from cubie.errors import InvalidProblem
from cubie.launch.stops import lay_out_stops
from cubie.run.saving import SaveMode
from cubie.settings import SolverSettings
from cubie.sweeps.axes import Rows, Space
from cubie.sweeps.draws import Draws
from cubie.sweeps.model import Model
from cubie.sweeps.places import TIMES

MOST_SPANS = 10**6  # that are looked at one by one; of more, where both ends are farthest

Spans = tuple[np.ndarray, np.ndarray]


def require_runs(model: Model, settings: SolverSettings, space: Space, drawn: Draws | None) -> None:
    """Refuse a sweep with runs that would be refused.

    Raises
    ------
    InvalidProblem
    """
    for axis in space.axes:
        if isinstance(axis, Rows):
            for name, values in zip(axis.names, axis.columns, strict=True):
                _require_held(name, values, np.dtype(model.dtype))
                if axis.dim == name:
                    _require_apart(name, values, np.dtype(model.dtype))
    _require_usual_held(model)
    spans = spans_of(model.span, space, drawn)
    for span in _farthest(*spans):
        _require_span(model, settings, span)
    if model.window is not None:
        window = evolve(model.window, may_miss=False)
        window.elapsed(spans if model.has_own_spans else model.span)


def _require_usual_held(model: Model) -> None:
    """Refuse what all runs begin with where their dtype does not hold it."""
    dtype = np.dtype(model.dtype)
    states = [name for name in model.state_names for _ in range(2 if model.in_pairs else 1)]
    parameters = model.systems.states.parameter_names
    for what, names, values in (
        ("y0", states, model.start), ("args", parameters, model.parameters)
    ):  # fmt: skip
        for i in range(len(values)):
            name = names[i] if i < len(names) else i
            with np.errstate(over="ignore", under="ignore"):
                checks.fit(f"{what}[{name!r}]", values[i : i + 1], values[i : i + 1].astype(dtype))


def _require_held(name: str, values: np.ndarray, dtype: np.dtype) -> None:
    """Refuse numbers that are too large, or too small, for the dtype of runs."""
    if name in TIMES or dtype == np.float64:
        return
    for part in (np.real(values), np.imag(values)) if values.dtype.kind == "c" else (values,):
        with np.errstate(over="ignore", under="ignore"):
            checks.fit(f"over[{name!r}]", part, part.astype(dtype))


def _require_apart(name: str, values: np.ndarray, dtype: np.dtype) -> None:
    """Refuse values of an axis that differ, and are the same number in the dtype of runs."""
    if name in TIMES or dtype == np.float64 or values.dtype.kind == "c":
        return
    in_order = np.unique(values)
    same = np.flatnonzero(np.diff(in_order.astype(dtype)) == 0)
    if len(same):
        first, second = in_order[same[0] : same[0] + 2].tolist()
        raise InvalidProblem(
            "over",
            f"sweeps {name!r} over {first!r} and {second!r}, which are the same number in {dtype}: "
            "leave out what does not differ, or give dtype='float64'.",
        )


def _require_span(model: Model, settings: SolverSettings, span: tuple[float, float]) -> None:
    """Refuse a span that is none, or that times and step sizes do not go with."""
    prepared = model.prepared
    checks.endless(span, settings.ends_at_events)
    times = checks.save_times(model.times, span)
    step: Any = settings.checked_first_step(prepared.adaptive, span)
    inside = prepared.mode is SaveMode.TIMES
    if prepared.adaptive:
        step = None
    lay_out_stops(span, times, step, prepared.dtype, prepared.reads_time, inside=inside)


def spans_of(span: tuple[float, float], space: Space, drawn: Draws | None) -> Spans:
    """Return the starts and ends that runs have, each pair at least once where they are few.

    Of what is drawn from an interval, its ends; of what is drawn otherwise, the median.
    """
    along: list[dict[str, np.ndarray]] = []
    for axis in space.axes:
        names = [name for name in axis.names if name in TIMES]
        if isinstance(axis, Rows):
            of_axis = {name: np.real(axis.columns[axis.names.index(name)]) for name in names}
            along += [of_axis] if names else []
        else:
            along += [{name: _bounds(axis.draws, name)} for name in names]
    if drawn is not None:
        along += [{name: _bounds(drawn, name)} for name in drawn.names if name in TIMES]
    found = {name: np.array([usual]) for name, usual in zip(TIMES, span, strict=True)}
    if len(along) == 2 and np.prod([len(_one_of(values)) for values in along]) > MOST_SPANS:
        along = [{k: np.array([v.min(), v.max()]) for k, v in part.items()} for part in along]
    if len(along) == 2:
        (a, first), (b, second) = (next(iter(part.items())) for part in along)
        found |= {a: np.repeat(first, len(second)), b: np.tile(second, len(first))}
    elif along:
        found |= along[0]
    starts, ends = np.broadcast_arrays(*(found[name] for name in TIMES))
    return starts, ends


def _one_of(values: dict[str, np.ndarray]) -> np.ndarray:
    return next(iter(values.values()))


def _bounds(draws: Draws, name: str) -> np.ndarray:
    marginal = draws.marginals[draws.names.index(name)]
    if isinstance(marginal, tuple):
        return np.array(marginal)
    return np.array([draws.median(name)])


def _farthest(starts: np.ndarray, ends: np.ndarray) -> Iterator[tuple[float, float]]:
    """Yield the spans that begin, end, or reach farthest, and the shortest."""
    lengths = ends - starts
    with np.errstate(invalid="ignore"):
        apart = np.where(lengths == 0, np.inf, np.abs(lengths))
    ways: Sequence[np.ndarray] = (starts, -starts, ends, -ends, lengths, -lengths, apart)
    for at in dict.fromkeys(itertools.chain(int(np.argmin(way)) for way in ways)):
        yield float(starts[at]), float(ends[at])


def checked_times(given: Any, span: tuple[float, float]) -> np.ndarray | None:
    """Return `t_eval`, of which `require_runs` sees whether it lies within every run.

    Raises
    ------
    InvalidProblem
    """
    times = checks.save_times(given, span)
    if times is not None and times.ndim > 1:
        raise InvalidProblem("t_eval", "has a row for each run; of a sweep all have the same.")
    return times
