"""From the command's first argument to a planner problem, whatever kind of input it is.

Only ``file.py:function`` and ``module:function`` run code, on the command line or as `function` in
a model file; all else is data.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from attrs import frozen

from cubie.cli.errors import InputError, printable, reading
from cubie.cli.functions import load_function, names_a_function
from cubie.cli.kernels import MOST_RECORDED, from_file, from_function, from_sbml
from cubie.cli.models import EQUATIONS, FUNCTION, ModelOptions
from cubie.launch.kernel import BatchSolverKernel
from cubie.run.loop import IVPLoop
from cubie_planner import Plan, Problem, problem_from_csv, problem_from_dict
from cubie_planner.declarations.buffers import Interval
from cubie_planner.reading import parse_json, read_text
from cubie_planner.recording import Recording

SUFFIXES = (".json", ".toml", ".csv", ".xml", ".sbml")
OF_SBML = SUFFIXES[-2:]


@frozen(slots=False)
class Source:
    """What a plan was asked for.

    Attributes
    ----------
    name : str
        As given on the command line.
    problem : Problem
        With the limits, pins and policy that the input itself states.
    kernel : BatchSolverKernel or None
        Of a model: what can be compiled, under a plan of its own.
    recorded : callable or None
        Of a model: returns its first steps with every access to a buffer logged; None of a large
        model.
    plan : Plan or None
        Of a plan file: verified when it was read.
    """

    name: str
    problem: Problem
    kernel: BatchSolverKernel | None = None
    recorded: Callable[[], Recording | None] | None = None
    plan: Plan | None = None

    @cached_property
    def recording(self) -> Recording | None:
        """What a model's first steps do to its buffers; None where nothing is recorded."""
        return None if self.recorded is None else self.recorded()

    @property
    def unrecorded(self) -> tuple[str, ...]:
        """Why lines of code are not told of a model; nothing where they are."""
        if self.kernel is None or self.recording is not None:
            return ()
        return (f"Lines of code are told of models with at most {MOST_RECORDED:,} elements.",)

    @property
    def phases(self) -> dict[str, Interval] | None:
        """When each phase of a model's loop runs, in program points; None for other inputs."""
        if self.kernel is None:
            return None
        timeline = self.kernel.layout.timeline
        return {phase: timeline.point(IVPLoop.name, phase) for phase in IVPLoop.phases}

    @property
    def choices(self) -> tuple[str, ...]:
        """What a model's kernel chose by itself, and why."""
        return () if self.kernel is None else self.kernel.choices


def read_source(target: str, model: ModelOptions, capacity: int | None = None) -> Source:
    """Read a model, a problem or a plan.

    Parameters
    ----------
    target : str
        ``file.py:function``, ``module:function``, or a JSON, TOML, CSV or SBML file.
    model : ModelOptions
        Options of models; given for anything else they are refused.
    capacity : int, optional
        Bytes of a MiniMalloc CSV's memory.

    Raises
    ------
    InputError
        Naming the file and the line or key.
    """
    if names_a_function(target):
        place, _, name = target.rpartition(":")
        _refuse(target, "a model", {"--capacity": capacity})
        return Source(printable(target), *from_function(target, load_function(place, name), model))
    path = Path(target)
    if path.suffix == ".py":
        raise InputError(f"{target}: name the function as well, `{target}:function`")
    if path.suffix not in SUFFIXES:
        raise InputError(
            f"{target}: is neither file.py:function nor module:function, nor a file that ends in "
            f"{', '.join(SUFFIXES)}"
        )
    if path.suffix in OF_SBML:
        _refuse(target, "a model", {"--capacity": capacity})
        return Source(printable(target), *from_sbml(target, model))
    return _read_file(target, path, model, capacity)


def read_data(target: str, path: Path, text: str) -> Mapping[str, Any]:
    """Return the content of a TOML or JSON file, by the end of its name."""
    with reading(target):
        data = tomllib.loads(text) if path.suffix == ".toml" else parse_json(text)
    if not isinstance(data, Mapping):
        raise InputError(f"{target}: must hold an object, not a {type(data).__name__}")
    return data


def _read_file(target: str, path: Path, model: ModelOptions, capacity: int | None) -> Source:
    with reading(target):
        text = read_text(path)
        if path.suffix == ".csv":
            _refuse(target, "a problem", model.given())
            return Source(printable(target), problem_from_csv(text, capacity))
    data = read_data(target, path, text)
    _refuse(target, "not a CSV", {"--capacity": capacity})
    if EQUATIONS in data or FUNCTION in data:
        return Source(printable(target), *from_file(target, data, model))
    if "buffers" not in data and "placements" not in data:
        raise InputError(
            f"{target}: has none of the keys `equations`, `function` (a model), `buffers` (a "
            "problem) and `placements` (a plan)"
        )
    _refuse(target, "a plan" if "placements" in data else "a problem", model.given())
    with reading(target):
        if "buffers" in data:
            return Source(printable(target), problem_from_dict(data))
        plan = Plan.from_json(text)
        return Source(printable(target), plan.problem, plan=plan)


def _refuse(target: str, kind: str, options: Mapping[str, Any]) -> None:
    """Refuse options that mean nothing for this kind of input."""
    given = [option for option, value in options.items() if value is not None]
    if given:
        raise InputError(f"{given[0]} cannot be used with {target}, which is {kind}")
