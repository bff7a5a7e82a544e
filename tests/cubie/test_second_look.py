"""With fixed steps no run fails where the equations of its steps have a solution."""

import numpy as np
import pytest

import cubie
from cubie.tableaus import DIRKTableau, FIRKTableau, get_tableau
from tests.cubie.targets import on_targets

RHO = np.linspace(0.0, 21.0, 1024)
DIAGONAL = (
    "backwards_euler", "implicit_midpoint", "crank_nicolson", "sdirk2", "l_stable_sdirk_4",
    "tr_bdf2", "kvaerno3", "kvaerno5", "kencarp4",
)  # fmt: skip
COUPLED = ("gauss_legendre_2", "gauss_legendre_4", "radau_iia_3", "radau_iia_5", "radau_iia_9")


def lorenz(t, y, rho):
    """Lorenz's equations; each stage of a diagonally implicit method is a cubic equation."""
    return [10.0 * (y[1] - y[0]), y[0] * (rho - y[2]) - y[1], y[0] * y[1] - 8.0 / 3.0 * y[2]]


def solve(method, halvings, rho, **options):
    # Alike in all tests: those of a method have one kernel for each dtype.
    options = {"dtype": "float32", "backend": "cpu", "lanes": 8, "save": "steps"} | options
    options = {"fastmath": options["dtype"] == "float32"} | options
    return cubie.solve_ivp(
        lorenz, (0.0, 1.0), np.array([1.0, 0.0, 0.0]), args=(rho,), method=method,
        step_controller="fixed", first_step=0.5**halvings, **options,
    )  # fmt: skip


def stage_equations(a, rho):
    """Return the residual of the equations of all stages, and its derivative."""
    stages = len(a)

    def residual(k, y, h):
        points = y + h * a @ k.reshape(stages, 3)
        return k - np.concatenate([lorenz(0.0, point, rho) for point in points])

    def matrix(k, y, h):
        points = y + h * a @ k.reshape(stages, 3)
        full = np.eye(3 * stages)
        for i, (p, q, r) in enumerate(points):
            own = np.array([[-10.0, 10.0, 0.0], [rho - r, -1.0, -p], [q, p, -8.0 / 3.0]])
            full[3 * i : 3 * i + 3] -= h * np.kron(a[i], own)
        return full

    return residual, matrix


def plain_solution(tableau, h, rho):
    """Take the steps in plain NumPy, for one run: continuation in h, and Newton's own matrix."""
    a, b = np.array(tableau.a, dtype=float), np.array(tableau.b, dtype=float)
    stages, y = len(b), np.array([1.0, 0.0, 0.0])

    residual, matrix = stage_equations(a, rho)
    for _ in range(round(1.0 / h)):
        k = np.tile(lorenz(0.0, y, rho), stages)
        for size in np.linspace(0.0, h, 41)[1:]:
            for _ in range(20):
                change = np.linalg.solve(matrix(k, y, size), residual(k, y, size))
                k = k - change
                if np.abs(change).max() < 1e-12 * (1.0 + np.abs(k).max()):
                    break
        if not np.abs(residual(k, y, h)).max() < 1e-8 * (1.0 + np.abs(k).max()):
            return None  # the solution that starts at the state has ended on the way
        y = y + h * b @ k.reshape(stages, 3)
    return y


@pytest.mark.parametrize(
    ("method", "backend"), on_targets(DIAGONAL + COUPLED, ["crank_nicolson", "radau_iia_5"])
)
def test_no_run_fails_where_the_equations_have_a_solution(method, backend):
    """Steps as long as half the span, runs from a fixed point to the edge of chaos."""
    lanes = 8 if backend == "cpu" else 1
    for halvings in (1, 3):
        result = solve(method, halvings, RHO[::64], backend=backend, lanes=lanes)
        assert (result.status == 0).all(), (halvings, result.status)


@pytest.mark.every_config
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("method", DIAGONAL + COUPLED)
def test_no_run_of_the_whole_sweep_fails(method, dtype):
    """1024 runs with thirteen sizes of the step, and with tolerances near rounding."""
    tight = 2e-6 if dtype == "float32" else 1e-10
    for halvings in range(1, 14):
        for tolerance in (1e-3, tight):
            close = {"rtol": tolerance, "atol": tolerance}
            result = solve(method, halvings, RHO, dtype=dtype, save="final", **close)
            failed = np.flatnonzero(result.status)
            assert not failed.size, (halvings, tolerance, failed)


# By run and tolerance: equations that changes of the size of rounding would not let go of, and
# equations of which a solution is found on the third or fourth way only.
HARD = {
    ("l_stable_sdirk_4", "float32", 2e-6): [822],
    ("kvaerno5", "float32", 2e-6): [846, 898],
    ("kencarp4", "float32", 2e-6): [765],
    ("radau_iia_3", "float32", 1e-3): [643, 679, 680, 681, 682],
    ("radau_iia_3", "float64", 1e-3): [639, 640, 681],
    ("radau_iia_3", "float64", 1e-10): [643, 644, 681],
}


