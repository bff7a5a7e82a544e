"""Right-hand sides of equations in the language that text is given in: SymPy expressions too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cubie.systems.symbolic.names import EquationError
from cubie.systems.symbolic.reader import TIME


def as_text(side: Any, quantities: Sequence[str]) -> str:
    """Return the right side of an equation in the language that text is given in.

    Parameters
    ----------
    side : str, number or sympy.Expr
    quantities : sequence of str
        What has equations: ``x(t)`` of SymPy is then ``x``. Other functions are drivers.

    Raises
    ------
    EquationError
        For what cannot be computed with plain numbers, and quantities at other times.
    """
    if isinstance(side, str):
        return side.replace("^", "**")
    if hasattr(side, "free_symbols"):
        return _sympy_text(side, quantities)
    return repr(float(side))


def _sympy_text(expression: Any, quantities: Sequence[str]) -> str:
    """Return a SymPy expression as text."""
    import sympy
    from sympy.core.function import AppliedUndef
    from sympy.printing.pycode import PythonCodePrinter

    class Printer(PythonCodePrinter):
        def _print_not_supported(self, expr):
            raise EquationError(f"`{expr}` is nothing that can be computed with plain numbers.")

        emptyPrinter = _print_not_supported

        def _print_Piecewise(self, expr):  # pyright: ignore
            text = "nan"
            for value, condition in reversed(expr.args):
                value = self._print(value)
                if condition == sympy.true:
                    text = value
                else:
                    text = f"where({self._print(condition)}, {value}, {text})"
            return text

        def _print_And(self, expr):
            return " & ".join(f"({self._print(a)})" for a in expr.args)

        def _print_Or(self, expr):
            return " | ".join(f"({self._print(a)})" for a in expr.args)

        def _print_Not(self, expr):
            return f"~({self._print(expr.args[0])})"

        def _print_AppliedUndef(self, expr):
            name = expr.func.__name__
            if name not in quantities:
                return f"{name}({', '.join(map(self._print, expr.args))})"
            if len(expr.args) != 1 or str(expr.args[0]) != TIME:
                raise EquationError(
                    f"`{expr}`: what has an equation is known at the time `{TIME}` itself, as "
                    f"`{name}({TIME})`. Earlier and later values are not."
                )
            return name

        def _print_Derivative(self, expr):  # pyright: ignore
            called, variables = expr.expr, expr.variables
            if not self._is_slope(called, variables):
                return self._print_not_supported(expr)
            argument = self._print(called.args[0])
            return f"{called.func.__name__}({argument}, {len(variables)})"

        def _print_Subs(self, expr):  # pyright: ignore
            # The slope at an argument that is no symbol.
            slope, (variable, *more), (argument, *_) = expr.args
            if more or not slope.is_Derivative or not self._is_slope(slope.expr, [variable]):
                return self._print_not_supported(expr)
            name = slope.expr.func.__name__
            return f"{name}({self._print(argument)}, {len(slope.variables)})"

        def _is_slope(self, called, variables):
            return (
                isinstance(called, AppliedUndef)
                and called.func.__name__ not in quantities
                and len(called.args) == 1
                and set(variables) == {called.args[0]}
            )

        def _print_sign(self, expr):  # pyright: ignore
            return f"sign({self._print(expr.args[0])})"

        def _print_Heaviside(self, expr):
            return f"heaviside({', '.join(self._print(a) for a in expr.args)})"

    settings = {"fully_qualified_modules": False, "user_functions": {}}
    printed = str(Printer(settings).doprint(expression))
    if "Not supported" in printed:
        raise EquationError(f"`{expression}` holds what cannot be computed with plain numbers.")
    return printed
