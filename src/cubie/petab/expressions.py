"""Formulas of models as SymPy's expressions, and these as functions of arrays with slopes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import sympy as sp

from cubie.models.description import Description
from cubie.models.errors import ModelError
from cubie.models.formulas import RATE_OF, TIME, Apply, Formula, Name, rate_name

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "plus": lambda *of: sp.Add(*of),
    "times": lambda *of: sp.Mul(*of),
    "minus": lambda a, b: a - b,
    "divide": lambda a, b: a / b,
    "negative": lambda a: -a,
    "power": sp.Pow,
    "ln": sp.log,
    "log10": lambda a: sp.log(a) / sp.log(10),
    "abs": sp.Abs,
    "ceiling": sp.ceiling,
    "factorial": lambda a: sp.gamma(a + 1),
    "max": sp.Max,
    "min": sp.Min,
    "lt": sp.Lt,
    "leq": sp.Le,
    "gt": sp.Gt,
    "geq": sp.Ge,
    "eq": sp.Eq,
    "neq": sp.Ne,
    "and": sp.And,
    "or": sp.Or,
    "not": sp.Not,
    **{name: getattr(sp, name) for name in ("exp", "sqrt", "floor")},
    **{name: getattr(sp, name) for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    **{name: getattr(sp, name) for name in ("asin", "acos", "atan", "asinh", "acosh", "atanh")},
}


def symbol(name: str) -> sp.Symbol:
    """Return a symbol, as the formulas of a problem have it."""
    return sp.Symbol(name, real=True)


def expression(formula: Formula, of_name: Callable[[str], Any]) -> Any:
    """Return a formula of a model as an expression, with these in the place of its names."""
    if isinstance(formula, bool):
        return sp.true if formula else sp.false
    if isinstance(formula, (int, float)):
        return sp.Float(formula) if not float(formula).is_integer() else sp.Integer(int(formula))
    if isinstance(formula, Name):
        return of_name(formula.name)
    assert isinstance(formula, Apply)
    if formula.function == TIME:
        return symbol("time")
    if formula.function == RATE_OF:
        return of_name(rate_name(formula.arguments[0]))
    found = [expression(one, of_name) for one in formula.arguments]
    if formula.function == "piecewise":
        pairs = list(zip(found[:-1:2], found[1::2], strict=True))
        return sp.Piecewise(*pairs, (found[-1], True))
    return FUNCTIONS[formula.function](*found)


class Expressions:
    """What the names of a model are, of its states, of constants that runs vary, and of time.

    Parameters
    ----------
    model : Description
    varied : iterable of str
        Constants that stay symbols.
    numbers : mapping of str to float
        What other constants are, where they don't follow from these.
    """

    def __init__(self, model: Description, varied: Iterable[str], numbers: Mapping[str, float]):
        self.model, self.varied, self.numbers = model, {*varied}, numbers
        self.follow = model.follow_from(self.varied) - self.varied
        self._found: dict[str, Any] = {}

    def now(self, name: str) -> Any:
        """Return what a name is at a time of a run."""
        if name not in self._found:
            self._found[name] = self._now(name)
        return self._found[name]

    def _now(self, name: str) -> Any:
        model = self.model
        if name in model.rates or name in self.varied:
            return symbol(name)
        if name in model.initial:
            return self._constant(name)
        if name in model.views and name not in model.defined:
            return expression(model.views[name].value, self.now)
        return expression(model.defined[name], self.now)

    def _constant(self, name: str) -> Any:
        if name in self.follow:
            return expression(self.model.initial[name], self.start)
        return sp.Float(self.numbers[name])

    def start(self, name: str) -> Any:
        """Return what a name is at the start."""
        model = self.model
        if name in self.varied:
            return symbol(name)
        if name in model.rates:
            return expression(model.initial[name], self.start)
        if name in model.initial:
            return self._constant(name)
        return expression(model.defined[name], self.start)


class Function:
    """Expressions of symbols as a function of arrays, with slopes.

    Parameters
    ----------
    expressions : sequence of sympy.Expr, length m
    symbols : sequence of str

    Raises
    ------
    ModelError
        For symbols that nothing is.
    """

    def __init__(self, expressions: Sequence[Any], symbols: Sequence[str], owner: str):
        self.symbols = tuple(symbols)
        known = [symbol(name) for name in symbols]
        flat = [sp.sympify(one) for one in expressions]
        for one in flat:
            unknown = {str(free) for free in one.free_symbols} - {*symbols}
            if unknown:
                names = ", ".join(f"`{name}`" for name in sorted(unknown))
                raise ModelError(f"{owner} uses {names}, which neither problem nor model has.")
        self._value = sp.lambdify(known, flat, "numpy", cse=True)
        # By each symbol those expressions that have it.
        self._places = [
            (i, j)
            for i, one in enumerate(flat)
            for j, free in enumerate(known)
            if free in one.free_symbols
        ]
        slopes = [flat[i].diff(known[j]) for i, j in self._places]
        self._slopes = sp.lambdify(known, slopes, "numpy", cse=True)
        self.n_expressions = len(flat)

    def values(self, given: Mapping[str, Any]) -> list[Any]:
        """Return what the expressions are, numbers or arrays."""
        with np.errstate(all="ignore"):
            return self._value(*(given[name] for name in self.symbols))

    def slopes(self, given: Mapping[str, Any]) -> list[tuple[int, str, Any]]:
        """Return (expression, symbol, slope) where a slope is not zero by what is written."""
        with np.errstate(all="ignore"):
            found = self._slopes(*(given[name] for name in self.symbols))
        return [(i, self.symbols[j], s) for (i, j), s in zip(self._places, found, strict=True)]
