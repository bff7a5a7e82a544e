"""Inputs that depend on time: samples that a right-hand side calls as a function."""

import functools
import itertools
import os
import pickle
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from scipy import interpolate as scipy_interpolate
from scipy.integrate import solve_ivp as scipy_solve_ivp

from cubie import Interpolant, InvalidOption, InvalidProblem, RunStatus, Solver, solve_ivp
from cubie.systems import BatchShapeError, RightHandSideError, trace
from cubie.systems.derivatives.choice import derivatives_of
from cubie.systems.drivers import calling, tables
from cubie.systems.drivers.lookup import build_lookup
from cubie.systems.drivers.pieces import KINDS
from cubie.systems.symbolic.from_trace import to_sympy
from tests.cubie.targets import on_targets

ROOT = Path(__file__).resolve().parents[2]
TIMES = np.linspace(0.0, 5.0, 26)
random = np.random.default_rng(20240301)
UNEVEN = np.sort(np.append(random.uniform(0.0, 5.0, 24), [0.0, 5.0]))
SAMPLES = random.normal(size=26)

REFERENCES = {
    "linear": lambda x, y: lambda q: np.interp(q, x, y),
    "cubic": scipy_interpolate.CubicSpline,
    "pchip": scipy_interpolate.PchipInterpolator,
    "akima": scipy_interpolate.Akima1DInterpolator,
    "previous": lambda x, y: scipy_interpolate.interp1d(x, y, "previous"),
}


def evaluate(driver, at, **options):
    """Return a driver's values in a kernel: of one step of Euler's method from zero."""
    options = {"first_step": 1.0, "fastmath": False, **options}
    in_args = isinstance(driver, Interpolant)
    fun = (lambda t, y, a, u: [u(a)]) if in_args else (lambda t, y, a: [driver(a)])
    args = (at, driver) if in_args else (at,)
    result = solve_ivp(fun, (0.0, 1.0), np.zeros((len(at), 1)), "euler", args=args, **options)
    return np.asarray(result.y).ravel(), np.asarray(result.status)


def expected(driver, at):
    """Return what plain Python gives, zero where that is nothing (the run then ends at once)."""
    inside = (at >= driver.pieces.knots[0]) & (at <= driver.pieces.knots[-1])
    if driver.extend != "error":
        inside[:] = True
    return np.where(inside, driver(np.where(inside, at, TIMES[0])), 0.0), inside


@pytest.mark.parametrize("times", [TIMES, UNEVEN], ids=["equal", "uneven"])
@pytest.mark.parametrize("kind", KINDS)
def test_interpolants_are_those_of_scipy(kind, times):
    """In plain Python: values of all kinds, and the derivatives of those that have some."""
    driver, reference = Interpolant(times, SAMPLES, kind), REFERENCES[kind](times, SAMPLES)
    at = np.concatenate([random.uniform(times[0], times[-1], 500), times])
    np.testing.assert_allclose(driver(at), reference(at), rtol=1e-12, atol=1e-13)
    assert driver(float(at[0])) == pytest.approx(float(reference(at[0])), rel=1e-12)
    if kind in ("cubic", "pchip", "akima"):
        for order in (1, 2):
            theirs = reference(at, order)
            size = np.abs(theirs).max()
            np.testing.assert_allclose(driver(at, order), theirs, rtol=1e-9, atol=1e-12 * size)
            np.testing.assert_array_equal(driver.derivative(order)(at), driver(at, order))


@pytest.mark.parametrize("n", [2, 3, 4, 5])
@pytest.mark.parametrize("kind", ["cubic", "pchip", "akima"])
def test_few_samples_are_interpolated_as_by_scipy(kind, n):
    """Two samples have a line, three one parabola as a spline; ends are treated as SciPy does."""
    if (kind, n) == ("akima", 2):
        return
    times, values = UNEVEN[:n], SAMPLES[:n]
    at = np.linspace(times[0], times[-1], 50)
    theirs = REFERENCES[kind](times, values)(at)
    np.testing.assert_allclose(Interpolant(times, values, kind)(at), theirs, rtol=1e-11, atol=1e-12)


