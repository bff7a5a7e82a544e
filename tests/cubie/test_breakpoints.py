"""Times that no step crosses: given ones, and where inputs jump or have a kink."""

import math

import numpy as np
import pytest

from cubie import Interpolant, InvalidProblem, Solver, solve_ivp
from cubie.solvers import LINEAR_SOLVERS
from cubie.solvers.preconditioners import PRECONDITIONERS
from tests.cubie.targets import on_targets

RATE, DOSE, DURATION, DAY = 0.5, 10.0, 0.2, 24.0
random = np.random.default_rng(20240302)


def infused(t, y, begin):
    """Decay, and an infusion."""
    return [-RATE * y[0] + np.where((t >= begin) & (t < begin + DURATION), DOSE, 0.0)]


def after_infusion(begin):
    """Return the state at the end of the day."""
    peak = DOSE / RATE * -math.expm1(-RATE * DURATION)
    return peak * np.exp(-RATE * (DAY - begin - DURATION))


@pytest.mark.parametrize(
    ("method", "dtype", "options", "backend"),
    on_targets(
        [
            ("tsit5", "float32", {}),
            ("rodas5p", "float64", {}),
            ("radau_iia_5", "float64", {}),
            ("kvaerno5", "float32", {}),
            ("rk4", "float64", {"first_step": 0.05}),
        ],
        compiled=[("tsit5", "float64", {}), ("kvaerno5", "float32", {})],
    ),
)
def test_a_short_infusion_is_never_missed(method, dtype, options, backend):
    """A thousand runs, each with its own: all are right, and without breakpoints they are not.

    On the interpreted target twenty.
    """
    n_runs = 1000 if backend == "cpu" else 20
    begin = random.uniform(1.0, 23.0, n_runs)
    tolerance = 1e-8 if dtype == "float64" else 1e-5
    options = {"rtol": tolerance, "atol": 0.01 * tolerance, "dtype": dtype, **options}
    y0, given = np.zeros((n_runs, 1)), np.stack([begin + DURATION, begin], axis=1)

    def end(**more):
        result = solve_ivp(
            infused, (0.0, DAY), y0, method, args=(begin,), backend=backend, **options, **more
        )
        assert np.all(result.success)
        return np.ravel(result.y), result

    found, result = end(breakpoints=given)
    wanted = after_infusion(begin)
    assert np.all(np.abs(found - wanted) <= 50 * tolerance * np.maximum(wanted, 0.1))
    if method == "tsit5":
        missed = np.abs(end()[0] - wanted) > 0.5 * wanted
        assert missed.sum() > 0.9 * n_runs
    if not options.get("first_step"):
        most = 400 if method == "radau_iia_5" else 160
        assert np.max(result.n_steps) < most
    assert np.max(result.n_rejected) <= 8


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("save", ["final", "steps", "times"])
@pytest.mark.parametrize("first_step", [None, 0.07])
def test_steps_land_on_every_break(backwards, save, first_step):
    """In each mode, whether steps have a given size or not, whichever way time runs."""
    span = (0.0, 3.0) if not backwards else (3.0, 0.0)
    breakpoints = [0.5, 1.0, 1.0, 2.25, -1.0, 7.0]
    options = {"method": "rk4", "first_step": first_step} if first_step else {"rtol": 1e-6}
    times = np.linspace(*span, 4) if save == "times" else None
    options |= {"t_eval": times} if times is not None else {"save": save}

    def steps(t, y):
        # A staircase: its integral is exact only where no step has a jump inside.
        level = np.where(t < 0.5, 1.0, np.where(t < 1.0, 3.0, np.where(t < 2.25, -2.0, 5.0)))
        return [level]

    result = solve_ivp(steps, span, [0.0], breakpoints=breakpoints, backend="python", **options)
    total = 0.5 + 1.5 - 2.5 + 3.75
    assert result.success
    end = np.asarray(result.y).ravel()[-1]
    assert end == pytest.approx(-total if backwards else total, abs=1e-12)
    if save == "steps":
        for time in (0.5, 1.0, 2.25):
            assert np.min(np.abs(result.t - time)) < 1e-12
    if times is not None:
        np.testing.assert_array_equal(result.t, times)
        assert result.y.shape == (1, 4)


