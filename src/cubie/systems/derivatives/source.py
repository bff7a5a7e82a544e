"""The generated module of a system's derivatives."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from attrs import frozen

from cubie.systems.derivatives.blocks import Blocks, write_blocks
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
_COUPLING = (
    "coupling(t, y, p, vec, vec_at, out, at)",
    "out[at + i] = sum over states j of (dg_i/dy_j) * vec[vec_at + j], where g are the derivatives "
    "of sensitivities.",
)

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


class _Functions:
    """The functions of a module, as they are written.

    Attributes
    ----------
    made : list of (head, writer)
    calls : dict of str to Calls
        Of drivers, by the names of functions.
    """

    def __init__(self, system, tables: Tables):
        self.names = system.state_names, system.parameter_names
        self.numbers = {number: number for number in range(len(system.drivers))}
        self.tables, self.made, self.calls = tables, [], {}

    def begin(self, head: Head, values, target: str, arguments=None, reserved=()) -> Writer:
        more = {}
        if self.numbers:
            self.calls[_name(head)] = calls_of(reachable(values), self.numbers)
            more = {"calls": self.calls[_name(head)], "reserved": (*reserved, "d")}
        options = {"target": target, "arguments": arguments, "reserved": reserved, **more}
        return Writer(*self.names, **options)

    def end(self, head: Head, writer: Writer) -> int:
        given = "p, d, " if self.numbers else "p, "
        if writer.n_common:
            given += f"{COMMON}, "
        self.made.append(((head[0].replace("p, ", given), head[1]), writer))
        return writer.n_common

    def write(self, head: Head, values, target: str, arguments=None, reserved=()) -> int:
        """Write a function that stores these values; return its number of common ones."""
        writer = self.begin(head, values, target, arguments, reserved)
        before = {vector: f"{vector}_at + " for vector in arguments or ()}
        values = writer.write_products(values, self.tables, before)
        if not writer.write_rolled(values, self.tables, before, keeps_common=True):
            writer.write(values)
        return self.end(head, writer)

    def write_in_blocks(self, head: Head, values, n: int, blocks: Blocks) -> None:
        """Write one of a vector ``vec`` of `n` elements, or of the time, of a joint system."""
        if not blocks.pays:
            self.write_product(head, values, n) if head is _COUPLING else self.write(
                head, values, "out"
            )
            return
        entries = {"vec": [f"vec[vec_at + {i}]" for i in range(n)]} if head is _COUPLING else {}
        writer = self.begin(head, values, "out", entries, ("vec", "vec_at") if entries else ())
        write_blocks(writer, blocks, n)
        self.end(head, writer)

    def write_product(self, head: Head, values, n: int) -> int:
        """Write one of a vector of `n` elements, whose leaves are ``vec``."""
        entries = {"vec": [f"vec[vec_at + {i}]" for i in range(n)]}
        return self.write(head, values, "out", entries, ("vec", "vec_at"))


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
    found, tables = _with_whole_products(system), Tables()
    written = _functions(system, found, tables, products)
    is_dict = type(found.jacobian) is dict
    entries = found.jacobian.values() if is_dict else found.jacobian.values
    constant = all(node.op not in _CHANGING for node in reachable(entries)) and not system.drivers
    if is_dict:
        columns = rows_of_columns(found.jacobian, system.n_states)
    else:
        columns = [np.flatnonzero(column).tolist() for column in found.jacobian.filled.T]
    what = "Products with the Jacobian" if products else "Derivatives"
    title = f"{what} of the right-hand side {system.digest}: {sum(map(len, columns))} entries."
    autonomous = found.by_time is not None and _all_zero(found.by_time)
    return _module_text(title, columns, (autonomous, constant), written)


def write_coupling(system):
    """Return the source of the module that couples sensitivities with states.

    Of ``g = J s + df/dp``, the right-hand side of sensitivities s, ``coupling`` stores the
    derivative by the states along a vector of them. The module is CONSTANT where it is zero.
    """
    n, graph = system.joint.base.n_states, Graph()
    graph.keeps_products = True
    _, outputs = expressions(system, graph)
    states = [graph.leaf("y", i) for i in range(n)]
    vector = [graph.leaf("vec", i) for i in range(n)]
    coupling = tangents(outputs[n:], dict(zip(states, vector, strict=True)))
    by_time = tangents(outputs, {graph.leaf("t"): 1.0})
    written = _Functions(system, Tables())
    # Both are linear in sensitivities: where these are zero, what is left is of an input alone.
    n_inputs, without = len(system.joint.inputs), [*states, *[0.0] * (system.n_states - n)]
    _, alone = expressions(system, graph, states=without)
    of_one = [graph.leaf("y", n + i) for i in range(n)]

    def blocks_of(first, rows, of_inputs):
        matrix = sparse_jacobian(rows[:n], of_one)
        return Blocks(first, matrix, [of_inputs[n * k : n * (k + 1)] for k in range(n_inputs)])

    along = tangents(alone[n:], dict(zip(states, vector, strict=True)))
    written.write_in_blocks(_COUPLING, coupling, n, blocks_of([], coupling, along))
    later = tangents(alone, {graph.leaf("t"): 1.0})
    in_blocks = blocks_of(by_time[:n], by_time[n:], later[n:])
    written.write_in_blocks(_TIME, by_time, n, in_blocks)
    title = f"What couples sensitivities with states in {system.digest}."
    columns = [[]] * system.n_states
    return _module_text(title, columns, (_all_zero(by_time), _all_zero(coupling)), written)


def _all_zero(values) -> bool:
    """Tell whether expressions are zero for all arguments."""
    return not any(type(value) is Expr or value != 0.0 for value in values)


def _module_text(title: str, columns, about: tuple[bool, bool], written: _Functions) -> str:
    """Return the text of a module, with the rows of each column of its pattern."""
    functions, tables = written.made, written.tables
    body = "\n\n\n".join(function_text(head, writer) for head, writer in functions)
    modules = tables.modules.union(*(writer.modules for _, writer in functions))
    autonomous, constant = about
    facts, before = f"AUTONOMOUS = {autonomous}\nCONSTANT = {constant}\n", functions_of(tables)
    facts += "".join(common_fact(_name(head), writer) for head, writer in functions)
    for name, its_calls in written.calls.items():
        more_facts, more, more_modules = argument_functions(name, its_calls, *written.names)
        facts, before, modules = facts + more_facts, before + more, modules | more_modules
    pattern = "".join(" ".join(map(str, rows)) + "\n" for rows in columns)
    return (
        f'"""{title}\n\n'
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


