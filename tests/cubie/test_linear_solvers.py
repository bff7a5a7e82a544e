"""Linear solvers against dense solutions, on the interpreted and the compiled CPU target."""

import attrs
import mpmath
import numpy as np
import pytest

from cubie import solve_ivp
from cubie.backend import select
from cubie.errors import InvalidOption
from cubie.integrator import Shape
from cubie.solvers import LINEAR_SOLVERS, BiCGSTAB, Blocks
from cubie.solvers.contract import Matrix
from cubie.solvers.elimination import StructurallySingular, eliminate
from cubie.systems import trace
from cubie.systems.component import SystemComponent
from cubie.systems.derivatives.choice import derivatives_of, with_jacobian
from cubie.systems.derivatives.scaled import scaled_module
from cubie.systems.mass import mass_entries
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

        def body(memory, launch, given, kept):
            y, p = allocate_y(memory, None), allocate_p(memory, None)
            shift = given[0]
            for i in range(n):
                y[i] = given[y_at + i]
            for i in range(n_parameters):
                p[i] = given[1 + i]
            matrix = Matrix(shift * zero, shift, y, p)
            regular = prepare(memory, launch, matrix)
            for i in range(size):
                kept[3 + i] = given[rhs_at + i]
            solved, iterations = solve(memory, launch, matrix, kept, 3, kept, 3)
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
    found = derivatives_of(system)
    values = np.empty(len(found.pattern))
    found.module.jacobian(0.0, y, parameters, values, 0)
    matrix = np.zeros((system.n_states, system.n_states))
    for (row, column), value in zip(found.pattern, values, strict=True):
        matrix[row, column] = value
    return matrix


def solve_exactly(matrix, rhs):
    """Return the solution of a linear system of doubles, rounded from fifty digits."""
    with mpmath.workdps(50):
        solution = mpmath.lu_solve(mpmath.matrix(matrix.tolist()), mpmath.matrix(rhs.tolist()))
        return np.array([complex(value) for value in solution])


def expected(system, blocks, mass, shift, y, parameters, rhs):
    """Return the solution in fifty digits, or anything where there is none.

    The matrices are badly scaled: what rounding does to a dense solve differs between machines.
    """
    n, jac = system.n_states, jacobian_at(system, y, parameters)
    sections = []
    for eigenvalue, at in zip(blocks.eigenvalues, blocks.offsets, strict=True):
        if eigenvalue.imag:
            b = rhs[at : at + n] + 1j * rhs[at + n : at + 2 * n]
            x = solve_exactly(shift * eigenvalue * mass - jac, b)
            sections += [x.real, x.imag]
        else:
            matrix = shift * eigenvalue.real * mass - jac
            regular = np.isfinite(shift) and shift != 0.0
            sections.append(solve_exactly(matrix, rhs[at : at + n]).real if regular else rhs[:n])
    return np.concatenate(sections)


def given_for(name, blocks, shifts, seed=3):
    """Return what a solver's bench gets, and (states, parameters, right-hand sides)."""
    n_runs = len(shifts)
    states = sample(name, n_runs)
    parameters = np.tile(np.array(SYSTEMS[name][2], dtype=float), (n_runs, 1)).reshape(n_runs, -1)
    rhs = np.random.default_rng(seed).normal(size=(n_runs, blocks.n_unknowns))
    return np.column_stack([shifts, parameters, states, rhs]), states, parameters, rhs


def solve_all(kind, name, shifts, target, lanes, *, eigenvalues=(1.0,), mass=None, **options):
    """Return (kept of each run, expected solutions) for a solver and a test problem."""
    system = system_of(name)
    if mass is not None:
        system = attrs.evolve(system, mass=mass)
    n = system.n_states
    blocks = Blocks(n, eigenvalues)
    policy = options.pop("policy", "local")
    component = SystemComponent(system, "float64")
    solver = LINEAR_SOLVERS[kind](component, blocks, False, 0.01, "float64", options)
    given, states, parameters, rhs = given_for(name, blocks, shifts)
    bench = solver_bench(solver, n, system.n_parameters)
    kept = run_bench(bench, given, target, lanes, policy)
    matrix = np.eye(n) if mass is None else np.array(mass)
    want = [
        expected(system, blocks, matrix, shift, states[k], parameters[k], rhs[k])
        for k, shift in enumerate(shifts)
    ]
    return kept, np.array(want)


