"""What of a dataset is looked at: one variable, at some places of its axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from cubie.errors import InvalidOption
from cubie.labelled.words import COMPONENT, STATES

PARTS: Mapping[str, Callable[[Any], Any]] = MappingProxyType({
    "abs": np.abs,
    "angle": np.angle,
    "real": np.real,
    "imag": np.imag,
})  # fmt: skip
"""What is made of complex numbers, and of others: ``"abs of psi"``."""


def quantity(dataset: Any, what: str, option: str = "what") -> Any:
    """Return a variable, a component of the states, or a part of either; else a coordinate.

    An initial value that is swept has the name of its component.

    Parameters
    ----------
    dataset : xarray.Dataset
    what : str
        Of a variable or coordinate, of a component ('x' is ``y.sel(component="x")``), or
        'abs of', 'angle of', 'real of', 'imag of' one.
    option : str
        What is told to be wrong where there is no such thing.

    Raises
    ------
    InvalidOption
    """
    if what in dataset.data_vars:
        return dataset[what]
    found = _component(dataset, what)
    if found is not None:
        return found
    if what in dataset.coords:
        return dataset[what]
    part, _, rest = what.partition(" of ") if isinstance(what, str) else ("", "", "")
    if part in PARTS and _is_there(dataset, rest):
        whole = quantity(dataset, rest, option)
        made = whole.copy(data=PARTS[part](whole.data))
        return made.rename(what).assign_attrs(long_name=what)
    raise InvalidOption(option, what, names_in(dataset))


def _is_there(dataset: Any, what: str) -> bool:
    return what in dataset.variables or _component(dataset, what) is not None


def _component(dataset: Any, what: Any) -> Any:
    if STATES not in dataset or COMPONENT not in dataset[STATES].coords:
        return None
    names = [str(name) for name in dataset[COMPONENT].values]
    if what not in names:
        return None
    one = dataset[STATES].isel({COMPONENT: names.index(what)}).drop_vars(COMPONENT)
    return one.rename(what).assign_attrs(long_name=what)


def names_in(dataset: Any) -> tuple[str, ...]:
    """Return all that `quantity` finds by its own name."""
    components = ()
    if STATES in dataset and COMPONENT in dataset[STATES].coords:
        components = tuple(str(name) for name in dataset[COMPONENT].values)
    return tuple(dict.fromkeys((*map(str, dataset.data_vars), *components)))


def with_axis(array: Any, dataset: Any, name: str, option: str) -> Any:
    """Return an array with something of the same dataset as a coordinate.

    Raises
    ------
    InvalidOption
        Where there is no such thing, or where it varies along other dimensions.
    """
    if name in array.coords:
        return array
    if name in array.dims:
        return array.assign_coords({name: np.arange(array.sizes[name])})
    known = (*map(str, array.dims), *(str(c) for c in array.coords if c not in array.dims))
    if name not in dataset.variables and _component(dataset, name) is None:
        raise InvalidOption(option, name, known)
    along = dataset[name] if name in dataset.variables else quantity(dataset, name, option)
    if not set(along.dims) <= set(array.dims):
        other = ", ".join(str(dim) for dim in along.dims if dim not in array.dims)
        raise InvalidOption(
            option, name,
            advice=f"It varies along {other}, which {array.name!r} does not have; that has "
            f"{', '.join(map(str, array.dims)) or 'no dimension'}.",
        )  # fmt: skip
    return array.assign_coords({name: (along.dims, along.data, along.attrs)})


def selected(array: Any, sel: Mapping[str, Any] | None) -> Any:
    """Return an array at some places of its axes.

    Parameters
    ----------
    array : DataArray
    sel : mapping of str to value, sequence of values, or slice of values
        Of numbers the places that are nearest to them; of an axis without values, places.

    Raises
    ------
    InvalidOption
        For what is no axis, and for values beyond its ends.
    """
    if sel is None:
        return array
    if not isinstance(sel, Mapping):
        raise InvalidOption("sel", sel, advice='Give a mapping, such as {"sigma": 10}.')
    for name, value in sel.items():
        if name in array.dims and name not in array.coords:  # its places stay known
            array = array.assign_coords({name: np.arange(array.sizes[name])})
        array = array.isel({name: _places(array, name, value)})
    return array


def _places(array: Any, name: Any, value: Any) -> Any:
    """Return where values are along a dimension: a place, or several."""
    if name not in array.dims:
        if name in array.coords and array[name].ndim == 1:
            dim = str(array[name].dims[0])
            advice = f"It varies along {dim!r}: choose by that, sel={{{dim!r}: 0}}."
            raise InvalidOption("sel", name, advice=advice)
        raise InvalidOption("sel", name, tuple(map(str, array.dims)))
    own = array[name].values if name in array.coords else np.arange(array.sizes[name])
    if isinstance(value, slice):
        return _between(own, name, value)
    if np.ndim(value):
        return [_nearest(own, name, one) for one in value]
    return _nearest(own, name, value)


def _between(own: np.ndarray, name: str, part: slice) -> np.ndarray:
    if part.step is not None or own.dtype.kind not in "fiu":
        raise InvalidOption("sel", part, advice=f"{name!r} takes a slice of two values, no step.")
    low = -np.inf if part.start is None else part.start
    high = np.inf if part.stop is None else part.stop
    found = np.flatnonzero((own >= min(low, high)) & (own <= max(low, high)))
    if not len(found):
        raise InvalidOption("sel", part, advice=f"{_range(own, name)}; none lies there.")
    return found


def _nearest(own: np.ndarray, name: str, value: Any) -> int:
    if own.dtype.kind not in "fciu":
        names = [str(one) for one in own]
        if str(value) not in names:
            raise InvalidOption(f"sel[{name!r}]", value, tuple(names))
        return names.index(str(value))
    try:
        far = np.abs(own - value)
    except TypeError:
        raise InvalidOption(f"sel[{name!r}]", value, advice=_range(own, name) + ".") from None
    beyond = own.dtype.kind != "c" and not own.min() <= value <= own.max()
    if beyond or not np.isfinite(far).any():
        raise InvalidOption(f"sel[{name!r}]", value, advice=_range(own, name) + ".")
    return int(np.nanargmin(far))


def _range(own: np.ndarray, name: str) -> str:
    if own.dtype.kind == "c":
        return f"{name!r} has {len(own):,} complex values"
    return f"{name!r} goes from {own.min():.6g} to {own.max():.6g}"
