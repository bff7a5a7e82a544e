"""Generated modules: recognised as what this package writes, and run from their text in memory.

Nothing is imported from disk: Python would run what it finds compiled beside a module without
asking whether that belongs to it.
"""

from __future__ import annotations

import ast
import functools
import linecache
import types
from pathlib import Path

from cubie.backend import SOURCE, table
from cubie.systems.rolling.loops import PRODUCT_FUNCTION
from cubie.systems.tracing.operations import FROM_BACKEND, PRIMITIVES

MOST_MODULES = 256  # that are found again in a process

_MATH = PRIMITIVES - set(FROM_BACKEND)
_CONSTANTS = ("inf", "nan")
_CALLING = (
    *("RHS", "JACOBIAN", "JVP", "DIAGONAL", "TIME_DERIVATIVE", "COUPLING", "OBSERVE_WITH_RATE"),
)
_OF_FUNCTIONS = ("DRIVEN", "CALLS", "COMMON")
_ABOUT_FUNCTIONS = tuple(f"{name}_{fact}" for name in _CALLING for fact in _OF_FUNCTIONS)
_FACTS = ("AUTONOMOUS", "DRIVERS", "IN_PLACE", "CONSTANT", "PRODUCTS", *_ABOUT_FUNCTIONS)
TABLE, JVP = "table", "jvp"
# No powers and shifts: of whole numbers they may take forever.
_BINARY = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.BitAnd, ast.BitOr, ast.BitXor)
_UNARY = (ast.USub, ast.Invert)
_COMPARISONS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)


def is_arithmetic(source: str) -> bool:
    """Tell whether a module is arithmetic and nothing else, as generated ones are.

    Such a module can be wrong, but can do nothing: it reads and writes the numbers it is given.
    """
    return names_in(source) is not None


@functools.lru_cache(maxsize=64)
def names_in(source: str) -> frozenset[str] | None:
    """Return the names that a generated module reads, None where it is no such module."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    names: set[str] = set()
    tables: set[str] = set()
    try:
        for statement in tree.body:
            _module_level(statement, names, tables)
    except (_Other, RecursionError):
        return None
    return frozenset(names)


class _Other(Exception):
    """Something that generated modules do not hold."""


def _require(holds: bool) -> None:
    if not holds:
        raise _Other


def _module_level(statement: ast.stmt, names: set[str], tables: set[str]) -> None:
    match statement:
        case ast.Expr(ast.Constant(str())):
            pass
        case ast.Import([ast.alias("math", None)]):
            pass
        case ast.ImportFrom("cubie.backend", imported, 0):
            known = {*FROM_BACKEND, TABLE}
            _require(all(a.name in known and a.asname is None for a in imported))
        case ast.Assign([ast.Name("PATTERN")], ast.Constant(str(rows))):
            _require(_are_numbers(rows))
        case ast.Assign([ast.Name(name)], value) if name in _FACTS:
            _require(_is_fact(value))
        case ast.Assign(
            [ast.Name(name)], ast.Call(ast.Name(function), [ast.Constant(str(numbers))], [])
        ):
            _require(function == TABLE and name.startswith("_") and _are_numbers(numbers))
            tables.add(name)
        case ast.FunctionDef(decorator_list=[], returns=None):
            _function(statement, names, tables)
        case _:
            raise _Other


def _are_numbers(text: str) -> bool:
    try:
        table(text)
    except ValueError:
        return False
    return True


def _is_fact(value: ast.expr) -> bool:
    if type(value) is ast.Tuple:
        return all(map(_is_fact, value.elts))
    return type(value) is ast.Constant and type(value.value) in (int, bool)


def _function(function: ast.FunctionDef, names: set[str], tables: set[str]) -> None:
    match function.args:
        case ast.arguments([], arguments, None, [], [], None, []):
            _require(all(argument.annotation is None for argument in arguments))
        case _:
            raise _Other
    for statement in function.body:
        _statement(statement, names, tables)
    if function.name.startswith(PRODUCT_FUNCTION) or function.name == JVP:
        tables.add(function.name)


def _statement(statement: ast.stmt, names: set[str], tables: set[str]) -> None:
    match statement:
        case ast.Assign([ast.Name() | ast.Subscript() as target], value):
            if type(target) is ast.Subscript:
                _expression(target, names, tables)
            _expression(value, names, tables)
        case ast.Return(ast.expr() as value):
            _expression(value, names, tables)
        case ast.For(ast.Name(), ast.Call(ast.Name("range"), [*limits], []), body, []):
            for limit in limits:
                _expression(limit, names, tables)
            for inner in body:
                _statement(inner, names, tables)
        case ast.If(condition, body, []):
            _expression(condition, names, tables)
            for inner in body:
                _statement(inner, names, tables)
        case ast.Expr(ast.Call(ast.Name(name), arguments, [])):
            # Of the module, and before: none calls itself.
            _require(name in tables and not name.startswith("_"))
            for argument in arguments:
                _expression(argument, names, tables)
        case ast.Expr(ast.Constant(str())) | ast.Pass():
            pass
        case _:
            raise _Other


def _expression(node: ast.expr, names: set[str], tables: set[str]) -> None:
    pending = [node]
    while pending:
        match pending.pop():
            case ast.Name(name):
                names.add(name)
            case ast.Constant(value):
                _require(type(value) in (int, float))
            case ast.BinOp(left, operator, right):
                _require(type(operator) in _BINARY)
                pending += (left, right)
            case ast.UnaryOp(operator, operand):
                _require(type(operator) in _UNARY)
                pending.append(operand)
            case ast.Compare(left, operators, others):
                _require(all(type(operator) in _COMPARISONS for operator in operators))
                pending += (left, *others)
            case ast.Subscript(ast.Name(name), index):
                names.add(name)
                pending.append(index)
            case ast.Call(ast.Name(name), [index], []) if name in tables:
                pending.append(index)
            case ast.Call(function, arguments, []):
                _require(_is_known(function))
                pending += arguments
            case ast.Attribute(ast.Name("math"), name):
                _require(name in _CONSTANTS)
            case _:
                raise _Other


def _is_known(function: ast.expr) -> bool:
    match function:
        case ast.Name(name):
            return name in FROM_BACKEND
        case ast.Attribute(ast.Name("math"), name):
            return name in _MATH
    return False


@functools.lru_cache(maxsize=MOST_MODULES)
def load_module(source: str, path: Path | None = None) -> types.ModuleType:
    """Run a generated module, once for each text; tracebacks show its lines.

    Parameters
    ----------
    source : str
    path : Path, optional
        How tracebacks call it; nothing is read from there.
    """
    name = "<generated by cubie>" if path is None else str(path)
    module = types.ModuleType("cubie_generated")
    module.__dict__[SOURCE] = source
    module.__file__ = name
    exec(compile(source, name, "exec"), module.__dict__)
    if path is not None:
        # Without a time of change: what is on disk never takes the text's place.
        linecache.cache[name] = len(source), None, source.splitlines(keepends=True), name
    return module
