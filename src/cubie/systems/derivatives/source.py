"""The generated module of a system's derivatives."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from attrs import frozen

from cubie.systems.derivatives.by_columns import by_columns_of, write_columns, write_diagonal
from cubie.systems.derivatives.products import InBlocks, in_blocks, write_jacobian
from cubie.systems.derivatives.rules import by_columns, sparse_jacobian, tangents
from cubie.systems.drivers.calls import calls_of
from cubie.systems.rolling.common import COMMON
from cubie.systems.rolling.loops import Tables
from cubie.systems.source import (
    Writer,
    argument_functions,
    common_fact,
    functions_of,
    import_lines,
    lines_of,
)
from cubie.systems.symbolic.from_trace import expressions
from cubie.systems.tracing.arithmetic import add, mul
from cubie.systems.tracing.expression import Expr, Graph
from cubie.systems.tracing.nodes import reachable

_JACOBIAN = (
    "jacobian(t, y, p, jac, at)",
    "jac[at + k] = entry k of df/dy: those in the rows of the first line of PATTERN, "
    "which are of the first column, then of the next.",
)
_JVP = "jvp(t, y, p, vec, vec_at, out, at)", "out[at + i] = sum of (df_i/dy_j) * vec[vec_at + j]."
_DIAGONAL = "diagonal(t, y, p, out, at)", "out[at + i] = df_i/dy_i."
_TIME = "time_derivative(t, y, p, out, at)", "out[at + i] = partial derivative of f_i by t."

# What changes along a run.
_CHANGING = ("t", "y")

Head = tuple[str, str]  # signature and docstring


@frozen
class Linearised:
    """A right-hand side to first order.

    Attributes
    ----------
    graph : Graph
    jacobian : dict of (row, column) to expression, InBlocks or ByColumns
        Entries that may differ from zero, column after column; or what they are made of, where
        products of matrices are kept whole.
    product : callable
        ``product(direction)``: J times a vector of expressions.
    by_time : list of expressions or None
        Partial derivatives by t; None where only the user's Jacobian is known.
    """

    graph: Graph
    jacobian: Any
    product: Callable
    by_time: list | None


def linearised(system) -> Linearised:
    """Differentiate a traced right-hand side, or take the user's Jacobian."""
    return _given(system) if system.jacobian_rows else _derive(system, Graph())


def _with_whole_products(system) -> Linearised:
    """Do the same, and keep products of matrices whole."""
    graph = Graph()
    graph.keeps_products = True
    return _given(system) if system.jacobian_rows else _derive(system, graph)


def write_derivatives(system, products: bool = False):
    """Return the source of `Derivatives.module`: the matrix, or products with it."""
    found = _with_whole_products(system)
    by_time, tables = found.by_time, Tables()
    functions, calls = _functions(system, found, tables, products)
    autonomous = by_time is not None and not any(type(d) is Expr or d != 0.0 for d in by_time)
    body = "\n\n\n".join(function_text(head, writer) for head, writer in functions)
    modules = tables.modules.union(*(writer.modules for _, writer in functions))
    is_dict = type(found.jacobian) is dict
    entries = found.jacobian.values() if is_dict else found.jacobian.values
    constant = all(node.op not in _CHANGING for node in reachable(entries)) and not system.drivers
    facts, before = f"AUTONOMOUS = {autonomous}\nCONSTANT = {constant}\n", functions_of(tables)
    facts += "".join(common_fact(_name(head), writer) for head, writer in functions)
    for name, its_calls in calls.items():
        names = system.state_names, system.parameter_names
        more_facts, more, more_modules = argument_functions(name, its_calls, *names)
        facts, before, modules = facts + more_facts, before + more, modules | more_modules
    if is_dict:
        columns = rows_of_columns(found.jacobian, system.n_states)
    else:
        columns = [np.flatnonzero(column).tolist() for column in found.jacobian.filled.T]
    pattern = "".join(" ".join(map(str, rows)) + "\n" for rows in columns)
    n_entries = sum(map(len, columns))
    what = "Products with the Jacobian" if products else "Derivatives"
    return (
        f'"""{what} of the right-hand side {system.digest}: {n_entries} entries.\n\n'
        f'Written by cubie: changes are overwritten.\n"""\n{import_lines(modules)}\n'
        f'PATTERN = """\\\n{pattern}"""\n'
        f"{facts}{lines_of(tables)}\n{before}\n{body}\n"
    )


