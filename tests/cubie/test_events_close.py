"""Events that come again and again, sooner each time: none is missed, and their end is told of."""

import numpy as np
import pytest

from cubie import Event, RunStatus, solve_ivp

G = 9.81
PLAIN = {"backend": "python", "fastmath": False}
REBOUND = np.array([0.0, 1e-6, 1e-3, 0.1, 0.5, 0.9])
FIRST = np.sqrt(4.0 / G)
REST = FIRST * (1.0 + 2.0 * REBOUND / (1.0 - REBOUND))


def fall(t, y, rebound):
    return [y[1], -G]


def ground(keeps=False, **rule):
    """Return bounces that put the height at zero, or leave it where its root was found."""
    return Event(
        lambda t, y, rebound: y[0],
        apply=lambda t, y, rebound: [y[0] if keeps else 0.0 * y[0], -rebound * y[1]],
        **rule,
    )


def drop(event, rebound=REBOUND, end=50, **options):
    options = {"save": "final", **PLAIN, **options}
    return solve_ivp(fall, (0, end), [2.0, 0.0], args=(rebound,), events=event, **options)


@pytest.mark.parametrize("keeps", [False, True])
@pytest.mark.parametrize("direction", [-1, 0])
def test_bounces_come_to_rest(direction, keeps):
    """No bounce is missed, and the run ends where there are no more: not below the ground."""
    found = drop(ground(keeps, direction=direction))
    assert (found.status == RunStatus.EVENTS_TOO_CLOSE).all()
    assert not found.success.any()
    assert "come to rest" in found.message
    # Without any rebound a height that is kept is that of rounding, from where it falls once more.
    np.testing.assert_allclose(found.t_reached, REST, rtol=1e-7 if keeps else 1e-12)
    np.testing.assert_allclose(found.y[:, 0, 0], 0.0, atol=1e-9)
    for run in (3, 4, 5):
        bounces = int(found.n_events[0][run])
        assert REBOUND[run] ** bounces < 1e-13
        flights = 2.0 * FIRST * REBOUND[run] ** np.arange(1, 20)
        times = found.t_events[0][run]
        np.testing.assert_allclose(np.diff(times)[:14], flights[:14], rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("method", ["tsit5", "rk4", "bdf", "rodas5p", "dop853", "auto"])
def test_no_run_falls_through_the_ground(method, dtype):
    """Whatever the method, and however exact it is."""
    sizes = {"first_step": 0.01} if method == "rk4" else {}
    found = drop(ground(direction=-1), end=15, method=method, dtype=dtype, **sizes)
    assert (found.status == RunStatus.EVENTS_TOO_CLOSE).all()
    np.testing.assert_allclose(found.t_reached, REST, atol=0.05)
    np.testing.assert_allclose(found.y[:, 0, 0], 0.0, atol=1e-2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("method", ["tsit5", "bdf"])
def test_lanes_agree_to_the_end(method, dtype):
    """Beside others that still fly, or have come to rest."""
    event = ground(True)
    expected = drop(event, method=method, dtype=dtype)
    found = drop(event, method=method, dtype=dtype, backend="cpu", lanes=8)
    np.testing.assert_array_equal(found.n_events[0], expected.n_events[0])
    np.testing.assert_array_equal(found.t_events[0], expected.t_events[0])
    np.testing.assert_array_equal(found.t_reached, expected.t_reached)
    np.testing.assert_array_equal(found.status, expected.status)


@pytest.mark.parametrize("way", ["given points", "every step", "function"])
def test_results_end_where_the_run_does(way):
    """Points after the rest are not there."""
    options = {
        "given points": {"t_eval": np.linspace(0, 50, 501), "save": None},
        "every step": {"save": "steps"},
        "function": {"save": "steps", "dense_output": True},
    }[way]
    options = {name: value for name, value in options.items() if value is not None}
    event = ground(direction=-1)
    found = solve_ivp(fall, (0, 50), [2.0, 0.0], args=(0.5,), events=event, **PLAIN, **options)
    assert found.status == RunStatus.EVENTS_TOO_CLOSE
    assert found.t[-1] <= found.t_reached == pytest.approx(REST[4], rel=1e-12)
    assert np.all(np.diff(found.t) >= 0)
    assert found.y[0].min() > -1e-9
    if "dense_output" in options:
        assert np.isfinite(found.sol(found.t)).all()


def only(fun, start, event, end=3.0, **options):
    found = solve_ivp(fun, (0, end), start, events=event, **{**PLAIN, **options})
    assert found.status == 0
    return found.t_events[0]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("method", ["tsit5", "bdf", "rk4"])
def test_who_goes_on_or_back_is_not_taken_for_one_at_rest(method, dtype):
    """Of changes that leave a number where the event is, those from where there is a way."""
    options = {"method": method, "dtype": dtype}
    options |= {"first_step": 0.02} if method == "rk4" else {}
    level = Event(lambda t, y: y[0] - 1.0, apply=lambda t, y: [y[0], 0.01 * y[1]])
    # On, slower, however far from zero the numbers are that it is the difference of.
    for offset in (0.0, 100.0):
        event = Event(lambda t, y, at=offset: y[0] - 1.0 - at, apply=level.apply)
        times = only(lambda t, y: [y[1], 0.0 * y[1]], [offset, 1.0], event, **options)
        np.testing.assert_allclose(times, [1.0], rtol=1e-3)
    # Stopped at a ceiling, from which it falls.
    ceiling = Event(lambda t, y: y[0] - 1.0, apply=lambda t, y: [y[0], 0.0 * y[1]])
    times = only(lambda t, y: [y[1], -1.0 + 0.0 * y[1]], [0.0, 2.0], ceiling, **options)
    np.testing.assert_allclose(times[0], 2.0 - np.sqrt(2.0), rtol=1e-2)
    # Where it stays.
    full = Event(lambda t, y: y[0] - 1.0, apply=lambda t, y: [1.0, 0.0])
    times = only(lambda t, y: [y[1], 0.0 * y[1]], [0.0, 0.5], full, **options)
    np.testing.assert_allclose(times, [2.0], rtol=1e-4)
    # A dose at a time, as the time itself goes on.
    dose = Event(lambda t, y: t - 1.0, apply=lambda t, y: [y[0] + 1.0])
    np.testing.assert_allclose(only(lambda t, y: [-y[0]], [1.0], dose, **options), [1.0], rtol=1e-6)


def test_a_small_step_back_counts():
    """A state that `apply` puts near the event, but not at it, gets there soon: that is seen."""
    event = Event(lambda t, y: y[0], direction=-1, apply=lambda t, y: [y[0] + 1e-4, y[1]])
    times = only(lambda t, y: [y[1], 0.0 * y[1]], [1.0, -1.0], event, 1.0 + 9.5e-4)
    np.testing.assert_allclose(times, 1.0 + 1e-4 * np.arange(10), rtol=0, atol=1e-12)


def test_with_a_mass_matrix_a_moment_is_a_part_of_the_step():
    """Derivatives are not at hand there; bounces far enough apart are found."""
    event = Event(
        lambda t, y: y[0], direction=-1, terminal=8, apply=lambda t, y: [y[0], -0.8 * y[1]]
    )
    found = solve_ivp(
        lambda t, y: [2.0 * y[1], -G], (0, 50), [2.0, 0.0], "rodas5p", events=event,
        mass_matrix=[2.0, 1.0], rtol=1e-8, atol=1e-10, **PLAIN,
    )  # fmt: skip
    assert found.status == 1
    expected = FIRST * (1.0 + 2.0 * np.cumsum(0.8 ** np.arange(8)) - 2.0)
    np.testing.assert_allclose(found.t_events[0], expected, rtol=1e-6)


def test_a_ball_between_two_walls_that_close_in():
    """Two events that come closer and closer in turn: no run goes on through a wall."""
    left = Event(lambda t, y, c: y[0], direction=-1, apply=lambda t, y, c: [y[0], -c * y[1]])
    right = Event(
        lambda t, y, c: y[0] - np.maximum(1.0 - t, 0.0), direction=1,
        apply=lambda t, y, c: [y[0], -c * y[1] - 1.0],
    )  # fmt: skip
    found = solve_ivp(
        lambda t, y, c: [y[1], 0.0 * y[1]], (0, 3), [0.1, 0.7], args=(np.array([0.6, 1.0]),),
        events=[left, right], save="final", max_steps=2000, **PLAIN,
    )  # fmt: skip
    assert (found.status < 0).all()
    np.testing.assert_allclose(found.t_reached, 1.0, atol=1e-6)
