"""What a file sweeps: the table `sweep` with lists, ranges, tables and distributions.

[sweep.grid]                                    all combinations
rho = {start = 0, stop = 21, num = 4000}
sigma = [8, 10, 12]

[[sweep.over]]                                  a product of parts, the last varies fastest
zip = {rho = [20, 24], sigma = [8, 9]}
[[sweep.over]]
sampled = {beta = [2, 3], x = {dist = "norm", loc = 1, scale = 0.1}}
n = 1000
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from operator import mul
from typing import Any

import numpy as np
from attrs import evolve

from cubie.cli.errors import InputError, meant, one_line, reading, require_keys
from cubie.cli.models import DISTRIBUTION
from cubie.cli.samples import Columns, column, read_columns
from cubie.errors import InvalidProblem, OutputsTooLarge
from cubie.reals import NotReal, real_array
from cubie.sweeps import Space, grid, sampled, table, zipped
from cubie.sweeps.columns import advice_of_labels
from cubie.sweeps.values import require_room
from cubie_planner.reading import shown

# Kinds of parts, and what stands beside each.
BESIDE = {
    "grid": (),
    "zip": ("dim",),
    "table": ("columns", "labels", "dim"),
    "sampled": ("n", "by", "seed", "dim"),
}
WHOLE = ("over", "chunk", "memory", "seed")  # of all
OF_SAMPLES = (
    "n",
    "by",
    "columns",
    "labels",
    "dim",
)  # of a single part, which stands in `sweep` itself
OF_FILE = ("columns", "labels")  # of a table, by which its file is read
KEYS = (*WHOLE, *BESIDE, *OF_SAMPLES)
BOUNDS = (("start", "stop"), ("from", "to"))
SCALES = ("linear", "log")
RANGE = (*(key for both in BOUNDS for key in both), "num", "scale")


def space_of(target: str, told: Mapping[str, Any], seed: Any, find: Callable[[str], Any]) -> Space:
    """Return what a table `sweep` sweeps.

    Parameters
    ----------
    target : str
        The file; tables are sought from its folder.
    told : mapping
        The table.
    seed : int
        Of what is drawn, where a part has none.
    find : callable
        ``find(name)`` raises for what is neither an argument nor a state.

    Raises
    ------
    InputError
        Naming the file and the key.
    """
    parts = list(_parts(target, told))
    spaces = [_space(target, where, part, seed, find) for where, part in parts]
    with reading(f"{target}: `sweep`"):
        return reduce(mul, spaces)


def _parts(target: str, told: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each part with where it stands."""
    require_keys(f"{target}: `sweep` has an", told, KEYS, "a sweep has")
    if "over" not in told:
        yield "sweep", {key: told[key] for key in told if key not in WHOLE}
        return
    single = [key for key in told if key not in WHOLE]
    if single:
        raise InputError(
            f"{target}: `sweep` has `{single[0]}` beside `over`: put it into a part of `over`"
        )
    parts = told["over"]
    if not isinstance(parts, list) or not parts or not all(isinstance(p, Mapping) for p in parts):
        raise InputError(f"{target}: `sweep.over` must be a list of tables: [[sweep.over]]")
    for i, part in enumerate(parts):
        where = f"sweep.over[{i}]"
        known = (*BESIDE, *OF_SAMPLES, "seed")
        require_keys(f"{target}: `{where}` has an", part, known, "a part of a sweep has")
        yield where, part


def _space(
    target: str, where: str, part: Mapping[str, Any], seed: Any, find: Callable[[str], Any]
) -> Space:
    kind = _kind_of(target, where, part)
    at = f"{target}: `{where}.{kind}`"
    options = {key: part[key] for key in BESIDE[kind] if key in part and key not in OF_FILE}
    if kind == "table":
        made = _table(target, where, part, options)
    else:
        axes = part[kind]
        if not isinstance(axes, Mapping):
            raise InputError(f"{at} must be a table of names and their values")
        each = marginal if kind == "sampled" else values_of
        values = {name: each(f"{target}: `{where}.{kind}.{name}`", axes[name]) for name in axes}
        if kind == "sampled" and "n" not in options:
            raise InputError(f"{target}: `{where}` needs `n`: how many are drawn")
        with reading(at):
            if kind == "sampled":
                made = sampled(options.pop("n"), values, **{"seed": seed, **options})
            else:
                made = (grid if kind == "grid" else zipped)(values, **options)
    for name in made.names:
        with reading(at):
            _find(name, find, kind == "table")
    return made


