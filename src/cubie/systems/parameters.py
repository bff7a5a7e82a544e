"""How the entries of `args` become one flat vector of parameters.

A *leaf* is a number, a numeric array, or something that is no number, found in `args` directly
or inside its lists, tuples and dictionaries. Numbers and arrays take slots of the parameter
vector, in order, arrays in C order. Everything else (strings, None, bools, callables, other
objects) is a constant of the generated code. A number given as an int is a parameter like any
other, unless Python needs an int of it (`range(n)`, an index, `if mode == 2`): tracing finds that
out and makes it a constant too, though it keeps its slot. Numbers and arrays that are samples of a
table are constants without a slot: a table is data of another kind.
"""

import inspect
from types import FunctionType
from typing import Any

import numpy as np
from attrs import field, frozen

from cubie.errors import InvalidProblem
from cubie.reals import NotReal, real, require_unmasked

CONTAINERS = (list, tuple, dict)


@frozen
class Leaf:
    """One entry of `args`, or of a container in `args`."""

    path: tuple
    value: Any = field(eq=False)
    numeric: bool
    integer: bool
    shape: tuple
    start: int

    @property
    def size(self):
        """Number of slots of the parameter vector."""
        return int(np.prod(self.shape)) if self.numeric else 0

    @property
    def label(self):
        """How a message calls the leaf: `args[2]`, `args[0]['rate']`."""
        return _label(self.path)


def _label(path):
    return "args" + "".join(f"[{key!r}]" for key in path)


def leaves_of(args, constants=frozenset()):
    """Return the leaves of `args` in order; of those at the paths `constants` none is numeric."""
    leaves = []
    start = 0
    for path, value in _walk(args, ()):
        numeric, integer, shape = _classify(path, value)
        if path in constants:
            numeric, integer, shape = False, False, ()
        leaf = Leaf(path, value, numeric, integer, shape, start)
        leaves.append(leaf)
        start += leaf.size
    return tuple(leaves)


def slots_of(leaves, numbers):
    """Return the slots of some leaves, by their numbers."""
    return tuple(
        slot for i in numbers for slot in range(leaves[i].start, leaves[i].start + leaves[i].size)
    )


def _walk(value, path):
    if type(value) in CONTAINERS:
        pairs = value.items() if type(value) is dict else enumerate(value)
        for key, entry in pairs:
            yield from _walk(entry, (*path, key))
    else:
        yield path, value


def _classify(path, value):
    kind = None
    if isinstance(value, (np.ndarray, np.generic)):
        kind = value.dtype.kind
    elif isinstance(value, (bool, int, float, complex)):
        kind = np.dtype(type(value)).kind
    if kind == "c":
        raise TypeError(
            f"{_label(path)} is complex; parameters are real numbers. Pass its real and "
            "imaginary parts."
        )
    if kind in ("i", "u", "f"):
        try:
            require_unmasked(value)
            if type(value) is int:
                real(value)
        except NotReal as error:
            raise InvalidProblem(_label(path), f"{error}.") from error
        return True, kind != "f", np.shape(value)
    return False, False, ()


def rebuild(args, leaves, values):
    """Return `args` with each leaf replaced by the value at its place in `values`."""
    by_path = {leaf.path: value for leaf, value in zip(leaves, values, strict=True)}

    def build(value, path):
        if type(value) is dict:
            return {key: build(entry, (*path, key)) for key, entry in value.items()}
        if type(value) in CONTAINERS:
            return type(value)(build(entry, (*path, i)) for i, entry in enumerate(value))
        return by_path[path]

    return tuple(build(entry, (i,)) for i, entry in enumerate(args))


def parameter_names(fun, leaves):
    """Return a name for each slot, after the names in `fun`'s own signature."""
    names = []
    words = _argument_names(fun)
    for leaf in leaves:
        if not leaf.numeric:
            continue
        first, *rest = leaf.path
        name = words[first] if first < len(words) else f"args[{first}]"
        name += "".join(f"[{key!r}]" if isinstance(key, str) else f"[{key}]" for key in rest)
        for index in np.ndindex(leaf.shape):
            names.append(f"{name}[{', '.join(map(str, index))}]" if index else name)
    return tuple(names)


def signature_of(fun):
    """Return how a function is called; of one that passes all on, how what it wraps is.

    One that wraps another (`functools.wraps`) may give it arguments of its own.

    Raises
    ------
    TypeError, ValueError
        As `inspect.signature` does.
    """
    if not isinstance(fun, FunctionType):
        return inspect.signature(fun)
    own = inspect.signature(fun, follow_wrapped=False)
    passed_on = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    if all(parameter.kind in passed_on for parameter in own.parameters.values()):
        return inspect.signature(fun)
    return own


def _argument_names(fun):
    try:
        parameters = list(signature_of(fun).parameters.values())[2:]
    except (TypeError, ValueError):
        return []
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [parameter.name for parameter in parameters if parameter.kind in positional]


def _on_time(signature, args):
    """Return what helps a function that takes no time, as far as can be seen."""
    try:
        signature.bind(None, *args)
    except TypeError:
        return ""
    if next(iter(signature.parameters)).startswith(("t", "_")):  # that is the time: one is too many
        return ""
    return " The time comes first, also where nothing depends on it: fun(t, y, ...)."


def check_signature(fun, args):
    """Refuse a function that cannot be called as ``fun(t, y, *args)``."""
    try:
        signature = signature_of(fun)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(None, None, *args)
    except TypeError as error:
        called = ", ".join(["t", "y", *(f"args[{i}]" for i in range(len(args)))])
        name = getattr(fun, "__name__", type(fun).__name__)
        raise TypeError(
            f"fun is called as {name}({called}), but its signature is {name}{signature}: {error}."
            f"{_on_time(signature, args)}"
        ) from None


def checked_names(names, n_states):
    """Return the names of the states, those given or `y0`, `y1`, ..."""
    if names is None:
        return tuple(f"y{i}" for i in range(n_states))
    names = (names,) if isinstance(names, str) else tuple(names)
    if len(names) != n_states or len(set(names)) != n_states:
        raise ValueError(f"names must be {n_states} different strings, one a state; got {names!r}.")
    if not all(isinstance(name, str) and name for name in names):
        raise TypeError(f"names must be strings that are not empty; got {names!r}.")
    return names
