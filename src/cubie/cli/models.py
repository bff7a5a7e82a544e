"""Models in files: equations, or a function beside them, and what is said of them."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from attrs import field, fields, frozen

from cubie.cli.drivers import read_drivers
from cubie.cli.errors import InputError, meant, reading, require_keys
from cubie.cli.functions import load_function, names_a_function
from cubie.systems import OtherNames, equations, in_order_of_states
from cubie.systems.drivers.interpolant import Driver
from cubie.systems.events.given import Event
from cubie_planner.reading import shown

EQUATIONS, FUNCTION = "equations", "function"  # what a model is of
MODEL_KEYS = (
    *(EQUATIONS, FUNCTION, "states", "parameters", "drivers", "observables", "summaries"),
    *("events", "method", "options", "t_span", "t_eval", "sweep"),
)
BESIDE = ("method", "observables", "summaries")  # options that stand beside `options`
DISTRIBUTION = "dist"  # the key of a table of an argument that each run draws
REQUIRED = inspect.Parameter.empty  # what a function takes by itself where it takes nothing
# Options of the command that are those of a solver.
OF_SOLVER = ("method", "linear_solver", "preconditioner", "dtype", "dense_output")


@frozen
class ModelOptions:
    """Options of the commands that only models have; None where not given."""

    states: int | None = None
    args: str | None = None
    drivers: tuple[tuple[str, str], ...] | None = None
    method: str | None = None
    linear_solver: str | None = None
    preconditioner: str | None = None
    options: tuple[tuple[str, Any], ...] | None = None
    dtype: str | None = None
    observables: str | None = None
    sensitivities: str | None = None
    summaries: tuple[tuple[str, str], ...] | None = None
    events: tuple[str, ...] | None = None
    dense_output: bool | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> ModelOptions:
        """Pick those that a command has; what may be repeated is empty where not given."""
        names = [field.name for field in fields(cls) if field.name in options]
        return cls(**{name: None if options[name] == () else options[name] for name in names})

    def given(self) -> dict[str, Any]:
        """Return the options as they are written, with their values."""
        return {
            "--states": self.states,
            "--args": self.args,
            "--driver": self.drivers,
            "--method": self.method,
            "--linear-solver": self.linear_solver,
            "--preconditioner": self.preconditioner,
            "--option": self.options,
            "--dtype": self.dtype,
            "--observables": self.observables,
            "--sensitivities": self.sensitivities,
            "--summary": self.summaries,
            "--event": self.events,
            "--dense-output": self.dense_output,
        }

    def summaries_by_quantity(self) -> dict[str, dict[str, list[str]]]:
        """Return the option that `--summary` stands for; none where it is not given."""
        found: dict[str, list[str]] = {}
        for quantity, summary in self.summaries or ():
            found.setdefault(quantity, []).append(summary)
        return {"summaries": found} if found else {}

    def of_solver(self) -> dict[str, Any]:
        """Return those that are a solver's, which win over a file.

        Raises
        ------
        InputError
            Where one is given twice.
        """
        chosen = {name: getattr(self, name) for name in OF_SOLVER}
        chosen = {name: value for name, value in chosen.items() if value is not None}
        if self.sensitivities is not None:
            chosen["sensitivities"] = [name.strip() for name in self.sensitivities.split(",")]
        for name, value in self.options or ():
            if name in chosen:
                raise InputError(f"--option {name}: `{name}` is given twice")
            chosen[name] = value
        return chosen


@frozen
class GivenModel:
    """What a model file says.

    Attributes
    ----------
    target : str
        The file, for messages.
    fun : Equations or callable
    place : str
        The file or module of a function; empty of equations.
    states : tuple of str
    start : mapping of str to object
        Values of states, as far as they are given.
    arguments : tuple of str
        Names of what comes after t and y.
    values : mapping of str to object
        Of these, drivers among them.
    options : mapping of str to object
        Of a solver.
    t_span, t_eval, sweep : object
        As given; None where not.
    """

    target: str
    fun: Any
    place: str
    states: tuple[str, ...]
    start: Mapping[str, Any]
    arguments: tuple[str, ...]
    values: Mapping[str, Any]
    options: Mapping[str, Any]
    t_span: Any = None
    t_eval: Any = None
    sweep: Any = field(default=None, repr=False)

    def value_of(self, name: str, distribution: Callable[[str, Mapping[str, Any]], Any]) -> Any:
        """Return what an argument gets; of a function, arrays for lists of numbers.

        Parameters
        ----------
        name : str
            Of an argument that has a value.
        distribution : callable
            ``distribution(where, table)``: what a table with `dist` becomes.

        Raises
        ------
        InputError
        """
        return self._value(f"parameters.{name}", self.values[name], distribution)

    def _value(self, key: str, value: Any, distribution: Callable) -> Any:
        where = f"{self.target}: `{key}`"
        if isinstance(value, Driver) or type(value) in (int, float):
            return value
        if isinstance(value, Mapping) and DISTRIBUTION in value:
            return distribution(where, value)
        if not self.place:
            raise InputError(f"{where} is {shown(value)}, and must be a number or a distribution")
        if isinstance(value, Mapping):
            return {n: self._value(f"{key}.{n}", v, distribution) for n, v in value.items()}
        if isinstance(value, list):
            with contextlib.suppress(ValueError):
                array = np.array(value)
                if array.dtype.kind in "iuf":
                    return array
        return value


def read_model(target: str, data: Mapping[str, Any], given: ModelOptions) -> GivenModel:
    """Read the content of a model file; what the command line says wins over it.

    Raises
    ------
    InputError
        Naming the file and the key.
    """
    require_keys(f"{target}:", data, MODEL_KEYS, "a model has")
    if EQUATIONS in data and FUNCTION in data:
        raise InputError(f"{target}: has both `{EQUATIONS}` and `{FUNCTION}`: give one of them")
    if given.drivers is not None:
        raise InputError(f"--driver cannot be used with {target}, which has a table of drivers")
    if given.args is not None:
        raise InputError(f"--args cannot be used with {target}, whose parameters have names")
    drivers = read_drivers(target, data.get("drivers", {}))
    found = _function(target, data) if FUNCTION in data else _equations(target, data, drivers)
    fun, place, states, arguments = found
    if given.states not in (None, len(states)):
        raise InputError(f"{target}: has {len(states)} states, but --states {given.states}")
    values = {**_values(data, "parameters"), **drivers}
    for name in values if place else ():
        if name not in arguments:
            key, hint = "drivers" if name in drivers else "parameters", meant(name, arguments)
            raise InputError(f"{target}: `{key}.{name}`: the function has no such argument{hint}")
    return GivenModel(
        *(target, fun, place, states, _values(data, "states"), arguments, values),
        options=_options(target, data, given, place),
        t_span=data.get("t_span"),
        t_eval=data.get("t_eval"),
        sweep=data.get("sweep"),
    )


Found = tuple[Any, str, tuple[str, ...], tuple[str, ...]]


def _equations(target: str, data: Mapping[str, Any], drivers: Mapping[str, Any]) -> Found:
    text = data[EQUATIONS]
    entries = [text] if isinstance(text, str) else text
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise InputError(f"{target}: `equations` must be text or a list of texts")
    with reading(f"{target}: `equations`"):
        system = equations(
            text,
            states=_names(target, data, "states"),
            parameters=_names(target, data, "parameters"),
            drivers=list(drivers),
        )
    return system, "", system.states, system.parameters


def _function(target: str, data: Mapping[str, Any]) -> Found:
    named = data[FUNCTION]
    if not isinstance(named, str) or not names_a_function(named):
        raise InputError(
            f"{target}: `function` must be written as file.py:function or module:function"
        )
    place, _, name = named.rpartition(":")
    if place.endswith(".py"):
        place = str(Path(target).parent / place)
    fun = _loaded(target, FUNCTION, place, name)
    states = _names(target, data, "states")
    if not states:
        raise InputError(
            f"{target}: of a function `states` must name its states: a list, or a table of values"
        )
    _names(target, data, "parameters")
    try:
        states = in_order_of_states(fun, states)
    except OtherNames as error:
        raise InputError(f"{target}: `states` {error}") from error
    return fun, place, states, tuple(positional(fun))


def positional(fun: Callable) -> dict[str, Any]:
    """Return what a function takes after t and y by position, with what it takes by itself."""
    try:
        parameters = list(inspect.signature(fun).parameters.values())[2:]
    except (TypeError, ValueError):
        return {}
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return {p.name: p.default for p in parameters if p.kind in kinds}


def _values(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return what a table gives values; a list of names gives none."""
    found = data.get(key, {})
    return found if isinstance(found, Mapping) else {}


