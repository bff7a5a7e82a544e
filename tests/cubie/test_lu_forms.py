"""Forms of LU factors: straight-line text, loops over tables, dense loops."""

import re

import attrs
import numpy as np
import pytest
from scipy.sparse import csc_array
from scipy.sparse.linalg import splu

from cubie import Solver, solve_ivp
from cubie.backend import OF_LANES
from cubie.backend.cpu.compiler import CPUCompiler
from cubie.backend.form_costs import OF_THREADS
from cubie.backend.lanes import straight_line
from cubie.backend.lanes.pieces import emit_in_pieces
from cubie.errors import InvalidOption
from cubie.solvers import LINEAR_SOLVERS, Blocks, dense_elimination, elimination, lu, lu_form
from cubie.solvers.elimination import Elimination, eliminate
from cubie.solvers.lu_form import FORMS, choose_form
from cubie.solvers.lu_tables import LUTables
from cubie.systems import trace
from cubie.systems.component import SystemComponent
from cubie.systems.generated import load_module
from tests.cubie.bench import Bench, run_bench
from tests.cubie.stiff_systems import lorenz96
from tests.cubie.test_linear_solvers import given_for, solve_exactly, solver_bench, system_of

LOOPS = ("tables", "dense")
PAIR = (3.6, 2.7 + 3.1j)


def random_matrix(seed: int, n: int, density: float) -> np.ndarray:
    """Return a matrix that is regular, with some rows that have no diagonal entry."""
    random = np.random.default_rng(seed)
    matrix = np.where(random.random((n, n)) < density, random.normal(size=(n, n)), 0.0)
    order = np.arange(n)
    order[:4] = random.permutation(4)
    matrix[order, np.arange(n)] = random.uniform(3.0, 5.0, n)
    return matrix


def linear(matrix):
    def fun(t, y):
        return [
            sum((float(a) * y[j] for j, a in enumerate(row) if a), 0.0 * y[0]) for row in matrix
        ]

    return fun


def kept_of(name, shifts, form, eigenvalues=(1.0,), target="python", lanes=None, policy="local"):
    """Return what a solver's bench keeps of each run: (regular, solved, 0, solution)."""
    system = system_of(name)
    blocks = Blocks(system.n_states, eigenvalues)
    component, options = SystemComponent(system, "float64"), {"lu_form": form}
    solver = LINEAR_SOLVERS["lu"](component, blocks, False, 0.01, "float64", options)
    bench = solver_bench(solver, system.n_states, system.n_parameters)
    return run_bench(bench, given_for(name, blocks, shifts)[0], target, lanes, policy)


