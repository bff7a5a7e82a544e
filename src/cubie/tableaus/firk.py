"""Fully implicit Runge-Kutta methods: collocation at Gauss and Radau points.

Nodes are roots of the shifted polynomials, found to sixty decimals; every other
coefficient follows from them by integration of Lagrange polynomials (H&W IV.5).
H&W = Hairer & Wanner, Solving Ordinary Differential Equations II, 2nd edition.
"""

from fractions import Fraction

import numpy as np

from cubie.tableaus.exact import (
    DIGITS,
    Matrix,
    Vector,
    identity,
    polynomial_product,
    polynomial_root,
    polynomial_value,
    product,
    solve,
    square_root,
    transpose,
)
from cubie.tableaus.kinds import FIRKTableau
from cubie.tableaus.method import Stability

_UNIT = 10**DIGITS


def _derivative(coefficients: Vector, times: int) -> Vector:
    for _ in range(times):
        coefficients = tuple(k * x for k, x in enumerate(coefficients))[1:]
    return coefficients


def _real_roots(coefficients: Vector) -> Vector:
    """Return the roots, all real and simple, in increasing order."""
    guesses = np.roots([float(x) for x in reversed(coefficients)])
    return tuple(sorted(polynomial_root(coefficients, float(guess.real)) for guess in guesses))


def gauss_nodes(stages: int) -> Vector:
    """Return the zeros of the shifted Legendre polynomial (H&W IV.5, eq. 5.1)."""
    factors = [(Fraction(0), Fraction(1))] * stages + [(Fraction(-1), Fraction(1))] * stages
    return _real_roots(_derivative(polynomial_product(*factors), stages))


def radau_nodes(stages: int) -> Vector:
    """Return the nodes of Radau IIA, the last of which is one (H&W IV.5, eq. 5.3)."""
    factors = [(Fraction(0), Fraction(1))] * (stages - 1) + [(Fraction(-1), Fraction(1))] * stages
    return _real_roots(_derivative(polynomial_product(*factors), stages - 1))


def collocation_polynomials(nodes: Vector) -> Matrix:
    """Return p with b_i(theta) = sum(p[i][k] * theta**(k+1)): integrals of Lagrange polynomials.

    ``b_i`` at a node gives the stage weights, at one the weights of the solution.
    """
    size = len(nodes)
    # sum_i l_i(x) nodes[i]^q = x^q for q < s, integrated from 0 to theta.
    powers = tuple(tuple(node**q for node in nodes) for q in range(size))
    integrals = tuple(tuple(Fraction(q == k, q + 1) for k in range(size)) for q in range(size))
    return tuple(_rounded(row) for row in solve(powers, integrals))


def _rounded(values: Vector) -> Vector:
    """Cut numbers to `DIGITS` decimals; nodes carry no more, and quotients would grow without."""
    return tuple(Fraction(round(value * _UNIT), _UNIT) for value in values)


def start_weighted_quadrature(nodes: Vector, start_weight: Fraction) -> Vector:
    """Return weights of order s on the nodes, given the weight at zero (H&W IV.8, eq. 8.18)."""
    size = len(nodes)
    rows = tuple(tuple(node**q for node in nodes) for q in range(size))
    right = [Fraction(1, q + 1) - (start_weight if q == 0 else 0) for q in range(size)]
    return _rounded(transpose(solve(rows, tuple((value,) for value in right)))[0])


def real_eigenvalue(a: Matrix) -> Fraction:
    """Return the one real eigenvalue of a matrix of odd size, by Newton's iteration."""
    values = np.linalg.eigvals(np.array([[float(x) for x in row] for row in a]))
    guess = float(values[np.argmin(abs(values.imag))].real)
    return polynomial_root(characteristic_polynomial(a), guess)


def characteristic_polynomial(a: Matrix) -> Vector:
    """Return det(x - a) from its constant term upwards (Faddeev & LeVerrier)."""
    size = len(a)
    coefficients, work = [Fraction(1)], ((Fraction(0),) * size,) * size
    for k in range(1, size + 1):
        shifted = tuple(
            tuple(x + coefficients[-1] * one for x, one in zip(row, unit, strict=True))
            for row, unit in zip(work, identity(size), strict=True)
        )
        work = tuple(_rounded(row) for row in product(a, shifted))
        coefficients.append(-sum((work[i][i] for i in range(size)), Fraction(0)) / k)
    return tuple(reversed(coefficients))


def _smoothing(a: Matrix) -> Fraction:
    """Return gamma of the error filter: A's real eigenvalue (H&W IV.8).

    With two stages the eigenvalues are a complex pair, and their modulus, the root
    of the determinant, takes its place.
    """
    if len(a) % 2:
        return real_eigenvalue(a)
    if len(a) != 2:
        raise NotImplementedError(f"no error filter is defined for {len(a)} stages")
    return square_root(characteristic_polynomial(a)[0])


def _collocation(nodes: Vector, **facts) -> FIRKTableau:
    """Make the collocation method on these nodes, its interpolant and its error estimate."""
    polynomials = collocation_polynomials(nodes)
    weights = [(Fraction(0), *row) for row in polynomials]
    a = tuple(_rounded(tuple(polynomial_value(w, node) for w in weights)) for node in nodes)
    b = tuple(polynomial_value(w, Fraction(1)) for w in weights)
    smoothing = _smoothing(a)
    other = start_weighted_quadrature(nodes, smoothing)
    return FIRKTableau(
        a=a,
        b=a[-1] if nodes[-1] == 1 else b,
        c=nodes,
        error_weights=[x - y for x, y in zip(b, other, strict=True)],
        error_start_weight=-smoothing,
        error_order=len(nodes),
        interpolant=polynomials,
        interpolant_order=len(nodes),
        **facts,
    )


def _gauss(stages: int) -> FIRKTableau:
    return _collocation(
        gauss_nodes(stages),
        name=f"gauss_legendre_{2 * stages}",
        order=2 * stages,
        stability=Stability.A,
        source="Kuntzmann (1961), Butcher (1964); H&W IV.5, tables 5.1 and 5.2; estimate as IV.8",
    )


def _radau(stages: int, aliases: tuple[str, ...] = ()) -> FIRKTableau:
    return _collocation(
        radau_nodes(stages),
        name=f"radau_iia_{2 * stages - 1}",
        order=2 * stages - 1,
        stability=Stability.L,
        source="Ehle (1969), Axelsson (1969); H&W IV.5, tables 5.5 and 5.6; estimate as IV.8",
        aliases=aliases,
    )


FULLY_IMPLICIT = (
    _gauss(1),
    _gauss(2),
    _radau(2),
    _radau(3, aliases=("Radau", "radau5")),
    _radau(5),
)
