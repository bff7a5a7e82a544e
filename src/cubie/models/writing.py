"""Formulas written in the language of `cubie.systems.equations`."""

from __future__ import annotations

import keyword
import math
from collections.abc import Iterable, Mapping

from cubie.models.formulas import RATE_OF, TIME, Apply, Formula, Name, is_truth, rate_name
from cubie.systems.symbolic.reader import CONSTANTS
from cubie.systems.symbolic.reader import TIME as T

SUM, PRODUCT, SIGN, ATOM = range(4)  # how tightly what is written holds together
COMPARED = {"lt": "<", "leq": "<=", "gt": ">", "geq": ">=", "eq": "==", "neq": "!="}
OPPOSITE = {"lt": "geq", "leq": "gt", "gt": "leq", "geq": "lt", "eq": "neq", "neq": "eq"}
RENAMED = {"ln": "log", "ceiling": "ceil"}
WHOLE_EXPONENTS = range(1, 100)  # written as such; any other number of negative ones is no number
LARGEST_WHOLE = 2.0**53  # whole numbers up to this are written without a point


def identifiers(names: Iterable[str]) -> dict[str, str]:
    """Return what each name is called in equations: itself, where it can be.

    A word of Python, the time, constants that equations know and names with an underscore before
    them get one behind, in their order.
    """
    names = tuple(names)
    taken, found = set(names), {}
    for name in names:
        called = name
        if name.startswith("_") or not name.isidentifier():
            called = "".join(c if c.isalnum() or c == "_" else "_" for c in name).strip("_") or "x"
            called = f"x{called}" if called[0].isdigit() else called
        while (called != name and called in taken) or _is_word(called):
            called += "_"
        taken.add(called)
        found[name] = called
    return found


def _is_word(name: str) -> bool:
    return keyword.iskeyword(name) or name in (T, "nan", "inf", *CONSTANTS)


def written(formula: Formula, called: Mapping[str, str]) -> str:
    """Return a formula as text.

    Parameters
    ----------
    called : mapping
        Of names to identifiers; ``"rate of x"`` is among them where it is asked for.
    """
    return _Writer(called).number(formula)[0]


def written_truth(formula: Formula, called: Mapping[str, str]) -> str:
    """Return a truth value as text."""
    return _Writer(called).truth(formula)


