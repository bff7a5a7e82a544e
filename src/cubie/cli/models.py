"""From a right-hand side, or equations in a file, to the buffers of its integrator."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import json
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from attrs import fields, frozen

from cubie.cli.drivers import read_drivers, require_called
from cubie.cli.errors import InputError, meant, one_line, reading, require_keys
from cubie.launch.kernel import BatchSolverKernel
from cubie.launch.planned import DEFAULT_BLOCK_SIZE
from cubie.sizes import parse_size
from cubie.solver import Solver
from cubie.systems import equations
from cubie.systems.events.given import Event
from cubie_planner import Limits, Problem
from cubie_planner.declarations.global_memory import offering_global
from cubie_planner.gpu.cards import Target

MODEL_KEYS = (
    "equations", "states", "parameters", "drivers", "observables", "summaries", "events", "method",
    "options",
)  # fmt: skip
BESIDE = ("method", "observables", "summaries")  # options that stand beside `options`
PLANNED = ("max_shared", "block_size", "locations", "device")  # options that the planner reads

# Options of the command that are those of a solver.
OF_SOLVER = ("method", "linear_solver", "preconditioner", "dtype", "dense_output")

Model = tuple[Problem, BatchSolverKernel]


@frozen
class ModelOptions:
    """Options of the command that only models have; None where not given."""

    states: int | None = None
    args: str | None = None
    drivers: tuple[tuple[str, str], ...] | None = None
    method: str | None = None
    linear_solver: str | None = None
    preconditioner: str | None = None
    dtype: str | None = None
    observables: str | None = None
    summaries: tuple[tuple[str, str], ...] | None = None
    events: tuple[str, ...] | None = None
    dense_output: bool | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> ModelOptions:
        """Pick them out of all options; those that may be repeated are empty where not given."""
        values = {field.name: options[field.name] for field in fields(cls)}
        return cls(**{name: None if value == () else value for name, value in values.items()})

    def given(self) -> dict[str, Any]:
        """Return the options as they are written, with their values."""
        return {
            "--states": self.states,
            "--args": self.args,
            "--driver": self.drivers,
            "--method": self.method,
            "--linear-solver": self.linear_solver,
            "--preconditioner": self.preconditioner,
            "--dtype": self.dtype,
            "--observables": self.observables,
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


def load_function(place: str, name: str) -> Callable:
    """Import ``file.py`` or a module, which runs its code, and return one of its functions."""
    where = f"{place}:{name}"
    # What the user's code prints must not mix with the plan.
    with contextlib.redirect_stdout(sys.stderr):
        module = _import(place)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            hint = meant(part, [word for word in vars(found) if not word.startswith("_")])
            raise InputError(f"{where}: has no `{part}`{hint}")
        found = getattr(found, part)
    if not callable(found):
        raise InputError(f"{where}: is no function but a {type(found).__name__}")
    return found


def _import(place: str) -> ModuleType:
    is_file = place.endswith(".py")
    path = Path(place)
    if is_file and not path.is_file():
        raise InputError(f"{place}: No such file")
    sys.path.insert(0, str(path.resolve().parent) if is_file else str(Path.cwd()))
    try:
        if not is_file:
            return importlib.import_module(place)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
        return module
    except (Exception, SystemExit) as error:
        raise InputError(f"{place}{_line(error, path)}: {_told(error)}") from error
    finally:
        del sys.path[0]


def _line(error: BaseException, path: Path) -> str:
    """Return ``, line n`` of the user's file, where the error comes from it."""
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f.lineno for f in frames if Path(f.filename) == path.resolve()]
    return f", line {lines[-1]}" if lines else ""


def _told(error: BaseException) -> str:
    message = error.msg if isinstance(error, SyntaxError) else one_line(error)
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def from_function(target: str, fun: Callable, given: ModelOptions) -> Model:
    """Return the buffers of the integrator of a SciPy right-hand side."""
    if given.states is None:
        raise InputError(f"{target}: say how many states it has, with --states N")
    place = target.rpartition(":")[0]
    drivers = {name: load_function(place, where) for name, where in given.drivers or ()}
    numbers = None if given.args is None else _args(given.args)
    names, args = _arguments(fun, drivers, numbers)
    options = {}
    if given.observables is not None:
        options["observables"] = load_function(place, given.observables)
    if given.events is not None:
        options["events"] = [load_function(place, name) for name in given.events]
    options |= given.summaries_by_quantity()
    model = _prepare(target, fun, given.states, args, options, given)
    require_called(target, model[1], names, args)
    return model


