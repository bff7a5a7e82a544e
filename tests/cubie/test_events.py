"""Events: found as SciPy finds them, at the times that closed forms have."""

import pickle
import warnings

import numpy as np
import pytest
from scipy.integrate import solve_ivp as by_scipy

import cubie
from cubie import Event, solve_ivp
from cubie.errors import InvalidOption, InvalidProblem, UnknownOption
from cubie.systems import EquationError, equations
from cubie.systems.component import SystemComponent
from cubie.systems.errors import EventError

G = 9.81
TIGHT = {"rtol": 1e-12, "atol": 1e-12, "method": "dop853"}
PLAIN = {"backend": "python", "fastmath": False}


def fall(t, y):
    return [y[1], -G]


def swing(t, y):
    return [y[1], -np.sin(y[0])]


def turn(t, y):
    return [y[1], -y[0]]


def height(t, y):
    return y[0]


def speed(t, y):
    return y[1]


def made(function, **attributes):
    """Return a copy of a function with attributes, as SciPy's users set them."""

    def event(t, y, *args):
        return function(t, y, *args)

    vars(event).update(attributes)
    return event


def same_as_scipy(fun, span, y0, events, tolerance=1e-9, method="dop853", **options):
    """Solve by both, compare all that SciPy has, and return the result."""
    theirs = by_scipy(fun, span, y0, "DOP853", events=events, rtol=1e-12, atol=1e-12, **options)
    options = {**TIGHT, **PLAIN, "method": method, **options}
    ours = solve_ivp(fun, span, y0, events=events, **options)
    assert (ours.status, ours.message) == (theirs.status, theirs.message)
    for mine, other in zip(ours.t_events, theirs.t_events, strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=tolerance)
    for mine, other in zip(ours.y_events, theirs.y_events, strict=True):
        assert mine.shape == other.shape
        np.testing.assert_allclose(mine, other, rtol=0, atol=tolerance)
    np.testing.assert_allclose(ours.t[-1], theirs.t[-1], rtol=0, atol=tolerance)
    np.testing.assert_allclose(ours.y[:, -1], theirs.y[:, -1], rtol=0, atol=tolerance)
    return ours


def test_a_cannon_s_ball_lands_when_it_must():
    """The highest point and the end of a throw are those of the formula; the run ends there."""
    ground, apex = made(height, terminal=True, direction=-1), speed
    found = same_as_scipy(fall, (0, 100), [0.0, 10.0], [ground, apex])
    np.testing.assert_allclose([*found.t_events[0], *found.t_events[1]], [20 / G, 10 / G], 1e-12)
    assert found.status == cubie.RunStatus.EVENT
    assert found.success
    assert found.t_reached == found.t_events[0][0]


def test_a_pendulum_has_its_period():
    """Upward crossings are a period apart, which the elliptic integral gives."""
    from scipy.special import ellipk

    found = same_as_scipy(swing, (0, 40), [1.0, 0.0], made(height, direction=1))
    period = 4 * ellipk(np.sin(0.5) ** 2)
    np.testing.assert_allclose(np.diff(found.t_events[0]), period, rtol=1e-10)


def test_the_third_root_ends_the_run():
    """A count as `terminal` is that of roots; those before are told of."""
    found = same_as_scipy(turn, (0, 50), [1.0, 0.3], made(height, terminal=3))
    np.testing.assert_allclose(np.diff(found.t_events[0]), np.pi, rtol=1e-10)


def test_several_events_in_one_step_come_in_order_of_time():
    """What would happen after the end of a run is not told of, though it is in the same step."""
    late = made(lambda t, y: t - 1.6)
    stop = made(lambda t, y: t - 1.5, terminal=True)
    early = made(lambda t, y: t - 1.4)
    events = [late, stop, early]
    found = same_as_scipy(lambda t, y: [0.0 * y[0]], (0, 10), [1.0], events)
    assert found.n_events == [0, 1, 1]
    np.testing.assert_allclose(np.concatenate(found.t_events), [1.5, 1.4], rtol=1e-14)


