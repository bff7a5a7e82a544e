"""Entries of a generated Jacobian that are there already: constants, states, parameters.

Such an entry, or what it is with its sign changed, need not be stored to be read again.
"""

from __future__ import annotations

import ast
import functools
import types
from collections.abc import Mapping
from types import MappingProxyType

from attrs import frozen

from cubie.systems.generated import load_module

OUTPUT = "jac"
ARGUMENTS = ["t", "y", "p", OUTPUT, "at"]


@frozen
class PlainEntry:
    """A constant, or an element of the states `y` or of the parameters `p`; or minus it."""

    text: str
    negative: bool

    @property
    def negated(self) -> str:
        """Text of the entry with its sign changed."""
        return self.text if self.negative else f"-{self.text}"


def _entry_of(target: ast.expr) -> int | None:
    """Return the number of the entry that is assigned to, None for none."""
    match target:
        case ast.Subscript(ast.Name(name), ast.BinOp(ast.Name(), ast.Add(), ast.Constant(int(k)))):
            return k if name == OUTPUT else None
    return None


def _function(source: str) -> ast.FunctionDef | None:
    """Return the function that stores the entries where it is nothing but assignments."""
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "jacobian":
            arguments = [argument.arg for argument in statement.args.args]
            simple = all(isinstance(s, ast.Assign | ast.Expr) for s in statement.body)
            return statement if simple and arguments == ARGUMENTS else None
    return None


@functools.lru_cache(maxsize=16)
def plain_entries(source: str) -> Mapping[int, PlainEntry]:
    """Return the plain entries of a generated module's `jacobian`, by their numbers.

    There are none where it is written in loops, or reads what drivers give.
    """
    function = _function(source)
    elements: dict[str, str] = {}
    found: dict[int, PlainEntry] = {}
    for statement in [] if function is None else function.body:
        if not isinstance(statement, ast.Assign):
            continue
        value, negative = statement.value, False
        if isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.USub):
            value, negative = value.operand, True
        match value:
            case ast.Constant(float(number)):
                text = repr(number)
            case ast.Name(name) if name in elements:
                text = elements[name]
            case ast.Subscript(ast.Name("y" | "p"), ast.Constant(int())):
                text = ast.unparse(value)
            case _:
                text = None
        target = statement.targets[0]
        if isinstance(target, ast.Name):
            elements.pop(target.id, None)
            if text is not None and not negative:
                elements[target.id] = text
        entry = _entry_of(target)
        if entry is not None and text is not None:
            found[entry] = PlainEntry(text, negative)
    return MappingProxyType(found)


def module_without(source: str, left_out: frozenset[int]) -> types.ModuleType:
    """Return the module that `without_entries` writes."""
    return load_module(without_entries(source, left_out))


@functools.lru_cache(maxsize=16)
def without_entries(source: str, left_out: frozenset[int]) -> str:
    """Return a module whose `jacobian` stores all other entries, one behind the other.

    `source` is the text of one that has `plain_entries`, and `left_out` are numbers of these.
    """
    function = _function(source)
    assert function is not None  # it has plain entries
    lines = source.splitlines()
    written, deleted = 0, set()
    for statement in function.body:
        entry = _entry_of(statement.targets[0]) if isinstance(statement, ast.Assign) else None
        if entry is None:
            continue
        if entry in left_out:
            deleted |= set(range(statement.lineno - 1, statement.end_lineno or statement.lineno))
            continue
        line = lines[statement.lineno - 1]
        lines[statement.lineno - 1] = line.replace(f"[at + {entry}]", f"[at + {written}]", 1)
        written += 1
    kept = [line for number, line in enumerate(lines) if number not in deleted]
    return "\n".join(kept) + "\n"
