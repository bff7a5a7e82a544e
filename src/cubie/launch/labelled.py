"""Results as labelled arrays of xarray, as tables of pandas, and as pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from attrs import frozen

from cubie.backend import DeviceArray
from cubie.distribution import VERSION
from cubie.errors import Described, InvalidOption, InvalidProblem
from cubie.labelled import derivatives
from cubie.labelled.packages import pandas, xarray
from cubie.labelled.pictures import BANDS, plot
from cubie.labelled.tables import POINTS, table_of
from cubie.labelled.words import (
    COMPONENT,
    DERIVATIVES,
    EVENT,
    INPUT,
    N_EVENTS,
    OCCURRENCE,
    POINT,
    RUN,
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
from cubie.launch.ragged import RaggedArray
from cubie.run.saving import SaveMode

N_POINTS = "n_points"


@frozen
class StateNames:
    """What states are called.

    Attributes
    ----------
    all : tuple of str
        Given, or y0, y1, ...; of complex states one each.
    kept : tuple of str
        Those in `y`.
    are_given : bool
    """

    all: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    are_given: bool = False

    @classmethod
    def of(
        cls, names: Sequence[str], chosen: Sequence[int] | None, given: bool, in_pairs: bool
    ) -> StateNames:
        """Return those of a system, of whose states some may be kept alone."""
        if in_pairs:
            chosen = None if chosen is None else [i // 2 for i in chosen[::2]]
            names = [f"y{i}" for i in range(len(names) // 2)]
        kept = names if chosen is None else [names[i] for i in chosen]
        return cls(tuple(names), tuple(kept), given)


class Labelled:
    """The part of a `Result` that shows it with labels."""

    _kind: Any
    _n_runs: int | None

    def to_xarray(self, coords: Mapping[str, Any] | None = None) -> Any:
        """Return the result as an `xarray.Dataset`.

        Dimensions are run (of a batch), component (names of the states) and time; final states have
        no time. Where runs have times of their own, the time is a coordinate (run, point), NaN
        where one has fewer. What lies on a device is copied.

        Parameters
        ----------
        coords : mapping of str to array_like (n_runs,), optional
            What runs differ in, as coordinates along them: ``{"rho": rho}``.

        Raises
        ------
        InvalidOption, InvalidProblem
            For coordinates of other lengths, and names that come twice.
        OutputsTooLarge
            Where runs saved at every step do not fit into one rectangle; see `to_pandas`.
        ImportError
            Where xarray is not installed.
        """
        return dataset_of(self, coords)

    def to_pandas(self, rows: str | None = None, coords: Mapping[str, Any] | None = None) -> Any:
        """Return the result as a `pandas.DataFrame`.

        Parameters
        ----------
        rows : {"runs", "points", "events"}, optional
            What a row is of: a run; a point, found by run and time; an event of a run. Each has
            the `status` of its run. By default a point where points are kept, else a run.
        coords : mapping of str to array_like (n_runs,), optional
            What runs differ in, as columns of the table.

        Raises
        ------
        InvalidOption
        ImportError
            Where xarray or pandas is not installed.
        """
        ragged = isinstance(getattr(self, "t", None), RaggedArray)
        if ragged and rows in (None, POINTS):
            return _table_of_steps(self, dataset_of(self, coords, with_points=False))
        return table_of(dataset_of(self, coords, with_points=not ragged), rows)

    def plot(
        self,
        what: str = STATES,
        *,
        x: str | None = None,
        y: str | None = None,
        coords: Mapping[str, Any] | None = None,
        over: str | Sequence[str] | None = None,
        sel: Mapping[str, Any] | None = None,
        bands: float | Sequence[float] = BANDS,
        ax: Any = None,
        **how: Any,
    ) -> Any:
        """Draw a quantity of the result: trajectories, or numbers over what runs differ in.

        Parameters
        ----------
        what : str
            "y", a component or an observable by its name, a summary ("max of y0"), "status", or of
            complex ones "abs of y0". By default all states.
        x, y : str, optional
            What goes along the axes: the time, "run", one of `coords`, or another quantity.
        coords : mapping of str to array_like (n_runs,), optional
            What runs differ in.
        over, sel, bands
            What is drawn together as a median with bands (of trajectories by default all runs;
            ``over=()`` draws each), where to look, and which shares lie within the bands.
        ax : matplotlib.axes.Axes, optional
            What to draw into; by default a new figure.
        **how
            What matplotlib takes: `color`, `cmap`, `xscale`, ...

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        InvalidOption
            Where there is no such thing, or where more is left than a picture has room for.
        ImportError
            Where matplotlib or xarray is not installed.
        """
        dataset = dataset_of(self, coords)
        return plot(dataset, what, x=x, y=y, over=over, sel=sel, bands=bands, ax=ax, **how)


def dataset_of(result: Any, coords: Any = None, *, with_points: bool = True) -> Any:
    """Return a result as a Dataset; without points what there is of each run alone."""
    found = _Parts(result)
    found.add_run_coordinates(coords)
    if with_points or result._kind.mode is SaveMode.FINAL:
        found.add_points()
    found.add_summaries()
    found.add_events()
    found.add_work()
    attributes = {"source": f"cubie {VERSION}", "message": result.message}
    if result.notes:
        attributes["notes"] = "\n".join(result.notes)
    return xarray().Dataset(found.data, found.coordinates, attributes)


class _Parts:
    """Variables and coordinates of a dataset, as they are found in a result."""

    def __init__(self, result: Any):
        self.result, self.names = result, result._kind.states
        self.runs = () if result._n_runs is None else (RUN,)
        self.data: dict[str, tuple[tuple[str, ...], np.ndarray, dict[str, Any]]] = {}
        self.coordinates: dict[str, Any] = {}

    def add(self, name: str, dims: Sequence[str], values: Any, told: dict[str, Any]) -> None:
        """Add a variable of each run."""
        if name in self.data or name in self.coordinates:
            raise InvalidProblem(
                "observables",
                f"or `coords` have {name!r}, which is what labelled results have under that name. "
                "Rename it.",
            )
        self.data[name] = (*self.runs, *dims), np.asarray(values), told

    def add_run_coordinates(self, coords: Any) -> None:
        """Add what users say that runs differ in."""
        if coords is None:
            return
        if not isinstance(coords, Mapping) or not self.runs:
            allowed = [Described("a mapping of names to one value for each run of a batch")]
            raise InvalidOption("coords", coords, allowed)
        n_runs = self.result._n_runs
        for name, values in coords.items():
            given = np.asarray(values)
            if given.shape not in ((), (n_runs,)):
                advice = f"It must be a number, or {n_runs:,} of them: one for each run."
                raise InvalidOption(
                    f"coords[{name!r}]", Described(f"of shape {given.shape}"), advice=advice
                )
            if given.ndim:
                self.coordinates[name] = self.runs, given
            else:
                self.coordinates[name] = given

    def add_points(self) -> None:
        """Add states and observables, at points or at the end, and the times of points."""
        final = self.result._kind.mode is SaveMode.FINAL
        at = () if final else self._add_times()
        states = self.result.y
        if states is not None and self.names.kept:
            values = _on_host(states)
            dims = (COMPONENT, *at)
            self.add(STATES, dims, values[..., 0] if final else values, about_states(final))
            self._name(COMPONENT, self.names.kept)
        for name, values in self.result.observables.items():
            values = _on_host(values)
            self.add(name, at, values[..., 0] if final else values, {"long_name": name})
        if self.result.inputs:
            self._name(INPUT, self.result.inputs)
            self._add_all(derivatives.of_points(self.result, final, at))

    def _add_all(self, variables: Iterator[derivatives.Variable]) -> None:
        for name, dims, values, told in variables:
            self.add(name, dims, values, told)

    def _add_times(self) -> tuple[str, ...]:
        """Add the times of points, and return the dimension of these."""
        times = self.result.t
        if isinstance(times, RaggedArray):
            self.add(N_POINTS, (), times.lengths, {"long_name": "points of the run"})
        values = np.asarray(times)
        if values.ndim == 1:
            self.coordinates[TIME] = (TIME,), values, {"long_name": "time"}
            return (TIME,)
        self.coordinates[TIME] = (*self.runs, POINT), values, {"long_name": "time"}
        return (POINT,)

    def _name(self, dim: str, names: Sequence[str]) -> None:
        self.coordinates[dim] = (dim,), np.array(names, dtype=str)

    def add_summaries(self) -> None:
        """Add each summary, and each part of those that have several."""
        for key, of_one in self.result.summaries.items():
            quantity = key if isinstance(key, str) else self.names.all[key]
            for label, value in of_one.items():
                for part, values in parts_of(value):
                    name, told = of_summary(label, quantity, part)
                    dims = own_dimensions(told, values.ndim - len(self.runs))
                    self.add(name, dims, values, {"long_name": name})
        n_before = len(self.runs)
        self._add_all(derivatives.of_summaries(self.result, self.names.all, n_before))

    def add_events(self) -> None:
        """Add how often events happened, when, and the states then."""
        counts = self.result.n_events
        if not counts:
            return
        axis = len(self.runs)
        self.add(N_EVENTS, (EVENT,), np.stack(counts, axis=axis), about(N_EVENTS))
        times, states = self.result.t_events, self.result.y_events
        width = max(one.shape[axis] for one in times)
        n = len(self.names.all)
        shape = times[0].shape[:axis]
        whens = [_filled(one, (*shape, width)) for one in times]
        whats = [_filled(one, (*shape, width, n)) for one in states]
        self.add(T_EVENTS, (EVENT, OCCURRENCE), np.stack(whens, axis=axis), about(T_EVENTS))
        if n:
            dims = EVENT, OCCURRENCE, STATE
            self.add(Y_EVENTS, dims, np.stack(whats, axis=axis), about(Y_EVENTS))
            self._name(STATE, self.names.all)
            self._add_all(derivatives.of_events(self.result, axis, width))

    def add_work(self) -> None:
        """Add what runs took, and how they ended."""
        kind = self.result._kind
        for name in counted_of(kind.counters, kind.work.implicit):
            self.add(name, (), getattr(self.result, name), about(name))
        self.add(T_REACHED, (), self.result.t_reached, about(T_REACHED))
        self.add(STATUS, (), np.asarray(self.result.status, np.int8), about_status(not_done=False))


def _on_host(values: Any) -> np.ndarray:
    return values.to_host() if isinstance(values, DeviceArray) else np.asarray(values)


def _filled(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return an array that is as wide as the widest, NaN behind what there is."""
    if values.shape == shape:
        return values
    wide = np.full(shape, np.nan, np.result_type(values, float))
    if values.size:
        wide[tuple(slice(n) for n in values.shape)] = values
    return wide


