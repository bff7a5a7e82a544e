"""Step-size controllers against the NumPy oracle and against SciPy: the same steps, one by one."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp as scipy_solve_ivp

from cubie import RunStatus, Solver
from cubie.backend import Memory, make_backend
from cubie.backend.interpreted.python import Space
from cubie.controllers import CONTROLLERS
from cubie.factory import BuildCache, BuildContext
from cubie.tableaus import get_tableau
from tests.oracle.integrator import adaptive
from tests.oracle.problems import (
    ARENSTORF,
    FORCED,
    LORENZ,
    LOTKA_VOLTERRA,
    Problem,
)
from tests.oracle.steps import System

ADAPTIVE = sorted(set(CONTROLLERS) - {"fixed"})
PROBLEMS = (LORENZ, LOTKA_VOLTERRA, ARENSTORF, FORCED)
SCIPY_NAMES = ("RK23", "RK45", "DOP853")

by_problem = pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
by_controller = pytest.mark.parametrize("controller", ADAPTIVE)


@cache
def solver_of(fun):
    """One interpreted solver for each right-hand side, which keeps every step."""
    return Solver(fun, backend="python", save="steps")


def solve(problem, t_span=None, **options):
    """Solve a problem of the oracle's with the solver under test."""
    t_span = problem.t_span if t_span is None else t_span
    return solver_of(problem.fun).solve(t_span, problem.y0, args=problem.args, **options)


def assert_same_times(times, expected):
    """Compare all accepted times, to nearly five digits of the span.

    Step sizes are computed to six digits, and error estimates are differences of nearly
    equal numbers: those of order eight hold as many digits of the true difference. Steps
    of ours and theirs then differ by so little, and so do the errors after them.
    """
    np.testing.assert_allclose(times, expected, rtol=0, atol=2e-5 * np.ptp(expected))


@by_problem
@by_controller
@pytest.mark.parametrize("method", ["bogacki_shampine32", "tsit5", "dop853"])
def test_every_step_is_the_oracles(method, controller, problem):
    """Accepted times, their number and that of the rejections agree with plain NumPy."""
    tolerances = {"rtol": 1e-5, "atol": 1e-6}
    result = solve(problem, method=method, step_controller=controller, **tolerances)
    expected = adaptive(
        get_tableau(method),
        System(problem.rhs),
        problem.t_span,
        problem.y0,
        controller=controller,
        **tolerances,
    )
    assert result.status == RunStatus.SUCCESS
    assert (result.n_steps, result.n_rejected) == (expected.n_steps, expected.n_rejected)
    assert_same_times(result.t, expected.t)


@by_problem
@pytest.mark.parametrize("name", SCIPY_NAMES)
def test_the_i_controller_takes_scipys_steps(name, problem):
    """By default a method known to SciPy takes the same steps and gives the same solution.

    Right-hand sides are counted alike but for one: methods that carry their last
    derivative over evaluate it once more at the start, where SciPy hands on that of the
    search for the first step.
    """
    tolerances = {"rtol": 1e-6, "atol": 1e-7}
    expected = scipy_solve_ivp(problem.rhs, problem.t_span, problem.y0, name, **tolerances)
    result = solve(problem, method=name, **tolerances)
    assert result.t.shape == expected.t.shape
    assert result.y.shape == expected.y.shape
    assert result.nfev - expected.nfev == int(get_tableau(name).fsal)
    assert_same_times(result.t, expected.t)
    # Far below the error of either: Arenstorf's is of the order of 1e-2.
    rounding = 1e-5 if problem is ARENSTORF else 1e-9
    np.testing.assert_allclose(result.y[:, -1], expected.y[:, -1], rtol=rounding, atol=rounding)


