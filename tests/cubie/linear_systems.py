"""Linear systems to solve by component: ``(shift * eigenvalue * M - J) x = b`` of any matrix J."""

import attrs
import numpy as np

from cubie.solvers import LINEAR_SOLVERS, Blocks
from cubie.systems import trace
from cubie.systems.component import SystemComponent
from tests.cubie.bench import run_bench
from tests.cubie.test_linear_solvers import solver_bench


def sparse_matrix(n, seed, density=0.2):
    """Return a random sparse matrix, (n, n), whose diagonal is about as large as its rows' rest."""
    random = np.random.default_rng(seed)
    matrix = np.where(random.random((n, n)) < density, random.normal(size=(n, n)), 0.0)
    np.fill_diagonal(matrix, -random.uniform(0.5, 2.0, n))
    return matrix


def linear(matrix):
    """Return ``f(t, y) = matrix @ y``, of the entries that are not zero."""

    def fun(t, y):
        rows = []
        for row in matrix:
            columns = np.flatnonzero(row)
            rows.append(sum(float(row[j]) * y[j] for j in columns) if columns.size else 0.0 * y[0])
        return rows

    return fun


def solve_linear(
    kind, matrix, shifts, *, eigenvalues=(1.0,), mass=None, rhs=None, target="python", lanes=None,
    krylov_tolerance=1e-10, **options,
):  # fmt: skip
    """Solve for each shift; return (ok, iterations, unknowns, expected unknowns).

    The expected ones are those of a dense solver.
    """
    n = len(matrix)
    system = trace(linear(matrix), n)
    if mass is not None:
        system = attrs.evolve(system, mass=tuple(map(tuple, mass.tolist())))
    blocks = Blocks(n, eigenvalues)
    component = SystemComponent(system, "float64")
    options = {"krylov_tolerance": krylov_tolerance, **options}
    if kind == "lu":
        options = {}
    solver = LINEAR_SOLVERS[kind](component, blocks, False, 0.01, "float64", options)
    if rhs is None:
        rhs = np.random.default_rng(7).normal(size=(len(shifts), blocks.n_unknowns))
    given = np.column_stack([shifts, np.ones((len(shifts), n)), rhs])
    kept = run_bench(solver_bench(solver, n, 0), given, target, lanes)
    wanted = [
        dense_solution(matrix, np.eye(n) if mass is None else mass, s, blocks, b)
        for s, b in zip(shifts, rhs, strict=True)
    ]
    return kept[:, 1] == 1.0, kept[:, 2], kept[:, 3:], np.array(wanted)


def dense_solution(matrix, mass, shift, blocks, rhs):
    """Return the unknowns of all blocks, by NumPy; zeros where the matrix is singular."""
    n, sections = len(matrix), []
    for value, at in zip(blocks.eigenvalues, blocks.offsets, strict=True):
        whole = shift * value * mass - matrix
        b = rhs[at : at + n].astype(complex)
        if value.imag:
            b = b + 1j * rhs[at + n : at + 2 * n]
        regular = np.isfinite(shift) and np.linalg.matrix_rank(whole) == n
        x = np.linalg.solve(whole, b) if regular else 0.0 * b
        sections += [x.real, x.imag] if value.imag else [x.real]
    return np.concatenate(sections)
