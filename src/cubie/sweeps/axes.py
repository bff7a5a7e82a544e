"""What is swept: axes whose product is all runs, without an array of them.

    grid(rho=[20, 24, 28], sigma=[8, 10])           3 x 2 runs, dimensions rho and sigma
    zipped(rho=[20, 24, 28], sigma=[8, 9, 10])      3 runs, one dimension "run"
    table(frame)                                    a run for each row
    grid(rho=...) * sampled(100, sigma=(8, 12))     100 runs for each rho

Runs are numbered in C order: the last dimension varies fastest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from attrs import field, frozen

from cubie.errors import Described, InvalidOption, InvalidProblem
from cubie.sweeps.columns import columns_of, require_different
from cubie.sweeps.draws import Draws
from cubie.sweeps.labels import Labels, labels_of
from cubie.sweeps.values import checked_names, column, require_room

RUN = "run"  # the dimension of what has no name of its own


@frozen(eq=False)
class Rows:
    """One dimension, and the values of one or several names along it.

    Attributes
    ----------
    dim : str
    names : tuple of str
    columns : tuple of ndarray (n,)
        One a name.
    labels : tuple of (str, ndarray (n,))
        What else runs are called by: text or numbers, of which nothing is computed.
    """

    dim: str
    names: tuple[str, ...]
    columns: tuple[np.ndarray, ...] = field(repr=False)
    labels: Labels = field(default=(), repr=False)

    @property
    def size(self) -> int:
        """How long the dimension is."""
        return len(self.columns[0])

    def at(self, index: np.ndarray) -> dict[str, np.ndarray]:
        """Return the values at places along the dimension."""
        return {name: values[index] for name, values in zip(self.names, self.columns, strict=True)}


@frozen(eq=False)
class DrawnRows:
    """One dimension along which values are drawn, each by its place.

    Attributes
    ----------
    dim : str
    draws : Draws
    """

    dim: str
    draws: Draws

    @property
    def names(self) -> tuple[str, ...]:
        """What is drawn."""
        return self.draws.names

    @property
    def size(self) -> int:
        """How long the dimension is."""
        return self.draws.n or 0

    def at(self, index: np.ndarray) -> dict[str, np.ndarray]:
        """Return the values at places along the dimension."""
        return self.draws.at(index)


Axis = Rows | DrawnRows


@frozen(eq=False)
class Space:
    """A product of axes; ``a * b`` is that of both, the dimensions of `b` varying faster.

    Attributes
    ----------
    axes : tuple of Rows or DrawnRows
    """

    axes: tuple[Axis, ...] = field(validator=lambda space, attribute, axes: _check(axes))

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the dimensions."""
        return tuple(axis.dim for axis in self.axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """How long each dimension is."""
        return tuple(axis.size for axis in self.axes)

    @property
    def n_runs(self) -> int:
        """How many runs there are."""
        return math.prod(self.shape)

    @property
    def names(self) -> tuple[str, ...]:
        """All that is swept, in order."""
        return tuple(name for axis in self.axes for name in axis.names)

    def __mul__(self, other: Any) -> Space:
        if not isinstance(other, Space):
            return NotImplemented
        return Space(self.axes + other.axes)

    def in_box(self, box: Sequence[slice]) -> dict[str, np.ndarray]:
        """Return the values of runs in a box, each of a shape that broadcasts to that of the box.

        Parameters
        ----------
        box : sequence of slice
            One a dimension, with start and stop.
        """
        found = {}
        for i, (axis, part) in enumerate(zip(self.axes, box, strict=True)):
            shape = [1] * len(self.axes)
            shape[i] = part.stop - part.start
            for name, values in axis.at(np.arange(part.start, part.stop)).items():
                found[name] = values.reshape(shape)
        return found

    def of_runs(self, runs: np.ndarray) -> dict[str, np.ndarray]:
        """Return the values of runs by their numbers, (n_runs,) each."""
        found: dict[str, np.ndarray] = {}
        for axis, index in zip(self.axes, np.unravel_index(runs, self.shape), strict=True):
            found |= axis.at(np.asarray(index))
        return found

    def __repr__(self) -> str:
        told = " x ".join(
            f"{dim} {size:,}" for dim, size in zip(self.dims, self.shape, strict=True)
        )
        return f"<{told}: {self.n_runs:,} runs>"


def _check(axes: tuple[Axis, ...]) -> None:
    labels = [name for axis in axes if isinstance(axis, Rows) for name, _ in axis.labels]
    require_different("name", [name for axis in axes for name in axis.names] + labels)
    require_different("dimension", [axis.dim for axis in axes])
    for axis in axes:
        own = [name for name, _ in axis.labels] if isinstance(axis, Rows) else []
        for name in (*axis.names, *own):
            if name in [one.dim for one in axes if one is not axis]:
                raise InvalidProblem(
                    "over",
                    f"has a dimension {name!r} and, along {axis.dim!r}, values of the same name. "
                    "Call the dimension otherwise: zipped(..., dim='sample').",
                )


def grid(axes: Mapping[str, Any] | None = None, /, **more: Any) -> Space:
    """Return the product of axes; each becomes a dimension of the results.

    Parameters
    ----------
    axes : mapping, optional
        Of names that are no identifiers, such as ``{"k[3]": [1, 2]}``.
    **more : array_like (n,)
        Values of each.

    Raises
    ------
    InvalidProblem
    """
    given = {name: column(name, v) for name, v in _together("grid", axes, more).items()}
    for name, values in given.items():
        _require_no_value_twice(name, values)
    return Space(tuple(Rows(name, (name,), (values,)) for name, values in given.items()))


def zipped(axes: Mapping[str, Any] | None = None, /, *, dim: str = RUN, **more: Any) -> Space:
    """Return axes that vary together: run i has value i of each.

    Parameters
    ----------
    axes, **more
        See `grid`; all of one length.
    dim : str
        What the dimension is called.
    """
    given = {name: column(name, v) for name, v in _together("zipped", axes, more).items()}
    lengths = {name: len(values) for name, values in given.items()}
    _require_one_length("zips axes", lengths, "For all combinations use grid(...).")
    return Space((Rows(_dimension(dim), tuple(given), tuple(given.values())),))


def table(
    rows: Any, names: Sequence[str] | None = None, *, labels: Any = None, dim: str = RUN
) -> Space:
    """Return a run for each row of a table, in its order.

    Parameters
    ----------
    rows : DataFrame, structured array, mapping of columns, or array_like (n_rows, n_names)
        The index of a DataFrame of pandas labels the runs: text or numbers, as a coordinate with
        the name of the index, or of the dimension where it has none. Row numbers are no labels.
    names : sequence of str, optional
        Of the columns of an array; of other tables those that are swept: by default all that are
        no labels.
    labels : str or sequence of str, optional
        Columns of which nothing is computed, text or numbers: they go along as coordinates of the
        runs. So does the column that has the name of the dimension, where `names` leaves it out.
    dim : str
        What the dimension is called.

    Raises
    ------
    InvalidOption, InvalidProblem

    Warns
    -----
    UserWarning
        Of an index that is not kept, as of dates.
    """
    dim = _dimension(dim)
    columns, own = columns_of(rows, names, labels, dim)
    lengths = {name: len(values) for name, values in (*columns.items(), *own)}
    _require_one_length("is a table with columns", lengths, "A row is a run.")
    own += labels_of(rows, dim)
    return Space((Rows(dim, tuple(columns), tuple(columns.values()), own),))


def sampled(
    n: int,
    ranges: Mapping[str, Any] | None = None,
    /,
    *,
    by: Any = "random",
    seed: int = 0,
    dim: str = "sample",
    **more: Any,
) -> Space:
    """Return runs whose values are drawn, each by its number alone.

    However runs are put into chunks, and wherever they are computed, run i gets the same values.

    Parameters
    ----------
    n : int
        How many.
    ranges, **more : (low, high), or a distribution
        Of each name: a frozen distribution of `scipy.stats`, or what has ``ppf(q)`` or ``icdf(q)``.
    by : {"random", "sobol", "halton", "latin"} or scipy.stats.qmc.QMCEngine
        How points are drawn in the unit cube; "latin", and an engine, are drawn at once, and take
        8 bytes a number.
    seed : int
    dim : str
        What the dimension is called.

    Raises
    ------
    InvalidOption, InvalidProblem
    """
    draws = Draws.of(n, _together("sampled", ranges, more), by, seed)
    if draws.by_place:
        return Space((DrawnRows(_dimension(dim), draws),))
    require_room(n * len(draws.names))
    whole = draws.at(np.arange(n))
    return Space((Rows(_dimension(dim), tuple(whole), tuple(whole.values())),))


def _together(what: str, axes: Any, more: Mapping[str, Any]) -> dict[str, Any]:
    if axes is not None and not isinstance(axes, Mapping):
        raise InvalidProblem(
            "over",
            f"is {what} of a {type(axes).__name__}, but must be of names: {what}(rho=[1, 2]), or "
            f'{what}({{"k[3]": [1, 2]}}).',
        )
    given = {**(axes or {}), **more}
    if not given:
        raise InvalidProblem("over", f"is an empty {what}: name at least one axis.")
    checked_names(given)
    return given


def _require_one_length(what: str, lengths: Mapping[str, int], advice: str) -> None:
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise InvalidProblem("over", f"{what} of different lengths: {told}. {advice}")


def _require_no_value_twice(name: str, values: np.ndarray) -> None:
    """Refuse a dimension that has a value twice: by value two places would be found."""
    in_order, counts = np.unique(values, return_counts=True)
    if len(in_order) < len(values):
        raise InvalidProblem(
            "over",
            f"is a grid of {name!r} with {in_order[counts > 1][0].item()!r} twice: the same runs "
            "would be computed twice, and be found by the same value. Leave one out.",
        )


def _dimension(dim: Any) -> str:
    if not isinstance(dim, str) or not dim:
        raise InvalidOption("dim", dim, (Described("a name for the dimension"),))
    return dim