@pytest.mark.parametrize(
    "options",
    [
        {"rtol": 1e-4, "atol": [1e-3, 1e-9]},
        {"rtol": [1e-2, 1e-7], "atol": 1e-6},
        {"rtol": [1e-3, 1e-5], "atol": [1e-8, 1e-4]},
        {"rtol": 1e-4, "atol": 1e-6, "max_step": 0.05},
        {"rtol": 1e-4, "atol": 1e-6, "first_step": 0.3},
        {"rtol": 1e-7, "atol": 1e-7, "t_span": (3.0, -2.0)},
        {"rtol": 1e-4, "atol": 1e-6, "t_span": (0.0, 1e-3)},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", SCIPY_NAMES)
def test_options_mean_what_they_mean_in_scipy(name, options):
    """Tolerances per component, largest and first step, backwards: SciPy's steps again."""
    options = dict(options)
    t_span = options.pop("t_span", LOTKA_VOLTERRA.t_span)
    expected = scipy_solve_ivp(LOTKA_VOLTERRA.fun, t_span, LOTKA_VOLTERRA.y0, name, **options)
    result = solve(LOTKA_VOLTERRA, t_span, method=name, **options)
    assert result.t.shape == expected.t.shape
    assert_same_times(result.t, expected.t)
    np.testing.assert_allclose(result.y[:, -1], expected.y[:, -1], rtol=1e-8, atol=1e-8)


def test_equal_tolerances_per_component_are_one_tolerance():
    """Repeating a tolerance for every component changes no bit."""
    one = solve(LOTKA_VOLTERRA, rtol=1e-5, atol=1e-7)
    each = solve(LOTKA_VOLTERRA, rtol=[1e-5, 1e-5], atol=[1e-7, 1e-7])
    np.testing.assert_array_equal(one.y, each.y)


def fast_and_slow(t, y):
    """Two oscillators side by side, of periods 0.6 and 6."""
    return [y[1], -100 * y[0], y[3], -y[2]]


def test_tolerances_weigh_components():
    """A loose tolerance on the fast components leaves the steps to the slow ones."""
    problem = Problem("fast_and_slow", fast_and_slow, (0.0, 10.0), (1.0, 0.0, 1.0, 0.0), "")
    tight = solve(problem, rtol=0, atol=1e-7)
    slow = solve(problem, rtol=0, atol=[1.0, 10.0, 1e-7, 1e-7])
    fast = solve(problem, rtol=0, atol=[1e-7, 1e-6, 1e-7, 1e-7])
    assert slow.n_steps < 0.2 * tight.n_steps
    assert slow.n_steps < 0.5 * fast.n_steps < 0.5 * tight.n_steps


@by_controller
def test_stricter_safety_takes_more_steps(controller):
    """Aiming lower costs steps and rejects fewer."""
    usual = solve(ARENSTORF, step_controller=controller, rtol=1e-5, atol=1e-5)
    careful = solve(ARENSTORF, step_controller=controller, rtol=1e-5, atol=1e-5, safety=0.7)
    assert careful.n_steps > usual.n_steps
    assert careful.n_rejected < usual.n_rejected


def test_bounds_of_one_change_hold():
    """No accepted step is longer than max_factor times the one before."""
    result = solve(LOTKA_VOLTERRA, first_step=1e-6, max_factor=1.5, rtol=1e-3)
    steps = np.diff(result.t)
    assert np.max(steps[1:] / steps[:-1]) <= 1.5 * (1 + 1e-9)
    assert steps[1] / steps[0] == pytest.approx(1.5)


@cache
def control_functions(kind, error_order):
    """One controller on the python target, with the memory it asks for."""
    component = CONTROLLERS[kind](error_order, np.float64, {})
    layout = component.buffer_registry.lay_out()
    backend = make_backend("python", np.float64, False)
    context = BuildContext(backend, layout, component.name, BuildCache())
    return component.device_functions(context), layout.plan


NORMS = st.one_of(st.floats(1e-14, 1.0), st.floats(1.0, 1e12), st.just(1e10), st.just(0.0))


@by_controller
@given(norms=st.lists(NORMS, min_size=1, max_size=12), error_order=st.sampled_from([1, 2, 4, 7]))
def test_changes_stay_within_bounds_and_rejected_steps_shrink(controller, norms, error_order):
    """Whatever the errors before, a rejected step shrinks: it is never tried again unchanged."""
    functions, plan = control_functions(controller, error_order)
    spaces = plan.run_stride_bytes, plan.persistent_bytes, plan.global_bytes
    memory = Memory(*map(Space.poisoned, spaces))
    dt, accept_step = np.array([1.0]), np.array([1], dtype=np.int32)
    functions.start(memory, True, dt[0])
    accepted_before = True
    for norm in norms:
        h = dt[0]
        functions.control(memory, h, np.float64(norm) ** 2, dt, accept_step)
        factor, accepted = dt[0] / h, bool(accept_step[0])
        assert accepted == (norm <= 1.0)
        assert 0.2 * (1 - 1e-12) <= factor <= 10.0 * (1 + 1e-12)
        if not accepted:
            assert factor <= 0.9 * (1 + 1e-6)  # to the accuracy of the control's own powers
        elif not accepted_before:
            assert factor <= 1.0
        accepted_before = accepted
