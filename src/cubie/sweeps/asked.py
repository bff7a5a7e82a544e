"""What users ask of a sweep: their problem, with what is swept taken apart from what is not."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cubie import checks
from cubie.errors import InvalidProblem, level_of_caller, nearest
from cubie.reals import NotReal, real, real_array
from cubie.run.summaries.request import apart
from cubie.solver import Solver
from cubie.sweeps.draws import Draws, has_distribution, is_distribution
from cubie.sweeps.places import TIMES, Named, Words
from cubie.sweeps.values import as_written
from cubie.systems import OtherNames, in_order_of_states, unplaced

MOST_TOLD = 8  # states in a message


class Asked(NamedTuple):
    """A problem as users give it."""

    fun: Any
    t_span: Any
    y0: Any
    args: Any
    t_eval: Any
    options: Mapping[str, Any]


def in_order(asked: Asked) -> Asked:
    """Return a problem whose mapping `y0` has its states in the order of the right-hand side.

    Raises
    ------
    InvalidProblem
        Where that has other names for them.

    Warns
    -----
    UserWarning
        Where it does not tell which states the names are of, so that their order decides.
    """
    y0 = asked.y0
    if not isinstance(y0, Mapping) or not callable(asked.fun):
        return asked
    given = {str(name): value for name, value in y0.items()}
    try:
        names = in_order_of_states(asked.fun, tuple(given))
    except OtherNames as error:
        raise InvalidProblem("y0", str(error)) from error
    if left := unplaced(asked.fun, tuple(given)):
        warnings.warn(_told_of_order(names, left), stacklevel=level_of_caller())
    return asked._replace(y0={name: given[name] for name in names})


def _told_of_order(names: Sequence[str], left: Sequence[str]) -> str:
    places = ", ".join(f"y[{names.index(name)}] is {name}" for name in left[:MOST_TOLD])
    rest = f" and {len(left) - MOST_TOLD} more" if len(left) > MOST_TOLD else ""
    all_names = ", ".join(names) if len(names) <= MOST_TOLD else f"{names[0]}, {names[1]}, ..."
    return (
        f"Which states `y0` names cannot be read from the right-hand side, so that the order in "
        f"`y0` decides: {places}{rest}. Take them apart in its first line, {all_names} = y, and "
        "each value goes to the state of its name."
    )


def with_state_names(asked: Asked) -> tuple[dict[str, Any], tuple[tuple[str, str], ...]]:
    """Return the options, in which summaries and choices of named states go by number.

    A function's states have the names that a mapping `y0` gives them.
    """
    options = dict(asked.options)
    if not isinstance(asked.y0, Mapping) or not callable(asked.fun):
        return options, ()
    names = [str(name) for name in asked.y0]
    if isinstance(options.get("summaries"), Mapping):
        found: dict[Any, Any] = {}
        for key, wanted in options["summaries"].items():
            of_one, of_all = apart(key, wanted)
            if of_one is not None:
                found[f"y{names.index(key)}" if key in names else key] = of_one
            if of_all is not None:
                found[key] = of_all | (of_one if key not in names and of_one else {})
        options["summaries"] = found
    chosen = options.get("save_states")
    chosen = chosen.tolist() if isinstance(chosen, np.ndarray) else chosen
    if isinstance(chosen, (list, tuple)):
        options["save_states"] = [names.index(c) if c in names else c for c in chosen]
    elif chosen in names:
        options["save_states"] = names.index(chosen)
    inputs = options.get("sensitivities")
    if isinstance(inputs, str):
        options["sensitivities"] = _by_number(inputs, names)
    elif isinstance(inputs, (list, tuple)):
        options["sensitivities"] = [_by_number(one, names) for one in inputs]
    return options, tuple((f"y{i}", name) for i, name in enumerate(names))


def _by_number(given: Any, names: Sequence[str]) -> Any:
    """Return an initial state that is named, "y0[prey]", by its number."""
    known = {f"y0[{name}]": f"y0[{i}]" for i, name in enumerate(names)}
    return known.get(given, given) if isinstance(given, str) else given


def start_of(solver: Solver, y0: Any) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the initial state, and what its entries are called."""
    equations = solver.equations
    if isinstance(y0, Mapping) and equations is None:
        names = tuple(str(name) for name in y0)
        _require_numbers(names, y0.values())
        y0 = list(y0.values())
    else:
        names = () if equations is None else equations.states
        if isinstance(y0, Mapping):
            _require_numbers(tuple(map(str, y0)), y0.values())
        elif isinstance(y0, (list, tuple)) and has_distribution(y0):
            _require_numbers(names or [f"y{i}" for i in range(len(y0))], y0)
    if equations is not None:
        y0 = _of_equations(equations, y0)
    try:
        start = np.asarray(y0)
        start = start if start.dtype.kind == "c" else np.asarray(real_array(y0))
    except (NotReal, TypeError, ValueError) as error:
        raise InvalidProblem("y0", f"must hold numbers, but {error}.") from error
    if start.ndim != 1 or not start.size:
        raise InvalidProblem(
            "y0",
            f"has shape {start.shape}; of a sweep it is one state, (n_states,): sweep initial "
            "values by name, over=grid(y0=...) or, from a table, over=table(...).",
        )
    if names and len(names) != len(start):
        raise InvalidProblem(
            "y0", f"has {len(start)} numbers, and the states are {len(names)}: {', '.join(names)}."
        )
    return start, names or tuple(f"y{i}" for i in range(len(start)))


