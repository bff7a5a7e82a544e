"""Results: SciPy's names, shapes and meaning for one run; a leading run axis for a batch."""

import pickle
from functools import cache

import numpy as np
import pytest
from scipy.integrate import solve_ivp as scipy_solve_ivp

from cubie import Result, RunStatus, Solver, solve_ivp
from cubie_planner import Plan
from tests.oracle.problems import LOTKA_VOLTERRA, Problem, lotka_volterra, reference_solution

T_SPAN, Y0 = (0.0, 4.0), [1.0, 1.0]
ALPHA = np.array([1.2, 1.5, 1.8, 2.1])


@cache
def solver():
    """The predators and their prey, interpreted."""
    return Solver(lotka_volterra, backend="python", rtol=1e-6, atol=1e-8)


def scipy_solution(**options):
    """The same by SciPy."""
    options = {"rtol": 1e-6, "atol": 1e-8} | options
    return scipy_solve_ivp(lotka_volterra, T_SPAN, Y0, "RK45", **options)


def sweep(**options):
    """Four runs that differ in the first parameter."""
    return solver().solve(T_SPAN, Y0, args=(ALPHA, 1.0, 3.0, 1.0), **options)


# --- one run --------------------------------------------------------------------------


@pytest.mark.parametrize("t_eval", [None, [4.0], np.linspace(0.0, 4.0, 9), [0.1, 0.2, 3.0]])
def test_one_run_has_scipys_shapes(t_eval):
    """Every field that SciPy has is there, with its shape and kind of number."""
    ours = solver().solve(T_SPAN, Y0, t_eval, method="RK45")
    theirs = scipy_solution(t_eval=t_eval)
    for name in theirs:
        assert hasattr(ours, name), name
        np.testing.assert_equal(ours[name], getattr(ours, name))
    assert ours.t.shape == theirs.t.shape
    assert ours.y.shape == theirs.y.shape
    assert (ours.status, ours.success, ours.message) == (
        theirs.status,
        theirs.success,
        theirs.message,
    )
    assert ours.sol is theirs.sol is None
    assert ours.t_events is theirs.t_events is None
    assert ours.y_events is theirs.y_events is None
    assert (ours.njev, ours.nlu) == (theirs.njev, theirs.nlu) == (0, 0)
    for name in ("nfev", "n_steps", "n_rejected", "status"):
        assert type(ours[name]) is int, name
    # SciPy interpolates at t_eval; steps of ours end there.
    np.testing.assert_allclose(ours.y, theirs.y, rtol=1e-3)


def test_one_run_with_only_its_end():
    """save="final" is the last column of what is saved by default."""
    end = solver().solve(T_SPAN, Y0, save="final")
    steps = solver().solve(T_SPAN, Y0)
    assert end.t.shape == (1,)
    assert end.y.shape == (2, 1)
    assert end.t[0] == end.t_reached == 4.0
    np.testing.assert_array_equal(end.y[:, 0], steps.y[:, -1])
    assert steps.t.shape == (steps.n_steps + 1,)
    np.testing.assert_array_equal(steps.y[:, 0], Y0)


def test_more_steps_than_there_was_room_for():
    """A run of many steps is solved again with room for all of them."""
    result = solver().solve(T_SPAN, Y0, max_step=0.005)
    assert result.n_steps > 700
    assert result.t.shape == (result.n_steps + 1,)
    assert np.all(np.isfinite(result.y))


def test_unknown_names_are_no_keys():
    """Results are read like SciPy's, by attribute or by key."""
    result = solver().solve(T_SPAN, Y0)
    with pytest.raises(KeyError):
        result["yy"]
    with pytest.raises(TypeError, match=r"see result.y\[run\]"):
        result[0]


# --- t_eval ---------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["bogacki_shampine32", "tsit5", "dop853"])
def test_steps_land_on_t_eval(method):
    """Times are those asked for, to the bit, and the state there is of the method's accuracy."""
    times = np.sort(np.random.default_rng(3).uniform(0.0, 4.0, 40))
    times[17] = np.nextafter(times[16], 9.0)  # closer than any step
    result = solver().solve(T_SPAN, Y0, times, method=method)
    np.testing.assert_array_equal(result.t, times)
    problem = Problem("lotka_volterra", lotka_volterra, T_SPAN, tuple(Y0), "")
    np.testing.assert_allclose(result.y, reference_solution(problem, times), rtol=1e-4)
    assert result.t_reached == 4.0


def test_t_eval_backwards():
    """Decreasing times for an integration from the end to the start."""
    times = np.array([3.9, 2.0, 1.0, 0.0])
    result = solver().solve((4.0, 0.0), [1.5, 0.5], times)
    expected = scipy_solve_ivp(
        lotka_volterra, (4.0, 0.0), [1.5, 0.5], "DOP853", times, rtol=1e-10, atol=1e-10
    )
    np.testing.assert_array_equal(result.t, times)
    np.testing.assert_allclose(result.y, expected.y, rtol=1e-4)


