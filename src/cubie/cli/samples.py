"""Numbers in columns, in files beside a model."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cubie.cli.errors import InputError, meant, printable, reading
from cubie_planner.reading import read_bytes, read_text, shown

SUFFIXES = (".csv", ".npy")


class Samples(NamedTuple):
    """Columns of numbers.

    Attributes
    ----------
    names : list of str
        Of the columns, where they have some.
    values : ndarray (n_rows, n_columns)
    """

    names: list[str]
    values: np.ndarray


def read_samples(where: str, key: str, target: str, name: Any) -> Samples:
    """Read a file that a model names, sought from the folder of the model.

    Parameters
    ----------
    where, key : str
        Whose key names it, for messages.
    target : str
        The model file.
    name : object
        What the key holds.

    Raises
    ------
    InputError
    """
    if not isinstance(name, str) or Path(name).suffix not in SUFFIXES:
        raise InputError(f"{where}: `{key}` must be the name of a file in {' or '.join(SUFFIXES)}")
    path = Path(target).parent / name
    with reading(f"{where}: {name}"):
        return (_csv if path.suffix == ".csv" else _npy)(path)


def column(where: str, file: str, given: Any, samples: Samples) -> int:
    """Return the number of a column that goes by its name or number.

    Raises
    ------
    InputError
    """
    names, n = samples.names, samples.values.shape[1]
    if isinstance(given, str):
        if given in names:
            return names.index(given)
        hint = meant(given, names)
        there = f"has {', '.join(names)}" if names else "has no names of columns"
        raise InputError(f"{where}: there is no `{printable(given)}`{hint}; {file} {there}")
    if type(given) is not int or not 0 <= given < n:
        raise InputError(f"{where}: {shown(given)} is no column of {file}, which has {n}")
    return given


def _csv(path: Path) -> Samples:
    """Read numbers with commas between them, below a line of names where the first has any."""
    rows = list(csv.reader(io.StringIO(read_text(path)), strict=True))
    lines = [(i, [cell.strip() for cell in row]) for i, row in enumerate(rows, 1) if any(row)]
    names: list[str] = []
    if lines and any(_number(cell) is None for cell in lines[0][1]):
        names = [printable(name) for name in lines.pop(0)[1]]
    if not lines:
        raise ValueError("holds no samples")
    n = len(names) or len(lines[0][1])
    samples = np.empty((len(lines), n))
    for at, (line, cells) in enumerate(lines):
        if len(cells) != n:
            raise ValueError(f"line {line} has {len(cells)} cells, others {n}")
        for column, cell in enumerate(cells):
            number = _number(cell)
            if number is None:
                raise ValueError(f"line {line}: {shown(cell)} is no number")
            samples[at, column] = number
    return Samples(names, samples)


def _number(cell: str) -> float | None:
    try:
        return float(cell) if "_" not in cell else None
    except ValueError:
        return None


_NPY_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def _npy(path: Path) -> Samples:
    """Read an array (n_samples, n_columns); nothing in the file is run."""
    data = read_bytes(path)
    stream = io.BytesIO(data)
    try:
        read_header = _NPY_HEADERS[np.lib.format.read_magic(stream)]
        shape, _, dtype = read_header(stream)
        # Before NumPy makes room for whatever the header says.
        if math.prod(shape) * dtype.itemsize > len(data) - stream.tell():
            raise ValueError("it ends before its samples do")
        stream.seek(0)
        array = np.lib.format.read_array(stream, allow_pickle=False)
    except (ValueError, KeyError) as error:
        raise ValueError(f"is no array of NumPy's: {error}") from error
    if array.ndim != 2 or array.dtype.kind not in "fiu" or array.size == 0:
        raise ValueError(
            f"is an array of {array.dtype} of shape {array.shape}; it must hold real numbers, "
            "(n_samples, n_columns)"
        )
    return Samples([], array.astype(float))