@pytest.mark.parametrize(
    ("method", "backend"),
    on_targets(
        ["tsit5", "bogacki_shampine32", "rodas5p", "radau_iia_3"],
        compiled=["bogacki_shampine32", "radau_iia_3"],
    ),
)
def test_jumps_of_a_driver_are_landed_on(method, backend):
    """Held samples: the error is that of the tolerance, and hardly a step is rejected."""
    times, values = np.arange(0.0, 10.0, 0.9), 5.0 * random.normal(size=12)
    u = Interpolant(times, values, "previous", "hold")
    result = solve_ivp(
        lambda t, y, u: [u(t) - y[0]], (0.0, 11.0), [1.0], method, args=(u,), rtol=1e-6, atol=1e-8,
        backend=backend,
    )  # fmt: skip
    y, ends = 1.0, np.append(times[1:], 11.0)
    for begin, end, level in zip(times, ends, values, strict=True):
        y = level + (y - level) * np.exp(begin - end)
    assert np.ravel(result.y)[-1] == pytest.approx(y, abs=3e-5)
    assert result.n_rejected <= 0.1 * result.n_steps


def test_jumps_count_in_each_period_and_either_direction():
    """Of a repeated input, and of one that is zero outside of its samples."""
    dosing = Interpolant([0.0, 0.3, 1.0], [1.0, 0.0, 1.0], "previous", "periodic")
    result = solve_ivp(
        lambda t, y, u: [u(t) - y[0]], (0.0, 20.0), [0.0], args=(dosing,), rtol=1e-7, atol=1e-9,
        backend="cpu",
    )  # fmt: skip
    y = 0.0
    for _ in range(20):
        y = (1.0 + (y - 1.0) * np.exp(-0.3)) * np.exp(-0.7)
    assert result.y[0, -1] == pytest.approx(y, abs=1e-6)
    window = Interpolant([1.0, 2.0], [4.0, 4.0], "linear", "zero")
    for span in ((0.0, 5.0), (5.0, 0.0)):
        result = solve_ivp(
            lambda t, y, u: [u(t)], span, [0.0], args=(window,), rtol=1e-3, backend="python"
        )
        assert abs(result.y[0, -1]) == pytest.approx(4.0, abs=1e-11)


def test_kinks_are_landed_on_where_they_are_few():
    """Five samples of a short ramp are never missed; five thousand do not force as many steps."""
    ramp = Interpolant([0.0, 10.0, 10.1, 10.2, 10.3], [0.0, 0.0, 6.0, 6.0, 0.0], "linear", "hold")
    result = solve_ivp(
        lambda t, y, u: [u(t)], (0.0, 24.0), [0.0], args=(ramp,), rtol=1e-3, backend="python"
    )
    assert result.y[0, -1] == pytest.approx(1.2, rel=1e-9)
    times = np.linspace(0.0, 24.0, 5000)
    smooth = Interpolant(times, np.sin(times), "linear")
    assert len(smooth.breaks) == 0
    assert len(Interpolant(times, np.sin(times), "linear", stops="kinks").breaks) > 4900
    assert len(Interpolant(times, np.sin(times), "cubic").breaks) == 0
    assert len(Interpolant(times[:50], np.sin(times[:50]), stops="none").breaks) == 0


def test_what_is_given_to_each_run_is_its_own():
    """Bit for bit as alone, among runs with other breakpoints, in every mode."""
    given = random.uniform(0.0, 4.0, (9, 3))
    solver = Solver(infused, method="tsit5", rtol=1e-6, backend="cpu")
    for save in ("final", "steps"):
        begin = given[:, 0].copy()
        every = solver.solve((0.0, 5.0), [1.0], args=(begin,), breakpoints=given, save=save)
        for run in (0, 4, 8):
            alone = solver.solve(
                (0.0, 5.0), [1.0], args=(float(begin[run]),), breakpoints=given[run], save=save
            )
            mine = every.y[run] if save == "steps" else np.asarray(every.y)[run]
            np.testing.assert_array_equal(np.ravel(mine), np.ravel(alone.y))


