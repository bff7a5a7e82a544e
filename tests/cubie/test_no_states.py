"""Problems without states: SciPy's results, with an axis of runs."""

import pickle

import numpy as np
import pytest
from scipy.integrate import solve_ivp as solve_ivp_of_scipy

from cubie import CubieError, Event, Interpolant, InvalidProblem, RunStatus, Solver, solve_ivp

NOTHING = np.zeros(0)


def nothing(t, y, *args):
    return np.zeros(0)


def at_seven(t, y, *args):
    return t - 7.0


def wave(t, y, *args):
    return np.cos(t)


def ending(t, y, *args):
    return t - 7.5


ending.terminal = True
FIELDS = ("t", "y", "status", "success", "message", "nfev", "njev", "nlu")


@pytest.mark.filterwarnings("ignore:Casting complex values")  # SciPy's own
@pytest.mark.parametrize("method", ["RK45", "Radau", "LSODA"])
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"t_eval": [1.0, 2.0, 10.0]},
        {"t_span": (10.0, 0.0)},
        {"y0": NOTHING.astype(complex)},
        {"events": [at_seven, wave]},
        {"events": [ending, at_seven], "t_eval": [1.0, 7.2, 8.0]},
        {"events": [ending, wave], "t_span": (10.0, 0.0)},
        {"vectorized": True, "args": (1.0,)},
    ],
)
def test_one_run_is_scipys(method, given):
    """Fields, their shapes and dtypes."""
    if method != "RK45" and "y0" in given:
        pytest.skip("SciPy's has no complex states")
    problem = {"fun": nothing, "t_span": (0.0, 10.0), "y0": NOTHING, "method": method, **given}
    ours = solve_ivp(**problem, dense_output=True)
    theirs = solve_ivp_of_scipy(**problem, dense_output=True)
    for name in FIELDS if method == "RK45" else FIELDS[:5]:
        one, other = getattr(ours, name), getattr(theirs, name)
        np.testing.assert_array_equal(one, other)
        assert getattr(one, "dtype", None) == getattr(other, "dtype", None) or name == "t"
    assert (ours.t_events is None) == (theirs.t_events is None)
    for one, other in zip(ours.t_events or [], theirs.t_events or [], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-14)
    for one, other in zip(ours.y_events or [], theirs.y_events or [], strict=True):
        assert one.shape == other.shape
    middle = 8.0 if given.get("t_span") else 3.0
    assert ours.sol(middle).shape == theirs.sol(middle).shape == (0,)
    assert ours.sol([middle]).shape == theirs.sol([middle]).shape == (0, 1)
    assert "no states" in ours.notes[0]
    again = pickle.loads(pickle.dumps(ours))
    np.testing.assert_array_equal(again.t, ours.t)
    assert repr(again) == repr(ours)


def test_a_batch():
    """Spans, args and inputs of each run; each gives what it gives alone."""
    ends, offsets = np.array([9.0, 7.2, -3.0]), np.array([0.0, 1.0, 2.0])
    ramp = Interpolant(np.array([-5.0, 10.0]), np.array([-5.0, 10.0]), "linear")

    def shifted(t, y, offset, ramp):
        return ramp(t) - offset - 0.5

    def late(t, y, offset, ramp):
        return t > 7.0

    events = [shifted, ending, Event(late, on="accept")]
    given = {"events": events, "event_samples": 4, "dense_output": True}
    runs = solve_ivp(nothing, (0.0, ends), [], args=(offsets, ramp), **given)
    assert runs.y.shape == (3, 0, 1)
    assert runs.status.tolist() == [1, 0, 0]
    assert runs.t_reached.tolist() == [7.5, 7.2, -3.0]
    np.testing.assert_allclose(runs.t_events[0][:, 0], [0.5, 1.5, np.nan])
    assert [counts.tolist() for counts in runs.n_events] == [[1, 1, 0], [1, 0, 0], [1, 1, 0]]
    assert [states.shape for states in runs.y_events] == [(3, 1, 0)] * 3
    assert runs.sol(1.0).shape == (3, 0)
    assert runs.sol([1.0, 2.0]).shape == (3, 0, 2)
    for i, end in enumerate(ends):
        alone = solve_ivp(nothing, (0.0, end), [], args=(offsets[i], ramp), save="final", **given)
        np.testing.assert_array_equal(alone.t, runs.t[i])
        for one, all_runs in zip(alone.t_events, runs.t_events, strict=True):
            np.testing.assert_array_equal(one, all_runs[i, : len(one)])
    steps = solve_ivp(nothing, (0.0, 9.0), np.zeros((2, 0)), save="steps", dtype="float32")
    assert [steps.t[i].tolist() for i in range(2)] == [[0.0, 9.0]] * 2
    assert steps.y[1].shape == (0, 2)
    assert steps.y[1].dtype == np.float32


def test_rows_of_a_batch_are_lists_or_arrays():
    """Each is a run of no states."""
    for rows in ([[], []], [np.zeros(0), np.zeros(0)], (np.zeros(0), [])):
        assert solve_ivp(nothing, (0.0, 1.0), rows).y.shape == (2, 0, 1)


def test_no_end():
    """To infinity in one step, or to an event before it."""
    forever = solve_ivp(nothing, (0.0, np.inf), [], dense_output=True)
    assert forever.t.tolist() == [0.0, np.inf]
    assert forever.sol([1.0, 1e9]).shape == (0, 2)
    ended = solve_ivp(nothing, (0.0, np.inf), [], events=ending)
    assert ended.t.tolist() == [0.0, 7.5]


def fails(t, y, *args):
    return [1.0][int(t)]


def test_an_event_that_fails_ends_its_run():
    """As one that is compiled as it stands does."""
    runs = solve_ivp(nothing, (0.0, np.array([0.5, 2.0])), [], events=fails)
    assert runs.status.tolist() == [0, RunStatus.EVENT_RAISED]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"fun": lambda t, y: [1.0]}, "fun returned 1 values for 0 states"),
        ({"fun": lambda t, y: None}, "fun returned None"),
        ({"observables": wave}, "`observables` is .* no effect: leave it out"),
        ({"breakpoints": [1.0]}, "`breakpoints` is .* no effect: leave it out"),
        ({"events": Event(wave, apply=nothing)}, "no states that it could change"),
        ({"events": lambda t, y: "text"}, r"events\[0\] returned a str"),
        ({"events": "t - 1"}, "is text, which is for equations given as text"),
        ({"events": lambda t, y: t > 1}, "returned a truth value, which has no roots"),
        ({"y0": [np.zeros(0), np.zeros((1, 0))]}, "y0 is no rectangular array|y0 has shape"),
        ({"y0": np.zeros((0, 0))}, r"y0 has shape \(0, 0\)"),
        ({"t_eval": [1.0, 2.0]}, "contains 2.0, which is not within"),
    ],
)
def test_bad_input(given, told):
    """It is told as of problems with states."""
    problem = {"fun": nothing, "t_span": (0.0, 1.0), "y0": [], **given}
    with pytest.raises(CubieError, match=told):
        solve_ivp(**problem)


def test_the_solution_ends_with_the_run():
    """Beyond an event that ends it there is none."""
    run = solve_ivp(nothing, (0.0, 10.0), [], events=ending, dense_output=True)
    with pytest.raises(InvalidProblem, match=r"The run ended there, before 10\.0"):
        run.sol(8.0)


def test_there_is_nothing_to_plan():
    """Who asks for a plan is told so."""
    with pytest.raises(InvalidProblem, match="holds no states: there is nothing to plan"):
        Solver(nothing).prepare([])
