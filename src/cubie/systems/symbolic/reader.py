"""The right-hand side of one equation, read as Python: names, functions, numbers."""

from __future__ import annotations

import ast

import numpy as np

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


class _Reader(ast.NodeTransformer):
    """Checks that an expression is one, collects its names, and knows its functions."""

    def __init__(self, where: str):
        self.where = where
        self.names: dict[str, None] = {}

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
        if node.id not in ("nan", "inf"):
            self.names[node.id] = None
        return node

    def visit_IfExp(self, node):
        call = ast.Call(ast.Name("where", ast.Load()), [node.test, node.body, node.orelse], [])
        return self.visit_Call(call)

    def visit_Call(self, node):
        name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
        name = _RENAMED.get(name, name)
        if name not in (*FUNCTIONS, "power"):
            raise EquationError(
                f"{self.where}: there is no function `{name}`{hint(name, FUNCTIONS)}"
            )
        arguments = [self.visit(argument) for argument in node.args]
        return ast.Call(ast.Name(f"_{name}", ast.Load()), arguments, [])


def _as_float(where: str, number: int) -> float:
    try:
        return float(number)
    except OverflowError:
        digits = len(str(number))
        raise EquationError(f"{where} has a number of {digits} digits, too large.") from None


def read(name: str, text: str) -> tuple[str, dict[str, None]]:
    where = f"The equation for `{name}`"
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except SyntaxError as error:
        raise EquationError(f"{where}, `{text.strip()}`, cannot be read: {error.msg}.") from None
    reader = _Reader(where)
    return ast.unparse(ast.fix_missing_locations(reader.visit(tree))), reader.names


def names_in(name: str, text: str) -> list[str]:
    return [used for used in read(name, text)[1] if used not in CONSTANTS]
