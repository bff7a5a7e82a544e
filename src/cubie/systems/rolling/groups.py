"""Rows of equal shape, matched: one body of all, and what differs between them as columns."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from attrs import frozen

from cubie.systems.rolling.shapes import AsLeaf, Shapes, Term, terms_of
from cubie.systems.tracing.expression import Expr, Graph
from cubie.systems.tracing.nodes import Value

SLOT = "slot"  # leaves of bodies: what a column holds
TIME = "t"
# Kinds of terms that a sum over a table of kinds tells apart.
MOST_KINDS = 24
# Parts of a sum, each of terms of one kind, that are a loop of their own.
MOST_SEGMENTS = 4


class Unlike(Exception):
    """Rows of one shape cannot be one loop."""


@frozen(eq=False)
class Column:
    """What stands at one place of a body.

    Attributes
    ----------
    array : str
        Of which it is an element; "" for numbers.
    values : ndarray of int64 or float64 (n_rows,), or (n_terms,) of a sum
        Indices of the elements, or the numbers.
    """

    array: str
    values: np.ndarray


@frozen(eq=False)
class Kind:
    """Terms of a sum that are alike.

    Attributes
    ----------
    sign : int
        0 for those that a sum begins with.
    body : Expr or float
    slots : tuple of int
        Slots of the body, whose columns hold anything for terms of other kinds.
    """

    sign: int
    body: Value
    slots: tuple[int, ...]


class Segment(NamedTuple):
    """Terms of a row, from a first to before an end, that are of one kind."""

    kind: int
    begin: int
    end: int


@frozen(eq=False)
class Sum:
    """Long sums of rows, of as many terms each as there are.

    Attributes
    ----------
    slot : int
        The leaf of the row's body that stands for it.
    starts : ndarray of int64 (n_rows + 1,)
        Where the terms of each row begin.
    kinds : tuple of Kind
    kind_of : ndarray of int64 (n_terms,)
        All of one kind where the first terms are of the only one.
    """

    slot: int
    starts: np.ndarray
    kinds: tuple[Kind, ...]
    kind_of: np.ndarray

    @property
    def n_terms_of_each(self) -> int:
        """Return how many terms each row has; 0 where they have different numbers."""
        lengths = np.diff(self.starts)
        return int(lengths[0]) if (lengths == lengths[0]).all() else 0

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Return terms of one kind that follow each other, where all rows have the same."""
        n_terms = self.n_terms_of_each
        if not n_terms:
            return ()
        kinds = self.kind_of.reshape(-1, n_terms)
        edges = [0, *(np.flatnonzero(np.diff(kinds[0])) + 1).tolist(), n_terms]
        if len(edges) > MOST_SEGMENTS + 1 or (kinds != kinds[:1]).any():
            return ()
        return tuple(Segment(int(kinds[0, begin]), begin, end) for begin, end in pairwise(edges))


@frozen(eq=False)
class Group:
    """Rows that are one loop.

    Attributes
    ----------
    rows : ndarray of int64 (n_rows,)
        Which outputs.
    body : Expr or float
    columns : dict of int to Column
        Of each slot.
    sums : tuple of Sum
    in_order : bool
        Rows read what rows before them gave.
    """

    rows: np.ndarray
    body: Value
    columns: dict[int, Column]
    sums: tuple[Sum, ...]
    in_order: bool = False


class Bodies:
    """The graph that the bodies of all groups are in, and their slots.

    Parameters
    ----------
    most_cost : float
        What computing all rows may cost, in additions.
    """

    def __init__(self, most_cost: float):
        self.graph, self.n_slots, self.most_cost = Graph(), 0, most_cost

    def new_slot(self) -> int:
        """Return a slot that no other body has."""
        self.n_slots += 1
        return self.n_slots - 1


# Of terms: their sign, and their shape or the array that they are elements of, times numbers.
Key = tuple[int, int | str]


