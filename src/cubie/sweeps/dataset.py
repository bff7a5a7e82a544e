"""Results as labelled arrays of xarray."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from cubie.labelled.packages import xarray
from cubie.labelled.words import NOT_DONE, STATUS
from cubie.sweeps.axes import Space
from cubie.sweeps.chunks import Chunks
from cubie.sweeps.kept import InMemory, Layout


def dataset_of(layout: Layout, keeper: Any, attributes: Mapping[str, Any]) -> Any:
    """Return what is kept of a sweep as a Dataset."""
    if isinstance(keeper, InMemory):
        return _in_memory(layout, keeper, attributes)
    # What is known is not read: a store may have lost it, and has text in a way of its own.
    known = [*layout.coordinates]
    found = xarray().open_zarr(keeper.root.store, chunks=_chunks(), drop_variables=known)
    coordinates = [name for name in _drawn(layout) if name in found]
    found = found.assign_coords({name: _coordinate(layout, name) for name in known})
    # In the order in which they are kept in memory, too; a store has none.
    order = [*(v.name for v in layout.variables), *layout.drawn]
    return found.set_coords(coordinates)[order]


def without(dataset: Any, chunks: Chunks, lost: Iterable[int]) -> Any:
    """Return a dataset in which the runs of some chunks have the status of what is not done."""
    status = dataset[STATUS]
    whole = np.ones(status.shape, bool)
    for number in lost:
        whole[chunks.at(number)] = False
    return dataset.assign({STATUS: status.where(whole, status.dtype.type(NOT_DONE))})


def _chunks() -> Any:
    """Return how arrays are read: lazily by dask where it is installed."""
    try:
        import dask.array  # noqa: F401
    except ImportError:
        return None
    return {}


def _drawn(layout: Layout) -> list[str]:
    return [name for _, names in layout.along for name in names]


def _in_memory(layout: Layout, keeper: InMemory, attributes: Mapping[str, Any]) -> Any:
    arrays = {name: _unchangeable(array) for name, array in keeper.arrays.items()}
    data = {
        v.name: ((*layout.dims, *v.dims), arrays[v.name], dict(v.about)) for v in layout.variables
    }
    data |= {name: (layout.dims, arrays[name], layout.about(name)) for name in layout.drawn}
    coordinates = {name: _coordinate(layout, name) for name in layout.coordinates}
    for i, names in layout.along:
        for name in names:
            coordinates[name] = (layout.dims[i],), arrays[name], layout.about(name)
    return xarray().Dataset(data, coordinates, dict(attributes))


def _unchangeable(array: np.ndarray) -> np.ndarray:
    """Return a view that nobody can write to: results are not kept twice."""
    view = array.view()
    view.flags.writeable = False
    return view


def outline_of(layout: Layout, space: Space, attributes: Mapping[str, Any]) -> Any:
    """Return a Dataset like that of the results, with zeros in place of numbers, and no memory.

    What is drawn, and not known before, is zero, too, where no place is chosen by it.
    """
    zeros = _zeros()
    runs = layout.chunks.shape
    data = {
        v.name: ((*layout.dims, *v.dims), zeros((*runs, *v.sizes), v.dtype), dict(v.about))
        for v in layout.variables
    }
    data |= {
        name: (layout.dims, zeros(runs, np.float64), layout.about(name)) for name in layout.drawn
    }
    coordinates = {name: _coordinate(layout, name) for name in layout.coordinates}
    for i, names in layout.along:
        for name in names:
            is_axis = name == layout.dims[i]
            values = space.axes[i].at(np.arange(runs[i]))[name] if is_axis else np.zeros(runs[i])
            coordinates[name] = (layout.dims[i],), values, layout.about(name)
    return xarray().Dataset(data, coordinates, dict(attributes))


def _zeros() -> Any:
    """Return what makes arrays of zeros: lazily by dask where it is installed."""
    try:
        from dask.array import zeros
    except ImportError:
        return lambda shape, dtype: np.broadcast_to(np.zeros((), dtype), shape)
    return lambda shape, dtype: zeros(shape, dtype=dtype, chunks=-1)


def _coordinate(layout: Layout, name: str) -> tuple[Any, np.ndarray, dict[str, str]]:
    dims, values = layout.coordinates[name]
    return dims, _unchangeable(np.asarray(values)), layout.about(name)
