"""What names of axes mean: where in a run's inputs their values go.

rho              an argument of the right-hand side, or a parameter of equations
k[3], k['a']     an entry of one
args[0]          an argument by its number
x, y0[1]         the initial value of a state, by name or number
t_start, t_end   of each run
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from attrs import frozen

from cubie.errors import Described, InvalidProblem, few, nearest
from cubie.systems import Equations, names_of_states
from cubie.systems.batch import checked_args
from cubie.systems.parameters import leaves_of, rebuild, signature_of

TIMES = ("t_start", "t_end")


@frozen
class Place:
    """Where the values of an axis go.

    Attributes
    ----------
    name : str
        Of the axis.
    of : {"state", "parameter", "t_start", "t_end"}
    slots : tuple of int
        Of a complex number two: of its real and of its imaginary part.
    """

    name: str
    of: str
    slots: tuple[int, ...] = ()


@frozen
class Named:
    """A state or an argument that an axis names.

    Attributes
    ----------
    name : str
    of : {"state", "argument", "t_start", "t_end"}
    path : tuple
        The number of a state or an argument, and the keys of an entry in it.
    """

    name: str
    of: str
    path: tuple = ()


@frozen
class Words:
    """What can be named of a problem.

    Attributes
    ----------
    states, arguments : tuple of str
        In order; arguments of unknown names have none.
    more_arguments : bool
        Whether there may be others behind these.
    by_name : tuple of str
        Arguments that a function takes by name only, which solvers never give.
    before : tuple of str
        What a function calls the time and its states.
    own : tuple of str
        What it calls each of its states, where `y0` does not name them.
    """

    states: tuple[str, ...]
    arguments: tuple[str, ...]
    more_arguments: bool = False
    by_name: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    own: tuple[str, ...] = ()

    def find(self, name: str) -> Named:
        """Return what a name means.

        Raises
        ------
        InvalidProblem
            For what means nothing, or two things.
        """
        if name in TIMES:
            self._require_no_other(name)
            return Named(name, name)
        head, keys = _taken_apart(name)
        there = [
            Named(name, kind, (names.index(head), *keys))
            for kind, names in (("argument", self.arguments), ("state", self.states))
            if head in names and not (kind == "state" and keys)
        ]
        if head not in self.arguments and head in ("args", "y0") and keys:
            there.append(self._by_number(name, head, keys))
        if len(there) == 1:
            return there[0]
        if there:
            raise InvalidProblem(
                "over",
                f"sweeps {name!r}, which is an argument and a state. Say which: "
                f"'args[{there[0].path[0]}]' or 'y0[{there[1].path[0]}]'.",
            )
        raise self._unknown(name, head)

    def _require_no_other(self, name: str) -> None:
        """Refuse a word for the times of runs that is also an argument's, or a state's, name."""
        for kind, word, names in (
            ("an argument", "args", self.arguments),
            ("a state", "y0", self.states),
        ):
            if name in names:
                raise InvalidProblem(
                    "over",
                    f"sweeps {name!r}, which says when runs start or end, and is {kind} here, too: "
                    f"for that sweep '{word}[{names.index(name)}]', for the time rename it.",
                )

    def _by_number(self, name: str, head: str, keys: tuple) -> Named:
        """Return what ``args[2]``, ``args[2]['a']`` or ``y0[-1]`` means."""
        number, *rest = keys
        if head == "y0":
            n = len(self.states)
            if rest or not is_whole(number) or not -n <= number < n:
                raise InvalidProblem(
                    "over", f"sweeps {name!r}; there are {n} states, y0[0] to y0[{n - 1}]."
                )
            return Named(name, "state", (number % n,))
        n = len(self.arguments)
        if not is_whole(number) or number < 0 or (number >= n and not self.more_arguments):
            told = (
                "from 0" if self.more_arguments else f"0 to {n - 1}" if n else "and there are none"
            )
            raise InvalidProblem("over", f"sweeps {name!r}; arguments have the numbers {told}.")
        return Named(name, "argument", keys)

    def _unknown(self, name: str, head: str) -> InvalidProblem:
        if head in self.by_name:
            return InvalidProblem(
                "over",
                f"sweeps {name!r}, which can only be given by name, and the function is called "
                "with arguments by position. Let the signature have no '*' before it.",
            )
        if head in self.before:
            what = ("time", "states")[self.before.index(head)]
            return InvalidProblem(
                "over",
                f"sweeps {name!r}, by which the function gets its {what}: it is called as "
                f"fun(t, y, ...), with the time first.",
            )
        if head in self.own:
            named = ", ".join(f"{state!r}: ..." for state in self.own)
            return InvalidProblem(
                "over", f"sweeps {name!r}: for that name the states, y0={{{named}}}."
            )
        known = (*self.arguments, *self.states, *TIMES)
        listed, more = few(head, known)
        like = nearest(head, known)
        meant = f" (did you mean {like!r}?)" if like else ""
        rest = f" and {more} more" if more else ""
        return InvalidProblem(
            "over", f"sweeps {name!r}{meant}; there are {', '.join(listed)}{rest}."
        )


def words_of(fun: Any, equations: Equations | None, states: Sequence[str]) -> Words:
    """Return what can be named of a function, or of equations."""
    if equations is not None:
        return Words(equations.states, equations.parameters)
    try:
        parameters = list(signature_of(fun).parameters.values())
    except (TypeError, ValueError):
        return Words(tuple(states), (), True)
    return Words(
        tuple(states),
        arguments_of(fun),
        any(p.kind is p.VAR_POSITIONAL for p in parameters),
        tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY),
        tuple(p.name for p in parameters[:2]),
        names_of_states(fun),
    )


def arguments_of(fun: Any) -> tuple[str, ...]:
    """Return the names of a function's arguments after t and y."""
    try:
        parameters = list(signature_of(fun).parameters.values())[2:]
    except (TypeError, ValueError):
        return ()
    by_position = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return tuple(p.name for p in by_position)


