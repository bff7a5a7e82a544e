"""Names and numbers of axes, checked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from cubie.errors import InvalidProblem
from cubie.reals import NotReal, real_array

EXACT = 2**53  # up to here floats hold every integer


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
