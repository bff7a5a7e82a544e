"""States at the edge of a domain, of zero, and of very different sizes, in implicit methods."""

import numpy as np
import pytest
import scipy.sparse
from scipy.integrate import solve_ivp as scipy_solve_ivp

from cubie import Solver, solve_ivp
from cubie.errors import InvalidOption
from cubie.systems import derivatives_of, read_jacobian, trace, with_jacobian
from cubie.systems.derivatives.by_time import TimeDerivativeComponent
from cubie.systems.derivatives.component import (
    DiagonalComponent,
    JacobianComponent,
    JVPComponent,
)
from tests.cubie.targets import on_targets
from tests.cubie.test_derivatives import component_value
from tests.oracle.stiff_problems import STIFF_BY_NAME

# One of each family.
FAMILIES = ("rodas5p", "kvaerno5", "radau_iia_5")

# (function of one state and an exponent, state, derivative)
AT_THE_EDGE = [
    (lambda y, n: y**1.5, 0.0, 0.0),
    (lambda y, n: y**2.5, 0.0, 0.0),
    (lambda y, n: y**3.2, 0.0, 0.0),
    (lambda y, n: y**1.5, 4.0, 3.0),
    (lambda y, n: n * y * np.sqrt(y), 0.0, 0.0),
    (lambda y, n: np.sqrt(y) * y, 9.0, 4.5),
    (lambda y, n: y ** (n - 0.5), 0.0, 1.0),
    (lambda y, n: y**n, 0.0, 0.0),
    (lambda y, n: y / (1.0 + np.sqrt(y)), 0.0, 1.0),
    (lambda y, n: np.sqrt(np.maximum(y, 0.0)), 0.0, 0.0),
    (lambda y, n: np.sqrt(y * y) * y, 0.0, 0.0),
    (lambda y, n: np.hypot(y, 0.0 * y) * y, 0.0, 0.0),
    (lambda y, n: np.linalg.norm(np.array([y, y])) * y, 0.0, 0.0),
    (lambda y, n: np.sign(y) * abs(y) ** 1.5, 0.0, 0.0),
    (lambda y, n: y * np.cbrt(y), 0.0, 0.0),
    (lambda y, n: (y - 1.0) * np.arcsin(y), 1.0, np.pi / 2),
    (lambda y, n: np.arctan2(y, y) * y, 0.0, 0.0),
    # Infinite ones: a step goes past them as an explicit one does.
    (lambda y, n: np.sqrt(y), 0.0, 0.0),
    (lambda y, n: y**0.7, 0.0, 0.0),
    (lambda y, n: y ** (n - 1.0), 0.0, 0.0),
    (lambda y, n: np.arccos(y), 1.0, 0.0),
]


def edges(t, y, n):
    """Each of them a state's rate."""
    return [function(y[i], n) for i, (function, _, _) in enumerate(AT_THE_EDGE)]


@pytest.mark.parametrize(("target", "lanes"), [("python", None), ("cpu", 1), ("cpu", 4)])
def test_derivatives_at_the_edge_of_a_domain(target, lanes):
    """They are those of calculus, and zero where those are infinite; never NaN."""
    n = len(AT_THE_EDGE)
    system = trace(edges, n, (1.5,))
    y, want = (np.array([entry[k] for entry in AT_THE_EDGE]) for k in (1, 2))
    for component_class in (DiagonalComponent, JVPComponent):
        got, _ = component_value(component_class, system, 0.5, y, [1.5], np.ones(n), target, lanes)
        np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-300)


def test_derivatives_by_time_at_the_edge():
    """They follow the same rules."""
    system = trace(lambda t, y: [t**1.5, t**0.5, np.sqrt(t) * np.sin(t)], 3)
    got, _ = component_value(
        TimeDerivativeComponent, system, 0.0, np.zeros(3), [], np.zeros(3), "python", None
    )
    assert got.tolist() == [0.0, 0.0, 0.0]


