"""LU factors of random patterns in every form, beside SuperLU; pivots that vanish, or nearly."""

import numpy as np
import pytest
from scipy.sparse import csc_array
from scipy.sparse.linalg import splu

from cubie import RunStatus, Solver
from cubie.solvers import LINEAR_SOLVERS, Blocks
from cubie.solvers.lu_form import FORMS
from cubie.systems import trace
from cubie.systems.component import SystemComponent
from tests.cubie.bench import run_bench
from tests.cubie.test_linear_solvers import jacobian_at, solver_bench

EIGENVALUES = (3.6, 2.7 + 3.1j)


def superlu(matrix, rhs):
    """Solve by SuperLU, and refine with residuals in extended precision until nothing changes."""
    factors = splu(csc_array(matrix))
    wide = np.clongdouble if np.iscomplexobj(matrix) else np.longdouble
    exact, solution = matrix.astype(wide), factors.solve(rhs).astype(wide)
    for _ in range(5):
        residual = rhs - exact @ solution
        solution = solution + factors.solve(residual.astype(matrix.dtype))
    return solution


def random_jacobian(random, n, density):
    """Return a matrix of a random pattern, with entries of very different sizes."""
    sizes = 10.0 ** random.uniform(-3, 2, (n, n))
    matrix = np.where(random.random((n, n)) < density, random.normal(size=(n, n)) * sizes, 0.0)
    return matrix - np.diag(random.uniform(0.0, 10.0, n))


def linear(matrix):
    """Return the function y' = matrix @ y, row by row, as a pattern has it."""
    rows = [[(j, float(a)) for j, a in enumerate(row) if a] for row in matrix]

    def fun(t, y):
        return [sum((a * y[j] for j, a in row), 0.0 * y[0]) for row in rows]

    return fun


def solved(system, eigenvalues, form, given, target, lanes):
    """Return what a solver's bench keeps of each run: regular, solved, 0, and the solution."""
    n = system.n_states
    solver = LINEAR_SOLVERS["lu"](
        SystemComponent(system, "float64"),
        Blocks(n, eigenvalues), False, 0.01, "float64", {"lu_form": form},
    )  # fmt: skip
    return run_bench(solver_bench(solver, n, system.n_parameters), given, target, lanes)


def require_as_superlu(seed, n, density, form, target="python", lanes=None):
    """A real and a complex block together: within what rounding does, as SuperLU refined."""
    random = np.random.default_rng(seed)
    matrix, shift = random_jacobian(random, n, density), float(random.uniform(20.0, 200.0))
    rhs = random.normal(size=3 * n)
    given = [[shift, *np.ones(n), *rhs]]
    system = trace(linear(matrix), n)
    regular, done, _, *x = solved(system, EIGENVALUES, form, given, target, lanes)[0]
    assert regular == done == 1.0
    x = np.array(x)
    pairs = (
        (x[:n], EIGENVALUES[0] * shift * np.eye(n) - matrix, rhs[:n]),
        (
            x[n : 2 * n] + 1j * x[2 * n :],
            EIGENVALUES[1] * shift * np.eye(n) - matrix,
            rhs[n : 2 * n] + 1j * rhs[2 * n :],
        ),
    )
    for found, block, b in pairs:
        error = np.abs(found - superlu(block, b)).max() / np.abs(found).max()
        # The growth of entries without a search for pivots is part of it.
        assert error < 100 * np.linalg.cond(block) * np.finfo(float).eps, (seed, n, error)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("seed", "n", "density"),
    [(1, 8, 0.2), (2, 12, 0.1), (3, 12, 0.6), (4, 20, 0.05), (5, 20, 0.15), (6, 15, 1.0)],
)
def test_random_patterns_agree_with_superlu(seed, n, density, form):
    """Sparse, half full and full ones, of very different entries."""
    require_as_superlu(seed, n, density, form)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_random_patterns_agree_with_superlu_in_compiled_code(form):
    """Lanes of a group, by straight-line text, tables and dense loops."""
    require_as_superlu(7, 24, 0.15, form, "cpu", 4)


