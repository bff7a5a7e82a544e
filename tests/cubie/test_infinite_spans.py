"""Spans without an end, of runs that events end."""

import numpy as np
import pytest

from cubie import Event, Interpolant, InvalidProblem, RunStatus, solve_ivp, time_above

PYTHON = {"backend": "python", "rtol": 1e-5, "atol": 1e-8}
INFINITY = float("inf")


def decay(t, y, rate):
    return [-rate * y[0]]


def low(t, y, rate):
    return y[0] - 1e-3


def high(t, y, rate):
    return y[0] - 1e3


low.terminal = high.terminal = True
LATE = np.log(1e3)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("save", ["final", "steps"])
@pytest.mark.parametrize("start", [0.0, -7.5])
def test_an_event_ends_the_run(dtype, save, start):
    """All is as over a span with an end behind the event, to the bit."""
    ways = [
        solve_ivp(
            decay, (start, end), [1.0], args=(1.0,), events=low, save=save, dtype=dtype,
            dense_output=True, **PYTHON,
        )
        for end in (INFINITY, start + 100.0)
    ]  # fmt: skip
    for run in ways:
        assert run.status == RunStatus.EVENT
        np.testing.assert_allclose(run.t_reached, start + LATE, rtol=1e-4)
        np.testing.assert_allclose(run.sol(start + 0.5), [np.exp(-0.5)], rtol=1e-4)
        with pytest.raises(InvalidProblem, match="The run ended there"):
            run.sol(start + 50.0)
    for name in ("t", "y", "nfev", "t_events", "y_events"):
        np.testing.assert_array_equal(getattr(ways[0], name), getattr(ways[1], name))
    np.testing.assert_array_equal(ways[0].sol.ts, ways[1].sol.ts)


@pytest.mark.parametrize("method", ["tsit5", "bdf", "radau", "auto", "rk4"])
@pytest.mark.parametrize("exact", [False, True])
def test_times_to_save_at_and_breaks(method, exact):
    """Methods of all kinds save, land and break on the way as over a span with an end."""
    fixed = {"first_step": 0.01} if method == "rk4" else {}
    runs = [
        solve_ivp(
            decay, (0.0, end), [1.0], args=(1.0,), method=method, events=low,
            t_eval=[0.5, 2.0, 90.0], t_eval_exact=exact, breakpoints=[1.0, 2.0, 95.0],
            **fixed, **PYTHON,
        )
        for end in (INFINITY, 100.0)
    ]  # fmt: skip
    np.testing.assert_array_equal(runs[0].t, [0.5, 2.0])
    np.testing.assert_allclose(runs[0].y[0], np.exp([-0.5, -2.0]), rtol=1e-4)
    np.testing.assert_array_equal(runs[0].y, runs[1].y)
    np.testing.assert_array_equal(runs[0].t_events[0], runs[1].t_events[0])


def test_ends_of_runs():
    """Some runs have an end, some none, in both directions; each gives what it gives alone."""
    ends, events = np.array([INFINITY, 2.0, -INFINITY, -1.0]), [low, high]
    given = {"args": (1.0,), "events": events, "dense_output": True, **PYTHON}
    runs = solve_ivp(decay, (0.0, ends), [1.0], **given)
    assert runs.status.tolist() == [1, 0, 1, 0]
    np.testing.assert_allclose(runs.t_reached, [LATE, 2.0, -LATE, -1.0], rtol=1e-4)
    np.testing.assert_array_equal(runs.t[:, 0], runs.t_reached)
    for i, end in enumerate(ends):
        alone = solve_ivp(decay, (0.0, end), [1.0], save="final", **given)
        np.testing.assert_array_equal(runs.y[i], alone.y)
        np.testing.assert_array_equal(runs.sol[i].ts, alone.sol.ts)
    np.testing.assert_allclose(runs.sol(1.0)[:2, 0], np.exp(-1.0), rtol=1e-4)
    there = np.isfinite(runs.sol(-0.5)[:, 0])
    assert there.tolist() == [False, False, True, True]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_run_that_comes_to_rest_gets_there(dtype):
    """Where no event comes steps grow beyond all numbers, or there are too many."""
    given = {"events": high, "args": (1.0,), "dtype": dtype, **PYTHON}
    at_rest = solve_ivp(decay, (0.0, INFINITY), [1.0], method="rodas5p", dense_output=True, **given)
    assert at_rest.status == RunStatus.SUCCESS
    assert at_rest.t_reached == at_rest.t[-1] == at_rest.sol.t_max == INFINITY
    assert abs(at_rest.sol(1e30)[0]) < 1e-9
    np.testing.assert_array_equal(at_rest.sol(INFINITY), at_rest.y[:, -1])
    explicit = solve_ivp(decay, (0.0, INFINITY), [1.0], max_steps=200, **given)
    assert explicit.status == RunStatus.TOO_MANY_STEPS


def test_what_grows_for_ever_has_no_value():
    """An integral over all time, or the time above a level; what ends by itself, or at a window."""
    asked = {"y0": ["integral", "mean", "max", time_above(-1.0)]}
    ends = np.array([INFINITY, 2.0, -INFINITY])
    given = {"args": (0.0,), "events": high, "summaries": asked, **PYTHON}
    runs = solve_ivp(decay, (0.0, ends), [2.0], **given)
    assert runs.t_reached.tolist() == ends.tolist()
    found = runs.summaries["y0"]
    np.testing.assert_array_equal(found["integral"], [np.nan, 4.0, np.nan])
    np.testing.assert_array_equal(found["time_above"], [np.nan, 2.0, np.nan])
    np.testing.assert_allclose([found["mean"], found["max"]], 2.0, rtol=1e-15)
    one = solve_ivp(decay, (0.0, INFINITY), [2.0], window=(1.0, 4.0), **given)
    np.testing.assert_allclose(one.summaries["y0"]["integral"], 6.0, rtol=1e-14)


PERIODIC = Interpolant(np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 0.0]), "linear", "periodic")


def driven(t, y, rate):
    return [PERIODIC(t) - rate * y[0]]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"events": None}, "ends at inf, and no event ends runs: give an event with `terminal`"),
        ({"events": Event(low.__call__)}, "ends at inf, and no event ends runs"),
        (
            {"events": None, "t_span": (0.0, np.array([1.0, -INFINITY]))},
            "ends at -inf in run 1, and no event",
        ),
        ({"t_eval": [1.0, INFINITY]}, "contains inf, which is not within"),
        ({"t_span": (-INFINITY, 0.0)}, r"is \(-inf, 0.0\), but both times must be finite, or the"),
        ({"fun": driven}, "holds inf periods of .* Choose stops='none'"),
    ],
)
def test_what_an_end_is_needed_for(given, told):
    """Nothing runs for ever."""
    problem = {"fun": decay, "t_span": (0.0, INFINITY), "y0": [1.0], "args": (1.0,), "events": low}
    with pytest.raises(InvalidProblem, match=told):
        solve_ivp(**{**problem, **given}, **PYTHON)


def test_a_long_span_does_not_make_the_first_step_long():
    """Nor does one with an end; an event that comes early is not missed."""
    for end in (1e30, 1e300):
        run = solve_ivp(decay, (0.0, end), [1.0], args=(1.0,), events=low, **PYTHON)
        np.testing.assert_allclose(run.t_reached, LATE, rtol=1e-4)
