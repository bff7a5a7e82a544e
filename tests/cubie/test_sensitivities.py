"""Derivatives of solutions by parameters and initial states.

The equations have a closed solution; its derivatives are found by complex steps, which have no
error of cancellation. Every method has the same problem in one kernel, so that every bit of a run
can be compared with that of the run alone.
"""

import pickle
import re
import warnings

import numpy as np
import pytest

from cubie import Event, Interpolant, SensitivityWarning, Solver, solve_ivp
from cubie.errors import InvalidOption, InvalidProblem
from cubie.tableaus import all_methods

METHODS = all_methods()
TIMES = np.array([0.0, 0.4, 1.1, 2.0])
# Growth, capacity and rate of decay of some runs; their starts.
RATES = np.array([[1.5, 2.0, 0.3], [0.4, 1.0, 2.0], [2.5, 3.0, 1e-3], [1.0, 0.5, 0.7]])
STARTS = np.array([[0.1, 1.0], [0.8, 2.0], [1e-3, 0.5], [0.9, 1.0]])


def growing(t, y, growth, capacity, decay):
    """Logistic growth of one state, by which another one decays."""
    a, b = y
    return [growth * a * (1.0 - a / capacity), -decay * a * b]


def solution(t, growth, capacity, decay, a0, b0):
    """Return the states at a time."""
    grown = 1.0 + a0 / capacity * (np.exp(growth * t) - 1.0)
    a = a0 * np.exp(growth * t) / grown
    return np.array([a, b0 * grown ** (-decay * capacity / growth)])


def derivatives(rates, start):
    """Return d(states)/d(inputs), (2, 5, n_times)."""
    found = np.zeros((2, 5, len(TIMES)))
    for k in range(5):
        inputs = np.array([*rates, *start], complex)
        inputs[k] += 1e-30j
        for i, t in enumerate(TIMES):
            found[:, k, i] = solution(t, *inputs).imag / 1e-30
    return found


EXACT = np.stack([derivatives(*each) for each in zip(RATES, STARTS, strict=True)])


def options_of(method, tolerance=1e-7):
    sized = {} if METHODS[method].has_error_estimate else {"first_step": 1.0 / 256}
    return {"method": method, "rtol": tolerance, "atol": 1e-3 * tolerance, **sized}


def worst(found, exact):
    """Return the largest error, in units of the largest derivative by each input."""
    size = np.abs(exact).max(axis=(-3, -1), keepdims=True)
    return float((np.abs(found - exact) / size).max())


@pytest.mark.parametrize("method", METHODS)
def test_derivatives_are_right_whoever_is_solved_beside(method):
    options = options_of(method) | {"fastmath": False, "lanes": 4, "sensitivities": "all"}
    solver = Solver(growing, **options)
    together = solver.solve((0.0, 2.0), STARTS, TIMES, args=tuple(RATES.T))
    assert together.success.all()
    assert together.inputs == ("growth", "capacity", "decay", "y0[0]", "y0[1]")
    assert together.dy.shape == (4, 2, 5, 4)
    order = METHODS[method].order
    allowed = 3e-5 if METHODS[method].has_error_estimate else max(1e-6, 20.0 * 256.0**-order)
    assert worst(together.dy, EXACT) < allowed
    back = solver.solve((0.0, 2.0), STARTS[::-1], TIMES, args=tuple(RATES[::-1].T))
    assert np.array_equal(back.dy[::-1], together.dy)
    assert np.array_equal(back.y[::-1], together.y)
    for run in range(0, 4, 3):
        alone = solver.solve((0.0, 2.0), STARTS[[run]], TIMES, args=tuple(RATES[[run]].T))
        assert np.array_equal(alone.dy[0], together.dy[run])


def solved(**options):
    """Solve the runs by Tsit5, with tight tolerances."""
    usual = options_of("tsit5", 1e-9) | {"sensitivities": "all", "t_eval": TIMES}
    return solve_ivp(growing, (0.0, 2.0), STARTS, args=tuple(RATES.T), **(usual | options))


