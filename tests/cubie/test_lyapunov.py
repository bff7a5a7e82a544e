"""Lyapunov exponents: directions beside the states, made orthogonal on the way."""

import re

import numpy as np
import pytest

import cubie
from cubie import Event, Solver, solve_ivp
from cubie.errors import InvalidOption
from cubie.tableaus import all_methods

METHODS = all_methods()
# A turning plane that shrinks, and a direction that shrinks faster.
TURNING = np.array([[-0.3, 1.0, 0.2], [-1.0, -0.3, 0.0], [0.0, 0.0, -2.0]])


def linear(t, y):
    return TURNING @ y


def lorenz(t, y, sigma, rho, beta):
    a, b, c = y
    return [sigma * (b - a), a * (rho - c) - b, a * b - beta * c]


CLASSICAL = (10.0, 28.0, 8.0 / 3.0)


def exponents_of(fun, end, start, k="all", summaries=None, **options):
    """Solve, and return the exponents as they are told."""
    usual = {"rtol": 1e-8, "atol": 1e-8, "save": "final", "max_steps": 10**6}
    asked = summaries or {"y": cubie.lyapunov(k)}
    result = solve_ivp(fun, (0.0, end), start, summaries=asked, **(usual | options))
    assert np.all(result.success)
    return result.summaries["y"]["lyapunov"]


@pytest.mark.parametrize("method", METHODS)
def test_linear_equations_have_the_real_parts_of_their_eigenvalues(method):
    """What a method carries from step to step goes on with directions that were changed."""
    sized = {} if METHODS[method].has_error_estimate else {"first_step": 1.0 / 32}
    options = {"rtol": 1e-4, "atol": 1e-5, "method": method, **sized}
    found = exponents_of(linear, 8.0, [1.0, 1.0, 1.0], after=4.0, **options)
    # The first directions are drawn: until `after` they have come to the plane.
    order = METHODS[method].order
    allowed = 5e-3 if METHODS[method].has_error_estimate else max(1e-4, 4.0 * 32.0**-order)
    assert found.exponents.sum() == pytest.approx(np.trace(TURNING), abs=allowed)
    np.testing.assert_allclose(found.exponents, [-0.3, -0.3, -2.0], atol=max(0.02, allowed))
    assert found.duration == pytest.approx(4.0, abs=1.0)


def test_changed_directions_cost_a_method_nothing():
    """A multistep method keeps its order, and an iteration its first guess."""
    for method in ("bdf", "radau_iia_5"):
        options = {"method": method, "rtol": 1e-6, "atol": 1e-8, "save": "final"}
        with_directions = solve_ivp(
            lorenz, (0.0, 5.0), [1.0, 1.0, 20.0], args=CLASSICAL, summaries=["lyapunov"], **options
        )
        beside = solve_ivp(
            lorenz, (0.0, 5.0), [1.0, 1.0, 20.0], args=CLASSICAL, sensitivities="y0[0]", **options
        )
        assert with_directions.n_steps < 1.3 * beside.n_steps
        assert with_directions.n_newton < 1.3 * beside.n_newton


def test_lorenz_has_its_published_exponents():
    """The largest is 0.906 (Sprott); the sum of all is the constant divergence."""
    found = exponents_of(lorenz, 2000.0, [1.0, 1.0, 20.0], args=CLASSICAL, after=50.0)
    assert abs(found.exponents[0] - 0.9056) < 3.0 * found.errors[0] < 0.05
    assert abs(found.exponents[1]) < max(3.0 * found.errors[1], 2e-3)
    assert found.exponents[2] == pytest.approx(-14.572, abs=0.05)
    assert found.exponents.sum() == pytest.approx(-(10.0 + 1.0 + 8.0 / 3.0), abs=1e-6)