def _table_of_steps(result: Any, dataset: Any) -> Any:
    """Return the points of runs that have different numbers of them, a row each.

    `dataset` has what is known of the runs.
    """
    times = result.t
    runs = np.repeat(np.arange(len(times)), times.lengths)
    columns = {
        str(name): np.repeat(known.values, times.lengths)
        for name, known in dataset.coords.items()
        if known.dims == (RUN,) and name != RUN
    }
    if result.y is not None:
        for i, name in enumerate(result._kind.states.kept):
            columns[name] = _in_a_row(result.y.row(i))
    for name, values in result.observables.items():
        columns[name] = _in_a_row(values)
    columns |= {name: _in_a_row(values) for name, values in _derivatives(result)}
    columns[STATUS] = np.asarray(result.status, np.int8)[runs]
    index = pandas().MultiIndex.from_arrays([runs, _in_a_row(times)], names=[RUN, TIME])
    return pandas().DataFrame(columns, index=index)


def _derivatives(result: Any) -> Iterator[tuple[str, RaggedArray]]:
    """Yield derivatives of states and observables by each input, by the names of their columns."""
    dy: RaggedArray | None = result.dy
    if dy is not None:
        for i, name in enumerate(result._kind.states.kept):
            for k, one in enumerate(result.inputs):
                yield f"{DERIVATIVES}[{name}, {one}]", dy.row(i).row(k)
    for name, values in result.dobservables.items():
        for k, one in enumerate(result.inputs):
            yield f"d({name})[{one}]", values.row(k)


def _in_a_row(values: RaggedArray) -> np.ndarray:
    return np.concatenate([np.zeros(0, values.dtype), *values])
