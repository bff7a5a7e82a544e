"""Formulas of models as trees of values: what their names stand for is said elsewhere.

A formula is a number, a truth value, a `Name`, or an `Apply` of one of `FUNCTIONS` to formulas.
What formats have beyond these functions they put together from them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from typing import Any

import numpy as np
from attrs import frozen

COMPARED = ("lt", "leq", "gt", "geq", "eq", "neq")
TRUTHS = (*COMPARED, "and", "or", "not")
TIME = "time"  # a function of nothing
RATE_OF = "rate of"  # of a name: its derivative with respect to time


@frozen
class Name:
    """What a model calls something."""

    name: str


@frozen(cache_hash=True)
class Apply:
    """A function of formulas."""

    function: str
    arguments: tuple[Formula, ...] = ()


Formula = float | bool | Name | Apply


def apply(function: str, *arguments: Formula) -> Apply:
    """Return a function of formulas."""
    return Apply(function, arguments)


def is_truth(formula: Formula) -> bool:
    """Tell whether a formula is a truth value, and no number."""
    if isinstance(formula, Apply):
        if formula.function == "piecewise":
            return all(map(is_truth, (*formula.arguments[::2], formula.arguments[-1])))
        return formula.function in TRUTHS
    return isinstance(formula, bool)


def names_in(formula: Formula) -> Iterator[str]:
    """Yield the names in a formula, some more than once; those whose rates it asks for as well."""
    if isinstance(formula, Name):
        yield formula.name
    elif isinstance(formula, Apply):
        for argument in formula.arguments:
            yield from names_in(argument)


def parts_of(formula: Formula) -> Iterator[Apply]:
    """Yield every application in a formula."""
    if isinstance(formula, Apply):
        yield formula
        for argument in formula.arguments:
            yield from parts_of(argument)


def comparisons_in(formula: Formula) -> Iterator[Apply]:
    """Yield the comparisons of numbers in a formula."""
    for part in parts_of(formula):
        if part.function in COMPARED and not any(map(is_truth, part.arguments)):
            yield part


def rebuilt(formula: Formula, of_leaf: Callable[[Formula], Formula | None]) -> Formula:
    """Return a formula in which `of_leaf` put others in the place of parts, from the top down."""
    found = of_leaf(formula)
    if found is not None:
        return found
    if not isinstance(formula, Apply):
        return formula
    return Apply(formula.function, tuple(rebuilt(one, of_leaf) for one in formula.arguments))


def replaced(formula: Formula, by: Mapping[str, Formula]) -> Formula:
    """Return a formula with others in the place of names."""

    def of_leaf(part):
        return by.get(part.name, part) if isinstance(part, Name) else None

    return rebuilt(formula, of_leaf)


# ---- numbers -----------------------------------------------------------------------------------


def _factorial(x: Any) -> Any:
    return _each(math.gamma, np.asarray(x, dtype=float) + 1.0)


def _each(function: Callable[[float], float], values: Any) -> Any:
    """Return a function of `math` of each number; NaN or infinity where that raises."""

    def of_one(x: float) -> float:
        try:
            return function(x)
        except OverflowError:
            return math.inf
        except ValueError:
            return math.nan

    return np.vectorize(of_one, otypes=[float])(values)


def _all(*truths: Any) -> Any:
    return reduce(np.logical_and, truths, np.True_)


def _any(*truths: Any) -> Any:
    return reduce(np.logical_or, truths, np.False_)


def _sum(*terms: Any) -> Any:
    return reduce(np.add, terms, np.float64(0.0))


def _product(*factors: Any) -> Any:
    return reduce(np.multiply, factors, np.float64(1.0))


# What the functions of formulas compute, of NumPy's numbers and arrays.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "plus": _sum,
    "times": _product,
    "minus": np.subtract,
    "divide": np.divide,
    "negative": np.negative,
    "power": np.power,
    "ln": np.log,
    "abs": np.abs,
    "ceiling": np.ceil,
    "factorial": _factorial,
    "max": lambda *of: reduce(np.maximum, of),
    "min": lambda *of: reduce(np.minimum, of),
    "lt": np.less,
    "leq": np.less_equal,
    "gt": np.greater,
    "geq": np.greater_equal,
    "eq": np.equal,
    "neq": np.not_equal,
    "and": _all,
    "or": _any,
    "not": np.logical_not,
    **{name: getattr(np, name) for name in ("exp", "log10", "sqrt", "floor")},
    **{name: getattr(np, name) for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    **{f"a{name}": getattr(np, f"arc{name}") for name in ("sin", "cos", "tan")},
    **{f"a{name}": getattr(np, f"arc{name}") for name in ("sinh", "cosh", "tanh")},
}


def value_of(formula: Formula, value: Callable[[str], Any], time: Any) -> Any:
    """Return what a formula is, in NumPy's numbers or arrays.

    Parameters
    ----------
    value : callable
        ``value(name)``; of a rate ``value("rate of x")``.
    time : float or ndarray
    """
    if isinstance(formula, bool):
        return np.bool_(formula)
    if isinstance(formula, (int, float)):
        return np.float64(formula)
    if isinstance(formula, Name):
        return value(formula.name)
    function, arguments = formula.function, formula.arguments
    if function == TIME:
        return time
    if function == RATE_OF:
        return value(rate_name(arguments[0]))
    found = [value_of(argument, value, time) for argument in arguments]
    if function == "piecewise":
        *pairs, otherwise = found
        for one, condition in zip(pairs[-2::-2], pairs[::-2], strict=True):
            otherwise = np.where(condition, one, otherwise)
        return otherwise[()]
    with np.errstate(all="ignore"):
        return FUNCTIONS[function](*found)


def rate_name(of: Formula) -> str:
    """Return what the rate of a name is asked for by."""
    assert isinstance(of, Name)
    return f"{RATE_OF} {of.name}"


def folded(formula: Formula, known: Mapping[str, float]) -> Formula:
    """Return a formula with numbers for names that are known, as far as it can be computed."""
    if isinstance(formula, Name):
        return known.get(formula.name, formula)
    if not isinstance(formula, Apply) or formula.function in (TIME, RATE_OF):
        return formula
    arguments = tuple(folded(one, known) for one in formula.arguments)
    return _simplified(Apply(formula.function, arguments))


def _simplified(formula: Apply) -> Formula:
    arguments, function = formula.arguments, formula.function
    if not any(isinstance(one, (Name, Apply)) for one in arguments):
        found = value_of(formula, str, 0.0)
        return bool(found) if isinstance(found, np.bool_) else float(found)
    if function == "piecewise":
        return _chosen(arguments)
    if function in ("and", "or"):
        decides = function == "or"
        if any(_truth(one) is decides for one in arguments):
            return decides
        rest = tuple(one for one in arguments if _truth(one) is None)
        return rest[0] if len(rest) == 1 and is_truth(rest[0]) else Apply(function, rest)
    if function == "plus":
        arguments = tuple(one for one in arguments if one != 0.0)
    elif function == "times":
        arguments = tuple(one for one in arguments if one != 1.0 or one is True)
    elif function in ("divide", "power") and arguments[1] == 1.0:
        return arguments[0]
    if function in ("plus", "times") and len(arguments) == 1 and not is_truth(arguments[0]):
        return arguments[0]
    return Apply(function, arguments)


def _truth(formula: Formula) -> bool | None:
    """Return whether a formula is true, where that is known."""
    return None if isinstance(formula, (Name, Apply)) else bool(formula)


def _chosen(arguments: tuple[Formula, ...]) -> Formula:
    """Return a choice without what is never chosen."""
    *pairs, otherwise = arguments
    kept: list[Formula] = []
    for value, condition in zip(pairs[::2], pairs[1::2], strict=True):
        if _truth(condition) is True:
            otherwise = value
            break
        if _truth(condition) is None:
            kept += [value, condition]
    return Apply("piecewise", (*kept, otherwise)) if kept else otherwise