def test_roessler_and_a_regular_orbit():
    """Roessler's largest is 0.0714; that of a regular orbit of Henon and Heiles is zero."""

    def roessler(t, y):
        a, b, c = y
        return [-b - c, a + 0.2 * b, 0.2 + c * (a - 5.7)]

    def henon_heiles(t, y):
        a, b, u, v = y
        return [u, v, -a - 2.0 * a * b, -b - a * a + b * b]

    found = exponents_of(roessler, 5000.0, [1.0, 1.0, 1.0], k=1, after=100.0)
    assert abs(found.exponents[0] - 0.0714) < 3.0 * found.errors[0] + 1e-3 < 0.03
    energy_half = exponents_of(henon_heiles, 2000.0, [0.0, 0.1, 0.35, 0.1])
    assert np.all(np.abs(energy_half.exponents) < 0.01)
    # The flow keeps volumes, and comes in pairs.
    assert energy_half.exponents.sum() == pytest.approx(0.0, abs=1e-6)


def test_fewer_exponents_are_the_first_ones():
    start = [1.0, 1.0, 20.0]
    all_three = exponents_of(lorenz, 8.0, start, args=CLASSICAL)
    for k in (1, 2):
        found = exponents_of(lorenz, 8.0, start, k, args=CLASSICAL)
        np.testing.assert_allclose(found.exponents, all_three.exponents[:k], atol=1e-4)


def test_events_take_directions_along():
    """A ball loses the square of its rebound of every volume, at each bounce."""
    rebound = 0.9
    ground = Event(
        lambda t, y: y[0], direction=-1, apply=lambda t, y: [0.0 * y[0], -rebound * y[1]]
    )
    options = {"events": ground, "save": "final", "rtol": 1e-9, "atol": 1e-9}
    for method in ("tsit5",):
        result = solve_ivp(
            lambda t, y: [y[1], -9.81], (0.0, 3.0), [1.0, 0.0], method,
            summaries=["lyapunov('all')"], **options,
        )  # fmt: skip
        assert result.success
        found = result.summaries["y"]["lyapunov"]
        lost = result.n_events[0] * 2.0 * np.log(rebound)
        assert found.exponents.sum() * found.duration == pytest.approx(lost, abs=1e-5)
        assert result.y_events[0].shape[1] == 2


def test_exponents_depend_on_no_neighbour_and_no_place():
    rho = np.array([28.0, 5.0, 99.0, 40.0, 160.0])
    options = {
        "method": "tsit5", "rtol": 1e-6, "atol": 1e-6, "save": "final", "fastmath": False,
        "summaries": {"y": cubie.lyapunov(2), 0: "max"}, "after": 2.0, "lanes": 4,
    }  # fmt: skip
    solver = Solver(lorenz, **options)
    start = [1.0, 1.0, 20.0]
    together = solver.solve((0.0, 12.0), start, args=(10.0, rho, 8.0 / 3.0))
    back = solver.solve((0.0, 12.0), start, args=(10.0, rho[::-1], 8.0 / 3.0))
    whole = together.summaries["y"]["lyapunov"]
    for one, other in zip(whole, back.summaries["y"]["lyapunov"], strict=True):
        assert np.array_equal(one, other[::-1])
    alone = solver.solve((0.0, 12.0), start, args=(10.0, rho[[2]], 8.0 / 3.0))
    assert np.array_equal(alone.summaries["y"]["lyapunov"].exponents[0], whole.exponents[2])
    places = Solver(lorenz, **options, locations="shared", exponent_sums_location="shared")
    shared = places.solve((0.0, 12.0), start, args=(10.0, rho, 8.0 / 3.0))
    assert np.array_equal(shared.summaries["y"]["lyapunov"].exponents, whole.exponents)
    lone = Solver(lorenz, **(options | {"lanes": 1}))
    by_one = lone.solve((0.0, 12.0), start, args=(10.0, rho, 8.0 / 3.0))
    assert np.array_equal(by_one.summaries["y"]["lyapunov"].errors, whole.errors)


