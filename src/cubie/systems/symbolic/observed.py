"""Observables of equations given as text: quantities that they define, and new expressions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cubie.systems.symbolic.called import require_drivers
from cubie.systems.symbolic.equations import STATE, Equations, compiled, in_order_of_use
from cubie.systems.symbolic.names import EquationError, hint
from cubie.systems.symbolic.reader import TIME, read
from cubie.systems.symbolic.text import as_text


def naming(equations: Equations, names: Sequence[str]) -> Callable:
    """Return ``function(t, y, *parameters)``: quantities of the equations by their names.

    Raises
    ------
    EquationError
        For a name that is no quantity of them.
    """
    known = equations.quantities
    for name in names:
        if name in equations.states:
            raise EquationError(
                f"`observables` names `{name}`, which is a state: it is in `y`, and `save_states=` "
                "chooses which states are kept."
            )
        if name in equations.drivers:
            raise EquationError(
                f"`observables` names `{name}`, which is a driver: its value is an expression, "
                f"{{'value': '{name}({TIME})'}}."
            )
        if name in equations.parameters:
            raise EquationError(
                f"`observables` names `{name}`, which is a parameter: it has the value that `args` "
                "gives it."
            )
        if name not in known:
            there = hint(name, known) if known else "; the equations define no quantities"
            raise EquationError(
                f"`observables` names `{name}`, which no equation defines{there} Expressions can "
                f"be given as a mapping: {{{name!r}: '...'}}."
            )
    return _function(equations, [], {name: name for name in names})


def defining(equations: Equations, given: Mapping[str, Any]) -> Callable:
    """Return ``function(t, y, *parameters)``: new names for expressions, which may use each other.

    Raises
    ------
    EquationError
        For an expression that cannot be read, and a name that is taken or not defined.
    """
    has_equation = (*equations.states, *equations.quantities, *given)
    sides = {name: read(name, as_text(side, has_equation)) for name, side in given.items()}
    kinds = {
        **dict.fromkeys(equations.parameters, "a parameter"),
        **dict.fromkeys(equations.drivers, "a driver"),
        **dict.fromkeys(equations.quantities, "defined by the equations already"),
        **dict.fromkeys(equations.states, "a state"),
        TIME: "the time",
    }
    for name in sides:
        if name in kinds:
            raise EquationError(
                f"`observables` defines `{name}`, which is {kinds[name]}: choose another name."
            )
        if name.startswith("_"):
            raise EquationError(f"`{name}` cannot be the name of a quantity.")
        for other in sides[name].names:
            if other not in kinds and other not in sides and other not in sides[name].called:
                known = (*equations.states, *equations.quantities, *equations.parameters, *sides)
                raise EquationError(
                    f"`{other}`, in the observable `{name}`, is not defined{hint(other, known)}"
                )
    require_drivers(sides, has_equation, equations.drivers, equations.drivers)
    lines, values = [], {}
    for name in in_order_of_use(sides, sides):
        expression = sides[name].text
        if name.isidentifier():
            lines.append(f"{name} = {expression}")
            expression = name
        values[name] = expression
    return _function(equations, lines, {name: values[name] for name in sides})


def computing(
    equations: Equations, definitions: Mapping[str, str], values: Sequence[str]
) -> Callable:
    """Return ``function(t, y, *parameters)``: a list of expressions.

    Parameters
    ----------
    definitions : mapping of str to str
        What they use beside the names of the equations, each after those that it uses.
    values : sequence of str
    """
    body = [f"{name} = {read(name, text).text}" for name, text in definitions.items()]
    lines = "".join(f"    {line}\n" for line in (*equations.definitions, *body))
    returned = ", ".join(read("value", text).text for text in values)
    arguments = ", ".join((TIME, STATE, *equations.parameters))
    return compiled(f"def computed({arguments}):\n{lines}    return [{returned}]\n", "computed")


def _function(equations: Equations, lines: Sequence[str], values: Mapping[str, str]) -> Callable:
    body = "".join(f"    {line}\n" for line in (*equations.definitions, *lines))
    entries = ", ".join(f"{name!r}: {text}" for name, text in values.items())
    arguments = ", ".join((TIME, STATE, *equations.parameters))
    return compiled(
        f"def observables({arguments}):\n{body}    return {{{entries}}}\n", "observables"
    )
