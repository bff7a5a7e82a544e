"""LU factors of a part of the matrix: what is kept, how it is eliminated, what it is good for."""

import numpy as np
import pytest

from cubie import Solver, UnknownOption
from cubie.backend import make_backend
from cubie.errors import InvalidOption
from cubie.solvers import LINEAR_SOLVERS, Blocks
from cubie.solvers.kept_entries import FACTORISED, keep_entries
from cubie.solvers.krylov_settings import KrylovSettings
from cubie.solvers.lu_source import FactorLayout
from cubie.solvers.lu_tables import LUTables
from cubie.solvers.table_lu import build_table_factorise, build_table_solves
from tests.cubie.linear_systems import solve_linear, sparse_matrix
from tests.cubie.stiff_systems import SYSTEMS
from tests.oracle.problems import lorenz

ITERATIVE = [kind for kind in LINEAR_SOLVERS if kind != "lu"]


def settings_of(kind, **options):
    return KrylovSettings(preconditioner=kind, **options)


def places(matrix):
    """Return the positions of a matrix's entries."""
    return [tuple(place) for place in np.argwhere(matrix).tolist()]


def inverse_by_tables(kept, jacobian, pattern, shift, eigenvalue):
    """Return the matrix whose columns are P of unit vectors, complex."""
    n = len(jacobian)
    blocks, backend = Blocks(n, (eigenvalue,)), make_backend("python", np.float64, False)
    mass = {(i, i): 1.0 for i, _ in kept.mass}
    layout = FactorLayout(kept.elimination, len(kept.numbers), mass, blocks, apart=True)
    tables = LUTables.of(kept.elimination)
    factors = np.full(layout.starts[-1], np.nan)
    factors[: len(kept.numbers)] = [jacobian[pattern[k]] for k in kept.numbers]
    factorise = build_table_factorise(backend, layout, tables, mends=True)
    factorise(np.float64(shift), factors, np.float64(1e-15), np.float64(1.0))
    (solve,) = build_table_solves(backend, layout, tables)
    columns = []
    for unit in np.eye(n):
        vector = np.concatenate([unit, 0.0 * unit])[: blocks.n_unknowns]
        out = np.full(blocks.n_unknowns, np.nan)
        solve(factors, vector, 0, out, 0)
        columns.append(out[:n] + 1j * out[n:] if eigenvalue.imag else out)
    return np.array(columns).T


def incomplete_factors(matrix):
    """Return L U by rows on the places of a matrix's entries (Saad, algorithm 10.4)."""
    factors, there = matrix.copy(), matrix != 0.0
    for i in range(1, len(matrix)):
        for k in range(i):
            if there[i, k]:
                factors[i, k] /= factors[k, k]
                for j in range(k + 1, len(matrix)):
                    if there[i, j]:
                        factors[i, j] -= factors[i, k] * factors[k, j]
    lower = np.tril(factors, -1) + np.eye(len(matrix))
    return lower @ np.triu(factors)


@pytest.mark.parametrize("eigenvalue", [1.0 + 0.0j, 2.7 + 3.1j])
@pytest.mark.parametrize("seed", range(5))
def test_without_fill_the_factors_are_those_of_the_textbook(seed, eigenvalue):
    """Entries that would fill in are dropped, and nothing else."""
    jacobian = sparse_matrix(11, seed)
    pattern, mass = places(jacobian), [(i, i) for i in range(11)]
    kept = keep_entries(settings_of("ilu0"), 11, pattern, mass)
    found = inverse_by_tables(kept, jacobian, pattern, 4.0, eigenvalue)
    whole = 4.0 * eigenvalue * np.eye(11) - jacobian
    wanted = np.linalg.inv(incomplete_factors(whole))
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)
    assert kept.elimination.n_slots == len({*pattern, *mass})
    assert not np.allclose(wanted, np.linalg.inv(whole))  # the matrix fills in