def _names(target: str, data: Mapping[str, Any], key: str) -> list[str] | None:
    """Return names given as a list, or as a table of values."""
    if key not in data:
        return None
    names = list(data[key]) if isinstance(data[key], list | Mapping) else None
    if names is None or not all(isinstance(name, str) for name in names):
        raise InputError(f"{target}: `{key}` must be a list of names or a table of values")
    return names


# ---- options of a solver ---------------------------------------------------------------


def _options(
    target: str, data: Mapping[str, Any], given: ModelOptions, place: str
) -> dict[str, Any]:
    options = data.get("options", {})
    if not isinstance(options, Mapping):
        raise InputError(f"{target}: `options` must be a table of options of solve_ivp")
    options = dict(options) | {name: data[name] for name in BESIDE if name in data}
    if given.observables is not None:
        names = [name.strip() for name in given.observables.split(",")]
        options["observables"] = given.observables if place else names
    if place and "observables" in options:
        options["observables"] = _named(target, "observables", options["observables"], place)
    for name in ("jac", "jac_p"):
        if place and isinstance(options.get(name), str):
            options[name] = _named(target, f"options.{name}", options[name], place)
    options |= given.summaries_by_quantity()
    options |= _events(target, data.get("events", []), given.events or (), place)
    return options | given.of_solver()