@pytest.mark.parametrize("target", ["python", "cpu"])
@pytest.mark.parametrize("name", SYSTEMS)
def test_lu_agrees_with_a_dense_solver(name, target):
    """Sparse factors without pivoting solve the systems of every test problem, real and complex."""
    lanes = 8 if target == "cpu" else None
    shifts = [1e8, 1e4, 50.0]
    eigenvalues = (3.6, 2.7 + 3.1j)
    kept, want = solve_all("lu", name, shifts, target, lanes, eigenvalues=eigenvalues)
    assert (kept[:, :2] == 1.0).all()
    assert (kept[:, 2] == 0.0).all()
    scale = abs(want).max(axis=1, keepdims=True)
    assert (abs(kept[:, 3:] - want) <= 1e-9 * abs(want) + 1e-11 * scale).all()


def test_a_lane_computes_what_a_scalar_does():
    """Without fast-math the width of a group does not change a bit of the solution."""
    alone, _ = solve_all("lu", "hires", [1e3, 10.0, 1.0], "cpu", 1)
    together, _ = solve_all("lu", "hires", [1e3, 10.0, 1.0], "cpu", 8)
    np.testing.assert_array_equal(alone, together)


@pytest.mark.parametrize("kind", ["lu", "minimal_residual", "bicgstab", "gmres"])
def test_placement_does_not_change_a_bit(kind):
    """All local and all shared buffers give the same solution."""
    local, _ = solve_all(kind, "hires", [1e3, 400.0], "cpu", 8, policy="local")
    shared, _ = solve_all(kind, "hires", [1e3, 400.0], "cpu", 8, policy="shared")
    np.testing.assert_array_equal(local, shared)


ITERATIVE = [kind for kind in LINEAR_SOLVERS if kind != "lu"]


@pytest.mark.parametrize(("target", "lanes"), [("python", None), ("cpu", 8)])
@pytest.mark.parametrize("kind", ITERATIVE)
def test_iterations_converge(kind, target, lanes):
    """Where M dominates, every iterative solver meets its tolerance, real and complex."""
    shifts = [2000.0, 900.0, 5000.0]
    kept, want = solve_all(
        kind, "lorenz96", shifts, target, lanes,
        eigenvalues=(1.0, 1.5 + 0.8j), krylov_tolerance=1e-9,
    )  # fmt: skip
    assert (kept[:, :2] == 1.0).all()
    assert (kept[:, 2] > 0.0).all()
    np.testing.assert_allclose(kept[:, 3:], want, rtol=1e-6, atol=1e-11)


@pytest.mark.parametrize("kind", ITERATIVE)
def test_without_a_preconditioner_the_residual_is_taken_itself(kind):
    """The solution is the same (K7)."""
    options = {"preconditioner": "none", "krylov_tolerance": 1e-9}
    kept, want = solve_all(kind, "lorenz96", [2000.0, 900.0, 5000.0], "cpu", 8, **options)
    assert (kept[:, 1] == 1.0).all()
    np.testing.assert_allclose(kept[:, 3:], want, rtol=1e-6, atol=1e-11)


def untraceable(t, y):
    """How often the loop runs depends on the state."""
    power = 1.0
    while power < y[0]:
        power = 2.0 * power
    return [-power * y[0], y[0] - 2.0 * y[1]]


def its_jacobian(t, y):
    return [[-1.0, 0.0], [y[1], -2.0]]


DIAGONALS = [
    ("minimal_residual", "none", None, 0),
    ("minimal_residual", "jacobi", None, 0),
    ("bicgstab", "jacobi", None, 0),
    ("bicgstab", "jacobi", its_jacobian, 0),
    ("bicgstab", "jacobi", "none", 2),
    ("bicgstab", "neumann", None, 2),
    ("steepest_descent", "jacobi", None, 2),
]


@pytest.mark.parametrize(("kind", "preconditioner", "jac", "size"), DIAGONALS)
def test_vectors_of_a_preconditioner(kind, preconditioner, jac, size):
    """Products contain Jacobi's: only what cannot be folded into them takes bytes (B8, K7)."""
    system = trace(untraceable if jac else pendulum, 2)
    if callable(jac):
        system = with_jacobian(system, jac)
    options = {"preconditioner": preconditioner}
    component = SystemComponent(system, "float64")
    solver = LINEAR_SOLVERS[kind](component, Blocks(2), False, 0.01, "float64", options)
    placements = solver.buffer_registry.lay_out("shared").plan.placements
    for name in ("preconditioned_vec", "inverse_diagonal"):
        assert placements[f"linear_solver.{name}"].n_elements == size