PARTS = [
    ("block_jacobi", {"jacobi_block_size": 3}, lambda i, j: i // 3 == j // 3),
    ("block_jacobi", {}, lambda i, j: i // 8 == j // 8),
    ("banded", {"preconditioner_bandwidth": 2}, lambda i, j: abs(i - j) <= 2),
    ("banded", {"preconditioner_bandwidth": 0}, lambda i, j: i == j),
]


@pytest.mark.parametrize("eigenvalue", [1.0 + 0.0j, 2.7 + 3.1j])
@pytest.mark.parametrize(("kind", "options", "part"), PARTS)
def test_parts_are_inverted_exactly(kind, options, part, eigenvalue):
    """P is the inverse of the matrix with all other entries left out."""
    jacobian = sparse_matrix(11, 3, 0.5)
    pattern, mass = places(jacobian), [(i, i) for i in range(11)]
    kept = keep_entries(settings_of(kind, **options), 11, pattern, mass)
    found = inverse_by_tables(kept, jacobian, pattern, 4.0, eigenvalue)
    rows, columns = np.indices((11, 11))
    whole = np.where(part(rows, columns), 4.0 * eigenvalue * np.eye(11) - jacobian, 0.0)
    np.testing.assert_allclose(found @ whole, np.eye(11), atol=1e-12)


BANDS = [
    ("three diagonals", lambda i, j: abs(i - j) <= 1, 1),
    ("a circle", lambda i, j: np.isin((i - j) % 12, (0, 1, 2, 11)), 2),
    ("a plane", lambda i, j: np.isin(abs(i - j), (0, 1, 7)), 1),
    ("everything", lambda i, j: i == i, 11),
    ("the diagonal, and far away", lambda i, j: np.isin(abs(i - j), (0, 9)), 0),
]


@pytest.mark.parametrize(("name", "part", "width"), BANDS, ids=[name for name, *_ in BANDS])
def test_the_width_of_a_band_is_found(name, part, width):
    """The widest that has at most twice as many places as the matrix has entries."""
    matrix = part(*np.indices((12, 12)))
    kept = keep_entries(settings_of("banded"), 12, places(matrix), [(i, i) for i in range(12)])
    assert f"a band of {width} on either side of the diagonal (found)" in kept.words


@pytest.mark.parametrize("preconditioner", FACTORISED)
@pytest.mark.parametrize("kind", ITERATIVE)
def test_random_sparse_systems_are_solved_as_by_factors(kind, preconditioner):
    """Real and complex blocks, with a mass matrix: what LU finds, in fewer products."""
    matrix = sparse_matrix(20, 1, 0.15)
    mass = np.diag(np.linspace(1.0, 2.0, 20)) + 0.1 * np.eye(20, k=1)
    common = {"eigenvalues": (1.2, 1.5 + 0.8j), "mass": mass}
    shifts = [8.0, 20.0, 300.0]
    ok, iterations, found, wanted = solve_linear(
        kind, matrix, shifts, preconditioner=preconditioner, **common
    )
    assert ok.all()
    scale = abs(wanted).max(axis=1, keepdims=True)
    assert (abs(found - wanted) <= 1e-7 * scale).all()
    by_factors = solve_linear("lu", matrix, shifts, **common)
    assert (abs(found - by_factors[2]) <= 1e-7 * scale).all()
    without = solve_linear(kind, matrix, shifts, preconditioner="none", **common)[1]
    assert (iterations < without).all()


@pytest.mark.parametrize("preconditioner", FACTORISED)
def test_compiled_and_interpreted_factors_agree(preconditioner):
    """To the last bit in one lane and in eight, and to rounding with the interpreter."""
    matrix = sparse_matrix(20, 2, 0.15)
    options = {"eigenvalues": (1.2, 1.5 + 0.8j), "preconditioner": preconditioner}
    shifts = [8.0, 20.0, 300.0]
    interpreted = solve_linear("bicgstab", matrix, shifts, **options)
    alone = solve_linear("bicgstab", matrix, shifts, target="cpu", lanes=1, **options)
    together = solve_linear("bicgstab", matrix, shifts, target="cpu", lanes=8, **options)
    np.testing.assert_array_equal(alone[2], together[2])
    np.testing.assert_allclose(alone[2], interpreted[2], rtol=1e-8, atol=1e-10)
    assert alone[0].all()


@pytest.mark.parametrize(
    ("preconditioner", "kind", "method"),
    [
        (preconditioner, kind, ("rodas4", "radau_iia_3", "bdf")[(i + j) % 3])
        for i, preconditioner in enumerate(("none", "jacobi", "neumann", *FACTORISED))
        for j, kind in enumerate(("bicgstab", "gmres"))
    ],
)
def test_single_precision_ends_where_factors_do(preconditioner, kind, method):
    """Residuals are never below its rounding: iterations end, and steps are as long."""
    fun, n, args, _ = SYSTEMS["hires"]
    options = {"method": method, "dtype": "float32", "rtol": 1e-3, "atol": 1e-5}
    solver = Solver(fun, backend="python", save="final", **options)
    start, span = np.linspace([0.1, 0.3], [1.0, 0.2], n, axis=1), (0.0, 1.0)
    factors = solver.solve(span, start, args=args)
    found = solver.solve(span, start, args=args, linear_solver=kind, preconditioner=preconditioner)
    assert found.success.all()
    assert found.y.dtype == np.float32
    np.testing.assert_allclose(found.y, factors.y, rtol=2e-3, atol=2e-5)
    assert (found.n_steps <= factors.n_steps + 2).all()


@pytest.mark.parametrize("preconditioner", FACTORISED)
def test_a_pivot_of_zero_is_replaced(preconditioner):
    """The matrix is regular, and solved, though its first pivot is zero: by any of them."""
    matrix = np.array([[2.0, 1.0, 0.0], [1.0, -3.0, 1.0], [0.0, 1.0, -1.0]])
    options = {"preconditioner": preconditioner}
    options |= {"block_jacobi": {"jacobi_block_size": 1}}.get(preconditioner, {})
    options |= {"banded": {"preconditioner_bandwidth": 0}}.get(preconditioner, {})
    ok, _, found, wanted = solve_linear("gmres", matrix, [2.0, 5.0], **options)
    assert ok.all()
    np.testing.assert_allclose(found, wanted, rtol=1e-7)


@pytest.mark.parametrize("preconditioner", FACTORISED)
@pytest.mark.parametrize("kind", ["bicgstab", "gmres"])
def test_what_has_no_solution_is_told(kind, preconditioner):
    """Singular matrices, and such as are no numbers, have a mask that is false; others not."""
    matrix = np.array([[-1.0, 1.0, 0.0], [1.0, -1.0, 0.0], [0.0, 0.0, -1.0]])
    rhs = np.array([[1.0, 1.0, 1.0]] * 3)
    ok, *_ = solve_linear(kind, matrix, [0.0, np.nan, 2.0], preconditioner=preconditioner, rhs=rhs)
    assert ok.tolist() == [False, False, True]


@pytest.mark.parametrize("mass", [None, [1.0, 1.0, 0.0]])
def test_structurally_singular_parts_get_a_diagonal(mass):
    """Where what is kept has an empty row, a pivot is put in its place."""
    matrix = np.array([[-1.0, 0.0, 2.0], [0.0, -1.0, 1.0], [1.0, 1.0, 0.0]])
    entries = [(i, i) for i in range(3) if mass is None or mass[i]]
    settings = settings_of("block_jacobi", jacobi_block_size=1)
    kept = keep_entries(settings, 3, places(matrix), entries)
    assert kept.elimination.in_place
    found = inverse_by_tables(kept, matrix, places(matrix), 4.0, 1.0 + 0.0j)
    assert np.isfinite(found).all()
    assert np.linalg.matrix_rank(found) == 3


WRONG = [
    (
        {"preconditioner": "banded", "preconditioner_bandwidth": 3},
        "`preconditioner_bandwidth` is 3, for a system of 3 states. Give at most 2, or leave it",
    ),
    (
        {"preconditioner": "block_jacobi", "jacobi_block_size": 4},
        "`jacobi_block_size` is 4, for a system of 3 states. Give at most 3, or leave it out.",
    ),
    ({"preconditioner": "block_jacobi", "jacobi_block_size": 0}, "an int from 1 to 100000"),
    ({"preconditioner": "ilu"}, "did you mean 'ilu0'"),
    ({"preconditioner": "ilu0", "jacobi_block_size": 2}, "no effect with preconditioner='ilu0'"),
]


@pytest.mark.parametrize(("options", "says"), WRONG)
def test_what_cannot_be_is_refused_in_words(options, says):
    """Before anything is compiled: what was given, what is allowed."""
    with pytest.raises(InvalidOption) as raised:
        Solver(lorenz, method="kvaerno3", linear_solver="gmres", **options).solve(
            (0.0, 0.1), [1.0, 0.0, 0.0], args=(10.0, 28.0, 8.0 / 3.0)
        )
    assert says in str(raised.value)


def test_a_preconditioner_is_nothing_for_factors():
    """With LU it is refused, and the message names the solvers that have it."""
    with pytest.raises(UnknownOption, match="linear_solver='minimal_residual'"):
        Solver(lorenz, method="kvaerno3", preconditioner="ilu0")


def test_what_was_kept_is_told():
    """A solver's choices say what its preconditioner kept, and its buffers are planned."""
    solver = Solver(
        lorenz, method="radau_iia_5", linear_solver="gmres", preconditioner="ilu0",
        backend="python",
    )  # fmt: skip
    plan = solver.prepare([1.0, 0.0, 0.0], args=(10.0, 28.0, 8.0 / 3.0))
    assert "incomplete LU without fill: 8 of 8 entries" in "\n".join(map(str, solver.choices))
    sizes = {name.rsplit(".", 1)[1]: p.n_elements for name, p in plan.placements.items()}
    assert sizes["preconditioner_factors"] == 24
    assert sizes["jacobian_entries"] == 0
    assert sizes["krylov_basis"] == 9 * 9