def test_what_is_kept_of_derivatives_goes_with_what_is_kept_of_states():
    whole = solved()
    one = solved(save_states=["y1"], sensitivities=["decay", "y0[0]"])
    assert one.inputs == ("decay", "y0[0]")
    np.testing.assert_allclose(one.dy, EXACT[:, 1:, 2:4], rtol=0, atol=1e-6)
    ends = solved(t_eval=None)
    np.testing.assert_allclose(ends.dy[..., 0], EXACT[..., -1], rtol=0, atol=1e-6)
    steps = solved(t_eval=None, save="steps")
    for run in range(4):
        assert steps.dy[run].shape == (2, 5, len(steps.t[run]))
        np.testing.assert_allclose(steps.dy[run][..., -1], EXACT[run, ..., -1], rtol=0, atol=1e-6)
    assert np.array_equal(pickle.loads(pickle.dumps(steps)).dy[2], steps.dy[2])
    again = solved()
    assert np.array_equal(again.dy, whole.dy)
    single = solve_ivp(
        growing, (0.0, 2.0), STARTS[1], t_eval=TIMES, args=tuple(RATES[1]), rtol=1e-9, atol=1e-12,
        sensitivities="parameters",
    )  # fmt: skip
    np.testing.assert_allclose(single.dy, EXACT[1, :, :3], rtol=0, atol=1e-6)


def test_without_error_control_steps_are_those_of_the_states():
    for method in ("tsit5", "dop853", "rodas5p", "bdf"):
        alone = solved(method=method, sensitivities=None)
        free = solved(method=method, sensitivity_error_control=False)
        held = solved(method=method)
        assert alone.dy is None
        assert alone.inputs == ()
        assert np.array_equal(free.n_steps, alone.n_steps) or method == "bdf"
        assert worst(held.dy, EXACT) < 1e-5
        assert np.all(held.n_steps >= alone.n_steps)


def test_labelled_results_have_the_inputs_as_a_dimension():
    def quantities(t, y, growth, capacity, decay):
        return {"late": y[0] + t}

    found = solved(observables=quantities, sensitivities=["decay", "y0[0]"])
    dataset = found.to_xarray()
    assert dataset["dy"].dims == ("run", "component", "input", "time")
    assert list(dataset["input"].values) == ["decay", "y0[0]"]
    assert np.array_equal(dataset["dy"].sel(input="y0[0]").values, found.dy[:, :, 1])
    assert np.array_equal(dataset["d(late)"].values, found.dobservables["late"])
    ends = solved(t_eval=None).to_xarray()
    assert ends["dy"].dims == ("run", "component", "input")


def test_derivatives_as_functions_of_time():
    found = solved(dense_output=True)
    assert found.sol(0.5).shape == (4, 2)
    np.testing.assert_allclose(found.sol.dy(TIMES), EXACT, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.sol[2].dy(TIMES), EXACT[2], rtol=0, atol=1e-6)
    assert found.sol[2].dy(0.5).shape == (2, 5)
    assert np.array_equal(found.sol(TIMES), found.y)
    with pytest.raises(InvalidProblem, match="not asked for"):
        solved(dense_output=True, sensitivities=None).sol.dy(0.5)


def test_derivatives_in_single_precision():
    found = solved(dtype="float32", rtol=1e-5, atol=1e-8)
    assert found.dy.dtype == np.float32
    assert worst(found.dy, EXACT) < 1e-3


def test_a_parameter_that_is_zero():
    """Its size is 1 then: the derivative is no less right."""
    found = solve_ivp(
        growing, (0.0, 2.0), [0.1, 1.0], t_eval=TIMES, args=(1.5, 2.0, 0.0), rtol=1e-9, atol=1e-12,
        sensitivities=["decay", "y0[0]"],
    )  # fmt: skip
    exact = derivatives([1.5, 2.0, 0.0], [0.1, 1.0])[:, 2:4]
    np.testing.assert_allclose(found.dy, exact, rtol=1e-7, atol=1e-9)


