"""Columns of numbers, and of text beside them, in files beside a model."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from attrs import frozen

from cubie.cli.errors import InputError, meant, printable, reading
from cubie_planner.reading import read_bytes, read_text, shown

SUFFIXES = (".csv", ".npy")
INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})")  # that 64 bits hold, and that is written in one way
LEADING_ZERO = re.compile(r"[+-]?0\d")


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
    path = _found(where, key, target, name)
    with reading(f"{where}: {name}"):
        return (_csv if path.suffix == ".csv" else _npy)(path)


def _found(where: str, key: str, target: str, name: Any) -> Path:
    if not isinstance(name, str) or Path(name).suffix not in SUFFIXES:
        raise InputError(f"{where}: `{key}` must be the name of a file in {' or '.join(SUFFIXES)}")
    return Path(target).parent / name


@frozen
class Columns:
    """Columns of numbers or text, read as each is asked for.

    Attributes
    ----------
    names : tuple of str
        Of the columns, where they have some.
    n : int
        How many there are.
    cells : tuple of tuple of str, or ndarray (n_rows, n_columns)
        Of each row.
    lines : tuple of int
        Of the file, on which the rows are.
    """

    names: tuple[str, ...]
    n: int
    cells: Any
    lines: tuple[int, ...] = ()

    def numbers(self, at: int) -> np.ndarray:
        """Return a column of numbers.

        Raises
        ------
        ValueError
            Naming the line where there is none.
        """
        if isinstance(self.cells, np.ndarray):
            return self.cells[:, at]
        return np.array([_required(row[at], line) for row, line in self._rows()])

    def label(self, at: int) -> np.ndarray:
        """Return a column as it is: integers or numbers where all are, else text.

        Nothing beside numbers is NaN. Digits behind a zero, as in 007, are text.
        """
        if isinstance(self.cells, np.ndarray):
            return self.cells[:, at]
        texts = [row[at] for row, _ in self._rows()]
        if all(INTEGER.fullmatch(text) for text in texts):
            return np.array([int(text) for text in texts])
        numbers = [np.nan if not text else _number(text) for text in texts]
        plain = not any(LEADING_ZERO.match(text) for text in texts)
        if plain and None not in numbers and not all(text == "" for text in texts):
            return np.array(numbers, dtype=float)
        return np.array(texts, dtype=str)

    def _rows(self) -> Iterator[tuple[Sequence[str], int]]:
        return zip(self.cells, self.lines, strict=True)


def read_columns(where: str, key: str, target: str, name: Any) -> Columns:
    """Read a file as `read_samples` does, of which some columns may be text.

    Raises
    ------
    InputError
    """
    path = _found(where, key, target, name)
    with reading(f"{where}: {name}"):
        if path.suffix != ".csv":
            array = _npy(path).values
            return Columns((), array.shape[1], array)
        names, lines = _lines(path)
        n = len(names) or len(lines[0][1])
        numbers, cells = zip(*lines, strict=True)
        return Columns(tuple(names), n, cells, numbers)


def column(where: str, file: str, given: Any, samples: Samples | Columns) -> int:
    """Return the number of a column that goes by its name or number.

    Raises
    ------
    InputError
    """
    names = samples.names
    n = samples.n if isinstance(samples, Columns) else samples.values.shape[1]
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
    names, lines = _lines(path)
    samples = [[_required(cell, line) for cell in cells] for line, cells in lines]
    return Samples(names, np.array(samples))


def _lines(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return names of columns, and the number and the cells of each line; all have as many."""
    rows = list(csv.reader(io.StringIO(read_text(path)), strict=True))
    lines = [(i, [cell.strip() for cell in row]) for i, row in enumerate(rows, 1) if any(row)]
    names: list[str] = []
    if lines and any(_number(cell) is None for cell in lines[0][1]):
        names = [printable(name) for name in lines.pop(0)[1]]
    if not lines:
        raise ValueError("holds no samples")
    n = len(names) or len(lines[0][1])
    for line, cells in lines:
        if len(cells) != n:
            raise ValueError(f"line {line} has {len(cells)} cells, others {n}")
    return names, lines


def _required(cell: str, line: int) -> float:
    number = _number(cell)
    if number is None:
        raise ValueError(f"line {line}: {shown(cell)} is no number")
    return number


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
