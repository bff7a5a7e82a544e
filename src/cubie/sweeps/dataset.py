"""Results as labelled arrays of xarray."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cubie.sweeps.kept import InMemory, Layout

NEEDED = "Labelled results need xarray: pip install 'cubie[sweep]'."


def xarray() -> Any:
    """Return the package.

    Raises
    ------
    ImportError
        Saying how to install it.
    """
    try:
        import xarray as found
    except ImportError as error:
        raise ImportError(NEEDED) from error
    return found


def dataset_of(layout: Layout, keeper: Any, attributes: Mapping[str, Any]) -> Any:
    """Return what is kept of a sweep as a Dataset."""
    if isinstance(keeper, InMemory):
        return _in_memory(layout, keeper, attributes)
    found = xarray().open_zarr(keeper.root.store, chunks=_chunks())
    coordinates = [name for name in (*layout.coordinates, *_drawn(layout)) if name in found]
    return found.set_coords(coordinates)


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
    data = {
        v.name: ((*layout.dims, *v.dims), keeper.arrays[v.name], dict(v.about))
        for v in layout.variables
    }
    data |= {name: (layout.dims, keeper.arrays[name]) for name in layout.drawn}
    coordinates: dict[str, Any] = {
        name: (dims, np.asarray(values)) for name, (dims, values) in layout.coordinates.items()
    }
    for i, names in layout.along:
        coordinates |= {name: ((layout.dims[i],), keeper.arrays[name]) for name in names}
    return xarray().Dataset(data, coordinates, dict(attributes))
