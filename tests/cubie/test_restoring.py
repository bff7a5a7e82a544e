"""Algebraic variables behind a break: an input jumps, and they follow before the next step."""

import math

import numpy as np
import pytest

from cubie import Interpolant, RunStatus, Solver, solve_ivp
from cubie.systems.null_space import may_have_index_one, null_projectors
from cubie.tableaus import MultistepMethod, RosenbrockTableau, Tableau, all_methods
from cubie.tableaus.kinds import ERKTableau

random = np.random.default_rng(20240527)
LEVELS = (1.0, 4.0, -2.0)
HELD = Interpolant([0.0, 1.0, 2.0], LEVELS, "previous", "hold")
# Right behind the jumps at 1 and 2, in them, and between.
TIMES = np.array([0.0, 0.5, 1.0, 1.0 + 1e-4, 1.5, 2.0, 2.0 + 1e-4, 3.0])


def takes_mass(tableau):
    """Whether all stages of a method are implicit, as a mass matrix asks."""
    if not isinstance(tableau, Tableau):
        return isinstance(tableau, MultistepMethod)
    if isinstance(tableau, ERKTableau):
        return False
    diagonal = all(tableau.a[i][i] != 0 for i in range(tableau.n_stages))
    return isinstance(tableau, RosenbrockTableau) or diagonal


METHODS = [tableau for tableau in all_methods().values() if takes_mass(tableau)]
FAMILIES = ("rodas5p", "radau_iia_5", "sdirk2")


def linear(t, y, u):
    """0 = u - z - y / 2 with y' = -y + z."""
    return [-y[0] + y[1], u(t) - y[1] - 0.5 * y[0]]


def exact(times):
    """Return y and z of `linear` at times, from y = 0 on; at a jump z is that before."""
    y, begin, found = 0.0, 0.0, []
    for time in times:
        while begin + 1.0 < time and begin < 2.0:
            y = _later(y, LEVELS[int(begin)], 1.0)
            begin += 1.0
        level = LEVELS[int(begin)]
        now = _later(y, level, time - begin)
        found.append((now, level - 0.5 * now))
    return np.array(found).T


def _later(y, level, duration):
    return level / 1.5 + (y - level / 1.5) * math.exp(-1.5 * duration)


@pytest.mark.parametrize("tableau", METHODS, ids=lambda t: t.name)
def test_every_method_goes_on_from_a_consistent_state(tableau):
    """Points right behind a jump, and summaries, are those of the solution: nothing overshoots."""
    fixed = not tableau.has_error_estimate
    options = {"first_step": 0.01} if fixed else {"rtol": 1e-6, "atol": 1e-8}
    result = solve_ivp(
        linear, (0.0, 3.0), [0.0, 1.0], tableau.name, TIMES, args=(HELD,), mass_matrix=[1.0, 0.0],
        summaries={"y1": ["max", "min", "argmax", "integral", "final"]}, backend="python",
        **options,
    )  # fmt: skip
    assert result.success
    within = 5e-3 * (20 if tableau.order == 1 else 1) if fixed else 1e-4
    wanted = exact(TIMES)
    np.testing.assert_allclose(result.y, wanted, atol=within)
    # A jump moves no component that has a derivative.
    np.testing.assert_allclose(result.y[0, [3, 6]], result.y[0, [2, 5]], atol=2e-3)
    found = result.summaries["y1"]
    highest, lowest = 4.0 - 0.5 * wanted[0, 2], -2.0 - 0.5 * wanted[0, 5]
    assert found["max"] == pytest.approx(highest, abs=within)
    assert found["argmax"] == 1.0
    assert found["min"] == pytest.approx(lowest, abs=within)
    # The integral of z: y' + y is z.
    grid = np.linspace(0.0, 3.0, 3001)
    area = wanted[0, -1] + np.trapezoid(exact(grid)[0], grid)
    assert found["integral"] == pytest.approx(area, abs=5 * within)


A, B = np.array([[1.0, 2.0], [1.0, -1.0]]), np.array([[1.0, 0.5], [-2.0, 1.0]])
MIXED = A @ np.diag([1.0, 0.0]) @ B


def mixed(t, x, u):
    """`linear`, its equations and its states mixed: no row or column of the matrix is zero."""
    y, z = B[0, 0] * x[0] + B[0, 1] * x[1], B[1, 0] * x[0] + B[1, 1] * x[1]
    first, second = -y + z, u(t) - z - 0.5 * y
    return [A[0, 0] * first + A[0, 1] * second, A[1, 0] * first + A[1, 1] * second]


