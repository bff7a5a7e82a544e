"""Implicit steps against the oracle's, stiff problems, and how runs fail (K3-K7)."""

import numpy as np
import pytest
import scipy.integrate

from cubie import RunStatus, Solver, solve_ivp
from cubie.algorithms.dirk_storage import DIRKStorage, dirk_storage
from cubie.errors import InvalidOption, UnknownOption
from cubie.integrator import ALGORITHMS
from cubie.tableaus import DIRKTableau, ERKTableau, all_tableaus, get_tableau
from tests.oracle.steps import System, take_step
from tests.oracle.stiff_problems import robertson, van_der_pol

IMPLICIT = [
    t.name for t in all_tableaus().values() if type(t) in ALGORITHMS and type(t) is not ERKTableau
]
# One of each family, where all would take too long.
TYPICAL = [name for name in ("rodas5p", "kvaerno3", "radau_iia_5") if name in IMPLICIT]
ITERATIVE = {"linear_solver": "bicgstab", "krylov_tolerance": 1e-12}


def forced(t, y, rate):
    """Stiff relaxation onto a moving target, nonlinear, and dependent on the time."""
    return [-rate * (y[0] - np.cos(t)) + y[1] * y[1], -y[1] + t * y[0], y[0] * y[1] - 3.0 * y[2]]


START = np.array([0.8, 1.2, 0.3])


def one_step(method, h, **options):
    """Return the result of one step of size h from t = 0.5."""
    given = {"backend": "python", "fastmath": False, "step_controller": "fixed"} | options
    return solve_ivp(
        forced, (0.5, 0.5 + h), START, method, args=(50.0,), first_step=abs(h), **given
    )  # fmt: skip


@pytest.mark.parametrize("method", IMPLICIT)
def test_a_step_is_that_of_the_oracle(method):
    """The new state equals that of a plain NumPy step with dense algebra, forwards and back."""
    tight = {} if method in ROSENBROCK else {"newton_tolerance": 1e-9}
    system = System(lambda t, y: np.array(forced(t, y, 50.0)))
    for h in (0.03, -0.01):
        result = one_step(method, h, **tight)
        wanted = take_step(get_tableau(method), system, 0.5, START, h).y
        assert result.status == RunStatus.SUCCESS
        np.testing.assert_allclose(result.y[:, -1], wanted, rtol=1e-8)


ROSENBROCK = [name for name in IMPLICIT if hasattr(get_tableau(name), "gamma_exact")]


@pytest.mark.parametrize("method", TYPICAL)
def test_iterative_linear_solvers_take_the_same_step(method):
    """Krylov iterations in place of LU change the step by their tolerance only, and are counted."""
    direct, iterative = one_step(method, 0.01), one_step(method, 0.01, **ITERATIVE)
    np.testing.assert_allclose(iterative.y, direct.y, rtol=1e-8)
    blocks = 2 if method == "radau_iia_5" else 1
    assert (direct.n_linear, direct.njev, direct.nlu) == (0, 1, blocks)
    assert iterative.n_linear > 0
    assert (iterative.njev, iterative.nlu) == (0, 0)


DIAGONAL = [name for name in IMPLICIT if isinstance(get_tableau(name), DIRKTableau)]
GATHERING = [name for name in DIAGONAL if dirk_storage(get_tableau(name)).gathers is not None]


@pytest.mark.parametrize("method", GATHERING)
def test_sums_that_are_gathered_early_have_the_same_bits(method, monkeypatch):
    """Sums are those of all stages, added in their order; the first stage is kept."""

    def solve():
        solver = Solver(
            forced, backend="python", method=method, fastmath=False, rtol=1e-5, atol=1e-7
        )
        return solver.solve((0.5, 0.9), START, args=(50.0,))

    gathered, asked = solve(), []
    monkeypatch.setattr(
        "cubie.algorithms.dirk.dirk_storage",
        lambda tableau, kept: asked.append(method) or DIRKStorage(tableau, None, kept),
    )
    at_the_end = solve()
    assert asked
    assert gathered.t.size > 3
    np.testing.assert_array_equal(gathered.y, at_the_end.y)
    np.testing.assert_array_equal(gathered.t, at_the_end.t)


def reference(fun, t_end, y0, args=()):
    """Return SciPy's solution at the end, to eight digits."""
    span = (0.0, t_end)
    solved = scipy.integrate.solve_ivp(fun, span, y0, "Radau", args=args, rtol=1e-9, atol=1e-11)
    return solved.y[:, -1]


@pytest.mark.parametrize("method", IMPLICIT)
def test_robertson_with_dead_bytes_poisoned(method):
    """Errors stay near the tolerance, and nothing reads what it did not write."""
    options = {} if get_tableau(method).has_error_estimate else {"first_step": 2e-4}
    result = solve_ivp(
        robertson, (0.0, 40.0 if not options else 0.02), [1.0, 0.0, 0.0], method, rtol=1e-4,
        atol=1e-8, backend="python", fastmath=False, save="final", **options,
    )  # fmt: skip
    assert result.status == RunStatus.SUCCESS
    wanted = reference(robertson, result.t_reached, [1.0, 0.0, 0.0])
    np.testing.assert_allclose(result.y[:, -1], wanted, rtol=1e-2 if options else 1e-3, atol=2e-8)


