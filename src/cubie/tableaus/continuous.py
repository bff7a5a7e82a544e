"""Interpolants of methods whose authors printed none: continuous extensions of least error.

The solution inside a step is ``y + h sum(b_i(theta) k_i)`` (Hairer, Norsett & Wanner I, II.6). The
weights are polynomials that fulfil the order conditions of all rooted trees up to the highest
order that the stages allow; what freedom they leave makes the error terms of the next order as
small as they can be, in the least-squares sense, for every theta.

Sums are Python's own: the same numbers come out on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

from attrs import frozen

Vector = list[float]
Rows = Sequence[Sequence[float]]

# What is left of a vector, relative to it, where it depends on others. Tables have 16 digits.
DEPENDENT = 1e-9
# How far a condition may be missed.
MISSED = 1e-10
# Of a sum, relative to its parts.
ROUNDING = 1e-14
# Of coefficients, in units of errors: see `_LeastError`.
PRICE = 1e-3


@frozen
class Interpolant:
    """Weights of stages inside a step.

    Attributes
    ----------
    weights : (n_stages,) rows of numbers
        Row i holds ``p[1], p[2], ...`` of ``b_i(theta) = sum(p[k] * theta**k)``.
    order : int
        The error inside a step shrinks as ``h**(order + 1)``.
    """

    weights: tuple[tuple[float, ...], ...]
    order: int

    @property
    def degree(self) -> int:
        """Of the polynomials."""
        return len(self.weights[0])

    def values_at(self, theta: float) -> tuple[float, ...]:
        """Return the stages' weights in the solution at ``t + theta*h``."""
        return tuple(_value(row, theta) for row in self.weights)

    def slopes_at(self, theta: float) -> tuple[float, ...]:
        """Return their derivatives by theta."""
        return tuple(_slope(row, theta) for row in self.weights)


def _value(row: Sequence[float], theta: float) -> float:
    total = 0.0
    for p in reversed(row):
        total = (total + p) * theta
    return _unless_rounding(total, row)


def _slope(row: Sequence[float], theta: float) -> float:
    total = 0.0
    for k in range(len(row), 0, -1):
        total = total * theta + k * row[k - 1]
    return _unless_rounding(total, [k * p for k, p in enumerate(row, 1)])


def _unless_rounding(total: float, parts: Sequence[float]) -> float:
    """Return a sum, zero where it is what rounding left of its parts: such a stage is not read."""
    return 0.0 if abs(total) <= ROUNDING * sum(map(abs, parts)) else total


# ---- rooted trees ----------------------------------------------------------------

Tree = tuple


@cache
def trees(order: int) -> tuple[Tree, ...]:
    """Return the rooted trees of `order` vertices; a tree is the tuple of its root's subtrees."""
    return tuple(_forests(order - 1, order - 1))


def _forests(vertices: int, largest: int) -> Iterator[Tree]:
    if vertices == 0:
        yield ()
        return
    for size in range(min(vertices, largest), 0, -1):
        for at, tree in enumerate(trees(size)):
            for rest in _forests(vertices - size, size):
                # Of one size they come in their listed order: no multiset comes twice.
                if not rest or _size(rest[0]) < size or trees(size).index(rest[0]) >= at:
                    yield (tree, *rest)


@cache
def _size(tree: Tree) -> int:
    return 1 + sum(map(_size, tree))


@cache
def _density(tree: Tree) -> int:
    product = _size(tree)
    for child in tree:
        product *= _density(child)
    return product


class _ElementaryWeights:
    """The vectors whose products with b are the elementary weights of trees.

    `chain` are the stage weights where a vertex has one child, `branch` elsewhere: they differ for
    Rosenbrock methods (Hairer & Wanner II, IV.7).
    """

    def __init__(self, branch: Rows, chain: Rows):
        self.branch, self.chain = branch, chain
        self._known: dict[Tree, Vector] = {}

    def of(self, tree: Tree) -> Vector:
        if tree not in self._known:
            rows = self.chain if len(tree) == 1 else self.branch
            weights = [1.0] * len(rows)
            for child in tree:
                inner = self.of(child)
                weights = [w * _dot(row, inner) for w, row in zip(weights, rows, strict=True)]
            self._known[tree] = weights
        return self._known[tree]


# ---- linear algebra of a few small vectors -----------------------------------------


def _dot(left: Sequence[float], right: Sequence[float]) -> float:
    total = 0.0
    for x, y in zip(left, right, strict=True):
        total += x * y
    return total


def _add(left: Sequence[float], factor: float, right: Sequence[float]) -> Vector:
    return [x + factor * y for x, y in zip(left, right, strict=True)]


def _scaled(vector: Sequence[float], factor: float) -> Vector:
    return [factor * x for x in vector]


class _Basis:
    """An orthonormal basis, grown by what is independent of it (Gram-Schmidt, twice)."""

    def __init__(self) -> None:
        self.vectors: list[Vector] = []

    def parts(self, vector: Sequence[float]) -> tuple[Vector, Vector]:
        """Return the coordinates in the basis, and what is left."""
        coordinates, rest = [0.0] * len(self.vectors), list(vector)
        for _ in range(2):
            for i, q in enumerate(self.vectors):
                part = _dot(q, rest)
                coordinates[i] += part
                rest = _add(rest, -part, q)
        return coordinates, rest

    def grow(self, vector: Sequence[float]) -> tuple[Vector, float]:
        """Add a vector; return its coordinates, and its length along a new direction or zero."""
        coordinates, rest = self.parts(vector)
        length = _dot(rest, rest) ** 0.5
        if length <= DEPENDENT * (_dot(vector, vector) ** 0.5 or 1.0):
            return coordinates, 0.0
        self.vectors.append(_scaled(rest, 1.0 / length))
        return coordinates, length