@pytest.mark.every_config
@pytest.mark.parametrize("form", FORMS)
def test_many_random_patterns_agree_with_superlu(form):
    """The same of a hundred, up to 60 unknowns."""
    for seed in range(100):
        random = np.random.default_rng(1000 + seed)
        n = int(random.integers(2, 60))
        require_as_superlu(seed, n, float(random.uniform(0.02, 0.5)), form)


def nearly_singular(eigenvalue, n):
    """Return y' of which shift 1 gives a matrix that is singular but for the parameter.

    Of the first two states it is ``[[1, 1], [1, 1 + p]]``, real, or has the eigenvalue itself of
    the Jacobian but for p; the others depend on each other upwards.
    """
    a, b = eigenvalue.real, eigenvalue.imag

    def fun(t, y, p):
        if b:
            first = [a * y[0] - b * y[1], b * y[0] + (a + p) * y[1]]
        else:
            first = [(a - 1) * y[0] - y[1], -y[0] + (a - 1 - p) * y[1]]
        rest = [-(i + 1.0) * y[i] + 0.5 * y[(i + 3) % n if i + 3 < n else i] for i in range(2, n)]
        return [first[0] + 0.3 * y[3], first[1] + 0.7 * y[4], *rest]

    return trace(fun, n, (0.0,))


# How far it is from singular, and whether that is more than what rounding leaves of it.
PARAMETERS = {0.5: True, 1e-3: True, 1e-9: True, 1e-17: False, 0.0: False}


@pytest.mark.parametrize(("target", "lanes"), [("python", None), ("cpu", 8)])
@pytest.mark.parametrize("eigenvalue", [1.0 + 0.0j, 1.0 + 1.0j], ids=["real", "complex"])
@pytest.mark.parametrize("form", FORMS)
def test_pivots_that_vanish_are_told_and_small_ones_divided_by(form, eigenvalue, target, lanes):
    """In their lane only: what is left of a nearly singular matrix is solved as well as can be."""
    n = 7
    system = nearly_singular(eigenvalue, n)
    unknowns = 2 * n if eigenvalue.imag else n
    blocks = (eigenvalue if eigenvalue.imag else eigenvalue.real,)
    rhs = np.random.default_rng(5).normal(size=unknowns)
    given = [[1.0, p, *np.ones(n), *rhs] for p in PARAMETERS]
    kept = solved(system, blocks, form, given, target, lanes)
    assert kept[:, 0].tolist() == [float(regular) for regular in PARAMETERS.values()]
    for (p, regular), (_, _, _, *x) in zip(PARAMETERS.items(), kept, strict=True):
        if not regular:
            continue
        block = blocks[0] * np.eye(n) - jacobian_at(system, np.ones(n), [p])
        x = np.array(x)
        found = x[:n] + 1j * x[n:] if eigenvalue.imag else x
        b = rhs[:n] + 1j * rhs[n:] if eigenvalue.imag else rhs
        error = np.abs(found - superlu(block, b)).max() / np.abs(found).max()
        assert error < 100 * np.linalg.cond(block) * np.finfo(float).eps, (p, error)


def constrained(t, y, p):
    """Be a state whose only equation loses it where p is zero."""
    return -y[0], -y[1] + y[2], p * y[2] - y[0]


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_runs_of_singular_equations_end_with_their_status(form):
    """Real blocks, and real and complex ones: that run alone, its neighbours come to the end."""
    for method in ("rodas5p", "radau_iia_5"):
        solver = Solver(
            constrained, method=method, backend="cpu", lu_form=form, rtol=1e-6, atol=1e-8,
            mass_matrix=np.diag([1.0, 1.0, 0.0]),
        )  # fmt: skip
        runs = solver.solve((0, 1), [1.0, 0.0, 1.0], args=(np.array([1.0, 0.0, 1.0]),))
        ended = [RunStatus.SUCCESS, RunStatus.SINGULAR_JACOBIAN, RunStatus.SUCCESS]
        assert runs.status.tolist() == [int(status) for status in ended]
        np.testing.assert_allclose(runs.y[[0, 2], :, -1], np.exp(-1.0), rtol=1e-4)
