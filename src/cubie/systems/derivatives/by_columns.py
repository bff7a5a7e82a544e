"""Jacobians found by products with one unit vector after another.

Where products of matrices need each other, as in a network of several layers, each entry of the
Jacobian is a sum over all paths. A product with a vector takes one pass through all layers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import frozen

from cubie.systems.rolling.common import COMMON
from cubie.systems.rolling.loops import INDENT, ROW, TERM, Tables, index_text
from cubie.systems.source import Writer
from cubie.systems.tracing.expression import Expr
from cubie.systems.tracing.nodes import MASK_OPERATORS, Value, reachable


@frozen(eq=False)
class ByColumns:
    """A Jacobian of which only products are known.

    Attributes
    ----------
    n : int
        States.
    filled : ndarray of bool (n, n)
        Where it may differ from zero.
    values : list of expression
        What its entries are computed from: J times some vector.
    """

    n: int
    filled: np.ndarray
    values: list[Value]


def by_columns_of(
    outputs: Sequence[Value], states: Sequence[Expr], product: Sequence[Value]
) -> ByColumns:
    """Return the Jacobian of outputs, whose product with a vector is given."""
    n = len(states)
    under: dict[int, int] = {leaf.serial: 1 << column for column, leaf in enumerate(states)}
    for node in reachable(outputs, under):
        if node.serial not in under and node.op not in MASK_OPERATORS:
            below = 0
            for a in node.operands:
                below |= under.get(a.serial, 0) if type(a) is Expr else 0
            under[node.serial] = below
    filled = np.zeros((n, n), bool)
    for row, output in enumerate(outputs):
        bits = under.get(output.serial, 0) if type(output) is Expr else 0
        whole = np.frombuffer(bits.to_bytes(n // 8 + 1, "little"), np.uint8)
        filled[row] = np.unpackbits(whole, bitorder="little")[:n]
    return ByColumns(n, filled, list(product))


def write_columns(writer: Writer, found: ByColumns, tables: Tables, n_common: int) -> None:
    """Write `jac[at + k]` = entry k of the Jacobian, column after column.

    Parameters
    ----------
    writer : Writer
    found : ByColumns
    tables : Tables
        Of the module.
    n_common : int
        Elements of the common array that `jvp`, a function before this one, needs.
    """
    columns, rows = np.nonzero(found.filled.T)
    starts = np.searchsorted(columns, np.arange(found.n + 1))
    row = index_text(rows, tables, TERM)
    limits = f"{index_text(starts[:-1], tables, ROW)}, {index_text(starts[1:], tables, ROW)}"
    out = _write_products(writer, found.n, n_common)
    writer.lines += [
        f"{INDENT}for {TERM} in range({limits}):",
        f"{INDENT * 2}jac[at + {TERM}] = {COMMON}[{out} + {row}]",
    ]


def write_diagonal(writer: Writer, found: ByColumns, n_common: int) -> None:
    """Write `out[at + i]` = J_ii."""
    out = _write_products(writer, found.n, n_common)
    writer.lines.append(f"{INDENT}out[at + {ROW}] = {COMMON}[{out} + {ROW}]")


def _write_products(writer: Writer, n: int, n_common: int) -> int:
    """Write the loop over unit vectors, up to their products; return where these are."""
    writer.reserve(n_common)
    unit, out = writer.reserve(n), writer.reserve(n)
    given = f"t, y, p, {f'{COMMON}, ' if n_common else ''}"
    element = f"{COMMON}[{unit} + {ROW}]"
    writer.lines += [
        f"for {ROW} in range({n}):",
        f"{INDENT}{element} = 0.0",
        f"for {ROW} in range({n}):",
        # A unit vector becomes the next one.
        *(f"{INDENT}for {TERM} in range({ROW}):", f"{INDENT * 2}{COMMON}[{unit} + {TERM}] = 0.0"),
        f"{INDENT}{element} = 1.0",
        f"{INDENT}jvp({given}{COMMON}, {unit}, {COMMON}, {out})",
    ]
    return out