def _find(name: str, find: Callable[[str], Any], of_table: bool) -> None:
    try:
        find(name)
    except InvalidProblem as error:
        if not of_table:
            raise
        raise ValueError(f"{error} {advice_of_labels(name)}") from error


def _kind_of(target: str, where: str, part: Mapping[str, Any]) -> str:
    """Return the one kind that a part is of, which has what stands beside it."""
    kinds = [kind for kind in BESIDE if kind in part]
    if len(kinds) != 1:
        given = " and ".join(f"`{kind}`" for kind in kinds) or "none of them"
        product = "; for a product give a list of parts, [[sweep.over]]" if kinds else ""
        raise InputError(
            f"{target}: `{where}` must have one of {', '.join(BESIDE)}, and has {given}{product}"
        )
    (kind,) = kinds
    for key in part:
        if key != kind and key not in BESIDE[kind]:
            of = next(other for other in BESIDE if key in BESIDE[other])
            raise InputError(f"{target}: `{where}.{key}` is of `{of}`, and here is a `{kind}`")
    return kind


def _table(target: str, where: str, part: Mapping[str, Any], options: Mapping[str, Any]) -> Space:
    """Return a run for each row of a file."""
    file, at = part["table"], f"{target}: `{where}`"
    found = read_columns(at, "table", target, file)
    labels = _names(at, "labels", part.get("labels", []))
    wanted, dim = part.get("columns"), options.get("dim")
    if wanted is not None:
        wanted = _names(at, "columns", wanted)
        if dim in found.names and dim not in (*wanted, *labels):
            labels = [*labels, dim]  # as who leaves it out, and calls the runs by it, expects
    elif found.names:
        wanted = [name for name in found.names if name not in labels]
    else:
        raise InputError(f"{at}: {file} has no names of columns: give `columns`, {found.n} names")
    names, given = found.names, {"columns": wanted, "labels": labels}
    if not names:  # then they are given here
        if len(wanted) != found.n:
            raise InputError(
                f"{at}: {file} has {found.n} columns, and `columns` has {len(wanted)} names"
            )
        found = evolve(found, names=tuple(wanted))
        given["columns"] = [name for name in wanted if name not in labels]
    places = {
        key: [column(f"{at}: `{key}`", file, name, found) for name in own]
        for key, own in given.items()
    }
    rows = {name: found.label(i) for name, i in zip(labels, places["labels"], strict=True)}
    with reading(f"{at}: {file}"):
        for name, i in zip(given["columns"], places["columns"], strict=True):
            rows[name] = _numbers_of(found, name, i)
        return table(rows, given["columns"], labels=labels, **options)


def _numbers_of(found: Columns, name: str, at: int) -> np.ndarray:
    try:
        return found.numbers(at)
    except ValueError as error:
        raise ValueError(f"{error}. {advice_of_labels(name)}") from error


def _names(at: str, key: str, given: Any) -> list[str]:
    given = [given] if key == "labels" and isinstance(given, str) else given
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise InputError(f"{at}: `{key}` must be a list of names")
    return given


