"""Backward differentiation of variable order: its formulas, its steps, and what it is not asked."""

import numpy as np
import pytest
from numpy.polynomial import Polynomial
from scipy.integrate import solve_ivp as scipy_solve_ivp

import cubie
from cubie import InvalidOption, Solver
from cubie.algorithms.differences import build_extend, build_rescale, build_shift
from cubie.backend import make_backend
from cubie.tableaus import MultistepMethod, Stability, TableauError, get_method, get_tableau
from tests.oracle import multistep
from tests.oracle.steps import System

BDF = get_method("BDF")
ORDER = BDF.order


def van_der_pol(t, y, mu):
    """The oscillator; stiff for large mu."""
    return [y[1], mu * (1 - y[0] ** 2) * y[1] - y[0]]


def driven(t, y):
    """A damped oscillator that is driven, so that the right-hand side reads the time."""
    return [y[1], np.sin(2 * t) - y[0] - 0.1 * y[1]]


def heat(t, y):
    """Heat conduction on 30 points with a source, by central differences."""
    n = len(y)
    ends = [0.0, *(y[i] for i in range(n)), 0.0]
    return [(n + 1) ** 2 * (ends[i] - 2 * ends[i + 1] + ends[i + 2]) + 1.0 for i in range(n)]


def differences_of(values):
    """Return backward differences of orders 1 to m of the first of m + 1 values."""
    rows, found = np.array(values, float), []
    while len(rows) > 1:
        rows = rows[:-1] - rows[1:]
        found.append(rows[0])
    return np.array(found)


@pytest.mark.parametrize("order", range(1, ORDER + 1))
def test_a_formula_is_exact_up_to_its_order_and_errs_by_its_constant(order):
    """Of ``t**k`` it leaves nothing up to its order, and the constant times h**(k+1) beyond."""
    alpha, gamma, constant = BDF.alpha[order - 1], BDF.gamma, BDF.error_constants[order - 1]
    h = 0.5
    for degree in range(order + 2):
        solution = Polynomial([0.0] * degree + [1.0])
        back = differences_of([solution(-j * h) for j in range(order + 1)])
        predicted = solution(0.0) + back.sum()
        slope = solution.deriv()(h)
        left = h * slope - alpha * (solution(h) - predicted) - np.dot(gamma[:order], back)
        if degree <= order:
            assert abs(left) < 1e-12
        else:
            derivative = h**degree * np.prod(np.arange(1.0, degree + 1))
            assert left == pytest.approx(constant * derivative, rel=1e-11)


def test_constants_are_those_of_the_paper():
    """Shampine & Reichelt, table 1: kappa; without them the formulas are plain ones."""
    kappas = (-0.1850, -1 / 9, -0.0823, -0.0415, 0.0)
    assert [float(kappa) for kappa in BDF.kappa_exact] == pytest.approx(kappas, rel=1e-15)
    plain = MultistepMethod(
        name="plain", kappa=[0] * 5, order=5, error_order=1, stability=Stability.L, source="-"
    )
    assert plain.alpha == plain.gamma == pytest.approx((1, 3 / 2, 11 / 6, 25 / 12, 137 / 60))
    assert plain.error_constants == pytest.approx([1 / k for k in range(2, 8)])


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"kappa": [0, 0]}, "shape"),
        ({"kappa": [1, 0, 0, 0, 0]}, "kappa"),
        ({"error_order": 4}, "e"),
    ],
)
def test_a_method_that_cannot_be_is_refused(changes, rule):
    """The rule that broke is named."""
    given = {"kappa": [0] * 5, "order": 5, "error_order": 1} | changes
    with pytest.raises(TableauError, match=rule):
        MultistepMethod(name="wrong", stability=Stability.L, source="-", **given)


def test_it_has_no_tableau():
    """Asked for its stages it says that it has none."""
    with pytest.raises(TypeError, match="`bdf` is no method of stages"):
        get_tableau("BDF")