def test_events_at_one_time_are_all_told_of():
    """Where several are at the time that ends the run, each is there."""
    events = [made(height, terminal=True, direction=-1), made(lambda t, y: 2.0 * y[0])]
    found = solve_ivp(fall, (0, 9), [1.0, 0.0], events=events, **TIGHT, **PLAIN)
    np.testing.assert_allclose(np.concatenate(found.t_events), np.sqrt(2 / G), rtol=1e-12)


@pytest.mark.parametrize("direction", [0, 1, -1])
def test_an_event_at_the_very_start(direction):
    """A number that is zero at the start counts by how it goes on, once."""
    event = made(height, direction=direction)
    found = same_as_scipy(turn, (0, 2), [0.0, 1.0], event)
    assert list(found.t_events[0]) == ([0.0] if direction >= 0 else [])


@pytest.mark.parametrize("direction", [0, 1, -1])
def test_a_zero_between_two_steps_is_told_of_once(direction):
    """SciPy tells twice of a zero where a step ends: with the step before, and the one behind."""
    options = {"events": made(lambda t, y: t - 0.5, direction=direction), "t_span": (0, 1)}
    step = {"first_step": 0.125, "max_step": 0.125}
    fun, y0 = lambda t, y: [0.0 * y[0]], [1.0]
    theirs = by_scipy(fun, y0=y0, method="RK45", **options, **step).t_events[0]
    found = solve_ivp(fun, y0=y0, method="rk4", first_step=0.125, **options, **PLAIN)
    assert list(theirs) == ([0.5, 0.5] if direction >= 0 else [])
    assert list(found.t_events[0]) == ([0.5] if direction >= 0 else [])


@pytest.mark.parametrize("direction", [0, 1, -1])
def test_a_zero_that_is_touched_at_the_end_of_a_step(direction):
    """It counts for a direction by the side it came from, or by that it goes to; once."""
    event = made(lambda t, y: (t - 0.5) ** 2, direction=direction)
    fun = lambda t, y: [0.0 * y[0]]  # noqa: E731
    found = solve_ivp(fun, (0, 1), [1.0], "rk4", events=event, first_step=0.125, **PLAIN)
    assert list(found.t_events[0]) == [0.5]


def test_a_number_that_stays_zero_is_one_event():
    """Where it begins; it is not told of again at every step."""
    event = made(lambda t, y: np.minimum(t - 0.5, 0.0))
    fun = lambda t, y: [0.0 * y[0]]  # noqa: E731
    found = solve_ivp(fun, (0, 2), [1.0], "rk4", events=event, first_step=0.125, **PLAIN)
    assert list(found.t_events[0]) == [0.5]


def test_what_is_touched_without_crossing_is_no_event_inside_a_step():
    """A sign that is the same at two looks is not seen, in SciPy neither; more looks see it."""
    event = made(lambda t, y: (t - 0.52) * (t - 0.58))
    fun = lambda t, y: [0.0 * y[0]]  # noqa: E731
    options = {"events": event, "first_step": 0.25, **PLAIN}
    assert not len(solve_ivp(fun, (0, 1), [1.0], "rk4", **options).t_events[0])
    found = solve_ivp(fun, (0, 1), [1.0], "rk4", event_samples=8, **options)
    np.testing.assert_allclose(found.t_events[0], [0.52, 0.58], rtol=1e-14)


def test_backwards():
    """Runs that go back in time find their events in the order in which they come."""
    found = same_as_scipy(turn, (10, 0), [1.0, 0.0], made(height, direction=-1, terminal=2))
    assert np.all(np.diff(found.t_events[0]) < 0)


@pytest.mark.parametrize("method", ["dop853", "vern7"])
def test_arenstorf_s_closest_approach(method):
    """The moon is passed at the same times and distances as SciPy finds."""
    mu = 0.012277471

    def arenstorf(t, y):
        x, z, vx, vz = y
        d1, d2 = ((x + mu) ** 2 + z**2) ** 1.5, ((x - 1 + mu) ** 2 + z**2) ** 1.5
        ax = x + 2 * vz - (1 - mu) * (x + mu) / d1 - mu * (x - 1 + mu) / d2
        return [vx, vz, ax, z - 2 * vx - (1 - mu) * z / d1 - mu * z / d2]

    def approach(t, y):
        return (y[0] - 1 + mu) * y[2] + y[1] * y[3]

    y0 = [0.994, 0.0, 0.0, -2.00158510637908252240537862224]
    event = made(approach, direction=1)
    found = same_as_scipy(arenstorf, (0, 12), y0, event, method=method)
    assert found.n_events == [3]  # the first one where it starts