def test_observables_are_differentiated():
    def quantities(t, y, growth, capacity, decay):
        return {"eaten": decay * y[0] * y[1], "late": y[0] + t}

    found = solved(observables=quantities)
    values = np.stack(
        [
            np.stack([solution(t, *rates, *start) for t in TIMES], axis=1)
            for rates, start in zip(RATES, STARTS, strict=True)
        ]
    )
    decay = RATES[:, 2, None, None]
    eaten = decay * (EXACT[:, 0] * values[:, None, 1] + EXACT[:, 1] * values[:, None, 0])
    eaten[:, 2] += values[:, 0] * values[:, 1]
    np.testing.assert_allclose(found.dobservables["eaten"], eaten, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.dobservables["late"], EXACT[:, 0], rtol=0, atol=1e-6)
    chosen = solved(observables=quantities, save_observables=["late"])
    assert list(chosen.dobservables) == list(chosen.observables) == ["late"]
    assert np.array_equal(chosen.dobservables["late"], found.dobservables["late"])


def ball(t, y, g, rebound):
    return [y[1], -g]


def ground(t, y, g, rebound):
    return y[0]


def bounce(t, y, g, rebound):
    return [0.0 * y[0], -rebound * y[1]]


def where_the_ball_is(t, g, rebound, height):
    """Return height and speed of the ball, and when it lands; numbers may be complex."""
    lands, landings = (2.0 * height / g) ** 0.5, []
    if t < lands.real:
        return np.array([height - 0.5 * g * t * t, -g * t]), landings
    speed = rebound * g * lands
    while True:
        landings.append(lands)
        flight = 2.0 * speed / g
        if t < (lands + flight).real:
            since = t - lands
            return np.array([speed * since - 0.5 * g * since**2, speed - g * since]), landings
        lands, speed = lands + flight, rebound * speed


@pytest.mark.parametrize(
    "method",
    ["tsit5", "dop853", "rodas5p", "rosenbrock23", "kvaerno5", "radau_iia_5", "bdf", "auto"],
)
def test_a_bouncing_ball_has_the_derivatives_of_its_closed_form(method):
    times, inputs = np.linspace(0.0, 3.0, 7), (9.81, 0.8, 2.0)
    exact, lands = np.zeros((2, 3, 7)), np.zeros((3, 3))
    for k in range(3):
        moved = np.array(inputs, complex)
        moved[k] += 1e-30j
        for i, t in enumerate(times):
            state, landings = where_the_ball_is(t, *moved)
            exact[:, k, i] = state.imag / 1e-30
        lands[:, k] = np.array(landings).imag / 1e-30
    event = Event(ground, direction=-1, apply=bounce)
    found = solve_ivp(
        ball, (0.0, 3.0), [inputs[2], 0.0], method, times, events=event, args=inputs[:2],
        sensitivities=["g", "rebound", "y0[0]"], rtol=1e-8, atol=1e-8, max_step=0.25,
    )  # fmt: skip
    np.testing.assert_allclose(found.dy, exact, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.dt_events[0], lands, rtol=0, atol=1e-5)
    assert found.dy_events[0].shape == (3, 2, 3)
    # At the ground the height is zero whatever the inputs.
    np.testing.assert_allclose(found.dy_events[0][:, 0], 0.0, rtol=0, atol=1e-8)


def test_the_time_of_a_dose_is_an_input():
    def decaying(t, y, rate, when, dose):
        return [-rate * y[0]]

    event = Event(
        lambda t, y, rate, when, dose: t - when,
        apply=lambda t, y, rate, when, dose: [y[0] + dose],
    )
    when = np.array([0.5, 1.3, 2.2])
    found = solve_ivp(
        decaying, (0.0, 3.0), [1.0], args=(0.7, when, 2.0), events=event, rtol=1e-10, atol=1e-12,
        sensitivities="all",
    )  # fmt: skip
    left, since = np.exp(-0.7 * 3.0), 3.0 - when
    exact = np.array(
        [
            -3.0 * left - since * 2.0 * np.exp(-0.7 * since),
            0.7 * 2.0 * np.exp(-0.7 * since),
            np.exp(-0.7 * since),
            np.full(3, left),
        ]
    ).T
    np.testing.assert_allclose(found.dy[:, 0, :, 0], exact, rtol=0, atol=1e-8)
    np.testing.assert_allclose(found.dt_events[0][:, 0, 1], 1.0, rtol=0, atol=1e-12)