def rows_of_columns(entries: Iterable[tuple[int, int]], n: int) -> list[list[int]]:
    """Return the rows of the entries of each column."""
    columns: list[list[int]] = [[] for _ in range(n)]
    for row, column in entries:
        columns[column].append(row)
    return columns


def _given(system) -> Linearised:
    """Return what the user's Jacobian says: no derivative by time."""
    graph = Graph()
    rows = [expressions(row, graph)[1] for row in system.jacobian_rows]
    entries = {
        (i, j): entry
        for i, row in enumerate(rows)
        for j, entry in enumerate(row)
        if type(entry) is Expr or entry != 0.0
    }
    jacobian = by_columns(entries)

    def product(direction):
        result = [0.0] * system.n_states
        for (i, j), entry in jacobian.items():
            result[i] = add(result[i], mul(entry, direction[j]))
        return result

    return Linearised(graph, jacobian, product, None)


def _derive(system, graph: Graph) -> Linearised:
    _, outputs = expressions(system, graph)
    states: list[Any] = [graph.leaf("y", i) for i in range(system.n_states)]

    def product(direction):
        return tangents(outputs, dict(zip(states, direction, strict=True)))

    by_time = tangents(outputs, {graph.leaf("t"): 1.0})
    if not graph.matrices:
        return Linearised(graph, sparse_jacobian(outputs, states), product, by_time)
    jacobian = in_blocks(outputs, states)
    if jacobian is None:
        vector = [graph.leaf("vec", i) for i in range(system.n_states)]
        jacobian = by_columns_of(outputs, states, product(vector))
    return Linearised(graph, jacobian, product, by_time)


def _functions(system, found: Linearised, tables, products: bool):
    """Return (head, writer) of each function of the module, and by name the calls of drivers.

    Whoever factorises matrices needs no products: they are as much text as the matrix.
    """
    n, names = system.n_states, (system.state_names, system.parameter_names)
    numbers = {number: number for number in range(len(system.drivers))}
    jacobian, functions, calls = found.jacobian, [], {}

    def begin(head, values, target, arguments=None, reserved=()):
        more = {}
        if numbers:
            calls[_name(head)] = calls_of(reachable(values), numbers)
            more = {"calls": calls[_name(head)], "reserved": (*reserved, "d")}
        options = {"target": target, "arguments": arguments, "reserved": reserved, **more}
        return Writer(*names, **options)

    def end(head, writer):
        given = "p, d, " if numbers else "p, "
        if writer.n_common:
            given += f"{COMMON}, "
        functions.append(((head[0].replace("p, ", given), head[1]), writer))
        return writer.n_common

    def write(head, values, target, arguments=None, reserved=()):
        writer = begin(head, values, target, arguments, reserved)
        before = {vector: f"{vector}_at + " for vector in arguments or ()}
        values = writer.write_products(values, tables, before)
        if not writer.write_rolled(values, tables, before, keeps_common=True):
            writer.write(values)
        return end(head, writer)

    entries = {"vec": [f"vec[vec_at + {i}]" for i in range(n)]}
    vector = [found.graph.leaf("vec", i) for i in range(n)]

    def write_product():
        return write(_JVP, found.product(vector), "out", entries, ("vec", "vec_at"))

    if products:
        n_common = write_product()
        if type(jacobian) is dict:
            write(_DIAGONAL, [jacobian.get((i, i), 0.0) for i in range(n)], "out")
        elif type(jacobian) is InBlocks:
            write(_DIAGONAL, jacobian.diagonal(), "out")
        else:
            writer = begin(_DIAGONAL, (), "out")
            write_diagonal(writer, jacobian, n_common)
            end(_DIAGONAL, writer)
        return functions, calls
    if type(jacobian) is dict:
        write(_JACOBIAN, list(jacobian.values()), "jac")
    elif type(jacobian) is InBlocks:
        writer = begin(_JACOBIAN, (), "jac")
        write_jacobian(writer, jacobian, tables)
        end(_JACOBIAN, writer)
    else:
        n_common = write_product()  # before the one that calls it
        writer = begin(_JACOBIAN, (), "jac")
        write_columns(writer, jacobian, tables, n_common)
        end(_JACOBIAN, writer)
    if found.by_time is not None:
        write(_TIME, found.by_time, "out")
    return functions, calls


def _name(head: Head) -> str:
    return head[0].partition("(")[0]


def function_text(head: Head, writer):
    """Return the text of a function."""
    signature, docstring = head
    lines = "\n".join(f"    {line}" for line in writer.lines) or "    pass"
    return f'def {signature}:\n    """{docstring}"""\n{lines}'