def test_a_bouncing_ball():
    """`apply` gives the run a new state: bounces are at the times of a geometric series."""
    event = Event(height, direction=-1, terminal=12, apply=lambda t, y: [0.0 * y[0], -0.8 * y[1]])
    found = solve_ivp(fall, (0, 10), [2.0, 0.0], events=event, **TIGHT, **PLAIN)
    falls = np.sqrt(2 * 2 / G)
    flights = 2 * falls * 0.8 ** np.arange(1, 12)
    expected = np.cumsum([falls, *flights])
    np.testing.assert_allclose(found.t_events[0], expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.y_events[0][:, 1], -G * falls * 0.8 ** np.arange(12), 1e-9)
    continuous = solve_ivp(
        fall, (0, 10), [2.0, 0.0], events=event, dense_output=True, **TIGHT, **PLAIN
    )
    times = expected[2] + np.linspace(0.01, 0.99, 7) * flights[2]
    since, speeds = times - expected[2], G * falls * 0.8**3
    heights = speeds * since - 0.5 * G * since**2
    np.testing.assert_allclose(continuous.sol(times)[0], heights, rtol=0, atol=1e-9)
    assert found.status == 1
    assert found.t[-1] == found.t_events[0][-1]


@pytest.mark.parametrize("method", ["dop853", "vern7", "tsit5", "rk4", "bdf", "rodas5p", "auto"])
def test_a_spiking_neuron_as_scipy_solves_it_in_pieces(method):
    """Resets of a leaky neuron come as a loop of SciPy's runs finds them."""

    def leak(t, y, current):
        return [current - y[0] - y[1], 0.2 * (0.5 * y[0] - y[1])]

    spike = Event(lambda t, y, current: y[0] - 1.0, apply=lambda t, y, current: [-0.2, y[1] + 0.1])
    until = made(lambda t, y, current: y[0] - 1.0, terminal=True)
    t, y, expected = 0.0, [0.0, 0.0], []
    while True:
        piece = by_scipy(
            leak, (t, 20.0), y, "DOP853", events=until, args=(1.9,), rtol=1e-12, atol=1e-12
        )
        if piece.status == 0:
            break
        t, y = piece.t[-1], [-0.2, piece.y[1, -1] + 0.1]
        expected.append(t)
    exact = method in ("dop853", "vern7")
    sizes = {"rtol": 1e-12, "atol": 1e-12} if exact else {"rtol": 1e-9, "atol": 1e-10}
    sizes = {"first_step": 0.01} if method == "rk4" else sizes
    found = solve_ivp(
        leak, (0, 20), [0.0, 0.0], method, events=spike, args=(1.9,), **sizes, **PLAIN
    )
    assert len(expected) > 5
    tolerance = 1e-5 if method == "bdf" else 1e-9 if exact else 1e-7
    np.testing.assert_allclose(found.t_events[0], expected, rtol=0, atol=tolerance)
    at_end = tolerance if exact else 100 * tolerance
    np.testing.assert_allclose(found.y[:, -1], piece.y[:, -1], rtol=0, atol=at_end)
    assert found.n_rejected == 0 or method != "rk4"


def test_a_condition_is_looked_at_once_a_step():
    """With on='accept' it happens at the end of each step at which it holds."""
    settled = Event(lambda t, y: np.abs(y[0]) < 1e-2, terminal=True, on="accept")
    found = solve_ivp(lambda t, y: [-y[0]], (0, 100), [1.0], events=settled, **PLAIN)
    assert found.status == 1
    assert found.t[-1] == found.t_events[0][0]
    assert np.all(np.abs(found.y[0, :-1]) >= 1e-2)
    assert abs(found.y[0, -1]) < 1e-2
    every = Event(lambda t, y: t < 1.0, on="accept")
    found = solve_ivp(lambda t, y: [-y[0]], (0, 9), [1.0], events=every, **PLAIN)
    np.testing.assert_array_equal(found.t_events[0], found.t[1:][found.t[1:] < 1.0])


