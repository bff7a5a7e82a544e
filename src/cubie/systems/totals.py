"""Totals that equations keep: weighted sums of states whose derivatives cancel, term by term.

A total is found where the derivatives of states are sums of the same terms, as those of species
that reactions turn into each other are. What cancels for another reason is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from math import isfinite

from cubie.systems.symbolic.from_trace import expressions
from cubie.systems.system import System
from cubie.systems.tracing.nodes import Node, Value, reachable

# Factors, by their serial numbers, in order; none of them are those of a constant.
Term = tuple[int, ...]
Terms = dict[Term, Fraction]
Total = dict[int, float]  # state -> weight

# A product of sums that would have more terms than this is a term itself.
MOST_TERMS = 64
# Elimination ends behind so many operations, about three seconds, with the totals found by then.
MOST_OPERATIONS = 2_000_000


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
    _, derivatives = expressions(system)
    rows = _Sums(derivatives).rows()
    return tuple(
        {state: float(weight) for state, weight in total.items()} for total in _cancelling(rows)
    )


class _Sums:
    """Expressions as sums of products of what is neither a sum nor a product."""

    def __init__(self, outputs: Sequence[Value]):
        self.outputs, self.known = outputs, {}

    def rows(self) -> list[Terms | None]:
        """Return the terms of each output; None where a number in it is not finite."""
        for node in reachable(self.outputs):
            self.known[node.serial] = self._terms(node)
        return [self._of(output) for output in self.outputs]

    def _of(self, value: Value) -> Terms | None:
        if isinstance(value, Node):
            return self.known[value.serial]
        if not isfinite(value):
            return None
        return {(): Fraction(value)} if value else {}

    def _terms(self, node: Node) -> Terms | None:
        itself: Terms = {(node.serial,): Fraction(1)}
        if node.op not in _COMBINED:
            return itself
        parts = [self._of(a) for a in node.operands]
        if any(part is None for part in parts):
            return itself
        made = _COMBINED[node.op](*parts)
        return itself if made is None else made


def _added(a: Terms, b: Terms, sign: int = 1) -> Terms | None:
    total = dict(a)
    for term, factor in b.items():
        total[term] = total.get(term, Fraction(0)) + sign * factor
        if not total[term]:
            del total[term]
    return total


def _multiplied(a: Terms, b: Terms) -> Terms | None:
    if len(a) * len(b) > MOST_TERMS:
        return None
    product: Terms = {}
    for one, factor in a.items():
        for other, more in b.items():
            term = tuple(sorted(one + other))
            product[term] = product.get(term, Fraction(0)) + factor * more
    return {term: factor for term, factor in product.items() if factor}


def _divided(a: Terms, b: Terms) -> Terms | None:
    """Divide by a constant; what else is divided by is no part of a sum."""
    if [*b] != [()]:
        return None
    return {term: factor / b[()] for term, factor in a.items()}


_COMBINED = {
    "+": _added,
    "-": lambda a, b: _added(a, b, -1),
    "*": _multiplied,
    "/": _divided,
    "neg": lambda a: _added({}, a, -1),
}


def _cancelling(rows: Sequence[Terms | None]) -> Iterator[dict[int, Fraction]]:
    """Yield the combinations of rows that are zero, by Gaussian elimination without rounding."""
    pivots: dict[Term, tuple[Terms, dict[int, Fraction]]] = {}
    n_operations = 0
    for number, terms in enumerate(rows):
        if terms is None:
            continue
        left, weights = dict(terms), {number: Fraction(1)}
        while left and n_operations < MOST_OPERATIONS:
            term = min(left)
            if term not in pivots:
                pivots[term] = left, weights
                break
            pivot, of_pivot = pivots[term]
            factor = left[term] / pivot[term]
            left = _without(left, pivot, factor)
            weights = _without(weights, of_pivot, factor)
            n_operations += len(left) + len(weights)
        if not left:
            yield weights


def _without(row: dict, other: dict, factor: Fraction) -> dict:
    """Return ``row - factor * other``, of what is not zero."""
    found = dict(row)
    for key, value in other.items():
        rest = found.get(key, 0) - factor * value
        if rest:
            found[key] = rest
        else:
            del found[key]
    return found
