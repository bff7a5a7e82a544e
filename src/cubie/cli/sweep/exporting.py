"""Results as files for other programs: NetCDF, and tables with a row for each run."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cubie.cli.errors import InputError, one_line
from cubie.cli.sweep.peeking import STATUS, boxes_of, part_of

NETCDF, CSV, PARQUET = ".nc", ".csv", ".parquet"
SUFFIXES = (NETCDF, CSV, PARQUET)
TIME, COMPONENT = "time", "component"
# What each kind is written by: one of these, and what to install for it.
NEEDED = {
    NETCDF: (("scipy", "netCDF4", "h5netcdf"), "scipy"),
    CSV: (("pandas",), "pandas"),
    PARQUET: (("pyarrow",), "pyarrow"),
}


def require_writer(file: str) -> None:
    """Refuse a file that nothing here writes, before anything is computed.

    Raises
    ------
    InputError
    """
    suffix = Path(file).suffix
    packages, install = NEEDED[suffix]
    if not any(importlib.util.find_spec(package) for package in packages):
        raise InputError(f"--export {file} needs {install}: pip install {install}")


def export(dataset: Any, file: str) -> None:
    """Write a dataset; a table chunk by chunk, so that it need not fit into memory.

    Raises
    ------
    InputError
    """
    try:
        {NETCDF: _netcdf, CSV: _csv, PARQUET: _parquet}[Path(file).suffix](dataset, file)
    except (ValueError, TypeError) as error:  # what a format cannot hold, such as complex numbers
        raise InputError(f"--export {file}: {one_line(error)}") from error


def _netcdf(dataset: Any, file: str) -> None:
    dataset.to_netcdf(file)


def _csv(dataset: Any, file: str) -> None:
    with open(file, "w", encoding="utf-8", newline="") as stream:
        for i, frame in enumerate(frames(dataset)):
            frame.to_csv(stream, index=False, header=i == 0)


def _parquet(dataset: Any, file: str) -> None:
    from pyarrow import Table  # pyright: ignore[reportMissingImports]
    from pyarrow.parquet import ParquetWriter  # pyright: ignore[reportMissingImports]

    writer = None
    try:
        for frame in frames(dataset):
            rows = Table.from_pandas(frame, preserve_index=False)
            writer = ParquetWriter(file, rows.schema) if writer is None else writer
            writer.write_table(rows)
    finally:
        if writer is not None:
            writer.close()


def frames(dataset: Any) -> Iterator[Any]:
    """Yield tables of runs in their order, with a row for each run, or for each of its times.

    A column is called as its variable, with an index behind it where that has several numbers:
    ``y[x]`` of a state, ``t_events[0,1]`` of others.
    """
    import pandas

    chunks = boxes_of(dataset)
    for number in chunks:
        part = part_of(dataset, chunks, number)
        first = {
            dim: box.start for dim, box in zip(dataset[STATUS].dims, chunks.at(number), strict=True)
        }
        yield pandas.DataFrame(_columns(part, first))


def _columns(part: Any, first: dict[Any, int]) -> dict[str, np.ndarray]:
    dims, shape = part[STATUS].dims, part[STATUS].shape
    n_times = part.sizes.get(TIME, 1)
    found = {}
    for i, dim in enumerate(dims):
        of_dim = [name for name, c in part.coords.items() if c.dims == (dim,)]
        wide = [1] * len(shape)
        wide[i] = -1
        here = {str(name): part[name].values for name in of_dim}
        if str(dim) not in here:  # what has no values has numbers
            here = {str(dim): np.arange(first[dim], first[dim] + shape[i]), **here}
        for name, values in here.items():
            found[name] = np.broadcast_to(values.reshape(wide), shape).reshape(-1)
    rows = {name: np.repeat(values, n_times) for name, values in found.items()}
    n = int(np.prod(shape))
    if TIME in part.dims:
        rows[TIME] = np.tile(part[TIME].values, n)
    drawn = [name for name, c in part.coords.items() if c.dims == dims and str(name) not in rows]
    for name in [*drawn, *part.data_vars]:
        variable = part[name]
        values = variable.values.reshape(n, *variable.shape[len(dims) :])
        rows |= _columns_of(str(name), variable.dims[len(dims) :], values, part, n_times)
    return rows


def _columns_of(
    name: str, dims: tuple[Any, ...], values: np.ndarray, part: Any, n_times: int
) -> dict[str, np.ndarray]:
    """Return the columns of a variable, whose values are (n_runs, *of dims)."""
    if TIME in dims:
        values = np.moveaxis(values, 1 + dims.index(TIME), 1)
        values = values.reshape(-1, *values.shape[2:])
        dims = tuple(dim for dim in dims if dim != TIME)
    else:
        values = np.repeat(values, n_times, axis=0)
    if not dims:
        return {name: values}
    labels = [
        [str(v) for v in part[dim].values] if dim in part.coords else range(part.sizes[dim])
        for dim in dims
    ]
    found = {}
    for index in np.ndindex(*values.shape[1:]):
        told = ",".join(str(label[i]) for label, i in zip(labels, index, strict=True))
        found[f"{name}[{told}]"] = values[(slice(None), *index)]
    return found