def test_a_condition_that_changes_the_state():
    """A projection after every step holds a quantity where it belongs."""
    project = Event(
        lambda t, y: True, on="accept", apply=lambda t, y: y / np.sqrt(y[0] ** 2 + y[1] ** 2)
    )
    free = solve_ivp(turn, (0, 50), [1.0, 0.0], save="final", rtol=1e-3, **PLAIN)
    held = solve_ivp(turn, (0, 50), [1.0, 0.0], save="final", rtol=1e-3, events=project, **PLAIN)
    assert abs(np.hypot(*held.y[:, 0]) - 1) < 0.1 * abs(np.hypot(*free.y[:, 0]) - 1)


def test_events_read_args_and_inputs():
    """They get args like the right-hand side, and inputs that depend on time."""
    u = cubie.Interpolant([0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 0.0, 1.0], kind="linear")

    def event(t, y, u, level):
        return u(t) - level

    found = solve_ivp(
        lambda t, y, u, level: [0.0 * y[0]], (0, 3), [1.0], events=event, args=(u, 0.25),
        max_step=0.4, **PLAIN,
    )  # fmt: skip
    np.testing.assert_allclose(found.t_events[0], [0.25, 1.75, 2.25], rtol=1e-12)


def test_complex_states():
    """Events get complex states, and tell of complex ones."""

    def event(t, y):
        return y[0].real

    found = solve_ivp(lambda t, y: 1j * y, (0, 6), [1.0 + 0j], events=event, **TIGHT, **PLAIN)
    np.testing.assert_allclose(found.t_events[0], [np.pi / 2, 3 * np.pi / 2], rtol=1e-9)
    np.testing.assert_allclose(found.y_events[0][:, 0], [1j, -1j], rtol=1e-9, atol=1e-9)


def test_events_of_equations_as_text():
    """They are text too, and may change states by name."""
    event = Event("v - 1", apply={"v": "c"})
    found = solve_ivp(["dv = c"], (0, 5.5), {"v": 0.0}, args={"c": 0.5}, events=event, **PLAIN)
    np.testing.assert_allclose(found.t_events[0], [2.0, 3.0, 4.0, 5.0])


def test_a_parameter_that_events_alone_use_is_named():
    """The equations do not tell of it; the error says where it is named."""
    event, args = Event("v - 1", apply={"v": "c"}), {"a": 0.5, "c": 0.5}
    with pytest.raises(EquationError, match=r"args has `c`; .*in `parameters` of"):
        solve_ivp("dv = a", (0, 3.5), {"v": 0.0}, args=args, events=event, **PLAIN)
    named = equations("dv = a", parameters=["a", "c"])
    found = solve_ivp(named, (0, 3.5), {"v": 0.0}, args=args, events=event, **PLAIN)
    np.testing.assert_allclose(found.t_events[0], [2.0, 3.0])


def batch(events, n_runs=7, **options):
    """Solve balls thrown at different speeds."""
    y0 = np.stack([np.zeros(n_runs), np.arange(n_runs) * 5.0], axis=1)
    return solve_ivp(fall, (0, 5), y0, events=events, **{**TIGHT, **PLAIN, **options})


def test_a_batch_has_arrays_filled_up_with_nan():
    """Every run has as many as it has, and ends for itself."""
    found = batch([made(height, terminal=True, direction=-1), speed], max_events=3)
    speeds = np.arange(7) * 5.0
    lands, apex = 2 * speeds / G, speeds / G
    assert found.t_events[0].shape == (7, 3)
    assert found.y_events[1].shape == (7, 3, 2)
    np.testing.assert_allclose(found.t_events[0][:5, 0], lands[:5], atol=1e-12)
    assert np.isnan(found.t_events[0][5:]).all()
    assert np.isnan(found.t_events[0][:, 1:]).all()
    np.testing.assert_allclose(found.t_events[1][:, 0], apex, atol=1e-12)
    np.testing.assert_array_equal(found.n_events[0], [1, 1, 1, 1, 1, 0, 0])
    np.testing.assert_array_equal(found.status, [1, 1, 1, 1, 1, 0, 0])
    np.testing.assert_allclose(found.t_reached, np.minimum(lands, 5.0), atol=1e-12)
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again.t_events[1], found.t_events[1])
    assert "5 of 7 runs: A termination event occurred." in found.message
    assert "2 events" in repr(found)


