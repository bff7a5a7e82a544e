"""What a right-hand side calls its states: the names that it takes `y` apart into.

    v, w = y                 all of them
    v = y[0]                 one

Names that a user gives go to the states of these names, whatever their order.
"""

import dis
import functools
import inspect
import re
from collections.abc import Iterator, Sequence
from types import CodeType, FunctionType, MethodType
from typing import Any, NamedTuple

from cubie.systems.parameters import signature_of


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

    Where it has no names they stay in the order in which they were given.

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
    code, y = _code_and_y(fun)
    found = () if code is None else _taken_apart(code, y)
    if any(one.first is None for one in found):
        return names
    return _with_known({one.first: one.names[0] for one in found if one.first is not None}, names)


def names_of_states(fun: Any) -> tuple[str, ...]:
    """Return what a function calls all of its states; nothing where it has no names for them."""
    code, y = _code_and_y(fun)
    found = () if code is None else _taken_apart(code, y)
    whole = {one.names for one in found if one.first is None}
    if len(whole) != 1 or any(name.startswith("_") for own in whole for name in own):
        return ()
    return whole.pop()


def _with_known(known: dict[int, str], names: tuple[str, ...]) -> tuple[str, ...]:
    """Return names of which some are known to be at a place; the others come in their order."""
    places = {
        name: place % len(names)
        for place, name in known.items()
        if name in names and -len(names) <= place < len(names)
    }
    if len(set(places.values())) < len(places):
        return names
    at = {place: name for name, place in places.items()}
    rest = iter(name for name in names if name not in places)
    return tuple(at[i] if i in at else next(rest) for i in range(len(names)))


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


class _Parts(NamedTuple):
    """Names that `y` is taken apart into: of all states, or of one, by its number."""

    names: tuple[str, ...]
    first: int | None


class _Step(NamedTuple):
    """One instruction; what a version of Python joins two in is two."""

    name: str
    value: Any


@functools.cache
def _taken_apart(code: CodeType, y: str) -> tuple[_Parts, ...]:
    steps = list(_steps(code))
    # Where something else is called `y`, as in ``x, y, z = y``, it holds the states no more.
    end = next((i for i, step in enumerate(steps) if step == ("STORE", y)), len(steps))
    return tuple(_parts(steps, y, end))


def _parts(steps: Sequence[_Step], y: str, end: int) -> Iterator[_Parts]:
    for i, step in enumerate(steps[:end]):
        if step != ("LOAD", y) or i + 2 >= len(steps):
            continue
        then = steps[i + 1]
        if then.name == "UNPACK_SEQUENCE":
            stored = steps[i + 2 : i + 2 + then.value]
            if len(stored) == then.value and all(one.name == "STORE" for one in stored):
                yield _Parts(tuple(one.value for one in stored), None)
        elif then.name == "CONSTANT" and type(then.value) is int:
            taken, stored = steps[i + 2 : i + 4] if i + 3 < len(steps) else (then, then)
            if taken.name == "ENTRY" and stored.name == "STORE":
                yield _Parts((stored.value,), then.value)


def _steps(code: CodeType) -> Iterator[_Step]:
    for one in dis.get_instructions(code):
        if one.opname in ("EXTENDED_ARG", "CACHE", "NOP", "NOT_TAKEN"):
            continue
        kinds = re.findall("(LOAD|STORE)_(?:FAST|DEREF)", one.opname)
        if kinds:
            values = one.argval if isinstance(one.argval, tuple) else (one.argval,)
            yield from map(_Step, kinds, values)
        elif one.opname in ("LOAD_CONST", "LOAD_SMALL_INT"):
            yield _Step("CONSTANT", one.argval)
        elif one.opname == "BINARY_SUBSCR" or (one.opname == "BINARY_OP" and one.argrepr == "[]"):
            yield _Step("ENTRY", None)
        else:
            yield _Step(one.opname, one.argval)