def pendulum(t, y):
    return [y[1], -np.sin(y[0]) - y[1]]


def scaled_matrix(system, mass, shift, y, parameters):
    """Return ((s M - J) D^-1, D^-1) by the generated module on plain numbers, column by column."""
    n, pair = system.n_states, isinstance(shift, complex)
    suffix, given = ("_pair", (shift.real, shift.imag)) if pair else ("", (shift,))
    module = scaled_module(system, mass, pair)
    matrices = []
    for name in ("product", "scale"):
        columns = []
        for unit in np.eye(n):
            vector = np.concatenate([unit, 0.0 * unit]) if pair else unit.copy()
            out = np.empty_like(vector)
            function = getattr(module, name + suffix)
            if name == "scale":
                out = vector
                function(*given, 0.0, y, parameters, out, 0)
            else:
                function(*given, 0.0, y, parameters, vector, 0, out, 0)
            columns.append(out[:n] + 1j * out[n:] if pair else out)
        matrices.append(np.array(columns).T)
    return matrices


@pytest.mark.parametrize("shift", [40.0, 30.0 + 20.0j])
@pytest.mark.parametrize("name", ["robertson", "hires", "oregonator", "coupled"])
def test_the_matrix_preconditioned_by_its_diagonal(name, shift):
    """Generated products are those of dense matrices, with and without a mass matrix."""
    system, (y,) = system_of(name), sample(name, 1)
    n, parameters = system.n_states, SYSTEMS[name][2]
    jac = jacobian_at(system, y, parameters)
    for matrix in (np.eye(n), np.diag(np.arange(2.0, n + 2.0)) + np.eye(n, k=1)):
        entries = mass_entries(n, matrix)
        product, scale = scaled_matrix(system, entries, shift, y, parameters)
        whole = shift * matrix - jac
        np.testing.assert_allclose(scale, np.diag(1.0 / np.diag(whole)), rtol=1e-12)
        np.testing.assert_allclose(product, whole / np.diag(whole), rtol=1e-9, atol=1e-12)


def test_a_given_jacobian_is_preconditioned_by_its_diagonal():
    """The user's Jacobian has expressions where the right-hand side has none."""
    system = with_jacobian(trace(untraceable, 2), its_jacobian)
    assert system.kind == "compiled"
    product, scale = scaled_matrix(system, mass_entries(2), 3.0, [0.5, 0.7], ())
    np.testing.assert_allclose(scale, [[1 / 4, 0.0], [0.0, 1 / 5]])
    np.testing.assert_allclose(product, [[1.0, 0.0], [-0.7 / 4, 1.0]])


@pytest.mark.parametrize("kind", ITERATIVE)
def test_preconditioners_save_iterations(kind):
    """Jacobi needs fewer iterations than nothing, the Neumann series fewer than Jacobi."""
    counts = []
    for preconditioner in ("none", "jacobi", "neumann"):
        options = {"preconditioner": preconditioner, "krylov_tolerance": 1e-8}
        kept, want = solve_all(kind, "pollu", [1e4, 1e4], "python", None, **options)
        if preconditioner != "none":
            assert (kept[:, 1] == 1.0).all()
            scale = abs(want).max(axis=1, keepdims=True)
            assert (abs(kept[:, 3:] - want) <= 1e-4 * scale).all()
        counts.append(kept[0, 2])
    assert counts[0] > counts[1] > counts[2]


def test_an_iteration_that_does_not_converge_says_so():
    """The mask is false, the iterations are those allowed, and nothing hangs on NaN."""
    options = {"max_linear_iterations": 3, "krylov_tolerance": 1e-12}
    kept, _ = solve_all("minimal_residual", "robertson", [1e-3, np.nan], "cpu", 8, **options)
    assert (kept[:, 1] == 0.0).all()
    assert kept[0, 2] == 3.0


@pytest.mark.parametrize(("target", "lanes"), TARGETS)
def test_a_singular_matrix_is_reported_for_its_lane_only(target, lanes):
    """Shift 0 leaves Robertson's singular Jacobian: its mask is false, its neighbours' true."""
    kept, want = solve_all("lu", "robertson", [1.0, 0.0, 5.0], target, lanes)
    assert kept[:, 0].tolist() == [1.0, 0.0, 1.0]
    for run in (0, 2):
        np.testing.assert_allclose(kept[run, 3:], want[run], rtol=1e-9)


