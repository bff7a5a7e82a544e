"""Hundreds and thousands of states: nothing ends the process, and no code grows with them."""

import itertools
import threading

import numpy as np
import pytest

from cubie import Solver
from cubie.backend import make_backend
from cubie.backend.cpu import compiler
from cubie.errors import UnknownOption
from cubie.solvers.kept_entries import FACTORISED
from cubie.systems import mass
from cubie.tableaus.catalogue import all_methods

SMALL_STACK = 1 << 20
T_END = 1e-3
SIZES = (300, 1000, 5000)
WITHOUT_MATRIX = [
    {"linear_solver": "bicgstab"},
    {"linear_solver": "minimal_residual"},
    {"linear_solver": "steepest_descent"},
    {"linear_solver": "bicgstab", "preconditioner": "neumann"},
    {"linear_solver": "bicgstab", "mass_matrix": "scaled"},
    {"linear_solver": "gmres"},
    *({"linear_solver": "bicgstab", "preconditioner": kind} for kind in FACTORISED),
    {"linear_solver": "gmres", "preconditioner": "ilu0", "mass_matrix": "scaled"},
]
IN_THE_SUITE = {("rk4", ""), ("sdirk2", "bicgstab"), ("sdirk2", "bicgstab ilu0")}


def lorenz_96(t, y):
    return (np.roll(y, -1) - np.roll(y, 2)) * np.roll(y, 1) - y + 8.0


def cases():
    for method, options in [
        *((name, {}) for name in all_methods()),
        *(("sdirk2", options) for options in WITHOUT_MATRIX),
        *(("radau_iia_5", options) for options in WITHOUT_MATRIX),
    ]:
        other = " ".join(options.values())
        here = (method, other) in IN_THE_SUITE
        # The rank of a mass matrix is found by its singular values.
        sizes = SIZES[:2] if "mass_matrix" in options else SIZES
        marks = [] if here else [pytest.mark.every_config]
        name = "-".join(filter(None, (method, *options.values())))
        yield pytest.param(method, options, sizes[::2] if here else sizes, id=name, marks=marks)


def solved(n, method, options, fun=lorenz_96, start=None):
    """Solve nine runs, or those given, in a thread with a small stack; raise what it raised."""
    if "mass_matrix" in options:
        options = {**options, "mass_matrix": np.linspace(1.0, 2.0, n)}
    if start is None:
        start = 8.0 + 0.01 * np.sin(np.arange(n) * np.arange(1, 10)[:, None])
    found = []

    def work():
        try:
            solver = Solver(
                fun, method=method, backend="cpu", save="final", fastmath=False,
                first_step=T_END / 4, **options,
            )  # fmt: skip
            found.append(solver.solve((0.0, T_END), start))
        except BaseException as error:
            found.append(error)

    before = threading.stack_size(SMALL_STACK)
    try:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    if isinstance(found[0], BaseException):
        raise found[0]
    return found[0]


@pytest.mark.parametrize(("method", "options", "sizes"), [*cases()])
def test_code_and_stack_do_not_grow(method, options, sizes, monkeypatch):
    """A thread with a small stack solves any size, by as many instructions."""
    counts = []

    def counted(module, frame_bytes=compiler._frame_bytes):
        blocks = (block for function in module.functions for block in function.blocks)
        counts.append(sum(1 for block in blocks for _ in block.instructions))
        return frame_bytes(module)

    monkeypatch.setattr(compiler, "_frame_bytes", counted)
    for n in sizes:
        result = solved(n, method, options)
        assert result.success.all()
        # Around the circle all states start alike but for little, and go on alike.
        assert np.abs(result.y - 8.0).max() < 0.02
    assert len(counts) == len(sizes)
    # The compiler unrolls some loops, and others not.
    assert max(counts) < 1.5 * min(counts)


def test_loops_are_not_copied_into_every_stage(monkeypatch):
    """Equations and substitutions in loops are functions that a step with eight stages calls."""
    found = []

    def noted(module, frame_bytes=compiler._frame_bytes):
        found.extend(each.name for each in module.functions if not each.is_declaration)
        return frame_bytes(module)

    monkeypatch.setattr(compiler, "_frame_bytes", noted)
    result = solved(300, "rodas5p", {"lu_form": "tables"})
    assert result.success.all()
    names = [name.partition(".")[0] for name in found]
    assert {"rhs", "jacobian", "solve_in_place"} <= {*names}
    assert names.count("solve_in_place") == 1


def network(n):
    """Return neurons that are all connected."""
    weights = np.random.default_rng(1).normal(size=(n, n)) / np.sqrt(n)

    def fun(t, y):
        return weights @ np.tanh(y) - y

    return fun


def methods_once(*here):
    """Yield all methods and sizes; those that are not named are left to long runs."""
    for method, n in itertools.product(all_methods(), SIZES[:2]):
        marks = [] if (method, n) in here else [pytest.mark.every_config]
        yield pytest.param(method, n, marks=marks)


@pytest.mark.parametrize(("method", "n"), [*methods_once(("rk4", 300))])
def test_dense_matrices_end_no_process(method, n):
    """States that all depend on each other, in a thread with a small stack."""
    result = solved(n, method, {}, network(n), np.ones((2, n)))
    assert result.success.all()
    change = network(n)(0.0, np.ones(n)) * T_END
    np.testing.assert_allclose(result.y[:, :, -1] - 1.0, [change, change], rtol=2e-2, atol=1e-5)


@pytest.mark.every_config
@pytest.mark.parametrize("method", list(all_methods()))
def test_every_size_has_a_plan_for_a_gpu(method):
    """Up to 5000 states, and 1000 with dense factors: what a thread cannot hold is elsewhere."""
    for n, form in ((300, "auto"), (1000, "auto"), (5000, "auto"), (300, "dense"), (1000, "dense")):
        options = {"method": method, "device": "sm_90", "verify": False, "first_step": 1e-3}
        try:
            solver = Solver(lorenz_96, **options, **({} if form == "auto" else {"lu_form": form}))
        except UnknownOption:
            continue  # no matrix, no form
        plan = solver.prepare(np.ones(n))
        assert plan.local_bytes + plan.persistent_bytes <= 496 * 1024
        assert plan.status == "optimal"


@pytest.mark.every_config
def test_stacks_of_thousands_of_states_keep_the_limit_of_a_gpu():
    """Compiled for sm_90, what is planned outside local memory is not in it."""
    solver = Solver(lorenz_96, method="radau_iia_5", device="sm_90", verify=False)
    plan = solver.prepare(np.ones(5000))
    assert plan.global_bytes > 500_000
    assert solver.resources().stack_bytes <= 512 * 1024


def test_products_with_a_mass_matrix_are_the_same_in_loops(monkeypatch):
    """Rows of several entries, of one, and of none; of the text's sums no bit differs."""
    rng, n = np.random.default_rng(1), 40
    matrix = rng.normal(size=(n, n)) * (rng.uniform(size=(n, n)) < 0.1)
    matrix[7], matrix[8] = 0.0, np.eye(n)[3]
    entries, vector = mass.mass_entries(n, matrix), rng.normal(size=n + 2)
    backend, found = make_backend("python", np.float64, False), []
    for most in (0, n * n):
        monkeypatch.setattr(mass, "MOST_IN_TEXT", most)
        out = np.ones(n + 1)
        mass.build_mass_product(backend, n, entries)(0.3, vector, 2, out, 1)
        found.append(out)
    np.testing.assert_array_equal(*found)
    np.testing.assert_allclose(found[0][1:], 1.0 + 0.3 * (matrix @ vector[2:]))