def test_points_after_the_end_are_not_saved():
    """NaN in a batch; one run has fewer points."""
    times = np.linspace(0, 5, 6)
    event = made(height, terminal=True, direction=-1)
    found = batch(event, t_eval=times)
    ends = 2 * np.arange(7) * 5.0 / G
    np.testing.assert_array_equal(np.isnan(found.y[:, 0]), times > ends[:, None])
    one = solve_ivp(fall, (0, 5), [0.0, 10.0], t_eval=times, events=event, **TIGHT, **PLAIN)
    np.testing.assert_array_equal(one.t, [0.0, 1.0, 2.0])
    steps = batch(event, save="steps")
    np.testing.assert_allclose([steps.t[k][-1] for k in range(7)], np.minimum(ends, 5.0))


def test_more_events_than_there_is_room_for_are_told_of():
    """The first are kept, all are counted, and a warning says what to do."""
    y0 = np.array([[1.0, 0.0], [0.0, 0.0]])
    options = {**TIGHT, **PLAIN, "events": height}
    with pytest.warns(cubie.EventsLost, match=r"max_events=2 in 1 of 2 runs.*event 0 in run 0, 6"):
        found = solve_ivp(turn, (0, 18), y0, max_events=2, **options)
    assert found.t_events[0].shape == (2, 2)
    assert found.n_events[0][0] == 6
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one = solve_ivp(turn, (0, 205), y0[0], **options)
    assert one.n_events == [65]
    assert len(one.t_events[0]) == 65


def with_attributes(**attributes):
    return made(height, **attributes)


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (3.0, "must be one of a function"),
        ([height, 3.0], "a sequence with 3.0"),
        (with_attributes(terminal=-1), "must be a boolean or positive integer"),
        (with_attributes(terminal=1.5), "must be a boolean or positive integer"),
        (with_attributes(terminal="yes"), "must be a boolean or positive integer"),
        (with_attributes(termnal=True), "`events.0..termnal` is not .* mean `terminal`"),
        (with_attributes(Directon=1), "`events.0..Directon` is not .* mean `direction`"),
        (with_attributes(direction="up"), "direction` is 'up'. It must be a number"),
        (with_attributes(direction=np.nan), "It must be a number"),
        (with_attributes(on="step"), "must be one of 'crossing', 'accept'"),
        (with_attributes(on="accept", direction=1), "has no direction"),
        (with_attributes(apply=3), r"apply` is 3. It must be a function"),
        (lambda t, y: [y[0], y[1]], r"events\[0\] returned a list"),
        (lambda t, y: y, r"events\[0\] returned an array of shape \(2,\)"),
        (lambda t, y: None, r"events\[0\] returned None.*Is there a `return`"),
        (lambda t, y: "no", r"events\[0\] returned a str"),
        (lambda t, y: y[0] > 0, r"events\[0\] returned a truth value"),
        (lambda t, y: 1j, r"events\[0\] returned a complex number"),
        (lambda t: t, r"events\[0\] is called"),
        (lambda t, y: y[5], r"events raise for 2 states"),
        (with_attributes(apply=lambda t, y: [y[0]]), r"`apply` of events\[0\] returned 1 values"),
        (with_attributes(apply=lambda t, y: None), r"`apply` of events\[0\] returned None"),
        (with_attributes(apply=lambda t: [t, t]), r"`apply` of events\[0\] is called"),
        ("y0 - 1", "is text, which is for equations given as text"),
    ],
)
def test_bad_events_are_refused_by_name(event, told):
    """What is no event says what was given, and what to do."""
    with pytest.raises((InvalidOption, UnknownOption, EventError), match=told):
        solve_ivp(fall, (0, 1), [1.0, 0.0], events=event, **PLAIN)


