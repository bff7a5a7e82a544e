"""Gradients and Jacobians of what is computed of results, and fits by them.

The equations of tests/cubie/test_sensitivities.py, whose derivatives are known in closed form.
"""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import least_squares

from cubie import Event, Interpolant, LeastSquares, Solver, solve_ivp
from cubie.errors import InvalidOption, InvalidProblem
from cubie.fitting.multistart import Tolerances, minimised
from tests.cubie.test_sensitivities import EXACT, RATES, STARTS, TIMES, growing, solution, solved

NAMED = ["growth", "capacity", "decay", "y0[0]"]
DATA_TIMES = np.linspace(0.1, 2.0, 20)
TRUE = np.array([1.5, 2.0, 0.3, 0.1])
DATA = np.array([solution(t, *TRUE, 1.0) for t in DATA_TIMES]).T


def misfit(run):
    return (run.y - DATA) / 0.01


def fitted(residuals=misfit, log=False, **changes):
    """Return a fit of the four inputs that begins elsewhere."""
    given = {
        "fun": growing, "t_span": (0.0, 2.0), "y0": [0.2, 1.0], "method": "dop853",
        "t_eval": DATA_TIMES, "args": (1.0, 1.5, 0.6), "sensitivities": NAMED, "log": log,
        "rtol": 1e-9, "atol": 1e-12,
    }  # fmt: skip
    return LeastSquares(residuals, **(given | changes))


def test_gradients_are_the_chain_rule():
    """Of what is read of states, observables and times; of one run as of that in a batch."""
    weights = np.linspace(1.0, 2.0, 4)

    def quantities(t, y, growth, capacity, decay):
        return {"eaten": decay * y[0] * y[1]}

    def loss(run):
        low = np.sum(weights * np.log(run.y[0]) * run.t)
        return low + run.observables["eaten"][-1] ** 2 + np.max(run.y[1])

    found = solved(observables=quantities)
    y, eaten = found.y, found.observables["eaten"]
    expected = np.einsum("k,rpk,rk->rp", weights * TIMES, found.dy[:, 0], 1.0 / y[:, 0])
    expected += 2.0 * eaten[:, -1, None] * found.dobservables["eaten"][..., -1]
    expected += found.dy[:, 1, :, 0]  # the second state decays
    np.testing.assert_allclose(found.gradient(loss), expected, rtol=1e-12)
    one = solve_ivp(
        growing, (0.0, 2.0), STARTS[1], "tsit5", TIMES, args=tuple(RATES[1]), rtol=1e-9,
        atol=1e-12, sensitivities="all", observables=quantities,
    )  # fmt: skip
    np.testing.assert_allclose(one.gradient(loss), expected[1], rtol=1e-4)
    # The same function is one of the result itself.
    assert loss(one) == pytest.approx(loss(found_of_run(found, 1)), rel=1e-6)


def found_of_run(found, run):
    """Return what a function of a run reads, of one of a batch."""

    named = {name: values[run] for name, values in found.observables.items()}
    return SimpleNamespace(t=found.t, y=found.y[run], observables=named)


def test_derivatives_by_y_are_contracted():
    found = solved()
    by_function = found.gradient(lambda run: np.sum(run.y**2))
    np.testing.assert_allclose(found.gradient(2.0 * found.y), by_function, rtol=1e-12)
    of_all = np.ones(found.y.shape[1:])
    np.testing.assert_allclose(found.gradient(of_all), EXACT.sum(axis=(1, 3)), rtol=1e-5)


def test_jacobians_have_a_row_for_each_residual():
    found = solved()
    exact = EXACT.transpose(0, 1, 3, 2).reshape(4, 8, 5)
    np.testing.assert_allclose(found.jacobian(lambda run: run.y - 3.0), exact, atol=1e-6)
    ends = solved(t_eval=None)
    last = ends.jacobian(lambda run: run.y[:, 0])
    np.testing.assert_allclose(last, EXACT[..., -1], rtol=0, atol=1e-6)
    chosen = solved(save_states=["y1"])
    np.testing.assert_allclose(chosen.jacobian(lambda run: run.y), exact[:, 4:], atol=1e-6)


