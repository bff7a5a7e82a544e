"""Room for events: little at first, and runs that had more are solved again for their sake."""

import warnings

import numpy as np
import pytest

import cubie
from cubie import Event, Solver
from cubie.backend import Interrupted
from cubie.launch import capacity, event_room
from tests.cubie.pretended import PretendedPython, pretend

RATES = np.array([1.0, 0.1, 30.0, 2.0, 0.0, 7.0, 3.0, 1.0, 0.5, 12.0])
START = np.stack([np.full(10, 0.1), np.linspace(0.5, 1.0, 10)], axis=1)
PLAIN = {"fastmath": False, "rtol": 1e-4}


def oscillate(t, y, w):
    return [w * y[1], -w * y[0]]


EVENTS = (
    Event(lambda t, y, w: y[0]),
    Event(lambda t, y, w: y[1] - 0.2, direction=1, terminal=30),
)


@pytest.fixture
def little(monkeypatch):
    """Begin with room for two of each event."""
    monkeypatch.setattr(event_room, "FIRST_ROOM", 2)


def solver(backend="python", **options):
    return Solver(oscillate, events=list(EVENTS), backend=backend, **PLAIN, **options)


def solve(one, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error", cubie.EventsLost)
        return one.solve((0, 9), START, args=(RATES,), **options)


def require_same(found, expected):
    """Compare all that is told, but for the width of arrays that was asked for."""
    for k in range(len(EVENTS)):
        width = found.t_events[k].shape[1]
        assert width == found.n_events[k].max()
        np.testing.assert_array_equal(found.n_events[k], expected.n_events[k])
        np.testing.assert_array_equal(found.t_events[k], expected.t_events[k][:, :width])
        np.testing.assert_array_equal(found.y_events[k], expected.y_events[k][:, :width])
    for name in ("status", "n_steps", "nfev", "t_reached"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    points = found.y, expected.y
    if hasattr(found.y, "padded"):
        points = found.y.padded(), expected.y.padded()
    np.testing.assert_array_equal(*points)


# Options of the solver, and of the solve.
WAYS = {
    "final": ({}, {}),
    "steps": ({"save": "steps"}, {}),
    "times": ({}, {"t_eval": np.linspace(0, 9, 7)}),
    "function": ({"dense_output": True}, {"t_eval": [1.0, 5.0]}),
    "function of steps": ({"dense_output": True, "save": "steps"}, {}),
}


@pytest.mark.parametrize("way", WAYS)
def test_runs_that_had_more_have_all_of_them(way, little):
    """As with a bound that none reaches, to the last bit, and so again with what was learnt."""
    made, asked = WAYS[way]
    expected = solve(solver(max_events=100, **made), **asked)
    assert len(set(map(int, expected.n_events[0]))) > 5
    one = solver(**made)
    first = solve(one, **asked)
    assert first._more_events
    require_same(first, expected)
    second = solve(one, **asked)
    assert not second._more_events
    require_same(second, expected)
    if "dense_output" in made:
        np.testing.assert_array_equal(second.sol([2.0, 3.0]), expected.sol([2.0, 3.0]))


def test_summaries_beside_runs_with_many_events(little):
    """They are in the same array."""
    asked = {"summaries": {0: ["max", "mean"]}}
    found, expected = solve(solver(**asked)), solve(solver(max_events=100, **asked))
    require_same(found, expected)
    np.testing.assert_equal(found.summaries, expected.summaries)


def test_runs_with_spans_of_their_own(little):
    """Times are told from the start of each."""
    spans = np.linspace(0, 1, 10), np.linspace(8, 9, 10)
    found, expected = (
        one.solve(spans, START, args=(RATES,)) for one in (solver(), solver(max_events=100))
    )
    require_same(found, expected)


def test_of_many_runs_a_few_are_looked_at_first(monkeypatch, little):
    """They tell how much room the others need: none is solved twice."""
    monkeypatch.setattr(event_room, "DEEP_QUEUE", 1)
    monkeypatch.setattr(event_room, "DEPTH_OF_LOOK", 5)
    found, expected = solve(solver()), solve(solver(max_events=100))
    assert not found._more_events
    require_same(found, expected)


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("way", ["final", "times", "steps"])
def test_in_portions_on_a_device(way, on_device, little, monkeypatch):
    """Those that are solved again come to the host, whatever stays on the device."""
    if on_device and way == "steps":
        pytest.skip("what is saved at every step does not stay on a device")
    made, asked = WAYS[way]
    expected = solve(solver(max_events=100, **made), **asked)
    driver = pretend(monkeypatch, PretendedPython)
    if not on_device:
        driver.pretend(total_bytes=45_000)
    found = solve(
        Solver(oscillate, events=list(EVENTS), on_device=on_device, **PLAIN, **made), **asked
    )
    assert len(driver.launched) > 1
    for k in range(len(EVENTS)):
        width = found.t_events[k].shape[1]
        np.testing.assert_array_equal(found.t_events[k], expected.t_events[k][:, :width])
        np.testing.assert_array_equal(found.n_events[k], expected.n_events[k])


def test_a_single_run_has_room_for_all(little):
    """However many, and a later solve needs no second launch for them."""
    one = Solver(oscillate, events=EVENTS[0], backend="python", **PLAIN)
    for more in (1, 0):
        found = one.solve((0, 9), START[0], args=(30.0,))
        assert len(found._more_events) == more
        assert found.n_events == [len(found.t_events[0])] == [len(found.y_events[0])]
        assert found.n_events[0] > 50
        assert np.all(np.diff(found.t_events[0]) > 0)


class _Stopped(BaseException):
    """What a handler of signals raises."""


@pytest.mark.parametrize("called_off", [False, True])
def test_a_signal_while_runs_are_solved_again(called_off, little, monkeypatch):
    """All that had ended is there, and runs whose events are not are told of."""
    expected = solve(solver(max_events=100))
    again = cubie.launch.prepared.PreparedSolve._solve_again
    calls = []

    def ends(self, inputs, n_runs, times, runs, room):
        calls.append(runs)
        if len(calls) == 2:
            raise Interrupted(_Stopped(), 0) if called_off else _Stopped
        return again(self, inputs, n_runs, times, runs, room)

    monkeypatch.setattr(cubie.launch.prepared.PreparedSolve, "_solve_again", ends)
    with pytest.raises(_Stopped) as caught:
        solve(solver())
    found = caught.value.result
    lost = found.status == cubie.RunStatus.INTERRUPTED
    assert 0 < lost.sum() < 10
    assert not lost[calls[0]].any()
    np.testing.assert_array_equal(found.y, expected.y)
    for k in range(len(EVENTS)):
        width = found.t_events[k].shape[1]
        there = found.t_events[k][~lost]
        np.testing.assert_array_equal(there, expected.t_events[k][~lost, :width])
        assert np.isfinite(found.t_events[k][lost, :2]).any()


def test_arrays_that_do_not_fit_are_refused_where_they_are_asked_for(little, monkeypatch):
    """One run with very many events makes those of all as wide; what is solved is not lost."""
    found = solve(solver())
    monkeypatch.setattr(capacity, "ALWAYS_THERE", 100)
    monkeypatch.setattr(capacity, "free_bytes", lambda: 1000)
    with pytest.raises(cubie.OutputsTooLarge, match=r"up to 59 of each.*max_events=") as refused:
        _ = found.t_events
    assert refused.value.n_bytes > refused.value.free_bytes == 1000
    assert found.n_events[0].max() == 59
    assert "2 events" in repr(found)


STATES = ["one", "batch", "complex"]


@pytest.mark.parametrize("bound", [None, 3])
@pytest.mark.parametrize(
    "states", [START[2], START, START[2] + 0j], ids=["one", "batch", "complex"]
)
def test_shapes_are_told_without_the_arrays(states, bound):
    """Of one run, of many, and of complex states, with a bound and without."""
    rates = RATES if states.ndim > 1 else 3.0
    events = [Event(lambda t, y, w: y[0].real), Event(lambda t, y, w: y[0].real + 9.0)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cubie.EventsLost)
        found = Solver(oscillate, events=events, backend="python", max_events=bound, **PLAIN).solve(
            (0, 9), states, args=(rates,)
        )
    assert found._shapes_of_states == [one.shape for one in found.y_events]
    assert str(found.y_events[0].shape) in repr(found)


def test_a_list_of_no_events_gives_lists_of_none():
    """As SciPy has it; None gives None."""
    for start in (START[0], START):
        found = Solver(oscillate, events=[], backend="python").solve((0, 1), start, args=(1.0,))
        assert found.t_events == found.y_events == found.n_events == []
        assert "no events" in repr(found)
    assert Solver(oscillate, backend="python").solve((0, 1), START, args=(1.0,)).t_events is None
