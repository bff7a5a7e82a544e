"""Results as files for other programs: NetCDF, and tables with a row for each run."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
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
    suffix = Path(file).suffix
    try:
        if suffix == NETCDF:
            dataset.to_netcdf(file)
        else:
            (_csv if suffix == CSV else _parquet)(frames(dataset, of), file)
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
