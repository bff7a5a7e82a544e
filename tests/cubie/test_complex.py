"""Complex states and arguments: what SciPy computes, by pairs of real numbers."""

import cmath
import pickle

import numpy as np
import pytest
from scipy.integrate import solve_ivp as by_scipy

from cubie import InvalidOption, InvalidProblem, Solver, solve_ivp
from cubie.systems.errors import BatchShapeError, ObservableError, RightHandSideError

SPAN = (0.0, 2.0)
START = [1.0 + 0.2j, 0.1 - 0.3j]
HAMILTONIAN = np.array([[1.0, 0.5j], [-0.5j, 2.0]])


def rotation(t, y):
    return 1j * y * np.array([1.0, 2.0])


def with_branches(t, y):
    first = 1j * y[0] if abs(y[0]) < 2 else -y[0]
    return [first, y[1] * np.where(t + 0.0 * y[0].real > -1.0, 1j, -0.3)]


def preallocated(t, y):
    derivative = np.zeros(2, dtype=complex)
    derivative[0] = 1j * y[0]
    derivative[1] = cmath.exp(1j * t) * y[1].conj()
    return derivative


def in_parts(t, y):
    turned = np.real(y[0]) + 1j * np.imag(y[1]) + y[1].real
    return [y[0] ** -2 + 1j * y[1].conj(), turned + complex(0.1, 0.2) - np.angle(y[0])]


def of_functions(t, y):
    a, b = y
    first = np.exp(-a) + np.sin(b) * np.sqrt(a) - np.tanh(b) / (a + 3.0)
    return [first, np.cos(b) + np.log(a + 3.0) + np.tan(0.3 * b) + np.sinh(0.1 * a) ** 2]


def of_powers(t, y):
    return [y[0] ** 2.5 / (1.0 + abs(y[1]) ** 2), y[0] ** 3 * 0.1 - np.square(y[1]) + 2.0 ** y[1]]


def of_norms(t, y):
    size = np.vdot(y, y) + np.linalg.norm(y) + np.sum(np.abs(y) ** 2)
    return y * (1j - 0.1 * size) + np.mean(y)


FUNCTIONS = (
    rotation, with_branches, preallocated, in_parts, of_functions, of_powers, of_norms,
)  # fmt: skip


@pytest.mark.parametrize("fun", FUNCTIONS, ids=lambda fun: fun.__name__)
def test_functions_of_complex_states(fun):
    """What a right-hand side may do with complex numbers gives what it gives in SciPy."""
    ours = solve_ivp(fun, SPAN, START, "RK45", rtol=1e-7, atol=1e-9, backend="python")
    theirs = by_scipy(fun, SPAN, START, rtol=1e-10, atol=1e-12)
    assert ours.y.dtype == complex
    np.testing.assert_allclose(ours.y[:, -1], theirs.y[:, -1], rtol=2e-6)


@pytest.mark.parametrize("method", ["RK23", "RK45", "DOP853"])
def test_steps_are_those_of_scipy(method):
    """Tolerances are of moduli: the steps, and their sizes, are SciPy's own."""
    y0 = [1.0 + 0.0j, 1.0j]
    ours = solve_ivp(rotation, (0.0, 10.0), y0, method, backend="python", fastmath=False)
    theirs = by_scipy(rotation, (0.0, 10.0), y0, method)
    # Factors of step sizes are powers, which differ in their last digits.
    np.testing.assert_allclose(ours.t, theirs.t, rtol=1e-6)
    np.testing.assert_allclose(ours.y, theirs.y, rtol=1e-5)


@pytest.mark.parametrize("options", [{"atol": 0.0}, {"atol": [1e-6, 1e-9]}, {"rtol": [1e-6, 1e-7]}])
@pytest.mark.parametrize("method", ["tsit5", "kvaerno5", "rodas5p", "radau_iia_5"])
def test_tolerances(method, options):
    """Where a real part is zero its state is not; tolerances of a component are of both parts."""
    given = {"rtol": 1e-6, "atol": 1e-8, **options}
    result = solve_ivp(rotation, SPAN, [1.0, 1.0j], method, **given, backend="python")
    exact = np.array([1.0, 1.0j]) * np.exp(1j * SPAN[1] * np.array([1.0, 2.0]))
    assert result.success
    np.testing.assert_allclose(result.y[:, -1], exact, rtol=3e-5)
    assert result.n_rejected <= 3


def test_stiff_equations():
    """Methods with Newton's iteration take the derivatives by real and imaginary parts."""

    def fun(t, y):
        return [-500.0 * (y[0] - np.exp(1j * t)) + 1j * np.exp(1j * t), 1j * y[0] - y[1]]

    for method in ("kvaerno5", "rodas5p", "Radau"):
        result = solve_ivp(fun, SPAN, [1.0 + 0j, 0.0], method, rtol=1e-6, backend="python")
        np.testing.assert_allclose(result.y[0, -1], np.exp(2j), rtol=1e-5)


