"""A matrix that overflowed, or is far too large for a later stage, solves no equations of a step.

Its changes are small, or nothing at all, wherever the state is. Asked in single precision, where
numbers end at 3e38 and squares of numbers above 1.8e19 are infinite.
"""

import numpy as np
import pytest

import cubie
from cubie.status import RunStatus
from cubie.tableaus import DIRKTableau, FIRKTableau, all_tableaus
from tests.cubie.test_solved_equations import LARGEST, TOLERANCES, UNITS, solves

__all__ = ["solves"]  # a fixture

METHODS = {
    n: t for n, t in sorted(all_tableaus().items()) if isinstance(t, DIRKTableau | FIRKTableau)
}
COUPLED = [name for name, tableau in METHODS.items() if isinstance(tableau, FIRKTableau)]
# All of their stages are implicit: none fails of a derivative that is huge at the start.
DIAGONAL = ["backwards_euler", "sdirk2", "l_stable_sdirk_4"]
RTOL, EPS = TOLERANCES["float32"], np.finfo(np.float32).eps


def of_a_product(t, y, k, much):
    """Its derivative by the first state overflows, where the state is small it does not."""
    return [-k * (much * y[0]), y[0] - y[1]]


@pytest.mark.parametrize("linear_solver", ["lu", "bicgstab"])
@pytest.mark.parametrize("method", METHODS)
def test_an_infinite_matrix_is_told_by_the_status(method, linear_solver):
    """An infinite pivot divides every residual to nothing, which is no solution."""
    start = np.array([[1e-20, 1.0]], np.float32)
    for controller in ("fixed", "pi"):
        if controller != "fixed" and not METHODS[method].has_error_estimate:
            continue
        result = cubie.solve_ivp(
            of_a_product, (0.0, 1.0), start, args=(np.float32(1e30), np.float32(1e10)),
            method=method, step_controller=controller, first_step=0.25, rtol=RTOL, atol=1e-22,
            backend="python", dtype="float32", linear_solver=linear_solver, max_steps=5,
        )  # fmt: skip
        assert result.status[0] != RunStatus.SUCCESS, controller
        np.testing.assert_array_equal(result.y[0, :, -1], start[0])


def following(t, y, k):
    """The first state follows the second, as fast as k is large."""
    return [-k * (y[0] - y[1]), -y[1]]


@pytest.mark.parametrize("method", [*COUPLED, *DIAGONAL])
def test_pivots_whose_squares_overflow_are_divided_by(method):
    """A complex pivot is divided by its square: of 1e19 that overflows, of 1e38 the pivot does."""
    rates = np.array([1e10, 1e17, 1e20, 1e25, 1e30], np.float32)
    result = cubie.solve_ivp(
        following, (0.0, 0.5), [1.0, 1.0], args=(rates,), method=method, first_step=0.25,
        step_controller="fixed", rtol=RTOL, atol=RTOL, backend="python", dtype="float32",
    )  # fmt: skip
    assert (result.status == 0).all(), result.status
    first, second = result.y[..., -1].T
    # Methods without damping keep a part of how far apart the states are at a step's start.
    np.testing.assert_allclose(first, second, rtol=0.0, atol=0.05)
    assert (first < 0.65).all()


def falling(t, y, a, b, c, d, e, g):
    """Exponentials: their derivatives at the start may be all that single precision holds."""
    u, v = np.exp(-c * y[0]), np.exp(-d * y[1])
    return [a * u - b * y[0] * y[1], e * v - g * y[0]]


def random_falling(n):
    """Return coefficients and states whose exponentials are 1 to 1e38."""
    random = np.random.default_rng(1)
    coefficients = np.abs(random.normal(size=(6, n))) * 10.0 ** random.uniform(-1.0, 2.0, (6, n))
    exponents = np.log(10.0) * random.uniform(0.0, 38.0, (2, n))
    starts = -(exponents / coefficients[2:4]).T
    return coefficients.astype(np.float32), starts.astype(np.float32)


def falling_derivatives(y, args):
    """Return the right-hand side, its Jacobian, and the size of its terms."""
    a, b, c, d, e, g = args
    first, second = a * np.exp(-c * y[0]), e * np.exp(-d * y[1])
    value = np.array([first - b * y[0] * y[1], second - g * y[0]])
    jacobian = np.array([[-c * first - b * y[1], -b * y[0]], [-g, -d * second]])
    products = np.array([b * abs(y[0] * y[1]), g * abs(y[0])])
    return value, jacobian, np.array([first, second]) + products


def powers(t, y, a, b, c, d, e, g):
    """States that fall to a small part of themselves, and fifth powers of them."""
    w = a * y[0] * y[0] * y[0] * y[1] * y[1]
    return [-w * b + g, w * c - d * y[1] * y[1] * y[1] * y[1] * y[1] - e * y[1]]


def random_powers(n):
    """Return coefficients, and states whose fifth powers are up to 1e38."""
    random = np.random.default_rng(1)
    coefficients = np.abs(random.normal(size=(6, n))) * 10.0 ** random.uniform(-2.0, 3.0, (6, n))
    starts = np.abs(random.normal(size=(n, 2))) * 10.0 ** random.uniform(-1.0, 7.6, (n, 2))
    return coefficients.astype(np.float32), starts.astype(np.float32)