@pytest.mark.parametrize("method", TYPICAL)
def test_van_der_pol_in_lanes(method):
    """Stiff runs of different length share a group of lanes, and each ends where SciPy's does."""
    stiffness = np.array([1.0, 10.0, 100.0, 1000.0])
    result = solve_ivp(
        van_der_pol, (0.0, 20.0), [2.0, 0.0], method, args=(stiffness,), rtol=1e-7, atol=1e-9,
        backend="cpu", lanes=4,
    )  # fmt: skip
    assert (result.status == RunStatus.SUCCESS).all()
    assert result.n_steps[3] < 1000
    for run, mu in enumerate(stiffness):
        wanted = reference(van_der_pol, 20.0, [2.0, 0.0], (mu,))
        np.testing.assert_allclose(result.y[run, :, -1], wanted, rtol=1e-4, atol=1e-6)
    again = solve_ivp(
        van_der_pol, (0.0, 20.0), [2.0, 0.0], method, args=(stiffness[::-1],), rtol=1e-7,
        atol=1e-9, backend="cpu", lanes=4,
    )  # fmt: skip
    np.testing.assert_array_equal(again.y[::-1], result.y)


def growth(t, y, rate):
    """The matrix of an implicit step is singular where rate = 1 / (h gamma)."""
    return [rate * y[0]]


def test_a_singular_matrix_ends_its_own_run_only():
    """The status says so, and neighbours are bit-identical to a batch without that run."""
    h, gamma = 0.125, get_tableau("rodas4").gamma
    rates = np.array([-1.0, 1.0 / (h * gamma), -3.0, 0.5])
    options = {"step_controller": "fixed", "first_step": h, "backend": "cpu", "lanes": 4}
    result = solve_ivp(growth, (0.0, 1.0), [1.0], "rodas4", args=(rates,), **options)
    well = [0, 2, 3]
    assert result.status[1] == RunStatus.SINGULAR_JACOBIAN
    assert (result.status[well] == RunStatus.SUCCESS).all()
    assert RunStatus.SINGULAR_JACOBIAN.sentence in result.message
    others = solve_ivp(growth, (0.0, 1.0), [1.0], "rodas4", args=(rates[well],), **options)
    np.testing.assert_array_equal(result.y[well], others.y)


def test_a_linear_solver_that_gives_up_has_a_status():
    """One iteration with a tolerance out of reach is a failure."""
    result = solve_ivp(
        robertson, (0.0, 1.0), [1.0, 0.0, 0.0], "rodas4", backend="python", save="final",
        step_controller="fixed", first_step=0.1,
        linear_solver="minimal_residual", krylov_tolerance=1e-15, max_linear_iterations=1,
    )  # fmt: skip
    assert result.status == RunStatus.NEWTON_DIVERGED
    assert not result.success


def test_the_work_is_counted():
    """One Jacobian and one factorization an attempt, a right-hand side a stage."""
    result = solve_ivp(
        robertson, (0.0, 1.0), [1.0, 0.0, 0.0], "rodas4", backend="python", save="final"
    )
    attempts = result.n_steps + result.n_rejected
    assert (result.njev, result.nlu) == (attempts, attempts)
    assert result.nfev == 6 * attempts + 2


def test_options_of_the_chosen_linear_solver_are_known():
    """Each solver brings its options; those of another one are refused by name."""
    problem = (robertson, (0.0, 1e-3), [1.0, 0.0, 0.0], "rodas4")
    common = {"backend": "python", "save": "final"}
    assert solve_ivp(*problem, linear_solver="bicgstab", max_linear_iterations=9, **common).success
    assert solve_ivp(*problem, lu_factors_location="shared", **common).success
    with pytest.raises(UnknownOption, match="max_linear_iterations"):
        solve_ivp(*problem, max_linear_iterations=9, **common)
    with pytest.raises(InvalidOption, match="must be one of 'lu', 'minimal_residual'"):
        solve_ivp(*problem, linear_solver="qr", **common)
    with pytest.raises(UnknownOption, match="linear_solver"):
        solve_ivp(*problem[:3], "tsit5", linear_solver="lu", **common)


def jumping(t, y, height):
    """Its right-hand side jumps, by far more than Newton's method can follow."""
    return [height * (np.sign(y[0] - 0.5) + 1.0) * y[0] ** 3 - y[0]]