def test_steady_states_have_the_derivatives_of_the_implicit_function_theorem():
    """Of a start that is kept by a total, too, where the Jacobian alone is singular."""

    def binding(t, y, on, off, make, lose):
        bound = on * y[0] * y[1] - off * y[2]
        return [make - lose * y[0] - bound, -bound, bound]

    args, y0 = (2.0, 0.5, 1.2, 0.3), [0.0, 0.7, 0.1]
    result = solve_ivp(
        binding, (0.0, 1e6), y0, args=args, method="kvaerno5", sensitivities="all",
        rtol=1e-10, atol=1e-12, save="final",
    )  # fmt: skip
    a, b, c = result.y[:, -1]
    on, off, _, lose = args
    # The third equation is the second; in its place stands the total of b and c.
    jacobian = np.array([
        [-lose - on * b, -on * a, off],
        [-on * b, -on * a, off],
        [0.0, 1.0, 1.0],
    ])  # fmt: skip
    zero = np.zeros(3)
    by = {
        "on": [-a * b, -a * b, 0.0],
        "off": [c, c, 0.0],
        "make": [1.0, 0.0, 0.0],
        "lose": [-a, 0.0, 0.0],
        "y0[0]": zero,
        "y0[1]": [0.0, 0.0, -1.0],
        "y0[2]": [0.0, 0.0, -1.0],
    }
    expected = np.array([np.linalg.solve(-jacobian, by[name]) for name in result.inputs]).T
    assert result.dy[..., -1] == pytest.approx(expected, rel=1e-7, abs=1e-9)


def test_a_measured_input_is_carried_along():
    drive = Interpolant(np.linspace(0.0, 3.0, 7), np.array([0.0, 1.0, 0.5, 2.0, 1.0, 0.0, 1.0]))

    def driven(t, y, u, gain, rate):
        return [gain * u(t) - rate * y[0]]

    def at(gain, rate):
        return solve_ivp(
            driven, (0.0, 3.0), [0.3], "tsit5", args=(drive, gain, rate), rtol=1e-12, atol=1e-13
        ).y[0, -1]

    for method in ("tsit5", "rodas5p", "kvaerno5", "radau_iia_5"):
        found = solve_ivp(
            driven, (0.0, 3.0), [0.3], method, args=(drive, 1.2, 0.8), rtol=1e-9, atol=1e-11,
            sensitivities="parameters",
        )  # fmt: skip
        by_gain = (at(1.2 + 1e-4, 0.8) - at(1.2 - 1e-4, 0.8)) / 2e-4
        by_rate = (at(1.2, 0.8 + 1e-4) - at(1.2, 0.8 - 1e-4)) / 2e-4
        np.testing.assert_allclose(found.dy[0, :, -1], [by_gain, by_rate], rtol=1e-6)


def branching(t, y, level):
    return [1.0 if y[0] < level else 2.0]


def kinked(t, y, level):
    higher = y[0] if y[0] > level else level
    return [-abs(y[0] - level) - np.maximum(y[0], level) - np.where(y[0] > 0.0, y[0], 0.0) - higher]


def test_equations_that_may_jump_are_told():
    with pytest.warns(SensitivityWarning, match="a state of its own"):
        found = solve_ivp(branching, (0.0, 1.0), [0.0], args=(0.5,), sensitivities="parameters")
    assert any("the time of the jump" in note for note in found.notes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solve_ivp(kinked, (0.0, 1.0), [0.0], args=(0.5,), sensitivities="parameters")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("k9", "Parameters are: growth, capacity, decay"),
        (["y0[7]"], "did you mean 'y0"),
        (["decay", "decay"], "Name each once"),
        (["decay", "all"], "Name each input once"),
        (3, "names of parameters"),
    ],
)
def test_inputs_that_there_are_not(given, message):
    with pytest.raises(InvalidOption, match=f"(?i){re.escape(message)}"):
        solved(sensitivities=given)


