"""Explicit methods in 2N storage: a step is made in two vectors (Williamson, 1980, eq. 5).

One holds the argument of the next stage, and the solution at the end; the other a sum of the
derivatives so far:

    sum = factors[i] * sum + f(t + c[i] * h, argument)
    argument = argument + h * weights[i] * sum

Of most tableaus there is no such form; where there is one, it follows from `a` and `b`.
"""

from fractions import Fraction

from attrs import frozen

from cubie.tableaus.exact import Matrix, Vector, floats

# Tables in the literature carry at least sixteen digits; fractions close exactly.
TOLERANCE = Fraction(1, 10**14)


@frozen
class TwoRegisters:
    """A method's coefficients in 2N storage.

    Attributes
    ----------
    factors : (n_stages,) numbers
        Of the sum, before a stage's derivative is added; zero at the first stage.
    weights : (n_stages,) numbers
        Of the sum in the next argument, without the step size; none is zero.
    error_weights : (n_stages,) numbers or None
        The error estimate is ``h`` times the sum of them times the sums after each stage.
    end_weight : number
        And of the derivative at the end of the step; zero where the estimate has none.
    """

    factors: tuple[float, ...]
    weights: tuple[float, ...]
    error_weights: tuple[float, ...] | None
    end_weight: float = 0.0

    @property
    def n_stages(self) -> int:
        """Stages of a step, without the derivative at its end."""
        return len(self.weights)


def butcher_form(factors: Vector, weights: Vector) -> tuple[Matrix, Vector]:
    """Return `a` and `b` of a method that is given in 2N storage."""
    n = len(factors)
    argument, total = [Fraction(0)] * n, [Fraction(0)] * n
    rows = []
    for i, (factor, weight) in enumerate(zip(factors, weights, strict=True)):
        rows.append(tuple(argument))
        total = [factor * x for x in total]
        total[i] = Fraction(1)
        argument = [x + weight * y for x, y in zip(argument, total, strict=True)]
    return tuple(rows), tuple(argument)


def two_registers(
    a: Matrix, b: Vector, error_weights: Vector | None, fsal: bool = False
) -> TwoRegisters | None:
    """Return a method in 2N storage, None where it has no such form.

    Parameters
    ----------
    a : (n_stages,) rows of (n_stages,) fractions
        Strictly lower triangular.
    b : (n_stages,) fractions
    error_weights : (n_stages,) fractions or None
    fsal : bool
        The last stage is at the end of the step, and no part of the solution.
    """
    n = len(b) - int(fsal)
    a, b = tuple(row[:n] for row in a[:n]), b[:n]
    rows = (*a[1:], b)
    weights = tuple(row[i] for i, row in enumerate(rows))
    if not all(weights):
        return None
    later = ((rows[i][i - 1] - a[i][i - 1]) / weights[i] for i in range(1, n))
    factors = (Fraction(0), *later)
    made_a, made_b = butcher_form(factors, weights)
    if not all(map(_is_same, (*made_a, made_b), (*a, b))):
        return None
    if error_weights is None:
        return TwoRegisters(floats(factors), floats(weights), None)
    # A derivative is its sum without `factor` times the one before.
    of_next = [e * f for e, f in zip(error_weights[1:n], factors[1:], strict=True)]
    of_sums = [e - x for e, x in zip(error_weights, [*of_next, 0], strict=False)]
    at_end = [float(e) for e in error_weights[n:]]
    return TwoRegisters(floats(factors), floats(weights), floats(tuple(of_sums)), *at_end)


def _is_same(one: Vector, other: Vector) -> bool:
    size = sum(map(abs, other), Fraction(1))
    return all(abs(x - y) <= TOLERANCE * size for x, y in zip(one, other, strict=True))