@pytest.mark.parametrize("degree", range(1, ORDER + 1))
@pytest.mark.parametrize("amount", [-0.97, -0.4, 0.25, 1.0, 7.0])
def test_differences_follow_their_polynomial(degree, amount):
    """At another point, over other steps, one step on: those of the polynomial there."""
    backend = make_backend("python", "float64", False, 1)
    random = np.random.default_rng(degree)
    solution = [Polynomial(random.normal(size=degree + 1)) for _ in range(2)]

    def rows(at, step):
        values = np.array([[p(at - j * step) for p in solution] for j in range(ORDER + 1)])
        return differences_of(values)

    def check(array, wanted):
        np.testing.assert_allclose(array.reshape(ORDER, 2), wanted, rtol=1e-9, atol=1e-9)

    weights, value = np.full(2 * ORDER, np.nan), np.array([p(1.0) for p in solution])
    array = rows(1.0, 0.5).ravel()
    build_shift(backend, 2, ORDER)(np.float64(amount), array, value, weights)
    check(array, rows(1.0 + 0.5 * amount, 0.5))
    np.testing.assert_allclose(value, [p(1.0 + 0.5 * amount) for p in solution], rtol=1e-9)
    array = rows(1.0, 0.5).ravel()
    factor = np.float64(abs(amount))
    build_rescale(backend, 2, ORDER)(factor, array, weights)
    check(array, rows(1.0, 0.5 * factor))
    before = array.copy()
    build_rescale(backend, 2, ORDER)(np.float64(1.0), array, weights)
    build_shift(backend, 2, ORDER)(np.float64(0.0), array, value, weights)
    np.testing.assert_array_equal(array, before)
    # The correction of an order below is the last difference that it has not.
    for order in range(1, degree + 1):
        array = rows(1.0, 0.5)
        correction = rows(1.5, 0.5)[order] if order < ORDER else np.zeros(2)
        array[order:] = 0.0
        array = array.ravel()
        extend = build_extend(backend, 2, ORDER)
        extend(np.bool_(False), np.float64(order), correction, array)
        np.testing.assert_array_equal(array.reshape(ORDER, 2)[order:], 0.0)
        if degree == order:
            extend(np.bool_(True), np.float64(order), correction, array)
            check(array, rows(1.5, 0.5))


@pytest.mark.parametrize(
    ("fun", "args", "start", "end"),
    [(van_der_pol, (5.0,), (2.0, 0.0), 5.0), (driven, (), (1.0, 0.0), 10.0)],
)
def test_steps_are_those_of_the_oracle(fun, args, start, end):
    """Sizes and orders too, though it holds values at points and no differences."""
    options = {"rtol": 1e-6, "atol": 1e-8, "first_step": 1e-4, "newton_tolerance": 1e-5}
    result = cubie.solve_ivp(fun, (0.0, end), start, "BDF", args=args, backend="python", **options)
    kappa = [float(k) for k in BDF.kappa_exact]
    times, states, orders = multistep.integrate(
        System(lambda t, y: fun(t, y, *args)), kappa, (0.0, end), start, 1e-4, 1e-6, 1e-8, 0.8
    )
    assert max(orders) == ORDER
    assert result.t.shape == times.shape
    np.testing.assert_allclose(result.t, times, rtol=2e-4)
    at_same = scipy_solve_ivp(
        fun, (0.0, end), start, "DOP853", result.t, args=args, rtol=1e-11, atol=1e-12
    )
    ours, theirs = np.abs(result.y - at_same.y).max(), np.abs(states.T - at_same.y).max()
    assert ours < 1.2 * theirs + 1e-3