def test_complex_args():
    """Numbers, matrices and entries of lists may be complex, of real states too."""
    options = {"rtol": 1e-7, "atol": 1e-9}

    def fun(t, y, a, h, pair):
        return a * y - 1j * (h @ y) + pair[0] * pair[1]["b"]

    args = (-0.3 + 2j, HAMILTONIAN, [0.1, {"b": 1j}])
    ours = solve_ivp(fun, SPAN, START, args=args, backend="python", **options)
    theirs = by_scipy(fun, SPAN, START, args=args, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(ours.y[:, -1], theirs.y[:, -1], rtol=1e-5)
    real = solve_ivp(
        lambda t, y, c: [-abs(c) * y[0], (c * y[1]).real], SPAN, [1.0, 2.0], args=(0.2 + 1j,),
        backend="python", **options,
    )  # fmt: skip
    assert real.y.dtype == float
    exact = [np.exp(-2.0 * abs(0.2 + 1j)), 2.0 * np.exp(0.4)]
    np.testing.assert_allclose(real.y[:, -1], exact, rtol=1e-5)


def test_complex_numbers_within_a_real_function():
    """Real states may go through complex arithmetic, as a rotation or a resonance does."""

    def fun(t, y):
        z = complex(y[0], y[1]) * np.exp(0.5j * t) / (1.0 + 2j)
        response = 1.0 / (1j * 3.0 - 2.0 + y[0])
        return [z.real - 0.3 * y[0], z.imag * abs(response), np.angle(z + 3.0)]

    ours = solve_ivp(fun, SPAN, [1.0, 0.5, 0.0], rtol=1e-7, atol=1e-9, backend="python")
    theirs = by_scipy(fun, SPAN, [1.0, 0.5, 0.0], rtol=1e-10, atol=1e-12)
    assert not ours.notes
    np.testing.assert_allclose(ours.y[:, -1], theirs.y[:, -1], rtol=1e-5)


def test_batches():
    """A leading axis of runs, in states and in arguments; every step of each as a ragged array."""
    rates = np.array([1j, -2.0, -0.5 + 1j])
    options = {"rtol": 1e-7, "atol": 1e-9, "args": (rates,), "backend": "python"}
    y0 = np.array([[1j, 2.0], [1.0, 1j], [2.0, 3.0]])
    result = solve_ivp(lambda t, y, a: a * y, SPAN, y0, **options)
    exact = y0 * np.exp(2.0 * rates)[:, None]
    assert result.y.shape == (3, 2, 1)
    np.testing.assert_allclose(result.y[:, :, 0], exact, rtol=1e-5)
    steps = solve_ivp(lambda t, y, a: a * y, SPAN, y0[0], save="steps", **options)
    for run, rate in enumerate(rates):
        assert steps.y[run].shape == (2, len(steps.t[run]))
        np.testing.assert_allclose(steps.y[run][:, -1], y0[0] * np.exp(2.0 * rate), rtol=1e-5)
    again = pickle.loads(pickle.dumps(steps))
    np.testing.assert_array_equal(again.y[1], steps.y[1])


def test_single_precision():
    """complex64 selects it, as float32 does."""
    result = solve_ivp(rotation, SPAN, np.array(START, np.complex64), backend="python")
    assert result.y.dtype == np.complex64
    exact = START * np.exp(2j * np.array([1.0, 2.0]))
    np.testing.assert_allclose(result.y[:, -1], exact, rtol=5e-3)


def test_what_is_kept():
    """States are chosen by their own numbers; observables are real; summaries are of parts."""
    given = {
        "save_states": [1],
        "observables": lambda t, y: {"size": abs(y[0]), "angle": np.angle(y[1])},
        "summaries": {"y0.real": ["max"], "y1.imag": ["min"]},
        "rtol": 1e-8,
        "atol": 1e-10,
    }
    result = solve_ivp(rotation, SPAN, [1j, 2.0], backend="python", **given)
    assert result.y.shape == (1, len(result.t))
    np.testing.assert_allclose(result.y[0], 2.0 * np.exp(2j * result.t), rtol=1e-6)
    np.testing.assert_allclose(result.observables["size"], 1.0, rtol=1e-6)
    wrapped = np.angle(np.exp(2j * result.t))
    np.testing.assert_allclose(result.observables["angle"], wrapped, atol=1e-6)
    assert result.summaries["y0.real"]["max"] == pytest.approx(0.0, abs=1e-6)
    assert result.summaries["y1.imag"]["min"] == pytest.approx(2.0 * np.sin(4.0), rel=1e-4)


def test_a_mass_matrix():
    """Real or complex, singular too: it multiplies complex states."""
    options = {"method": "rodas5p", "rtol": 1e-8, "atol": 1e-9, "backend": "python"}
    result = solve_ivp(lambda t, y: 1j * y, SPAN, [1j, 2.0], mass_matrix=[1.0, 2.0], **options)
    exact = np.array([1j, 2.0]) * np.exp(2j * np.array([1.0, 0.5]))
    np.testing.assert_allclose(result.y[:, -1], exact, rtol=1e-6)
    turned = np.array([[1.0, 0.0], [0.0, 1j]])
    result = solve_ivp(lambda t, y: 1j * y, SPAN, [1j, 2.0], mass_matrix=turned, **options)
    exact = np.array([1j, 2.0]) * np.exp([2j, 2.0])
    np.testing.assert_allclose(result.y[:, -1], exact, rtol=1e-6)
    fun = lambda t, y: [1j * y[0], y[1] - 2.0 * y[0]]  # noqa: E731
    algebraic = solve_ivp(fun, SPAN, [1j, 2j], mass_matrix=[1.0, 0.0], **options)
    np.testing.assert_allclose(algebraic.y[1, -1], 2j * np.exp(2j), rtol=1e-6)


def test_columns_of_complex_states():
    """With `vectorized` states are columns, complex too."""
    turning = np.array([[1.0], [2.0]])
    result = solve_ivp(
        lambda t, y: 1j * y * turning, SPAN, START, vectorized=True, rtol=1e-8, backend="python"
    )
    same = solve_ivp(rotation, SPAN, START, rtol=1e-8, backend="python")
    np.testing.assert_allclose(result.y[:, -1], same.y[:, -1], rtol=1e-12)


def test_one_solver_of_real_and_complex_states():
    """Two real numbers are not one complex one: nothing is found again that was the other."""
    solver = Solver(lambda t, y: -2.0 * y, backend="python", rtol=1e-6)
    real = solver.solve(SPAN, [1.0, 2.0], save="final")
    one = solver.solve(SPAN, [1.0 + 2.0j], save="final")
    assert (real.y.shape, real.y.dtype) == ((2, 1), np.dtype(float))
    assert (one.y.shape, one.y.dtype) == ((1, 1), np.dtype(complex))
    assert one.y[0, 0] == pytest.approx((1.0 + 2.0j) * np.exp(-4.0), rel=1e-4)
    for start in ([2.0 + 1.0j], [0.5j]):
        again = solver.solve(SPAN, np.array(start), save="final")
        assert again.y[0, 0] == pytest.approx(start[0] * np.exp(-4.0), rel=1e-4)


@pytest.mark.parametrize("lanes", [1, None])
def test_compiled_code(lanes):
    """The processor's code is that of pairs: with lanes and without."""
    y0 = np.array([START, [0.5j, 2.0], [1.0, 1.0 - 1j]])
    options = {"method": "tsit5", "rtol": 1e-8, "atol": 1e-10, "fastmath": False}
    result = solve_ivp(rotation, SPAN, y0, backend="cpu", lanes=lanes, **options)
    same = solve_ivp(rotation, SPAN, y0, backend="python", **options)
    np.testing.assert_allclose(result.y, same.y, rtol=1e-10)


NOT_TRACED = "fun gets complex numbers and cannot be traced: numpy.fft.fft is applied"
REFUSED = {
    "not finite": ({"y0": [1j, complex("nan")]}, InvalidProblem, "y0[1] is (nan+0j). All comp"),
    "text": ({"y0": [1j, "2"]}, InvalidProblem, "`y0` must hold numbers, but contains the text"),
    "truth": ({"y0": [1j, True]}, InvalidProblem, "must hold numbers, but contains the truth"),
    "ragged": ({"y0": [[1j, 1.0], [2.0]]}, BatchShapeError, "y0 is no rectangular array"),
    "not traced": ({"fun": lambda t, y: np.fft.fft(y)}, RightHandSideError, NOT_TRACED),
    "too few": (
        {"fun": lambda t, y: [1j * y[0]]},
        RightHandSideError,
        "fun returned 1 values for 2 complex states.",
    ),
    "nothing": (
        {"fun": lambda t, y: None},
        RightHandSideError,
        "fun returned None; it must return a list, tuple or array of 2 numbers, the derivative of "
        "each complex state.",
    ),
    "real states": (
        {"fun": lambda t, y: 1j * y, "y0": [1.0, 2.0]},
        RightHandSideError,
        "fun returned a complex number for state 0, and the states are real. Give y0 as complex",
    ),
    "an observable": (
        {"observables": lambda t, y: {"z": y[0]}},
        ObservableError,
        "observables returned a complex number for 'z'",
    ),
    "a summary by number": (
        {"summaries": {1: ["max"]}},
        InvalidOption,
        "The states are complex: name a part, 'y1.real' or 'y1.imag'.",
    ),
    "a mass matrix of pairs": (
        {"mass_matrix": np.eye(4), "method": "rodas5p"},
        InvalidProblem,
        "`mass_matrix` has shape (4, 4), but there are 2 complex states.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_told(case):
    """What is wrong, counted in complex states."""
    given, error, told = REFUSED[case]
    given = {"fun": rotation, "y0": START, "t_span": SPAN, "backend": "python"} | given
    with pytest.raises(error) as caught:
        solve_ivp(**given)
    assert told in str(caught.value)