def _require_numbers(names: Sequence[str], values: Iterable[Any]) -> None:
    """Refuse, by the name of the state, what is no number."""
    for name, value in zip(names, values, strict=False):
        if has_distribution(value):
            raise InvalidProblem(
                "y0",
                f"has a distribution for {name!r}: initial values are drawn by "
                f"over=cubie.sampled(n, {as_written(name)}).",
            )
        if np.ndim(value):
            raise InvalidProblem(
                "y0",
                f"has {np.shape(value)[0]} values for {name!r}, and of a sweep it is one state: "
                f"sweep them by over=cubie.grid({as_written(name)}), or zipped(...).",
            )
        if isinstance(value, (complex, np.complexfloating)):
            continue
        try:
            real(value)
        except NotReal as error:
            raise InvalidProblem("y0", f"has for {name!r} no number: it {error}.") from error


def _of_equations(equations: Any, y0: Any) -> Any:
    if isinstance(y0, Mapping):
        unknown = [name for name in y0 if name not in equations.states]
        if unknown:
            like = nearest(str(unknown[0]), equations.states)
            meant = f" (did you mean {like!r}?)" if like else ""
            raise InvalidProblem(
                "y0", f"has {unknown[0]!r}{meant}; the states are {', '.join(equations.states)}."
            )
        # A state that is swept need not be given.
        return [y0.get(name, np.nan) for name in equations.states]
    return equations.initial_state(y0)


def start_of_first(
    start: np.ndarray, names: Sequence[str], swept: Sequence[Named], first: Mapping[str, Any]
) -> np.ndarray:
    """Return the initial state of the first run."""
    given = {named.path[0]: first[named.name] for named in swept if named.of == "state"}
    complex_too = any(isinstance(value, complex) for value in given.values())
    started = start.astype(complex if complex_too else start.dtype)
    if given and started.dtype.kind in "iu":
        started = started.astype(float)
    for i, value in given.items():
        started[i] = value
    lacking = [name for name, value in zip(names, started, strict=True) if value != value]
    if lacking:
        raise InvalidProblem(
            "y0", f"has no number for {lacking[0]!r}, and it is not swept. Give its initial value."
        )
    for name, value in zip(names, started, strict=True):
        if not np.isfinite(value):
            raise InvalidProblem("y0", f"has {value} for {name!r}; initial values must be finite.")
    return started


def drawn_of(asked: Asked, words: Words, seed: int) -> tuple[Draws | None, Asked]:
    """Return what each run draws for itself, of distributions among args, and the rest."""
    args = asked.args
    if isinstance(args, Mapping):
        drawn = {str(name): value for name, value in args.items() if is_distribution(value)}
        kept: Any = {name: value for name, value in args.items() if str(name) not in drawn}
    elif isinstance(args, (list, tuple)):
        drawn = {
            words.arguments[i] if i < len(words.arguments) else f"args[{i}]": value
            for i, value in enumerate(args)
            if is_distribution(value)
        }
        # Something in their place, until each run has its own.
        kept = tuple(0.0 if is_distribution(value) else value for value in args)
    else:
        return None, asked
    if not drawn:
        return None, asked
    return Draws.of(None, drawn, "random", seed), asked._replace(args=kept)


def require_told_apart(words: Words, given: Any, swept: Sequence[Named]) -> None:
    """Refuse some of the arguments by position, where what is swept is among those.

    Whether they leave out what is swept, or have a number in its place, nobody can tell.

    Raises
    ------
    InvalidProblem
    """
    names = words.arguments
    if not isinstance(given, (list, tuple)) or len(given) >= len(names):
        return
    of_axes = {named.path[0] for named in swept if named.of == "argument" and len(named.path) == 1}
    taken = [names[i] for i in range(len(given)) if i in of_axes]
    if not taken:
        return
    by_name = ", ".join(f"{name!r}: ..." for i, name in enumerate(names) if i not in of_axes)
    first, are = ", ".join(names[: len(given)]), "is" if len(taken) == 1 else "are"
    raise InvalidProblem(
        "args",
        f"has by position {len(given)} of {len(names)} arguments, {first}, and {', '.join(taken)} "
        f"{are} swept. Give by name what does not vary: args={{{by_name}}}.",
    )


def spans_of_first(
    t_span: Any, swept: Sequence[Named], first: Mapping[str, Any]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return start and end as they were given, and those of the first run."""
    if isinstance(t_span, (list, tuple)):
        for name, given in zip(TIMES, t_span, strict=False):
            if has_distribution(given):
                raise InvalidProblem(
                    "t_span",
                    f"has a distribution: draw times by over=cubie.sampled(n, {name}=...), and "
                    "give a number in its place.",
                )
    start, end = checks.time_span(t_span)
    if isinstance(start, np.ndarray):
        raise InvalidProblem(
            "t_span", "has one for each run; sweep 't_start' or 't_end' in `over` instead."
        )
    for named in swept:
        if named.of in TIMES and isinstance(first[named.name], complex):
            raise InvalidProblem("over", f"sweeps {named.name!r} over complex numbers.")
    return (start, end), (first.get("t_start", start), first.get("t_end", end))
