"""What a right-hand side calls its states: the names that it takes `y` apart into.

    v, w = y                 all of them
    v = y[0]                 one

Names that a user gives go to the states of these names, whatever their order. `unpacking` has
what else is understood.
"""

import functools
import inspect
from collections import Counter
from collections.abc import Sequence
from types import CodeType, FunctionType, MethodType
from typing import Any

from cubie.systems.parameters import signature_of
from cubie.systems.unpacking import taken_apart


class OtherNames(ValueError):
    """States were named otherwise than the right-hand side does; the message is a sentence's end.

    Attributes
    ----------
    own : tuple of str
        What that calls them.
    """

    def __init__(self, given: Sequence[str], own: tuple[str, ...]):
        self.own = own
        super().__init__(
            f"names the states {', '.join(given)}, and the right-hand side calls them "
            f"{', '.join(own)}: give each the name that it has there, or, as a list, values in "
            "that order."
        )


def in_order_of_states(fun: Any, given: Sequence[str]) -> tuple[str, ...]:
    """Return names of states in the order that a function has them in.

    Those that it has no names for stay in the order in which they were given; see `unplaced`.

    Raises
    ------
    OtherNames
        Where it takes its states apart into other names.
    """
    names, own = tuple(given), names_of_states(fun)
    if own:
        if set(own) != set(names) or len(own) != len(names):
            raise OtherNames(names, own)
        return own
    at = _known_places(fun, names)
    rest = iter(name for name in names if name not in at.values())
    return tuple(at[i] if i in at else next(rest) for i in range(len(names)))


def unplaced(fun: Any, given: Sequence[str]) -> tuple[str, ...]:
    """Return names of states of which a function does not tell which ones they are.

    A single one is known, as the others are.
    """
    if names_of_states(fun):
        return ()
    at = _known_places(fun, given)
    left = tuple(name for name in given if name not in at.values())
    return left if len(left) > 1 else ()


def names_of_states(fun: Any) -> tuple[str, ...]:
    """Return what a function calls all of its states; nothing where it has no names for them."""
    code, y = _code_and_y(fun)
    whole = set() if code is None else set(taken_apart(code, y).whole)
    if len(whole) != 1 or any(name.startswith("_") for own in whole for name in own):
        return ()
    return whole.pop()


def _known_places(fun: Any, names: Sequence[str]) -> dict[int, str]:
    """Return those of the names that a function has for one state, by its number."""
    code, y = _code_and_y(fun)
    if code is None:
        return {}
    n = len(names)
    found = [
        (name, place % n)
        for name, place in taken_apart(code, y, n).places
        if name in names and -n <= place < n
    ]
    # A name that is one state here and another one there is of none, and so are two of one state.
    found = list(dict.fromkeys(found))
    named, placed = Counter(name for name, _ in found), Counter(place for _, place in found)
    return {place: name for name, place in found if named[name] == placed[place] == 1}


def _code_and_y(fun: Any) -> tuple[CodeType | None, str]:
    """Return the code of a function, and what it calls its states; None where there is none."""
    try:
        y = list(signature_of(fun).parameters.values())[1]
    except (TypeError, ValueError, IndexError):
        return None, ""
    if y.kind not in (y.POSITIONAL_ONLY, y.POSITIONAL_OR_KEYWORD):
        return None, ""
    while not isinstance(fun, FunctionType):
        if isinstance(fun, functools.partial):
            fun = fun.func
        elif isinstance(fun, MethodType):
            fun = fun.__func__
        elif isinstance(getattr(fun, "py_func", None), FunctionType):  # compiled by numba
            fun = fun.py_func
        elif isinstance(call := inspect.getattr_static(type(fun), "__call__", None), FunctionType):
            fun = call
        else:
            return None, ""
    code = fun.__code__
    return (code, y.name) if y.name in code.co_varnames[: code.co_argcount] else (None, "")