def _functions(system, found: Linearised, tables, products: bool) -> _Functions:
    """Write the functions of a module.

    Whoever factorises matrices needs no products: they are as much text as the matrix.
    """
    n, jacobian, functions = system.n_states, found.jacobian, _Functions(system, tables)
    vector = [found.graph.leaf("vec", i) for i in range(n)]

    if products:
        n_common = functions.write_product(_JVP, found.product(vector), n)
        if type(jacobian) is dict:
            functions.write(_DIAGONAL, [jacobian.get((i, i), 0.0) for i in range(n)], "out")
        elif type(jacobian) is InBlocks:
            functions.write(_DIAGONAL, jacobian.diagonal(), "out")
        else:
            writer = functions.begin(_DIAGONAL, (), "out")
            write_diagonal(writer, jacobian, n_common)
            functions.end(_DIAGONAL, writer)
        return functions
    if type(jacobian) is dict:
        functions.write(_JACOBIAN, list(jacobian.values()), "jac")
    elif type(jacobian) is InBlocks:
        writer = functions.begin(_JACOBIAN, (), "jac")
        write_jacobian(writer, jacobian, tables)
        functions.end(_JACOBIAN, writer)
    else:  # the product comes before the one that calls it
        n_common = functions.write_product(_JVP, found.product(vector), n)
        writer = functions.begin(_JACOBIAN, (), "jac")
        write_columns(writer, jacobian, tables, n_common)
        functions.end(_JACOBIAN, writer)
    if found.by_time is not None:
        functions.write(_TIME, found.by_time, "out")
    return functions


def _name(head: Head) -> str:
    return head[0].partition("(")[0]


def function_text(head: Head, writer):
    """Return the text of a function."""
    signature, docstring = head
    lines = "\n".join(f"    {line}" for line in writer.lines) or "    pass"
    return f'def {signature}:\n    """{docstring}"""\n{lines}'