def test_splines_that_repeat_are_smooth_where_they_begin_anew():
    """As SciPy's periodic ones, where the first and the last sample are equal."""
    values = np.append(SAMPLES[:-1], SAMPLES[0])
    driver = Interpolant(UNEVEN, values, "cubic", "periodic")
    theirs = scipy_interpolate.CubicSpline(UNEVEN, values, bc_type="periodic")
    at = np.linspace(-7.0, 13.0, 301)
    for order in (0, 1, 2):
        np.testing.assert_allclose(driver(at, order), theirs(at, order), rtol=1e-9, atol=1e-9)
    assert len(driver.breaks) == 0


@pytest.mark.parametrize("extend", ["error", "hold", "periodic", "zero"])
@pytest.mark.parametrize("times", [TIMES, UNEVEN], ids=["equal", "uneven"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_kernels_look_up_what_plain_python_gives(kind, times, extend, dtype):
    """At samples, between and outside of them, of both dtypes, component code as it is written."""
    driver = Interpolant(times, SAMPLES, kind, extend)
    at = np.concatenate([random.uniform(-7.0, 12.0, 40), times[1:-1]])
    if dtype == "float32":
        at = at.astype(np.float32).astype(float)
        if kind == "previous":  # rounding may move a sample past the argument
            at = at[:40]
    wanted, inside = expected(driver, at)
    found, status = evaluate(driver, at, backend="python", dtype=dtype)
    assert np.array_equal(status == RunStatus.SUCCESS, inside)
    assert np.all((status == RunStatus.DRIVER_OUT_OF_RANGE) | inside)
    accuracy = 1e-12 if dtype == "float64" else 2e-5
    np.testing.assert_allclose(found, wanted, rtol=accuracy, atol=accuracy)


@pytest.mark.parametrize(
    ("kind", "extend", "lanes", "dtype"),
    [  # each two of them, and each kind with either
        ("cubic", "error", 1, "float64"),
        ("cubic", "error", None, "float32"),
        ("linear", "periodic", None, "float64"),
        ("linear", "periodic", 1, "float32"),
    ],
)
def test_compiled_kernels_look_up_the_same(kind, extend, lanes, dtype):
    """The CPU's machine code agrees with component code as it is written, for any lanes."""
    driver = Interpolant(UNEVEN, SAMPLES, kind, extend)
    at = random.uniform(-1.0, 6.0, 101)
    wanted, status = evaluate(driver, at, backend="python", dtype=dtype)
    found, compiled_status = evaluate(driver, at, backend="cpu", lanes=lanes, dtype=dtype)
    np.testing.assert_array_equal(status, compiled_status)
    accuracy = 1e-13 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(found, wanted, rtol=accuracy, atol=accuracy)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [10, 1000, 100_000])
def test_look_ups_take_one_comparison_for_any_number_of_equally_spaced_samples(n, dtype):
    """After the multiplication; of uneven ones as many as halve the fullest bucket."""
    steps = {}
    for name, times in {
        "equal": np.linspace(3.0, 8.0, n),
        "far": np.linspace(1e3, 1e3 + n / 10, n),
        "uneven": np.sort(random.uniform(3.0, 8.0, n)),
        "clustered": np.append(np.linspace(0.0, 1e-3, n - 1), 5.0),
    }.items():
        driver = Interpolant(times, np.arange(n), "linear", "hold", stops="none")
        _, layout = tables.lay_out([driver.pieces], np.dtype(dtype))
        steps[name] = int(layout[tables.FIRST_STEP]).bit_length()
    assert steps["equal"] == steps["far"] == 1
    assert steps["uneven"] <= 5
    assert steps["clustered"] <= np.log2(n) + 2


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_many_samples_are_looked_up_right(dtype):
    """Of 100,000 samples, equally spaced or clustered, each argument finds its piece."""
    n = 100_000
    clustered = np.append(np.geomspace(1e-3, 1.0, n - 1), 2.0)
    for times in (np.linspace(0.0, 2.0, n), clustered):
        at = np.sort(random.choice(times, 60))
        at = (0.5 * (at[1:] + at[:-1])).astype(dtype).astype(float)
        driver = Interpolant(times, 3.0 * times - 1.0, "linear", "hold", stops="none")
        found, _ = evaluate(driver, at, backend="python", dtype=dtype)
        accuracy = 1e-12 if dtype == "float64" else 1e-6
        np.testing.assert_allclose(found, 3.0 * at - 1.0, rtol=accuracy, atol=accuracy)


def driven(t, y, u, k):
    """Follow an input: with a delay, and at a state."""
    return [-k * y[0] + u(t), u(t - 0.25) - y[1] + 0.1 * u(y[0]), y[0] * u(0.5 * t)]


METHODS = ["tsit5", "rodas5p", "radau_iia_5", "kvaerno5"]


@functools.cache
def driven_reference(kind):
    """Return the end of `driven` by SciPy, piece by piece: it does not see every kink."""
    u = Interpolant(TIMES, SAMPLES, kind, "hold")
    kinks = np.concatenate([TIMES, TIMES + 0.25, 2.0 * TIMES])
    ends, y = np.unique(kinks[kinks <= 4.0]), [1.0, 0.0, 0.5]
    for span in itertools.pairwise(ends):
        pieces = {"method": "DOP853", "rtol": 1e-12, "atol": 1e-13, "args": (u, 1.3)}
        y = scipy_solve_ivp(driven, span, y, **pieces).y[:, -1]
    return y


@pytest.mark.parametrize(("method", "backend"), on_targets(METHODS, ["tsit5", "kvaerno5"]))
def test_driven_systems_are_solved_by_every_kind_of_method(method, backend):
    """At the time itself, with a delay, at a state: what SciPy finds with the same function."""
    u = Interpolant(TIMES, SAMPLES, "cubic", "hold")
    result = solve_ivp(
        driven, (0.0, 4.0), [1.0, 0.0, 0.5], method, args=(u, 1.3), rtol=1e-9, atol=1e-10,
        backend=backend, save="final",
    )  # fmt: skip
    np.testing.assert_allclose(np.ravel(result.y), driven_reference("cubic"), rtol=1e-6)


def test_derivatives_of_driven_systems_are_those_of_the_interpolants():
    """By states, where a driver is called at one, and by time."""
    u = Interpolant(TIMES, SAMPLES, "cubic")
    system = trace(lambda t, y: [u(y[0]) * y[1] + u(t), u(0.5 * u(t) + 2.0)], 2)
    derivatives = derivatives_of(system)
    module = derivatives.module
    t, y = 1.7, np.array([2.2, -0.4])

    def filled(name):
        n = 2 + sum(map(len, getattr(module, f"{name.upper()}_CALLS")))
        d = [u(t)] + [None] * (n - 1)
        for which, calls in enumerate(getattr(module, f"{name.upper()}_CALLS")):
            getattr(module, f"{name}_arguments_{which}")(t, y, (), d)
            for slot, _, order in calls:
                d[slot] = u(d[slot], order)
        return d

    jac = np.zeros(len(derivatives.pattern))
    module.jacobian(t, y, (), filled("jacobian"), jac, 0)
    assert derivatives.pattern == ((0, 0), (0, 1))
    np.testing.assert_allclose(jac, [u(y[0], 1) * y[1], u(y[0])], rtol=1e-13)
    by_time = np.zeros(2)
    module.time_derivative(t, y, (), filled("time_derivative"), by_time, 0)
    inner = 0.5 * u(t) + 2.0
    np.testing.assert_allclose(by_time, [u(t, 1), u(inner, 1) * 0.5 * u(t, 1)], rtol=1e-13)


def test_each_run_has_its_samples():
    """Bit for bit what it gets alone, whoever its neighbours are."""
    values = random.normal(size=(19, 26))
    solver = Solver(driven, method="tsit5", rtol=1e-7, backend="cpu")
    for save in ("final", "steps"):
        every = solver.solve(
            (0.0, 4.0), [1.0, 0.0, 0.5], args=(Interpolant(TIMES, values, "cubic", "hold"), 1.3),
            save=save,
        )  # fmt: skip
        for run in (0, 7, 18):
            alone = solver.solve(
                (0.0, 4.0), [1.0, 0.0, 0.5], save="final",
                args=(Interpolant(TIMES, values[run], "cubic", "hold"), 1.3),
            )  # fmt: skip
            end = every.y[run][..., -1] if save == "steps" else np.asarray(every.y)[run]
            np.testing.assert_array_equal(np.ravel(end), np.ravel(alone.y))


@pytest.mark.parametrize("where", ["local", "shared"])
@pytest.mark.parametrize("method", ["rodas4", "radau_iia_3"])
def test_placements_give_the_same_bits(method, where):
    """Wherever buffers lie, those of drivers too, which have their option."""
    u = Interpolant(TIMES, SAMPLES, "pchip", "hold")
    options = {"backend": "python", "method": method, "fastmath": False, "rtol": 1e-4}

    def end(**more):
        result = solve_ivp(driven, (0.0, 1.0), [1.0, 0.0, 0.5], args=(u, 1.3), **options, **more)
        return np.asarray(result.y)[:, -1]

    pinned = {"drivers_location": "local_persistent", "proposed_drivers_location": "shared"}
    if method == "radau_iia_3":
        pinned["stage_driver_stack_location"] = "shared"
    np.testing.assert_array_equal(end(locations=where), end(**pinned))


def test_other_samples_compile_nothing():
    """Numbers of samples, spacing and kinds with as many coefficients: all of it is data."""
    solver = Solver(driven, method="tsit5", backend="cpu")
    y0 = [1.0, 0.0, 0.5]
    first = solver.solve((0.0, 4.0), y0, args=(Interpolant(TIMES, SAMPLES, "cubic", "hold"), 1.0))
    before = dict(solver.builds)
    times = np.sort(random.uniform(0.0, 4.0, 1001))
    again = solver.solve(
        (0.0, 4.0), y0, args=(Interpolant(times, np.sin(times), "pchip", "hold"), 1.0)
    )
    assert dict(solver.builds) == before
    assert not np.array_equal(first.y[:, -1], again.y[:, -1])
    solver.solve((0.0, 4.0), y0, args=(Interpolant(times, np.sin(times), "linear", "hold"), 1.0))
    assert solver.builds["kernel"] == before["kernel"] + 1


GLOBAL = Interpolant(TIMES, SAMPLES, "linear", "hold", stops="none")


def with_global(t, y):
    """Call an interpolant that is a global."""
    return [GLOBAL(t) - y[0]]


def test_samples_of_closures_and_globals_are_never_stale(monkeypatch):
    """What the function refers to at each solve counts, and compiles nothing either."""
    solver = Solver(with_global, method="tsit5", backend="cpu")
    first = solver.solve((0.0, 4.0), [0.0]).y[0, -1]
    built = dict(solver.builds)
    twice = Interpolant(TIMES, 2.0 * SAMPLES, "linear", "hold", stops="none")
    monkeypatch.setitem(globals(), "GLOBAL", twice)
    second = solver.solve((0.0, 4.0), [0.0]).y[0, -1]
    assert second == pytest.approx(2.0 * first, rel=1e-2)
    assert dict(solver.builds) == built
    assert solve_ivp(with_global, (0.0, 4.0), [0.0], backend="cpu").y[0, -1] == second


def test_threads_solve_with_samples_of_their_own():
    """One solver, many inputs at a time."""
    solver = Solver(driven, method="tsit5", backend="cpu", rtol=1e-6)
    inputs = [Interpolant(TIMES, SAMPLES * k, "cubic", "hold") for k in range(1, 9)]

    def end(u):
        return np.asarray(solver.solve((0.0, 4.0), [1.0, 0.0, 0.5], args=(u, 1.0)).y)[:, -1]

    alone = [end(u) for u in inputs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(end, inputs))
    np.testing.assert_array_equal(alone, together)


def test_interpolants_are_pickled_and_never_change():
    """A copy gives the same; the arrays that were given may change afterwards."""
    values = SAMPLES.copy()
    u = Interpolant(TIMES, values, "akima", "zero")
    before = u(1.234)
    values[:] = 0.0
    assert u(1.234) == before == pickle.loads(pickle.dumps(u))(1.234)
    assert "akima" in repr(u)


def test_a_run_that_asks_beyond_the_samples_ends_there():
    """With a status of its own and the time of the last sample, whatever the method."""
    u = Interpolant(TIMES[:11], SAMPLES[:11], "cubic")
    for method in METHODS:
        result = solve_ivp(
            lambda t, y, u: [u(t) - y[0]], (0.0, 4.0), [0.0], method, args=(u,), backend="python",
            rtol=1e-3,
        )  # fmt: skip
        assert result.status == RunStatus.DRIVER_OUT_OF_RANGE
        assert "interpolant" in str(result.message)
        assert result.t[-1] == pytest.approx(TIMES[10], abs=1e-9)
    # All samples may be used, up to the last.
    result = solve_ivp(
        lambda t, y, u: [u(t) - y[0]], (0.0, TIMES[10]), [0.0], args=(u,), backend="python"
    )
    assert result.success


def test_what_is_not_used_of_a_driver_fails_no_run():
    """A call in the branch that is not taken may be outside of the samples."""
    u = Interpolant(TIMES, SAMPLES, "cubic")

    def delayed(t, y, u):
        return [(u(t - 2.0) if t > 2.0 else 0.0) - y[0]]

    assert solve_ivp(delayed, (0.0, 4.0), [1.0], args=(u,), backend="python", rtol=1e-3).success


def test_neighbours_of_a_failing_run_are_untouched():
    """One run leaves its samples; the others get what they get alone."""
    u = Interpolant(TIMES, SAMPLES, "linear", stops="none")
    speed = np.array([1.0, 2.0, 1.0, 0.5])

    def fast(t, y, u, speed):
        return [u(speed * t) - y[0]]

    every = solve_ivp(fast, (0.0, 4.0), [0.0], args=(u, speed), backend="cpu", fastmath=False)
    assert np.array_equal(every.status, [0, RunStatus.DRIVER_OUT_OF_RANGE, 0, 0])
    alone = solve_ivp(fast, (0.0, 4.0), [0.0], args=(u, speed[:1]), backend="cpu", fastmath=False)
    np.testing.assert_array_equal(np.asarray(every.y)[0], np.asarray(alone.y)[0])
    np.testing.assert_array_equal(np.asarray(every.y)[2], np.asarray(alone.y)[0])


def _recognised():
    x, y = UNEVEN, SAMPLES
    yield "interp", lambda t: np.interp(t, x, y)
    yield "interp_ends", lambda t: np.interp(t, x, y, left=2.0, right=-3.0)
    yield "interp_period", lambda t: np.interp(t, x[:-1], y[:-1], period=5.0)
    yield "cubic_spline", scipy_interpolate.CubicSpline(x, y)
    yield "pchip", scipy_interpolate.PchipInterpolator(x, y)
    yield "akima", scipy_interpolate.Akima1DInterpolator(x, y, extrapolate=True)
    yield "ppoly", scipy_interpolate.PPoly(random.normal(size=(3, 25)), x)
    yield (
        "periodic",
        scipy_interpolate.PPoly(random.normal(size=(3, 25)), x, extrapolate="periodic"),
    )
    yield "bspline", scipy_interpolate.make_interp_spline(TIMES, y, k=3)
    yield "slope", scipy_interpolate.CubicSpline(x, y).derivative()
    for kind in ("linear", "nearest", "previous", "next", "zero", "quadratic", "cubic"):
        yield (
            f"interp1d_{kind}",
            scipy_interpolate.interp1d(x, y, kind, bounds_error=False, fill_value=(1.0, 2.0)),
        )
    yield "interp1d_beyond", scipy_interpolate.interp1d(x, y, fill_value="extrapolate")


@pytest.mark.parametrize(("name", "function"), [*_recognised()], ids=lambda value: str(value)[:20])
def test_tables_and_scipys_interpolators_are_looked_up(name, function):
    """Without being asked: values inside and outside are theirs, and no code is one per sample."""
    system = trace(lambda t, y: [function(t) + y[0]], 1)
    assert system.kind == "traced"
    assert len(system.drivers) == 1
    assert system.source.count("\n") < 25
    at = np.concatenate([random.uniform(-2.0, 7.0, 30), UNEVEN[1:-1]])
    if name == "interp1d_zero":
        at = at[:30]
    found, _ = evaluate(function, at, backend="python")
    wanted = function(at)
    size = np.maximum(1.0, np.abs(wanted))
    np.testing.assert_allclose(found / size, wanted / size, rtol=1e-9, atol=1e-9)


def test_small_tables_stay_what_they_were():
    """Up to eight samples a choice each costs less than a look-up."""
    x, y = TIMES[:8], SAMPLES[:8]
    assert not trace(lambda t, y_: [np.interp(t, x, y)], 1).drivers
    found, _ = evaluate(lambda t: np.interp(t, x, y), np.array([0.3, 9.0]), backend="python")
    np.testing.assert_allclose(found, np.interp([0.3, 9.0], x, y), rtol=1e-14)


def test_a_table_of_any_size_makes_the_same_text():
    """So compile time does not grow with the number of samples."""
    texts = set()
    for n in (10, 1000, 100_000):
        x = np.linspace(0.0, 1.0, n)
        texts.add(trace(lambda t, y, x=x: [np.interp(t, x, x**2)], 1).digest)
    assert len(texts) == 1


@pytest.mark.parametrize(
    ("times", "values", "kind", "error", "message"),
    [
        ([0, 2, 1], [1, 2, 3], "linear", InvalidProblem, "times[1] = 2.0 is followed by 1.0"),
        ([0, 1, 1], [1, 2, 3], "cubic", InvalidProblem, "which kind 'linear' has"),
        ([0, 1, 1, 1, 2], [1, 2, 3, 4, 5], "linear", InvalidProblem, "must increase"),
        ([0, 0, 1], [1, 2, 3], "linear", InvalidProblem, "stand between others"),
        ([0, 1], [1, np.nan], "linear", InvalidProblem, "values[1] is nan"),
        ([0, np.inf], [1, 2], "linear", InvalidProblem, "times[1] is inf"),
        ([0, 1], [[1, 2], [np.nan, 2]], "linear", InvalidProblem, "values[1, 0] is nan"),
        ([0, 1], [1, 2, 3], "linear", InvalidProblem, "one value for each time"),
        ([[0, 1]], [1, 2], "linear", InvalidProblem, "one value for each time"),
        ([0], [1], "linear", InvalidProblem, "needs at least 2"),
        (["a"], [1], "linear", InvalidProblem, "must be an array of numbers"),
        ([0, 1], [1, 2], "quadratic", InvalidOption, "'linear', 'cubic'"),
        ([-1e308, 1e308], [1, 2], "linear", InvalidProblem, "beyond the largest float"),
        ([0, 1], [-1.5e308, 1.5e308], "linear", InvalidProblem, "beyond the largest float"),
        ([0, 1e-200, 1], [1, 2, 3], "pchip", InvalidProblem, "beyond the largest float"),
    ],
)
def test_bad_samples_are_refused(times, values, kind, error, message):
    """With what was given, what is allowed and what to do."""
    with pytest.raises(error) as caught:
        Interpolant(times, values, kind)
    assert message in str(caught.value)


def test_other_bad_input_is_refused():
    """Of numbers of runs, of functions that cannot be traced, of times outside in plain Python."""
    u = Interpolant(TIMES, SAMPLES)
    with pytest.raises(InvalidProblem, match="outside of the samples"):
        u(7.0)
    with pytest.raises(InvalidOption, match="extend"):
        Interpolant(TIMES, SAMPLES, extend="constant")
    with pytest.raises(InvalidProblem, match="order of a derivative"):
        u(1.0, -1)
    with pytest.raises(InvalidProblem, match="needs a second one"):
        Interpolant([1.0], [5.0], "previous", "periodic")
    many = Interpolant(TIMES, np.tile(SAMPLES, (3, 1)))
    with pytest.raises(BatchShapeError, match="samples of 3 runs, and there are 5 runs"):
        solve_ivp(lambda t, y, u: [u(t)], (0.0, 1.0), np.zeros((5, 1)), args=(many,))
    with pytest.raises(RightHandSideError, match="Give it in args"):
        trace(lambda t, y: [many(t)], 1)

    def loops(t, y, u):
        x = y[0]
        while x > 0.5:
            x = 0.5 * x
        return [u(t) - x]

    with pytest.raises(RightHandSideError, match="takes a function that can be traced"):
        solve_ivp(loops, (0.0, 1.0), [1.0], args=(u,))
    with pytest.raises(ValueError, match="no form in SymPy"):
        to_sympy(trace(lambda t, y: [u(t)], 1))


def test_a_jump_of_samples_at_one_time_has_two_values():
    """Of two equal times the first ends what is before, the second begins what follows."""
    u = Interpolant([0.0, 1.0, 1.0, 2.0], [0.0, 1.0, 5.0, 4.0])
    assert (u(0.5), u(1.0), u(1.5), u(np.nextafter(1.0, 0.0))) == (0.5, 5.0, 4.5, pytest.approx(1))
    assert list(u.breaks) == [1.0]


@pytest.mark.parametrize(
    ("method", "at_most"), [("rk4", 3.1), ("rodas4", 7), ("kvaerno3", 4.1), ("radau_iia_5", 4.1)]
)
def test_drivers_are_looked_up_once_for_each_time(method, at_most, monkeypatch):
    """Newton iterations, Jacobians and their products, and the next step's start find them."""
    asked = []

    def counting(*args):
        look_up = build_lookup(*args)
        return lambda launch, x: asked.append(float(x)) or look_up(launch, x)

    monkeypatch.setattr(calling, "build_lookup", counting)
    u = Interpolant(TIMES, SAMPLES, "cubic")
    options = {"first_step": 0.1} if method == "rk4" else {"rtol": 1e-4}
    result = solve_ivp(
        lambda t, y, u: [-(y[0] ** 3) + u(t)], (0.0, 2.0), [1.0], method, args=(u,),
        backend="python", **options,
    )  # fmt: skip
    attempts = int(result.n_steps + result.n_rejected)
    # At the start: two for the first step size.
    assert len(asked) - 2 <= at_most * attempts
    if method != "rk4":
        assert result.nfev > len(asked) - 3


@pytest.mark.parametrize("backend", ["python", "cpu"])
def test_observables_call_drivers_of_their_own(backend):
    """At the time of each point, of each run, and in summaries of the continuous solution."""
    u = Interpolant(TIMES, np.outer([1.0, 2.0, 3.0], np.sin(TIMES)), "cubic", "hold")

    def observed(t, y, u, other):
        return {"input": u(t), "late": other(t - 0.5) * y[0]}

    def followed(t, y, u, other):
        return [u(t) - y[0]]

    other = Interpolant(UNEVEN, SAMPLES, "cubic", "hold")
    times = np.array([1.0, 2.0, 3.0])
    result = solve_ivp(
        followed, (0.0, 3.0), [1.0], t_eval=times, args=(u, other), observables=observed,
        summaries={"input": ["max"]}, backend=backend, rtol=1e-6,
    )  # fmt: skip
    np.testing.assert_allclose(result.observables["input"], u(times), rtol=1e-12)
    late = other(times - 0.5) * np.asarray(result.y)[:, 0]
    np.testing.assert_allclose(result.observables["late"], late, rtol=1e-12)
    np.testing.assert_allclose(result.summaries["input"]["max"], [1.0, 2.0, 3.0], rtol=1e-4)


def test_systems_without_drivers_have_nothing_of_them():
    """No bytes in the plan, no name in the text."""
    solver = Solver(lambda t, y: [-y[0]], method="rodas4")
    plan = solver.prepare([1.0])
    sizes = {p.name: p.size_bytes for p in plan.placements.values()}
    assert sizes["loop.drivers"] == sizes["loop.passed_stops"] == 0
    assert " d[" not in solver.kernel.integrator.loop.system.system.source


CASES = {"tsit5": {"method": "tsit5"}, "radau": {"method": "radau_iia_5", "locations": "shared"}}


def solve_case(backend, case):
    """Solve a few runs with inputs, and breakpoints, of their own."""
    held = Interpolant(TIMES, np.stack([SAMPLES, np.cos(TIMES), TIMES]), "previous", "hold")
    result = solve_ivp(
        driven, (0.0, 1.5), [1.0, 0.0, 0.5], args=(held, 1.3), rtol=1e-4, backend=backend,
        breakpoints=[[0.31], [0.72], [1.13]], block_size=2, fastmath=False, **CASES[case],
    )  # fmt: skip
    return np.concatenate([np.ravel(result.y), result.n_steps, result.status])


def test_a_simulated_gpu_gives_what_interpreted_code_does():
    """The same component code in simulated threads and blocks, in a process of its own."""
    code = (
        "import sys, numpy as np\nfrom tests.cubie.test_drivers import CASES, solve_case\n"
        "np.save(sys.argv[1], [solve_case('cuda', case) for case in CASES])"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "found.npy"
        environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1"}
        subprocess.run([sys.executable, "-c", code, path], cwd=ROOT, env=environment, check=True)
        found = np.load(path)
    wanted = [solve_case("python", case) for case in CASES]
    np.testing.assert_array_equal(found, wanted)


def test_kernels_with_inputs_compile_for_a_gpu():
    """Without one: nothing lies on the stack, and breakpoints and inputs together go through."""
    solver = Solver(driven, method="tsit5", backend="cuda")
    u = Interpolant(TIMES, SAMPLES, "previous", "periodic")
    solver.prepare([1.0, 0.0, 0.5], args=(u, 1.3), breakpoints=[0.5], locations="local")
    needs = solver.kernel.resources((9, 0))
    assert (needs.stack_bytes, needs.spill_store_bytes) == (0, 0)
