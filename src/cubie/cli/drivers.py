"""Drivers of a model: samples in its file, or beside it; of a function, what stands beside that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cubie.cli.errors import InputError, reading, require_keys
from cubie.cli.samples import column, read_samples
from cubie.systems.drivers.interpolant import Driver, Interpolant

INLINE, BESIDE = ("times", "values"), ("file", "columns")
HOW = ("kind", "extend", "stops")  # options of `Interpolant`
KEYS = (*INLINE, *BESIDE, *HOW)


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
    samples = read_samples(where, "file", target, name)
    n = samples.values.shape[1]
    if columns is None:
        if n != 2:
            told = ", ".join(samples.names) or f"numbered from 0 to {n - 1}"
            raise InputError(
                f"{where}: {name} has {n} columns, {told}: `columns` must say which is the time "
                "and which the value"
            )
        columns = [0, 1]
    if not isinstance(columns, list) or len(columns) != 2:
        raise InputError(f"{where}: `columns` must be a list of two, of the time and of the value")
    time, value = (column(f"{where}: `columns`", name, one, samples) for one in columns)
    return samples.values[:, time], samples.values[:, value]


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