def test_t_eval_holds_both_ends():
    """The initial state is a point like any other."""
    result = solver().solve(T_SPAN, Y0, [0.0, 4.0])
    np.testing.assert_array_equal(result.y[:, 0], Y0)
    end = solver().solve(T_SPAN, Y0, save="final")
    np.testing.assert_array_equal(result.y[:, 1], end.y[:, 0])


def test_fixed_steps_land_on_exact_times():
    """A fixed step is cut to land, and whole again afterwards."""
    result = solver().solve(
        T_SPAN, Y0, [0.25, 0.3, 4.0], method="rk4", first_step=0.1, t_eval_exact=True
    )
    assert result.n_steps == 3 + 1 + 37
    short = solver().solve((0.0, 0.25), Y0, method="rk4", first_step=0.1, save="final")
    np.testing.assert_array_equal(result.y[:, 0], short.y[:, 0])


# --- batches --------------------------------------------------------------------------


def test_a_batch_has_a_leading_run_axis():
    """By default the final state of each run; its counters and status are arrays."""
    result = sweep()
    assert isinstance(result, Result)
    assert result.t.shape == (1,)
    assert result.y.shape == (4, 2, 1)
    for name in ("nfev", "n_steps", "n_rejected", "status", "success", "t_reached"):
        assert result[name].shape == (4,), name
    assert result.message == f"4 of 4 runs: {RunStatus.SUCCESS.sentence}"
    np.testing.assert_array_equal(result.t_reached, 4.0)


@pytest.mark.parametrize("options", [{"save": "final"}, {"t_eval": [0.5, 4.0]}], ids=str)
def test_a_run_of_a_batch_is_the_run_alone(options):
    """Solving a run by itself gives the same bits, without the run axis."""
    batch = sweep(**options)
    for i, alpha in enumerate(ALPHA):
        alone = solver().solve(T_SPAN, Y0, args=(alpha, 1.0, 3.0, 1.0), **options)
        np.testing.assert_array_equal(batch.y[i], alone.y)
        assert batch.nfev[i] == alone.nfev


def test_every_step_of_a_batch():
    """Runs of different length: each with its own times, and NaN where they are filled up."""
    result = sweep(save="steps")
    longest = result.n_steps.max() + 1
    assert result.t.shape == (4, longest)
    assert result.y.shape == (4, 2, longest)
    for i, n_steps in enumerate(result.n_steps):
        assert result.t[i, n_steps] == result.t_reached[i] == 4.0
        assert np.all(np.diff(result.t[i, : n_steps + 1]) > 0)
        assert np.all(np.isnan(result.t.padded()[i, n_steps + 1 :]))
        assert np.all(np.isnan(result.y.padded()[i, :, n_steps + 1 :]))
        assert np.all(np.isfinite(result.y[i]))


def test_a_batch_of_initial_states():
    """y0 with a run axis; parameters may have one too."""
    states = np.array([[1.0, 1.0], [2.0, 0.5], [0.3, 1.7]])
    result = solver().solve(T_SPAN, states, args=(np.array([1.4, 1.5, 1.6]),))
    assert result.y.shape == (3, 2, 1)
    for i, alpha in enumerate((1.4, 1.5, 1.6)):
        alone = solver().solve(T_SPAN, states[i], args=(alpha,), save="final")
        np.testing.assert_array_equal(result.y[i], alone.y)


def test_a_batch_of_one_keeps_its_axis():
    """One row of y0 is a batch with one run."""
    assert solver().solve(T_SPAN, [Y0]).y.shape == (1, 2, 1)


# --- failures keep what was reached ---------------------------------------------------


def explosive(t, y, rate):
    """y' = rate * y**2: infinite at t = 1 / rate."""
    return [rate * y[0] * y[0]]


def test_a_failed_run_keeps_its_steps():
    """As in SciPy: no exception, status -1 or less, the points reached and a message."""
    ours = solve_ivp(explosive, (0.0, 2.0), [1.0], "RK45", args=(1.0,), backend="python")
    theirs = scipy_solve_ivp(explosive, (0.0, 2.0), [1.0], "RK45", args=(1.0,))
    assert (ours.success, ours.status) == (theirs.success, -1) == (False, theirs.status)
    assert ours.status == RunStatus.STEP_TOO_SMALL
    assert ours.message == RunStatus.STEP_TOO_SMALL.message
    assert ours.y.shape == (1, ours.t.size) == (1, ours.n_steps + 1)
    assert ours.t[-1] == ours.t_reached == pytest.approx(1.0, abs=1e-3)
    np.testing.assert_allclose(ours.t[:20], theirs.t[:20], rtol=1e-6)
    assert np.all(np.isfinite(ours.y))