def test_what_has_no_sensitivities_is_refused():
    options = {"args": (Interpolant([0.0, 1.0], [0.0, 1.0]),), "sensitivities": ["u[1]"]}
    with pytest.raises(InvalidOption, match="a sum, of a parameter times an Interpolant"):
        solve_ivp(lambda t, y, u: [u(t) - y[0]], (0.0, 1.0), [1.0], **options)
    with pytest.raises(InvalidOption, match="Complex"):
        solve_ivp(lambda t, y: [1j * y[0]], (0.0, 1.0), [1.0 + 0j], sensitivities="y0")
    with pytest.raises(InvalidOption, match="singular"):
        solve_ivp(
            lambda t, y, k: [-k * y[0], y[1] - y[0]], (0.0, 1.0), [1.0, 1.0], "rodas5p",
            args=(1.0,), mass_matrix=[1.0, 0.0], sensitivities="all",
        )  # fmt: skip
    at_steps = Event(lambda t, y, *args: y[0] > 0.5, on="accept", apply=lambda t, y, *args: y)
    with pytest.raises(InvalidOption, match="where a step ends"):
        solved(events=at_steps)


def test_a_mass_matrix_that_is_regular():
    """Two coupled capacitors: M y' = -y, by an exponential of the matrix."""
    mass = np.array([[2.0, -0.5], [-0.5, 1.0]])

    def leaking(t, y, leak):
        return [-leak * y[0], -y[1]]

    def at(leak):
        matrix = -np.linalg.inv(mass) @ np.diag([leak, 1.0])
        values, vectors = np.linalg.eig(matrix)
        return (vectors @ np.diag(np.exp(values)) @ np.linalg.inv(vectors)) @ [1.0, 0.5]

    for method in ("rodas5p", "sdirk4", "radau_iia_5", "bdf"):
        found = solve_ivp(
            leaking, (0.0, 1.0), [1.0, 0.5], method, args=(3.0,), mass_matrix=mass,
            sensitivities="all", rtol=1e-9, atol=1e-11,
        )  # fmt: skip
        exact = (at(3.0 + 1e-4) - at(3.0 - 1e-4)) / 2e-4
        np.testing.assert_allclose(found.dy[:, 0, -1], exact, rtol=1e-5)


PULSES = Interpolant([0.0, 0.2, 0.5, 1.0], [0.0, 1.0, -1.0, 0.5])


def forced_ring(t, y, p):
    """Lorenz's 96th model with forcings that depend on the time, and on a measured input."""
    n = len(y)
    rows = [(y[(i + 1) % n] - y[i - 2]) * y[i - 1] - y[i] + 8.0 for i in range(n)]
    return [
        rows[i] + p[i] * np.cos(i * t) + p[n + i] * y[i] * PULSES(t) + p[i] ** 2 * y[i - 3]
        for i in range(n)
    ]


@pytest.mark.parametrize("method", ["tsit5", "rodas5p", "kvaerno5", "bdf"])
def test_many_inputs_have_the_derivatives_that_each_has_alone(method):
    """Products with the Jacobian are then a loop over inputs, and of one input they are text."""
    rng = np.random.default_rng(4)
    p, start = rng.normal(size=16), rng.normal(size=8)
    options = {
        "method": method, "args": (p.tolist(),), "rtol": 1e-7, "atol": 1e-8, "save": "final",
        "sensitivity_error_control": False,
    }  # fmt: skip
    together = solve_ivp(forced_ring, (0.0, 0.6), start, sensitivities="all", **options)
    assert together.dy.shape == (8, 24, 1)
    for name in ("p[3]", "p[12]", "y0[5]"):
        alone = solve_ivp(forced_ring, (0.0, 0.6), start, sensitivities=[name], **options)
        k = together.inputs.index(name)
        # How often Newton's method iterates, all inputs decide.
        allowed = 1e-10 if method in ("tsit5", "rodas5p") else 1e-5
        np.testing.assert_allclose(alone.dy[:, 0], together.dy[:, k], rtol=allowed, atol=allowed)


@pytest.mark.parametrize("method", ["tsit5", "rodas5p", "kvaerno5", "radau_iia_5"])
def test_places_of_buffers_change_no_bit(method):
    """Those of sensitivities can be pinned like all others."""
    start = [0.3, 0.2, 0.5] if method == "tsit5" else [1.0, 0.0, 0.0]
    end = {"tsit5": 1e-3}.get(method, 40.0)
    options = {
        "method": method, "args": (0.04, 1e4, 3e7), "sensitivities": "all", "fastmath": False,
        "rtol": 1e-5, "atol": 1e-9, "save": "final",
    }  # fmt: skip
    found = [
        solve_ivp(robertson, (0.0, end), start, locations=places, **options).dy
        for places in ("local", "shared")
    ]
    if method != "tsit5":
        pinned = {"locations": "local", "sensitivity_coupling_location": "shared"}
        found.append(solve_ivp(robertson, (0.0, end), start, **pinned, **options).dy)
    assert all(np.array_equal(one, found[0]) for one in found)


