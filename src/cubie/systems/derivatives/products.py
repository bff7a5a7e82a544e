"""Jacobians of right-hand sides with products that are kept whole: blocks of a dense matrix.

What a product of a matrix W gives, outputs depend on by a few entries each, and each entry of its
vector on a few states. Then the Jacobian is a sparse matrix, and for each product B W C with sparse
B and C: its million entries are a loop over a table, and no million expressions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from attrs import frozen

from cubie.systems.derivatives.rules import sparse_jacobian
from cubie.systems.rolling.loops import INDENT, ROW, TERM, Tables, index_text
from cubie.systems.rolling.products import store_values
from cubie.systems.source import Writer
from cubie.systems.tracing.arithmetic import add, mul
from cubie.systems.tracing.expression import Expr
from cubie.systems.tracing.nodes import PRODUCT, Value, reachable
from cubie.systems.tracing.products import Product, products_in

# Of what is no product there are so many entries a row at most, and so many entries a row of B, and
# a column of C: what is denser has a Jacobian of another kind.
MOST_APART, MOST_OF_EACH = 16, 4

Place = tuple[int, int]
Entries = Mapping[Place, Value]


@frozen(eq=False)
class Block:
    """The part B W C of a Jacobian.

    Attributes
    ----------
    matrix : ndarray
        W.
    left : mapping of (output, row of W) to expression
        B.
    right : mapping of (column of W, state) to expression
        C.
    """

    matrix: np.ndarray
    left: Entries
    right: Entries

    @property
    def rows(self) -> np.ndarray:
        """The output and the row of W of each entry of B, (n_entries, 2)."""
        return np.array([*self.left], np.int64).reshape(-1, 2)

    @property
    def columns(self) -> np.ndarray:
        """The column of W and the state of each entry of C, (n_entries, 2)."""
        return np.array([*self.right], np.int64).reshape(-1, 2)


@frozen(eq=False)
class InBlocks:
    """A Jacobian as a sparse matrix and blocks.

    Attributes
    ----------
    n : int
        States.
    apart : mapping of (row, column) to expression
        The sparse matrix.
    blocks : tuple of Block
    """

    n: int
    apart: Entries
    blocks: tuple[Block, ...]

    @property
    def values(self) -> list[Value]:
        """All that its entries are computed from."""
        parts = [self.apart, *(part for each in self.blocks for part in (each.left, each.right))]
        return [value for part in parts for value in part.values()]

    @property
    def filled(self) -> np.ndarray:
        """Where it may differ from zero, (n, n)."""
        mask = np.zeros((self.n, self.n), bool)
        for row, column in self.apart:
            mask[row, column] = True
        for block in self.blocks:
            mask[np.ix_(block.rows[:, 0], block.columns[:, 1])] = True
        return mask

    def diagonal(self) -> list[Value]:
        """Return the entries on the diagonal."""
        found = [self.apart.get((i, i), 0.0) for i in range(self.n)]
        for block in self.blocks:
            of_state: dict[int, list[tuple[int, Value]]] = {}
            for (term, state), right in block.right.items():
                of_state.setdefault(state, []).append((term, right))
            for (output, row), left in block.left.items():
                for term, right in of_state.get(output, ()):
                    entry = mul(left, mul(float(block.matrix[row, term]), right))
                    found[output] = add(found[output], entry)
        return found


def in_blocks(outputs: Sequence[Value], states: Sequence[Expr]) -> InBlocks | None:
    """Return the Jacobian of outputs with products; None where it has no such form."""
    n, products, apart, lefts = len(states), products_in(outputs), {}, []
    for product in products:
        if any(node.op == PRODUCT for node in reachable(product.entries)):
            return None
        lefts.append({})
    leaves = [*states, *(row for product in products for row in product.rows)]
    where = [(k, row) for k, product in enumerate(products) for row in range(len(product.rows))]
    for (output, column), value in sparse_jacobian(outputs, leaves).items():
        if column < n:
            apart[output, column] = value
        else:
            number, row = where[column - n]
            lefts[number][output, row] = value
    blocks = [_block(*each, states) for each in zip(products, lefts, strict=True)]
    if len(apart) > MOST_APART * n or any(block is None for block in blocks):
        return None
    return InBlocks(n, apart, tuple(block for block in blocks if block is not None))


def _block(product: Product, left: Entries, states: Sequence[Expr]) -> Block | None:
    right = sparse_jacobian(product.entries, states)
    n_rows, n_terms = product.matrix.shape
    if len(left) > MOST_OF_EACH * n_rows or len(right) > MOST_OF_EACH * n_terms:
        return None
    return Block(product.matrix, left, right)


def write_jacobian(writer: Writer, found: InBlocks, tables: Tables) -> None:
    """Write `jac[at + k]` = entry k of the Jacobian, column after column."""
    filled = found.filled
    places = np.full(filled.shape, -1)
    places.T[filled.T] = np.arange(np.count_nonzero(filled))
    writer.beside_products = True
    values = iter(writer.write_products(found.values, tables))
    apart = _Factors(writer, [next(values) for _ in found.apart], tables)
    factors = []
    for block in found.blocks:
        left = _Factors(writer, [next(values) for _ in block.left], tables)
        right = _Factors(writer, [next(values) for _ in block.right], tables)
        factors.append((left, right))
    is_defined = _defines(found.blocks, filled)
    if not is_defined:
        writer.lines += [
            f"for {ROW} in range({np.count_nonzero(filled)}):",
            f"{INDENT}jac[at + {ROW}] = 0.0",
        ]
    for block, (left, right) in zip(found.blocks, factors, strict=True):
        writer.lines += _block_lines(block, left, right, places, tables, not is_defined)
        is_defined = False
    if found.apart:
        rows, columns = np.array([*found.apart], np.int64).T
        place = index_text(places[rows, columns], tables, ROW)
        writer.lines += [
            f"for {ROW} in range({len(rows)}):",
            f"{INDENT}jac[at + {place}] = jac[at + {place}] + {apart.text(ROW)}",
        ]


def _defines(blocks: Sequence[Block], filled: np.ndarray) -> bool:
    """Tell whether the first block gives each entry a value, and only one."""
    if not blocks:
        return False
    rows, columns = blocks[0].rows[:, 0], blocks[0].columns[:, 1]
    is_once = len({*rows.tolist()}) == len(rows) and len({*columns.tolist()}) == len(columns)
    return is_once and len(rows) * len(columns) == np.count_nonzero(filled)


def _block_lines(block: Block, left, right, places, tables: Tables, adds: bool) -> list[str]:
    """Return the loop over a block: along columns, in which entries follow one another."""
    (outputs, rows), (terms, states) = block.rows.T, block.columns.T
    if not len(outputs) or not len(terms):
        return []
    n_terms, at = block.matrix.shape[1], places[np.ix_(outputs, states)].T
    along, across = at[0] - at[0, 0], at[:, 0]
    if (at == across[:, None] + along).all():
        place = f"{index_text(across, tables, ROW)} + {index_text(along, tables, TERM)}"
    else:
        place = f"{tables.name(at.ravel())}({len(outputs)} * {ROW} + {TERM})"
    row, term = index_text(n_terms * rows, tables, TERM), index_text(terms, tables, ROW)
    entry = f"{tables.name(block.matrix.ravel())}({row} + {term})"
    entry = f"{entry} * {right.text(ROW)}" if right.differ else entry
    entry = f"{left.text(TERM)} * ({entry})" if left.differ else entry
    before = f"jac[at + {place}] + " if adds else ""
    return [
        f"for {ROW} in range({len(terms)}):",
        f"{INDENT}for {TERM} in range({len(outputs)}):",
        f"{INDENT * 2}jac[at + {place}] = {before}{entry}",
    ]


class _Factors:
    """Values that a loop reads: numbers of a table, or stored before."""

    def __init__(self, writer: Writer, values: Sequence[Value], tables: Tables):
        self.values, self.tables = values, tables
        self.are_numbers = all(type(value) is float for value in values)
        self.differ = not (self.are_numbers and all(value == 1.0 for value in values))
        self.array, self.at = ("", 0) if self.are_numbers else store_values(writer, values, tables)

    def text(self, variable: str) -> str:
        """Return the text of one."""
        if self.are_numbers:
            return f"{self.tables.name(np.array(self.values, np.float64))}({variable})"
        return f"{self.array}[{self.at} + {variable}]"
