"""In what two sweeps differ, in words: a line for each thing that does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

import attrs
import numpy as np

from cubie.launch.summaries import Window
from cubie.run.summaries.request import Asked
from cubie.sweeps.axes import Axis, Rows, Space
from cubie.sweeps.codec import NotReadable, from_json, to_json
from cubie.sweeps.draws import Draws
from cubie.sweeps.model import Model
from cubie.sweeps.outputs import components_of
from cubie.tableaus import Method

MOST_TOLD = 12
LONGEST = 60
CALLED = {"span": "t_span", "times": "t_eval", "n": "number of draws", "event_room": "max_events",
          "states": "save_states", "observables": "save_observables",
          "state_names": "names of states"}  # fmt: skip
OTHER_EVENTS = "its events are others"
# What is told elsewhere, follows from what is told, or is no part of what a sweep is.
SILENT = ("systems", "places", "notes", "small", "summary_names", "in_pairs", "named",
          "events_asked", "method", "save_mode", "per_component", "own_clock", "windowed",
          "observes", "breakpoints_given", "first_step_given", "min_step_given")  # fmt: skip


def differences(stored: bytes, model: Model, space: Space, drawn: Draws | None) -> list[str]:
    """Return in what a sweep differs from the one in a store, in words."""
    try:
        was, was_space, was_drawn = from_json(stored)
    except (NotReadable, ValueError):
        return ["what it is of cannot be read"]
    return list(dict.fromkeys([
        *_of_systems(was, model), *_of_method(was, model), *_of_numbers(was, model),
        *_of_fields(_in_words(was), _in_words(model)), *_of_spaces(was_space, space),
        *_of_draws(was_drawn, drawn),
    ]))  # fmt: skip


def told(differences: Sequence[str]) -> str:
    """Return the first of many lines, and how many more there are."""
    rest = len(differences) - MOST_TOLD
    more = [f"and {rest} more, in .differences of this error"] if rest > 0 else []
    return "; ".join([*differences[:MOST_TOLD], *more])


def _text(value: Any) -> Any:
    try:
        return to_json(value)
    except TypeError:
        return repr(value)


def _differ(before: Any, now: Any) -> bool:
    return _text(before) != _text(now)


def _line(name: str, before: Any, now: Any) -> str:
    return f"its {CALLED.get(name, name)} is {_short(before)}, here it is {_short(now)}"


def _of_systems(was: Model, model: Model) -> Iterator[str]:
    named = {"states": "right-hand side is another", "observables": "observables are others",
             "events": "events are others"}  # fmt: skip
    for part, told in named.items():
        if _differ(getattr(was.systems, part), getattr(model.systems, part)):
            yield f"its {told}"


def _of_method(was: Model, model: Model) -> Iterator[str]:
    before, now = was.run_settings.method, model.run_settings.method
    if before.name != now.name:
        yield _line("method", before.name, now.name)
    elif _differ(before, now):
        yield f"its method {now.name} has other coefficients"


def _of_numbers(was: Model, model: Model) -> Iterator[str]:
    """Tell of states and parameters, each by its name; those that are swept have no one value."""
    slots = {of: {slot for place in model.places if place.of == of for slot in place.slots}
             for of in ("state", "parameter")}  # fmt: skip
    states = model.state_names
    if model.in_pairs:
        states = tuple(f"{name}.{part}" for name in states for part in ("real", "imag"))
    names = states, model.systems.states.parameter_names
    for what, field, of, called in zip(
        ("y0", "args"), ("start", "parameters"), ("state", "parameter"), names, strict=True
    ):
        before, now = getattr(was, field), getattr(model, field)
        if before.shape != now.shape:
            yield f"its {what} has {len(before)} numbers, here {len(now)}"
            continue
        for i in np.flatnonzero(before != now):
            if int(i) not in slots[of]:
                name = called[i] if i < len(called) else str(i)
                yield _line(f"{what} of {name}", float(before[i]), float(now[i]))
    if _differ(was.places, model.places) and was.places and model.places:
        before, now = ([place.name for place in one.places] for one in (was, model))
        if before != now:
            yield f"it sweeps {', '.join(before)}, here {', '.join(now)}"


def _in_words(model: Model) -> Model:
    """Return a model whose choices and summaries go by the names of states."""
    settings, called = model.run_settings, dict(model.summary_names)
    choice, asked = settings.choice, settings.summaries
    if choice.states is not None:
        choice = attrs.evolve(choice, states=components_of(model))
    quantities = tuple((called.get(f"y{key}" if isinstance(key, int) else key, key), labelled)
                       for key, labelled in asked.quantities)  # fmt: skip
    settings = attrs.evolve(
        settings, choice=choice, summaries=attrs.evolve(asked, quantities=quantities)
    )
    return attrs.evolve(model, run_settings=settings)


def _of_fields(before: Any, now: Any) -> Iterator[str]:
    """Tell of all fields of two objects of one class, and of the fields of those."""
    for part in attrs.fields(type(now)):
        name = part.name
        if not part.init or name in (*SILENT, "start", "parameters"):
            continue
        old, new = getattr(before, name), getattr(now, name)
        # Of a flag it is told elsewhere what it is of.
        if not _differ(old, new) or (name == "breakpoints" and isinstance(new, bool)):
            continue
        if name == "events":
            yield OTHER_EVENTS
        elif isinstance(new, Mapping) and isinstance(old, Mapping):
            for key in dict.fromkeys([*old, *new]):
                if _differ(old.get(key), new.get(key)):
                    yield _line(str(key), old.get(key), new.get(key))
        elif _is_made_of_fields(old, new):
            yield from _of_fields(old, new)
        else:
            yield _line(name, old, new)


def _is_made_of_fields(old: Any, new: Any) -> bool:
    """Tell whether the fields of two objects say more than the objects."""
    return attrs.has(type(new)) and type(old) is type(new) and not isinstance(new, (Asked, Method))


def _of_spaces(was: Space, space: Space) -> Iterator[str]:
    if was.names != space.names or was.dims != space.dims:
        yield f"its axes are {was!r}, here they are {space!r}"
        return
    for old, new in zip(was.axes, space.axes, strict=True):
        yield from _of_axes(old, new)


def _of_axes(old: Axis, new: Axis) -> Iterator[str]:
    if old.size != new.size:
        yield f"its {new.dim!r} has {old.size:,} values, here {new.size:,}"
    elif isinstance(old, Rows) and isinstance(new, Rows):
        for name, before, now in zip(new.names, old.columns, new.columns, strict=True):
            other = np.flatnonzero(before != now)
            if len(other):
                i = int(other[0])
                yield f"value {i} of its {name!r} is {before[i]}, here it is {now[i]}"
        if _differ(old.labels, new.labels):
            yield f"its labels along {new.dim!r} differ"
    elif isinstance(old, Rows) or isinstance(new, Rows):
        yield f"how its {new.dim!r} is drawn differs"
    else:
        yield from _of_draws(old.draws, new.draws)


def _of_draws(old: Draws | None, new: Draws | None) -> Iterator[str]:
    if old is None or new is None:
        if old is not new:
            names = ", ".join((old or new).names)  # type: ignore[union-attr]
            yield (
                f"it {'draws nothing' if old is None else f'draws {names}'} for each run, here "
                + ("it draws nothing" if new is None else f"it draws {names}")
            )
        return
    if old.names != new.names:
        yield f"it draws {', '.join(old.names)}, here {', '.join(new.names)}"
        return
    for name in ("seed", "by", "n"):
        if getattr(old, name) != getattr(new, name):
            yield _line(name, getattr(old, name), getattr(new, name))
    for name, before, now in zip(new.names, old.marginals, new.marginals, strict=True):
        if _differ(before, now):
            yield f"it draws {name!r} from {_marginal(before)}, here from {_marginal(now)}"


def _marginal(given: Any) -> str:
    dist = getattr(given, "dist", None)
    if dist is None:
        return _short(given)
    told = [repr(one) for one in given.args] + [f"{k}={v!r}" for k, v in given.kwds.items()]
    return f"{dist.name}({', '.join(told)})"


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        value = value.tolist()
        value = value[0] if len(value) == 1 else value
    if isinstance(value, Method):
        value = value.name
    elif isinstance(value, Enum):
        value = value.name.lower()
    elif isinstance(value, Window):
        value = [value.first, value.last]
    elif isinstance(value, Asked):
        value = {str(key): [label for label, _ in labelled] for key, labelled in value.quantities}
    elif isinstance(value, Sequence) and not isinstance(value, str):
        value = list(value)
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
