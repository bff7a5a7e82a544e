"""A model for a sweep: what differs between runs is not known yet.

What follows from it must be computed in each run. Constants that do become quantities of the
equations; what states begin with is set where a run starts, by the event that others of the model
are, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from attrs import evolve, frozen

from cubie.models.breaks import breaks_of
from cubie.models.description import Description
from cubie.models.errors import ModelError
from cubie.models.formulas import (
    RATE_OF,
    TIME,
    Apply,
    Formula,
    Name,
    names_in,
    parts_of,
    rate_name,
    rebuilt,
)
from cubie.models.posing import (
    called_in,
    equations_with,
    given_values,
    named_values,
    require_constant,
)
from cubie.models.starting import Start
from cubie.models.transitions import Machine
from cubie.systems.sensitivities.inputs import ALL, PARAMETERS
from cubie.systems.symbolic.equations import Equations
from cubie.systems.symbolic.names import hint

GROUPS = (ALL, PARAMETERS)  # words for all constants that runs are given


@frozen(eq=False)
class PosedSweep:
    """A problem that `sweep` takes.

    Attributes
    ----------
    equations : Equations
    y0 : dict of str to float
    args : dict of str to object
    events : tuple of cubie.Event
    visible : tuple of str
        States of the model, without those that events need.
    breaks : ndarray (n_breaks,) or None
        Times that no step of any run crosses; those that differ between runs are not among them.
    """

    equations: Equations
    y0: dict[str, Any]
    args: dict[str, Any]
    events: tuple[Any, ...]
    visible: tuple[str, ...]
    breaks: np.ndarray | None


@frozen(eq=False)
class Swept:
    """A model whose constants and states differ between the runs of a sweep.

    Attributes
    ----------
    model : Description
        In which constants that follow from others are quantities.
    start : mapping of str to Formula
        States that follow from what differs: of what they are computed where a run starts.
    free : tuple of str
        Constants that are parameters.
    """

    model: Description
    start: Mapping[str, Formula]
    free: tuple[str, ...]


def swept(model: Description, varying: Iterable[str], given: Iterable[str]) -> Swept:
    """Return a model for a sweep.

    Parameters
    ----------
    varying : iterable of str
        Constants and states that runs, or all of them, have other values of.
    given : iterable of str
        States that are given a value.

    Raises
    ------
    ModelError
        Where a constant follows from what a state begins with.
    """
    varying = dict.fromkeys(varying)
    follow = model.follow_from((*varying, *given)) - set(varying) - set(given)
    constants = set(model.constants)
    free = tuple(name for name in varying if name in constants)

    def expanded(formula: Formula) -> Formula:
        """Return a formula of constants, and of states that do not follow from others."""

        def of_leaf(part: Formula) -> Formula | None:
            if isinstance(part, Apply) and part.function == RATE_OF:
                return expanded(model.defined[rate_name(part.arguments[0])])
            if not isinstance(part, Name):
                return None
            if part.name in follow and part.name in model.initial:
                return expanded(model.initial[part.name])
            return expanded(model.defined[part.name]) if part.name in model.defined else part

        return rebuilt(formula, of_leaf)

    initial, formulas = dict(model.initial), dict(model.formulas)
    for name in [one for one in model.constants if one in follow]:
        formula = formulas[name] = expanded(initial.pop(name))
        others = [one for one in names_in(formula) if one not in constants]
        if others or any(part.function == TIME for part in parts_of(formula)):
            what = f"`{others[0]}`" if others else "the time"
            raise ModelError(
                f"`{name}` of {model.name} is constant, and follows from what {what} is at the "
                f"start, which differs between the runs of this sweep: give its value in args, or "
                "solve by `solve_ivp`, in batches."
            )
    start = {name: expanded(initial[name]) for name in model.rates if name in follow}
    return Swept(evolve(model, initial=initial, formulas=formulas), start, free)


def inputs_named(
    model: Description, called: Mapping[str, str], by: Any, args: Any
) -> tuple[list[str], list[str]]:
    """Return what solutions are differentiated by, and of that the constants no argument gives.

    Both by the names of the model, whichever they were given by.

    Parameters
    ----------
    model : Description
    called : mapping of str to str
        What equations call what the model calls otherwise.
    by : str or sequence of str
        As `sensitivities` takes it.
    args : mapping, optional
        Constants that are given.

    Raises
    ------
    ModelError
        For a word that means all constants that are given, where none is.
    """
    own = {name: one for one, name in called.items()}
    names = [own.get(name, name) for name in ([by] if isinstance(by, str) else by)]
    constants, given = set(model.constants), args if isinstance(args, Mapping) else {}
    told = {own.get(name, name) for name in given}
    words = [name for name in names if name in GROUPS and name not in constants]
    if words and not constants & told:
        raise ModelError(
            f"sensitivities has {words[0]!r}, the constants that args names, and it names none: "
            f"name those that are meant, sensitivities=[{', '.join(map(repr, model.constants))}]."
        )
    return names, [name for name in names if name in constants - told]


def differentiable(model: Description, by: Iterable[str], y0: Any, args: Any) -> Description:
    """Return a model whose derivatives by constants are those of its equations.

    Constants that follow from these become quantities.

    Parameters
    ----------
    by : iterable of str
        What solutions are differentiated by; of initial states nothing follows.
    y0, args : object
        What runs are given, as `solve_ivp` takes it.

    Raises
    ------
    ModelError
        Where what a state begins with follows from one of them, which equations do not know.
    """
    by = tuple(by)
    free, states, instead = given_values(model, y0, args)
    given = {*states, *instead}
    by = [name for name in model.constants if name in by or (name in free and {*by} & {*GROUPS})]
    after = model.follow_from(by) - set(by)
    follow = after - set(free)
    if not follow:
        return model
    for state in model.rates:
        if state in follow and state not in given:
            names = ", ".join(f"`{name}`" for name in by)
            raise ModelError(
                f"What `{state}` of {model.name} begins with follows from {names}, and "
                "sensitivities are of runs that begin as they do: give y0 a number for it, "
                f"{{{state!r}: {float(Start(model, 0.0, {}, {}).value(state)):g}}}, and take "
                "sensitivities by its initial value too."
            )
    return swept(model, (*by, *(name for name in free if name in after)), ()).model


def posed_sweep(model: Description, names: Iterable[str], y0: Any, args: Any) -> PosedSweep:
    """Return a model as a problem for a sweep; see `Model.pose_sweep`."""
    names = _named_in(model, names)
    given = named_values(model, "y0", y0)
    for name in given:
        if name not in model.rates:
            raise ModelError(
                f"y0 has `{name}`, which is no state of {model.name}{hint(name, (*model.rates,))}"
            )
    free = named_values(model, "args", args)
    for name in free:
        require_constant(model, name)
    there = (*model.rates, *model.constants)
    for name in names:
        if name in model.formulas:
            raise ModelError(
                f"`over` sweeps `{name}`, which {model.name} computes of others at all times."
            )
    varying = [name for name in (*free, *names) if name in there]
    of_sweep = swept(model, varying, given)
    machine = Machine(of_sweep.model, of_sweep.start)
    extended, called = machine.model, called_in(machine.model)
    numbers = {name: value for name, value in (free | given).items() if _is_number(value)}
    start = Start(extended, 0.0, numbers, {})
    known = {name: start.value(name) for name in (*extended.rates, *extended.constants)}
    equations = equations_with(extended, of_sweep.free, known, called)
    return PosedSweep(
        equations,
        {called[name]: given.get(name, float(known[name])) for name in extended.rates},
        {called[name]: value for name, value in free.items() if name not in names},
        machine.events(equations, called, of_sweep.free, known),
        tuple(called[name] for name in model.rates),
        breaks_of(of_sweep.model, _Same(start, set(varying)).value),
    )


class _Same:
    """Constants that all runs of a sweep have in common; others are no numbers."""

    def __init__(self, start: Start, varying: set[str]):
        self._start, self._varying = start, varying

    def value(self, name: str) -> Any:
        """Return what a constant is in all runs, or NaN."""
        return math.nan if name in self._varying else self._start.value(name)


def _named_in(model: Description, names: Iterable[str]) -> tuple[str, ...]:
    """Return names as the model has them, of names as equations have them.

    Raises
    ------
    ModelError
        For one that equations cannot have.
    """
    called = called_in(model)
    own = {name: given for given, name in called.items()}
    for name in names:
        if name not in own and name in called:
            raise ModelError(
                f"`over` sweeps `{name}`, which equations cannot call so: it is `{called[name]}` "
                "in sweeps, and in their results."
            )
    return tuple(own.get(name, name) for name in names)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