def test_runs_with_times_of_their_own():
    times = TIMES * np.array([[1.0], [0.5], [0.25], [0.1]])
    times[3, -1] = np.nan

    def loss(run):
        return run.t[1] * run.y[0, 1]

    found = solved(t_eval=times)
    expected = times[:, 1, None] * found.dy[:, 0, :, 1]
    np.testing.assert_allclose(found.gradient(loss), expected, rtol=1e-12)


def test_of_runs_that_failed_nothing_is_known():
    with np.errstate(all="ignore"):
        found = solved(max_steps=12, rtol=1e-10)
    failed = ~found.success
    assert failed.any()
    assert np.isnan(found.gradient(lambda run: run.y[0, 0])[failed]).all()
    assert np.isnan(found.gradient(np.ones((2, 4)))[failed]).all()
    assert np.isnan(found.jacobian(lambda run: run.y[:, 0])[failed]).all()


def untraceable(run):
    return np.linalg.svd(run.y)[1].sum()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda found: found.gradient(lambda run: run.y), "it is 8. Of those see `jacobian`"),
        (lambda found: found.gradient(untraceable), "untraceable` has no derivative here"),
        (lambda found: found.gradient(lambda run: run.z), "it raises for a run: AttributeError"),
        (lambda found: found.gradient(lambda run: run.z), "and no 'z'"),
        (lambda found: found.gradient(lambda run: run.observables["q"]), "has no 'q', but none"),
        (lambda found: found.gradient(lambda run: "y"), "it must return a number, or an array"),
        (lambda found: found.gradient(lambda run: run.t[int(run.y[1, 2])]), "y[1, 2] is used as"),
        (lambda found: found.gradient(np.ones(3)), "has shape (3,)"),
        (lambda found: found.gradient("y"), "a function of a run, or an array"),
        (lambda found: found.jacobian(np.ones(3)), "must be a function"),
        (lambda found: solved(sensitivities=None).gradient(misfit), "solve with sensitivities="),
        (lambda found: solved(t_eval=None, save="steps").gradient(misfit), "solve with t_eval="),
    ],
)
def test_what_has_no_gradient_is_refused(given, message):
    with pytest.raises(InvalidProblem, match=re.escape(message)):
        given(solved())


def test_final_states_at_events_are_refused():
    """Their times depend on inputs, which `dy` does not tell."""
    event = Event(lambda t, y, *args: y[0] - 0.5, terminal=True)
    found = solved(t_eval=None, events=event)
    with pytest.raises(InvalidProblem, match="dy_events"):
        found.gradient(lambda run: run.y[0, 0])


@pytest.mark.parametrize("log", [False, True, ["growth", "y0[0]"]])
def test_a_fit_finds_what_the_data_were_made_of(log):
    fit = fitted(log=log)
    assert fit.inputs == tuple(NAMED)
    np.testing.assert_allclose(fit.values(fit.x0), [1.0, 1.5, 0.6, 0.2], rtol=1e-15)
    step = 1e-6
    by_differences = [
        (fit.fun(fit.x0 + one) - fit.fun(fit.x0 - one)) / (2 * step) for one in step * np.eye(4)
    ]
    np.testing.assert_allclose(fit.jac(fit.x0), np.transpose(by_differences), rtol=0, atol=2e-5)
    found = least_squares(fit.fun, fit.x0, fit.jac)
    np.testing.assert_allclose(fit.values(found.x), TRUE, rtol=1e-6)
    best = fit.solve(found.x, t_eval=[2.0])
    assert best.y.shape == (1, 2, 1)
    np.testing.assert_allclose(best.y[0, :, 0], DATA[:, -1], rtol=1e-6)


def test_many_starts_are_one_batch_and_change_no_bit():
    fit = fitted(fastmath=False)
    starts = fit.x0 * np.linspace(0.5, 1.5, 7)[:, None]
    residuals, jacobians = fit.fun(starts), fit.jac(starts)
    assert residuals.shape == (7, 40)
    assert jacobians.shape == (7, 40, 4)
    assert np.array_equal(fit.fun(starts[3]), residuals[3])
    assert np.array_equal(fit.jac(starts[3]), jacobians[3])