def _arguments(
    fun: Callable, drivers: Mapping[str, Any], numbers: tuple | None
) -> tuple[tuple[str, ...], tuple]:
    """Return the arguments after t and y with their names: drivers, and numbers for the others.

    Buffers do not depend on the value of a number.
    """
    try:
        parameters = list(inspect.signature(fun).parameters.values())[2:]
    except (TypeError, ValueError):
        parameters = []
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    positional = {p.name: p.default for p in parameters if p.kind in kinds}
    for name in drivers:
        if name not in positional:
            hint = meant(name, positional)
            raise InputError(f"--driver {name}: the function has no such argument{hint}")
    empty = inspect.Parameter.empty
    others = [name for name in positional if name not in drivers]
    if numbers is None:
        numbers = tuple(1.0 for name in others if positional[name] is empty)
    values = {**dict(zip(others, numbers, strict=False)), **drivers}
    more = numbers[len(others) :]
    last = max((i for i, name in enumerate(positional) if name in values), default=-1)
    names = tuple(positional)[: last + 1]
    lacking = [name for name in names if name not in values and positional[name] is empty]
    if lacking:
        raise InputError(f"--args: there is no number for `{lacking[0]}`")
    args = tuple(values.get(name, positional[name]) for name in names)
    return (*names, *(f"args[{len(names) + i}]" for i in range(len(more)))), (*args, *more)


def _args(text: str) -> tuple:
    with reading("--args"):
        args = json.loads(text)
    if not isinstance(args, list):
        raise InputError(f"--args: must be a JSON list such as [10, 28, 2.67], not {text!r}")
    return tuple(args)


def from_equations(target: str, data: Mapping[str, Any], given: ModelOptions) -> Model:
    """Return the buffers of the integrator of a model file."""
    require_keys(f"{target}:", data, MODEL_KEYS, "a model has")
    options = data.get("options", {})
    if not isinstance(options, Mapping):
        raise InputError(f"{target}: `options` must be a table of options of solve_ivp")
    given_beside = {name: data[name] for name in BESIDE if name in data}
    options = dict(options) | given_beside
    if given.observables is not None:
        options["observables"] = [name.strip() for name in given.observables.split(",")]
    options |= given.summaries_by_quantity()
    options |= _events(target, data.get("events", []), given.events or ())
    text = data["equations"]
    entries = [text] if isinstance(text, str) else text
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise InputError(f"{target}: `equations` must be text or a list of texts")
    if given.drivers is not None:
        raise InputError(f"--driver cannot be used with {target}, which has a table of drivers")
    drivers = read_drivers(target, data.get("drivers", {}))
    with reading(f"{target}: `equations`"):
        system = equations(
            text,
            states=_names(target, data, "states"),
            parameters=_names(target, data, "parameters"),
            drivers=list(drivers),
        )
    if given.states not in (None, len(system.states)):
        raise InputError(f"{target}: has {len(system.states)} states, but --states {given.states}")
    if given.args is not None:
        raise InputError(f"--args cannot be used with {target}, whose parameters have names")
    args = tuple(drivers.get(name, 1.0) for name in system.parameters)
    model = _prepare(target, system, len(system.states), args, options, given)
    require_called(target, model[1], system.parameters, args)
    return model


def _events(target: str, told: Any, given: Sequence[str]) -> dict[str, Any]:
    """Return the option `events` of a model file: texts, and tables of what an `Event` has."""
    if not isinstance(told, list):
        raise InputError(f"{target}: `events` must be a list of texts and tables")
    events: list[Any] = []
    for i, entry in enumerate(told):
        if isinstance(entry, Mapping):
            keys = tuple(field.name for field in fields(Event))
            require_keys(f"{target}: events[{i}]", entry, keys, "an event has")
            if "function" not in entry:
                raise InputError(f"{target}: events[{i}] has no `function`, the text of its number")
            with reading(f"{target}: events[{i}]"):
                entry = Event(**entry)
        events.append(entry)
    return {"events": [*events, *given]} if events or given else {}


def _names(target: str, data: Mapping[str, Any], key: str) -> list[str] | None:
    """Return names given as a list, or as a table of values."""
    if key not in data:
        return None
    names = list(data[key]) if isinstance(data[key], list | Mapping) else None
    if names is None or not all(isinstance(name, str) for name in names):
        raise InputError(f"{target}: `{key}` must be a list of names or a table of values")
    return names


def _prepare(
    target: str, fun: Any, n: int, args: tuple, options: Mapping[str, Any], given: ModelOptions
) -> Model:
    """Build the integrator of a batch, as `solve_ivp` would, and declare its buffers."""
    chosen = {name: getattr(given, name) for name in OF_SOLVER}
    options = dict(options) | {name: v for name, v in chosen.items() if v is not None}
    planned = {name: options.pop(name) for name in PLANNED if name in options}
    # Numbers stand in for all values here: what NumPy warns of says nothing about the model.
    with reading(target), contextlib.redirect_stdout(sys.stderr), np.errstate(all="ignore"):
        solver = Solver(fun, **options)
        solver.prepare(np.ones((1, n)), args)
        kernel = solver.kernel
        named = None if "device" not in planned else Target.find(planned["device"])
        limits = Limits(
            parse_size("max_shared", planned.get("max_shared")),
            planned.get("block_size", DEFAULT_BLOCK_SIZE),
            None if named is None else named.device.capability,
            max_registers=kernel.config.max_registers,
            card=None if named is None else named.card_name,
        )
        policy, buffers = planned.get("locations", "auto"), kernel.layout.timeline.buffers
        if "global" in (policy.values() if isinstance(policy, Mapping) else [policy]):
            buffers = offering_global(buffers)
        problem = Problem(buffers, limits, policy)
    return problem, kernel