# Of the example cvsRoberts_FSA_dns of CVODES, as SUNDIALS documents it: derivatives of the three
# states by k1, k2 and k3, at times.
PUBLISHED = {
    0.4: [[-3.5595e-1, 3.9025e-4, 3.5556e-1], [9.5431e-8, -2.1309e-10, -9.5218e-8],
          [-1.5833e-11, -5.2900e-13, 1.6362e-11]],
    4.0: [[-1.8761, 1.7922e-4, 1.8759], [2.9614e-6, -5.8305e-10, -2.9608e-6],
          [-4.9334e-10, -2.7626e-13, 4.9362e-10]],
    40.0: [[-4.2475, 4.5913e-5, 4.2475], [1.3731e-5, -2.3573e-10, -1.3730e-5],
           [-2.2883e-9, -1.1380e-13, 2.2884e-9]],
}  # fmt: skip


def robertson(t, y, k1, k2, k3):
    a, b, c = y
    return [-k1 * a + k2 * b * c, k1 * a - k2 * b * c - k3 * b * b, k3 * b * b]


@pytest.mark.parametrize("method", ["rodas5p", "kvaerno5", "radau_iia_5", "bdf", "auto"])
def test_robertsons_reaction_has_the_published_derivatives(method):
    found = solve_ivp(
        robertson, (0.0, 40.0), [1.0, 0.0, 0.0], method, [*PUBLISHED], args=(0.04, 1e4, 3e7),
        sensitivities="parameters", rtol=1e-7, atol=[1e-11, 1e-15, 1e-11],
    )  # fmt: skip
    exact = np.array([*PUBLISHED.values()]).transpose(2, 1, 0)
    np.testing.assert_allclose(found.dy, exact, rtol=1.5e-4)


def summed(t, y, n, k):
    total = 0.0
    for _ in range(n):
        total = total - k * y[0]
    return [total]


def scaled(t, y, n, k):
    return [-n * k * y[0]]


def counted_sum(t, y, n, k):
    return {"sum": sum(y[0] for _ in range(n))}


def counted_level(t, y, n, k):
    return y[0] - (0.5 if n > 2 else 0.4)


@pytest.mark.parametrize(
    ("fun", "more", "who"),
    [
        (summed, {}, "fun counts with it"),
        (scaled, {"observables": counted_sum}, "A function of observables counts with it"),
        (scaled, {"events": counted_level}, r"events\[0\] counts with it"),
    ],
)
@pytest.mark.parametrize("inputs", [["n"], "parameters"])
def test_an_int_that_is_counted_with_is_no_input(fun, more, who, inputs):
    """A derivative of zero was a silent wrong number; traced anew or found in the cache."""
    for _ in range(2):
        with pytest.raises(InvalidOption, match=f"'n', which is given as an int. {who}"):
            solve_ivp(
                fun, (0.0, 1.0), [1.0], args=(3, 0.5), t_eval=[1.0], sensitivities=inputs,
                backend="python", **more,
            )  # fmt: skip


def test_an_int_that_is_a_number_is_an_input():
    """And one that is not meant may count."""
    of_n = solve_ivp(
        scaled, (0.0, 1.0), [1.0], args=(3, 0.5), t_eval=[1.0], sensitivities=["n"],
        rtol=1e-9, atol=1e-12, backend="python",
    )  # fmt: skip
    assert of_n.dy[0, 0, 0] == pytest.approx(-0.5 * np.exp(-1.5), rel=1e-6)
    of_k = solve_ivp(
        summed, (0.0, 1.0), [1.0], args=(3, 0.5), t_eval=[1.0], sensitivities=["k"],
        rtol=1e-9, atol=1e-12, backend="python",
    )  # fmt: skip
    assert of_k.dy[0, 0, 0] == pytest.approx(-3.0 * np.exp(-1.5), rel=1e-6)