def from_the_edge(t, y, k):
    """Tanks filled from empty, Hill's law of order 3/2 from zero, and drag from rest."""
    return [
        1.0 - k * np.sqrt(y[0]),
        1.0 - k * y[1] ** 0.7,
        y[0] ** 1.5 / (1.0 + y[0] ** 1.5) - y[2] + 0.1 * t**0.5,
        1.0 - np.linalg.norm(np.array([y[3], y[4]])) * y[3],
        -np.hypot(y[3], y[4]) * y[4],
    ]


@pytest.mark.parametrize(
    ("method", "options", "backend"),
    on_targets(
        [(name, {"rtol": 1e-6, "atol": 1e-9}) for name in FAMILIES]
        + [("backwards_euler", {"first_step": 1e-3})],
        compiled=[("kvaerno5", {"rtol": 1e-6, "atol": 1e-9})],
    ),
)
def test_runs_start_at_the_edge_of_a_domain(method, options, backend):
    """Implicit methods solve what SciPy's do, whether the Jacobian there is finite or not."""
    ks = np.array([1.0, 2.0])
    given = {"args": (ks,), "backend": backend, **options}
    result = solve_ivp(from_the_edge, (0.0, 2.0), np.zeros(5), method, **given)
    assert result.success.all(), result.message
    for run, k in enumerate(ks):
        want = scipy_solve_ivp(
            from_the_edge, (0, 2), np.zeros(5), "Radau", args=(k,), rtol=1e-9, atol=1e-12
        )
        error = abs(result.y[run, :, -1] - want.y[:, -1]).max()
        assert error < (1e-5 if "rtol" in options else 5e-3)


def forced(t, y):
    """How often the loop runs depends on the state: compiled as it stands."""
    x = y[0]
    while x > 4.0:
        x = x / 2.0
    return [-50.0 * (y[0] - np.cos(t)) + 0.0 * x]


def test_steps_do_not_depend_on_when_the_clock_starts():
    """The derivative by time of what cannot be traced is as good at t = 1e6 as at zero."""
    counts = []
    for turns in (0, 159155):
        start = 2 * np.pi * turns
        result = solve_ivp(
            forced, (start, start + 10.0), [1.0], "rodas5p", rtol=1e-6, atol=1e-8, save="final"
        )
        assert result.success
        counts.append(int(result.n_steps))
    assert abs(counts[1] - counts[0]) <= 0.1 * counts[0]


def small(t, y):
    """A nonlinear system whose states are 1e-12 and 1e6."""
    x = y[0]
    while x > 4.0:
        x = x / 2.0
    return [1e-12 - y[0] * y[0] / 1e-12 + 0.0 * x, y[0] * y[1] * 1e12 - y[1] * y[1] / 1e6]


@pytest.mark.parametrize("component_class", [JacobianComponent, DiagonalComponent, JVPComponent])
def test_differences_are_as_small_as_the_states(component_class):
    """Below the absolute tolerance alone a state counts as zero, however small it is."""
    y, vector = np.array([1.3e-12, 0.7e6]), np.array([1e-13, 1e5])
    exact = np.array([[-2 * y[0] / 1e-12, 0.0], [y[1] * 1e12, y[0] * 1e12 - 2 * y[1] / 1e6]])
    want = {
        JacobianComponent: exact.T.ravel(),
        DiagonalComponent: exact.diagonal(),
        JVPComponent: exact @ vector,
    }[component_class]
    got, _ = component_value(
        component_class, trace(small, 2), 0.0, y, [], vector, "python", None, atol=1e-18
    )
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-12)


def test_differences_of_a_state_of_zero_stay_above_rounding():
    """A tiny absolute tolerance does not drown the derivative in the function's rounding."""

    def rates(t, y):
        x = y[1]
        while x > 4.0:
            x = x / 2.0
        return [1.0 / 3.0 - 3.0 * y[0] + 0.0 * x, 7.0 * y[0] - y[1]]

    got, _ = component_value(
        JacobianComponent, trace(rates, 2), 0.0, np.zeros(2), [], np.zeros(2), "python", None,
        atol=1e-15,
    )  # fmt: skip
    # In units in which a step of 0.01 changes the state by its tolerance, 1e-3.
    np.testing.assert_allclose(got, [-3.0, 7.0, 0.0, -1.0], atol=0.1)


