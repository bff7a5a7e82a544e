"""From a right-hand side, or a model file, to the buffers of its integrator."""

from __future__ import annotations

import contextlib
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from cubie.cli.drivers import require_called
from cubie.cli.errors import InputError, meant, reading
from cubie.cli.functions import load_function
from cubie.cli.models import REQUIRED, ModelOptions, positional, read_model
from cubie.launch.kernel import BatchSolverKernel
from cubie.launch.planned import DEFAULT_BLOCK_SIZE
from cubie.lifetimes import record
from cubie.models import load_model
from cubie.models.model import USUAL
from cubie.sizes import parse_size
from cubie.solver import Solver
from cubie_planner import Limits, Problem
from cubie_planner.declarations.global_memory import offering_global
from cubie_planner.gpu.cards import Target
from cubie_planner.recording import Recording

PLANNED = ("max_shared", "block_size", "locations", "device")  # options that the planner reads

# Options of what the interpreter has not: launches, and a device.
OF_DEVICES = {"time_slices": False, "on_device": False}
FIRST_STEPS = 6  # that are recorded
FIXED_STEP = 0.01  # where a plan needs no size of the steps and a solve does
MOST_RECORDED = 5000  # elements of buffers: a pass takes seconds then
TIMES = (0.0, 1e-6, 1e-4, 1e-2, 1.0)  # of points, where there are any: some lie in the first steps

Model = tuple[Problem, BatchSolverKernel, Callable[[], Recording | None]]


def from_function(target: str, fun: Callable, given: ModelOptions) -> Model:
    """Return the buffers of the integrator of a SciPy right-hand side."""
    if given.states is None:
        raise InputError(f"{target}: say how many states it has, with --states N")
    place = target.rpartition(":")[0]
    drivers = {name: load_function(place, where) for name, where in given.drivers or ()}
    for name in drivers:
        if name not in positional(fun):
            hint = meant(name, positional(fun))
            raise InputError(f"--driver {name}: the function has no such argument{hint}")
    numbers = None if given.args is None else _args(given.args)
    names, args = _arguments(fun, drivers, numbers)
    options = {}
    if given.observables is not None:
        options["observables"] = load_function(place, given.observables)
    if given.events is not None:
        options["events"] = [load_function(place, name) for name in given.events]
    options |= given.summaries_by_quantity() | given.of_solver()
    model = _prepare(target, fun, given.states, args, options)
    require_called(target, model[1], names, args)
    return model


def _arguments(
    fun: Callable, known: Mapping[str, Any], numbers: tuple | None
) -> tuple[tuple[str, ...], tuple]:
    """Return the arguments after t and y with their names: those known, and numbers for the others.

    Buffers do not depend on the value of a number.
    """
    taken = positional(fun)
    others = [name for name in taken if name not in known]
    if numbers is None:
        numbers = tuple(1.0 for name in others if taken[name] is REQUIRED)
    values = {**dict(zip(others, numbers, strict=False)), **known}
    more = numbers[len(others) :]
    last = max((i for i, name in enumerate(taken) if name in values), default=-1)
    names = tuple(taken)[: last + 1]
    lacking = [name for name in names if name not in values and taken[name] is REQUIRED]
    if lacking:
        raise InputError(f"--args: there is no number for `{lacking[0]}`")
    args = tuple(values.get(name, taken[name]) for name in names)
    return (*names, *(f"args[{len(names) + i}]" for i in range(len(more)))), (*args, *more)


def _args(text: str) -> tuple:
    with reading("--args"):
        args = json.loads(text)
    if not isinstance(args, list):
        raise InputError(f"--args: must be a JSON list such as [10, 28, 2.67], not {text!r}")
    return tuple(args)


def from_file(target: str, data: Mapping[str, Any], given: ModelOptions) -> Model:
    """Return the buffers of the integrator of a model file.

    What `sweep` says is not looked at: it changes no buffer.
    """
    model = read_model(target, data, given)
    if model.place:
        values = {name: model.value_of(name, lambda *_: 1.0) for name in model.values}
        names, args = _arguments(model.fun, values, None)
    else:
        names = model.arguments
        drivers = data.get("drivers", {})
        args = tuple(model.values[name] if name in drivers else 1.0 for name in names)
    made = _prepare(target, model.fun, len(model.states), args, model.options, model.t_eval)
    require_called(target, made[1], names, args)
    return made


def from_sbml(target: str, given: ModelOptions) -> Model:
    """Return the buffers of the integrator of a model in SBML, with all constants as numbers."""
    refused = {"--states": given.states, "--args": given.args, "--driver": given.drivers}
    for option, value in refused.items():
        if value is not None:
            raise InputError(f"{option} cannot be used with {target}, whose model tells it")
    with reading(target):
        posed = load_model(target).pose()
    if not posed.equations.states:
        raise InputError(f"{target}: the model has no states: there is nothing to plan")
    options: dict[str, Any] = dict(USUAL)
    if given.observables is not None:
        options["observables"] = [name.strip() for name in given.observables.split(",")]
    events = (*(given.events or ()), *posed.events)
    options |= {"events": list(events)} if events else {}
    if len(posed.visible) < len(posed.equations.states):
        options["save_states"] = list(posed.visible)
    options |= given.summaries_by_quantity() | given.of_solver()
    return _prepare(target, posed.equations, len(posed.equations.states), (), options)


def _prepare(
    target: str, fun: Any, n: int, args: tuple, options: Mapping[str, Any], t_eval: Any = None
) -> Model:
    """Build the integrator of a batch, as `solve_ivp` would, and declare its buffers."""
    options = dict(options)
    planned = {name: options.pop(name) for name in PLANNED if name in options}
    # Numbers stand in for all values here: what NumPy warns of says nothing about the model.
    with reading(target), contextlib.redirect_stdout(sys.stderr), np.errstate(all="ignore"):
        solver = Solver(fun, **options)
        solver.prepare(np.ones((1, n)), args, None if t_eval is None else [0.0])
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
    return problem, kernel, partial(_recorded, fun, n, args, options, t_eval is not None, kernel)


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Leave out warnings: the model was prepared before, and they were heard then."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _recorded(
    fun: Any,
    n: int,
    args: tuple,
    options: Mapping[str, Any],
    at_times: bool,
    planned: BatchSolverKernel,
) -> Recording | None:
    """Solve the first steps of a run with every access to a buffer logged; None of large models."""
    timeline = planned.layout.timeline
    if sum(buffer.n_elements for buffer in timeline.buffers if buffer.enabled) > MOST_RECORDED:
        return None
    told: dict[str, Any] = {name: value for name, value in OF_DEVICES.items() if name in options}
    if not planned.integrator.controller.adaptive and options.get("first_step") is None:
        told["first_step"] = FIXED_STEP
    start, times = np.ones((1, n)), TIMES if at_times else None
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(sys.stderr),
        np.errstate(all="ignore"),
    ):
        warnings.simplefilter("ignore")  # the model was prepared before, with all there is to say
        solver = Solver(fun, **{**options, **told, "backend": "python", "max_steps": FIRST_STEPS})
        solver.prepare(start, args, times)
        recording = record(solver.kernel)
        solver.solve((0.0, 1.0), start, times, args=args)
    assert recording.timeline.points == timeline.points, "phases do not depend on the target"
    return recording
