"""Formulas of SBML, as libSBML reads them, made into those of models."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

from cubie.models.errors import ModelError
from cubie.models.formulas import (
    RATE_OF,
    TIME,
    Apply,
    Formula,
    Name,
    apply,
    is_truth,
    replaced,
)

AVOGADRO = 6.02214179e23  # as SBML has it: level 3 version 2, section 3.4.6
NAN = math.nan

# Names of libSBML's types of nodes, without "AST_", and the functions that these are.
SAME = {
    **{f"FUNCTION_{name.upper()}": name for name in ("abs", "exp", "floor", "ln", "factorial")},
    **{f"FUNCTION_{name.upper()}": name for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    **{f"FUNCTION_ARC{name.upper()}": f"a{name}" for name in ("sin", "cos", "tan")},
    **{f"FUNCTION_ARC{name.upper()}": f"a{name}" for name in ("sinh", "cosh", "tanh")},
    **{"FUNCTION_CEILING": "ceiling", "FUNCTION_MAX": "max", "FUNCTION_MIN": "min"},
    **{"PLUS": "plus", "TIMES": "times", "DIVIDE": "divide"},
    **{"POWER": "power", "FUNCTION_POWER": "power"},
    **{"LOGICAL_AND": "and", "LOGICAL_OR": "or", "LOGICAL_NOT": "not"},
}
COMPARED = {f"RELATIONAL_{name.upper()}": name for name in ("lt", "leq", "gt", "geq", "eq")}
# One over another function, and another function of one over the argument.
RECIPROCAL = {
    **{"FUNCTION_SEC": "cos", "FUNCTION_CSC": "sin", "FUNCTION_COT": "tan"},
    **{"FUNCTION_SECH": "cosh", "FUNCTION_CSCH": "sinh", "FUNCTION_COTH": "tanh"},
}
OF_RECIPROCAL = {
    **{"FUNCTION_ARCSEC": "acos", "FUNCTION_ARCCSC": "asin", "FUNCTION_ARCCOT": "atan"},
    **{"FUNCTION_ARCSECH": "acosh", "FUNCTION_ARCCSCH": "asinh", "FUNCTION_ARCCOTH": "atanh"},
}
CONSTANTS: dict[str, Formula] = {
    **{"CONSTANT_E": math.e, "CONSTANT_PI": math.pi, "NAME_AVOGADRO": AVOGADRO},
    **{"CONSTANT_TRUE": True, "CONSTANT_FALSE": False},
}
NOT_HERE = {"FUNCTION_DELAY": "delay in a formula"}


class FunctionDefinition(NamedTuple):
    """A function of a model's own."""

    arguments: tuple[str, ...]
    body: Formula


