"""Drivers of equations: the parameters that they call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cubie.errors import InvalidProblem, shown
from cubie.systems.symbolic.names import EquationError, hint
from cubie.systems.symbolic.reader import CONSTANTS, FUNCTIONS, TIME, Side, no_function, place_of


def require_drivers(
    sides: Mapping[str, Side],
    quantities: Sequence[str],
    allowed: Sequence[str] | None,
    declared: Sequence[str] = (),
) -> tuple[str, ...]:
    """Return what equations call, or say what of it they cannot call.

    Parameters
    ----------
    sides : mapping of name to Side
    quantities : sequence of str
        What has a value that is no function: states, and what equations define.
    allowed : sequence of str or None
        What may be called; None: whatever has no value.
    declared : sequence of str
        Drivers, whether they are called or not.

    Raises
    ------
    EquationError
        For what is not allowed, and what is called and calculated with.
    """
    for name in declared:
        if name in (*FUNCTIONS, *CONSTANTS, TIME, "nan", "inf"):
            raise EquationError(f"`{name}` cannot be a driver: equations know it already.")
    called = tuple(dict.fromkeys(name for side in sides.values() for name in side.called))
    for equation, side in sides.items():
        for name in side.called:
            if name == TIME or name in quantities:
                raise EquationError(
                    f"{place_of(equation)} calls `{name}`, which is a number: write `{name}`. "
                    "Earlier and later values are not known."
                )
            if allowed is not None and name not in allowed:
                raise EquationError(no_function(place_of(equation), name, tuple(allowed)))
        for name in side.numbers:
            if name in (*called, *declared):
                raise EquationError(
                    f"{place_of(equation)} calculates with `{name}`, which is a driver: write "
                    f"`{name}({TIME})`."
                )
    return called


def driver(name: str, value: Any) -> Any:
    """Return the driver that args have for a name.

    Raises
    ------
    InvalidProblem
        Where it is none.
    """
    if callable(value):
        return value
    raise InvalidProblem(
        f"args[{name!r}]",
        f"is {shown(value)}, but the equations call `{name}`: it must be an Interpolant, an "
        "interpolator of SciPy's, or another function of one number.",
    )


def without_a_value(names: Sequence[str]) -> None:
    """Refuse args that lack drivers.

    Raises
    ------
    EquationError
    """
    if not names:
        return
    known = hint(names[0], FUNCTIONS)
    meant = f" There is no function of that name{known}" if "did you mean" in known else ""
    raise EquationError(
        f"args lacks an Interpolant for {', '.join(names)}, which the equations call.{meant}"
    )
