"""Linear solvers against dense solutions, on the interpreted and the compiled CPU target."""

import numpy as np
import pytest

from cubie.backend import select
from cubie.solvers.contract import Blocks
from cubie.solvers.elimination import StructurallySingular, eliminate
from cubie.solvers.lu import LUSolver
from cubie.systems import trace
from cubie.systems.component import SystemComponent
from cubie.systems.derivatives import derivatives
from tests.cubie.bench import Bench, run_bench
from tests.cubie.stiff_systems import SYSTEMS, sample

TARGETS = [("python", None), ("cpu", 1), ("cpu", 8)]
CALLS = {"prepare": "first", "solve": "third"}


def system_of(name):
    fun, n, args, _ = SYSTEMS[name]
    return trace(fun, n, args)


def solver_bench(solver, n, n_parameters, dtype="float64"):
    """Return a bench: given (shift, parameters, y, rhs), keeps (ok, ok, iterations, x)."""
    size, y_at, rhs_at = solver.blocks.n_unknowns, 1 + n_parameters, 1 + n_parameters + n

    def make_body(bench, context):
        functions = bench.child_functions(context, "linear_solver")
        prepare, solve = functions.prepare, functions.solve
        backend = context.backend
        zero, one = backend.constant(0.0), backend.constant(1.0)
        allocate_y, allocate_p = context.allocator("y"), context.allocator("p")

        def body(shared, persistent, given, kept):
            y, p = allocate_y(shared, persistent, None), allocate_p(shared, persistent, None)
            shift = given[0]
            for i in range(n):
                y[i] = given[y_at + i]
            for i in range(n_parameters):
                p[i] = given[1 + i]
            regular = prepare(shared, persistent, shift * zero, shift, y, p)
            for i in range(size):
                kept[3 + i] = given[rhs_at + i]
            solved, iterations = solve(
                shared, persistent, shift * zero, shift, y, p, kept, 3, kept, 3
            )
            from_mask = select(regular, one, zero)
            kept[0], kept[1] = from_mask, select(solved, one, zero)
            kept[2] = shift * zero + iterations

        return body

    bench = Bench([(solver, CALLS)], rhs_at + size, 3 + size, make_body, dtype)
    bench.register_buffer("y", n)
    bench.register_buffer("p", n_parameters)
    return bench


def jacobian_at(system, y, parameters):
    """Return the dense Jacobian, by the generated function on plain numbers."""
    found = derivatives(system)
    values = np.empty(len(found.pattern))
    found.module.jacobian(0.0, y, parameters, values, 0)
    matrix = np.zeros((system.n_states, system.n_states))
    for (row, column), value in zip(found.pattern, values, strict=True):
        matrix[row, column] = value
    return matrix


def expected(system, blocks, mass, shift, y, parameters, rhs):
    """Return the solution by NumPy's dense solver."""
    n, jac = system.n_states, jacobian_at(system, y, parameters)
    sections = []
    for eigenvalue, at in zip(blocks.eigenvalues, blocks.offsets, strict=True):
        if eigenvalue.imag:
            b = rhs[at : at + n] + 1j * rhs[at + n : at + 2 * n]
            x = np.linalg.solve(shift * eigenvalue * mass - jac, b)
            sections += [x.real, x.imag]
        else:
            sections.append(np.linalg.solve(shift * eigenvalue.real * mass - jac, rhs[at : at + n]))
    return np.concatenate(sections)


@pytest.mark.parametrize(("target", "lanes"), TARGETS)
@pytest.mark.parametrize("name", SYSTEMS)
def test_lu_agrees_with_a_dense_solver(name, target, lanes):
    """Sparse factors without pivoting solve the systems of every test problem, real and complex."""
    system = system_of(name)
    n, m = system.n_states, system.n_parameters
    blocks = Blocks(n, (3.6, 2.7 + 3.1j))
    solver = LUSolver(SystemComponent(system, "float64"), blocks, "float64", {})
    shifts = [1e8, 1e4, 50.0]
    states = sample(name, len(shifts))
    parameters = np.tile(np.array(SYSTEMS[name][2], dtype=float), (len(shifts), 1))
    rhs = np.random.default_rng(3).normal(size=(len(shifts), blocks.n_unknowns))
    given = np.column_stack([shifts, parameters.reshape(len(shifts), m), states, rhs])
    kept = run_bench(solver_bench(solver, n, m), given, target, lanes)
    assert (kept[:, :2] == 1.0).all()
    assert (kept[:, 2] == 0.0).all()
    for run, shift in enumerate(shifts):
        want = expected(system, blocks, np.eye(n), shift, states[run], parameters[run], rhs[run])
        np.testing.assert_allclose(kept[run, 3:], want, rtol=1e-9, atol=1e-11 * abs(want).max())