@pytest.mark.parametrize("seed", range(6))
def test_tables_solve_random_sparse_systems(seed):
    """Pivots on and off the diagonal, with and without mass: as SuperLU, and as fifty digits."""
    n, shift = 14, 30.0
    matrix = random_matrix(seed, n, 0.15)
    mass = np.eye(n)
    mass[:4] = 0.0
    system = attrs.evolve(trace(linear(matrix), n), mass=tuple(map(tuple, mass)))
    blocks = Blocks(n, PAIR)
    rhs = np.random.default_rng(seed).normal(size=blocks.n_unknowns)
    solver = LINEAR_SOLVERS["lu"](
        SystemComponent(system, "float64"), blocks, False, 0.01, "float64", {"lu_form": "tables"}
    )
    given = [[shift, *np.ones(n), *rhs]]
    regular, solved, _, *x = run_bench(solver_bench(solver, n, 0), given, "python")[0]
    assert regular == solved == 1.0
    real, pair = PAIR[0] * shift * mass - matrix, PAIR[1] * shift * mass - matrix
    b = rhs[n : 2 * n] + 1j * rhs[2 * n :]
    superlu = splu(csc_array(pair)).solve(b)
    found = np.array(x[n : 2 * n]) + 1j * np.array(x[2 * n :])
    np.testing.assert_allclose(found, superlu, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(found, solve_exactly(pair, b), rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(x[:n], solve_exactly(real, rhs[:n]).real, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("eigenvalue", PAIR)
@pytest.mark.parametrize("name", ["hires", "pollu", "lorenz96"])
def test_tables_round_as_text_does(name, eigenvalue):
    """Of a single block the same operations in the same order: the same bits."""
    tables = kept_of(name, [1e6, 50.0], "tables", (eigenvalue,))
    np.testing.assert_array_equal(
        tables, kept_of(name, [1e6, 50.0], "straight_line", (eigenvalue,))
    )


@pytest.mark.parametrize("n_tail", [1, 3, 6, 8])
@pytest.mark.parametrize("eigenvalues", [(3.6,), (2.7 + 3.1j,), PAIR])
def test_a_dense_end_rounds_as_tables_do(n_tail, eigenvalues, monkeypatch):
    """However many of the last pivots are a dense matrix, full or not: the same bits."""
    shifts = [1e6, 50.0]
    expected = kept_of("hires", shifts, "tables", eigenvalues)
    monkeypatch.setattr(lu_form, "_dense_end", lambda elimination, costs: n_tail)
    found = kept_of("hires", shifts, "tables", eigenvalues)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("eigenvalue", PAIR)
def test_a_compiled_dense_end_gives_the_bits_of_text(eigenvalue, monkeypatch):
    """Not a bit depends on the group's width, on neighbours, or on where factors lie."""
    monkeypatch.setattr(lu_form, "_dense_end", lambda elimination, costs: 5)
    shifts, given = [1e3, 10.0, 1.0], ("tables", (eigenvalue,))
    alone = kept_of("hires", shifts, *given, "cpu", 1)
    together = kept_of("hires", shifts, *given, "cpu", 8, "shared")
    np.testing.assert_array_equal(alone, together)
    np.testing.assert_array_equal(kept_of("hires", shifts, *given), together)


@pytest.mark.parametrize("seed", range(4))
def test_a_dense_end_solves_where_pivots_leave_the_diagonal(seed, monkeypatch):
    """Rows change places in it, entries of the mass matrix and the Jacobian move: as SuperLU."""
    monkeypatch.setattr(lu_form, "_dense_end", lambda elimination, costs: 5 + 3 * seed)
    test_tables_solve_random_sparse_systems(seed)


@pytest.mark.parametrize("eigenvalues", [(1.0,), (1.0 + 1.0j,)])
def test_a_dense_end_tells_singular_pivots(eigenvalues, monkeypatch):
    """What pivots before it took from one of its own counts for what is lost to cancellation."""
    monkeypatch.setattr(lu_form, "_dense_end", lambda elimination, costs: 2)
    test_a_singular_pivot_is_told_in_its_lane("tables", eigenvalues)


@pytest.mark.parametrize("n", [4, 7, 16, 19, 38])
@pytest.mark.parametrize("eigenvalues", [(3.6,), (2.7 + 3.1j,), PAIR])
def test_panels_and_blocks_of_a_dense_matrix(n, eigenvalues, monkeypatch):
    """Of any size, with what is left of panels and pairs: one pivot after another, to the bit."""
    matrix = random_matrix(n, n, 1.0) + 3.0 * np.eye(n)
    blocks, shift = Blocks(n, eigenvalues), 30.0
    rhs = np.random.default_rng(n).normal(size=blocks.n_unknowns)
    component = SystemComponent(trace(linear(matrix), n), "float64")
    options, found = {"lu_form": "dense"}, []
    for width in (4, 16, 8):
        monkeypatch.setattr(dense_elimination, "BLOCK", width)
        solver = LINEAR_SOLVERS["lu"](component, blocks, False, 0.01, "float64", options)
        bench = solver_bench(solver, n, 0)
        found.append(run_bench(bench, [[shift, *np.ones(n), *rhs]], "python")[0])
    regular, solved, _, *x = found[0]
    assert regular == solved == 1.0
    np.testing.assert_array_equal(found[1:], [found[0]] * 2)
    for eigenvalue, at in zip(eigenvalues, blocks.offsets, strict=True):
        parts = rhs[at : at + n], rhs[at + n : at + 2 * n]
        b, size = (parts[0] + 1j * parts[1], 2) if eigenvalue.imag else (parts[0], 1)
        expected = np.linalg.solve(eigenvalue * shift * np.eye(n) - matrix, b)
        expected = np.concatenate([expected.real, expected.imag])[: size * n]
        np.testing.assert_allclose(x[at : at + size * n], expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(("lanes", "dtype"), [(8, "float64"), (1, "float64"), (8, "float32")])
def test_dense_panels_in_any_company(lanes, dtype):
    """Radau's real and complex factors of 22 states: as the interpreter, beside any neighbours."""
    n, shifts = 22, np.array([1e3, 10.0, 1.0, 0.3, 30.0, 3e4, 2.0, 5.0, 7.0])
    blocks, options = Blocks(n, PAIR), {"lu_form": "dense"}
    component = SystemComponent(trace(linear(random_matrix(1, n, 0.8)), n), dtype)
    rhs = np.random.default_rng(1).normal(size=blocks.n_unknowns)
    solver = LINEAR_SOLVERS["lu"](component, blocks, False, 0.01, dtype, options)
    bench, given = solver_bench(solver, n, 0, dtype), [[s, *np.ones(n), *rhs] for s in shifts]
    found = run_bench(bench, given, "cpu", lanes, dtype=dtype)
    np.testing.assert_array_equal(found, run_bench(bench, given, "python", dtype=dtype))
    assert found[:, 0].all()


@pytest.mark.parametrize("form", LOOPS)
def test_compiled_loops_give_the_bits_of_text_over_lanes_and_placements(form):
    """Not a bit depends on the group's width, on neighbours, or on where factors lie."""
    shifts = [1e3, 10.0, 1.0]
    alone = kept_of("hires", shifts, form, target="cpu", lanes=1)
    together = kept_of("hires", shifts, form, target="cpu", lanes=8, policy="shared")
    np.testing.assert_array_equal(alone, together)
    interpreted = kept_of("hires", shifts, form)
    np.testing.assert_array_equal(interpreted, together)


@pytest.mark.parametrize("eigenvalues", [(1.0,), (1.0 + 1.0j,)])
@pytest.mark.parametrize("form", FORMS)
def test_a_singular_pivot_is_told_in_its_lane(form, eigenvalues):
    """Robertson's Jacobian alone is singular; so is a matrix whose entries overflow."""
    kept = kept_of("robertson", [1.0, 0.0, np.inf], form, eigenvalues)
    assert kept[:, 0].tolist() == [1.0, 0.0, 0.0]


METHODS = ("rodas5p", "kvaerno5", "radau_iia_5", "BDF", "LSODA")


@pytest.mark.parametrize("method", METHODS)
def test_every_family_steps_by_tables(method):
    """The same steps as by text; to the bit where there is one real block."""
    y0 = 8.0 + np.sin(np.arange(6.0))
    options = {"args": (8.0,), "method": method, "backend": "python", "rtol": 1e-3}
    tables, text, dense = (
        solve_ivp(lorenz96, (0.0, 0.05), y0, lu_form=form, **options)
        for form in ("tables", "straight_line", "dense")
    )
    assert tables.success
    assert tables.n_steps == text.n_steps
    np.testing.assert_allclose(tables.y, text.y, rtol=1e-12)
    np.testing.assert_allclose(dense.y, text.y, rtol=1e-12)
    if method != "radau_iia_5":
        np.testing.assert_array_equal(tables.y, text.y)


@pytest.mark.parametrize("lanes", [1, 8])
def test_text_in_pieces_computes_what_it_does_in_one(lanes, monkeypatch):
    """Not a bit changes where functions are cut, of equations, masks and what is returned."""
    shifts = [1e3, 10.0, 0.0]
    expected = kept_of("pollu", shifts, "straight_line")
    cut = []

    def counting(emit, statements, length):
        cut.append(len(statements))
        return emit_in_pieces(emit, statements, length)

    monkeypatch.setattr(CPUCompiler, "statements_at_once", 7)
    monkeypatch.setattr(straight_line, "emit_in_pieces", counting)
    found = kept_of("pollu", shifts, "straight_line", target="cpu", lanes=lanes)
    np.testing.assert_array_equal(found[:2], expected[:2])
    np.testing.assert_array_equal(found[:, 0], expected[:, 0])
    assert min(cut) > 7


def test_a_name_may_be_a_number_in_one_piece_and_lanes_in_another():
    """Numbers go through no memory; what only a loop knows is not asked for behind it."""
    text = (
        "from cubie.backend import select\n"
        "def f(t, y, at, out):\n"
        "    a = y[0]\n    b = 2.0\n    c = a * b\n    m = a > c\n    a = 3.0\n    b = y[1]\n"
        "    s = 0.0\n    for k in range(2):\n        x = y[k]\n        s = s + x\n"
        "    x = y[2]\n    d = b * c + s * x\n    e = a + d\n"
        "    c = 1.0\n    g = select(m, e, d) + c\n"
        "    h = g * b - t - x\n    out[at + 0] = h\n    out[at + 1] = a * g + c * d + e\n"
    )
    module = load_module(text)

    def make_body(bench, context):
        call = context.backend.straight_line(module.f, inline=False)

        def body(memory, launch, given, kept):
            call(given[2], given, 1, kept)
            kept[0] = given[0]

        return body

    given = np.random.default_rng(0).normal(size=(8, 3))
    expected = run_bench(Bench([], 3, 3, make_body), given, "python")
    for length in (1, 2, 5):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(CPUCompiler, "statements_at_once", length)
            found = run_bench(Bench([], 3, 3, make_body), given, "cpu", 8)
        np.testing.assert_array_equal(found, expected)


def ring(n: int) -> Elimination:
    """Eliminate in a cyclic tridiagonal pattern."""
    return eliminate(n, [((j + d) % n, j) for j in range(n) for d in (-1, 0, 1)])


def full(n: int) -> Elimination:
    return eliminate(n, [(i, j) for j in range(n) for i in range(n)])


def test_the_form_follows_from_size_and_fill():
    """Small ones are text, large ones loops: sparse over tables, full ones dense."""
    assert choose_form(ring(20), Blocks(20), "auto").form == "straight_line"
    assert choose_form(ring(1000), Blocks(1000), "auto").form == "tables"
    assert choose_form(full(60), Blocks(60), "auto").form == "dense"
    pinned = choose_form(ring(20), Blocks(20), "dense")
    assert (pinned.form, pinned.pinned) == ("dense", True)
    # Two blocks, one of them complex, take as long to compile as four real ones.
    assert choose_form(ring(200), Blocks(200), "auto").form == "straight_line"
    assert choose_form(ring(200), Blocks(200, PAIR), "auto").form == "tables"


def test_threads_take_text_as_long_as_a_first_call_allows():
    """Loops over tables cost a thread far more than lanes; only compile time limits text there.

    In machine code for sm_90 a product is one instruction in text, and eleven over tables; Radau
    IIA with 40 states takes as long to compile either way.
    """
    lorenz = eliminate(40, [((j + d) % 40, j) for j in range(40) for d in (-2, -1, 0, 1)])
    assert choose_form(lorenz, Blocks(40, PAIR), "auto", OF_THREADS).form == "straight_line"
    assert choose_form(lorenz, Blocks(40, PAIR), "auto", OF_LANES).form == "tables"
    assert choose_form(full(20), Blocks(20), "auto", OF_THREADS).form == "straight_line"
    assert choose_form(full(80), Blocks(80), "auto", OF_THREADS).form == "dense"
    assert choose_form(ring(2000), Blocks(2000, PAIR), "auto", OF_THREADS).form == "tables"
    most = choose_form(ring(20), Blocks(20), "auto", OF_THREADS).estimates["straight_line"]
    assert str(most).split(",")[0].endswith("instructions of a run")


@pytest.mark.parametrize("backend", ["cpu", "cuda"])
def test_the_target_decides_on_the_form(backend):
    """A solver hands down what forms cost on its target: of one system another form is taken."""
    options = {"method": "radau_iia_5", "backend": backend}
    if backend == "cuda":
        options |= {"device": "sm_90", "verify": False}
    solver = Solver(lorenz96, **options)
    solver.prepare(np.ones(40), args=(8.0,))
    (told,) = solver.choices
    form = {"cpu": "tables", "cuda": "straight_line"}[backend]
    assert f"{form}, chosen by estimate" in told


def test_dense_substitutions_are_in_a_kernel_once():
    """Stages call one substitution in loops: a copy for each makes 80 states compile for long."""
    options = {"method": "rodas5p", "device": "sm_90", "locations": "local", "verify": False}
    solver = Solver(lorenz96, lu_form="dense", **options)
    solver.prepare(np.ones(8), args=(8.0,))
    code = solver.resources().ptx
    assert len(set(re.findall(r"\.func\s+(cubie_\d+_solve)\s*\(", code))) == 1
    assert len(re.findall(r"^\s*cubie_\d+_solve,", code, re.MULTILINE)) == 8


def test_networks_end_with_a_dense_matrix():
    """What is left of a random network is full; of a ring there is nothing that would pay."""
    random, n = np.random.default_rng(0), 150
    first = [(i, i) for i in range(n)]
    first += [tuple(pair) for pair in random.integers(0, n, (5 * n, 2)).tolist()]
    network = eliminate(n, first)
    choice = choose_form(network, Blocks(n), "tables")
    assert 40 < choice.n_tail < 100
    assert f"the last {choice.n_tail} pivots dense" in str(choice)
    assert choose_form(ring(1000), Blocks(1000), "auto").n_tail == 0
    # The entries that are kept, full rows and columns and where the Jacobian's were.
    found = network.with_tail(choice.n_tail)
    assert found.n_slots == choice.estimates["tables"].n_entries
    assert sorted({*found.slots.values()}) == sorted(found.slots.values())
    assert max(found.slots.values()) == found.n_slots - 1
    assert all(target >= found.tail_at for _, target in found.moved)
    # No product of the dense matrix stands in a table.
    assert len(LUTables.of(found).targets) == sum(network.products_of[: n - choice.n_tail])


def test_dense_factors_need_pivots_on_the_diagonal():
    """Where a diagonal entry is zero by its place, the message names the forms that are left."""
    swapped = eliminate(2, [(0, 1), (1, 0)])
    with pytest.raises(InvalidOption, match=r"lu_form.*'dense'.*'straight_line', 'tables'"):
        choose_form(swapped, Blocks(2), "dense")
    assert choose_form(swapped, Blocks(2), "auto").form == "straight_line"


def test_the_choice_is_told():
    """A solver says which form it took, whether that was asked for, and what others would cost."""
    solver = Solver(lorenz96, method="rodas5p", backend="cpu", lu_form="tables")
    solver.prepare(np.ones(8), args=(8.0,))
    (told,) = solver.choices
    assert told.startswith("LU factors of 8 states:")
    assert "tables, chosen by lu_form" in told
    assert all(f"\n  {form}: " in told for form in FORMS)
    explicit = Solver(lorenz96, method="tsit5", backend="cpu")
    explicit.prepare(np.ones(8), args=(8.0,))
    assert explicit.choices == ()


def test_the_form_is_found_again_without_elimination(monkeypatch, tmp_path):
    """Another process reads what was chosen; what it cannot read it finds anew."""
    monkeypatch.setenv("CUBIE_CACHE_DIR", str(tmp_path))
    n = lu.LEAST_KEPT

    def solver():
        found = SystemComponent(trace(lorenz96, n, (8.0,)), "float64")
        return LINEAR_SOLVERS["lu"](found, Blocks(n, PAIR), False, 0.01, "float64", {})

    counted = []

    def counting(*args):
        counted.append(args)
        return eliminate(*args)

    monkeypatch.setattr(lu, "eliminate", counting)
    first = solver()
    told = str(first.choice)
    assert len(counted) == 1
    again = solver()
    assert str(again.choice) == told
    assert len(counted) == 1
    (entry,) = (each for each in tmp_path.rglob("*.json") if b"n_tail" in each.read_bytes())
    entry.write_bytes(entry.read_bytes().replace(b'"n_tail": 0', b'"n_tail": "0"'))
    assert str(solver().choice) == told
    assert len(counted) == 2


def test_an_unknown_form_is_refused():
    """The message names those there are."""
    with pytest.raises(InvalidOption, match="'auto', 'straight_line', 'tables', 'dense'"):
        Solver(lorenz96, method="rodas5p", lu_form="sparse").prepare(np.ones(8), args=(8.0,))


def eliminated_naively(n, first):
    """Return the pivots that least fill-in gives where every cost is found anew each time."""
    rows = {i: {c for r, c in first if r == i} for i in range(n)}
    pivots = []
    while rows:
        columns = {j: {i for i in rows if j in rows[i]} for j in range(n)}

        def cost(k, columns=columns):
            right, below = rows[k] - {k}, columns[k] - {k}
            return sum(len(right - rows[i]) for i in below), len(right) * len(below), k

        k = min(rows, key=cost)
        pivots.append((k, k))
        right = rows.pop(k) - {k}
        for i in columns[k] - {k}:
            rows[i] = (rows[i] | right) - {k}
    return tuple(pivots)


@pytest.mark.parametrize("seed", range(12))
def test_pivots_are_those_of_least_fill_in(seed):
    """What an elimination leaves as it was is not looked at again, and nothing else is missed."""
    random = np.random.default_rng(seed)
    n = 18
    dense = (random.random((n, n)) < random.uniform(0.05, 0.6)) | np.eye(n, dtype=bool)
    first = [tuple(p) for p in np.argwhere(dense).tolist()]
    assert eliminate(n, first).pivots == eliminated_naively(n, first)


@pytest.mark.parametrize("least", [0, 200])
def test_pivots_of_many_rows_are_those_of_few(least, monkeypatch):
    """Sets that NumPy compares, from some size on, fill in what they do one by one."""
    random = np.random.default_rng(least)
    n = 130
    dense = (random.random((n, n)) < 0.02) | np.eye(n, dtype=bool)
    first = [tuple(p) for p in np.argwhere(dense).tolist()]
    monkeypatch.setattr(elimination, "MANY_PAIRS", least)
    monkeypatch.setattr(elimination, "LARGE_REST", n)  # to the last pivot
    assert eliminate(n, first).pivots == eliminated_naively(n, first)


def test_pivots_of_a_long_chain_leave_the_diagonal():
    """One equation without its own state moves those of two thousand others."""
    n = 2000
    first = [(i, j) for i in range(n - 1) for j in (i, i + 1)] + [(n - 1, 0)]
    found = eliminate(n, first)
    assert sorted(row for row, _ in found.pivots) == list(range(n))
    assert all(column == (row + 1) % n for row, column in found.pivots)


def test_tables_grow_with_the_products():
    """A thousand states are eliminated at once, and every product stands in the tables once."""
    found = ring(1000)
    tables = LUTables.of(found)
    assert len(tables.targets) == found.n_products
    assert tables.exchanges.size == 0
    entries = tables.below.values[0].size + tables.right.values[0].size + tables.diagonal.size
    assert entries == found.n_slots