class _Writer:
    """Writes formulas with these identifiers."""

    def __init__(self, called: Mapping[str, str]):
        self.called = called

    def within(self, formula: Formula, at_least: int) -> str:
        """Return a number in brackets, if what is around it binds more tightly."""
        text, binds = self.number(formula)
        return text if binds >= at_least else f"({text})"

    def number(self, formula: Formula) -> tuple[str, int]:
        """Return a number, and how tightly its text holds together."""
        if isinstance(formula, (int, float)):
            return _number(float(formula))
        if isinstance(formula, Name):
            return self.called[formula.name], ATOM
        if is_truth(formula):
            return f"where({self.truth(formula)}, 1.0, 0.0)", ATOM
        function, arguments = formula.function, formula.arguments
        if function == TIME:
            return T, ATOM
        if function == RATE_OF:
            return self.called[rate_name(arguments[0])], ATOM
        written = getattr(self, f"_{function}", None)
        return self._call(function, arguments) if written is None else written(*arguments)

    def _call(self, function: str, arguments: Iterable[Formula]) -> tuple[str, int]:
        within = ", ".join(self.number(one)[0] for one in arguments)
        return f"{RENAMED.get(function, function)}({within})", ATOM

    def _plus(self, *terms: Formula) -> tuple[str, int]:
        if not terms:
            return "0.0", ATOM
        text = self.within(terms[0], SUM)
        for term in terms[1:]:
            taken = _negated(term)
            text += (
                f" + {self.within(term, PRODUCT)}"
                if taken is None
                else (f" - {self.within(taken, PRODUCT)}")
            )
        return text, SUM

    def _minus(self, a: Formula, b: Formula) -> tuple[str, int]:
        return f"{self.within(a, SUM)} - {self.within(b, PRODUCT)}", SUM

    def _times(self, *factors: Formula) -> tuple[str, int]:
        if not factors:
            return "1.0", ATOM
        first, *rest = factors
        texts = [self.within(first, PRODUCT), *(self.within(one, SIGN) for one in rest)]
        return " * ".join(texts), PRODUCT

    def _divide(self, a: Formula, b: Formula) -> tuple[str, int]:
        return f"{self.within(a, PRODUCT)} / {self.within(b, SIGN)}", PRODUCT

    def _negative(self, a: Formula) -> tuple[str, int]:
        return f"-{self.within(a, ATOM)}", SIGN

    def _power(self, base: Formula, exponent: Formula) -> tuple[str, int]:
        is_number = isinstance(base, (int, float))
        if isinstance(exponent, float) and exponent in WHOLE_EXPONENTS and not is_number:
            return f"{self.within(base, ATOM)}**{int(exponent)}", SIGN
        return self._call("pow", (base, exponent))

    def _factorial(self, a: Formula) -> tuple[str, int]:
        return f"gamma({self.within(a, SUM)} + 1.0)", ATOM

    def _max(self, *of: Formula) -> tuple[str, int]:
        return self._nested("maximum", of)

    def _min(self, *of: Formula) -> tuple[str, int]:
        return self._nested("minimum", of)

    def _nested(self, function: str, of: tuple[Formula, ...]) -> tuple[str, int]:
        text = self.number(of[-1])[0]
        for one in of[-2::-1]:
            text = f"{function}({self.number(one)[0]}, {text})"
        return text, ATOM

    def _piecewise(self, *arguments: Formula) -> tuple[str, int]:
        *pairs, otherwise = arguments
        text = self.number(otherwise)[0]
        for value, condition in zip(pairs[-2::-2], pairs[::-2], strict=True):
            text = f"where({self.truth(condition)}, {self.number(value)[0]}, {text})"
        return text, ATOM

    def truth(self, formula: Formula, opposite: bool = False) -> str:
        """Return a truth value, or its opposite, in brackets of its own."""
        if isinstance(formula, (int, float)):
            return "(0.0 < 1.0)" if bool(formula) is not opposite else "(1.0 < 0.0)"
        function, arguments = _taken_apart(formula)
        if function == "not":
            return self.truth(arguments[0], not opposite)
        if function in ("and", "or"):
            sign = "&" if (function == "and") is not opposite else "|"
            parts = [self.truth(one, opposite) for one in arguments]
            if not parts:
                return self.truth(function == "and", opposite)
            return parts[0] if len(parts) == 1 else f"({f' {sign} '.join(parts)})"
        if function in COMPARED and not any(map(is_truth, arguments)):
            sign = COMPARED[OPPOSITE[function] if opposite else function]
            a, b = (self.within(one, SUM) for one in arguments)
            return f"({a} {sign} {b})"
        if function in ("eq", "neq") and all(map(is_truth, arguments)):
            a, b = arguments
            both = Apply("and", (a, b)), Apply("and", (Apply("not", (a,)), Apply("not", (b,))))
            return self.truth(Apply("or", both), opposite is not (function == "neq"))
        if function == "piecewise" and is_truth(formula):
            return self._chosen_truth(arguments, opposite)
        sign = "==" if opposite else "!="
        if function in COMPARED:
            a, b = (self.within(one, SUM) for one in arguments)
            return f"({a} {COMPARED[OPPOSITE[function] if opposite else function]} {b})"
        return f"({self.within(formula, SUM)} {sign} 0.0)"

    def _chosen_truth(self, arguments: tuple[Formula, ...], opposite: bool) -> str:
        *pairs, chosen = arguments
        for value, condition in zip(pairs[-2::-2], pairs[::-2], strict=True):
            here = Apply("and", (condition, value))
            chosen = Apply("or", (here, Apply("and", (Apply("not", (condition,)), chosen))))
        return self.truth(chosen, opposite)


def _negated(formula: Formula) -> Formula | None:
    """Return what a formula is the negative of; None where it is not written so."""
    if isinstance(formula, Apply) and formula.function == "negative":
        return formula.arguments[0]
    return None


def _taken_apart(formula: Name | Apply) -> tuple[str, tuple[Formula, ...]]:
    """Return the function of a formula and its arguments; of a name there are none."""
    return ("", ()) if isinstance(formula, Name) else (formula.function, formula.arguments)


def _number(value: float) -> tuple[str, int]:
    if math.isnan(value):
        return "nan", ATOM
    size = abs(value)
    whole = size < LARGEST_WHOLE and size.is_integer()
    text = str(int(size)) if whole else repr(size)
    return (f"-{text}", SIGN) if math.copysign(1.0, value) < 0.0 else (text, ATOM)