@pytest.mark.parametrize("linear_solver", ["lu", "bicgstab"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("method", FAMILIES)
def test_any_singular_matrix_will_do(method, dtype, linear_solver):
    """A matrix that mixes states has the same solution, with factors and with iterations."""
    tolerance = 1e-6 if dtype == "float64" else 1e-4
    result = solve_ivp(
        mixed, (0.0, 3.0), np.linalg.solve(B, [0.0, 1.0]), method, TIMES, args=(HELD,),
        mass_matrix=MIXED, dtype=dtype, linear_solver=linear_solver, step_controller="fixed",
        first_step=0.02, rtol=tolerance, atol=tolerance, backend="python",
    )  # fmt: skip
    assert result.success
    np.testing.assert_allclose(B @ result.y, exact(TIMES), atol=4 * tolerance + 1e-4)


def diode(t, y, u):
    """A current, exponential in a voltage, in series with a resistor."""
    return [-y[0], u(t) - y[1] - np.exp(y[1])]


def bent(t, y, u):
    """Flat far out: whole changes of Newton's method lead farther and farther from there."""
    return [-y[0], np.arctan(y[1]) - u(t)]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("method", FAMILIES)
@pytest.mark.parametrize(
    ("fun", "start", "levels", "residual"),
    [
        (diode, 0.0, (1.0, 4.0), lambda z, u: u - z - np.exp(z)),
        (diode, 0.0, (1.0, 600.0), lambda z, u: u - z - np.exp(z)),
        (bent, np.tan(1.5), (1.5, -0.5), lambda z, u: 10.0 * (z - np.tan(u))),
    ],
)
def test_nonlinear_equations_are_solved(fun, start, levels, residual, method, dtype):
    """Near or far, the variable behind the jump solves its equation."""
    u, tolerance = Interpolant([0.0, 1.0], levels, "previous", "hold"), 1e-6
    if dtype == "float32":
        tolerance = 1e-4
    result = solve_ivp(
        fun, (0.0, 1.5), [1.0, start], method, [1.0, 1.0001, 1.5], args=(u,), dtype=dtype,
        mass_matrix=[1.0, 0.0], rtol=tolerance, atol=0.1 * tolerance, backend="python",
    )  # fmt: skip
    assert result.success
    z = result.y[1].astype(float)
    assert z[0] == pytest.approx(start, rel=1e-4, abs=1e-6)
    assert np.all(np.abs(residual(z[1:], levels[1])) < 20 * tolerance * abs(levels[1]))


def folded(t, y, u):
    """Solved by a root, where the input is not negative."""
    return [-y[0], u(t) - y[1] * y[1]]


@pytest.mark.parametrize("method", FAMILIES)
def test_a_run_without_a_solution_ends_at_the_break_and_says_so(method):
    """It alone: its state is that before, the sentence tells the time and what to look at."""
    times = np.array([0.0, 1.0])
    levels = np.array([[1.0, 4.0], [1.0, -1.0], [4.0, 1.0]])
    result = solve_ivp(
        folded, (0.0, 2.0), [[1.0, 1.0], [1.0, 1.0], [1.0, 2.0]], method,
        args=(Interpolant(times, levels, "previous", "hold"),), mass_matrix=[1.0, 0.0],
        rtol=1e-6, backend="python",
    )  # fmt: skip
    assert result.status.tolist() == [0, RunStatus.INCONSISTENT_AT_BREAK, 0]
    assert result.t_reached.tolist() == [2.0, 1.0, 2.0]
    np.testing.assert_allclose(result.y[:, 1, -1], [2.0, 1.0, 1.0], atol=1e-5)
    sentence = RunStatus.INCONSISTENT_AT_BREAK.message
    assert "Behind a break" in sentence
    assert "t_reached" in sentence


@pytest.mark.parametrize(
    ("method", "linear_solver"),
    [*((method, "lu") for method in FAMILIES), (FAMILIES[0], "minimal_residual")],
)
def test_neighbours_do_not_matter(method, linear_solver):
    """Runs that meet breaks at other times than their neighbours get the same bits alone."""

    def switched(t, y, at, level):
        return [-y[0] + y[1], np.where(t < at, 1.0, level) - y[1] - np.exp(0.2 * y[1]) + 0.1 * y[0]]

    at, level = random.uniform(0.1, 1.9, 11), random.uniform(-3.0, 6.0, 11)
    solver = Solver(
        switched, method=method, mass_matrix=[1.0, 0.0], rtol=1e-5, atol=1e-7, backend="cpu",
        lanes=8, linear_solver=linear_solver,
    )  # fmt: skip
    start = [0.0, _root(lambda z: 1.0 - z - math.exp(0.2 * z))]

    def solve(some):
        solver.update(breakpoints=at[some][:, None])
        y0 = np.tile(start, (len(some), 1))
        return solver.solve((0.0, 2.0), y0, args=(at[some], level[some]))

    together = solve(np.arange(11))
    assert np.all(together.success)
    z, y = together.y[:, 1, -1], together.y[:, 0, -1]
    assert np.all(np.abs(level - z - np.exp(0.2 * z) + 0.1 * y) < 1e-4)
    for run in (0, 4, 10):
        alone = solve(np.array([run]))
        assert alone.y[0].tobytes() == together.y[run].tobytes()
        for name in ("n_steps", "n_rejected", "n_newton", "n_linear"):
            assert getattr(alone, name)[0] == getattr(together, name)[run]


def _root(function):
    low, high = -10.0, 10.0
    for _ in range(200):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if function(middle) > 0.0 else (low, middle)
    return low


@pytest.mark.parametrize("method", FAMILIES)
def test_time_may_run_backwards(method):
    """The value is that before the jump, in the direction of the run."""
    end = exact([3.0])[:, 0]
    times = [3.0, 2.5, 2.0 - 1e-4, 1.5, 1.0 - 1e-4]
    result = solve_ivp(
        linear, (3.0, 0.9), end, method, times, args=(HELD,), mass_matrix=[1.0, 0.0], rtol=1e-8,
        atol=1e-10, backend="python",
    )  # fmt: skip
    assert result.success
    np.testing.assert_allclose(result.y, exact(times[::-1])[:, ::-1], atol=2e-4)


@pytest.mark.parametrize("method", FAMILIES)
def test_breaks_where_nothing_jumps_change_nothing(method):
    """Kinks of an input, and times that are only given, are passed by any sound run."""
    ramp = Interpolant([0.0, 0.5, 1.0, 2.0], [1.0, 1.0, 3.0, 3.0], "linear")
    plain, broken = (
        solve_ivp(
            diode, (0.0, 2.0), [1.0, 0.0], method, args=(ramp,), mass_matrix=[1.0, 0.0],
            rtol=1e-6, atol=1e-8, backend="python", **more,
        )
        for more in ({}, {"breakpoints": [0.2, 0.7, 1.3, 1.9]})
    )  # fmt: skip
    assert plain.success
    assert broken.success
    np.testing.assert_allclose(broken.y[:, -1], plain.y[:, -1], atol=1e-5)


def test_an_index_above_one_is_not_made_consistent():
    """Its algebraic equations do not determine the variable: runs go on as at other times."""

    def hidden(t, y):
        return [y[1], y[0] - np.sin(t)]

    assert not may_have_index_one(((1.0, 0.0), (0.0, 0.0)), ((0, 1), (1, 0)))
    result = solve_ivp(
        hidden, (0.0, 2.0), [0.0, 1.0], "backwards_euler", breakpoints=[1.0], first_step=0.01,
        mass_matrix=[1.0, 0.0], rtol=1e-6, backend="python",
    )  # fmt: skip
    assert result.success
    assert result.y[0, -1] == pytest.approx(np.sin(2.0), abs=1e-5)


@pytest.mark.parametrize("method", FAMILIES)
@pytest.mark.parametrize(
    ("options", "restores"),
    [
        ({"mass_matrix": [1.0, 0.0], "breakpoints": [0.5]}, True),
        ({"mass_matrix": [1.0, 0.0]}, False),
        ({"mass_matrix": [1.0, 2.0], "breakpoints": [0.5]}, False),
        ({"breakpoints": [0.5]}, False),
    ],
)
def test_nobody_else_pays(method, options, restores):
    """Only a singular matrix together with breaks needs bytes, and code, to restore a state."""
    solver = Solver(lambda t, y: [-y[0], y[0] - y[1]], method=method, backend="python", **options)
    result = solver.solve((0.0, 1.0), [1.0, 1.0])
    assert result.success
    placements = result.plan.placements
    (state,) = (name for name in placements if name.endswith(".restored_state"))
    assert (placements[state].n_elements > 0) == restores


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_projectors_are_those_of_the_matrix(n):
    """They leave what M does not see, and what its rows do not make, and nothing else."""
    for _ in range(20):
        rank = int(random.integers(0, n))
        left, right = random.normal(size=(n, rank)), random.normal(size=(rank, n))
        mass = left @ right if random.random() < 0.7 else np.diag(np.arange(n) < rank)
        # Capacitances beside ones.
        scaled = mass * 10.0 ** random.integers(-12, 1, (n, 1)).astype(float)
        rows = tuple(tuple(row) for row in scaled.astype(float).tolist())
        onto_algebraic, onto_null = (_matrix(entries, n) for entries in null_projectors(rows))
        sizes = np.abs(scaled).max(axis=1)
        sizes = np.where(sizes == 0.0, 1.0, sizes)
        # Of rows of equal size.
        balanced, evened = onto_algebraic * sizes / sizes[:, None], scaled / sizes[:, None]
        for projector in (onto_null, balanced):
            np.testing.assert_allclose(projector @ projector, projector, atol=1e-9)
            assert np.linalg.matrix_rank(projector, 1e-6) == n - rank
        np.testing.assert_allclose(evened @ onto_null, 0.0, atol=1e-9)
        np.testing.assert_allclose(balanced @ evened, 0.0, atol=1e-9)
    diagonal = tuple(tuple(row) for row in np.diag([1.0, 0.0, 2e-12]).tolist())
    assert null_projectors(diagonal) == ({(1, 1): 1.0}, {(1, 1): 1.0})


def _matrix(entries, n):
    matrix = np.zeros((n, n))
    for place, value in entries.items():
        matrix[place] = value
    return matrix