def _named(target: str, key: str, name: Any, place: str) -> Callable:
    """Return a function that stands beside the right-hand side."""
    if not isinstance(name, str):
        raise InputError(
            f"{target}: of a function `{key}` must be the name of one in the same file"
        )
    return _loaded(target, key, place, name)


def _loaded(target: str, key: str, place: str, name: str) -> Callable:
    try:
        return load_function(place, name)
    except InputError as error:
        raise InputError(f"{target}: `{key}`: {error}") from error


def _events(target: str, told: Any, given: Sequence[str], place: str) -> dict[str, Any]:
    """Return the option `events` of a model file: texts, and tables of what an `Event` has."""
    if not isinstance(told, list):
        raise InputError(f"{target}: `events` must be a list of texts and tables")
    events = [_event(target, f"events[{i}]", entry, place) for i, entry in enumerate(told)]
    events += [load_function(place, name) if place else name for name in given]
    return {"events": events} if events else {}


def _event(target: str, key: str, entry: Any, place: str) -> Any:
    if not isinstance(entry, Mapping):
        return _named(target, key, entry, place) if place else entry
    keys = tuple(field.name for field in fields(Event))
    require_keys(f"{target}: {key}", entry, keys, "an event has")
    if "function" not in entry:
        raise InputError(f"{target}: {key} has no `function`, the text of its number")
    entry = dict(entry)
    for part in ("function", "apply") if place else ():
        if part in entry:
            entry[part] = _named(target, f"{key}.{part}", entry[part], place)
    with reading(f"{target}: {key}"):
        return Event(**entry)