@pytest.mark.parametrize("tolerance", [1e-4, 1e-7])
@pytest.mark.parametrize(
    ("fun", "start", "end", "args"),
    [
        (van_der_pol, (2.0, 0.0), 90.0, (100.0,)),
        (driven, (1.0, 0.0), 20.0, ()),
        (heat, (0.0,) * 30, 0.1, ()),
    ],
    ids=["van_der_pol", "driven", "heat"],
)
def test_errors_and_steps_are_those_of_scipy(fun, start, end, args, tolerance):
    """Within a factor of two, at the same tolerance."""
    given = {"args": args, "rtol": tolerance, "atol": 1e-2 * tolerance}
    reference = scipy_solve_ivp(
        fun, (0.0, end), start, "Radau", args=args, rtol=1e-10, atol=1e-12
    ).y[:, -1]
    theirs = scipy_solve_ivp(fun, (0.0, end), start, "BDF", **given)
    ours = cubie.solve_ivp(fun, (0.0, end), start, "BDF", backend="python", **given)
    assert ours.success
    assert ours.t.size < 1.3 * theirs.t.size
    errors = [np.abs(found.y[:, -1] - reference).max() for found in (ours, theirs)]
    assert errors[0] < 2.0 * errors[1] + tolerance * np.abs(reference).max()


@pytest.mark.parametrize("points", [3, 400])
def test_steps_that_land_are_whole_ones_from_further_back(points):
    """However many times are landed on, a solution is as good, and little work is added."""
    times = np.linspace(0.0, 20.0, points)
    given = {"rtol": 1e-6, "atol": 1e-6}
    reference = scipy_solve_ivp(
        driven, (0.0, 20.0), (1.0, 0.0), "DOP853", times, rtol=1e-11, atol=1e-12
    )
    solver = Solver(driven, method="BDF", backend="python", **given)
    free = solver.solve((0.0, 20.0), [1.0, 0.0])
    landed = solver.solve((0.0, 20.0), [1.0, 0.0], times)
    assert np.abs(landed.y - reference.y).max() < 3e-4
    assert landed.nfev < free.nfev + 3 * points


def test_runs_go_backwards_and_within_the_largest_step():
    """From the end of a solution back to its start, by no step beyond `max_step`."""
    given = {"rtol": 1e-5, "atol": 1e-7, "method": "BDF", "backend": "python"}
    there = cubie.solve_ivp(driven, (0.0, 5.0), [1.0, 0.0], max_step=0.05, **given)
    back = cubie.solve_ivp(driven, (5.0, 0.0), there.y[:, -1], max_step=0.05, **given)
    assert np.abs(back.y[:, -1] - [1.0, 0.0]).max() < 1e-3
    for result in (there, back):
        steps = np.abs(np.diff(result.t))
        assert steps.max() < 0.05 * (1 + 1e-5)
        assert np.median(steps) > 0.049


def test_a_mass_matrix_may_be_singular():
    """Robertson's kinetics as two equations and a sum give what three equations give."""

    def equations(t, y):
        a, b, c = y
        return [-0.04 * a + 1e4 * b * c, 0.04 * a - 1e4 * b * c - 3e7 * b * b, 3e7 * b * b]

    def with_sum(t, y):
        return [*equations(t, y)[:2], y[0] + y[1] + y[2] - 1.0]

    given = {"rtol": 1e-6, "atol": 1e-10, "method": "BDF", "backend": "python"}
    start, span = [1.0, 0.0, 0.0], (0.0, 1e3)
    plain = cubie.solve_ivp(equations, span, start, **given)
    doubled = cubie.solve_ivp(
        lambda t, y: [2 * slope for slope in equations(t, y)], span, start,
        mass_matrix=[2.0, 2.0, 2.0], **given,
    )  # fmt: skip
    summed = cubie.solve_ivp(with_sum, span, start, mass_matrix=[1.0, 1.0, 0.0], **given)
    for result in (doubled, summed):
        assert result.success
        np.testing.assert_allclose(result.y[:, -1], plain.y[:, -1], rtol=3e-5)
        assert result.t.size < 1.5 * plain.t.size


@pytest.mark.parametrize("controller", ["pi", "fixed"])
def test_it_takes_no_controller(controller):
    """It chooses its steps and its order together, and says so."""
    with pytest.raises(InvalidOption, match="`bdf` chooses the size of its steps by itself"):
        Solver(driven, method="BDF", step_controller=controller).solve((0.0, 1.0), [1.0, 0.0])