def test_residuals_and_their_jacobian_take_one_solve(monkeypatch):
    fit, solves = fitted(), []
    solve = Solver.solve
    monkeypatch.setattr(Solver, "solve", lambda *a, **k: solves.append(1) or solve(*a, **k))
    first = fit.fun(fit.x0)
    first[:] = 0.0  # of the caller, as robust losses of SciPy do
    fit.jac(fit.x0)
    assert fit.fun(fit.x0).any()
    assert len(solves) == 1
    fit.fun(1.1 * fit.x0)
    assert len(solves) == 2


def test_data_that_change_are_seen():
    data = DATA.copy()
    fit = fitted(lambda run: run.y - data)
    before = fit.fun(fit.x0)
    data += 1.0
    np.testing.assert_allclose(fit.fun(fit.x0), before - 1.0, rtol=0, atol=1e-12)


def test_vectors_at_which_nothing_can_be_solved():
    """A step of a fit may go far: it is told so by NaN, and others are not disturbed."""
    fit = fitted(log=True)
    starts = np.array([fit.x0, fit.x0 + 900.0 * np.eye(4)[0], fit.x0])
    found = fit.fun(starts)
    assert np.isnan(found[1]).all()
    assert np.isnan(fit.jac(starts)[1]).all()
    assert np.isfinite(found[[0, 2]]).all()
    assert np.array_equal(found[0], fit.fun(fit.x0))


def test_entries_of_arrays_and_of_equations_are_fitted():
    def mixing(t, y, k, m, drive):
        return [k[2] * y[1] - k[0] * y[0] + drive(t), k[0] * y[0] - (m[0, 1] + k[1]) * y[1]]

    drive = Interpolant([0.0, 1.0, 2.0], [0.0, 1.0, 0.5])
    fit = fitted(
        lambda run: run.y[1], fun=mixing, sensitivities=["k[1]", "m[0, 1]"],
        args=([1.0, 0.5, 0.2], np.full((2, 2), 0.3), drive), log=["k[1]"],
    )  # fmt: skip
    np.testing.assert_allclose(fit.values(fit.x0), [0.5, 0.3])
    jacobian = fit.jac([fit.x0] * 2)[1]  # as many runs as the matrix has rows
    # Only the sum of both counts.
    np.testing.assert_allclose(jacobian[:, 0], 0.5 * jacobian[:, 1], rtol=1e-9)
    assert np.array_equal(fit.jac(fit.x0), jacobian)
    text = fitted(
        lambda run: run.y[0], fun="a' = -k*a; b' = k*a - l*b", y0={"a": 2.0, "b": 0.0},
        args={"l": 0.2, "k": 3.0}, sensitivities=["k", "y0[a]"],
    )  # fmt: skip
    np.testing.assert_allclose(text.x0, [3.0, 2.0])
    decayed = np.exp(-3.0 * DATA_TIMES)
    exact = np.transpose([-DATA_TIMES * 2.0 * decayed, decayed])
    np.testing.assert_allclose(text.jac(text.x0), exact, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"sensitivities": None}, InvalidOption, "Name what is to be fitted"),
        ({"sensitivities": "k9"}, InvalidOption, "Parameters are"),
        ({"args": (0.0, 1.5, 0.6), "log": True}, InvalidOption, "growth is 0, which has no log"),
        ({"log": ["growht"]}, InvalidOption, "Did you mean 'growth'"),
        ({"y0": STARTS}, InvalidProblem, "`y0[0]` differs between the runs"),
        ({"args": (1.0, np.array([1.0, 2.0]), 0.6)}, InvalidProblem, "`capacity` differs"),
        ({"args": (np.ones(2), 1.0, 0.6), "data": np.ones(3)}, InvalidProblem, "of 2 runs it"),
        ({"data": "all"}, InvalidProblem, "`data` must be an array"),
        ({"y0": [np.nan, 1.0]}, InvalidProblem, "y0"),
        ({"residuals": 3}, InvalidProblem, "must be a function of a run"),
    ],
)
def test_fits_that_cannot_be(changes, error, message):
    with pytest.raises(error, match=re.escape(message)):
        fitted(**changes)


@pytest.mark.parametrize("x", [[1.0, 2.0], np.ones((2, 3)), [["a"] * 4], [[]]])
def test_vectors_of_another_form(x):
    with pytest.raises(InvalidProblem, match="`x`"):
        fitted().fun(x)