@pytest.mark.parametrize(("method", "dtype", "tolerance"), HARD)
def test_the_hardest_runs_solve_the_equations_of_their_steps(method, dtype, tolerance):
    """Near the end of a branch of solutions, and where rounding hides the solution."""
    rho = RHO[HARD[method, dtype, tolerance]]
    tableau = get_tableau(method)
    result = solve(method, 1, rho, dtype=dtype, rtol=tolerance, atol=tolerance)
    assert (result.status == 0).all()
    if isinstance(tableau, FIRKTableau):
        assert all(
            is_a_step(tableau, 0.5, value, *run.T[-2:], max(1e-4, 10 * tolerance))
            for value, run in zip(rho, result.y, strict=True)
        )


def is_a_step(tableau, h, rho, start, end, tolerance):
    """Tell whether some solution of the stages' equations leads from start to end."""
    a, b = np.array(tableau.a, dtype=float), np.array(tableau.b, dtype=float)
    residual, matrix = stage_equations(a, rho)
    random = np.random.default_rng(0)
    for _ in range(400):
        k = random.normal(scale=60.0, size=3 * len(b))
        for _ in range(50):
            change = np.linalg.solve(matrix(k, start, h), residual(k, start, h))
            k = k - change
            if np.abs(change).max() < 1e-12 * (1.0 + np.abs(k).max()):
                break
        else:
            continue
        found = start + h * b @ k.reshape(-1, 3)
        if np.abs(found - end).max() < tolerance * (1.0 + np.abs(end).max()):
            return True
    return False


@pytest.mark.parametrize("method", ["crank_nicolson", "kvaerno3", "radau_iia_5"])
def test_the_solution_found_is_that_of_the_equations(method):
    """It agrees with steps taken in plain NumPy, by another iteration."""
    h, rho = 0.125, np.array([9.0, 14.0, 20.0])
    result = solve(method, 3, rho, dtype="float64", rtol=1e-9, atol=1e-9)
    for number, value in enumerate(rho):
        wanted = plain_solution(get_tableau(method), h, value)
        assert wanted is not None
        np.testing.assert_allclose(result.y[number, :, -1], wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("linear_solver", ["lu", "bicgstab"])
@pytest.mark.parametrize("method", ["crank_nicolson", "kvaerno3", "radau_iia_5"])
def test_a_run_gets_what_it_gets_alone(method, linear_solver):
    """Neighbours that look again, and rebuild matrices, change no bit of a run that does not."""
    rho = np.array([2.0, 21.0, 5.0, 18.0, 1.0, 3.0, 20.0, 4.0])
    together = solve(method, 3, rho, linear_solver=linear_solver)
    for number, value in enumerate(rho):
        alone = solve(method, 3, np.full(8, value), linear_solver=linear_solver)
        np.testing.assert_array_equal(alone.y[0], together.y[number])
        assert alone.n_newton[0] == together.n_newton[number]
    assert len(set(together.n_newton.tolist())) > 1


@pytest.mark.parametrize("method", ["crank_nicolson", "radau_iia_5"])
def test_every_target_looks_again(method):
    """The interpreted target, with dead bytes poisoned, takes the same iterations."""
    rho = np.array([3.0, 20.0])
    plain = solve(method, 3, rho, dtype="float64", backend="python", lanes=1)
    compiled = solve(method, 3, rho, dtype="float64")
    assert (plain.status == 0).all()
    np.testing.assert_array_equal(plain.n_newton, compiled.n_newton)
    np.testing.assert_allclose(plain.y, compiled.y, rtol=1e-12)


def test_tolerances_below_rounding_are_met_as_far_as_it_lets_them():
    """States that start at zero: changes that are rounding are no failure."""
    result = solve("crank_nicolson", 6, RHO[::64], rtol=0.0, atol=1e-9)
    assert (result.status == 0).all()


def test_equations_without_a_solution_fail():
    """x = 2 + h x^2 has no real solution for h above an eighth."""
    result = cubie.solve_ivp(
        ["dx = x**2"], (0.0, 1.0), {"x": 2.0}, method="backwards_euler",
        step_controller="fixed", first_step=0.5, backend="cpu",
    )  # fmt: skip
    assert result.status == cubie.RunStatus.NEWTON_DIVERGED


def test_every_implicit_method_is_here():
    """A method that is added is tested as well."""
    for name in DIAGONAL + COUPLED:
        assert isinstance(get_tableau(name), DIRKTableau | FIRKTableau)
