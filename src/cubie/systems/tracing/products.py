"""Products of constant matrices and vectors of expressions, kept whole.

A dense matrix of a thousand rows is a million products: as nodes of their own they would take a
minute to trace, and gigabytes. A vector is one node here, and each row of a product is one.
Terms of a row are added one after another, as NumPy adds those of objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from attrs import field, frozen

from cubie.systems.tracing import arithmetic as ex
from cubie.systems.tracing.nodes import (
    PRODUCT,
    VECTOR,
    Node,
    Nodes,
    Value,
    graph_of,
    is_complex,
    is_mask,
    operand,
    reachable,
)

# Entries of a matrix that is kept whole, and what part of them is no zero: others are rows of
# their own, as sparse as they are.
LEAST_ENTRIES, LEAST_FILLED = 4096, 0.5


@frozen(eq=False)
class Product:
    """A matrix times a vector.

    Attributes
    ----------
    matrix : ndarray (n_rows, n_terms)
    entries : tuple of Node or float, (n_terms,)
        Of the vector.
    rows : tuple of Node, (n_rows,)
        What it gives.
    """

    matrix: np.ndarray
    entries: tuple[Value, ...]
    rows: tuple[Node, ...] = field(repr=False)


def product_of(graph: Nodes, number: int, entries: Sequence[Value]) -> Product:
    """Return the product of the graph's matrix of this number, and a vector."""
    matrix, vector = graph.matrices[number], graph.node(VECTOR, *entries)
    rows = (graph.node(PRODUCT, float(number), float(row), vector) for row in range(len(matrix)))
    return Product(matrix, tuple(entries), tuple(rows))


def matrix_product(a: Any, b: Any) -> list | np.ndarray | None:
    """Return the rows of ``a @ b`` as whole products; None where they are none."""
    if isinstance(b, np.ndarray) and b.dtype != object:
        a, b = b.T, a.T if isinstance(a, np.ndarray) and a.ndim == 1 else None
    if not _is_large(a) or not isinstance(b, np.ndarray) or b.dtype != object:
        return None
    if b.ndim != 1 or len(b) != a.shape[1]:
        return None
    entries = [operand(entry) for entry in b.tolist()]
    graph = graph_of(*entries)
    if graph is None or not graph.keeps_products:
        return None
    if any(entry is NotImplemented or is_mask(entry) or is_complex(entry) for entry in entries):
        return None
    found = np.empty(len(a), dtype=object)
    found[:] = product_of(graph, graph.matrix(a), entries).rows
    return found


def _is_large(matrix: Any) -> bool:
    if not isinstance(matrix, np.ndarray) or matrix.ndim != 2 or matrix.dtype.kind not in "fiu":
        return False
    if matrix.size < LEAST_ENTRIES or not np.isfinite(matrix).all():
        return False
    return bool(np.count_nonzero(matrix) >= LEAST_FILLED * matrix.size)


def products_in(outputs: Sequence[Value]) -> list[Product]:
    """Return the products that some outputs need, each behind those that it needs itself."""
    found: dict[tuple[float, int], Product] = {}
    for node in reachable(outputs):
        if node.op == PRODUCT:
            number, _, vector = node.operands
            if (number, vector.serial) not in found:
                product = product_of(node.graph, int(number), vector.operands)
                found[number, vector.serial] = product
    return [*found.values()]


def expanded_rows(matrix: np.ndarray, entries: Sequence[Value]) -> list[Value]:
    """Return a product as sums of a product for each entry of the matrix."""
    return [_sum_of(row, entries) for row in matrix.tolist()]


def _sum_of(row: Sequence[float], entries: Sequence[Value]) -> Value:
    total = ex.multiply(row[0], entries[0])
    for factor, entry in zip(row[1:], entries[1:], strict=True):
        total = ex.add(total, ex.multiply(factor, entry))
    return total


def expanded(outputs: Sequence[Value]) -> list[Value]:
    """Return outputs with their products as sums of a product for each entry."""
    nodes, known = reachable(outputs), {}
    whole: dict[tuple[float, int], list[Value]] = {}
    if all(node.op != PRODUCT for node in nodes):
        return list(outputs)

    def of(value: Value) -> Value:
        return known.get(value.serial, value) if isinstance(value, Node) else value

    for node in nodes:
        if node.op == VECTOR:
            continue
        if node.op == PRODUCT:
            number, row, vector = node.operands
            key = number, vector.serial
            if key not in whole:
                matrix = node.graph.matrices[int(number)]
                whole[key] = expanded_rows(matrix, [of(entry) for entry in vector.operands])
            known[node.serial] = whole[key][int(row)]
            continue
        operands = [of(a) for a in node.operands]
        if any(new is not old for new, old in zip(operands, node.operands, strict=True)):
            known[node.serial] = node.graph.node(node.op, *operands)
    return [of(output) for output in outputs]
