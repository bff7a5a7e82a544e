"""Polynomials inside a step in Newton's form, which rounding does not harm.

By powers of theta the weights of stages can be a thousand times larger than what they add up to,
and in float32 three digits are gone (dop853). In Newton's form,
``c[0] + (theta - x[1]) * (c[1] + (theta - x[2]) * (...))``, over Leja's points what is lost is
hardly more than in the step itself, and it takes as many operations (Reichel, BIT 30, 1990,
p. 332).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from typing import NamedTuple

# Weights of slopes that are smaller are rounded zeros.
ROUNDED_ZERO = 1e-13

# Leja's points are looked for among so many parts of the step.
PARTS = 1024


@cache
def leja_points(n: int) -> tuple[float, ...]:
    """Return n points of a step, its ends first, each as far from those before as can be.

    Far is by the product of distances. They are multiples of a power of two, the same everywhere.
    """
    points: list[Fraction] = [Fraction(0), Fraction(1)][:n]
    candidates = [Fraction(k, PARTS) for k in range(PARTS + 1)]
    while len(points) < n:
        points.append(max(candidates, key=lambda x: _distance(x, points)))
    return tuple(map(float, points))


def _distance(x: Fraction, points: Sequence[Fraction]) -> Fraction:
    product = Fraction(1)
    for point in points:
        product *= abs(x - point)
    return product


def nested(powers: Sequence[float]) -> tuple[float, ...]:
    """Return c of a polynomial without a constant, ``sum(powers[k] * theta**(k + 1))``.

    It is ``theta * (c[0] + (theta - x[1]) * (c[1] + ...))`` with x of `leja_points`, of which the
    first is 0.
    """
    rest = [Fraction(p) for p in powers]
    found = []
    for x in leja_points(len(rest) + 1)[1:]:
        # Horner's scheme divides by theta - x; the remainder is the value there.
        divided = [Fraction(0)] * len(rest)
        total = Fraction(0)
        for k in reversed(range(len(rest))):
            divided[k] = total
            total = total * Fraction(x) + rest[k]
        found.append(float(total))
        rest = divided[: len(rest) - 1]
    return tuple(found)


Weights = tuple[float, ...]


class Slopes(NamedTuple):
    """How two coefficients, the second and the third, follow from the others and two slopes.

    With the slopes at the start and at the end, by the part of the step,
    ``c[2] = (start - c[0]) + (end - c[0]) + sum(third[m] * c[m + 3])`` and
    ``c[1] = (c[0] - start) + sum(second[m] * c[m + 2])``.
    """

    start: Weights  # of stages
    end: Weights
    second: Weights
    third: Weights


def slopes_of(weights: Sequence[Sequence[float]]) -> Slopes | None:
    """Return the slopes of a polynomial of stages' `weights`, by powers, where that is cheaper.

    As where they are stages themselves, those of the first and of the last one.
    """
    degree = len(weights[0])
    if degree < 3:
        return None
    start = tuple(_cleaned(row[0]) for row in weights)
    end = tuple(_cleaned(sum((k + 1) * p for k, p in enumerate(row))) for row in weights)
    rows = [nested(row) for row in weights]
    of_sums = sum(row[1] != 0 for row in rows) + sum(row[2] != 0 for row in rows)
    of_slopes = sum(w != 0 for w in (*start, *end)) + 2 * (degree - 3) + 4
    return Slopes(start, end, *from_slopes_at_ends(degree)) if of_slopes < of_sums else None


def _cleaned(weight: float) -> float:
    return weight if abs(weight) > ROUNDED_ZERO else 0.0


def from_slopes_at_ends(degree: int) -> tuple[Weights, Weights]:
    """Return the weights of `Slopes`, from the slopes of the nested form at 0 and 1."""
    x = [Fraction(point) for point in leja_points(degree + 1)]
    at_start, at_end = x[2] * x[3], (1 - x[2]) * (1 - x[3])
    second, third = [x[2]], []
    for m in range(3, degree):
        third.append(at_start - at_end)
        second.append(-at_start)
        at_start, at_end = -at_start * x[m + 1], at_end * (1 - x[m + 1])
    return tuple(map(float, second)), tuple(map(float, third))