def test_a_misspelt_attribute_has_a_suggestion():
    """Of an `Event`; other attributes of a function are its own affair."""
    with pytest.raises(UnknownOption, match="`termnal` is not an attribute of an event"):
        Event(height, termnal=True)
    own = with_attributes(label="ground", applied=True, terminal=True)
    assert solve_ivp(fall, (0, 9), [1.0, 0.0], events=own, **PLAIN).status == 1


@pytest.mark.parametrize("method", ["rodas5p", "sdirk2"])
def test_algebraic_states_are_made_consistent_behind_a_change(method):
    """What `apply` gives for a state without a derivative is only where the search begins."""
    event = Event(
        lambda t, y: y[0] - 0.5, direction=-1, apply=lambda t, y: [y[0] + 0.5, 7.0 + 0.0 * y[1]]
    )
    found = solve_ivp(
        lambda t, y: [-y[0], y[1] - 2.0 * y[0]], (0, 3), [1.0, 2.0], method, events=event,
        mass_matrix=[1.0, 0.0], rtol=1e-7, atol=1e-9, t_eval=[0.5, 0.7, 1.0, 2.5, 3.0], **PLAIN,
    )  # fmt: skip
    expected = np.log(2.0) * np.arange(1, 5)
    np.testing.assert_allclose(found.t_events[0], expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.y[1], 2.0 * found.y[0], rtol=1e-9)


@pytest.mark.parametrize("method", ["tsit5", "bdf", "rk4"])
def test_events_do_not_depend_on_what_is_saved(method):
    """The last state, every step, given times, and runs with spans of their own: the same bits."""
    change = Event(
        lambda t, y: y[0] - 0.3, direction=1, apply=lambda t, y: [y[0] + 0.4, 0.9 * y[1]]
    )
    y0 = np.array([[1.0, 0.0], [2.0, 0.5]])
    options = {"method": method, "events": [change, speed], "max_events": 9, **PLAIN}
    options |= {"first_step": 0.02} if method == "rk4" else {"rtol": 1e-6}
    final = solve_ivp(turn, (0, 9), y0, **options)
    assert np.all(final.n_events[0])
    steps = solve_ivp(turn, (0, 9), y0, save="steps", **options)
    times = solve_ivp(turn, (0, 9), y0, t_eval=np.linspace(0, 9, 7), **options)
    spans = solve_ivp(turn, (0, np.array([9.0, 9.0])), y0, **options)
    for other in (steps, times, spans):
        for k in range(2):
            np.testing.assert_array_equal(other.t_events[k], final.t_events[k])
            np.testing.assert_array_equal(other.y_events[k], final.y_events[k])
    for run in range(2):
        np.testing.assert_array_equal(steps.y[run][:, -1], final.y[run, :, 0])
    np.testing.assert_array_equal(times.y[:, :, -1], final.y[:, :, 0])


def test_bad_options_are_refused():
    """Options of events where there are none, and values that cannot be."""
    for options in ({"event_samples": 0}, {"event_samples": 1.5}, {"event_samples": 3}):
        with pytest.raises(InvalidOption, match="event_samples"):
            solve_ivp(fall, (0, 1), [1.0, 0.0], **options, **PLAIN)
    with pytest.raises(InvalidOption, match="It is for `events`"):
        solve_ivp(fall, (0, 1), [1.0, 0.0], max_events=3, **PLAIN)
    with pytest.raises(InvalidProblem, match="max_events"):
        solve_ivp(fall, (0, 1), [1.0, 0.0], events=height, max_events=-1, **PLAIN)


MODEL = """
equations = ["dv = 0.04*v*v - u", "du = a*(v - u)"]
events = ["v + 50", {function = "v - 30", apply = {v = "-65.0", u = "u + a"}}]
"""


