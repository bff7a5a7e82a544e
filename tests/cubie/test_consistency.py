"""A differential-algebraic system that starts off its algebraic equations is told of."""

import attrs
import numpy as np
import pytest

from cubie import Solver, solve_ivp
from cubie.systems import note_on_index, trace
from cubie.systems.consistency import algebraic_combinations
from cubie.tableaus import MultistepMethod, RosenbrockTableau, Tableau, all_methods
from tests.cubie.targets import on_targets

RATES = np.linspace(0.03, 0.05, 5)
METHODS = ("rodas4", "rodas5p", "radau_iia_5", "sdirk2", "backwards_euler")


def robertson(t, y, k):
    """Robertson's kinetics with the sum of the concentrations as third equation."""
    forth, back, fast = k * y[0], 1e4 * y[1] * y[2], 3e7 * y[1] ** 2
    return -forth + back, forth - back - fast, y[0] + y[1] + y[2] - 1.0


def options_of(method):
    """Return the options of a solver for a method."""
    step = {"first_step": 1e-3} if method == "backwards_euler" else {}
    return {"method": method, "mass_matrix": [1, 1, 0], "rtol": 1e-5, "atol": 1e-8, **step}


BY_DTYPE = [(method, dtype) for method in METHODS for dtype in ("float64", "float32")]
COMPILED = [("rodas5p", "float64"), ("sdirk2", "float32")]


@pytest.mark.parametrize(("method", "dtype", "backend"), on_targets(BY_DTYPE, COMPILED))
def test_every_method_says_so(method, dtype, backend):
    """Whether a method repairs the start or fails, a note names run, equation and residual."""
    starts = np.array([[1.0, 0.0, 0.0]] * 5)
    solver = Solver(robertson, dtype=dtype, backend=backend, **options_of(method))
    for _ in range(2):  # a repeated solve takes another way to the launch
        assert solver.solve((0, 0.05), starts, args=(RATES,)).notes == ()
        wrong = starts.copy()
        wrong[3, 2] = 0.1
        (note,) = solver.solve((0, 0.05), wrong, args=(RATES,)).notes
        assert "in 1 of the runs: in run 3 the algebraic equation 2 leaves 0.1," in note


def hidden(t, y):
    """Says of the second state only what the derivative of the equation says: index 2."""
    return y[1], y[0] - np.sin(t)


def takes_mass(tableau):
    """Whether all stages of a method are implicit, as a singular mass matrix asks."""
    if not isinstance(tableau, Tableau):
        return isinstance(tableau, MultistepMethod)
    diagonal = all(tableau.a[i][i] != 0 for i in range(tableau.n_stages))
    return isinstance(tableau, RosenbrockTableau) or diagonal


IMPLICIT = [tableau.name for tableau in all_methods().values() if takes_mass(tableau)]


@pytest.mark.parametrize("method", IMPLICIT)
def test_hidden_equations_are_told_of(method):
    """Whatever a method does from a start off the equations of an index above 1, notes say so."""
    step = {"first_step": 1e-2, "backend": "python"}  # the note is no matter of the target
    options = {"method": method, "mass_matrix": [1, 0], **step}
    missed, of_index = solve_ivp(hidden, (0, 0.05), [0.1, 1.0], **options).notes
    assert "in run 0 the algebraic equation 1 leaves 0.1," in missed
    assert "(equation 1 is one too many" in of_index
    (note,) = solve_ivp(hidden, (0, 0.05), [0.0, 5.0], **options).notes
    assert note == of_index


@pytest.mark.parametrize("seed", range(20))
def test_index_1_is_never_taken_for_more(seed):
    """Equations with a regular, dense or sparse, badly scaled part are nobody's note."""
    rng = np.random.default_rng(seed)
    k = int(rng.integers(1, 5))
    part = np.tril(rng.normal(size=(k, k)))[rng.permutation(k)] * 10.0 ** rng.integers(
        -8, 3, (k, 1)
    )
    turned = np.linalg.qr(rng.normal(size=(k + 1, k + 1)))[0] if seed % 2 else np.eye(k + 1)
    mass = turned @ np.diag([1.0] + [0.0] * k) @ turned.T

    def index_1(t, y):
        z = turned.T @ y
        return turned @ np.concatenate([[-z[0]], part @ z[1:] + z[0]])

    system = attrs.evolve(trace(index_1, k + 1), mass=tuple(map(tuple, mass)))
    assert note_on_index(system, 0.0, np.zeros((k + 1, 3)), np.zeros((0, 3))) is None


def test_a_start_within_the_tolerances_is_consistent():
    """What tolerances explain is no fault of the start."""
    result = solve_ivp(robertson, (0, 1), [1.0, 0.0, 1e-6], args=(0.04,), **options_of("rodas4"))
    assert result.notes == ()


def called(t, y, k):
    """Repeats something as often as the state says: it cannot be traced."""
    total = 0.0
    while total < y[0]:
        total += y[0]
    return -k * y[0], total - y[1]


def test_equations_that_are_called_are_looked_at_too():
    """A function that could not be traced is called for its starts."""

    with pytest.warns(UserWarning, match="traced"):
        result = solve_ivp(
            called, (0, 1), [[1.0, 1.0], [1.0, 3.0]], args=(RATES[:2],), method="rodas4",
            mass_matrix=[1, 0],
        )  # fmt: skip
    assert any("in run 1 the algebraic equation 1 leaves 2," in note for note in result.notes)


def test_the_run_named_is_one_of_all_runs():
    """Where only some of many starts are looked at, the note names the run by its own number."""
    starts = np.ones((1001, 2))
    starts[-1, 1] = 3.0
    options = {"backend": "cpu", "method": "rodas4", "mass_matrix": [1, 0]}
    with pytest.warns(UserWarning, match="traced"):
        result = solve_ivp(called, (0, 1), starts, args=(0.04,), **options)
    assert any("in run 1000 the algebraic" in note for note in result.notes), result.notes


@pytest.mark.parametrize("seed", range(20))
def test_combinations_hold_no_derivative(seed):
    """They span all z with z M = 0, whatever the scale of the rows."""
    rng = np.random.default_rng(seed)
    n, rank = 5, int(rng.integers(0, 6))
    matrix = rng.integers(-2, 3, (n, rank)) @ rng.integers(-2, 3, (rank, n)) * 1.0
    matrix *= 10.0 ** rng.integers(-9, 3, (n, 1))
    scaled = matrix / np.maximum(np.abs(matrix).max(axis=1, keepdims=True), 1e-300)
    combinations = algebraic_combinations(tuple(map(tuple, matrix)))
    assert len(combinations) == n - np.linalg.matrix_rank(scaled)
    assert np.abs(combinations @ matrix).max(initial=0.0) < 1e-9 * np.abs(matrix).max(initial=1.0)