def compared(run, data):
    """Return residuals of the first state, and none where nothing was measured."""
    return np.where(np.isnan(data), 0.0, (run.y[0] - data) / 0.01)


def test_several_runs_are_fitted_together():
    """Experiments that differ in a start and a parameter, and share what is fitted."""
    starts = np.array([[0.1, 1.0], [0.5, 2.0], [0.9, 0.5]])
    decays = np.array([0.3, 0.5, 0.7])
    data = np.array(
        [
            [solution(t, 1.5, 2.0, decay, *start)[0] for t in DATA_TIMES]
            for decay, start in zip(decays, starts, strict=True)
        ]
    )
    data[1, 3] = np.nan
    fit = fitted(
        compared, y0=starts, args=(1.0, 3.0, decays), sensitivities=["growth", "capacity"],
        data=data, log=True, fastmath=False,
    )  # fmt: skip
    assert fit.fun(fit.x0).shape == (60,)
    assert fit.fun(fit.x0)[23] == 0.0
    assert fit.jac([fit.x0] * 3).shape == (3, 60, 2)
    alone = fitted(
        compared, y0=starts[2], args=(1.0, 3.0, 0.7), sensitivities=["growth", "capacity"],
        data=data[2], log=True, fastmath=False,
    )  # fmt: skip
    assert np.array_equal(fit.fun(fit.x0)[40:], alone.fun(alone.x0))
    assert np.array_equal(fit.jac([fit.x0] * 3)[1, 40:], alone.jac(alone.x0))
    found = least_squares(fit.fun, fit.x0, fit.jac)
    np.testing.assert_allclose(fit.values(found.x), [1.5, 2.0], rtol=1e-6)
    best = fit.solve(found.x)
    assert best.y.shape == (3, 2, 20)
    # The same by the results themselves.
    slopes = best.jacobian(compared, data) * fit.values(found.x)
    np.testing.assert_allclose(slopes.reshape(60, 2), fit.jac(found.x), rtol=1e-12)
    losses = best.gradient(lambda run, data: np.sum(compared(run, data) ** 2), data)
    np.testing.assert_allclose(losses.shape, (3, 2))


def test_data_of_results_are_of_their_runs():
    found = solved()
    with pytest.raises(InvalidProblem, match="of 4 runs it must have a row for each"):
        found.gradient(lambda run, data: np.sum(run.y - data), np.ones(3))
    with pytest.raises(InvalidProblem, match="go with a function"):
        found.gradient(found.y, np.ones(4))
    each = found.gradient(lambda run, data: data * run.y[0, 3], np.arange(4.0))
    np.testing.assert_allclose(each, np.arange(4.0)[:, None] * found.dy[:, 0, :, 3], rtol=1e-12)


def test_spans_and_times_of_experiments_are_their_own():
    times = np.array([[0.5, 1.0], [1.0, 1.9]])
    fit = fitted(
        lambda run, data: run.y[0] - data, t_span=(0.0, np.array([1.0, 2.0])), t_eval=times,
        data=np.zeros((2, 2)), sensitivities=["growth"],
    )  # fmt: skip
    found = fit.fun([[1.0], [1.5]]).reshape(2, 4)
    for growth, residuals in zip([1.0, 1.5], found, strict=True):
        exact = [solution(t, growth, 1.5, 0.6, 0.2, 1.0)[0] for t in times.ravel()]
        np.testing.assert_allclose(residuals, exact, rtol=1e-7)


@pytest.mark.parametrize("log", [False, True])
def test_many_starts_end_where_each_would(log):
    fit = fitted(log=log)
    rng = np.random.default_rng(3)
    wide = rng.normal(size=(40, 4))
    starts = fit.x0 + 0.7 * wide if log else fit.x0 * np.exp(0.7 * wide)
    found = fit.multistart(starts)
    assert found.success.all()
    assert found.n_solves <= 40
    np.testing.assert_allclose(fit.values(found.x), np.tile(TRUE, (40, 1)), rtol=1e-5)
    assert found.cost[found.best] == found.cost.min() < 1e-10
    alone = fit.multistart(starts[7])
    np.testing.assert_allclose(alone.x[0], found.x[7], rtol=1e-9)


