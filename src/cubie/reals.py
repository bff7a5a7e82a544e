"""Numbers as users give them: nothing becomes one by accident.

NumPy takes text, truth values and masked entries for numbers where it is asked for floats; a time
or a state that was one of these is a slip.
"""

from __future__ import annotations

import numbers
from decimal import Decimal
from typing import Any

import numpy as np

from cubie.errors import InvalidOption, shown

LARGEST = float(np.finfo(float).max)
_FLOATS = frozenset({float, np.float64})
_PLAIN = _FLOATS | {int, np.float32, np.int64, np.int32}
_NESTS = (list, tuple)


class NotReal(ValueError):
    """Something given is no real number; the message is the end of a sentence that names it."""


def real(given: Any) -> float:
    """Return a real number as a float.

    Raises
    ------
    NotReal
        For text, truth values, complex numbers, dates, what is masked, arrays, and numbers
        beyond the largest float.
    """
    if type(given) in _FLOATS:
        return float(given)
    if isinstance(given, np.ndarray) and given.ndim == 0 and given is not np.ma.masked:
        given = given[()]
    what = _other_than_a_number(given)
    if what:
        raise NotReal(f"contains {what}")
    try:
        return float(given)
    except OverflowError:
        raise NotReal(
            f"contains {shown(given)}, which is beyond the largest number, {LARGEST:.2g}"
        ) from None
    except (TypeError, ValueError):
        raise NotReal(f"contains {shown(given)}, which is no number") from None


def real_array(given: Any) -> np.ndarray:
    """Return real numbers as an array of integers or floats.

    Raises
    ------
    NotReal
        As `real` does, for any of them.
    ValueError
        Where rows differ in length.
    """
    if type(given) is np.ndarray and given.dtype.kind == "f":
        return given
    require_unmasked(given)
    if isinstance(given, _NESTS):
        _look_into(given)
    array = np.asarray(given)
    if array.dtype.kind in "iuf":
        return array
    if array.dtype.kind == "O":
        return np.array([real(value) for value in array.flat], dtype=float).reshape(array.shape)
    # No array of this kind holds a number: its first entry says what it holds.
    what = _other_than_a_number(array.flat[0]) if array.size else f"data of type {array.dtype}"
    raise NotReal(f"contains {what or f'data of type {array.dtype}'}")


def require_unmasked(given: Any) -> None:
    """Refuse an array of which entries are masked: what is below a mask is no number.

    Raises
    ------
    NotReal
    """
    if isinstance(given, np.ma.MaskedArray) and np.ma.is_masked(given):
        count, size = int(np.ma.getmaskarray(given).sum()), given.size
        raise NotReal(
            f"is masked in {count} of {size} places; put numbers there with .filled(value), or "
            "leave those runs or times out"
        )


def _look_into(given: Any) -> None:
    """Refuse entries of lists that NumPy would turn into numbers beside others."""
    kinds = set(map(type, given))
    if kinds <= _PLAIN:
        return
    for value in given:
        if isinstance(value, _NESTS):
            _look_into(value)
        elif type(value) not in _PLAIN and not isinstance(value, np.ndarray):
            what = _other_than_a_number(value)
            if what:
                raise NotReal(f"contains {what}")
        else:
            require_unmasked(value)


def _other_than_a_number(value: Any) -> str:
    """Return what something is that is no real number, and what to give; "" of others."""
    if isinstance(value, str):
        return f"the text {shown(str(value))}; convert it to a number"
    if isinstance(value, (bytes, bytearray)):
        return f"the bytes {shown(bytes(value))}; convert them to a number"
    if isinstance(value, (bool, np.bool_)):
        return f"the truth value {bool(value)}; give 1.0 or 0.0"
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return f"the date or duration {shown(value)}; give a number, as of seconds since the start"
    if value is np.ma.masked:
        return "a masked entry; give a number, or leave it out"
    if isinstance(value, (complex, np.complexfloating)):
        return f"the complex number {shown(complex(value))}; give its real and imaginary part"
    if isinstance(value, (numbers.Real, Decimal)):
        return ""
    # Scalars of other libraries turn into floats by themselves; of arrays the first entry would.
    if not hasattr(value, "__float__") or getattr(value, "shape", ()) != ():
        return f"{shown(value)}, which is no number"
    return ""


def as_float(given: Any) -> Any:
    """Return a real number as a float, and anything else as it is."""
    try:
        return real(given)
    except NotReal:
        return given


def as_int(given: Any) -> Any:
    """Return an integer of Python or NumPy as an int, and anything else as it is."""
    is_integer = isinstance(given, numbers.Integral) and not isinstance(given, bool)
    return int(given) if is_integer else given


def is_flag(instance: Any, attribute: Any, given: Any) -> None:
    """Validate an option that is on or off: of text, even "False" would be true."""
    if not isinstance(given, (bool, np.bool_)):
        raise InvalidOption(attribute.name, given, (True, False))