def test_a_repeated_solve_lands_on_breaks_of_its_own_span():
    """What is laid out once is laid out anew where the span changes."""
    solver = Solver(
        lambda t, y: [np.where(t < 1.0, 1.0, 3.0)], breakpoints=[1.0], backend="cpu", save="final"
    )
    for end in (2.0, 3.0, 0.5, 2.0, 4.0):
        wanted = end if end < 1 else 1.0 + 3.0 * (end - 1.0)
        assert solver.solve((0.0, end), [0.0]).y.ravel()[-1] == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1.0, np.inf], "breakpoints[1] is inf"),
        ([[1.0], [2.0]], "shape (2, 1)"),
        ("noon", "must be a sequence of times"),
        (1.0, "shape ()"),
    ],
)
def test_bad_breakpoints_are_refused(given, message):
    """With what was given and what is allowed."""
    with pytest.raises(InvalidProblem) as caught:
        solve_ivp(lambda t, y: [-y[0]], (0.0, 1.0), np.zeros((3, 1)), breakpoints=given)
    assert message in str(caught.value)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(
    ("dtype", "start"), [("float32", 1e6), ("float32", -1e6), ("float64", 1.7e9)]
)
@pytest.mark.parametrize("spacings", [5, 9, 17, 40])
def test_a_short_pulse_far_from_zero_is_not_lost(dtype, start, spacings, backwards):
    """Of an input or of the function, in the middle, at a time to save at, and at both ends."""
    spacing = float(np.spacing(np.dtype(dtype).type(abs(start))))
    length, width = 2.0**14 * spacing, spacings * spacing
    span = (start + length, start) if backwards else (start, start + length)
    for begin in (start + 0.4 * length, start + spacing, start + length - width - spacing):
        times = [start - length, begin, begin + width, start + 2.0 * length]
        u = Interpolant(times, [0.0, 1.0, 0.0, 0.0], "previous")
        for more in ({}, {"t_eval": [begin + spacing, span[1]]}):
            by_input = solve_ivp(
                lambda t, y, u: [u(t)],
                span,
                [0.0],
                args=(u,),
                dtype=dtype,
                backend="python",
                **more,
            )
            compared = solve_ivp(
                lambda t, y, b, e: [np.where((t >= b) & (t < e), 1.0, 0.0)], span, [0.0],
                args=(begin, begin + width), breakpoints=[begin, begin + width], dtype=dtype,
                backend="python", **more,
            )  # fmt: skip
            for result in (by_input, compared):
                assert result.success
                assert abs(result.y[0, -1]) == pytest.approx(width, abs=4.0 * spacing)


def test_nothing_is_asked_for_beyond_samples_that_end_close_to_a_break():
    """A jump a few spacings from the first and the last sample, which are the run's ends too."""
    for spacings in (5, 12, 30):
        little = spacings * np.spacing(1.0)
        u = Interpolant([1.0, 1.0 + little, 2.0 - little, 2.0], [1.0, 2.0, 3.0, 4.0], "previous")
        for span in ((1.0, 2.0), (2.0, 1.0)):
            result = solve_ivp(
                lambda t, y, u: [u(t)], span, [0.0], args=(u,), rtol=1e-6, backend="python"
            )
            assert result.success
            assert abs(result.y[0, -1]) == pytest.approx(2.0, abs=1e-12)


@pytest.mark.parametrize("preconditioner", PRECONDITIONERS)
@pytest.mark.parametrize("linear_solver", [kind for kind in LINEAR_SOLVERS if kind != "lu"])
@pytest.mark.parametrize("method", ["sdirk2", "rodas4", "radau_iia_3"])
def test_iterative_solvers_know_of_breaks_and_drivers(method, linear_solver, preconditioner):
    """Their products ask for times on one side, where parameters and inputs are in the Jacobian."""
    u = Interpolant([0.0, 0.5], [1.0, 3.0], "previous", "hold")
    result = solve_ivp(
        lambda t, y, a, u: [-a * u(t) * y[0] + np.where(t < 0.8, 0.0, 1.0)], (0.0, 1.0), [1.0],
        method, args=(2.0, u), breakpoints=[0.8], linear_solver=linear_solver,
        preconditioner=preconditioner, rtol=1e-6, atol=1e-8, backend="python",
    )  # fmt: skip
    alone = solve_ivp(
        lambda t, y, a: [-a * y[0] + np.where(t < 0.8, 0.0, 1.0)], (0.0, 1.0), [1.0], method,
        args=(2.0,), breakpoints=[0.8], linear_solver=linear_solver, rtol=1e-6, atol=1e-8,
        preconditioner=preconditioner, backend="python",
    )  # fmt: skip
    driven = math.exp(-1.0 - 6.0 * 0.5) + (1.0 - math.exp(-6.0 * 0.2)) / 6.0
    assert result.y[0, -1] == pytest.approx(driven, abs=2e-4)
    plain = math.exp(-2.0) + (1.0 - math.exp(-2.0 * 0.2)) / 2.0
    assert alone.y[0, -1] == pytest.approx(plain, abs=2e-4)