def test_a_singular_mass_matrix_leaves_a_regular_system():
    """M with a zero row, as of a differential-algebraic system, is fine for LU."""
    mass = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 0.0))
    kept, want = solve_all("lu", "oregonator", [100.0], "python", None, mass=mass)
    np.testing.assert_allclose(kept[:, 3:], want, rtol=1e-9)


def test_pivots_leave_the_diagonal_only_where_they_must():
    """A row without diagonal entry gets another pivot; rows that share one column are an error."""
    swapped = eliminate(2, [(0, 1), (1, 0), (1, 1)])
    assert set(swapped.pivots) == {(0, 1), (1, 0)}
    assert not swapped.in_place
    assert eliminate(2, [(0, 0), (0, 1), (1, 0), (1, 1)]).in_place
    with pytest.raises(StructurallySingular, match="whatever its numbers are"):
        eliminate(2, [(0, 0), (1, 0)])


@pytest.mark.parametrize("seed", range(20))
def test_random_patterns_factorise_into_what_was_there(seed):
    """Fill-in is complete: on random sparse matrices no product is lost."""
    random = np.random.default_rng(seed)
    n = int(random.integers(2, 9))
    dense = np.where(random.random((n, n)) < 0.35, random.normal(size=(n, n)), 0.0)
    dense += np.diag(random.uniform(3.0, 5.0, n))[random.permutation(n)]
    found = eliminate(n, [tuple(p) for p in np.argwhere(dense).tolist()])
    rows, columns = (list(side) for side in zip(*found.pivots, strict=True))
    factors = dense[np.ix_(rows, columns)]
    for k in range(n):
        factors[k + 1 :, k] /= factors[k, k]
        factors[k + 1 :, k + 1 :] -= np.outer(factors[k + 1 :, k], factors[k, k + 1 :])
    stored = {(i, j) for i in range(n) for j, _ in found.row(i)}
    assert {tuple(p) for p in np.argwhere(factors).tolist()} <= stored


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        (
            "preconditioner",
            "ilu",
            "must be one of 'none', 'jacobi', 'neumann', 'ilu0', 'block_jacobi', 'banded'",
        ),
        ("krylov_tolerance", 2.0, "above 0 and below 1"),
        ("max_linear_iterations", 0, "an int from 1"),
        ("neumann_order", 2.5, "an int from 1 to 20"),
        (
            "neumann_order",
            3,
            "no effect with preconditioner='jacobi'; give preconditioner='neumann'",
        ),
        (
            "jacobi_block_size",
            4,
            "no effect with preconditioner='jacobi'; give preconditioner='block_jacobi'",
        ),
        (
            "preconditioner_bandwidth",
            0,
            "no effect with preconditioner='jacobi'; give preconditioner='banded'",
        ),
        ("jacobi_block_size", 0, "an int from 1 to 100000, or None"),
        ("preconditioner_bandwidth", 1.5, "an int from 0 to 100000, or None"),
    ],
)
def test_bad_options_are_named(option, value, says):
    """An option out of range is an error that names it and what is allowed."""
    component = SystemComponent(Shape(), "float64")
    with pytest.raises(InvalidOption, match=says):
        BiCGSTAB(component, Blocks(1), False, 0.01, "float64", {option: value})


@pytest.mark.parametrize("linear_solver", [name for name in LINEAR_SOLVERS if name != "lu"])
def test_equations_without_a_diagonal_are_refused_in_words(linear_solver):
    """Residuals are weighed by it. In another order the same equations are solved."""

    def crossed(t, y, k):
        return -k * y[2], y[2] - y[0], y[1] - 2.0 * y[0]

    def ordered(t, y, k):
        return -k * y[2], y[1] - 2.0 * y[0], y[2] - y[0]

    options = {"mass_matrix": np.diag([1.0, 0.0, 0.0]), "backend": "python", "rtol": 1e-6}
    options |= {"method": "rodas5p", "linear_solver": linear_solver}
    start, advice = [1.0, 2.0, 1.0], r"equation 1 holds neither y\[1\] nor its derivative"
    with pytest.raises(InvalidOption, match=advice):
        solve_ivp(crossed, (0.0, 1.0), start, args=(1.0,), **options)
    result = solve_ivp(ordered, (0.0, 1.0), start, args=(1.0,), **options)
    assert result.success
    np.testing.assert_allclose(result.y[:, -1], np.exp(-1.0) * np.array(start), rtol=1e-5)