def _taken_apart(name: str) -> tuple[str, tuple]:
    """Return a name and the keys behind it: ``k[3]`` is ("k", (3,))."""
    try:
        node: Any = ast.parse(name, mode="eval").body
        keys: list[Any] = []
        while isinstance(node, ast.Subscript):
            key = ast.literal_eval(node.slice)
            keys[:0] = key if isinstance(key, tuple) else (key,)
            node = node.value
    except (SyntaxError, ValueError):
        return name, ()
    return (node.id, tuple(keys)) if isinstance(node, ast.Name) else (name, ())


def arguments(
    fun: Any, equations: Equations | None, given: Any, swept: Sequence[Named], first: Mapping
) -> tuple[Any, ...]:
    """Return the arguments of one run, with the first value of each that is swept.

    Parameters
    ----------
    given : tuple, list, mapping or None
        What does not sweep, by position or by name.
    first : mapping
        A value of each axis.

    Raises
    ------
    InvalidProblem
    """
    names = arguments_of(fun) if equations is None else equations.parameters
    values = _given_values(names, given)
    for named in swept:
        if named.of == "argument" and len(named.path) == 1:
            if _is_vector(values.get(named.path[0])):
                raise InvalidProblem(
                    "over",
                    f"sweeps {named.name!r}, which is a vector: name its entries, as in "
                    f"'{named.name}[0]'.",
                )
            values[named.path[0]] = first[named.name]
    for named in swept:
        if named.of == "argument" and len(named.path) > 1:
            number = named.path[0]
            if number not in values:
                raise InvalidProblem(
                    "args",
                    f"has no value for what {named.name!r} is an entry of: give all of it, of "
                    "which the axis changes that entry.",
                )
            values[number] = _set(values[number], named.path[1:], first[named.name], named.name)
    return _in_order(fun, equations, names, values)


