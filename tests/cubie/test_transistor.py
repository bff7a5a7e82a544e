"""A DAE whose algebraic equations are sums of several, with exponentials in them.

The transistor amplifier (Hairer & Wanner II, VI.1; Mazzia & Magherini, Test Set for Initial Value
Problem Solvers, release 2.4, which prints the solution at 0.2).
"""

import numpy as np
import pytest

import cubie
from cubie.tableaus import DIRKTableau, ERKTableau, Stability, SwitchingMethod, all_methods

# An explicit stage has no algebraic components; where stages do not damp, those oscillate.
METHODS = [
    t
    for t in all_methods().values()
    if t.has_error_estimate and t.stability is Stability.L
    and not isinstance(t, ERKTableau | SwitchingMethod)
    and not (isinstance(t, DIRKTableau) and t.first_stage_explicit)
]  # fmt: skip

REFERENCE = np.array([
    -0.5562145012262709e-2, 0.3006522471903042e1, 0.2849958788608128e1, 0.2926422536206241e1,
    0.2704617865010554e1, 0.2761837778393145e1, 0.4770927631616772e1, 0.1236995868091548e1,
])  # fmt: skip


def amplifier(t, y):
    """Currents into the eight nodes, without those of the capacitors."""
    supply, resistance = 6.0, 9000.0
    first = 1e-6 * (np.exp((y[1] - y[2]) / 0.026) - 1.0)
    second = 1e-6 * (np.exp((y[4] - y[5]) / 0.026) - 1.0)
    return [
        (y[0] - 0.1 * np.sin(200.0 * np.pi * t)) / 1000.0,
        (2.0 * y[1] - supply) / resistance + 0.01 * first,
        y[2] / resistance - first,
        (y[3] - supply) / resistance + 0.99 * first,
        (2.0 * y[4] - supply) / resistance + 0.01 * second,
        y[5] / resistance - second,
        (y[6] - supply) / resistance + 0.99 * second,
        y[7] / resistance,
    ]


def capacities():
    """Return the mass matrix, of rank five."""
    matrix = np.zeros((8, 8))
    for number, nodes in enumerate(((0, 1), (2,), (3, 4), (5,), (6, 7)), start=1):
        for i in nodes:
            for j in nodes:
                matrix[i, j] = number * 1e-6 * (-1.0 if i == j else 1.0)
    return matrix


def solve(method, tolerance, **options):
    y0 = np.array([0.0, 3.0, 3.0, 6.0, 3.0, 3.0, 6.0, 0.0])
    return cubie.solve_ivp(
        amplifier, (0.0, 0.2), y0, method=method, rtol=tolerance, atol=tolerance,
        mass_matrix=capacities(), backend="cpu", **options,
    )  # fmt: skip


@pytest.mark.parametrize("tableau", METHODS, ids=lambda t: t.name)
def test_errors_of_a_dae_follow_the_tolerance(tableau):
    """At every tolerance, below a multiple of it."""
    for tolerance in (1e-3, 1e-4, 1e-5, 1e-6):
        result = solve(tableau, tolerance, max_steps=300_000)
        assert result.status == 0, (tolerance, result.message)
        error = np.abs(result.y[:, -1] / REFERENCE - 1.0).max()
        assert error < 100 * tolerance, (tolerance, error)


# A single step of rosenbrock23 leaves algebraic components an error of the power two of its size,
# which is what its estimate says.
GROWING = [t for t in METHODS if t.name != "rosenbrock23"]


@pytest.mark.parametrize("tableau", GROWING, ids=lambda t: t.name)
def test_steps_of_a_dae_grow_as_the_order_of_an_estimate_lets_them(tableau):
    """As the tolerance to the power 1/3 or less: no estimate is of order one, on any component."""
    loose, tight = solve(tableau, 1e-4), solve(tableau, 1e-6)
    assert tight.n_steps < 1.2 * 100 ** (1 / (max(tableau.error_order, 2) + 1)) * loose.n_steps
    assert tight.n_steps < 25_000
