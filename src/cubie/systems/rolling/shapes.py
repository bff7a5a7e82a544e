"""The shape of an expression: what is left of it when states, arguments and constants are anyones.

Rows of equal shape differ by indices and coefficients alone, and become one loop. Sums of many
terms count as one thing whatever their length: rows with other numbers of neighbours are alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from cubie.systems.tracing.expression import Expr
from cubie.systems.tracing.nodes import Value

CONSTANT, SUM = "constant", "sum"
# What is a node to itself is looked at as a tree: where parts are shared that may be very large.
LARGEST = 1 << 30
# Sums of so many terms are one thing, whatever their terms are.
LONG_SUM = 8
SIGNS = {"+": 1, "-": -1}
# Costs beside an addition.
HEAVY = frozenset({"exp", "log", "pow", "sin", "cos", "tanh", "sinh", "cosh", "expm1", "log1p"})
COSTS = {"/": 4, "sqrt": 6, **dict.fromkeys(HEAVY, 20)}


class Term(NamedTuple):
    """A term of a sum."""

    sign: int
    value: Value


class Facts(NamedTuple):
    """What there is to know of a node.

    Attributes
    ----------
    shape : int
        Equal for nodes of equal shape.
    outer : int
        The same, if long sums below it are all alike.
    size, outer_size : int
        Nodes of the tree under it, without leaves; long sums as one.
    n_terms : int
        Of the sum that it ends; 1 for what is no sum.
    """

    shape: int
    outer: int
    size: int
    outer_size: int
    n_terms: int


AsLeaf = Callable[[Expr], tuple[str, int] | None]


class Shapes:
    """Facts about all nodes under some outputs.

    Parameters
    ----------
    outputs : sequence of Expr or float
    as_leaf : callable
        ``as_leaf(node)``: of which array a node is an element, and which; None for others.
    long_sum : int
        Sums of so many terms are long.
    defines : bool
        The outputs are computed, whatever they are where others read them.
    """

    def __init__(
        self, outputs: Sequence[Value], as_leaf: AsLeaf, long_sum: int, defines: bool = False
    ):
        self.as_leaf, self.long_sum, self.defines = as_leaf, long_sum, defines
        self._numbers: dict[tuple, int] = {}
        self._facts: dict[int, Facts] = {}
        leaf = self._number((CONSTANT,))
        self._constant, self._sum = Facts(leaf, leaf, 0, 0, 1), self._number((SUM,))
        self.nodes = needed_for(outputs, as_leaf, defines)
        for node in self.nodes:
            array = as_leaf(node)
            self._facts[node.serial] = self._found(node) if array is None else self._leaf(array)
        # An output that is a leaf to others, like any other.
        self._outputs: dict[int, Facts] = {}
        for output in outputs if defines else ():
            if type(output) is Expr:
                self._outputs[output.serial] = self._found(output)

    def _number(self, key: tuple) -> int:
        numbers = self._numbers
        return numbers.setdefault(key, len(numbers))

    def of(self, value: Value) -> Facts:
        """Return the facts about a node, or a constant."""
        return self._facts[value.serial] if type(value) is Expr else self._constant

    def of_output(self, value: Value) -> Facts:
        """Return the facts about an output."""
        found = self._outputs.get(value.serial) if type(value) is Expr else None
        return self.of(value) if found is None else found

    def _leaf(self, leaf: tuple[str, int]) -> Facts:
        number = self._number(("leaf", leaf[0]))
        return Facts(number, number, 0, 0, 1)

    def _found(self, node: Expr) -> Facts:
        op, facts, constant = node.op, self._facts, self._constant
        operands = [facts[a.serial] if type(a) is Expr else constant for a in node.operands]
        # Most nodes by far have two.
        if len(operands) == 2:
            (shape_a, outer_a, a, outer_size_a, terms), (shape_b, outer_b, b, outer_size_b, _) = (
                operands
            )
            shape, outer = (op, shape_a, shape_b), (op, "outer", outer_a, outer_b)
            size, outer_size = 1 + a + b, 1 + outer_size_a + outer_size_b
        else:
            shapes, outers, sizes, outer_sizes, (terms, *_) = zip(*operands, strict=True)
            shape, outer = (op, *shapes), (op, "outer", *outers)
            size, outer_size = 1 + sum(sizes), 1 + sum(outer_sizes)
        n_terms = 1 + terms if op in SIGNS else 1
        size = size if size < LARGEST else LARGEST
        if n_terms >= self.long_sum:
            return Facts(self._number(shape), self._sum, size, 1, n_terms)
        outer_size = outer_size if outer_size < LARGEST else LARGEST
        return Facts(self._number(shape), self._number(outer), size, outer_size, n_terms)


def needed_for(outputs: Iterable[Value], as_leaf: AsLeaf, defines: bool = False) -> list[Expr]:
    """Return the nodes under outputs, operands before their users; nothing under leaves.

    What is under an output that is a leaf itself is returned if it `defines` that.
    """
    found = {output.serial: output for output in outputs if type(output) is Expr}
    stack = [node for node in found.values() if defines or as_leaf(node) is None]
    while stack:
        for node in stack.pop().operands:
            if type(node) is Expr and node.serial not in found:
                found[node.serial] = node
                if as_leaf(node) is None:
                    stack.append(node)
    return [found[serial] for serial in sorted(found)]


def terms_of(value: Value, as_leaf: AsLeaf, defines: bool = False) -> list[Term]:
    """Return the terms that are added one after another; of the first the sign is plus.

    A sum that is a leaf is one term, but for a value that this `defines`.
    """
    found = []
    while type(value) is Expr and value.op in SIGNS and (defines or as_leaf(value) is None):
        value, last = value.operands[0], Term(SIGNS[value.op], value.operands[1])
        found.append(last)
        defines = False
    found.append(Term(1, value))
    return found[::-1]


def nodes_cost(nodes: Iterable[Expr], as_leaf: AsLeaf) -> int:
    """Return what computing each of these once costs, in additions."""
    return sum(COSTS.get(node.op, 1) for node in nodes if as_leaf(node) is None)
