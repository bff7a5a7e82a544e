"""A traced system as expressions again: for derivatives, and for people who want to look at it.

The generated module is the one description of a system: its straight-line code is run on
expressions, so nothing needs to be stored beside it and a cached system can be differentiated.
"""

import math
import types
from functools import partial
from typing import Any

import numpy as np
from attrs import frozen

from cubie.backend import table
from cubie.systems.drivers.calls import plain_rhs
from cubie.systems.rolling.loops import PRODUCT_FUNCTION
from cubie.systems.tracing import arithmetic as ex
from cubie.systems.tracing.arithmetic import call
from cubie.systems.tracing.expression import Expr, Graph
from cubie.systems.tracing.nodes import CALL
from cubie.systems.tracing.operations import PRIMITIVES
from cubie.systems.tracing.products import expanded_rows, product_of

_SYMPY_NAMES: dict[str, str] = {
    "fabs": "Abs",
    "minimum": "Min",
    "maximum": "Max",
    "ceil": "ceiling",
    "lgamma": "loggamma",
}
_RELATIONS = {"<": "Lt", "<=": "Le", ">": "Gt", ">=": "Ge", "==": "Eq", "!=": "Ne"}


def expressions(system, graph=None, drivers=None, states=None):
    """Return (graph, derivative of each state as an expression) of a traced system.

    With a graph given, the expressions become part of it; `drivers` are then what the drivers of
    the system are called in the graph, and `states` expressions in the place of its states.
    """
    if system.kind != "traced":
        raise ValueError(f"This system has no expressions: {system.note}")
    graph = Graph() if graph is None else graph
    functions = {name: partial(call, name) for name in PRIMITIVES}
    namespace: dict[str, Any] = functions | {
        "select": ex.select,
        "table": table,
        "math": types.SimpleNamespace(inf=math.inf, nan=math.nan, **functions),
    }
    code = compile(_without_imports(system.source), str(system.path), "exec")
    exec(code, namespace)
    if states is None:
        states = [graph.leaf("y", i) for i in range(system.n_states)]
    parameters = [graph.leaf("p", i) for i in range(system.n_parameters)]
    derivatives = [0.0] * system.n_outputs

    def look_up(number, order, argument):
        number = number if drivers is None else drivers[number]
        return graph.node(CALL, float(number), float(order), argument)

    for number, (values, n_rows, n_terms) in enumerate(namespace.get("PRODUCTS", ())):
        matrix = np.array(namespace[f"_value_{values}"].values).reshape(n_rows, n_terms)
        namespace[f"{PRODUCT_FUNCTION}{number}"] = partial(_store_product, graph, matrix)
    rhs = plain_rhs(namespace, look_up)
    rhs(graph.leaf("t"), states, parameters, derivatives, 0)
    return graph, derivatives


def _store_product(graph, matrix, vector, vector_at, out, at):
    """Do what a function of the module does for a product, in expressions."""
    n_rows, n_terms = matrix.shape
    entries = vector[vector_at : vector_at + n_terms]
    if graph.keeps_products and any(type(entry) is Expr for entry in entries):
        out[at : at + n_rows] = product_of(graph, graph.matrix(matrix), entries).rows
    else:
        out[at : at + n_rows] = expanded_rows(matrix, entries)


def _without_imports(source):
    lines = source.splitlines(keepends=True)
    return "".join("\n" if line.startswith(("import ", "from ")) else line for line in lines)


@frozen
class SymbolicSystem:
    """A system in SymPy.

    Attributes
    ----------
    time : sympy.Symbol
    states, parameters : tuple of sympy.Symbol
        Named as in the system, real.
    derivatives : tuple of sympy.Expr
        One a state.
    """

    time: Any
    states: tuple
    parameters: tuple
    derivatives: tuple


def to_sympy(system):
    """Return the equations of a traced system in SymPy.

    Shared subexpressions are shared objects, but SymPy's own algorithms walk them as trees: meant
    for systems one would read.
    """
    import sympy

    if system.drivers:
        raise ValueError("This system calls interpolants of samples, which have no form in SymPy.")
    graph, derivatives = expressions(system)
    symbols = {
        "t": (sympy.Symbol("t", real=True),),
        "y": tuple(sympy.Symbol(name, real=True) for name in system.state_names),
        "p": tuple(sympy.Symbol(name, real=True) for name in system.parameter_names),
    }
    known = {}
    # Nodes come after their operands in the graph.
    for node in graph.nodes.values():
        operands = [known[a.serial] if type(a) is Expr else a for a in node.operands]
        known[node.serial] = _sympy_node(sympy, node.op, operands, symbols)
    return SymbolicSystem(
        symbols["t"][0],
        symbols["y"],
        symbols["p"],
        tuple(known[d.serial] if type(d) is Expr else sympy.Float(d) for d in derivatives),
    )


def _sympy_node(sympy, op: str, operands, symbols):
    if op in symbols:
        return symbols[op][operands[0]]
    if op in _RELATIONS:
        return getattr(sympy, _RELATIONS[op])(*operands)
    if op == "select":
        condition, a, b = operands
        return sympy.Piecewise((a, condition), (b, True))
    if op == "expm1":
        return sympy.exp(operands[0]) - 1
    if op == "log1p":
        return sympy.log(1 + operands[0])
    a, b = operands if len(operands) == 2 else (operands[0], None)
    simple = {
        "+": lambda: a + b,
        "-": lambda: a - b,
        "*": lambda: a * b,
        "/": lambda: a / b,
        "neg": lambda: -a,
        "&": lambda: sympy.And(a, b),
        "|": lambda: sympy.Or(a, b),
        "~": lambda: sympy.Not(a),
        "pow": lambda: a**b,
        "log2": lambda: sympy.log(a, 2),
        "log10": lambda: sympy.log(a, 10),
        "fmod": lambda: a - b * sympy.sign(a / b) * sympy.floor(sympy.Abs(a / b)),
        "copysign": lambda: sympy.Abs(a) * sympy.Piecewise((-1, sympy.Lt(b, 0)), (1, True)),
    }
    if op in simple:
        return simple[op]()
    return getattr(sympy, _SYMPY_NAMES.get(op, op))(*operands)
