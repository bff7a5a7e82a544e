"""Totals that equations keep: weighted sums of states whose derivatives cancel, term by term.

A total is found where the derivatives of states are sums of the same terms, as those of species
that reactions turn into each other are. What cancels for another reason is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from heapq import heappop, heappush
from math import isfinite, isqrt, lcm

from cubie.systems.symbolic.from_trace import expressions
from cubie.systems.system import System
from cubie.systems.tracing.expression import Graph
from cubie.systems.tracing.nodes import Node, Value, reachable

# Factors, by their serial numbers, in order; none of them are those of a constant.
Term = tuple[int, ...]
Terms = dict[Term, Fraction]
Total = dict[int, float]  # state -> weight

# A product of sums that would have more terms than this is a term itself.
MOST_TERMS = 64
# Elimination ends behind so many operations, about three seconds, with the totals found by then.
MOST_OPERATIONS = 2_000_000
# Eliminated modulo this prime numbers stay as long as it is; as fractions they would grow with each
# row. Weights of larger numerators and denominators than it tells apart are not found.
PRIME = 2**521 - 1
_LARGEST = isqrt(PRIME // 2)
# Nor are those whose common denominator has more bits.
MOST_BITS = 4096


@lru_cache(maxsize=64)
def conserved_totals(system: System) -> tuple[Total, ...]:
    """Return weights of independent totals that the equations keep; none where they are not known.

    Parameters
    ----------
    system : System
        With a mass matrix, or untraced, its totals are not known.
    """
    if system.kind != "traced" or system.mass is not None:
        return ()
    graph = Graph()
    graph.keeps_products = True  # a row of a dense matrix is one term
    _, derivatives = expressions(system, graph)
    return tuple(
        {state: float(weight) for state, weight in total.items()}
        for total in _cancelling(_Sums(derivatives))
    )


class _Sums:
    """Expressions as sums of products of what is neither a sum nor a product."""

    def __init__(self, outputs: Sequence[Value]):
        self.outputs = outputs
        # The factors of products, as sums; None for those of too many terms.
        self.known: dict[int, Terms | None] = {}
        self.n_operations = 0
        nodes = reachable(outputs)
        within = _within_products(nodes)
        for node in nodes:
            if node.serial in within:
                self.known[node.serial] = self._factor(node)

    def row(self, output: Value) -> Terms | None:
        """Return the terms of an output; None where a number in it is not finite.

        Nodes are looked at before their operands. A sum of n terms is n nodes: none of them keeps
        what is below it.
        """
        row: Terms = {}
        factors: dict[int, Fraction] = {}
        waiting: list[tuple[int, Node]] = []

        def add(value: Value, factor: Fraction) -> bool:
            if not isinstance(value, Node):
                if isfinite(value):
                    _add_to(row, {(): Fraction(value)}, factor)
                return isfinite(value)
            if value.serial not in factors:
                factors[value.serial] = Fraction(0)
                heappush(waiting, (-value.serial, value))
            factors[value.serial] += factor
            return True

        finite = add(output, Fraction(1))
        while waiting and finite:
            node = heappop(waiting)[1]
            self.n_operations += 1
            factor, parts = factors[node.serial], _summands(node)
            if parts is None:
                _add_to(row, self._product(node), factor)
                continue
            finite = all(add(part, factor * weight) for part, weight in parts)
        return row if finite else None

    def _product(self, node: Node) -> Terms:
        """Return the terms of what is no sum: of a product, where they are few; else itself."""
        itself: Terms = {(node.serial,): Fraction(1)}
        a, b = node.operands if node.op == "*" else (None, None)
        if not isinstance(a, Node) or not isinstance(b, Node):
            return itself
        first, second = self.known[a.serial], self.known[b.serial]
        if first is None or second is None or len(first) * len(second) > MOST_TERMS:
            return itself
        product: Terms = {}
        for one, factor in first.items():
            for other, more in second.items():
                _add_to(product, {tuple(sorted(one + other)): more}, factor)
        return product

    def _factor(self, node: Node) -> Terms | None:
        """Return the terms of a factor, or of a part of it; None where they are too many."""
        parts = _summands(node)
        if parts is None:
            return self._product(node)
        found: Terms = {}
        for part, weight in parts:
            if not isinstance(part, Node):
                if not isfinite(part):
                    return None
                _add_to(found, {(): Fraction(part)}, weight)
                continue
            terms = self.known[part.serial]
            if terms is None:
                return None
            _add_to(found, terms, weight)
        return found if len(found) <= MOST_TERMS else None


def _within_products(nodes: Sequence[Node]) -> set[int]:
    """Return the serial numbers of the factors of products, and of what these are sums of."""
    within: set[int] = set()
    for node in reversed(nodes):
        parts = _summands(node)
        if parts is None:
            below = node.operands if node.op == "*" else ()
        else:
            below = [part for part, _ in parts] if node.serial in within else ()
        within.update(a.serial for a in below if isinstance(a, Node))
    return within


def _summands(node: Node) -> list[tuple[Value, Fraction]] | None:
    """Return what a node is a sum of, with the factor of each; None where it is none.

    A product with a constant, or divided by one, is a sum of one.
    """
    one = Fraction(1)
    if node.op in ("+", "-"):
        a, b = node.operands
        return [(a, one), (b, one if node.op == "+" else -one)]
    if node.op == "neg":
        return [(node.operands[0], -one)]
    if node.op in ("*", "/"):
        a, b = node.operands
        if node.op == "*" and isinstance(b, Node):
            a, b = b, a
        if not isinstance(b, Node) and isfinite(b) and (b or node.op == "*"):
            return [(a, Fraction(b) if node.op == "*" else one / Fraction(b))]
    return None


def _add_to(row: dict, other: dict, factor: Fraction) -> None:
    """Add ``factor * other``; what is zero then is left out."""
    for key, value in other.items():
        total = row.get(key, 0) + factor * value
        if total:
            row[key] = total
        else:
            row.pop(key, None)


def _cancelling(sums: _Sums) -> Iterator[dict[int, Fraction]]:
    """Yield the combinations of outputs that are zero, by Gaussian elimination modulo a prime.

    The weights that it finds are made fractions again, and proven.
    """
    numbers: dict[Term, int] = {}
    pivots: dict[int, tuple[dict[int, int], dict[int, int]]] = {}
    rows: list[Terms | None] = []
    n_operations = 0
    for number, output in enumerate(sums.outputs):
        if n_operations + sums.n_operations > MOST_OPERATIONS:
            return
        terms = sums.row(output)
        rows.append(terms)
        if terms is None:
            continue
        left = {numbers.setdefault(term, len(numbers)): _residue(terms[term]) for term in terms}
        weights = {number: 1}
        while left and n_operations < MOST_OPERATIONS:
            term = min(left)
            if term not in pivots:
                scale = pow(left[term], -1, PRIME)
                pivots[term] = _times(left, scale), _times(weights, scale)
                break
            factor, (pivot, of_pivot) = left[term], pivots[term]
            left = _without(left, pivot, factor)
            weights = _without(weights, of_pivot, factor)
            n_operations += len(left) + len(weights)
        if not left:
            found = {row: _fraction(weight) for row, weight in weights.items()}
            if _cancel(found, rows):
                yield found


def _residue(value: Fraction) -> int:
    return value.numerator * pow(value.denominator, -1, PRIME) % PRIME


def _times(row: dict[int, int], factor: int) -> dict[int, int]:
    return {key: value * factor % PRIME for key, value in row.items()}


def _without(row: dict[int, int], other: dict[int, int], factor: int) -> dict[int, int]:
    """Return ``row - factor * other``, of what is not zero."""
    found = dict(row)
    for key, value in other.items():
        rest = (found.get(key, 0) - factor * value) % PRIME
        if rest:
            found[key] = rest
        else:
            del found[key]
    return found


def _fraction(residue: int) -> Fraction:
    """Return the fraction of a residue whose numerator and denominator are small.

    By Euclid's algorithm (Wang, 1981).
    """
    before, now = (PRIME, 0), (residue, 1)
    while now[0] > _LARGEST:
        quotient = before[0] // now[0]
        before, now = now, (before[0] - quotient * now[0], before[1] - quotient * now[1])
    return Fraction(now[0], now[1])


def _cancel(weights: dict[int, Fraction], rows: Sequence[Terms | None]) -> bool:
    """Tell whether rows with these weights are zero together."""
    common = 1
    for weight in weights.values():
        common = lcm(common, weight.denominator)
        if common.bit_length() > MOST_BITS:
            return False
    total: Terms = {}
    for row, weight in weights.items():
        _add_to(total, rows[row] or {}, weight * common)
    return not total
