"""Formulas of CellML, as libCellML reads them, made into those of models."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from cubie.models.errors import ModelError
from cubie.models.formulas import Apply, Formula, apply

# What libCellML calls its nodes, where models have a function of that name.
SAME = frozenset(
    {"eq", "neq", "lt", "leq", "gt", "geq", "and", "or", "not"}
    | {"plus", "times", "divide", "power", "abs", "exp", "ln", "ceiling", "floor", "min", "max"}
    | {"sin", "cos", "tan", "sinh", "cosh", "tanh"}
    | {"asin", "acos", "atan", "asinh", "acosh", "atanh"}
)
OF_MANY = ("plus", "times", "and", "or", "min", "max")  # nested in pairs where there are more
CONSTANTS: dict[str, Formula] = {
    **{"true": True, "false": False, "e": math.e, "pi": math.pi},
    **{"inf": math.inf, "nan": math.nan},
}
# One over another function, and another function of one over the argument.
RECIPROCAL = {"sec": "cos", "csc": "sin", "cot": "tan"} | {
    **{"sech": "cosh", "csch": "sinh", "coth": "tanh"},
}
OF_RECIPROCAL = {"asec": "acos", "acsc": "asin", "acot": "atan"} | {
    **{"asech": "acosh", "acsch": "asinh", "acoth": "atanh"},
}


class Reader:
    """Reads formulas.

    Parameters
    ----------
    variable : callable
        ``variable(given)``: what a variable of libCellML's is.
    rate : callable
        ``rate(given, by)``: the derivative of one by another.
    """

    def __init__(
        self, variable: Callable[[Any], Formula], rate: Callable[[Any, Any], Formula]
    ) -> None:
        self.variable, self.rate = variable, rate

    def read(self, node: Any) -> Formula:
        """Return the formula of a node of libCellML's.

        Raises
        ------
        ModelError
            Naming what is not here.
        """
        kind = node.typeAsString(node.type())
        if kind == "ci":
            return self.variable(node.variable())
        if kind == "cn":
            return float(node.value())
        if kind in CONSTANTS:
            return CONSTANTS[kind]
        if kind == "diff":
            return self.rate(*in_derivative(node))
        if kind == "piecewise":
            return Apply("piecewise", tuple(self._pieces(node)))
        if kind in ("root", "log") and node.rightChild() is not None:
            # The degree, or the base, stands in a node of its own.
            inner = self.read(node.leftChild().leftChild())
            return getattr(self, f"_{kind}")(self.read(node.rightChild()), inner)
        given = [self.read(one) for one in (node.leftChild(), node.rightChild()) if one is not None]
        if kind in SAME:
            return Apply(kind, tuple(_flat(kind, given)))
        if kind in RECIPROCAL:
            return apply("divide", 1.0, apply(RECIPROCAL[kind], *given))
        if kind in OF_RECIPROCAL:
            return apply(OF_RECIPROCAL[kind], apply("divide", 1.0, *given))
        of_more = getattr(self, f"_{kind}", None)
        if of_more is None:
            raise ModelError(f"A formula uses `{kind}`, which is not here.", f"`{kind}`")
        return of_more(*given)

    def _pieces(self, node: Any) -> list[Formula]:
        """Return values, each before its condition, and what is otherwise; NaN if nothing is."""
        found: list[Formula] = []
        while node is not None:
            kind = node.typeAsString(node.type())
            if kind == "otherwise":
                return [*found, self.read(node.leftChild())]
            piece = node.leftChild() if kind == "piecewise" else node
            found += [self.read(piece.leftChild()), self.read(piece.rightChild())]
            node = node.rightChild() if kind == "piecewise" else None
        return [*found, math.nan]

    def _minus(self, a: Formula, *b: Formula) -> Formula:
        return apply("minus", a, *b) if b else apply("negative", a)

    def _root(self, of: Formula, degree: Formula = 2.0) -> Formula:
        if degree == 2.0:
            return apply("power", of, 0.5)
        return apply("power", of, apply("divide", 1.0, degree))

    def _log(self, of: Formula, base: Formula = 10.0) -> Formula:
        if base == 10.0:
            return apply("log10", of)
        return apply("divide", apply("ln", of), apply("ln", base))

    def _rem(self, a: Formula, b: Formula) -> Formula:
        quotient = apply("divide", a, b)
        towards_zero = apply("ceiling", quotient), apply("lt", quotient, 0.0)
        whole = apply("piecewise", *towards_zero, apply("floor", quotient))
        return apply("minus", a, apply("times", b, whole))

    def _xor(self, a: Formula, b: Formula) -> Formula:
        one = apply("and", a, apply("not", b)), apply("and", apply("not", a), b)
        return apply("or", *one)


def in_derivative(node: Any) -> tuple[Any, Any]:
    """Return the variables of a derivative: what changes, and by what."""
    return node.rightChild().variable(), node.leftChild().leftChild().variable()


def _flat(kind: str, given: list[Formula]) -> list[Formula]:
    """Return the arguments of a function of many, of which libCellML nests pairs to the right."""
    last = given[-1]
    if kind in OF_MANY and isinstance(last, Apply) and last.function == kind:
        return [*given[:-1], *last.arguments]
    return given
