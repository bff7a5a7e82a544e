"""From a file to a `Sweep`: its model, where runs begin, and what is swept."""

from __future__ import annotations

import contextlib
import math
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from attrs import frozen

from cubie.cli.errors import InputError, one_line, reading
from cubie.cli.inputs import read_data
from cubie.cli.models import REQUIRED, GivenModel, ModelOptions, positional, read_model
from cubie.cli.sweep.axes import KEYS, distribution, finite, space_of, values_of
from cubie.sweeps import Space, StoreError, Sweep, sweep
from cubie.sweeps.places import Words
from cubie_planner.reading import read_text

SUFFIXES = (".toml", ".json")
# What `cubie.sweep` takes beside options, and where it is given here.
BESIDE_EQUATIONS = "it stands in the file, beside the equations or the function"
ELSEWHERE: Mapping[str, str] = MappingProxyType({
    "t_span": BESIDE_EQUATIONS, "t_eval": BESIDE_EQUATIONS, "fun": BESIDE_EQUATIONS,
    "y0": "initial values are those of the table `states`",
    "args": "values are those of the table `parameters`",
    "over": "what varies is the table `sweep`",
    "store": "give --store",
    "chunk": "give --chunk, or `chunk` in the table `sweep`",
    "memory": "give --memory, or `memory` in the table `sweep`",
    "seed": "give --seed, or `seed` in the table `sweep`",
})  # fmt: skip


@frozen
class Given:
    """What the command line says of a sweep; None where it says nothing.

    Attributes
    ----------
    model : ModelOptions
    store : str or None
    chunk, seed : int or None
    memory : str or None
    """

    model: ModelOptions
    store: str | None = None
    chunk: int | None = None
    memory: str | None = None
    seed: int | None = None


def read_sweep(target: str, given: Given) -> tuple[Sweep, GivenModel]:
    """Begin the sweep of a file, or go on with it where its store holds a part of it.

    Raises
    ------
    InputError
        Naming the file and the key.
    """
    path = Path(target)
    if path.suffix not in SUFFIXES:
        raise InputError(f"{target}: a sweep is in a file that ends in {' or '.join(SUFFIXES)}")
    with reading(target):
        text = read_text(path)
    data = read_data(target, path, text)
    if "equations" not in data and "function" not in data:
        raise InputError(f"{target}: has neither `equations` nor `function`: what is to be swept?")
    try:
        model = read_model(target, data, given.model)
    except InputError as error:
        raise _with_parameter(error, data) from error
    told = model.sweep
    if not isinstance(told, Mapping):
        raise InputError(f"{target}: needs a table `sweep` of {', '.join(KEYS)}")
    if model.t_span is None:
        raise InputError(f"{target}: needs `t_span`, such as [0, 10]")
    seed = told.get("seed", 0) if given.seed is None else given.seed
    words = Words(model.states, model.arguments)
    space = space_of(target, told, seed, words.find)
    return _begun(model, told, given, space, seed, words), model


def _with_parameter(error: InputError, data: Mapping[str, Any]) -> InputError:
    """Return an error of a name that equations have, and that only the table `sweep` has, too."""
    unknown = re.search(r"`(\w+)` is not defined", str(error))
    if unknown is None or unknown[1] not in _names_in(data.get("sweep")):
        return error
    name = unknown[1]
    return InputError(
        f"{error} It is swept, and a parameter of equations stands in `parameters`, too: "
        f"{name} = 1, a value that is not used."
    )


def _names_in(swept: Any) -> Iterator[Any]:
    """Yield the keys, however deep, of tables."""
    if isinstance(swept, Mapping):
        yield from swept
        swept = list(swept.values())
    for entry in swept if isinstance(swept, list) else ():
        yield from _names_in(entry)


def _begun(
    model: GivenModel, told: Mapping[str, Any], given: Given, space: Space, seed: Any, words: Words
) -> Sweep:
    swept = [words.find(name) for name in space.names]
    start = _start(model, {named.path[0] for named in swept if named.of == "state"})
    args = _args(model, {named.path[0] for named in swept if named.of == "argument"})
    span = model.t_span
    times = None if model.t_eval is None else values_of(f"{model.target}: `t_eval`", model.t_eval)
    chosen = {"chunk": told.get("chunk"), "memory": told.get("memory", "80%"), "seed": seed}
    chosen |= {} if given.chunk is None else {"chunk": given.chunk}
    chosen |= {} if given.memory is None else {"memory": given.memory}
    for name, where in ELSEWHERE.items():
        if name in model.options:
            raise InputError(f"{model.target}: `{name}` is no option of a solver: {where}")
    # What users' code prints must not mix with results.
    with reading(model.target), contextlib.redirect_stdout(sys.stderr):
        try:
            return sweep(
                model.fun, span, start, over=space, args=args, t_eval=times, store=given.store,
                **chosen, **model.options,
            )  # fmt: skip
        except StoreError as error:
            raise InputError(one_line(error)) from error


def _start(model: GivenModel, swept: set[int]) -> dict[str, float]:
    """Return the initial state by name; of states that are swept something in their place."""
    found = {}
    for i, name in enumerate(model.states):
        value = model.start.get(name)
        if value is None:
            if i not in swept:
                raise InputError(
                    f"{model.target}: `states.{name}` has no value, and is not swept: give its "
                    "initial value"
                )
            found[name] = math.nan
        else:
            found[name] = finite(f"{model.target}: `states.{name}`", value)
    return found


def _args(model: GivenModel, swept: set[int]) -> dict[str, Any]:
    """Return arguments by name, with distributions that each run draws from."""
    known = positional(model.fun) if model.place else {}
    found = {}
    for i, name in enumerate(model.arguments):
        if name in model.values:
            found[name] = model.value_of(name, distribution)
        elif i not in swept and known.get(name, REQUIRED) is REQUIRED:
            raise InputError(
                f"{model.target}: `parameters.{name}` has no value, and is not swept: give it one"
            )
    return found
