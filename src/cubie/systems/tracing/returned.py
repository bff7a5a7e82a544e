"""What a traced function returns: the derivative of each state, or observables with names."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np

from cubie.systems.errors import ObservableError, RightHandSideError
from cubie.systems.tracing.arrays import UNSET
from cubie.systems.tracing.expression import Expr
from cubie.systems.tracing.nodes import Complex, is_complex, operand


class Returned(Protocol):
    """What a function must return, and how messages call it.

    Attributes
    ----------
    function : str
        How messages call the function.
    purpose : str
        What it is, with its article.
    error : type
        Raised where it returns something else.
    keeps_products : bool
        Large matrices times vectors are products that are kept whole.
    """

    function: str
    purpose: str
    error: type[RightHandSideError]
    keeps_products: bool

    def entries(self, result: Any) -> list:
        """Return the numbers or expressions in a result, or raise `error`."""
        ...

    def nothing(self) -> list:
        """Return entries that stand for a result that is not there."""
        ...

    def label(self, i: int) -> str:
        """Return how messages call entry `i`."""
        ...


class OfStates:
    """The derivative of each state, as `fun` returns it."""

    function, purpose, error = "fun", "a right-hand side", RightHandSideError
    keeps_products = True

    def __init__(self, n_states: int):
        self.n_states = n_states

    def entries(self, result):
        """Return the derivatives as a list."""
        return output_entries(result, self.n_states)

    def nothing(self):
        """Return as many entries that are no numbers."""
        return [math.nan] * self.n_states

    def label(self, i):
        """Return which state it is."""
        return f"state {i}"


_ALLOWED = (
    "it must return a dict of names to numbers, or a list, tuple or one-dimensional array of "
    "numbers, which are then called o0, o1 and so on"
)


class Observed:
    """Observables by name: the first result says which there are, and all others must agree.

    Attributes
    ----------
    names : tuple of str or None
        None before the first result.
    """

    function, purpose, error = "observables", "an observable", ObservableError
    keeps_products = False

    def __init__(self, state_names: tuple[str, ...]):
        self._state_names = state_names
        self.names: tuple[str, ...] | None = None

    def entries(self, result):
        """Return the values in the order of the names."""
        named = self._named(result)
        names = tuple(named)
        if self.names is None:
            check_names(names, self._state_names)
            self.names = names
        if set(names) != set(self.names):
            odd = ", ".join(map(repr, sorted(set(names) ^ set(self.names))))
            raise ObservableError(
                f"observables returned once {_listed(self.names)} and once {_listed(names)}: "
                f"{odd} is not there each time. It must return the same names on every path; "
                "give those without a meaning the value math.nan."
            )
        return [_number(named[name], name) for name in self.names]

    def _named(self, result) -> dict[str, Any]:
        if isinstance(result, dict):
            return result
        if isinstance(result, (Expr, Complex)) or (
            np.isscalar(result) and not isinstance(result, str)
        ):
            result = [result]
        if (
            result is None
            or isinstance(result, (str, bytes, set, frozenset))
            or not hasattr(result, "__len__")
        ):
            hint = " Is there a `return`?" if result is None else ""
            raise ObservableError(f"observables returned {what(result)}; {_ALLOWED}.{hint}")
        if isinstance(result, np.ndarray) and result.ndim == 0:
            result = result.reshape(1)
        if isinstance(result, np.ndarray) and result.ndim != 1:
            raise ObservableError(
                f"observables returned an array of shape {result.shape}; {_ALLOWED}."
            )
        return {f"o{i}": value for i, value in enumerate(result)}

    def nothing(self):
        """Return as many entries that are no numbers; the names are known from plain numbers."""
        return [math.nan] * len(self.names or ())

    def label(self, i):
        """Return which observable it is."""
        return f"observable {(self.names or ())[i]!r}"


def check_names(names, state_names) -> None:
    """Refuse names of observables that are none, or that states have.

    Raises
    ------
    ObservableError
    """
    if not names:
        raise ObservableError("observables returned nothing: there must be one number at least.")
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise ObservableError(
                f"observables has the name {name!r:.60}; names are strings that are not empty."
            )
        if name in state_names:
            raise ObservableError(
                f"observables has the name {name!r}, which a state has: the states are "
                f"{_listed(state_names)}. Choose another name; `save_states=` chooses which "
                "states are kept."
            )


def _listed(names) -> str:
    shown = ", ".join(map(repr, names[:8]))
    return f"{shown}, ..." if len(names) > 8 else shown


def _number(entry, name):
    if isinstance(entry, np.ndarray) and entry.shape == ():
        entry = entry.item()
    where = f"for {name!r}"
    if entry is UNSET:
        raise ObservableError(
            f"observables returned an array made by np.empty without assigning the entry {where}."
        )
    if is_complex(entry):
        raise ObservableError(
            f"observables returned a complex number {where}; observables are real. Return its "
            "real and imaginary part as two."
        )
    number = NotImplemented if isinstance(entry, str) else operand(entry)
    if number is NotImplemented:
        advice = " Give each of its entries a name." if hasattr(entry, "__len__") else ""
        raise ObservableError(
            f"observables returned {what(entry)} {where}; it must be one number.{advice}",
            of_shape=bool(getattr(entry, "shape", ())),
        )
    return number


def output_entries(result, n_states):
    """Return the derivatives that `fun` returned as a list of numbers or expressions."""
    if isinstance(result, (Expr, Complex)) or np.isscalar(result):
        if n_states == 1:
            result = [result]
        else:
            raise RightHandSideError(
                f"fun returned one number for {n_states} states; it must return a sequence "
                f"of {n_states}, the derivative of each state."
            )
    if (
        result is None
        or isinstance(result, (str, bytes, dict, set))
        or not hasattr(result, "__len__")
    ):
        hint = " Is there a `return`?" if result is None else ""
        raise RightHandSideError(
            f"fun returned {what(result)}; it must return a list, tuple or array of "
            f"{n_states} numbers, the derivative of each state.{hint}"
        )
    if isinstance(result, np.ndarray) and result.ndim != 1:
        raise RightHandSideError(
            f"fun returned an array of shape {result.shape}; it must have shape ({n_states},).",
            of_shape=True,
        )
    if len(result) != n_states:
        of_shape = isinstance(result, np.ndarray)
        raise RightHandSideError(
            f"fun returned {len(result)} values for {n_states} states.",
            of_shape=of_shape,
            n_values=len(result),
        )
    return [_output_entry(entry, i) for i, entry in enumerate(result)]


def _output_entry(entry, i):
    if isinstance(entry, np.ndarray) and entry.ndim == 0:
        entry = entry.item()
    if entry is UNSET:
        raise RightHandSideError(
            f"fun returned an array made by np.empty without assigning entry {i}."
        )
    if is_complex(entry):
        raise RightHandSideError(
            f"fun returned a complex number for state {i}, and the states are real. Give y0 as "
            "complex numbers, np.asarray(y0, dtype=complex), or return the part that is meant."
        )
    number = NotImplemented if isinstance(entry, str) else operand(entry)
    if number is NotImplemented:
        raise RightHandSideError(
            f"fun returned {what(entry)} for state {i}; it must be one number.",
            of_shape=bool(getattr(entry, "shape", ())),
        )
    return number


def what(value):
    """Return how a message calls a value that is none of those allowed."""
    if value is None:
        return "None"
    shape = getattr(value, "shape", None)
    return f"an array of shape {shape}" if shape else f"a {type(value).__name__} ({value!r:.60})"
