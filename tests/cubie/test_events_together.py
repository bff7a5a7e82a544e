"""Events at one time, however they are written, and where looks at a step fall."""

import numpy as np
import pytest

from cubie import Event, solve_ivp
from cubie.tableaus.catalogue import all_methods

PLAIN = {"backend": "python", "fastmath": False}
TAU = np.linspace(1.0, 5.0, 24)
WAYS = {
    "product": lambda t, y, tau: t * t - tau * tau,
    "quotient": lambda t, y, tau: t / tau - 1.0,
    "exponential": lambda t, y, tau: np.exp(t) - np.exp(tau),
    "same": lambda t, y, tau: t - tau,
}


def resting(t, y, tau):
    return [0.0 * y[0]]


def dose(function, amount, **rule):
    """Return an event that adds an amount."""
    return Event(function, apply=lambda t, y, tau: [y[0] + amount], **rule)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "options",
    [{}, {"max_step": 0.1}, {"method": "bdf"}, {"method": "rk4", "first_step": 0.07},
     {"dtype": "float32"}],
    ids=["tsit5", "short", "bdf", "rk4", "float32"],
)  # fmt: skip
def test_two_changes_at_one_time_happen_once_each(way, options):
    """Their roots are found some roundings apart: neither is lost, neither happens again."""
    for direction in (0, 1):
        events = [
            dose(WAYS["same"], 1.0, direction=direction),
            dose(WAYS[way], 100.0, direction=direction),
        ]
        found = solve_ivp(
            resting, (0, 6), [0.0], args=(TAU,), events=events, save="final", **PLAIN, **options
        )
        assert (found.status == 0).all()
        np.testing.assert_array_equal(found.y[:, 0, 0], 101.0)
        np.testing.assert_array_equal(found.n_events, np.ones((2, len(TAU))))


@pytest.mark.parametrize("method", all_methods())
def test_compiled_lanes_count_them_once_each(method):
    """Among others, too, whose events come at other times; with every method."""
    events = [dose(WAYS["same"], 1.0), dose(WAYS["product"], 100.0)]
    step = {} if all_methods()[method].has_error_estimate else {"first_step": 0.07}
    found = solve_ivp(
        resting, (0, 6), [0.0], method, args=(TAU,), events=events, backend="cpu", **step
    )
    assert (found.status == 0).all()
    np.testing.assert_array_equal(found.y[:, 0, 0], 101.0)
    np.testing.assert_array_equal(found.n_events, np.ones((2, len(TAU))))


@pytest.mark.parametrize("kept", [True, False])
def test_who_looks_at_the_same_instant_counts_as_often(kept):
    """Bounces, and events of other forms that have their roots there."""
    ground = Event(
        lambda t, y, c: y[0], direction=-1, terminal=8,
        apply=lambda t, y, c: [y[0] if kept else 0.0 * y[0], -c * y[1]],
    )  # fmt: skip
    others = [
        Event(lambda t, y, c: y[0] * (1.3 + np.sin(t)), direction=-1),
        Event(lambda t, y, c: -3.0 * y[0], direction=1),
        Event(lambda t, y, c: y[0] * (1.3 + np.sin(t))),
    ]
    rebound = np.linspace(0.7, 0.95, 8)
    found = solve_ivp(
        lambda t, y, c: [y[1], -9.81], (0, 100), [2.0, 0.0], args=(rebound,),
        events=[ground, *others], rtol=1e-6, atol=1e-9, **PLAIN,
    )  # fmt: skip
    assert (found.status == 1).all()
    np.testing.assert_array_equal(found.n_events, np.full((4, 8), 8))


def test_an_event_told_of_ends_a_run_no_second_time():
    """One with a single root does not happen three times because others change the state there."""
    once = dose(WAYS["same"], 1.0, terminal=3)
    found = solve_ivp(
        resting, (0, 6), [0.0], args=(TAU,), events=[once, dose(WAYS["product"], 100.0)], **PLAIN
    )
    assert (found.status == 0).all()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("samples", [1, 7, 41, 49, 98, 103])
def test_the_last_look_is_at_the_end_of_the_step(samples, dtype):
    """Where conditions are looked at, however many parts a step has."""
    low = Event(lambda t, y: y[0] < 0.1, terminal=True, on="accept")
    found = solve_ivp(
        lambda t, y: [-y[0]], (0, 100), [1.0], events=low, event_samples=samples, dtype=dtype,
        **PLAIN,
    )  # fmt: skip
    assert found.status == 1
    assert found.y[0, -1] < 0.1


def test_final_states_have_the_times_that_runs_reached():
    """Of a batch whose events may end runs."""
    rate = np.array([1.0, 2.0])
    half = Event(lambda t, y, k: y[0] - 0.5, terminal=True)
    found = solve_ivp(
        lambda t, y, k: [-k * y[0]], (0, 50), [1.0], args=(rate,), events=half, rtol=1e-9,
        atol=1e-12, **PLAIN,
    )  # fmt: skip
    np.testing.assert_allclose(found.t, np.log(2.0) / rate[:, None], rtol=1e-7)
    np.testing.assert_array_equal(found.t[:, 0], found.t_reached)
    still = solve_ivp(
        lambda t, y, k: [-k * y[0]], (0, 1), [1.0], args=(rate,),
        events=Event(lambda t, y, k: y[0] - 0.5), **PLAIN,
    )  # fmt: skip
    np.testing.assert_array_equal(still.t, [1.0])


@pytest.mark.parametrize("states", [[1.0], np.array([[1.0], [2.0]])], ids=["one", "batch"])
def test_events_may_be_counted_alone(states, recwarn):
    """Of conditions that hold at each step nobody wants the times."""
    every = Event(lambda t, y: y[0] > 0.0, on="accept")
    found = solve_ivp(lambda t, y: [-y[0]], (0, 9), states, events=every, max_events=0, **PLAIN)
    np.testing.assert_array_equal(found.n_events[0], found.n_steps)
    assert found.t_events[0].size == found.y_events[0].size == 0
    assert not recwarn.list
