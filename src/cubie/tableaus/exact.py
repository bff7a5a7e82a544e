"""Coefficients as exact rational numbers.

Published tableaus give fractions ("-56/15"), decimals of sixteen to eighty
digits, or closed forms with a square root. All of them become
`fractions.Fraction`, so that a sum of coefficients is checked without rounding
of our own; the float a kernel uses is rounded once, at the end.
"""

import math
from collections.abc import Sequence
from fractions import Fraction

Exact = Fraction
Vector = tuple[Fraction, ...]
Matrix = tuple[Vector, ...]
Number = str | int | float | Fraction

# Decimal digits kept of an irrational coefficient. Far beyond double precision, so that
# order conditions of such tableaus hold to 1e-50 and a wrong formula cannot hide in rounding.
DIGITS = 60
_UNIT = 10**DIGITS


def exact(value: Number) -> Fraction:
    """Return `value` without rounding: "1/3", "-0.25e-1", 2, a Fraction, or a float's own value."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Fraction):
        raise TypeError(
            f"a coefficient must be text such as '-56/15' or '0.25', an int, a Fraction or a "
            f"float, not {value!r} of type {type(value).__name__}"
        )
    try:
        return Fraction(value)
    except (ValueError, OverflowError, ZeroDivisionError):
        raise ValueError(
            f"{value!r} is not a finite number; write a coefficient as '-56/15', '0.25' or '1e-3'"
        ) from None


def vector(values: Sequence[Number] | str) -> Vector:
    """Return exact values from a sequence, or from one text with blanks between the numbers."""
    return tuple(exact(value) for value in (values.split() if isinstance(values, str) else values))


def matrix(rows: Sequence[Sequence[Number] | str]) -> Matrix:
    """Return exact rows."""
    return tuple(vector(row) for row in rows)


def lower(rows: Sequence[Sequence[Number] | str]) -> Matrix:
    """Return the square matrix whose rows are given up to their last stored entry.

    Row ``i`` may be shorter than the number of rows; what is missing on the
    right is zero.
    """
    size = len(rows)
    return tuple(
        row + (Fraction(0),) * (size - len(row)) for row in (vector(given) for given in rows)
    )


def square_root(value: Number) -> Fraction:
    """Return the square root of a non-negative rational, to `DIGITS` decimals."""
    radicand = exact(value)
    scaled = radicand.numerator * _UNIT * _UNIT // radicand.denominator
    return Fraction(math.isqrt(scaled), _UNIT)


def polynomial_value(coefficients: Sequence[Fraction], x: Fraction) -> Fraction:
    """Evaluate a polynomial given from its constant term upwards (Horner)."""
    value = Fraction(0)
    for coefficient in reversed(coefficients):
        value = value * x + coefficient
    return value


def polynomial_root(coefficients: Sequence[Fraction], guess: float) -> Fraction:
    """Return the simple root nearest to `guess`, to `DIGITS` decimals, by Newton's iteration.

    `guess` must already lie where Newton's iteration converges; the caller knows
    its polynomial, and a root that does not settle is an error.
    """
    slopes = [k * coefficient for k, coefficient in enumerate(coefficients)][1:]
    root = Fraction(guess)
    for _ in range(60):
        step = polynomial_value(coefficients, root) / polynomial_value(slopes, root)
        # Rounding every iterate keeps the fractions short; the exact quotient doubles in length.
        root = Fraction(round((root - step) * _UNIT), _UNIT)
        if abs(step) * _UNIT < 1:
            return root
    raise ArithmeticError(f"Newton's iteration from {guess} found no root of {coefficients}")


def solve(rows: Matrix, right: Matrix) -> Matrix:
    """Solve a small dense linear system with several right sides (columns), exactly."""
    size = len(rows)
    work = [[*row, *values] for row, values in zip(rows, right, strict=True)]
    for column in range(size):
        pivot = next((i for i in range(column, size) if work[i][column]), None)
        if pivot is None:
            raise ArithmeticError("the coefficient matrix is singular")
        work[column], work[pivot] = work[pivot], work[column]
        scale = work[column][column]
        work[column] = [x / scale for x in work[column]]
        for i in range(size):
            if i != column and work[i][column]:
                factor = work[i][column]
                work[i] = [
                    x - factor * y if y else x for x, y in zip(work[i], work[column], strict=True)
                ]
    return tuple(tuple(row[size:]) for row in work)


def identity(size: int) -> Matrix:
    """Return the unit matrix."""
    return tuple(tuple(Fraction(i == j) for j in range(size)) for i in range(size))


def transpose(rows: Matrix) -> Matrix:
    """Return the transposed matrix."""
    return tuple(zip(*rows, strict=True))


def inverse(rows: Matrix) -> Matrix:
    """Invert a small matrix in exact arithmetic."""
    return solve(rows, identity(len(rows)))


def product(left: Matrix, right: Matrix) -> Matrix:
    """Multiply two matrices."""
    columns = transpose(right)
    return tuple(
        tuple(
            sum((x * y for x, y in zip(row, column, strict=True)), Fraction(0))
            for column in columns
        )
        for row in left
    )


def floats(values: Vector) -> tuple[float, ...]:
    """Round exact values to the nearest double."""
    return tuple(float(value) for value in values)


def float_rows(rows: Matrix) -> tuple[tuple[float, ...], ...]:
    """Round exact rows to the nearest doubles."""
    return tuple(floats(row) for row in rows)


def difference(first: Vector, second: Vector) -> Vector:
    """Return ``first - second``, entry by entry."""
    return tuple(x - y for x, y in zip(first, second, strict=True))


def polynomial_product(*factors: Vector) -> Vector:
    """Multiply polynomials, each given from its constant term upwards."""
    product = (Fraction(1),)
    for factor in factors:
        degree = len(product) + len(factor) - 1
        product = tuple(
            sum(
                (
                    product[i] * factor[k - i]
                    for i in range(len(product))
                    if 0 <= k - i < len(factor)
                ),
                Fraction(0),
            )
            for k in range(degree)
        )
    return product
