"""Sparse elimination decided before anything is known of the numbers.

The pattern of ``a * M - J`` is the same for all runs and steps. So the order of pivots, the
entries that fill in, and with them every operation of the factorisation, are found once, on the
host; a run only computes. Pivots are taken in the order of least fill-in, then that of Markowitz
(Duff, Erisman & Reid, Direct Methods for Sparse Matrices, 7.2 and 7.4), from the diagonal as long
as it offers one: there M and the damping parts of J lie.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import field, frozen

Position = tuple[int, int]


class StructurallySingular(ValueError):
    """No numbers in these places make a regular matrix."""


@frozen
class Elimination:
    """Factors L U of a permuted sparse matrix, all in one array: one slot an entry.

    Row k and column k of the factors are those of pivot k, whose slot holds its reciprocal.

    Attributes
    ----------
    n : int
    pivots : tuple of (row, column)
        In the order of elimination.
    slots : dict of (row, column) to int
        Position in the original matrix -> slot. The positions given first come first.
    """

    n: int
    pivots: tuple[Position, ...]
    slots: dict[Position, int] = field(repr=False)

    @property
    def n_slots(self) -> int:
        return len(self.slots)

    @property
    def n_products(self) -> int:
        """Number of multiplications that the factorisation subtracts."""
        return sum(len(self.products(i, j)) for i in range(self.n) for j, _ in self.row(i))

    @property
    def in_place(self) -> bool:
        """Pivots lie on the diagonal, so that a solution can overwrite its right-hand side."""
        return all(row == column for row, column in self.pivots)

    def slot(self, i: int, j: int) -> int | None:
        """Return the slot of entry (i, j) of the factors, None where it is zero."""
        return self.slots.get((self.pivots[i][0], self.pivots[j][1]))

    def row(self, i: int) -> list[tuple[int, int]]:
        """Return (column of the factors, slot) of row i of the factors, in order."""
        found = [(j, self.slot(i, j)) for j in range(self.n)]
        return [(j, slot) for j, slot in found if slot is not None]

    def products(self, i: int, j: int) -> list[tuple[int, int]]:
        """Return the slots (l, u) whose products entry (i, j) of the factors is reduced by."""
        pairs = [(self.slot(i, k), self.slot(k, j)) for k in range(min(i, j))]
        return [(a, b) for a, b in pairs if a is not None and b is not None]


def eliminate(n: int, first: Iterable[Position], more: Iterable[Position] = ()) -> Elimination:
    """Choose pivots for a sparse matrix and find its fill-in.

    Parameters
    ----------
    n : int
    first : positions (row, column)
        Get the first slots, in this order.
    more : positions
        Get the slots after those.

    Raises
    ------
    StructurallySingular
        If some rows have too few columns for one pivot each.
    """
    slots: dict[Position, int] = {}
    for position in (*first, *more):
        slots.setdefault(position, len(slots))
    rows = {i: {c for r, c in slots if r == i} for i in range(n)}
    columns = {j: {r for r, c in slots if c == j} for j in range(n)}
    matched = _matching(n, rows)
    pivots = []
    while rows:
        row, column = _next_pivot(rows, columns, matched)
        pivots.append((row, column))
        right, below = rows.pop(row) - {column}, columns.pop(column) - {row}
        for j in right:
            columns[j].discard(row)
        for i in below:
            rows[i].discard(column)
            for j in right - rows[i]:
                rows[i].add(j)
                columns[j].add(i)
                slots.setdefault((i, j), len(slots))
    return Elimination(n, tuple(pivots), slots)


def _next_pivot(rows, columns, matched) -> Position:
    """Return the entry of the matching that fills in least, a diagonal one if there is any."""

    def cost(row):
        column = matched[row]
        right, below = rows[row] - {column}, columns[column] - {row}
        fill = sum(len(right - rows[i]) for i in below)
        return (column != row, fill, len(right) * len(below), row)

    row = min(rows, key=cost)
    return row, matched[row]


def _matching(n: int, rows) -> dict[int, int]:
    """Return a column for each row, the diagonal one wherever that is possible.

    Augmenting paths; an elimination along a perfect matching never meets a structural zero.
    """
    owner = {i: i for i in range(n) if i in rows[i]}

    def assign(row, tried):
        for column in sorted(rows[row] - tried):
            tried.add(column)
            if column not in owner or assign(owner[column], tried):
                owner[column] = row
                return True
        return False

    for row in range(n):
        if row not in rows[row] and not assign(row, set()):
            raise StructurallySingular(
                f"The matrix a * M - J is singular whatever its numbers are: equation {row} and "
                "others together depend on too few states."
            )
    return {row: column for column, row in owner.items()}
