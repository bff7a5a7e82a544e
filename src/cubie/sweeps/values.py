"""Names and numbers of axes, checked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from cubie.backend import free_bytes
from cubie.errors import InvalidProblem, OutputsTooLarge
from cubie.launch.capacity import size
from cubie.reals import NotReal, real_array
from cubie.sweeps.draws import has_distribution

EXACT = 2**53  # up to here floats hold every integer
COPIES = 4  # of an axis: as it is given, as it is kept, as a coordinate, and as a store has it


def require_room(n: int) -> None:
    """Refuse so many numbers along an axis that they, and copies of them, do not fit into memory.

    Raises
    ------
    OutputsTooLarge
    """
    free, n_bytes = free_bytes(), 8 * n * COPIES
    if free is not None and n_bytes > free:
        raise OutputsTooLarge(
            f"{n:,} values along an axis take {size(n_bytes)} of memory, and {size(free)} are "
            "free. Axes whose product is that many runs are kept as axes, and those of "
            "cubie.sampled(n, by='random', 'sobol' or 'halton') are made as they are needed.",
            n, 1, n_bytes, free,
        )  # fmt: skip


def as_written(name: str) -> str:
    """Return how an axis is given in a call."""
    return f"{name}=..." if name.isidentifier() else f"{{{name!r}: ...}}"


def checked_names(names: Iterable[Any]) -> None:
    """Refuse what is no name.

    Raises
    ------
    InvalidProblem
    """
    for name in names:
        if not isinstance(name, str) or not name:
            raise InvalidProblem(
                "over",
                f"names an axis {name!r}, but axes are called as what they sweep: an argument of "
                "the right-hand side, a state, 't_end', or an entry such as 'k[3]'.",
            )


def column(name: str, values: Any) -> np.ndarray:
    """Return the values of an axis as an array (n,) of finite numbers, which nobody changes.

    Raises
    ------
    InvalidProblem
    """
    array = _numbers(name, values)
    if array.ndim == 0:
        raise InvalidProblem(
            "over", f"sweeps {name!r} over one number; give a sequence, or put it into args or y0."
        )
    if array.ndim > 1:
        raise InvalidProblem(
            "over",
            f"sweeps {name!r} over values of shape {array.shape}, but an axis has one dimension. "
            "For entries of a vector name each, as in 'k[3]'; for several together use zipped(...) "
            "or table(...).",
        )
    if not array.size:
        raise InvalidProblem("over", f"sweeps {name!r} over no values: there are no runs.")
    finite = np.isfinite(array)
    if not finite.all():
        where = int(np.argmin(finite))
        raise InvalidProblem(
            "over", f"sweeps {name!r} over values of which number {where} is {array[where]}."
        )
    array.flags.writeable = False
    return array


def _require_exact(name: str, values: Any) -> None:
    """Refuse integers that no float is equal to: runs would be called by another number."""
    if isinstance(values, np.ndarray):
        if values.dtype.kind not in "iu":
            return
        # Without the absolute value, which the least of all integers has none of.
        values = values[(values > EXACT) | (values < -EXACT)].tolist()
    for value in values:
        if isinstance(value, (int, np.integer)) and int(float(value)) != int(value):
            raise InvalidProblem(
                "over",
                f"sweeps {name!r} over {int(value)}, an integer that is no float: the nearest is "
                f"{int(float(value))}. Up to 2**53 all are; number the runs otherwise, or give "
                "floats.",
            )


def _numbers(name: str, values: Any) -> np.ndarray:
    if isinstance(values, (str, bytes)):
        raise InvalidProblem("over", f"sweeps {name!r} over text: {values!r}. Give numbers.")
    if has_distribution(values):
        raise InvalidProblem(
            "over",
            f"sweeps {name!r} over a distribution: draw from it by over=cubie.sampled(n, "
            f"{as_written(name)}), or give it in args, of which each run draws its own.",
        )
    try:
        given = np.asarray(values)
        if given.dtype.kind == "c":
            return np.array(given)
        numbers = real_array(values)
        _require_exact(name, values if isinstance(values, (list, tuple)) else numbers)
        return np.array(numbers, dtype=float)
    except (NotReal, ValueError, TypeError) as error:
        raise InvalidProblem(
            "over", f"sweeps {name!r} over what is no number: {str(error).rstrip('.')}."
        ) from error