def test_a_failed_run_keeps_the_points_of_t_eval_that_it_reached():
    """The rest of t_eval is left out for one run, and NaN in a batch."""
    times = [0.0, 0.5, 0.9, 1.5, 2.0]
    one = solve_ivp(explosive, (0.0, 2.0), [1.0], "RK45", times, args=(1.0,), backend="python")
    np.testing.assert_array_equal(one.t, times[:3])
    np.testing.assert_allclose(one.y[0], [1.0, 2.0, 10.0], rtol=1e-2)
    rates = np.array([1.0, 0.1])
    both = solve_ivp(explosive, (0.0, 2.0), [1.0], "RK45", times, args=(rates,), backend="python")
    np.testing.assert_array_equal(both.t, times)
    np.testing.assert_array_equal(both.y[0, 0, :3], one.y[0])
    assert np.all(np.isnan(both.y[0, 0, 3:]))
    assert np.all(np.isfinite(both.y[1]))
    np.testing.assert_array_equal(both.success, [False, True])
    assert both.message == (
        f"1 of 2 runs: {RunStatus.SUCCESS.message} 1 of 2 runs: {RunStatus.STEP_TOO_SMALL.message}"
    )


def test_a_failed_run_says_where_its_final_state_is_from():
    """Without points on the way the last state is kept, and t_reached is its time."""
    result = solve_ivp(explosive, (0.0, 2.0), [1.0], args=(np.array([1.0, 0.1]),), backend="python")
    assert result.t_reached[0] == pytest.approx(1.0, abs=1e-3)
    assert result.t_reached[1] == 2.0
    assert result.y[0, 0, 0] > 100
    assert result.y[1, 0, 0] == pytest.approx(1.25, rel=1e-3)


# --- what else a result carries -------------------------------------------------------


def test_every_result_carries_its_plan():
    """Placements by qualified name, totals and what was proven."""
    result = sweep(locations="shared")
    plan = result.plan
    assert isinstance(plan, Plan)
    assert str(plan.placements["loop.state"].location) == "shared"
    assert plan.shared_bytes_per_run > 0
    assert plan.shared_bytes_per_block >= 64 * plan.shared_bytes_per_run
    assert plan.status == "optimal"
    local = sweep(locations="local").plan
    assert (local.shared_bytes_per_run, local.shared_bytes_per_block) == (0, 0)


def test_a_plan_can_be_used_again():
    """A result's plan as `locations` gives the same plan and the same bits."""
    first = sweep(locations={"state": "shared", "stage_rhs": "shared"})
    again = sweep(locations=first.plan)
    assert again.plan.digest == first.plan.digest
    np.testing.assert_array_equal(again.y, first.y)


def test_counters_add_up():
    """Evaluations: two for the first step, one to begin, six for each attempt (tsit5, FSAL)."""
    result = sweep()
    np.testing.assert_array_equal(result.nfev, 3 + 6 * (result.n_steps + result.n_rejected))
    given = sweep(first_step=0.01)
    np.testing.assert_array_equal(given.nfev, 1 + 6 * (given.n_steps + given.n_rejected))


def test_the_default_of_one_run_is_the_oracles_problem():
    """solve_ivp itself, with nothing but SciPy's arguments, on the default target."""
    result = solve_ivp(LOTKA_VOLTERRA.fun, LOTKA_VOLTERRA.t_span, LOTKA_VOLTERRA.y0)
    assert result.success
    exact = reference_solution(LOTKA_VOLTERRA)
    np.testing.assert_allclose(result.y[:, -1], exact, rtol=0.05)


# --- made on demand -------------------------------------------------------------------

FIELDS = (
    "t", "y", "nfev", "njev", "nlu", "n_steps", "n_rejected", "n_newton", "n_linear", "status",
    "t_reached", "success", "message", "solve_seconds", "kernel_seconds", "notes",
)  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"t_eval": [1.0, 4.0]}, {"save": "steps"}], ids=str)
def test_a_result_can_be_pickled_and_shown(options):
    """Worker processes send results back; nothing of the solver goes along."""
    result = sweep(**options)
    again = pickle.loads(pickle.dumps(result))
    for name in FIELDS:
        np.testing.assert_array_equal(again[name], result[name], err_msg=name)
    assert again.plan == result.plan
    assert repr(again) == repr(result)


def test_results_do_not_share_memory():
    """Later solves, and the user's own arrays, leave a result as it is."""
    times = np.array([1.0, 2.0, 4.0])
    first = sweep(t_eval=times)
    kept = first.y.copy()
    times[:] = 0.0
    second = sweep(t_eval=[0.5, 3.0, 4.0])
    np.testing.assert_array_equal(first.t, [1.0, 2.0, 4.0])
    assert not np.shares_memory(first.y, second.y)
    np.testing.assert_array_equal(first.y, kept)
    assert first.y is first.y  # and one made once is the same ever after
