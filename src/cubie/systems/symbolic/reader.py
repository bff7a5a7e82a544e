"""The right-hand side of one equation, read as Python: names, functions, numbers."""

from __future__ import annotations

import ast

import numpy as np
from attrs import frozen

from cubie.systems.symbolic.names import EquationError, hint

TIME = "t"


FUNCTIONS = (
    *("exp", "expm1", "exp2", "log", "log1p", "log2", "log10", "sqrt", "cbrt", "abs", "sign"),
    *("sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "tanh"),
    *("asinh", "acosh", "atanh", "hypot", "floor", "ceil", "heaviside"),
    *("erf", "erfc", "gamma", "lgamma"),
    *("minimum", "maximum", "where"),
)


_RENAMED = {"min": "minimum", "max": "maximum", "fabs": "abs", "ln": "log", "pow": "power"}


NUMPY_NAMES = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2"} | {
    name: "arc" + name[1:] for name in ("asinh", "acosh", "atanh")
}


CONSTANTS = {"pi": float(np.pi)}


@frozen
class Side:
    """The right-hand side of an equation.

    Attributes
    ----------
    text : str
        As Python, with an underscore before each function that equations know.
    names : tuple of str
        All that it uses, in the order of their first uses.
    called : tuple of str
        Those that it calls, and are no such function: drivers.
    numbers : tuple of str
        Those that it calculates with.
    """

    text: str
    names: tuple[str, ...]
    called: tuple[str, ...]
    numbers: tuple[str, ...]


# Of a driver's derivative: what is asked for beyond the pieces' degree is zero.
HIGHEST_ORDER = 99


class _Reader(ast.NodeTransformer):
    """Checks that an expression is one, collects its names, and knows its functions."""

    def __init__(self, where: str):
        self.where = where
        self.names: dict[str, None] = {}
        self.called: dict[str, None] = {}
        self.numbers: dict[str, None] = {}

    def generic_visit(self, node):
        allowed = (
            *(ast.Expression, ast.BinOp, ast.UnaryOp, ast.Compare, ast.IfExp, ast.operator),
            *(ast.unaryop, ast.cmpop, ast.Constant, ast.expr_context),
        )
        if not isinstance(node, allowed):
            raise EquationError(f"{self.where}: `{ast.unparse(node)}` is no arithmetic.")
        if isinstance(node, ast.Constant) and type(node.value) not in (int, float):
            raise EquationError(f"{self.where}: {node.value!r} is no number.")
        return super().generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> ast.BinOp:
        self.generic_visit(node)
        bare = not any(isinstance(part, ast.Name) for part in ast.walk(node.left))
        if isinstance(node.op, ast.Pow) and bare:
            # Whole numbers are exact in Python: 10**10**10 would be computed to its last digit.
            for part in ast.walk(node.left):
                if isinstance(part, ast.Constant) and isinstance(part.value, int):
                    part.value = _as_float(self.where, part.value)
        return node

    def visit_Name(self, node):
        if node.id not in ("nan", "inf", *CONSTANTS):
            self.names[node.id] = self.numbers[node.id] = None
        return node

    def visit_IfExp(self, node):
        call = ast.Call(ast.Name("where", ast.Load()), [node.test, node.body, node.orelse], [])
        return self.visit_Call(call)

    def visit_Call(self, node):
        name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
        name = _RENAMED.get(name, name)
        if node.keywords:
            raise EquationError(
                f"{self.where}: `{ast.unparse(node)}` names an argument; functions of equations "
                "take theirs in order."
            )
        if name not in (*FUNCTIONS, "power"):
            return self._call_of_a_driver(name, node)
        arguments = [self.visit(argument) for argument in node.args]
        return ast.Call(ast.Name(f"_{name}", ast.Load()), arguments, [])

    def _call_of_a_driver(self, name: str, node: ast.Call) -> ast.Call:
        """Return ``name(x)`` or ``name(x, order)``; what is called otherwise is no driver."""
        if not name.isidentifier() or name in ("nan", "inf", *CONSTANTS):
            raise EquationError(no_function(self.where, name))
        if len(node.args) not in (1, 2) or not all(map(_is_order, node.args[1:])):
            raise EquationError(
                f"{no_function(self.where, name)} A driver is called as `{name}(t)`, its "
                f"derivatives as `{name}(t, 1)`."
            )
        self.names[name] = self.called[name] = None
        return ast.Call(node.func, [self.visit(node.args[0]), *node.args[1:]], [])


def no_function(where: str, name: str, drivers: tuple[str, ...] = ()) -> str:
    """Return what to say of a name that an equation calls, and that neither of them is."""
    kinds = "function or driver" if drivers else "function"
    return f"{where}: there is no {kinds} `{name}`{hint(name, (*drivers, *FUNCTIONS))}"


def _is_order(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Constant) and type(node.value) is int and node.value <= HIGHEST_ORDER
    )


def _as_float(where: str, number: int) -> float:
    try:
        return float(number)
    except OverflowError:
        digits = len(str(number))
        raise EquationError(f"{where} has a number of {digits} digits, too large.") from None


def place_of(name: str) -> str:
    """Return how messages call the equation for a name."""
    return f"The equation for `{name}`"


def read(name: str, text: str) -> Side:
    """Read the right-hand side of the equation for a name.

    Raises
    ------
    EquationError
        Where it is no arithmetic.
    """
    where = place_of(name)
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except SyntaxError as error:
        raise EquationError(f"{where}, `{text.strip()}`, cannot be read: {error.msg}.") from None
    reader = _Reader(where)
    written = ast.unparse(ast.fix_missing_locations(reader.visit(tree)))
    return Side(written, tuple(reader.names), tuple(reader.called), tuple(reader.numbers))
