"""Events that cannot be traced: compiled as they stand, beside those that are traced."""

import warnings

import numpy as np
import pytest

from cubie import (
    Event,
    Interpolant,
    InvalidOption,
    RunStatus,
    Solver,
    UntracedWarning,
    solve_ivp,
)
from cubie.backend.foreign import UncompilableFunction
from cubie.backend.foreign_check import CompiledDiffers
from cubie.systems.errors import EventError

TIGHT = {"method": "bogacki_shampine32", "rtol": 1e-8, "atol": 1e-10, "fastmath": False}
FIXED = {"method": "rk4", "first_step": 0.01}
TABLE = np.linspace(0.0, 3.0, 4)


@pytest.fixture(autouse=True)
def _without_warnings():
    """These functions are all untraced on purpose."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UntracedWarning)
        yield


def fall(t, y, rebound):
    return [y[1], -9.81]


def halved(x):
    """Return x after a loop as long as x is large."""
    while abs(x) > 4.0:
        x *= 0.5
    return x


def ground(t, y, rebound):
    """Be zero on the ground; write to the state, which is a copy."""
    height = halved(y[0])
    y[0] = 7.0
    return height


def bounced(t, y, rebound):
    return 0.0, -rebound * y[1] + 0.0 * halved(y[1])


def apex(t, y, rebound):
    """Be zero at the top; it can be traced."""
    return y[1]


def low_and_slow(t, y, rebound):
    """Hold where the ball has lost most of its energy; cannot be traced, and is an array."""
    energy = np.zeros(1)
    energy[0] = 1.0 - halved(9.81 * y[0] + 0.5 * y[1] ** 2)
    return energy


def bouncing():
    return [
        Event(ground, direction=-1, terminal=4, apply=bounced),
        apex,
        Event(low_and_slow, on="accept", terminal=True),
    ]


def solved(backend, **options):
    """Drop three balls."""
    y0 = np.array([[2.0, 0.0], [1.0, 1.0], [0.3, 0.0]])
    args = (np.array([0.9, 0.8, 0.7]),)
    return solve_ivp(
        fall, (0, 8), y0, args=args, events=bouncing(), backend=backend, **TIGHT, **options
    )


def test_they_do_what_the_interpreter_does():
    """Events, the states that they make, counts and ends, traced and untraced ones together."""
    found, plain = solved("cpu"), solved("python")
    assert plain.status.tolist() == [1, 1, 1]
    assert plain.n_events[0].tolist() == [4, 4, 2], "the last ends for lack of energy"
    np.testing.assert_array_equal(np.array(found.n_events), np.array(plain.n_events))
    pairs = zip(found.t_events + found.y_events, plain.t_events + plain.y_events, strict=True)
    for one, other in pairs:
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.y, plain.y, rtol=1e-9, atol=1e-9)
    bounces = np.sqrt(4.0 / 9.81) * (2.0 * np.cumsum(0.9 ** np.arange(4)) - 1.0)
    np.testing.assert_allclose(plain.t_events[0][0], bounces, rtol=1e-6)
    assert sum("compiled as it stands" in note for note in found.notes) == 3


def through_half(t, y, floor, fails_at):
    """Be zero where the state is a half; raise where it has fallen to the floor."""
    if y[0] < floor:
        raise ValueError("too low", y[0])
    return halved(y[0] - 0.5)


def in_a_list(t, y, floor, fails_at):
    return [halved(y[0] - 0.25)]


def in_an_array(t, y, floor, fails_at):
    """Look at a table that ends."""
    return np.array([[halved(y[0] - 0.75) + 0.0 * TABLE[int(fails_at * t)]]])


def decay(t, y, floor, fails_at):
    return [-y[0]]


FORMS = [through_half, in_a_list, in_an_array]


@pytest.mark.parametrize(
    ("backend", "steps"), [("python", TIGHT), ("python", FIXED), ("cpu", TIGHT)]
)
def test_one_that_fails_ends_its_run(backend, steps):
    """With a status that says so, be it at the start of a run without any time; no other run.

    What was found before is there, of numbers in all the forms that they may have.
    """
    floor, fails_at = np.array([0.0, 0.1, 0.0, 2.0, 2.0]), np.array([0.0, 0.0, 10.0, 0.0, 0.0])
    ends = np.array([3.0, 3.0, 3.0, 3.0, 0.0])
    runs = solve_ivp(
        decay, (0.0, ends), [1.0], args=(floor, fails_at), events=FORMS, backend=backend, **steps
    )
    failed = int(RunStatus.EVENT_RAISED)
    assert runs.status.tolist() == [0, failed, failed, failed, failed]
    assert "An event, or its `apply`, raised an exception" in runs.message
    reached = runs.t_reached
    assert np.all(reached[[3, 4]] == 0.0)
    assert np.log(10.0) - 0.5 < reached[1] <= np.log(10.0)
    assert 0.3 < reached[2] <= 0.401, "the table has four entries"
    for found, at in zip(runs.t_events, (0.5, 0.25, 0.75), strict=True):
        np.testing.assert_allclose(found[0], -np.log(at), rtol=1e-7)
    np.testing.assert_array_equal(runs.n_events[0], [1, 1, 0, 0, 0])


def refuses(t, y, floor, fails_at):
    if halved(y[0]) < 1.0:
        raise ValueError("no")
    return (1.0,)


def test_an_apply_that_fails_leaves_the_state():
    """The run ends at the event, with the state before it."""
    event = Event(lambda t, y, floor, fails_at: y[0] - 0.5, apply=refuses)
    run = solve_ivp(decay, (0, 3), [1.0], args=(0.0, 0.0), events=event, backend="python")
    assert run.status == RunStatus.EVENT_RAISED
    np.testing.assert_allclose([run.t_reached, run.y[0, -1]], [np.log(2.0), 0.5], rtol=1e-2)


def test_they_compile_for_a_gpu():
    """On sm_90, with what fails and what changes states."""
    solver = Solver(fall, backend="cuda", method="euler", first_step=0.1)
    there = [Event(ground, terminal=4, apply=bounced), apex]
    solver.prepare([2.0, 0.0], args=(0.9,), events=there)
    assert solver.kernel.resources((9, 0)).registers > 0


def with_text(t, y, floor, fails_at):
    """Go through text of a form that numba's reader of bytecode does not know."""
    return float(f"{y[0]:.3f}") - 0.5