# Functions of More, Garbow & Hillstrom, ACM Trans. Math. Softw. 7 (1981) 17-41, with their minima
# of the sum of squares.


def rosenbrock(x):
    a, b = x
    return [10.0 * (b - a * a), 1.0 - a]


def freudenstein(x):
    a, b = x
    return [-13.0 + a + ((5.0 - b) * b - 2.0) * b, -29.0 + a + ((b + 1.0) * b - 14.0) * b]


def brown(x):
    a, b = x
    return [a - 1e6, b - 2e-6, a * b - 2.0]


def powell_singular(x):
    a, b, c, d = x
    return [a + 10 * b, 5**0.5 * (c - d), (b - 2 * c) ** 2, 10**0.5 * (a - d) ** 2]


MEASURED = np.array([0.1957, 0.1947, 0.1735, 0.16, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235,
                     0.0246])  # fmt: skip
INVERSE = np.array([4, 2, 1, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625])  # as printed


def kowalik(x):
    u = INVERSE
    return MEASURED - x[0] * (u * u + u * x[1]) / (u * u + u * x[2] + x[3])


@pytest.mark.parametrize(
    ("function", "start", "least"),
    [
        (rosenbrock, [-1.2, 1.0], [0.0]),
        (freudenstein, [0.5, -2.0], [0.0, 48.98425]),
        (brown, [1.0, 1.0], [0.0]),
        (powell_singular, [3.0, -1.0, 0.0, 1.0], [0.0]),
        (kowalik, [0.25, 0.39, 0.415, 0.39], [3.07505e-4]),
    ],
)
def test_the_method_finds_known_minima(function, start, least):
    def evaluate(x):
        f = np.array([function(row) for row in x], float)
        steps = 1e-30j * np.eye(x.shape[1])
        jac = [[np.imag(function(row + step)) / 1e-30 for step in steps] for row in x]
        return f, np.array(jac).transpose(0, 2, 1)

    starts = np.array(start) * np.array([[1.0], [1.1], [2.0]])
    sizes = np.where(starts == 0.0, 1.0, np.abs(starts))
    found = minimised(evaluate, starts, sizes, (-np.inf, np.inf), Tolerances(max_iterations=300))
    assert found.success.all()
    gap = np.abs(2.0 * found.cost[:, None] - np.array(least))
    assert np.min(gap, axis=1).max() < 1e-5 * (1.0 if least[-1] > 1.0 else 1e-3)
    assert all(found.n_iterations >= 1)


def test_bounds_hold_and_are_where_minima_lie():
    fit = fitted()
    upper = [1.2, 5.0, 5.0, 5.0]
    starts = fit.x0 * np.array([[0.6], [0.9], [1.1]])
    found = fit.multistart(starts, (0.01, upper))
    scipy = least_squares(fit.fun, fit.x0, fit.jac, bounds=(0.01, upper), xtol=1e-12, ftol=1e-12)
    assert found.success.all()
    assert np.all(found.x <= upper)
    np.testing.assert_allclose(found.cost, scipy.cost, rtol=1e-6)
    assert found.x[0, 0] == 1.2


def test_starts_that_fail_disturb_no_other():
    fit = fitted(log=True)
    starts = np.array([fit.x0, fit.x0 + 900.0, fit.x0 + 0.1])
    found = fit.multistart(starts)
    assert found.status[1] == -1
    assert found.cost[1] == np.inf
    assert found.success.tolist() == [True, False, True]
    few = fit.multistart(starts[:1], max_iterations=1)
    assert few.status[0] == 0
    assert few.n_iterations[0] == 1


@pytest.mark.parametrize(
    ("bounds", "error", "message"),
    [
        (3.0, InvalidOption, "(least, largest)"),
        ((0.0, [1.0, 2.0]), InvalidOption, "an array (4,)"),
        ((1.0, 0.0), InvalidOption, "must lie below"),
        ((2.0, 3.0), InvalidProblem, "1 of 1, the first is row 0"),
    ],
)
def test_bounds_that_are_none(bounds, error, message):
    fit = fitted()
    with pytest.raises(error, match=re.escape(message)):
        fit.multistart(fit.x0, bounds)
