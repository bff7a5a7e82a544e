"""Alternatives: what is to be decided besides places, each option with its price.

An option changes buffers or limits: a block size, the precision of a buffer, one form of storage
with its buffers in use and those of another form switched off::

    single = Option("f32", 2, buffers={"lu": {"dtype": "f4"}})
    precision = Choice("factors", [Option("f64"), single])
    block = Choice("block", [Option(f"{n}", limits={"block_size": n}) for n in (128, 64)])
    decide(Alternatives(problem, [precision, block]))
"""

import hashlib
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from attrs import evolve, field, fields, frozen

from cubie_planner.basics import is_integer, listed, nearest_hint
from cubie_planner.declarations.aliases import alias_to_dict
from cubie_planner.declarations.buffers import Alias, Buffer, BufferError, natural_alignment
from cubie_planner.declarations.byte_counts import BYTE_LIMITS, as_bytes
from cubie_planner.declarations.layouts import Layout, layout_to_dict
from cubie_planner.declarations.limits import Limits, ProblemError
from cubie_planner.declarations.places import Pool, parse_place, rank
from cubie_planner.declarations.problem import Problem, pool_to_dict, problem_to_dict

MOST_COMBINATIONS = 4096
"""Each takes a plan of its own, or a proof that it cannot be the best."""

MOST_COST = 2**50

Picked = Mapping[str, str]
"""Name of the option, for every choice."""


