"""Initial states and parameters that go by name: mappings, and pandas series and tables.

The names of a series or a table are meant: taken in its own order, its numbers would go to other
states without a word.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cubie.errors import CubieError, InvalidProblem, shown
from cubie.reals import NotReal, real_array
from cubie.systems.errors import BatchShapeError


class EquationError(CubieError, ValueError):
    """Equations that are no system of differential equations."""


def by_name(what: str, given: Any) -> Mapping[str, Any] | None:
    """Return what a mapping, a named tuple, a series or a table says of each name.

    None for what has no names.
    A series or a table that is labelled by numbers has none: it counts as an array.

    Parameters
    ----------
    what : {"y0", "args"}
    given : object
    """
    fields = getattr(given, "_fields", None)
    if isinstance(given, Mapping):
        pairs = [(str(name), value) for name, value in given.items()]
    elif type(fields) is tuple:
        pairs = list(zip(fields, given, strict=True))  # its order is its own
    elif is_labelled(given):
        labels = list(given.keys())
        if not any(isinstance(label, str) for label in labels):
            return None
        entries = given.iloc if given.ndim == 1 else given.iloc[:, range(len(labels))].T.to_numpy()
        pairs = [(str(label), entries[i]) for i, label in enumerate(labels)]
    else:
        return None
    named = dict(pairs)
    if len(named) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise EquationError(f"{what} has `{twice}` more than once.")
    return named


def is_labelled(given: Any) -> bool:
    """Tell whether something is a series or a table of pandas, without importing it."""
    return hasattr(type(given), "iloc") and hasattr(type(given), "keys")


def in_order(what: str, named: Mapping[str, Any], names: Sequence[str]) -> tuple[Any, ...]:
    """Return the values of a mapping in the order of names, all of which it must have."""
    for name in named:
        if name not in names:
            raise EquationError(f"{what} has `{name}`{hint(name, names)}")
    missing = [name for name in names if name not in named]
    if missing:
        raise EquationError(f"{what} lacks a value for {', '.join(missing)}.")
    return tuple(named[name] for name in names)


def stacked(values: Sequence[Any], names: Sequence[str]) -> np.ndarray:
    """Return the states, (n,) or (n_runs, n), of which each has one number or one for each run."""
    arrays = [numbers(f"y0[{name!r}]", value) for name, value in zip(names, values, strict=True)]
    try:
        return np.stack(np.broadcast_arrays(*arrays), axis=-1)
    except ValueError:
        shapes = (f"`{name}` {a.shape}" for name, a in zip(names, arrays, strict=True) if a.ndim)
        raise BatchShapeError(
            f"The states in y0 have shapes that differ: {', '.join(shapes)}. Each has one number "
            "for all runs, or one for each run."
        ) from None


def swept(name: str, value: Any) -> Any:
    """Return a parameter: of equations each is one number, so that whatever is longer sweeps.

    Raises
    ------
    InvalidProblem
        For what holds something else than real numbers, and a driver.
    """
    if callable(value):
        raise InvalidProblem(
            f"args[{name!r}]",
            f"is {shown(value)}, but the equations do not call `{name}`: write `{name}(t)`, or "
            f"name it in `drivers` of `cubie.systems.equations`.",
        )
    if isinstance(value, (list, tuple, np.ndarray)) or is_labelled(value):
        return numbers(f"args[{name!r}]", value)
    return value


def numbers(what: str, value: Any) -> np.ndarray:
    """Return an array of real numbers, or say of which argument it cannot be made."""
    try:
        return real_array(value)
    except NotReal as error:
        raise InvalidProblem(what, f"must hold real numbers, but {error}.") from error
    except ValueError as error:
        raise BatchShapeError(f"{what} is no rectangular array: {error}") from error


def hint(name: str, known: Sequence[str]) -> str:
    """Return the end of a sentence that tells the name most like one, or all there are."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean `{close[0]}`?" if close else f"; there are {', '.join(known)}."