def values_of(where: str, given: Any) -> np.ndarray:
    """Return numbers that are given as a list, or as a range of so many from one to another.

    Raises
    ------
    InputError
    """
    if not isinstance(given, Mapping):
        if not isinstance(given, list):
            raise InputError(
                f"{where} is {shown(given)}; give a list of numbers, or a range: "
                "{start = 0, stop = 1, num = 11}"
            )
        with reading(where):
            try:
                return real_array(given)
            except NotReal as error:
                raise InputError(f"{where}: {one_line(error)}") from error
    require_keys(f"{where} has an", given, RANGE, "a range has")
    both = [keys for keys in BOUNDS if any(key in given for key in keys)]
    needed = ("num", *(both[0] if both else BOUNDS[0]))
    for key in needed:
        if key not in given:
            raise InputError(f"{where} lacks `{key}`: a range is {{start = 0, stop = 1, num = 11}}")
    if len(both) > 1:
        raise InputError(f"{where} has both `start` and `from`: give one of them")
    num, start, stop = (given[key] for key in needed)
    if type(num) is not int or not 1 <= num <= 10**9:
        raise InputError(f"{where}: `num` is {shown(num)}; give how many values, at least 1")
    start = finite(f"{where}: `{needed[1]}`", start)
    stop = finite(f"{where}: `{needed[2]}`", stop)
    scale = given.get("scale", SCALES[0])
    if scale not in SCALES:
        hint = meant(str(scale), SCALES)
        raise InputError(f"{where}: `scale` is {shown(scale)}{hint}; there are linear and log")
    try:
        require_room(num)
    except OutputsTooLarge as error:
        raise InputError(f"{where}: {one_line(error)}") from error
    if scale == "linear":
        return np.linspace(start, stop, num)
    if not (min(start, stop) > 0 or max(start, stop) < 0):
        raise InputError(f"{where}: from {start:g} to {stop:g} there is no scale of logarithms")
    return np.geomspace(start, stop, num)


def finite(where: str, given: Any) -> float:
    """Return a finite number.

    Raises
    ------
    InputError
    """
    if type(given) in (int, float):
        with contextlib.suppress(OverflowError):
            if math.isfinite(given):
                return float(given)
    raise InputError(f"{where} is {shown(given)}, and must be a finite number")


def marginal(where: str, given: Any) -> Any:
    """Return what is drawn from: two bounds, or a distribution."""
    if isinstance(given, Mapping):
        return distribution(where, given)
    if not isinstance(given, list) or len(given) != 2:
        raise InputError(
            f"{where} is {shown(given)}; give [low, high], or a distribution of SciPy's: "
            '{dist = "norm", loc = 10, scale = 1}'
        )
    return tuple(given)


def distribution(where: str, given: Mapping[str, Any]) -> Any:
    """Return a distribution of SciPy's by its name, with its parameters.

    Raises
    ------
    InputError
    """
    try:
        from scipy import stats
    except ImportError as error:
        raise InputError(f"{where} needs SciPy: pip install 'cubie-ode[sweep]'") from error
    known = {
        name: kind
        for name, kind in vars(stats).items()
        if isinstance(kind, (stats.rv_continuous, stats.rv_discrete))
    }
    name = given.get(DISTRIBUTION)
    if name is None:
        raise InputError(f'{where} lacks `dist`, the name of a distribution such as "norm"')
    if not isinstance(name, str) or name not in known:
        hint = meant(str(name), known)
        raise InputError(f"{where}: scipy.stats has no distribution {shown(name)}{hint}")
    numbers = {
        key: finite(f"{where}: `{key}`", value)
        for key, value in given.items()
        if key != DISTRIBUTION
    }
    if not numbers:
        shapes = known[name].shapes
        scale = ["scale"] if isinstance(known[name], stats.rv_continuous) else []
        needed = [*(shapes.split(", ") if shapes else []), "loc", *scale]
        raise InputError(
            f"{where}: {name} without its numbers; give them: "
            f'{{dist = "{name}", {", ".join(f"{key} = ..." for key in needed)}}}'
        )
    with reading(f"{where}: {name}"):
        made = known[name](**numbers)
        middle = made.ppf(0.5)
    if not np.isfinite(middle):
        told = ", ".join(f"{key} = {value:g}" for key, value in numbers.items())
        raise InputError(f"{where}: there is no {name} with {told or 'no parameters'}")
    return made
