"""A model with values for some of its names, made into a problem to solve."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from attrs import frozen

from cubie.models.description import Description
from cubie.models.errors import ModelError
from cubie.models.formulas import RATE_OF, Apply, Formula, Name, apply, folded
from cubie.models.starting import Start
from cubie.models.writing import identifiers, written
from cubie.systems.symbolic.equations import Equations, assembled
from cubie.systems.symbolic.names import by_name, hint, numbers, stacked

GIVEN = "given "  # before the name of what is given in other words than those of a state


@frozen(eq=False)
class Posed:
    """A problem that solvers take.

    Attributes
    ----------
    equations : Equations
    y0 : ndarray (n,) or (n_runs, n)
    args : tuple of (float or ndarray (n_runs,))
        In the order of the parameters of the equations.
    events : tuple of cubie.Event
    parameters : mapping of str to (float or ndarray (n_runs,))
        Every constant of the model, as these runs have it.
    visible : tuple of str
        States of the equations without those that events need.
    breaks : ndarray (n_breaks,) or (n_runs, n_breaks), or None
        Times that no step crosses.
    """

    equations: Equations
    y0: np.ndarray
    args: tuple[Any, ...]
    events: tuple[Any, ...]
    parameters: Mapping[str, Any]
    visible: tuple[str, ...]
    breaks: np.ndarray | None


def called_in(model: Description) -> dict[str, str]:
    """Return what each name of a model is called in equations, rates that are asked for as well."""
    called = identifiers((*model.rates, *model.formulas, *model.constants))
    taken = set(called.values())
    for name in model.defined:
        if name not in called:
            wanted = f"rate_of_{called[name.removeprefix(RATE_OF).strip()]}"
            while wanted in taken:
                wanted += "_"
            taken.add(wanted)
            called[name] = wanted
    return called


def texts_with(
    model: Description, free: Iterable[str], numbers: Mapping[str, float], called: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the derivatives of states, and the quantities, as text.

    Parameters
    ----------
    free : iterable of str
        Constants that go by name; others are numbers.
    numbers : mapping of str to float
    called : mapping of str to str
        What each name is called in equations.
    """
    free = set(free)
    known = {name: float(numbers[name]) for name in model.constants if name not in free}

    def texts(formulas: Mapping[str, Formula]) -> dict[str, str]:
        return {
            called[name]: written(folded(formula, known), called)
            for name, formula in formulas.items()
        }

    return texts(model.rates), texts(model.defined)


def equations_with(
    model: Description, free: tuple[str, ...], numbers: Mapping[str, float],
    called: Mapping[str, str],
) -> Equations:  # fmt: skip
    """Return the equations of a model in which the constants `free` are parameters."""
    texts = texts_with(model, free, numbers, called)
    return assembled(*texts, tuple(called[name] for name in free))


def given_values(
    model: Description, y0: Any, args: Any
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Formula]]:
    """Return what runs are given, of constants and of states, and formulas for others.

    Raises
    ------
    ModelError
        For names that can be given no value, saying what has.
    """
    free = named_values(model, "args", args)
    for name in free:
        require_constant(model, name)
    states, instead = {}, {}
    if y0 is not None and by_name("y0", y0) is None:
        array = np.asarray(y0, dtype=float)
        if array.shape[-1:] != (len(model.rates),):
            raise ModelError(
                f"y0 has shape {array.shape}, and {model.name} has {len(model.rates)} states: "
                f"{', '.join(model.rates)}. Give those that begin otherwise by name."
            )
        y0 = {name: array[..., i] for i, name in enumerate(model.rates)}
    for name, value in named_values(model, "y0", y0).items():
        if name in model.rates:
            states[name] = value
            continue
        counted = _counted_as(model, name)
        if counted is None:
            raise ModelError(_no_state(model, name))
        state, size = counted
        states[GIVEN + name] = value
        instead[state] = apply("times", Name(GIVEN + name), size)
    return free, states, instead


def named_values(model: Description, what: str, given: Any) -> dict[str, Any]:
    """Return what `y0` or `args` gives to names.

    Raises
    ------
    ModelError
        For what has no names.
    """
    if given is None or (isinstance(given, (tuple, list)) and not given):
        return {}
    named = by_name(what, given)
    if named is None:
        names = ", ".join(list(model.constants if what == "args" else model.rates)[:3])
        raise ModelError(
            f"{what} of a model goes by name, as in {what}={{...}} of {names or 'none'}; it is "
            f"a {type(given).__name__}."
        )
    return {
        name: value if np.ndim(value) == 0 else numbers(f"{what}[{name!r}]", value)
        for name, value in named.items()
    }


def _counted_as(model: Description, name: str) -> tuple[str, Formula] | None:
    """Return the state that is a quantity times a size, and that size; None for others."""
    formula = model.formulas.get(name)
    if isinstance(formula, Apply) and formula.function == "divide":
        state, size = formula.arguments
        if isinstance(state, Name) and state.name in model.initial:
            return state.name, size
    return None


def require_constant(model: Description, name: str) -> None:
    """Refuse what is no constant, among args.

    Raises
    ------
    ModelError
    """
    if name in model.constants:
        return
    if name in model.rates:
        raise ModelError(
            f"args has `{name}`, which changes in time in {model.name}: what it begins with goes "
            f"in y0={{{name!r}: ...}}."
        )
    if name in model.formulas:
        raise ModelError(
            f"args has `{name}`, which {model.name} computes of others, so that it has no value "
            "of its own."
        )
    raise ModelError(f"args has `{name}`, which {model.name} has not{hint(name, model.constants)}")


def _no_state(model: Description, name: str) -> str:
    if name in model.constants:
        return f"y0 has `{name}`, which is constant in {model.name}: it goes in args."
    if name in model.formulas:
        return f"y0 has `{name}`, which {model.name} computes of others at all times."
    return f"y0 has `{name}`, which {model.name} has not{hint(name, tuple(model.rates))}"


def start_of(model: Description, y0: Any, args: Any, time: Any) -> tuple[Start, set[str]]:
    """Return what runs begin with, and the constants that are not those of the model itself."""
    free, states, instead = given_values(model, y0, args)
    changed = {*free, *states, *instead}
    follow = model.follow_from(changed) | set(free) if changed else set()
    start = Start(model, time, {**free, **states}, instead)
    return start, {name for name in model.constants if name in follow}


def y0_of(model: Description, start: Start) -> np.ndarray:
    """Return the initial states, (n,) or (n_runs, n)."""
    if not model.rates:
        return np.zeros(0)
    start.require_states()
    return stacked([start.value(name) for name in model.rates], tuple(model.rates))
