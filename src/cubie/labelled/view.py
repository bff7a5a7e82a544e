"""What a picture shows: an array, what goes along its axes, and what is read of it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from attrs import evolve, field, frozen

from cubie.labelled.statuses import is_of_failed, told_of, told_of_one
from cubie.labelled.words import NOT_DONE, STATUS

# What is read for a picture: more numbers than it has pixels show no more.
MOST_NUMBERS = 20_000_000
MOST_OF_AN_AXIS = 2000


@frozen(eq=False)
class View:
    """An array, and how it is drawn.

    Attributes
    ----------
    array : DataArray
        With all that goes along axes as its coordinates.
    what : str
    x, y : str, str or None
        Its coordinates along the axes; without `y` its numbers are.
    together : tuple of str
        Dimensions whose runs are drawn together.
    is_status : bool
    about : dict
        Attributes of the status.
    ended : DataArray or None
        The status of the same runs; None where the numbers are of no runs.
    thinned : tuple of str
        What is said of values that are left out.
    """

    array: Any
    what: str
    x: str
    y: str | None
    together: tuple[str, ...]
    is_status: bool
    about: dict[str, Any] = field(factory=dict)
    ended: Any = None
    thinned: tuple[str, ...] = ()

    @property
    def other_dims(self) -> tuple[str, ...]:
        """Dimensions that are neither along an axis nor drawn together."""
        along = {*self.array[self.x].dims, *(self.array[self.y].dims if self.y else ())}
        return tuple(d for d in self.array.dims if d not in along and d not in self.together)

    def thin(self, most: dict[str, int]) -> View:
        """Leave out values of dimensions that are longer than this, evenly."""
        array, ended, told = self.array, self.ended, list(self.thinned)
        for dim, limit in most.items():
            n = array.sizes[dim]
            if n > limit:
                places = np.linspace(0, n - 1, max(2, limit)).astype(np.int64)
                array = array.isel({dim: places})
                if ended is not None and dim in ended.dims:
                    ended = ended.isel({dim: places})
                told.append(f"{len(places):,} of {n:,} values of {dim}")
        return evolve(self, array=array, ended=ended, thinned=tuple(told))

    def of_few_numbers(self, dims: Sequence[str]) -> View:
        """Leave out values of these dimensions where there are very many numbers."""
        total = math.prod(self.array.sizes.values())
        if total <= MOST_NUMBERS or not dims:
            return self
        share = (MOST_NUMBERS / total) ** (1 / len(dims))
        return self.thin({d: max(2, int(share * self.array.sizes[d])) for d in dims})

    def without_failed(self, together: str = "") -> View:
        """Leave out numbers of runs that failed, or that nobody computed yet, and say so.

        Of one run that was chosen all is drawn that there is. How runs ended, and their work, is
        told of those that failed, too.

        Parameters
        ----------
        together : str
            What is drawn of all runs that are left: "quantiles", "medians".
        """
        if self.ended is None or self.what == STATUS:
            return self
        codes, failed_too = self.ended.values, is_of_failed(self.what)
        if not codes.ndim:
            told = "" if failed_too else told_of_one(int(codes), self.ended.attrs)
            return self._saying(told)
        told = told_of(codes, failed_too, together)
        if not told:
            return self
        numbers = self.array if self.array.dtype.kind == "f" else self.array.astype(float)
        kept = self.ended != NOT_DONE if failed_too else self.ended >= 0
        return evolve(self._saying(told), array=numbers.where(kept))

    def _saying(self, told: str) -> View:
        return evolve(self, thinned=(*self.thinned, told)) if told else self

    def with_median(self) -> View:
        """Return the median over all that is drawn together."""
        if not self.together:
            return self
        median = quantiles(self.array, self.together, (0.5,))[0]
        return evolve(self, array=median, together=(), ended=None)

    @property
    def title(self) -> str:
        """Where along other axes this is, and what is left out."""
        dims = set(self.array.dims)
        found = [
            f"{name} = {shown(value.values[()])}"
            for name, value in self.array.coords.items()
            if not value.dims and name not in (self.x, self.y) and name not in dims
        ]
        return ", ".join([*found, *self.thinned])

    def label(self, name: str) -> str:
        """Return what an axis is called, with its unit where that is known."""
        about = self.array[name].attrs
        units = about.get("units")
        return f"{about.get('long_name', name)}{f' [{units}]' if units else ''}"

    @property
    def own_label(self) -> str:
        """Return what the numbers are called."""
        units = self.array.attrs.get("units")
        return f"{self.what}{f' [{units}]' if units else ''}"


def quantiles(array: Any, dims: Sequence[str], shares: Sequence[float]) -> list[Any]:
    """Return quantiles over some dimensions, of runs that got so far."""
    axes = tuple(array.get_axis_num(d) for d in dims)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN", RuntimeWarning)
        found = np.nanquantile(np.asarray(array.values, dtype=float), list(shares), axis=axes)
    frame = array.isel(dict.fromkeys(dims, 0)).drop_vars(
        [name for name, c in array.coords.items() if set(c.dims) & set(dims)]
    )
    return [frame.copy(data=values) for values in found]


def shown(value: Any) -> str:
    """Return a value along an axis as a picture shows it."""
    if isinstance(value, (str, bytes)) or not np.issubdtype(np.asarray(value).dtype, np.number):
        return str(value)
    return f"{value:.6g}"
