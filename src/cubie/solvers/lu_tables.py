"""Integer tables that a sparse factorisation and its triangular solves go by.

They say what straight-line text would say, in loops: which entry is scaled, which product is
subtracted from which entry. All runs and all blocks share them, and neither the size of the code
nor the time to compile it depends on the number of states.

Elimination goes by pivots: as soon as row k and column k of the factors are complete, their
products are subtracted from the entries behind. An entry is reduced by the same products in the
same order as where rows are completed one by one. Pivots at the end that are kept as a dense matrix
(`cubie.solvers.dense_tail`) stand in no table but `diagonal` and `unknowns`; what those before them
do to their entries does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from attrs import field, frozen

from cubie.solvers.elimination import Elimination


@frozen
class Lists:
    """Lists of different lengths in one array: list k is ``values[starts[k] : starts[k + 1]]``.

    Attributes
    ----------
    starts : ndarray of int, (n + 1,)
    values : tuple of ndarray of int
        Several numbers for each entry of a list.
    """

    starts: np.ndarray = field(eq=False)
    values: tuple[np.ndarray, ...] = field(eq=False)

    @classmethod
    def of(cls, lists: Iterable[Sequence[tuple[int, ...]]], n_values: int) -> Lists:
        """Lay out lists of entries, each a tuple of `n_values` numbers."""
        lists = list(lists)
        starts = np.cumsum([0, *map(len, lists)])
        flat = np.array([entry for each in lists for entry in each], np.int64)
        columns = flat.reshape(-1, n_values).T
        return cls(starts, tuple(np.ascontiguousarray(column) for column in columns))


@frozen
class LUTables:
    """What is done for each pivot k, in their order; numbers are slots but where it says so.

    Attributes
    ----------
    diagonal : ndarray of int, (n,)
        The pivot.
    losses : Lists
        The pairs (l, u) whose products the pivot was reduced by.
    below : Lists
        The entries of column k of L.
    right : Lists
        The entries of row k of U. Of an elimination that is not complete: for each entry in
        `below`, one after another, those whose products are subtracted.
    targets : ndarray of int
        The entries that products are subtracted from: for each pivot, each entry below, each
        entry to the right.
    before, after : Lists
        (entry, unknown): row k of L, and of U behind the pivot, from the last column to the first.
        Unknowns are numbered as states.
    unknowns : ndarray of int, (n,)
        The unknown that the pivot gives.
    exchanges : ndarray of int, (m, 2)
        Pairs of elements that are exchanged in turn, so that the right-hand side of each pivot
        comes where its unknown will be. There are none where pivots lie on the diagonal.
    complete : bool
        That of the elimination.
    """

    diagonal: np.ndarray = field(eq=False)
    losses: Lists
    below: Lists
    right: Lists
    targets: np.ndarray = field(eq=False)
    before: Lists
    after: Lists
    unknowns: np.ndarray = field(eq=False)
    exchanges: np.ndarray = field(eq=False)
    complete: bool

    @classmethod
    def of(cls, elimination: Elimination) -> LUTables:
        """Write down the tables of an elimination."""
        n, n_sparse, row = elimination.n, elimination.n_sparse, elimination.row
        unknowns = [column for _, column in elimination.pivots]
        left = [[(j, slot) for j, slot in row(i) if j < min(i, n_sparse)] for i in range(n)]
        below: list[list[tuple[int, int]]] = [[] for _ in range(n)]
        for i in range(n):
            for j, slot in left[i]:
                below[j].append((i, slot))
        right = [[entry for entry in row(k) if entry[0] > k] for k in range(n_sparse)]
        right += [[] for _ in range(elimination.n_tail)]
        slots = [dict(row(i)) for i in range(n)]
        rows, targets = _products(elimination, below, right, slots)
        return cls(
            np.array([slots[k][k] for k in range(n)]),
            Lists.of([elimination.products(k, k) for k in range(n)], 2),
            Lists.of([[(slot,) for _, slot in entries] for entries in below], 1),
            Lists.of(rows, 1),
            np.array(targets, np.int64),
            Lists.of([[(slot, unknowns[j]) for j, slot in entries] for entries in left], 2),
            Lists.of([[(slot, unknowns[j]) for j, slot in entries[::-1]] for entries in right], 2),
            np.array(unknowns),
            np.array(_exchanges(elimination.pivots), np.int64).reshape(-1, 2),
            elimination.complete,
        )


Entries = list[list[tuple[int, int]]]


def _products(
    elimination: Elimination, below: Entries, right: Entries, slots: Sequence[dict[int, int]]
) -> tuple[list[list[tuple[int]]], list[int]]:
    """Return the entries of U that there are products with, and what those are taken from."""
    targets: list[int] = []
    if elimination.complete:
        for k in range(elimination.n_sparse):
            columns = [j for j, _ in right[k]]
            for i, _ in below[k]:
                targets += map(slots[i].__getitem__, columns)
        return [[(slot,) for _, slot in entries] for entries in right], targets
    rows: list[list[tuple[int]]] = []
    for entries, columns in zip(below, right, strict=True):
        for i, _ in entries:
            reached = [(slot, slots[i][j]) for j, slot in columns if j in slots[i]]
            rows.append([(slot,) for slot, _ in reached])
            targets += [target for _, target in reached]
    return rows, targets


def _exchanges(pivots: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the exchanges that move element `row` to place `column` for each pivot."""
    holds = list(range(len(pivots)))  # which element is at each place
    place = list(holds)
    exchanges = []
    for row, column in pivots:
        at = place[row]
        if at != column:
            exchanges.append((column, at))
            other = holds[column]
            holds[column], holds[at] = row, other
            place[row], place[other] = column, at
    return exchanges