def _given_values(names: Sequence[str], given: Any) -> dict[int, Any]:
    """Return what was given, by the number of the argument."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        return dict(enumerate(checked_args(given)))
    values = {}
    for name, value in given.items():
        if name not in names:
            like = nearest(str(name), names)
            meant = f" (did you mean {like!r}?)" if like else ""
            raise InvalidProblem(
                "args",
                f"has {name!r}{meant}, but the arguments are {', '.join(names) or 'not named'}.",
            )
        values[names.index(name)] = value
    return values


def _in_order(
    fun: Any, equations: Equations | None, names: Sequence[str], values: Mapping[int, Any]
) -> tuple[Any, ...]:
    """Return all arguments that a run is called with; a function knows those behind by itself."""
    defaults = _defaults(fun) if equations is None else {}
    last = max(values, default=-1)
    for i in range(max(last + 1, len(names))):
        if i not in values and i not in defaults:
            name = names[i] if i < len(names) else f"args[{i}]"
            raise InvalidProblem("args", f"has no {name!r}, and it is not swept. Give its value.")
    return tuple(values[i] if i in values else defaults[i] for i in range(last + 1))


def _defaults(fun: Any) -> dict[int, Any]:
    """Return what a function takes by itself for arguments that nobody gives."""
    try:
        parameters = list(signature_of(fun).parameters.values())[2:]
    except (TypeError, ValueError):
        return {}
    return {i: p.default for i, p in enumerate(parameters) if p.default is not p.empty}


def _is_vector(value: Any) -> bool:
    return isinstance(value, (list, tuple, dict)) or bool(np.ndim(value))


def _set(value: Any, keys: tuple, number: Any, name: str) -> Any:
    if not keys:
        if _is_vector(value):
            raise InvalidProblem("over", f"sweeps {name!r}, which is no number. Name an entry.")
        return number
    if isinstance(value, np.ndarray):
        changed = value.astype(complex if isinstance(number, complex) else float)
        try:
            if np.ndim(changed[keys]):
                raise InvalidProblem("over", f"sweeps {name!r}, which is no number of its array.")
            changed[keys] = number
        except IndexError as error:
            raise InvalidProblem("over", f"sweeps {name!r}: {error}.") from None
        return changed
    key, *rest = keys
    if isinstance(value, dict) and key in value:
        return {k: _set(v, tuple(rest), number, name) if k == key else v for k, v in value.items()}
    if isinstance(value, (list, tuple)) and is_whole(key) and -len(value) <= key < len(value):
        entries = list(value)
        entries[key] = _set(entries[key], tuple(rest), number, name)
        return type(value)(entries)
    raise InvalidProblem(
        "over", f"sweeps {name!r}, but there is no such entry in {Described(_shape_of(value))}."
    )


def _shape_of(value: Any) -> str:
    if isinstance(value, (list, tuple, dict)):
        return f"a {type(value).__name__} of {len(value)}"
    return f"what is given for it, {value!r:.60}"


def slot_of(leaves: Sequence[Any], path: tuple) -> int:
    """Return the slot of the parameters that the number at a path has."""
    for leaf in leaves:
        n = len(leaf.path)
        if not leaf.numeric or leaf.path != path[:n]:
            continue
        rest = path[n:]
        if len(rest) == len(leaf.shape):
            return leaf.start + (
                int(np.ravel_multi_index(_from_start(rest, leaf.shape), leaf.shape)) if rest else 0
            )
    raise KeyError(path)


def _from_start(index: tuple, shape: tuple) -> tuple:
    return tuple(i % n for i, n in zip(index, shape, strict=True))


def normalised(value: Any, path: tuple) -> tuple:
    """Return a path whose negative numbers, which count from the end, count from the start.

    What leads nowhere is left as it is.
    """
    found: list[Any] = []
    for i, key in enumerate(path):
        if isinstance(value, np.ndarray):
            index = path[i:]
            if len(index) != value.ndim or not all(map(is_whole, index)):
                return (*found, *index)
            return (*found, *(int(k) % n for k, n in zip(index, value.shape, strict=True)))
        if isinstance(value, (list, tuple)):
            if not is_whole(key) or not -len(value) <= key < len(value):
                return (*found, *path[i:])
            key %= len(value)
        elif not isinstance(value, dict) or key not in value:
            return (*found, *path[i:])
        found.append(key)
        value = value[key]
    return tuple(found)


def is_whole(key: Any) -> bool:
    """Tell whether a key is the number of an entry."""
    return isinstance(key, int) and not isinstance(key, bool)


def for_several(args: tuple[Any, ...], paths: Sequence[tuple], n_runs: int) -> tuple[Any, ...]:
    """Return arguments of so many runs, in which the leaves that these paths lead to differ."""
    leaves, values = leaves_of(args), []
    for leaf in leaves:
        swept = any(path[: len(leaf.path)] == leaf.path for path in paths)
        values.append(
            np.repeat(np.asarray(leaf.value, dtype=float)[None], n_runs, axis=0)
            if swept and leaf.numeric
            else leaf.value
        )
    return rebuild(args, leaves, values)