@pytest.mark.parametrize("method", [name for name in TYPICAL if name not in ROSENBROCK])
def test_a_newton_iteration_that_diverges_ends_its_own_run_only(method):
    """With a fixed step the run ends with its own status, and its neighbours do not notice."""
    heights = np.array([0.0, 1e6, 0.0, 0.0])
    options = {"step_controller": "fixed", "first_step": 0.25, "backend": "cpu", "lanes": 4}
    start = np.array([0.4999, 2.0, 0.3, 0.2])[:, None]
    result = solve_ivp(jumping, (0.0, 1.0), start, method, args=(heights,), **options)
    well = [0, 2, 3]
    assert result.status[1] == RunStatus.NEWTON_DIVERGED
    assert (result.status[well] == RunStatus.SUCCESS).all()
    others = solve_ivp(jumping, (0.0, 1.0), start[well], method, args=(heights[well],), **options)
    np.testing.assert_array_equal(result.y[well], others.y)


def constrained(t, y):
    """Robertson's reactions with the conservation of mass in place of the third equation."""
    first, second, _ = robertson(t, y)
    return [first, second, y[0] + y[1] + y[2] - 1.0]


ALL_IMPLICIT = ["rodas4", "rodas5p", "l_stable_sdirk_4", "radau_iia_5"]


@pytest.mark.parametrize("method", ALL_IMPLICIT)
def test_a_singular_mass_matrix(method):
    """A differential-algebraic system of index one has the solution of the full equations."""
    result = solve_ivp(
        constrained, (0.0, 40.0), [1.0, 0.0, 0.0], method, rtol=1e-5, atol=1e-9,
        mass_matrix=np.diag([1.0, 1.0, 0.0]), backend="python", save="final",
    )  # fmt: skip
    assert result.status == RunStatus.SUCCESS
    wanted = reference(robertson, 40.0, [1.0, 0.0, 0.0])
    np.testing.assert_allclose(result.y[:, -1], wanted, rtol=1e-3)
    assert abs(result.y[:, -1].sum() - 1.0) < 1e-9


def test_methods_with_explicit_stages_refuse_mass_matrices():
    """An explicit stage would need a derivative that a singular mass matrix does not give."""
    with pytest.raises(InvalidOption, match="every stage must be implicit"):
        solve_ivp(
            constrained, (0.0, 1.0), [1.0, 0.0, 0.0], "kvaerno3", backend="python",
            mass_matrix=np.diag([1.0, 1.0, 0.0]),
        )  # fmt: skip


@pytest.mark.parametrize("linear_solver", ["lu", "bicgstab"])
@pytest.mark.parametrize("method", TYPICAL)
def test_placement_does_not_change_a_bit(method, linear_solver):
    """Everything local and everything shared give the same bits on the interpreted target."""
    problem = (robertson, (0.0, 0.4), [1.0, 0.0, 0.0], method)
    options = {"backend": "python", "fastmath": False, "linear_solver": linear_solver}
    if linear_solver == "bicgstab":
        options["krylov_tolerance"] = 1e-4
    local = solve_ivp(*problem, locations="local", **options)
    shared = solve_ivp(*problem, locations="shared", **options)
    assert local.status == RunStatus.SUCCESS
    np.testing.assert_array_equal(local.y, shared.y)


def test_buffers_of_the_implicit_families_have_options():
    """Every buffer of the step, of Newton's method and of the linear solver can be pinned."""
    expected = {
        "kvaerno3": (
            "stage_increment", "stage_base", "accumulator", "stage_rhs", "increment_cache",
            "delta", "residual", "residual_temp", "stage_base_bt", "krylov_iters_local",
        ),
        "radau_iia_5": ("stage_increment", "stage_state", "delta"),
        "rodas5p": (
            "stage_rhs", "stage_store", "cached_auxiliaries", "base_state_placeholder",
            "krylov_iters_out",
        ),
    }  # fmt: skip
    for method, buffers in expected.items():
        options = Solver(robertson, method=method).options
        assert {f"{name}_location" for name in buffers} <= set(options)


def test_conditional_and_aliased_buffers():
    """A cache only where the method needs one; the base lies in the sums, the change in the
    residual (A5, B8)."""
    solver = Solver(robertson, backend="python", locations="shared")
    plans = {m: solver.prepare([1.0, 0.0, 0.0], method=m) for m in ("kvaerno3", "sdirk2")}
    step = "loop.algorithm."
    for plan in plans.values():
        base, delta = (plan.placements[step + x] for x in ("stage_base", "newton.delta"))
        assert base.parent == step + "accumulator"
        assert delta.parent == step + "newton.residual"
        assert plan.placements[step + "newton.krylov_iters_local"].size_bytes == 0
    cache = step + "increment_cache"
    assert plans["kvaerno3"].placements[cache].size_bytes == 24
    assert plans["sdirk2"].placements[cache].size_bytes == 0


def test_one_implicit_stage_needs_no_base():
    """Its argument is formed from the derivatives themselves: sums and base have no bytes."""
    solver = Solver(robertson, backend="python", locations="shared")
    plan = solver.prepare([1.0, 0.0, 0.0], method="crank_nicolson")
    for name in ("stage_base", "accumulator"):
        assert plan.placements[f"loop.algorithm.{name}"].size_bytes == 0