def scales(t, y):
    """A state of 1e6 drives one of 1e-9, which drives another."""
    return [-1e3 * (y[0] - 1e6 * np.cos(t)), 1e-15 * y[0] - 50 * y[1], 1e6 * y[1] - 2 * y[2]]


@pytest.mark.parametrize("method", ["rodas5p", "kvaerno5"])
def test_iterative_solvers_see_small_states(method):
    """With scales of 1e-9 beside 1e6 they take the steps, and find the solution, that LU does."""
    atol = [1.0, 1e-15, 1e-9]
    found = [
        solve_ivp(
            scales, (0.0, 2.0), [1e6, 1e-9, 0.0], method, rtol=1e-6, atol=atol,
            linear_solver=linear_solver, save="final", backend="python",
        )
        for linear_solver in ("lu", "bicgstab", "gmres")
    ]  # fmt: skip
    direct, *others = found
    for iterative in others:
        assert iterative.success
        assert abs(int(iterative.n_steps) - int(direct.n_steps)) <= 2
        np.testing.assert_allclose(iterative.y[:, -1], direct.y[:, -1], rtol=1e-5)


@pytest.mark.parametrize(
    ("linear_solver", "backend"),
    on_targets(["bicgstab", "gmres", "minimal_residual"], compiled=["gmres"]),
)
def test_iterative_solvers_keep_the_tolerance(linear_solver, backend):
    """On HIRES a Rosenbrock method, which nothing corrects, errs as little as with LU."""
    problem, rtol = STIFF_BY_NAME["hires"], 1e-5
    solver = Solver(
        problem.rhs, method="rodas5p", rtol=rtol, atol=rtol * 1e-4, save="final", backend=backend
    )
    y0 = np.array(problem.y0)
    direct = solver.solve(problem.t_span, y0)
    other = solver.solve(problem.t_span, y0, linear_solver=linear_solver)
    assert other.success
    np.testing.assert_allclose(other.y[:, -1], direct.y[:, -1], rtol=10 * rtol)


def untraceable(t, y):
    """Linear, but compiled as it stands."""
    x = y[0]
    while x > 4.0:
        x = x / 2.0
    return [-100.0 * y[0] + 0.0 * x, y[0] - 2.0 * y[1]]


MATRIX = [[-100.0, 0.0], [1.0, -2.0]]
FORMATS = ("csr", "csc", "coo", "lil", "dok", "bsr", "dia")


def sparse_function(t, y):
    """A sparse matrix that does not depend on the state."""
    return scipy.sparse.csc_matrix(np.array(MATRIX))


JACOBIANS = {
    "list": MATRIX,
    "array": np.array(MATRIX),
    **{name: getattr(scipy.sparse, f"{name}_matrix")(MATRIX) for name in FORMATS},
    "csr_array": scipy.sparse.csr_array(MATRIX),
    "function": sparse_function,
}


@pytest.mark.parametrize("form", JACOBIANS)
def test_a_jacobian_may_be_a_matrix_of_any_form(form):
    """Constant, dense or sparse, it is used as one from a function is."""
    jac = read_jacobian(JACOBIANS[form])
    found = derivatives_of(with_jacobian(trace(untraceable, 2), jac))
    assert found.kind == "given"
    assert found.pattern == ((0, 0), (1, 0), (1, 1))


def test_a_run_with_a_constant_jacobian():
    """It gives the solution, and the result says that it was used."""
    with pytest.warns(UserWarning, match="compiled as it stands"):
        result = solve_ivp(
            untraceable, (0.0, 1.0), [1.0, 1.0], "rodas4", jac=JACOBIANS["csr"], rtol=1e-6
        )
    assert result.y[1, -1] == pytest.approx((99 / 98) * np.exp(-2.0), rel=1e-5)
    assert any("is the given `jac`" in note for note in result.notes)