def powers_derivatives(y, args):
    """Return the right-hand side, its Jacobian, and the size of its terms."""
    a, b, c, d, e, g = args
    w, by_first, by_second = a * y[0] ** 3 * y[1] ** 2, 3 * a * (y[0] * y[1]) ** 2, 2 * a * y[1]
    by_second = by_second * y[0] ** 3
    value = np.array([-w * b + g, w * c - d * y[1] ** 5 - e * y[1]])
    jacobian = np.array([
        [-b * by_first, -b * by_second], [c * by_first, c * by_second - 5 * d * y[1] ** 4 - e]
    ])  # fmt: skip
    last = d * abs(y[1]) ** 5 + e * abs(y[1])
    return value, jacobian, np.array([abs(w * b) + g, abs(w * c) + last])


# Coupled stages lie so far apart that what one matrix finds of them says nothing.
FAR_APART = {
    "falling": (falling, random_falling, falling_derivatives),
    "powers": (powers, random_powers, powers_derivatives),
}


def solved_exactly(matrix, right):
    """Solve by elimination in extended precision, rows being scaled first."""
    scale = np.abs(matrix).max(axis=1, keepdims=True)
    rows = np.concatenate([matrix / scale, right / scale], axis=1)
    n = len(rows)
    for k in range(n):
        pivot = k + np.argmax(np.abs(rows[k:, k]))
        rows[[k, pivot]] = rows[[pivot, k]]
        rows[k] = rows[k] / rows[k, k]
        for i in range(n):
            if i != k:
                rows[i] = rows[i] - rows[i, k] * rows[k]
    return rows[:, n:]


def distance(kept, derivatives=falling_derivatives):
    """Return how far stages are from solving their equations, over what may be left.

    That is one more change of Newton's own, with the Jacobians of all stages.
    """
    a, state, increments, h, args = (np.asarray(part, np.longdouble) for part in kept)
    stages, n = increments.shape
    found = [derivatives(state + z, args) for z in increments]
    slopes, jacobians, terms = (np.array(part) for part in zip(*found, strict=True))
    matrix = np.eye(n * stages, dtype=np.longdouble)
    for i in range(stages):
        for j in range(stages):
            matrix[n * i : n * i + n, n * j : n * j + n] -= h * a[i, j] * jacobians[j]
    inverse = solved_exactly(matrix, np.eye(n * stages, dtype=np.longdouble))
    change = inverse @ (increments - h * a @ slopes).ravel()
    sizes = np.abs(state) + np.abs(increments)
    terms = terms + np.einsum("sij,sj->si", np.abs(jacobians), sizes)
    rounding = np.abs(inverse) @ (np.abs(increments) + np.abs(h * a) @ terms).ravel()
    largest = np.maximum(np.abs(state), np.abs(state + increments)).max(axis=0)
    allowed = LARGEST * RTOL * (1e-3 + np.tile(largest, stages)) + UNITS * EPS * rounding
    return np.sqrt(np.mean((change / allowed) ** 2))


@pytest.mark.parametrize(
    "linear_solver", ["lu", pytest.param("bicgstab", marks=pytest.mark.every_config)]
)
@pytest.mark.parametrize("method", DIAGONAL)
def test_stages_far_from_where_the_matrix_is_taken_are_solved(solves, method, linear_solver):
    """The Jacobian falls by many orders within a step: the first matrix makes no change then."""
    coefficients, starts = random_falling(12)
    for h in (2.0**-7, 16.0):
        cubie.solve_ivp(
            falling, (0.0, 2 * h), starts, args=tuple(coefficients), method=method,
            step_controller="fixed", first_step=h, rtol=RTOL, atol=RTOL * 1e-3, backend="python",
            dtype="float32", save="final", linear_solver=linear_solver,
        )  # fmt: skip
    assert len(solves) > 5
    distances = [float(distance(kept)) for kept in solves]
    assert max(distances) < 1.0, (sum(d >= 1.0 for d in distances), len(distances))


def among(kind, method):
    """Return marks: of all combinations those of two methods are always run."""
    usual = method in ("radau_iia_5", "gauss_legendre_4")
    return pytest.param(kind, method, marks=[] if usual else [pytest.mark.every_config])


@pytest.mark.parametrize(
    ("kind", "method"), [among(kind, method) for kind in FAR_APART for method in COUPLED]
)
def test_coupled_stages_are_solved_or_the_status_tells(solves, kind, method):
    """Changes that are small, or no longer shrink, are no solution: the residual tells."""
    equations, random_runs, derivatives = FAR_APART[kind]
    coefficients, starts = random_runs(12)
    statuses = []
    for h in (2.0**-7, 16.0):
        result = cubie.solve_ivp(
            equations, (0.0, 2 * h), starts, args=tuple(coefficients), method=method,
            step_controller="fixed", first_step=h, rtol=RTOL, atol=RTOL * 1e-3, backend="python",
            dtype="float32", save="final",
        )  # fmt: skip
        statuses.extend(result.status)
    distances = [float(distance(kept, derivatives)) for kept in solves]
    assert max(distances) < 1.0, (sum(d >= 1.0 for d in distances), len(distances))
    # Most of them have a solution that single precision can find.
    assert np.count_nonzero(np.equal(statuses, 0)) >= 12, statuses
