"""Summaries where an input jumps, or a solution bends: each step is seen on its side of a break."""

import numpy as np
import pytest

from cubie import Interpolant, crossings, peaks, solve_ivp, time_above

random = np.random.default_rng(20240511)

# Five levels; the last sample is the end of the run.
TIMES, LEVELS = np.array([0.0, 1.3, 2.1, 3.7, 5.0]), np.array([1.0, 4.0, -2.0, 3.0, 3.0])
ASKED = [
    "integral", "mean", "std", "min", "max", "argmax", "final", "derivative_extrema",
    "second_derivative_max", "negative_peaks", peaks(), crossings(0.0), time_above(0.5),
]  # fmt: skip
METHODS = ["tsit5", "dop853", "rodas5p", "kvaerno5", "radau_iia_5", "rk4"]


def step_of(method):
    """Return the options of a method without an error estimate."""
    return {"first_step": 0.13} if method == "rk4" else {}


def follow(t, y, u):
    """Integrate an input."""
    return [u(t)]


def decay(t, y, u):
    """Call no input."""
    return [-y[0]]


def expect_levels(found):
    """Compare summaries of the levels with what they are."""
    durations = np.diff(TIMES)
    mean = np.sum(durations * LEVELS[:-1]) / 5.0
    assert found["integral"] == pytest.approx(5.0 * mean, abs=1e-12)
    assert found["mean"] == pytest.approx(mean, abs=1e-12)
    deviation = np.sqrt(np.sum(durations * (LEVELS[:-1] - mean) ** 2) / 5.0)
    assert found["std"] == pytest.approx(deviation, abs=1e-12)
    assert (found["min"], found["max"], found["final"]) == (-2.0, 4.0, 3.0)
    assert found["argmax"] == pytest.approx(1.3, abs=1e-12)
    np.testing.assert_array_equal(found["derivative_extrema"], [0.0, 0.0])
    assert found["second_derivative_max"] == 0.0
    assert (found["peaks"].count, found["negative_peaks"].count) == (1, 1)
    assert found["peaks"].times[0] == pytest.approx(1.3, abs=1e-12)
    assert found["peaks"].values[0] == 4.0
    assert found["negative_peaks"].times[0] == pytest.approx(2.1, abs=1e-12)
    assert found["crossings"].count == 2
    np.testing.assert_allclose(found["crossings"].times[:2], [2.1, 3.7], atol=1e-12)
    assert found["time_above"] == pytest.approx(5.0 - 1.6, abs=1e-12)


@pytest.mark.parametrize("fun", [follow, decay])
@pytest.mark.parametrize("method", METHODS)
def test_an_observable_that_jumps_is_summarised_exactly(method, fun):
    """Of held samples, whether `fun` calls them too or only the observable does."""
    u = Interpolant(TIMES, LEVELS, "previous", "hold")
    result = solve_ivp(
        fun, (0.0, 5.0), [1.0], method, args=(u,), observables=lambda t, y, u: {"u": u(t)},
        summaries={"u": ASKED}, backend="python", **step_of(method),
    )  # fmt: skip
    assert result.success
    expect_levels(result.summaries["u"])


@pytest.mark.parametrize("method", METHODS)
def test_an_observable_that_jumps_at_breakpoints_is_summarised_exactly(method):
    """One that calls no input, but compares the time: no break has the level of its other side."""

    def level(t, y):
        late = np.where(t < 3.7, -2.0, 3.0)
        return {"u": np.where(t < 1.3, 1.0, np.where(t <= 2.1, 4.0, late))}

    result = solve_ivp(
        lambda t, y: [-y[0]], (0.0, 5.0), [1.0], method, observables=level,
        summaries={"u": ASKED}, breakpoints=TIMES[1:-1], backend="python", **step_of(method),
    )  # fmt: skip
    expect_levels(result.summaries["u"])


def test_compiled_lanes_have_breaks_of_their_own():
    """A row of samples and of breakpoints for each run, each as it is alone."""
    n = 11
    levels = random.normal(size=(n, 4))
    own = random.uniform(0.2, 3.9, n)
    u = Interpolant([0.0, 1.1, 2.9, 4.0], levels, "previous", "hold")

    def observed(t, y, u, own):
        return {"u": u(t), "own": np.where(t < own, 0.0, 1.0)}

    result = solve_ivp(
        lambda t, y, u, own: [-y[0]], (0.0, 4.0), [1.0], args=(u, own), observables=observed,
        summaries={"u": ["integral", "max", "min"], "own": ["integral", crossings(0.5)]},
        breakpoints=own[:, None], backend="cpu",
    )  # fmt: skip
    found = result.summaries
    lengths = np.array([1.1, 1.8, 1.1])
    np.testing.assert_allclose(found["u"]["integral"], levels[:, :3] @ lengths, atol=1e-12)
    np.testing.assert_array_equal(found["u"]["max"], levels[:, :3].max(axis=1))
    np.testing.assert_array_equal(found["u"]["min"], levels[:, :3].min(axis=1))
    np.testing.assert_allclose(found["own"]["integral"], 4.0 - own, atol=1e-12)
    np.testing.assert_allclose(found["own"]["crossings"].times[:, 0], own, atol=1e-12)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("method", ["radau_iia_5", "tsit5"])
def test_a_solution_that_bends_at_a_break_keeps_its_peak(method, backwards):
    """It falls to the break, rises behind it, and falls again within one step."""
    u = Interpolant([0.0, 1.0, 1.0, 2.0, 3.0], [-1.0, -1.0, 1.0, -1.0, -1.0], "linear", "hold")
    sign = -1.0 if backwards else 1.0
    fun = (lambda t, y, u: [-u(-t)]) if backwards else follow
    asked = ["negative_peaks", "max", peaks()]
    result = solve_ivp(
        fun, (0.0, 3.0 * sign), [0.0], method, args=(u,), first_step=1.0, backend="python",
        breakpoints=np.array([1.0, 2.0]) * sign, summaries={0: asked},
        observables=lambda t, y, u: {"twice": 2.0 * y[0]},
    )  # fmt: skip
    found = result.summaries[0]
    assert (found["peaks"].count, found["negative_peaks"].count) == (1, 1)
    assert found["peaks"].times[0] == pytest.approx(1.5 * sign, abs=1e-9)
    assert found["peaks"].values[0] == pytest.approx(-0.75, abs=1e-9)
    assert found["negative_peaks"].times[0] == pytest.approx(sign, abs=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("method", ["tsit5", "rk4"])
def test_a_window_between_breaks_holds_nothing_of_their_other_sides(method, dtype):
    """Whatever rounding makes of its ends: no sliver of a level that is no longer, or not yet."""
    for start in (0.0, 0.1, 1e3, -7.7):
        for _ in range(6):
            times = start + np.array([0.0, *np.sort(random.uniform(0.1, 2.9, 3)), 3.0])
            levels = random.normal(size=5)
            u = Interpolant(times, levels, "previous", "hold")
            result = solve_ivp(
                follow, (times[0], times[-1]), [0.0], method, args=(u,), dtype=dtype,
                observables=lambda t, y, u: {"u": u(t)}, summaries={"u": ["min", "max"]},
                window=(times[1], times[2]), backend="python", **step_of(method),
            )  # fmt: skip
            found = result.summaries["u"]
            assert found["min"] == found["max"] == pytest.approx(levels[1], rel=1e-6)
