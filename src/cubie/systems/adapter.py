"""Systems that cannot be traced: a module that calls the user's function on plain numbers."""

import functools
import types

from cubie.systems.errors import RightHandSideError
from cubie.systems.parameters import CONTAINERS


def plain_function(fun, reason):
    """Return (function, arguments before `t`, keyword arguments) that numba can compile.

    Raises
    ------
    RightHandSideError
        For methods and other objects that carry a state: numba has no type for them.
    """
    before, keywords = [], {}
    while isinstance(fun, functools.partial):
        before = [*fun.args, *before]
        keywords = {**fun.keywords, **keywords}
        fun = fun.func
    fun = getattr(fun, "py_func", None) or fun
    if not isinstance(fun, types.FunctionType):
        raise RightHandSideError(
            f"fun cannot be traced: {reason}. It could still be compiled as it stands if it were "
            f"a plain function, but it is a {type(fun).__name__}; pass a function, and its state "
            "through args."
        )
    return fun, tuple(before), keywords


def write_adapter(title, n_states, args, leaves, before, keywords, in_columns=False, entries=None):
    """Return (source, constants) of the module that holds `build(fun, pack, keep, constants)`.

    `pack` makes an array that the function may write to, of the state; `keep` one that it may
    not, of a vector of parameters: what it wrote there would be gone with the next call. Ints
    are written as constants: the function may count with them, and cannot be asked. `in_columns`:
    the function takes the state as a column, (n, 1), and returns columns. `entries`: what follows
    `result` in the text of each output; by default there is one for each state.
    """
    constants = []

    def constant(value):
        constants.append(value)
        return f"c{len(constants) - 1}"

    by_path = {leaf.path: leaf for leaf in leaves}

    def text(value, path):
        if type(value) in CONTAINERS:
            if type(value) is dict:
                raise RightHandSideError(
                    f"fun cannot be traced, and args[{path[0]}] holds a dictionary, which a "
                    "compiled function cannot take; pass its entries as arguments of their own."
                )
            return _tuple(text(entry, (*path, i)) for i, entry in enumerate(value))
        leaf = by_path[path]
        if not leaf.numeric or (leaf.integer and leaf.shape):
            return constant(value)
        if leaf.integer:
            return repr(int(value))
        slots = [f"p[{i}]" for i in range(leaf.start, leaf.start + leaf.size)]
        if not leaf.shape:
            return slots[0]
        return f"keep({_nested(slots, leaf.shape)})"

    arguments = [constant(value) for value in before]
    states = [f"y[{i}]" for i in range(n_states)]
    arguments += ["t", f"pack({_nested(states, (n_states, 1) if in_columns else (n_states,))})"]
    arguments += [text(value, (i,)) for i, value in enumerate(args)]
    arguments += [f"{name}={constant(value)}" for name, value in keywords.items()]
    names = [f"c{i}" for i in range(len(constants))]
    unpack = f"    {_tuple(names)} = constants\n" if names else ""
    if entries is None:
        first = "[0]" if in_columns else ""
        entries = [f"[{i}]{first}" for i in range(n_states)]
    stores = "\n".join(f"        dy[at + {i}] = result{entry}" for i, entry in enumerate(entries))
    source = (
        f'"""{title}\n\nWritten by cubie: changes are overwritten.\n"""\n\n\n'
        f"def build(fun, pack, keep, constants):\n"
        f'    """Return rhs(t, y, p, dy, at) around `fun`."""\n{unpack}\n'
        f"    def rhs(t, y, p, dy, at):\n"
        f"        result = fun({', '.join(arguments)})\n{stores}\n\n"
        f"    return rhs\n"
    )
    return source, tuple(constants)


def _nested(slots, shape):
    """Return a tuple of tuples of this shape, as text; the slots are in C order."""
    if len(shape) > 1:
        size = len(slots) // shape[0] if shape[0] else 0
        rows = range(0, len(slots), size) if size else ()
        slots = [_nested(slots[i : i + size], shape[1:]) for i in rows]
    return _tuple(slots)


def _tuple(entries):
    entries = list(entries)
    return f"({', '.join(entries)}{',' if len(entries) == 1 else ''})"