def test_the_command_plans_buffers_of_events(tmp_path, monkeypatch):
    """Of functions and of text they have places, beside dense output too; what is wrong is told."""
    from tests.cubie.cli_running import run

    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.toml").write_text(MODEL)
    (tmp_path / "model.py").write_text(
        "def fun(t, y, a):\n    return [y[1], -a * y[0]]\n\n"
        "def ends(t, y, a):\n    return y[0]\n\nends.terminal = True\n"
    )
    local = ("--locations", "local")
    for target, n_events in (
        (("model.toml",), 2),
        (("model.toml", "--event", "v"), 3),
        (("model.py:fun", "--states", 2, "--event", "ends"), 1),
    ):
        lines = run(*target, *local).stdout.splitlines()
        (found,) = (line.split() for line in lines if line.split()[:1] == ["loop.event_values"])
        assert found[1] == str(n_events)
    dense = run("model.toml", "--dense-output", *local).stdout
    assert "loop.polynomial" in dense
    assert "loop.polynomial" not in run("model.toml", *local).stdout
    for wrong, told in (
        (("model.toml", "--event", "w - 1"), "`w`, in events[2], is not defined"),
        (("model.py:fun", "--states", 2, "--event", "end"), "did you mean"),
    ):
        assert told in run(*wrong, *local, status=2).stderr
    (tmp_path / "bad.toml").write_text('equations = "dx = -x"\nevents = [{apply = {x = "1"}}]\n')
    assert "events[0] has no `function`" in run("bad.toml", *local, status=2).stderr


@pytest.mark.parametrize("method", ["dop853", "tsit5", "radau_iia_5", "rk4"])
def test_summaries_end_where_a_run_does(method):
    """They are of the time until the event that ends it, as of a run that ends there anyway."""
    ground = made(height, terminal=True, direction=-1)
    asked = {"y0": ["max", "argmax", "mean", "integral", "final", "min"], "d": ["mean"]}
    options = {"summaries": asked, "observables": lambda t, y: {"d": y[0] ** 2}, **PLAIN}
    options |= {"first_step": 0.013} if method == "rk4" else {"rtol": 1e-9, "max_step": 0.1}
    end, start = 20 / G, [0.0, 10.0]
    found = solve_ivp(fall, (0, 9), start, method, events=ground, **options)
    whole = solve_ivp(fall, (0, end), start, method, **options)
    for label, value in whole.summaries["y0"].items():
        np.testing.assert_allclose(found.summaries["y0"][label], value, atol=1e-9, err_msg=label)
    expected = whole.summaries["d"]["mean"]
    np.testing.assert_allclose(found.summaries["d"]["mean"], expected, rtol=1e-6)
    np.testing.assert_allclose(found.y[:, -1], whole.y[:, -1], atol=1e-9)


def test_summaries_beside_events_that_only_tell():
    """They are those without events, of one run and of a batch, however points are saved."""
    for save in ({}, {"save": "steps"}, {"save": "final"}):
        for start in ([0.0, 10.0], [[0.0, 10.0], [1.0, 0.0]]):
            options = {"summaries": {"y0": ["max", "mean"], "y1": ["min"]}, **PLAIN, **save}
            plain = solve_ivp(fall, (0, 2.5), start, **options)
            found = solve_ivp(fall, (0, 2.5), start, events=[height, speed], **options)
            np.testing.assert_equal(found.summaries, plain.summaries)
            assert np.all(found.n_events)