class _Conditions:
    """The order conditions on one power of theta, as equations for the stages' coefficients."""

    def __init__(self, n_stages: int):
        self.basis, self.n_stages = _Basis(), n_stages
        self._equations: list[tuple[Vector, float, Vector]] = []

    def hold(self, vector: Sequence[float], targets: Vector) -> bool:
        """Add an equation with a right side for each power; tell whether it can hold."""
        coordinates, length = self.basis.grow(vector)
        if length:
            self._equations.append((coordinates, length, targets))
            return True
        size = 1.0 + max(map(abs, vector))
        made = (_dot(coordinates, self._coordinates(k)) for k in range(len(targets)))
        return all(
            abs(m - target) <= MISSED * size for m, target in zip(made, targets, strict=True)
        )

    def _coordinates(self, power: int) -> Vector:
        """Solve the equations, which are triangular in the basis."""
        found: Vector = []
        for coordinates, length, targets in self._equations:
            found.append((targets[power] - _dot(coordinates, found)) / length)
        return found

    def particular(self, power: int) -> Vector:
        """Return the smallest coefficients that fulfil them."""
        total = [0.0] * self.n_stages
        for x, q in zip(self._coordinates(power), self.basis.vectors, strict=True):
            total = _add(total, x, q)
        return total

    def free_directions(self) -> list[Vector]:
        """Return a basis of what they leave open."""
        basis, first = _Basis(), len(self.basis.vectors)
        basis.vectors = list(self.basis.vectors)
        for i in range(self.n_stages):
            basis.grow([float(i == j) for j in range(self.n_stages)])
        return basis.vectors[first:]


# ---- the extension ---------------------------------------------------------------


def continuous_extension(branch: Rows, chain: Rows, b: Sequence[float], order: int) -> Interpolant:
    """Return an interpolant of the highest order that the stages of a method allow.

    Parameters
    ----------
    branch, chain : (s, s) rows of numbers
        Stage weights where a vertex of a tree has several children, and where it has one: both
        ``a`` of a Runge-Kutta method, ``alpha`` and ``alpha + Gamma`` of a Rosenbrock method.
    b : (s,) numbers
        Weights of the solution at the end of the step, which the interpolant meets.
    order : int
        Of the solution: no interpolant has more.
    """
    weights = _ElementaryWeights(branch, chain)
    best = _extension(weights, b, 1)
    assert best is not None  # a straight line
    for q in range(2, order + 1):
        found = _extension(weights, b, q)
        if found is None:
            break
        best = found
    return best


def _extension(weights: _ElementaryWeights, b: Sequence[float], q: int) -> Interpolant | None:
    """Return the extension of order `q` with the least error, None if there is none."""
    powers, stages = q + 1, len(b)
    conditions = _Conditions(stages)
    for size in range(1, q + 1):
        for tree in trees(size):
            targets = [1.0 / _density(tree) if k == size else 0.0 for k in range(1, powers + 1)]
            if not conditions.hold(weights.of(tree), targets):
                return None
    columns = [conditions.particular(k) for k in range(powers)]
    least = _LeastError(weights, conditions.free_directions(), q)
    columns = [least.improved(column, k + 1) for k, column in enumerate(columns)]
    # At the end of the step it is the method's own solution: what is missing there, which no
    # condition sees, comes in smoothly.
    missing = list(b)
    for column in columns:
        missing = _add(missing, -1.0, column)
    for power, share in ((2, 3.0), (3, -2.0)) if powers >= 3 else ((1, 1.0),):
        columns[power - 1] = _add(columns[power - 1], share, missing)
    rows = tuple(tuple(column[i] for column in columns) for i in range(stages))
    return Interpolant(rows, q)


class _LeastError:
    """Chooses the free part of coefficients so that errors of order q + 1 are small.

    Least are the squares of the errors, and of `PRICE` times the coefficients: large ones would
    lose digits to each other.
    """

    def __init__(self, weights: _ElementaryWeights, free: list[Vector], q: int):
        self.free, self.power = free, q + 1
        self.trees = [(weights.of(tree), 1.0 / _density(tree)) for tree in trees(q + 1)]
        self.basis = _Basis()
        self.triangle = []
        for i, direction in enumerate(free):
            errors = [_dot(vector, direction) for vector, _ in self.trees]
            price = [PRICE * float(i == j) for j in range(len(free))]
            self.triangle.append(self.basis.grow([*errors, *price]))

    def improved(self, column: Vector, power: int) -> Vector:
        """Return the coefficients of one power of theta with their free part chosen."""
        errors = [
            (target if power == self.power else 0.0) - _dot(vector, column)
            for vector, target in self.trees
        ]
        coordinates, _ = self.basis.parts([*errors, *[0.0] * len(self.free)])
        found = [0.0] * len(self.free)
        for i in reversed(range(len(self.free))):
            later = sum(self.triangle[j][0][i] * found[j] for j in range(i + 1, len(self.free)))
            found[i] = (coordinates[i] - later) / self.triangle[i][1]
            column = _add(column, found[i], self.free[i])
        return column