def wraps_around(t, y, floor, fails_at):
    return float(2 ** (70 + int(t))) * 1e-21 - y[0]


@pytest.mark.parametrize(
    ("events", "error", "told"),
    [
        (with_text, UncompilableFunction, r"numba cannot compile `with_text` .*\(events\[0\]: "),
        ([apex_of_decay := (lambda t, y, *args: y[0] - 0.1), wraps_around], CompiledDiffers,
         r"`wraps_around` cannot be traced, and .* the number of events\[1\] is .* compiled and "),
        (Event(apex_of_decay, apply=lambda t, y, *args: [wraps_around(t, y, *args)]),
         CompiledDiffers, r"the new value of state 0 behind events\[0\] is "),
    ],
)  # fmt: skip
def test_what_cannot_be_compiled_is_told(events, error, told):
    """As of right-hand sides: which, why, and what to do; the interpreter takes it."""
    problem = {"fun": decay, "t_span": (0, 0.5), "y0": [1.0], "args": (0.0, 0.0)}
    with pytest.raises(error, match=told):
        solve_ivp(**problem, events=events, backend="cpu")
    assert solve_ivp(**problem, events=events, backend="python").success


def complex_halved(t, y):
    return halved(y[0].real) - 0.5


class Counting:
    """An event with a state of its own."""

    def __call__(self, t, y, *args):
        return halved(y[0])


@pytest.mark.parametrize(
    ("events", "y0", "told"),
    [
        (complex_halved, [1.0 + 0j], r"events\[0\] gets complex numbers and cannot be traced"),
        ([apex_of_decay, Counting()], [1.0], r"events\[1\] .*plain function, but it is a Counting"),
    ],
)
def test_what_right_hand_sides_may_not_be(events, y0, told):
    """Neither may events."""
    with pytest.raises(EventError, match=told):
        solve_ivp(lambda t, y: [-y[0]], (0, 1), y0, events=events, backend="python")


def test_the_user_is_told_and_lanes_are_refused():
    """A warning that points here; and runs go one by one."""
    problem = {"fun": decay, "t_span": (0, 0.5), "y0": [1.0], "args": (0.0, 0.0)}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        solve_ivp(**problem, events=through_half, backend="python")
    assert [(one.category, one.filename) for one in caught] == [(UntracedWarning, __file__)]
    with pytest.raises(InvalidOption, match="`lanes` is 4, but must be one of 1"):
        solve_ivp(**problem, events=through_half, backend="cpu", lanes=4)


def test_what_an_event_refers_to_is_taken_as_it_is_now(monkeypatch):
    """Also where only that changed, and the text of the function did not."""
    solver = Solver(decay, backend="python", **TIGHT)
    found = []
    for level in (0.0, 0.2):
        monkeypatch.setitem(globals(), "LEVEL", level)
        run = solver.solve((0, 3), [1.0], args=(0.0, 0.0), events=at_level)
        found.append(run.t_events[0])
    np.testing.assert_allclose(np.array(found), -np.log([[0.5], [0.3]]), rtol=1e-6)


LEVEL = 0.0


def at_level(t, y, floor, fails_at):
    return halved(y[0] - 0.5 + LEVEL)


def test_others_may_call_an_input():
    """An event that is traced does so beside one that is not."""
    ramp = Interpolant(np.array([0.0, 3.0]), np.array([0.0, 3.0]), "linear")

    def meets(t, y, floor, fails_at):
        return y[0] - ramp(t)

    run = solve_ivp(
        decay, (0, 3), [1.0], args=(0.0, 0.0), events=[through_half, meets], backend="python",
        **TIGHT,
    )  # fmt: skip
    np.testing.assert_allclose(np.ravel(run.t_events), [np.log(2.0), 0.56714329], rtol=1e-6)