@pytest.mark.parametrize("method", ["tsit5", "dop853", "radau_iia_5", "bdf", "rk4"])
def test_summaries_of_states_that_events_change(method):
    """They are those of the pieces between, each solved by itself, put together."""
    bounce = Event(height, direction=-1, apply=lambda t, y: [0.0 * y[0], -0.8 * y[1]])
    land = made(height, terminal=True, direction=-1)
    asked = {"y0": ["integral", "max", "argmax", "final"], "y1": ["min", "max", "crossings(0.5)"]}
    asked["energy"] = ["integral", "min"]
    options = {"observables": lambda t, y: {"energy": G * y[0] + 0.5 * y[1] ** 2}}
    options |= {"summaries": asked, "method": method, "save": "final"}
    exact = {"first_step": 0.01} if method == "rk4" else {"rtol": 1e-10, "atol": 1e-10}
    options |= {**exact, "max_step": 0.1} if method == "bdf" else exact
    starts = np.array([[2.0, 0.0], [1.0, 3.0], [0.5, -1.0]])
    whole = solve_ivp(fall, (0, 2), starts, events=bounce, **options, **PLAIN).summaries
    for run, y in enumerate(starts):
        t, pieces = 0.0, []
        while t < 2.0:
            piece = solve_ivp(fall, (t, 2.0), y, events=land, **options, **PLAIN)
            pieces.append(piece.summaries)
            t, y = piece.t_reached, [0.0, -0.8 * piece.y[1, -1]]
        assert len(pieces) > 2

        def of_pieces(name, label, pieces=pieces):
            return [piece[name][label] for piece in pieces]

        near = 1e-4 if method == "bdf" else 1e-8
        for name, label, joined in (
            ("y0", "integral", sum(of_pieces("y0", "integral"))),
            ("y0", "max", max(of_pieces("y0", "max"))),
            ("y0", "final", of_pieces("y0", "final")[-1]),
            ("y1", "min", min(of_pieces("y1", "min"))),
            ("y1", "max", max(of_pieces("y1", "max"))),
            ("energy", "integral", sum(of_pieces("energy", "integral"))),
            ("energy", "min", min(of_pieces("energy", "min"))),
        ):
            np.testing.assert_allclose(whole[name][label][run], joined, rtol=near, atol=near)
        # Each change takes the speed through the level once more.
        crossed = sum(one.count for one in of_pieces("y1", "crossings")) + len(pieces) - 1
        assert whole["y1"]["crossings"].count[run] == crossed


def test_an_event_is_read_anew_at_each_solve():
    """Attributes, and what an event refers to, may change between two solves of a solver."""
    level = {"at": 1.0}
    event = made(lambda t, y: y[0] - level["at"])
    solver = cubie.Solver(fall, events=event, **TIGHT, **PLAIN)
    first = solver.solve((0, 1), [2.0, 0.0])
    assert (first.status, len(first.t_events[0])) == (0, 1)
    event.terminal = True
    second = solver.solve((0, 1), [2.0, 0.0])
    assert (second.status, second.t_events[0][0]) == (1, first.t_events[0][0])
    level["at"] = 1.5
    third = solver.solve((0, 1), [2.0, 0.0])
    np.testing.assert_allclose(third.t[-1], np.sqrt(2 * 0.5 / G), rtol=1e-12)


def test_conditions_are_looked_at_where_others_end_a_step():
    """A step that ends at an event is a step: they see the state there, before it changes."""
    tooth = Event(lambda t, y: y[0] - 1.0, apply=lambda t, y: [0.0 * y[0]])
    high = Event(lambda t, y: y[0] >= 1.0 - 1e-12, on="accept")
    low = Event(lambda t, y: y[0] < 0.5, on="accept")
    ends = Event(lambda t, y: y[0] > 1.0 - 1e-12, on="accept", terminal=3)
    for events in ([tooth, high, low], [ends, low, tooth]):
        for samples in (1, 4):
            options = {"events": events, "event_samples": samples, **PLAIN}
            found = solve_ivp(lambda t, y: [1.0 + 0.0 * y[0]], (0, 5.5), [0.0], **options)
            teeth = found.t_events[events.index(tooth)]
            seen = found.t_events[1 if high in events else 0]
            np.testing.assert_array_equal(seen, teeth)
            np.testing.assert_allclose(seen, np.arange(1, len(teeth) + 1), rtol=1e-12)
            assert (found.status, len(teeth)) == ((0, 5) if high in events else (1, 3))


def test_all_evaluations_are_counted(monkeypatch):
    """Those with which a run begins anew too, at events and behind breaks."""
    calls = []
    build = SystemComponent.build

    def counted(self, context):
        rhs = build(self, context)

        def counting(*args):
            calls.append(args)
            return rhs(*args)

        return counting

    monkeypatch.setattr(SystemComponent, "build", counted)
    bounce = Event(height, direction=-1, apply=lambda t, y: [0.0 * y[0], -0.8 * y[1]])
    for options in ({"events": bounce}, {"breakpoints": [0.3, 0.5]}, {}, {"events": speed}):
        for method in ("tsit5", "dop853"):
            calls.clear()
            both = {**options, "breakpoints": [0.3]} if "events" in options else options
            found = cubie.Solver(fall, method=method, **both, **PLAIN).solve((0, 2), [1.0, 0.0])
            assert found.nfev == len(calls)