class Reader:
    """Reads formulas of a model.

    Parameters
    ----------
    types : mapping of int to str
        Of libSBML's nodes.
    definitions : mapping of str to FunctionDefinition
    """

    def __init__(self, types: Mapping[int, str], definitions: Mapping[str, FunctionDefinition]):
        self.types, self.definitions = types, definitions

    def read(self, node: Any) -> Formula:
        """Return the formula of a node of libSBML's.

        Raises
        ------
        ModelError
            Naming what is not here.
        """
        kind = self.types.get(node.getType(), "UNKNOWN")
        if kind in ("INTEGER", "REAL", "REAL_E", "RATIONAL"):
            return float(node.getValue())
        if kind == "NAME":
            return Name(node.getName())
        if kind in CONSTANTS:
            return CONSTANTS[kind]
        if kind == "NAME_TIME":
            return apply(TIME)
        if kind in NOT_HERE:
            raise ModelError(
                f"A formula uses {NOT_HERE[kind]}, values of the past: such equations are not "
                "here yet.",
                NOT_HERE[kind],
            )
        if kind == "FUNCTION_PIECEWISE":
            return self._piecewise(node)
        given = [self.read(node.getChild(i)) for i in range(node.getNumChildren())]
        if kind == "FUNCTION":
            return self._own(node.getName(), given)
        if kind in SAME:
            return Apply(SAME[kind], tuple(given))
        if kind in COMPARED:
            return _compared(COMPARED[kind], given)
        if kind in RECIPROCAL:
            return apply("divide", 1.0, apply(RECIPROCAL[kind], *given))
        if kind in OF_RECIPROCAL:
            return apply(OF_RECIPROCAL[kind], apply("divide", 1.0, *given))
        of_more = getattr(self, f"_{kind.lower()}", None)
        if of_more is None:
            name = node.getName() or kind.lower().replace("_", " ")
            raise ModelError(f"A formula uses `{name}`, which is not here.", f"`{name}`")
        return of_more(*given)

    def _own(self, name: str, given: list[Formula]) -> Formula:
        definition = self.definitions.get(name)
        if definition is None:
            raise ModelError(f"A formula calls `{name}`, which the model does not define.")
        if len(given) != len(definition.arguments):
            raise ModelError(
                f"A formula calls `{name}` with {len(given)} arguments, and it takes "
                f"{len(definition.arguments)}."
            )
        return replaced(definition.body, dict(zip(definition.arguments, given, strict=True)))

    def _piecewise(self, node: Any) -> Formula:
        parts = [self.read(node.getChild(i)) for i in range(node.getNumChildren())]
        if len(parts) % 2 == 0:
            parts.append(False if parts and all(map(is_truth, parts[::2])) else NAN)
        return Apply("piecewise", tuple(parts)) if len(parts) > 1 else parts[0]

    def _minus(self, a: Formula, *b: Formula) -> Formula:
        return apply("minus", a, *b) if b else apply("negative", a)

    def _function_log(self, first: Formula, *second: Formula) -> Formula:
        if not second or first == 10.0:
            return apply("log10", second[0] if second else first)
        return apply("divide", apply("ln", second[0]), apply("ln", first))

    def _function_root(self, first: Formula, *second: Formula) -> Formula:
        if not second or first == 2.0:
            return apply("power", second[0] if second else first, 0.5)
        return apply("power", second[0], apply("divide", 1.0, first))

    def _function_quotient(self, a: Formula, b: Formula) -> Formula:
        quotient = apply("divide", a, b)
        towards_zero = apply("ceiling", quotient), apply("lt", quotient, 0.0)
        return apply("piecewise", *towards_zero, apply("floor", quotient))

    def _function_rem(self, a: Formula, b: Formula) -> Formula:
        return apply("minus", a, apply("times", b, self._function_quotient(a, b)))

    def _function_rate_of(self, of: Formula) -> Formula:
        return apply(RATE_OF, of)

    def _relational_neq(self, a: Formula, b: Formula) -> Formula:
        return apply("neq", a, b)

    def _logical_implies(self, a: Formula, b: Formula) -> Formula:
        return apply("or", apply("not", a), b)

    def _logical_xor(self, *of: Formula) -> Formula:
        found: Formula = False
        for one in of:
            both = apply("and", found, one), apply("and", apply("not", found), apply("not", one))
            found = one if found is False else apply("not", apply("or", *both))
        return found


def _compared(function: str, given: list[Formula]) -> Formula:
    """Return a comparison of several, each with the next one."""
    if len(given) < 2:
        return True
    pairs = [apply(function, a, b) for a, b in pairwise(given)]
    return pairs[0] if len(pairs) == 1 else Apply("and", tuple(pairs))


def types_of_nodes(libsbml: Any) -> dict[int, str]:
    """Return what libSBML calls its types of nodes."""
    found: dict[int, str] = {}
    for name in dir(libsbml):
        if name.startswith("AST_") and isinstance(getattr(libsbml, name), int):
            found.setdefault(getattr(libsbml, name), name.removeprefix("AST_"))
    return found


def read_definitions(model: Any, types: Mapping[int, str]) -> dict[str, FunctionDefinition]:
    """Return the functions of a model, which may call each other in any order."""
    found: dict[str, FunctionDefinition] = {}
    reader = Reader(types, found)
    left = [model.getFunctionDefinition(i) for i in range(model.getNumFunctionDefinitions())]
    unread = {one.getId() for one in left}
    while left:
        ready = [one for one in left if not (_called(one.getBody()) & unread)]
        if not ready:
            names = ", ".join(f"`{one.getId()}`" for one in left)
            raise ModelError(f"Functions of the model call themselves: {names}.")
        for one in ready:
            body = NAN if one.getBody() is None else reader.read(one.getBody())
            names = tuple(one.getArgument(i).getName() for i in range(one.getNumArguments()))
            found[one.getId()] = FunctionDefinition(names, body)
            unread.discard(one.getId())
        left = [one for one in left if one.getId() in unread]
    return found


def _called(node: Any) -> set[str]:
    """Return the names of functions that a formula of libSBML's calls."""
    if node is None:
        return set()
    own = {node.getName()} if node.isFunction() and node.getName() else set()
    return own.union(*(_called(node.getChild(i)) for i in range(node.getNumChildren())))
