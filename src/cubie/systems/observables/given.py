"""What users give as `observables`, and which of them, and of the states, they want to keep."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from cubie.errors import Described, InvalidOption, nearest, shown
from cubie.systems.errors import ObservableError
from cubie.systems.from_function import trace_observables
from cubie.systems.symbolic.equations import Equations
from cubie.systems.symbolic.observed import defining, naming
from cubie.systems.system import System

_FORMS = tuple(
    map(
        Described,
        (
            "a function (t, y, *args) that returns a dict or a sequence of numbers",
            "a mapping of names to such functions, of one number each",
            "names of quantities that equations given as text define",
            "a mapping of new names to expressions as text",
        ),
    )
)
_CHOICES = (
    *map(Described, ("True (all)", "False or an empty sequence (none)", "a sequence of indices")),
    Described("names"),
)


def check_observables(given: Any) -> None:
    """Refuse what has none of the forms that observables have.

    Raises
    ------
    InvalidOption
    """
    if given is None or callable(given):
        return
    if isinstance(given, str):
        names: list[Any] = [given]
    elif isinstance(given, Mapping):
        names = list(given)
        odd = [key for key, value in given.items() if not (callable(value) or _is_side(value))]
        functions = [callable(value) for value in given.values()]
        if odd:
            what = Described(f"{shown(given[odd[0]])} for {odd[0]!r}")
            raise InvalidOption("observables", what, _FORMS)
        if any(functions) and not all(functions):
            what = Described("a mapping of names to functions and to text")
            raise InvalidOption("observables", what, _FORMS, "Give one kind of them.")
    elif isinstance(given, Sequence):
        names = list(given)
    else:
        raise InvalidOption("observables", given, _FORMS)
    for name in names:
        if not isinstance(name, str) or not name.strip():
            what = Described(f"something with the name {shown(name)}")
            raise InvalidOption("observables", what, _FORMS, "Names are strings, not empty.")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        what = Described(f"a sequence with {twice!r} more than once")
        raise InvalidOption("observables", what, _FORMS, "Name each once.")


def _is_side(value: Any) -> bool:
    """Tell whether a value can be the right side of an equation: text, or of SymPy."""
    return isinstance(value, str) or hasattr(value, "free_symbols")


def has_observables(given: Any) -> bool:
    """Tell whether there are any, as far as they were given."""
    return given is not None and (callable(given) or len(given) > 0)


def observables_of(
    given: Any,
    equations: Equations | None,
    n_states: int,
    args: Any,
    names: Any = None,
    of: Callable[[Callable], Callable] | None = None,
    **of_args: Any,
) -> System:
    """Trace what was given, in one of the forms that `check_observables` lets through.

    Parameters
    ----------
    equations : Equations or None
        What the states follow, where that was given as text.
    args : tuple
        Of one run.
    names : sequence of str, optional
        Of the states.
    of : callable, optional
        Makes of the function one of the states that it is traced with.
    **of_args
        What `trace` is told of args: `constants` and `swept`.

    Raises
    ------
    ObservableError, EquationError
    """
    function = _function(given, equations)
    function = function if of is None else of(function)
    try:
        return trace_observables(function, n_states, args, names=names, **of_args)
    except TypeError as error:
        if not str(error).startswith("fun is called"):
            raise
        told = str(error).replace("fun is called", "observables are called", 1)
        raise ObservableError(told) from None


def _function(given: Any, equations: Equations | None) -> Callable:
    if callable(given):
        return given
    if isinstance(given, Mapping) and all(map(callable, given.values())):
        # Not a closure: to the cache, a function of this package is like any other of its name.
        return partial(_together, tuple(given), tuple(given.values()))
    if equations is None:
        advice = (
            "These are of equations given as text, and here `fun` is a function: give a function, "
            "or a mapping of names to functions."
        )
        raise InvalidOption("observables", given, advice=advice)
    if isinstance(given, Mapping):
        return defining(equations, given)
    return naming(equations, [given] if isinstance(given, str) else list(given))


def _together(names: tuple, functions: tuple, t, y, *args):
    values = {}
    for name, function in zip(names, functions, strict=True):
        values[name] = function(t, y, *args)
    return values


def check_choice(option: str, given: Any) -> None:
    """Refuse what cannot choose which states or observables are kept.

    Raises
    ------
    InvalidOption
    """
    if given is None or isinstance(given, (bool, np.bool_, str)):
        return
    try:
        entries = list(given)
    except TypeError:
        advice = "One is chosen by a sequence with one entry."
        raise InvalidOption(option, given, _CHOICES, advice) from None
    for entry in entries:
        if not (isinstance(entry, str) or _is_index(entry)):
            what = Described(f"a sequence with {shown(entry)}")
            raise InvalidOption(option, what, _CHOICES)


def _is_index(entry: Any) -> bool:
    if isinstance(entry, (bool, np.bool_)):
        return False
    try:
        operator.index(entry)
    except TypeError:
        return False
    return True


def chosen(option: str, given: Any, names: Sequence[str], kind: str) -> tuple[int, ...] | None:
    """Return the indices that a choice means, in its order; None for all of them.

    Parameters
    ----------
    option : str
    given : object
        What `check_choice` lets through.
    names : sequence of str
        Of all there are.
    kind : str
        What they are, in the plural.

    Raises
    ------
    InvalidOption
        For a name or an index that there is not, or one that is given twice.
    """
    if given is None or (isinstance(given, (bool, np.bool_)) and given):
        return None
    if isinstance(given, (bool, np.bool_)):
        return ()
    entries = [given] if isinstance(given, str) else list(given)
    found = tuple(_index(option, entry, names, kind) for entry in entries)
    twice = next((i for i in found if found.count(i) > 1), None)
    if twice is not None:
        what = Described(f"{shown(given)} with {names[twice]!r} more than once")
        raise InvalidOption(option, what, advice="Choose each once.")
    return None if found == tuple(range(len(names))) else found


def _index(option: str, entry: Any, names: Sequence[str], kind: str) -> int:
    n = len(names)
    if isinstance(entry, str):
        if entry in names:
            return names.index(entry)
        close = nearest(entry, names)
        hint = f" Did you mean {close!r}?" if close else ""
        what = Described(f"a choice of {entry!r}")
        there = ", ".join(map(repr, names[:12])) + (", ..." if n > 12 else "")
        raise InvalidOption(option, what, advice=f"The {kind} are {there or 'none'}.{hint}")
    index = operator.index(entry)
    if not -n <= index < n:
        advice = f"There are {n} {kind}, numbered from 0." if n else f"There are no {kind}."
        raise InvalidOption(option, Described(f"a choice of number {index}"), advice=advice)
    return index % n
