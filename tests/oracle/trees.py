"""Order conditions by rooted trees (Hairer, Norsett & Wanner I, II.2; H&W II, IV.7).

A tree is the tuple of its root's subtrees, so the single vertex is ``()``.
Everything is evaluated in mpmath, far beyond the digits of any table, so that
what remains is the table's own error.
"""

from collections.abc import Sequence
from functools import cache

from mpmath import mp, mpf

DIGITS = 70

Tree = tuple


@cache
def trees(order: int) -> tuple[Tree, ...]:
    """All rooted trees with `order` vertices: 1, 1, 2, 4, 9, 20, 48, 115, ..."""
    return tuple(tuple(forest) for forest in _forests(order - 1, order - 1))


def _forests(vertices: int, largest: int):
    """Yield every multiset of trees with `vertices` in total, none above `largest`."""
    if vertices == 0:
        yield []
        return
    for size in range(min(vertices, largest), 0, -1):
        for tree in trees(size):
            for rest in _forests(vertices - size, size):
                # Trees of one size are taken in their listed order, so that no multiset repeats.
                if not rest or _rank(rest[0]) <= _rank(tree):
                    yield [tree, *rest]


def _rank(tree: Tree) -> tuple[int, int]:
    size = vertices_of(tree)
    return size, -trees(size).index(tree)


@cache
def vertices_of(tree: Tree) -> int:
    """Number of vertices."""
    return 1 + sum(vertices_of(child) for child in tree)


@cache
def density(tree: Tree) -> int:
    """The tree's gamma: the product of the sizes of all its subtrees."""
    product = vertices_of(tree)
    for child in tree:
        product *= density(child)
    return product


def trees_up_to(order: int) -> tuple[Tree, ...]:
    """All rooted trees with at most `order` vertices."""
    return tuple(tree for size in range(1, order + 1) for tree in trees(size))


class StageWeights:
    """Elementary weights of a method's stages, one vector per tree.

    Parameters
    ----------
    branch : (s, s) rows of rationals
        Stage weights where a vertex has several children: ``a`` of a
        Runge-Kutta method, ``alpha`` of a Rosenbrock method.
    chain : (s, s) rows of rationals, optional
        Stage weights where a vertex has one child: ``alpha + gamma`` of a
        Rosenbrock method with the exact Jacobian (H&W II, IV.7, eq. 7.11).
    """

    def __init__(self, branch: Sequence, chain: Sequence | None = None) -> None:
        with mp.workdps(DIGITS):
            self._branch = [[to_mpf(x) for x in row] for row in branch]
            self._chain = (
                self._branch if chain is None else [[to_mpf(x) for x in row] for row in chain]
            )
        self._known: dict[Tree, list] = {}

    def of(self, tree: Tree) -> list:
        """Return the vector whose dot product with b is the tree's elementary weight."""
        if tree not in self._known:
            self._known[tree] = self._evaluate(tree)
        return self._known[tree]

    def _evaluate(self, tree: Tree) -> list:
        rows = self._chain if len(tree) == 1 else self._branch
        with mp.workdps(DIGITS):
            weights = [mpf(1)] * len(rows)
            for child in tree:
                inner = self.of(child)
                weights = [w * mp.fdot(row, inner) for w, row in zip(weights, rows, strict=True)]
        return weights


def to_mpf(value):
    """Convert a Fraction, int or float without rounding below `DIGITS`."""
    return mpf(value.numerator) / value.denominator if hasattr(value, "numerator") else mpf(value)


def residual(weights: StageWeights, b: Sequence, tree: Tree, start_weight=0) -> float:
    """How far ``b`` misses the condition of one tree; `start_weight` is a weight on f(t, y)."""
    with mp.workdps(DIGITS):
        total = mp.fdot([to_mpf(x) for x in b], weights.of(tree))
        # The derivative at the start of the step only sees the tree of one vertex.
        total += to_mpf(start_weight) if tree == () else 0
        return float(total - mpf(1) / density(tree))


def worst_residual(weights: StageWeights, b: Sequence, order: int, start_weight=0) -> float:
    """Largest miss over all trees up to `order`."""
    return max(abs(residual(weights, b, tree, start_weight)) for tree in trees_up_to(order))


def order_of(weights: StageWeights, b: Sequence, tolerance: float, start_weight=0) -> int:
    """The order that the weights reach, by trees, looking no further than nine."""
    for order in range(1, 10):
        misses = (abs(residual(weights, b, tree, start_weight)) for tree in trees(order))
        if max(misses) > tolerance:
            return order - 1
    return 9


def interpolant_residual(weights: StageWeights, interpolant: Sequence, order: int) -> float:
    """Largest miss of b(theta) over all trees up to `order`, as polynomials in theta."""
    worst = 0.0
    degree = max(len(row) for row in interpolant)
    with mp.workdps(DIGITS):
        for tree in trees_up_to(order):
            stage = weights.of(tree)
            for power in range(1, degree + 1):
                column = [to_mpf(row[power - 1]) if power <= len(row) else 0 for row in interpolant]
                wanted = mpf(1) / density(tree) if power == vertices_of(tree) else 0
                worst = max(worst, abs(float(mp.fdot(column, stage) - wanted)))
    return worst


def w_residual(alpha: Sequence, gamma: Sequence, b: Sequence, order: int) -> float:
    """Largest miss of the conditions that hold for any matrix in place of the Jacobian.

    Every vertex with one child stands for f' or for the matrix; trees without the
    matrix want 1/density, all others want zero (Steihaug & Wolfbrandt, Math. Comp. 33
    (1979), 521-534).
    """
    with mp.workdps(DIGITS):
        rows = [[[to_mpf(x) for x in row] for row in rows] for rows in (alpha, gamma)]
        weights = [to_mpf(x) for x in b]
        return max(
            abs(float(mp.fdot(weights, vector) - (0 if matrix else mpf(1) / density(tree))))
            for tree in trees_up_to(order)
            for vector, matrix in _coloured(tree, *rows)
        )


def _coloured(tree: Tree, alpha: list, gamma: list) -> list[tuple[list, bool]]:
    """Every choice of f' or matrix at single-child vertices: (stage weights, matrix used)."""
    if not tree:
        return [([mpf(1)] * len(alpha), False)]
    if len(tree) == 1:
        inner = _coloured(tree[0], alpha, gamma)
        return [([mp.fdot(row, v) for row in alpha], used) for v, used in inner] + [
            ([mp.fdot(row, v) for row in gamma], True) for v, _ in inner
        ]
    combined: list[tuple[list, bool]] = [([mpf(1)] * len(alpha), False)]
    for child in tree:
        combined = [
            ([w * mp.fdot(row, v) for w, row in zip(weights, alpha, strict=True)], used or inner)
            for weights, used in combined
            for v, inner in _coloured(child, alpha, gamma)
        ]
    return combined