def _changes(value: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(value, Mapping) or not all(isinstance(v, Mapping) for v in value.values()):
        raise ProblemError(
            f"changes of buffers are told by name and field, as in {{'lu': {{'dtype': 'f4'}}}}; "
            f"got {value!r}"
        )
    return {str(name): dict(changes) for name, changes in value.items()}


def _limits(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ProblemError(f"changes of limits are a mapping, got {value!r}")
    return {key: as_bytes(v) if key in BYTE_LIMITS else v for key, v in value.items()}


@frozen
class Option:
    """One way to have it.

    Parameters
    ----------
    name : str
    cost : int
        What it costs, in the unit of the prices of places, which it is added to.
    buffers : mapping of str to mapping
        Fields of buffers that it changes: ``{"lu": {"dtype": "f4"}, "spare": {"enabled": False}}``.
    limits : mapping
        Fields of the limits that it changes: ``{"block_size": 64}``.
    """

    name: str
    cost: int = 0
    buffers: Mapping[str, Mapping[str, Any]] = field(factory=dict, converter=_changes)
    limits: Mapping[str, Any] = field(factory=dict, converter=_limits)

    def __attrs_post_init__(self) -> None:
        _check_name("option", self.name)
        if not is_integer(self.cost) or not 0 <= self.cost <= MOST_COST:
            raise ProblemError(
                f"the cost of option `{self.name}` must be an integer from 0 to 2**50, got "
                f"{self.cost!r}"
            )

    @property
    def touched(self) -> frozenset[tuple[str, str]]:
        """The fields that it changes, as names of a buffer and a field; of limits with no name."""
        found = {(name, key) for name, changes in self.buffers.items() for key in changes}
        return frozenset(found | {("", key) for key in self.limits})


def _options(value: Any) -> tuple[Option, ...]:
    options = listed(value)
    if not options or not all(isinstance(option, Option) for option in options):
        raise ProblemError(f"a choice is among Option objects, got {value!r}")
    return tuple(options)


@frozen
class Choice:
    """What is to be decided: exactly one of the options holds; among equals the first."""

    name: str
    options: tuple[Option, ...] = field(converter=_options)

    def __attrs_post_init__(self) -> None:
        _check_name("choice", self.name)
        names = [option.name for option in self.options]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ProblemError(f"choice `{self.name}` has two options `{twice[0]}`")

    def option(self, name: str) -> Option:
        """Return the option of a name."""
        for option in self.options:
            if option.name == name:
                return option
        known = [option.name for option in self.options]
        raise ProblemError(
            f"choice `{self.name}` has no option {name!r}{nearest_hint(name, known)}; it has "
            f"{', '.join(known)}"
        )


def _check_name(kind: str, name: object) -> None:
    if not isinstance(name, str) or not name or not name.isprintable():
        raise ProblemError(f"the name of the {kind} {name!r} must be text that can be printed")


def _choices(value: Any) -> tuple[Choice, ...]:
    choices = listed(value)
    if not choices or not all(isinstance(choice, Choice) for choice in choices):
        raise ProblemError(f"alternatives are Choice objects, at least one; got {value!r}")
    return tuple(choices)


@frozen
class Alternatives:
    """A problem with choices: they are decided together with places and offsets.

    Parameters
    ----------
    problem : Problem
        What holds for all options; they change it.
    choices : sequence of Choice
        They change different fields, in any combination.
    """

    problem: Problem
    choices: tuple[Choice, ...] = field(converter=_choices)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.problem, Problem):
            raise ProblemError(f"alternatives are of a Problem, got {self.problem!r:.80}")
        names = [choice.name for choice in self.choices]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ProblemError(f"two choices are named `{twice[0]}`")
        count = math.prod(len(choice.options) for choice in self.choices)
        if count > MOST_COMBINATIONS:
            raise ProblemError(
                f"{count} combinations of options are more than the {MOST_COMBINATIONS} that are "
                "looked at; let fewer things be decided at once"
            )
        _check_fields(self)

    def combinations(self) -> Iterator[dict[str, str]]:
        """Yield every combination of options, the first ones of each choice first."""
        names = [choice.name for choice in self.choices]
        for options in itertools.product(*(choice.options for choice in self.choices)):
            yield {n: option.name for n, option in zip(names, options, strict=True)}

    def options(self, picked: Picked) -> tuple[Option, ...]:
        """Return the options that were picked, in the order of the choices.

        Raises
        ------
        ProblemError
            When a choice is left out, or an option or a choice is unknown.
        """
        unknown = sorted(set(picked) - {choice.name for choice in self.choices})
        if unknown:
            raise ProblemError(f"there is no choice `{unknown[0]}`")
        missing = [choice.name for choice in self.choices if choice.name not in picked]
        if missing:
            raise ProblemError(f"nothing was picked for the choice `{missing[0]}`")
        return tuple(choice.option(picked[choice.name]) for choice in self.choices)

    def cost_of(self, picked: Picked) -> int:
        """Return what the picked options cost together."""
        return sum(option.cost for option in self.options(picked))

    def problem_of(self, picked: Picked) -> Problem:
        """Return the problem as the picked options make it.

        Raises
        ------
        BufferError, ProblemError
            When the changes cannot hold together.
        """
        changes: dict[str, dict[str, Any]] = {}
        limits: dict[str, Any] = {}
        for option in self.options(picked):
            limits.update(option.limits)
            for name, found in option.buffers.items():
                changes.setdefault(name, {}).update(found)
        buffers = [changed(b, changes.get(b.name, {})) for b in self.problem.buffers]
        return evolve(self.problem, buffers=buffers, limits=evolve(self.problem.limits, **limits))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON text."""
        text = json.dumps(alternatives_to_dict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def changed(buffer: Buffer, changes: Mapping[str, Any]) -> Buffer:
    """Return a buffer with other fields; what followed from the old ones follows from the new.

    A natural alignment stays natural for another element type, and a shape gives way to a number.
    """
    if not changes:
        return buffer
    wanted = dict(changes)
    if buffer.shape is not None and not {"n_elements", "shape"} & set(wanted):
        wanted["n_elements"] = buffer.shape
    if "n_elements" in wanted:
        wanted.setdefault("shape", None)
    if buffer.alignment == natural_alignment(buffer.dtype):
        wanted.setdefault("alignment", None)
    return evolve(buffer, **wanted)


def _check_fields(alternatives: Alternatives) -> None:
    """Refuse changes of what does not exist, and of one field by two choices."""
    by_name = alternatives.problem.by_name
    known = {f.name for f in fields(Buffer)} - {"name"}
    touched: dict[tuple[str, str], str] = {}
    for choice in alternatives.choices:
        for option in choice.options:
            where = f"option `{option.name}` of `{choice.name}`"
            _check_known(where, option.limits, {f.name for f in fields(Limits)}, "limit")
            _check_known(where, option.buffers, by_name, "buffer")
            for changes in option.buffers.values():
                _check_known(where, changes, known, "field of a buffer")
        for name, key in sorted(set().union(*(option.touched for option in choice.options))):
            other = touched.setdefault((name, key), choice.name)
            if other != choice.name:
                what = f"{key} of `{name}`" if name else key
                raise ProblemError(
                    f"the choices `{other}` and `{choice.name}` both change {what}; make them one"
                )
    for picked in alternatives.combinations():
        try:
            alternatives.problem_of(picked)
        except (BufferError, ProblemError) as error:
            told = ", ".join(f"{name} = {option}" for name, option in picked.items())
            raise ProblemError(f"with {told}: {error}") from error


def _check_known(where: str, given: Iterable[str], known: Iterable[str], kind: str) -> None:
    for name in given:
        if name not in set(known):
            raise ProblemError(f"{where} changes the {kind} `{name}`{nearest_hint(name, known)}")


def alternatives_to_dict(alternatives: Alternatives) -> dict[str, Any]:
    """Return alternatives as plain JSON values, canonical."""
    return {
        "pools": [pool_to_dict(pool) for pool in _pools(alternatives)],
        "problem": problem_to_dict(alternatives.problem),
        "choices": [
            {"name": choice.name, "options": [_option_to_dict(option) for option in choice.options]}
            for choice in alternatives.choices
        ],
    }


def _pools(alternatives: Alternatives) -> list[Pool]:
    """Return the pools that options or buffers name; of one name there is one."""
    found = set(alternatives.problem.pools.values())
    for picked in alternatives.combinations():
        found |= set(alternatives.problem_of(picked).pools.values())
    return sorted(found, key=rank)


def _option_to_dict(option: Option) -> dict[str, Any]:
    return {
        "name": option.name,
        "cost": option.cost,
        "buffers": {
            name: {key: _to_json(key, value) for key, value in sorted(changes.items())}
            for name, changes in sorted(option.buffers.items())
        },
        "limits": {key: _to_json(key, value) for key, value in sorted(option.limits.items())},
    }


def _to_json(key: str, value: Any) -> Any:
    """Return a changed field as the files of problems have it."""
    if value is None:
        return None
    if key == "dtype":
        return np.dtype(value).str
    if key == "pin":
        return str(value)
    if key == "locations":
        places = [value] if isinstance(value, str | Pool) else list(value)
        return sorted(str(p if isinstance(p, Pool) else parse_place(p)) for p in places)
    if key == "aliases":
        items = [value] if isinstance(value, str | Alias) else list(value)
        return [alias_to_dict(Alias(i) if isinstance(i, str) else i) for i in items]
    if isinstance(value, Layout):
        return layout_to_dict(value)
    if isinstance(value, tuple | list):
        return [list(item) if isinstance(item, tuple | list) else item for item in value]
    return value.item() if isinstance(value, np.generic) else value
