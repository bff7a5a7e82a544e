"""Sparse elimination decided before anything is known of the numbers.

The pattern of ``a * M - J`` is the same for all runs and steps. So the order of pivots, the
entries that fill in, and with them every operation of the factorisation, are found once, on the
host; a run only computes. Pivots are taken in the order of least fill-in, then that of Markowitz
(Duff, Erisman & Reid, Direct Methods for Sparse Matrices, 7.2 and 7.4), from the diagonal as long
as it offers one: there M and the damping parts of J lie.
"""

from __future__ import annotations

import functools
import heapq
import itertools
from collections.abc import Collection, Iterable, Sequence

import numpy as np
from attrs import field, frozen

Position = tuple[int, int]
# In systems of more rows, so many pairs of sets are compared by NumPy: its calls take time, too.
MANY_ROWS, MANY_PAIRS = 100, 200
# What is left of a large matrix counts as full where so much of it is: it ends as a dense one.
LARGE_REST, FULL = 96, 0.9


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
    n_first : int
        How many they are.
    n_tail : int
        Pivots at the end whose entries are all kept, by columns, in the last slots.
    moved : tuple of (slot, slot)
        Of positions given first that are among them: where they were, and where they are.
    complete : bool
        Every entry that fills in has a slot; those that have none are dropped otherwise.
    """

    n: int
    pivots: tuple[Position, ...]
    slots: dict[Position, int] = field(repr=False)
    n_first: int = 0
    n_tail: int = 0
    moved: tuple[tuple[int, int], ...] = field(default=(), repr=False)
    complete: bool = True

    @functools.cached_property
    def n_slots(self) -> int:
        return self.tail_at + self.n_tail**2 if self.n_tail else len(self.slots)

    @property
    def n_sparse(self) -> int:
        """Pivots before those at the end."""
        return self.n - self.n_tail

    @functools.cached_property
    def tail_at(self) -> int:
        """The slot of the first entry of the pivots at the end, where there are any."""
        return self.slots[self.pivots[self.n_sparse]]

    def with_tail(self, n_tail: int) -> Elimination:
        """Return the same, with all entries of so many pivots at the end by columns."""
        if not n_tail:
            return self
        last = self.pivots[self.n - n_tail :]
        row_of = {row: i for i, (row, _) in enumerate(last)}
        column_of = {column: j for j, (_, column) in enumerate(last)}
        slots, n_slots = {}, self.n_first
        for (row, column), slot in self.slots.items():
            if row not in row_of or column not in column_of:
                slots[row, column] = slot if slot < self.n_first else n_slots
                n_slots += slot >= self.n_first
        for column, j in column_of.items():
            for row, i in row_of.items():
                slots[row, column] = n_slots + j * n_tail + i
        moved = [
            (slot, slots[position])
            for position, slot in self.slots.items()
            if slot < self.n_first and slots[position] != slot
        ]
        return Elimination(self.n, self.pivots, slots, self.n_first, n_tail, tuple(moved))

    def n_slots_with_tail(self, n_tail: int) -> int:
        """Return the `n_slots` of `with_tail`."""
        if self.is_full and n_tail == self.n:
            return self.n_first + n_tail**2
        return self.with_tail(n_tail).n_slots

    @property
    def is_full(self) -> bool:
        """There is an entry at every place."""
        return len(self.slots) == self.n**2

    @functools.cached_property
    def products_of(self) -> tuple[int, ...]:
        """How many products each pivot subtracts."""
        if self.is_full:
            return tuple(left * left for left in range(self.n - 1, -1, -1))
        below, right = [0] * self.n, [0] * self.n
        for i, row in enumerate(self._rows):
            for j, _ in row:
                below[j] += j < i
                right[i] += j > i
        return tuple(b * r for b, r in zip(below, right, strict=True))

    @functools.cached_property
    def _rows(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """(column of the factors, slot) of each of their rows, in order."""
        row_number = {row: i for i, (row, _) in enumerate(self.pivots)}
        column_number = {column: j for j, (_, column) in enumerate(self.pivots)}
        rows: list[list[tuple[int, int]]] = [[] for _ in range(self.n)]
        for (row, column), slot in self.slots.items():
            rows[row_number[row]].append((column_number[column], slot))
        return tuple(tuple(sorted(row)) for row in rows)

    @functools.cached_property
    def n_products(self) -> int:
        """Number of multiplications that the factorisation subtracts."""
        return sum(self.products_of)

    @property
    def in_place(self) -> bool:
        """Pivots lie on the diagonal, so that a solution can overwrite its right-hand side."""
        return all(row == column for row, column in self.pivots)

    def slot(self, i: int, j: int) -> int | None:
        """Return the slot of entry (i, j) of the factors, None where it is zero."""
        return self.slots.get((self.pivots[i][0], self.pivots[j][1]))

    def row(self, i: int) -> tuple[tuple[int, int], ...]:
        """Return (column of the factors, slot) of row i of the factors, in order."""
        return self._rows[i]

    def products(self, i: int, j: int) -> list[tuple[int, int]]:
        """Return the slots (l, u) whose products entry (i, j) of the factors is reduced by.

        Those of pivots at the end are not among them.
        """
        least = min(i, j, self.n_sparse)
        pairs = [(a, self.slot(k, j)) for k, a in self._rows[i] if k < least]
        return [(a, b) for a, b in pairs if b is not None]


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
    for position in first:
        slots.setdefault(position, len(slots))
    n_first = len(slots)
    for position in more:
        slots.setdefault(position, len(slots))
    if len(slots) == n * n:
        # Of a full matrix one order is as good as any other.
        return Elimination(n, tuple((k, k) for k in range(n)), slots, n_first)
    rows: list[set[int]] = [set() for _ in range(n)]
    columns: list[set[int]] = [set() for _ in range(n)]
    for row, column in slots:
        rows[row].add(column)
        columns[column].add(row)
    queue = _PivotQueue(rows, columns, _matching(n, rows))
    pivots = []
    while len(pivots) < n:
        row, column = queue.next()
        pivots.append((row, column))
        right, below = rows[row] - {column}, columns[column] - {row}
        for j in right:
            columns[j].discard(row)
        for i in below:
            rows[i].discard(column)
            for j in right - rows[i]:
                rows[i].add(j)
                columns[j].add(i)
                slots.setdefault((i, j), len(slots))
        queue.take(row, right, below)
    return Elimination(n, tuple(pivots), slots, n_first)


def eliminate_without_fill(
    n: int, first: Iterable[Position], more: Iterable[Position] = ()
) -> Elimination:
    """Return an elimination that drops whatever fills in, in the order of the rows.

    Parameters and errors are those of `eliminate`.
    """
    slots: dict[Position, int] = {}
    for position in first:
        slots.setdefault(position, len(slots))
    n_first = len(slots)
    for position in more:
        slots.setdefault(position, len(slots))
    rows: list[set[int]] = [set() for _ in range(n)]
    for row, column in slots:
        rows[row].add(column)
    matched = _matching(n, rows)
    pivots = tuple((row, matched[row]) for row in range(n))
    return Elimination(n, pivots, slots, n_first, complete=False)


class _PivotQueue:
    """The entries of a matching in order of what they cost as the next pivot.

    A row's cost is found anew where an elimination changed something that it depends on.

    Parameters
    ----------
    rows, columns : list of set
        Columns of each row that is left, rows of each column; changed by who takes pivots.
    matched : mapping
        The column of each row.
    """

    def __init__(self, rows: list[set[int]], columns: list[set[int]], matched: dict[int, int]):
        self._rows, self._columns, self._matched = rows, columns, matched
        self._owner = {column: row for row, column in matched.items()}
        # Sets of columns again, to be counted fast: of few rows, or of many at once.
        self._bits = [_bits(row) for row in rows]
        self._words = _words(self._bits) if len(rows) > MANY_ROWS else None
        self._costs: dict[int, tuple[bool, int, int, int]] = dict.fromkeys(matched, (True, 0, 0, 0))
        self._full = False
        if not self._all_full():
            self._costs = self._costs_of(matched)
            self._queue = sorted(self._costs.values())

    def _costs_of(self, rows: Collection[int]) -> dict[int, tuple[bool, int, int, int]]:
        """Return what each of some rows costs as the next pivot: the least comes first."""
        below = [self._columns[self._matched[row]] for row in rows]
        words, costs = self._words, {}
        if words is None or sum(map(len, below)) < MANY_PAIRS:
            fills = self._fills(rows, below)
        else:
            fills = _fills_of_many(words, rows, below)
        for row, fill, others in zip(rows, fills, below, strict=True):
            products = (len(self._rows[row]) - 1) * (len(others) - 1)
            costs[row] = self._matched[row] != row, fill, products, row
        return costs

    def _fills(self, rows: Collection[int], below: list[set[int]]) -> list[int]:
        """Return how many entries fill in with each row as pivot, by the rows of its column."""
        bits = self._bits
        return [
            sum((bits[row] & ~bits[other]).bit_count() for other in others)
            for row, others in zip(rows, below, strict=True)
        ]

    def next(self) -> Position:
        """Return the entry that fills in least, a diagonal one if there is any."""
        while True:
            cost = self._queue[0]
            row = cost[-1]
            if self._costs.get(row) == cost:
                return row, self._matched[row]
            heapq.heappop(self._queue)

    def take(self, row: int, right: set[int], below: set[int]) -> None:
        """Note that a row is eliminated, whose other columns and column's other rows are given."""
        del self._costs[row]
        left = len(self._costs)
        nearly = left >= LARGE_REST and 2 * len(right) > left
        if self._full or ((len(right) == left or nearly) and self._all_full()):
            return
        column = self._matched[row]
        bits, words, pivot = self._bits, self._words, 1 << column
        for i in below:
            bits[i] = (bits[i] | bits[row]) & ~pivot
        if words is not None:
            others = np.fromiter(below, np.intp)
            words[:, others] |= words[:, [row]]
            words[column // 64, others] &= ~np.uint64(1 << column % 64)
        # A cost depends on a row, on the column matched to it, and on the rows in that column.
        touched = right.union(*(self._rows[i] for i in below))
        changed = below.union(self._owner[column] for column in touched)
        for other, cost in self._costs_of(changed).items():
            if self._costs.get(other) != cost:
                self._costs[other] = cost
                heapq.heappush(self._queue, cost)

    def _all_full(self) -> bool:
        """Whether every row that is left has an entry in every column that is left.

        Then nothing fills in any more, and all pivots cost the same until the end. Of many rows
        nearly all entries are enough: they are kept as a dense matrix.
        """
        left = len(self._costs)
        n_entries = sum(len(self._rows[row]) for row in self._costs)
        self._full = n_entries >= (FULL if left >= LARGE_REST else 1.0) * left**2
        if self._full:
            self._costs = {row: (self._matched[row] != row, 0, 0, row) for row in self._costs}
            self._queue = sorted(self._costs.values())
        return self._full


def _bits(numbers: Iterable[int]) -> int:
    """Return a number whose bits tell which numbers are in a set."""
    bits = 0
    for number in numbers:
        bits |= 1 << number
    return bits


def _words(rows: Sequence[int]) -> np.ndarray:
    """Return the bits of rows in words of 64: by words, then by rows."""
    size = 8 * (len(rows) // 64 + 1)
    packed = b"".join(bits.to_bytes(size, "little") for bits in rows)
    return np.ascontiguousarray(np.frombuffer(packed, "<u8").reshape(len(rows), -1).T, np.uint64)


def _fills_of_many(words: np.ndarray, rows: Collection[int], below: list[set[int]]) -> list[int]:
    """Return the same as `_fills`. No column is empty: it has the row that it is matched to."""
    counts = np.fromiter(map(len, below), np.intp, len(below))
    own = np.repeat(np.fromiter(rows, np.intp, len(counts)), counts)
    others = np.fromiter(itertools.chain.from_iterable(below), np.intp, len(own))
    missing = np.zeros(len(own), np.int32)
    for word in words:
        missing += np.bitwise_count(word[own] & ~word[others])
    return np.add.reduceat(missing, np.cumsum(counts) - counts).tolist()


def _matching(n: int, rows) -> dict[int, int]:
    """Return a column for each row, the diagonal one wherever that is possible.

    Augmenting paths; an elimination along a perfect matching never meets a structural zero.
    """
    owner = {i: i for i in range(n) if i in rows[i]}
    for row in range(n):
        if row not in rows[row] and not _assigned(row, rows, owner):
            raise StructurallySingular(
                f"The matrix a * M - J is singular whatever its numbers are: equation {row} and "
                "others together depend on too few states."
            )
    return {row: column for column, row in owner.items()}


def _assigned(row: int, rows, owner: dict[int, int]) -> bool:
    """Give a row a column, others new ones where they must leave theirs; tell whether it went.

    Depth first, with a stack of its own: a path may be as long as there are states.
    """
    tried: set[int] = set()
    path, taken = [(row, iter(sorted(rows[row])))], []
    while path:
        column = next((c for c in path[-1][1] if c not in tried), None)
        if column is None:
            path.pop()
            if path:
                taken.pop()
            continue
        tried.add(column)
        taken.append(column)
        if column not in owner:
            owner.update((c, r) for c, (r, _) in zip(taken, path, strict=True))
            return True
        path.append((owner[column], iter(sorted(rows[owner[column]]))))
    return False