def test_a_sparse_jacobian_of_the_state_is_said_not_to_be_used():
    """SciPy's sparse matrices hold no expressions: differences serve, and the note says so."""

    def jac(t, y):
        return scipy.sparse.csc_matrix(np.array([[-100.0 * np.exp(y[1]), 0.0], [1.0, -2.0]]))

    system = with_jacobian(trace(untraceable, 2), jac)
    assert derivatives_of(system).kind == "differences"
    assert "`jac` is not used" in system.jacobian_note


@pytest.mark.parametrize("method", ["rodas4", "tsit5"])
def test_a_jacobian_that_is_not_used_is_mentioned(method):
    """Neither a traced function nor an explicit method needs it."""
    given = (0.0, 1.0), [1.0], method
    result = solve_ivp(lambda t, y: [-y[0]], *given, jac=[[-1.0]], backend="python")
    assert any("`jac` is not used" in note for note in result.notes)


@pytest.mark.parametrize(
    ("jac", "says"),
    [
        (np.ones((2, 3)), r"an array of shape \(2, 3\)"),
        (np.eye(3), r"a matrix of shape \(3, 3\).*must be one of shape \(2, 2\)"),
        ("dense", "is 'dense'.*a SciPy sparse matrix"),
        ([[np.nan, 0.0], [0.0, 1.0]], "inf or nan"),
        (lambda t, y: [[1.0, 2.0]], "must return 2 rows of 2 numbers"),
        (lambda t, y: [[1.0, 2.0, 3.0]] * 2, "of 2 numbers: a row is 3 values for 2 states"),
        (lambda t, y: [1.0, 2.0], "of 2 numbers: a row is one number for 2 states"),
        (lambda t, y: 1 / 0, "of 2 numbers: it raises for 2 states"),
    ],
)
def test_a_jacobian_that_is_none_is_refused(jac, says):
    """The message says what was given and what would do."""
    with pytest.raises(InvalidOption, match=says):
        solve_ivp(untraceable, (0.0, 1.0), [1.0, 1.0], "rodas4", jac=jac)


def chain(t, y):
    """States that start at zero, one of which stays there."""
    return [-y[0], y[0] - 0.5 * y[1], 0.5 * y[1], 0.0 * y[3]]


@pytest.mark.parametrize("method", ["tsit5", "dop853", "rodas5p", "kvaerno5"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_no_absolute_tolerance_with_states_of_zero(method, dtype):
    """Errors are relative to where such a state goes; one that stays is solved exactly."""
    rtol = 1e-6 if dtype == "float64" else 1e-4
    result = solve_ivp(
        chain, (0.0, 2.0), [1.0, 0.0, 0.0, 0.0], method, rtol=rtol, atol=0.0, dtype=dtype,
        save="final", max_steps=1000, backend="python",
    )  # fmt: skip
    assert result.success, result.message
    fast, slow = np.exp(-2.0), np.exp(-1.0)
    want = [fast, 2.0 * (slow - fast), 1.0 + fast - 2.0 * slow, 0.0]
    np.testing.assert_allclose(result.y[:, -1], want, rtol=20 * rtol)


def test_a_step_beyond_all_numbers_is_no_success():
    """A linear system whose right-hand side overflows when squared is not solved by zero."""

    def rates(t, y):
        return [
            -0.04 * y[0] + 1e4 * y[1] * y[2],
            0.04 * y[0] - 1e4 * y[1] * y[2] - 3e7 * y[1] ** 2,
            3e7 * y[1] ** 2,
        ]

    problem = (rates, (0.0, 0.4), [1.0, 0.0, 0.0], "rodas5p")
    direct, *others = (
        solve_ivp(*problem, backend="python", linear_solver=linear_solver)
        for linear_solver in ("lu", "bicgstab", "gmres")
    )
    for iterative in others:
        assert iterative.success
        np.testing.assert_allclose(iterative.y[:, -1], direct.y[:, -1], rtol=1e-3, atol=1e-6)
