"""The text of products that are kept whole, and of what their vectors are made of.

A vector is stored where common values are, or read where it lies; then its product is, and what is
left of the outputs reads both. Of a product itself there is a loop, in a function of the module:

    def product_0(x, x_at, out, at):
        for i in range(1000):
            _total_0 = _value_0(1000 * i) * x[x_at]
            for k in range(1, 1000):
                _total_0 = _total_0 + _value_0(1000 * i + k) * x[x_at + k]
            out[at + i] = _total_0
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from cubie.systems.rolling.common import COMMON
from cubie.systems.rolling.loops import INDENT, ROW, ROWS_TOGETHER, TERM, Tables
from cubie.systems.tracing.expression import Expr
from cubie.systems.tracing.nodes import Value, reachable
from cubie.systems.tracing.products import products_in


def with_products_written(writer: Any, outputs: Sequence[Value], tables: Tables, before) -> list:
    """Write what outputs need of products; return them in terms of what is stored by then.

    Parameters
    ----------
    writer : Writer
    outputs : sequence of Expr or float
    tables : Tables
        Of the module.
    before : mapping of str to str
        What is added to indices of an array, by its name.
    """
    stored: dict[int, Expr] = {}
    products = products_in(outputs)
    writer.beside_products = writer.beside_products or bool(products)
    for product in products:
        entries = in_terms_of(stored, product.entries)
        array, at = store_values(writer, entries, tables, before, stored)
        if array == COMMON:
            stored |= _leaves(product.entries, at)
        index = f"{before.get(array, '')}{at}"
        name, rows_at = tables.product(product.matrix), writer.reserve(len(product.rows))
        writer.lines.append(f"{name}({array}, {index}, {COMMON}, {rows_at})")
        stored |= _leaves(product.rows, rows_at)
    return in_terms_of(stored, outputs)


def in_terms_of(stored: Mapping[int, Expr], outputs: Sequence[Value]) -> list[Value]:
    """Return outputs with other nodes for some, given by their serial numbers."""
    if not stored:
        return list(outputs)
    known: dict[int, Value] = dict(stored)

    def of(value: Value) -> Value:
        return known.get(value.serial, value) if type(value) is Expr else value

    for node in reachable(outputs, stored):
        if node.serial not in known:
            operands = [of(a) for a in node.operands]
            if any(new is not old for new, old in zip(operands, node.operands, strict=True)):
                known[node.serial] = node.graph.node(node.op, *operands)
    return [of(output) for output in outputs]


def _leaves(values: Sequence[Value], at: int) -> dict[int, Expr]:
    """Return by serial numbers the elements of the common array that hold some values."""
    nodes = ((place, value) for place, value in enumerate(values, at) if type(value) is Expr)
    return {value.serial: value.graph.leaf(COMMON, place) for place, value in nodes}


def _where(writer: Any, entries: Sequence[Value]) -> tuple[str, int] | None:
    """Return the array in which the entries of a vector follow one another, and the first."""
    leaves = [writer.as_leaf(entry) if type(entry) is Expr else None for entry in entries]
    first = leaves[0]
    if first is None or first[0] == "t":
        return None
    array, at = first
    return first if leaves == [(array, k) for k in range(at, at + len(entries))] else None


def store_values(
    writer: Any,
    values: Sequence[Value],
    tables: Tables,
    before: Mapping[str, str] = MappingProxyType({}),
    stored: dict[int, Expr] | None = None,
) -> tuple[str, int]:
    """Return the array in which values follow one another, and the first: the common one, if any.

    What they have in common themselves is added to what is `stored`.
    """
    found = _where(writer, values)
    if found is not None:
        return found
    at = writer.reserve(len(values))
    outside, writer.begin = writer.begin, f"{COMMON}[{at} + "
    kept = writer.write_values(values, tables, before)
    writer.begin = outside
    if stored is not None:
        nodes = (node for node in reachable(values) if node.serial in kept)
        stored |= {node.serial: node.graph.leaf(COMMON, kept[node.serial]) for node in nodes}
    return COMMON, at


def write_product(name: str, table: str, n_rows: int, n_terms: int) -> str:
    """Return the function that multiplies a matrix, row by row in a table, and a vector."""
    lines, whole = [], n_rows // ROWS_TOGETHER * ROWS_TOGETHER

    def rows(first: int, end: int, together: int) -> None:
        """Terms of a row wait for each other: those of several rows are added meanwhile."""
        step = together * n_terms
        starts = [f"{(first + u) * n_terms}" for u in range(together)]
        lines.append(f"for {ROW} in range({(end - first) // together}):")
        lines.extend(
            f"{INDENT}_total_{u} = {table}({step} * {ROW} + {start}) * x[x_at]"
            for u, start in enumerate(starts)
        )
        lines.append(f"{INDENT}for {TERM} in range(1, {n_terms}):")
        lines.append(f"{INDENT * 2}x0 = x[x_at + {TERM}]")
        lines.extend(
            f"{INDENT * 2}_total_{u} = _total_{u} + {table}({step} * {ROW} + {start} + {TERM}) * x0"
            for u, start in enumerate(starts)
        )
        lines.extend(
            f"{INDENT}out[at + {together} * {ROW} + {first + u}] = _total_{u}"
            for u in range(together)
        )

    if whole:
        rows(0, whole, ROWS_TOGETHER)
    if whole < n_rows:
        rows(whole, n_rows, 1)
    body = "\n".join(f"{INDENT}{line}" for line in lines)
    return (
        f"def {name}(x, x_at, out, at):\n"
        f'    """out[at + i] = sum of {table}({n_terms} * i + k) * x[x_at + k]."""\n{body}\n'
    )