def test_states_observables_and_other_summaries_are_beside_them():
    """Directions are in nothing that is kept, and change no summary of a quantity."""
    options = {
        "method": "tsit5", "rtol": 1e-7, "atol": 1e-7, "args": CLASSICAL,
        "t_eval": np.linspace(0.0, 4.0, 5), "observables": {"r": lambda t, y, s, r, b: y[0] * y[1]},
    }  # fmt: skip
    start = [1.0, 1.0, 20.0]
    asked = {"y": ["lyapunov"], "r": "max", 2: ["mean"]}
    found = solve_ivp(lorenz, (0.0, 4.0), start, summaries=asked, **options)
    plain = solve_ivp(lorenz, (0.0, 4.0), start, summaries={"r": "max", 2: "mean"}, **options)
    assert found.y.shape == plain.y.shape == (3, 5)
    assert found.dy is None
    assert found.inputs == ()
    np.testing.assert_allclose(found.y, plain.y, rtol=1e-4)
    np.testing.assert_allclose(found.observables["r"], plain.observables["r"], rtol=1e-4)
    assert found.summaries["r"]["max"] == pytest.approx(plain.summaries["r"]["max"], rel=1e-4)
    assert found.summaries[2]["mean"] == pytest.approx(plain.summaries[2]["mean"], rel=1e-4)
    assert "lyapunov" in repr(found)
    some = solve_ivp(lorenz, (0.0, 4.0), start, summaries=asked, save_states=[2], **options)
    assert np.array_equal(some.y, found.y[[2]])


def test_the_unit_of_the_states_changes_nothing():
    """Directions are as long as the tolerances are for: states of any size have their exponents."""
    usual = exponents_of(lorenz, 8.0, [1.0, 1.0, 20.0], args=CLASSICAL)

    def in_other_units(t, y, sigma, rho, beta):
        a, b, c = (1e-6 * one for one in y)
        return [1e6 * one for one in lorenz(t, (a, b, c), sigma, rho, beta)]

    start = np.array([1.0, 1.0, 20.0]) * 1e6
    for atol in (1e-2, [1e-2, 1e-2, 1e-3]):
        large = exponents_of(in_other_units, 8.0, start, args=CLASSICAL, atol=atol)
        np.testing.assert_allclose(large.exponents, usual.exponents, atol=1e-4)


def test_what_a_step_cannot_resolve_is_told():
    """Of what a method damps in a step little is left to be measured: the error says so."""
    for method in ("rodas5p", "radau_iia_5", "kvaerno3"):
        found = exponents_of(
            lambda t, y: [-0.1 * y[0], -1e4 * y[1]], 1.0, [1.0, 1.0], method=method, rtol=1e-2,
            atol=1e-2,
        )  # fmt: skip
        off = np.abs(found.exponents - [-0.1, -1e4])
        assert np.all(off < found.errors)
        assert off[1] > 10.0


def test_windows_and_runs_of_which_nothing_was_seen():
    rates = np.array([-1.0, -0.5])
    options = {"args": (rates,), "k": 1, "rtol": 1e-9, "atol": 1e-9}

    def shrinking(t, y, rate):
        return [rate * y[0]]

    whole = exponents_of(shrinking, 10.0, [1.0], **options)
    np.testing.assert_allclose(whole.exponents[:, 0], rates, atol=1e-7)
    np.testing.assert_array_equal(whole.duration, 10.0)
    assert whole.exponents.shape == whole.errors.shape == (2, 1)
    part = exponents_of(shrinking, 10.0, [1.0], window=(2.0, 5.0), **options)
    np.testing.assert_allclose(part.exponents[:, 0], rates, atol=1e-7)
    assert np.all((part.duration > 2.0) & (part.duration < 4.0))
    failed = solve_ivp(
        lambda t, y, k: [k * y[0] ** 2], (0.0, 2.0), [[1.0], [1.0]],
        args=(np.array([0.1, 1.0]),), summaries=["lyapunov"], after=1.5, save="final",
    )  # fmt: skip
    assert np.isnan(failed.summaries["y"]["lyapunov"].exponents).tolist() == [[False], [True]]
    back = solve_ivp(shrinking, (10.0, 0.0), [1.0], args=(-1.0,), summaries=["lyapunov"])
    assert back.summaries["y"]["lyapunov"].exponents == pytest.approx([1.0], abs=1e-3)


