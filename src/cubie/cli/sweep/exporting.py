"""Results as files for other programs: NetCDF, and tables with a row for each run."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from cubie.cli.errors import InputError, one_line
from cubie.cli.sweep.peeking import boxes_of, part_of
from cubie.labelled.tables import table_of
from cubie.labelled.words import STATUS

NETCDF, CSV, PARQUET = ".nc", ".csv", ".parquet"
SUFFIXES = (NETCDF, CSV, PARQUET)
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


def require_exportable(dataset: Any, file: str, of: str | None) -> None:
    """Refuse results that the file cannot hold, or tables that there are none of.

    Parameters
    ----------
    dataset : xarray.Dataset
        Like that of the results: what it holds does not matter.
    of : str or None
        See `export`.

    Raises
    ------
    InputError
    """
    one = dataset.isel({dim: slice(1) for dim in dataset[STATUS].dims})
    one.attrs.pop("cubie_chunk", None)
    with tempfile.TemporaryDirectory() as folder, _told(file):
        _write(one, str(Path(folder, f"one{Path(file).suffix}")), of)


def export(dataset: Any, file: str, of: str | None) -> None:
    """Write a dataset; a table chunk by chunk, so that it need not fit into memory.

    Parameters
    ----------
    of : str or None
        What a row of a table is of, see `cubie.labelled.tables.table_of`.

    Raises
    ------
    InputError
    """
    with _told(file):
        _write(dataset, file, of)


def _write(dataset: Any, file: str, of: str | None) -> None:
    suffix = Path(file).suffix
    if suffix == NETCDF:
        dataset.to_netcdf(file)
    else:
        (_csv if suffix == CSV else _parquet)(frames(dataset, of), file)


@contextmanager
def _told(file: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError) as error:  # what a format cannot hold, such as complex numbers
        raise InputError(f"--export {file}: {one_line(error)}") from error


def _csv(tables: Iterator[Any], file: str) -> None:
    with open(file, "w", encoding="utf-8", newline="") as stream:
        for i, frame in enumerate(tables):
            frame.to_csv(stream, header=i == 0)


def _parquet(tables: Iterator[Any], file: str) -> None:
    from pyarrow import Table  # pyright: ignore[reportMissingImports]
    from pyarrow.parquet import ParquetWriter  # pyright: ignore[reportMissingImports]

    writer = None
    try:
        for frame in tables:
            rows = Table.from_pandas(frame.reset_index(), preserve_index=False)
            writer = ParquetWriter(file, rows.schema) if writer is None else writer
            writer.write_table(rows)
    finally:
        if writer is not None:
            writer.close()


def frames(dataset: Any, of: str | None) -> Iterator[Any]:
    """Yield the table of each chunk, in the order of the runs."""
    chunks, dims = boxes_of(dataset), dataset[STATUS].dims
    for number in chunks:
        part = part_of(dataset, chunks, number)
        places = {
            dim: np.arange(box.start, box.stop)
            for dim, box in zip(dims, chunks.at(number), strict=True)
            if dim not in part.coords  # what has no values has numbers, and they go on
        }
        yield table_of(part.assign_coords(places), of)
