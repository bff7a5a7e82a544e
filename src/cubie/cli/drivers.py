"""Drivers of a model: samples in its file, or beside it; of a function, what stands beside that."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cubie.cli.errors import InputError, meant, printable, reading, require_keys
from cubie.systems.drivers.interpolant import Driver, Interpolant
from cubie_planner.reading import read_bytes, read_text, shown

INLINE, BESIDE = ("times", "values"), ("file", "columns")
HOW = ("kind", "extend", "stops")  # options of `Interpolant`
KEYS = (*INLINE, *BESIDE, *HOW)
SUFFIXES = (".csv", ".npy")

Table = tuple[list[str], np.ndarray]  # names of the columns, where they have some; samples


def read_drivers(target: str, given: Any) -> dict[str, Driver]:
    """Return the drivers of a model file by their names, each with what one run gets of it.

    Parameters
    ----------
    target : str
        The model file; files of samples are sought from its folder.
    given : object
        What the model has as `drivers`.

    Raises
    ------
    InputError
        Naming the driver and the key.
    """
    if not isinstance(given, Mapping):
        raise InputError(f"{target}: `drivers` must be a table with a table for each driver")
    return {name: _read(f"{target}: `drivers.{name}`", target, given[name]) for name in given}


def _read(where: str, target: str, given: Any) -> Driver:
    if not isinstance(given, Mapping):
        raise InputError(f"{where} must be a table of {', '.join(KEYS)}")
    require_keys(f"{where} has an", given, KEYS, "a driver has")
    inline = [key for key in INLINE if key in given]
    if "file" in given:
        if inline:
            raise InputError(f"{where} has both `file` and `{inline[0]}`: give one of them")
        times, values = _samples(where, target, given["file"], given.get("columns"))
    elif "columns" in given:
        raise InputError(f"{where} has `columns`, which are of a `file`")
    elif len(inline) < len(INLINE):
        raise InputError(f"{where} needs `times` and `values`, or a `file` that holds them")
    else:
        times, values = (given[key] for key in INLINE)
    with reading(where):
        return Interpolant(times, values, **{key: given[key] for key in HOW if key in given}).run(0)


def _samples(where: str, target: str, name: Any, columns: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return times and values of a file beside the model."""
    if not isinstance(name, str) or Path(name).suffix not in SUFFIXES:
        raise InputError(f"{where}: `file` must be the name of a file in {' or '.join(SUFFIXES)}")
    path = Path(target).parent / name
    with reading(f"{where}: {name}"):
        names, samples = (_csv if path.suffix == ".csv" else _npy)(path)
    n = samples.shape[1]
    if columns is None:
        if n != 2:
            told = ", ".join(names) or f"numbered from 0 to {n - 1}"
            raise InputError(
                f"{where}: {name} has {n} columns, {told}: `columns` must say which is the time "
                "and which the value"
            )
        columns = [0, 1]
    if not isinstance(columns, list) or len(columns) != 2:
        raise InputError(f"{where}: `columns` must be a list of two, of the time and of the value")
    time, value = (_column(f"{where}: `columns`", name, c, names, n) for c in columns)
    return samples[:, time], samples[:, value]


def _column(where: str, file: str, given: Any, names: Sequence[str], n: int) -> int:
    if isinstance(given, str):
        if given in names:
            return names.index(given)
        hint = meant(given, names)
        there = f"has {', '.join(names)}" if names else "has no names of columns"
        raise InputError(f"{where}: there is no `{printable(given)}`{hint}; {file} {there}")
    if type(given) is not int or not 0 <= given < n:
        raise InputError(f"{where}: {shown(given)} is no column of {file}, which has {n}")
    return given


def _csv(path: Path) -> Table:
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
    return names, samples


def _number(cell: str) -> float | None:
    try:
        return float(cell) if "_" not in cell else None
    except ValueError:
        return None


_NPY_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def _npy(path: Path) -> Table:
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
    return [], array.astype(float)


def require_called(target: str, kernel: Any, names: Sequence[str], args: Sequence[Any]) -> None:
    """Refuse drivers that nothing in the kernel calls: the plan would be of another model.

    Parameters
    ----------
    kernel : BatchSolverKernel
    names, args : sequence
        What stands in args, by name.
    """
    loop = kernel.integrator.loop
    parts = [part for part in (loop.system, loop.observables) if part is not None]
    systems = [part.system for part in parts]
    systems += [] if loop.events is None else loop.events.systems
    called = {where for system in systems for where in system.drivers}
    for i, (name, value) in enumerate(zip(names, args, strict=True)):
        if isinstance(value, Driver) and (i,) not in called:
            raise InputError(
                f"{target}: the driver `{name}` is called by neither the right-hand side, nor "
                "observables or events"
            )