def test_single_precision():
    found = exponents_of(
        lorenz, 100.0, [1.0, 1.0, 20.0], args=CLASSICAL, dtype="float32", rtol=1e-5, atol=1e-5
    )
    assert found.exponents.sum() == pytest.approx(-(10.0 + 1.0 + 8.0 / 3.0), abs=2e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"summaries": {"y0": "lyapunov"}}, "are of all states together"),
        ({"summaries": ["lyapunov(4)"]}, "as many exponents as states, 3"),
        ({"summaries": ["lyapunov(0)"]}, "an int from 1"),
        ({"summaries": ["max"]}, "must be a mapping"),
        ({"summaries": "lyapunov(4)"}, "as many exponents as states, 3"),
        ({"summaries": {"y": ["max", "lyapunov"]}}, "no state or observable of this name"),
        ({"summaries": ["lyapunov"], "dense_output": True}, "no dense_output=True"),
        ({"summaries": ["lyapunov"], "sensitivities": "y0"}, "directions of their own"),
        ({"summaries": ["lyapunov"], "sensitivity_error_control": False}, "leave that out"),
    ],
)
def test_what_has_no_exponents_is_refused(options, message):
    with pytest.raises(InvalidOption, match=re.escape(message)):
        solve_ivp(lorenz, (0.0, 1.0), [1.0, 1.0, 1.0], args=CLASSICAL, **options)


@pytest.mark.filterwarnings("ignore::cubie.UntracedWarning")
def test_functions_that_cannot_be_traced_have_those_of_their_twins():
    def counted(t, y):
        steps = 0.0
        while steps < 5.0 * abs(y[0]):
            steps += 1.0
        return [0.0 * steps + value for value in linear(t, y)]

    options = {"rtol": 1e-4, "atol": 1e-5, "method": "tsit5", "after": 4.0, "backend": "python"}
    twin, found = (exponents_of(fun, 8.0, [1.0, 1.0, 1.0], **options) for fun in (linear, counted))
    np.testing.assert_allclose(found.exponents, twin.exponents, rtol=0, atol=1e-5)


def test_they_compile_for_a_gpu():
    """A kernel with exponents is assembled for sm_90, and its rows of resources can be read."""
    for method in ("tsit5", "rodas5p"):
        solver = Solver(lorenz, method=method, summaries=["lyapunov(2)"], backend="cpu")
        solver.prepare([1.0, 1.0, 20.0], args=CLASSICAL)
        assert solver.kernel.resources((9, 0)).registers > 0


def test_labelled_results_and_sweeps_have_them():
    rho = np.array([28.0, 5.0])
    result = solve_ivp(
        lorenz, (0.0, 10.0), [1.0, 1.0, 20.0], args=(10.0, rho, 8.0 / 3.0),
        summaries=["lyapunov(2)"], save="final",
    )  # fmt: skip
    told = "lyapunov of y: exponents"
    data = result.to_xarray()
    found = result.summaries["y"]["lyapunov"].exponents
    assert np.array_equal(data[told].values, found)
    swept = cubie.sweep(
        lorenz, t_span=(0.0, 10.0), y0=[1.0, 1.0, 20.0], over={"rho": rho},
        args={"sigma": 10.0, "beta": 8.0 / 3.0}, summaries=["lyapunov(2)"], save="final",
    ).run()  # fmt: skip
    np.testing.assert_allclose(swept.to_xarray()[told].values, found, rtol=1e-6)


def test_a_state_that_is_called_y_has_summaries_of_its_own():
    def named(t, states, rho):
        x, y, z = states
        return lorenz(t, (x, y, z), 10.0, rho, 8.0 / 3.0)

    swept = cubie.sweep(
        named, t_span=(0.0, 5.0), y0={"x": 1.0, "y": 1.0, "z": 20.0},
        over={"rho": np.array([28.0, 5.0])}, summaries={"y": ["max", "lyapunov"]}, save="final",
    ).run()  # fmt: skip
    data = swept.to_xarray()
    assert data["lyapunov of y: exponents"].shape == (2, 1)
    assert data["max of y"].values[0] > 20.0