class Scaled(NamedTuple):
    """A term that is a number times an element of an array."""

    factor: float
    value: Expr
    array: str


class Matcher:
    """Matches rows of equal shape.

    Parameters
    ----------
    bodies : Bodies
    shapes : Shapes
    as_leaf : callable
    """

    def __init__(self, bodies: Bodies, shapes: Shapes, as_leaf: AsLeaf):
        self.graph, self.shapes, self.as_leaf = bodies.graph, shapes, as_leaf
        self.new_slot, self.most_cost = bodies.new_slot, bodies.most_cost

    def group(self, rows: Sequence[int], outputs: Sequence[Value]) -> Group:
        """Return the group of these rows of equal outer shape.

        Raises
        ------
        Unlike
        """
        matching = _Matching(self, with_sums=True)
        body = matching.match_outputs([outputs[row] for row in rows])
        found = np.array(rows, np.int64)
        return Group(found, body, matching.columns, tuple(matching.sums))


class _Matching:
    """Of one group, or of one kind of terms."""

    def __init__(self, matcher: Matcher, with_sums: bool):
        self.matcher, self.with_sums = matcher, with_sums
        self.columns: dict[int, Column] = {}
        self.sums: list[Sum] = []
        self._slots: dict[tuple[str, bytes], int] = {}
        self._matched: dict[tuple, Value] = {}

    def match_outputs(self, values: list[Value]) -> Value:
        """Return the body of outputs of equal shape, leaves or not."""
        first = values[0]
        if type(first) is not Expr or not self.matcher.shapes.defines:
            return self.match(values)
        return self._computed(first, values, True)

    def match(self, values: list[Value]) -> Value:
        """Return the body of values of equal shape."""
        first = values[0]
        if type(first) is not Expr:
            return self._constants(values)
        key = tuple(value.serial for value in values)
        found = self._matched.get(key)
        if found is None:
            found = self._matched[key] = self._match(first, values)
        return found

    def _match(self, first: Expr, values: list[Value]) -> Value:
        graph, as_leaf = self.matcher.graph, self.matcher.as_leaf
        leaf = as_leaf(first)
        if leaf is not None:
            if leaf[0] == TIME:
                return graph.leaf(TIME)
            leaves = (as_leaf(value) or leaf for value in values)  # all are, by their shape
            return self._column(leaf[0], np.array([index for _, index in leaves], np.int64))
        return self._computed(first, values, False)

    def _computed(self, first: Expr, values: list[Value], defines: bool) -> Value:
        graph, shapes = self.matcher.graph, self.matcher.shapes
        facts = shapes.of_output(first) if defines else shapes.of(first)
        if self.with_sums and facts.n_terms >= shapes.long_sum:
            return self._sum(values, defines)
        operands = [
            self.match([value.operands[k] for value in values]) for k in range(len(first.operands))
        ]
        return graph.node(first.op, *operands)

    def _constants(self, values: list[Value]) -> Value:
        if any(type(value) is not float for value in values):
            if any(value is not values[0] for value in values):
                raise Unlike
            return values[0]
        numbers = np.array(values)
        if (numbers.view(np.int64) == numbers[:1].view(np.int64)).all():
            return values[0]
        return self._column("", numbers)

    def _column(self, array: str, values: np.ndarray) -> Value:
        key = array, values.tobytes()
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = self.matcher.new_slot()
            self.columns[slot] = Column(array, values)
        return self.matcher.graph.leaf(SLOT, slot)

    def _sum(self, values: list[Value], defines: bool) -> Value:
        rows = [terms_of(value, self.matcher.as_leaf, defines) for value in values]
        starts = np.concatenate([[0], np.cumsum([len(terms) for terms in rows])])
        terms = [term for row in rows for term in row]
        kind_of, keys = self._kinds(terms, starts, False)
        if len(keys) > 1 and not Sum(0, starts, (), kind_of).segments:
            kind_of, keys = self._kinds(terms, starts, True)
        if len(keys) > MOST_KINDS:
            raise Unlike
        matched = [
            self._kind_of_terms(key, np.flatnonzero(kind_of == k), terms)
            for k, key in enumerate(keys)
        ]
        kinds = [kind for kind, _ in matched]
        self._share_columns([columns for _, columns in matched])
        slot = self.matcher.new_slot()
        self.sums.append(Sum(slot, starts, tuple(kinds), kind_of))
        return self.matcher.graph.leaf(SLOT, slot)

    def _kinds(
        self, terms: list[Term], starts: np.ndarray, together: bool
    ) -> tuple[np.ndarray, list[Key]]:
        """Return the kind of each term, and what kinds there are.

        With `together`, numbers times elements of an array are of one kind, and so are elements:
        taking -c times x is the same, to the bit, as taking c times x away.
        """
        numbers: dict[Key, int] = {}

        def kind(term: Term) -> int:
            scaled = self._scaled(term) if together else None
            if scaled is None:
                key = term.sign, self.matcher.shapes.of(term.value).shape
            else:
                key = abs(term.sign), scaled.array
            return numbers.setdefault(key, len(numbers))

        kind_of = np.array([kind(term) for term in terms], np.int64)
        if len({*kind_of[starts[:-1]].tolist()}) > 1:
            # Those that sums begin with are kinds of their own.
            for start in starts[:-1].tolist():
                kind_of[start] = kind(terms[start]._replace(sign=0))
        used = [key for key, number in numbers.items() if (kind_of == number).any()]
        return np.searchsorted([numbers[key] for key in used], kind_of), used

    def _scaled(self, term: Term) -> Scaled | None:
        """Return a term as a number times an element; None for others."""
        as_leaf, value, sign = self.matcher.as_leaf, term.value, term.sign
        while type(value) is Expr and value.op == "neg" and as_leaf(value) is None:
            value, sign = value.operands[0], -1 if sign >= 0 else 1
        if type(value) is not Expr:
            return None
        factor, leaf = 1.0, as_leaf(value)
        if leaf is None and value.op == "*":
            factor, value = sorted(value.operands, key=lambda each: type(each) is Expr)
            leaf = as_leaf(value) if type(factor) is float and type(value) is Expr else None
        if leaf is None or leaf[0] == TIME:
            return None
        return Scaled(-factor if sign < 0 else factor, value, leaf[0])

    def _kind_of_terms(
        self, key: Key, where: np.ndarray, terms: list[Term]
    ) -> tuple[Kind, dict[int, Column]]:
        matching, sign = _Matching(self.matcher, with_sums=False), key[0]
        chosen = [terms[k] for k in where.tolist()]
        if type(key[1]) is str:
            scaled = [each for each in map(self._scaled, chosen) if each is not None]
            factor = matching.match([each.factor for each in scaled])
            body = matching.match([each.value for each in scaled])
            if type(factor) is Expr or factor != 1.0:
                body = self.matcher.graph.node("*", factor, body)
        else:
            body = matching.match([term.value for term in chosen])
        columns = {}
        for slot, column in matching.columns.items():
            values = np.zeros(len(terms), column.values.dtype)
            values[where] = column.values
            columns[slot] = Column(column.array, values)
        return Kind(sign, body, tuple(columns)), columns

    def _share_columns(self, of_kinds: list[dict[int, Column]]) -> None:
        """Keep columns of kinds, whose terms are never the same, in as few tables as one needs."""
        shared: dict[tuple[str, int], np.ndarray] = {}
        for columns in of_kinds:
            counts = {"i": 0, "f": 0}
            for slot, column in columns.items():
                sort = column.values.dtype.kind
                key = sort, counts[sort]
                counts[sort] += 1
                values = shared.get(key)
                if values is None:
                    shared[key] = column.values
                else:
                    values += column.values
                self.columns[slot] = Column(column.array, shared[key])
