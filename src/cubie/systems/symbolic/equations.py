"""Equations given as text or as SymPy expressions, made into a right-hand side to be traced.

    equations(["dx = v", "dv = mu * (1 - x**2) * v - x"])
    equations({x: v, v: mu * (1 - x**2) * v - x})
    equations([sympy.Eq(x(t).diff(t), v(t)), ...])

The left-hand sides say the states and their order; every other name, but `t`, is a parameter. In
text, ``dx``, ``dx/dt`` and ``x'`` all stand for the derivative of x, and an equation for a name
that is no derivative defines a quantity for the others, in any order.

A parameter that is called, ``u(t)``, is a driver: an `Interpolant` in `args`, as of a function.
``u(t - 3)`` and ``u(x)`` are its values elsewhere, ``u(t, 1)`` its slope. In SymPy it is an
undefined function.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from attrs import Factory, field, frozen

from cubie.systems.symbolic.called import driver, require_drivers, without_a_value
from cubie.systems.symbolic.names import EquationError, by_name, hint, in_order, stacked, swept
from cubie.systems.symbolic.reader import CONSTANTS, FUNCTIONS, NUMPY_NAMES, TIME, Side, read
from cubie.systems.symbolic.text import as_text

STATE = "_state"  # no user's name begins with an underscore
_DERIVATIVE = re.compile(r"(?:d\s*(?P<a>\w+)\s*/\s*dt|(?P<b>\w+)\s*'|d(?P<c>\w+))$")

_EQUALS = re.compile(r"(?<![<>=!])=(?!=)")


@frozen
class Equations:
    """A system of equations with names.

    Attributes
    ----------
    states, parameters : tuple of str
        In the order of `y0` and of `args`.
    drivers : tuple of str
        The parameters that are called, or may be by observables.
    function : callable
        ``function(t, y, *parameters)`` in SciPy's form.
    """

    states: tuple[str, ...]
    parameters: tuple[str, ...]
    drivers: tuple[str, ...]
    _source: str = field(repr=False)
    function: Callable = field(
        init=False,
        eq=False,
        repr=False,
        default=Factory(lambda self: compiled(self._source), takes_self=True),
    )

    @property
    def definitions(self) -> tuple[str, ...]:
        """The assignments of states and quantities, as Python."""
        return tuple(line.strip() for line in self._source.splitlines()[1:-1])

    @property
    def quantities(self) -> tuple[str, ...]:
        """What equations define that is no derivative; each after those that it uses."""
        lines = self.definitions[len(self.states) :]
        return tuple(line.partition(" = ")[0] for line in lines)

    def __reduce__(self):
        return Equations, (self.states, self.parameters, self.drivers, self._source)

    def arguments(self, args: Any) -> Any:
        """Return the parameters in order, from what goes by name or a sequence in order."""
        named = by_name("args", args)
        if named is not None:
            unknown = [name for name in named if name not in self.parameters]
            if not unknown:
                without_a_value([name for name in self.drivers if name not in named])
            elif unknown[0].isidentifier():
                raise EquationError(
                    f"args has `{unknown[0]}`{hint(unknown[0], self.parameters)} One that only "
                    "events or observables use is named in `parameters` of "
                    "`cubie.systems.equations`."
                )
            args = in_order("args", named, self.parameters)
        elif args is None:
            args = ()
        elif not isinstance(args, (tuple, list)):
            return args  # refused where batches are split
        if len(args) != len(self.parameters):
            if not args:
                without_a_value(self.drivers)
            raise EquationError(
                f"args hold {len(args)} values, but the equations have "
                f"{len(self.parameters)} parameters: {', '.join(self.parameters) or 'none'}."
            )
        return tuple(
            driver(name, value) if name in self.drivers else swept(name, value)
            for name, value in zip(self.parameters, args, strict=True)
        )

    def initial_state(self, y0: Any) -> Any:
        """Return y0 in the order of the states, from what goes by name or an array in order."""
        named = by_name("y0", y0)
        if named is None:
            return y0
        return stacked(in_order("y0", named, self.states), self.states)


def equations(
    given: Any,
    states: Sequence[Any] | None = None,
    parameters: Sequence[Any] | None = None,
    drivers: Sequence[Any] | None = None,
) -> Equations:
    """Read equations.

    Parameters
    ----------
    given : str, sequence of str, mapping, or sequence of sympy.Eq or of sympy.Expr
        Text may hold several equations, one a line or separated by semicolons. In a mapping the
        keys are states (names, symbols, or derivatives). Bare expressions need `states`.
    states, parameters : sequence of str or Symbol, optional
        Their order. By default states come in the order of their equations, parameters in that
        of their first use; a name in neither is an error where `parameters` are given.
    drivers : sequence of str, Symbol or undefined function, optional
        What may be called, by observables too; anything else that is called is an error then. By
        default they are what equations call and do not know. Those that are not among the
        `parameters` come after them.

    Raises
    ------
    EquationError
        Saying which equation cannot be read, and why.
    """
    wanted = None if states is None else [str(name) for name in states]
    if isinstance(given, Mapping):
        pairs = [_pair_of_mapping(key, value) for key, value in given.items()]
    else:
        entries = _split(given) if isinstance(given, str) else list(given)
        if wanted is not None and not any(_is_equation(entry) for entry in entries):
            if len(wanted) != len(entries):
                raise EquationError(f"{len(entries)} expressions for {len(wanted)} states.")
            pairs = [(name, True, entry) for name, entry in zip(wanted, entries, strict=True)]
        else:
            parts = [part for entry in entries for part in _parts(entry)]
            used = set(re.findall(r"\w+", " ".join(_right(part) for part in parts)))
            pairs = [_pair(part, wanted, used) for part in parts]
    return _assemble(pairs, wanted, _listed(parameters), _listed(drivers))


def assembled(
    rates: Mapping[str, str], quantities: Mapping[str, str], parameters: Sequence[str]
) -> Equations:
    """Return equations of texts by name, of which there may be none: states, and quantities.

    Raises
    ------
    EquationError
        For a text that cannot be read, and quantities that are defined by themselves.
    """
    sides = {name: read(name, text) for name, text in {**quantities, **rates}.items()}
    source = _source(tuple(rates), parameters, sides, quantities)
    return Equations(tuple(rates), tuple(parameters), (), source)


def read_equations(given: Any) -> Equations | None:
    """Return what `equations` makes of text, mappings and lists; None for a function."""
    if isinstance(given, Equations):
        return given
    if isinstance(given, (str, list, tuple, Mapping)):
        return equations(given)
    return None


def _parts(entry) -> list:
    return _split(entry) if isinstance(entry, str) else [entry]


def _split(text: str) -> list[str]:
    lines = (line.split("#")[0].strip() for line in re.split(r"[\n;]", text))
    return [line for line in lines if line]


def _is_equation(entry) -> bool:
    if isinstance(entry, str):
        return _EQUALS.search(entry) is not None
    return hasattr(entry, "lhs") and hasattr(entry, "rhs")


def _pair_of_mapping(key, value) -> tuple[str, bool, Any]:
    if isinstance(key, str):
        return key, True, value
    return _state_of(key), True, value


def _state_of(symbol) -> str:
    """Return the state that a symbol, a function of t or its derivative stands for."""
    if getattr(symbol, "is_Derivative", False):
        symbol = symbol.expr
    name = getattr(symbol, "name", None) or getattr(getattr(symbol, "func", None), "__name__", "")
    if not name:
        raise EquationError(f"{symbol!r} on a left-hand side is no state.")
    return name


def _right(entry) -> str:
    return _EQUALS.split(entry, maxsplit=1)[-1] if isinstance(entry, str) else ""


def _pair(entry, wanted, used) -> tuple[str, bool, Any]:
    """Return (name, whether its derivative is given, right-hand side) of one equation."""
    if not _is_equation(entry):
        raise EquationError(
            f"`{entry}` is no equation: write `dx = ...`, or give the states of the expressions."
        )
    if not isinstance(entry, str):
        return _state_of(entry.lhs), True, entry.rhs
    left, right = _EQUALS.split(entry, maxsplit=1)
    left = left.strip()
    found = _DERIVATIVE.match(left)
    name = next((group for group in found.groups() if group), "") if found else ""
    # A quantity may begin with a d: it is no state, or used under its whole name.
    bare = found is not None and found["c"] is not None
    if name and not (bare and (left in used if wanted is None else name not in wanted)):
        return name, True, right.strip()
    if bare and wanted is not None and left not in used:
        raise EquationError(
            f"`{left} = ...` has no use: `{name}` is not among the states {wanted}. Add "
            f"it to `states` if this is its derivative, or leave the equation out."
        )
    if not left.isidentifier():
        raise EquationError(f"`{entry}`: the left-hand side must be like dx, dx/dt, x' or a name.")
    return left, False, right.strip()


def _listed(names: Sequence[Any] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(str(name) for name in names)


def _assemble(pairs, wanted, parameters, drivers) -> Equations:
    names = [name for name, _, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise EquationError(f"There are two equations for `{twice}`.")
    rates = {name: side for name, is_state, side in pairs if is_state}
    quantities = {name: side for name, is_state, side in pairs if not is_state}
    states = tuple(rates if wanted is None else wanted)
    if not rates:
        raise EquationError("There is no equation for a derivative, such as `dx = -x`.")
    if set(states) != set(rates):
        odd = sorted(set(states) ^ set(rates))
        raise EquationError(f"States and equations do not match: {', '.join(odd)}.")
    _require_one_meaning(states, quantities, parameters or (), drivers or ())
    sides = {
        name: read(name, as_text(side, names)) for name, side in {**quantities, **rates}.items()
    }
    known = {TIME, *states, *quantities}
    for name in (*sides, *(n for side in sides.values() for n in side.names)):
        if name.startswith("_") or (name == TIME and name in sides):
            raise EquationError(f"`{name}` cannot be the name of a quantity.")
    allowed = parameters if drivers is None else drivers
    called = require_drivers(sides, (*states, *quantities), allowed, drivers or ())
    drivers = called if drivers is None else drivers
    order = dict.fromkeys(n for name in names for n in sides[name].names if n not in known)
    chosen = tuple(order) if parameters is None else parameters
    chosen = tuple(dict.fromkeys((*chosen, *drivers)))
    for name in order:
        if name not in chosen:
            raise EquationError(f"`{name}` is not defined{hint(name, (*known, *chosen))}")
    return Equations(states, chosen, drivers, _source(states, chosen, sides, quantities))


def _require_one_meaning(states, quantities, parameters, drivers) -> None:
    """Refuse a name that is listed twice, or as a state or quantity and as a parameter."""
    more = [name for name in drivers if name not in parameters]
    given = [*states, *parameters, *more]
    twice = next((name for name in given if given.count(name) > 1), None)
    if twice is not None:
        raise EquationError(f"`{twice}` is listed twice among states and parameters.")
    both = next((name for name in given if name in quantities), None)
    if both is not None:
        raise EquationError(f"`{both}` has an equation, and is listed as a parameter too.")


def _source(
    states: Sequence[str],
    parameters: Sequence[str],
    sides: Mapping[str, Side],
    quantities: Mapping[str, Any],
) -> str:
    lines = [f"{name} = {STATE}[{i}]" for i, name in enumerate(states)]
    lines += [f"{name} = {sides[name].text}" for name in in_order_of_use(sides, quantities)]
    rates = ", ".join(sides[name].text for name in states)
    arguments = ", ".join((TIME, STATE, *parameters))
    body = "".join(f"    {line}\n" for line in lines)
    return f"def right_hand_side({arguments}):\n{body}    return [{rates}]\n"


def in_order_of_use(sides: Mapping[str, Side], quantities: Mapping[str, Any]) -> list[str]:
    """Return quantities so that each comes after those it uses."""
    done: list[str] = []

    def add(name, above):
        if name in above:
            raise EquationError(f"`{name}` is defined by itself: {' -> '.join((*above, name))}.")
        if name in done:
            return
        for other in sides[name].names:
            if other in quantities:
                add(other, (*above, name))
        done.append(name)

    for name in quantities:
        add(name, ())
    return done


def compiled(source: str, name: str = "right_hand_side") -> Callable:
    """Return the function of a generated text, with the functions that text may call."""
    namespace: dict[str, Any] = {
        f"_{word}": getattr(np, NUMPY_NAMES.get(word, word), None) or getattr(math, word)
        for word in (*FUNCTIONS, "power")
    }
    # The name of a module of its own, so that the cache tells its functions apart.
    namespace |= {"__name__": "equations"}
    namespace |= CONSTANTS | {"nan": float("nan"), "inf": float("inf")}
    try:
        exec(compile(source, "<equations>", "exec"), namespace)
    except SyntaxError as error:
        raise EquationError(f"A name cannot be one in Python: {error.text}.") from None
    return namespace[name]
