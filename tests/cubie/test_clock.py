"""State and clock take the same steps, wherever time starts and in whatever dtype."""

import re

import numpy as np
import pytest

from cubie import InvalidProblem, RunStatus, Solver, solve_ivp
from cubie.launch.stops import lay_out_stops
from cubie.run import loop
from cubie.tableaus import all_methods
from tests.cubie.targets import on_targets

DTYPES = ("float64", "float32")
RATES = np.array([0.5, 1.0, 2.0])


def decay(t, y, k):
    """A system that does not read the time."""
    return [-k * y[0], k * y[0] - y[1]]


def rotation(t, y, w):
    """A rotation of frequency w."""
    return [w * y[1], -w * y[0]]


def methods_by_dtype():
    """Yield every method in one dtype, in turn, and the first of each family in both.

    The clock is the loop's, which differs by dtype and by family.
    """
    families = set()
    for number, (method, tableau) in enumerate(all_methods().items()):
        for k, dtype in enumerate(DTYPES):
            if number % 2 == k or type(tableau) not in families:
                yield method, dtype
        families.add(type(tableau))


WITH_ALL_CLOCKS = list(methods_by_dtype())
COMPILED = [("tsit5", "float32"), ("kvaerno3", "float64"), ("bdf", "float32")]


@pytest.mark.parametrize(
    ("method", "dtype", "backend"), on_targets(WITH_ALL_CLOCKS, COMPILED, also=WITH_ALL_CLOCKS)
)
def test_a_run_does_not_depend_on_where_time_starts(method, dtype, backend):
    """Equations that do not read the time give the same bits from 0 and from a Unix time stamp."""
    adaptive = all_methods()[method].has_error_estimate
    options = {} if adaptive else {"first_step": 1 / 64}
    options |= {"dtype": dtype, "fastmath": dtype == "float32", "backend": backend}
    solver = Solver(decay, method=method, rtol=1e-3, **options)
    results = []
    for start in (0.0, 2.0**31):
        times = start + np.array([0.25, 1.0, 1.5])
        for span in ((start, start + 2.0), (start + 2.0, start)):
            forwards = span[0] < span[1]
            results.append(
                solver.solve(span, [1.0, 0.5], times[:: 1 if forwards else -1], args=(RATES,))
            )
    for i in (0, 1):
        near, far = results[i], results[i + 2]
        assert near.success.all()
        np.testing.assert_array_equal(near.y, far.y)
        np.testing.assert_array_equal(near.n_steps, far.n_steps)
        np.testing.assert_array_equal(near.t + 2.0**31, far.t)
        np.testing.assert_array_equal(far.t_reached, 2.0**31 + (2.0 if i == 0 else 0.0))


@pytest.mark.parametrize("backend", ["cpu", "python"])
@pytest.mark.parametrize(
    ("dtype", "start", "h", "steps"),
    [
        ("float32", 0.0, 0.01, 3000),
        ("float32", 1e9, 0.01, 3000),
        ("float64", 0.0, 0.1, 3000),
        ("float64", 1.7e9, 1e-6, 3000),
        ("float64", -1.7e9, 0.1, 3000),
    ],
)
def test_steps_of_given_size_are_counted(backend, dtype, start, h, steps):
    """As many steps are taken as fit the span, and the state is where so many steps lead."""
    w = 2 * np.pi / (steps * h)
    result = solve_ivp(
        rotation, (start, start + steps * h), [1.0, 0.0], args=(w,), method="rk4", first_step=h,
        dtype=dtype, backend=backend, save="final",
    )  # fmt: skip
    assert result.n_steps == steps
    assert abs(result.y[0, -1] - 1.0) < 300 * np.finfo(dtype).eps


@pytest.mark.slow
@pytest.mark.parametrize("lanes", [1, 8])
def test_a_million_steps_in_float32_are_a_million(lanes):
    """Over a million steps of 0.01 the float32 clock does not drift: the phase is that of 1e4."""
    w = 2 * np.pi / np.array([1000.0, 2000.0])
    result = solve_ivp(
        rotation, (0, 1e4), [1.0, 0.0], args=(w,), method="rk4", first_step=0.01,
        dtype="float32", max_steps=10**7, lanes=lanes,
    )  # fmt: skip
    np.testing.assert_array_equal(result.n_steps, 10**6)
    assert np.abs(result.y[:, 0, -1] - np.cos(w * 1e4)).max() < 0.05


@pytest.mark.parametrize("fastmath", [True, False])
@pytest.mark.parametrize(("dtype", "start"), [("float32", 0.0), ("float64", 1.7e9)])
def test_chosen_steps_sum_to_the_span(dtype, start, fastmath):
    """As many steps of the largest size are taken as fit, late in a long run and far from zero."""
    h, steps = (0.1, 100_000) if dtype == "float32" else (1e-6, 100_000)
    result = solve_ivp(
        lambda t, y: [0.0 * y[0]], (start, start + h * steps), [1.0], max_step=h, first_step=h,
        dtype=dtype, max_steps=10**6, fastmath=fastmath, save="final",
    )  # fmt: skip
    assert abs(result.n_steps - steps) <= 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_times_far_from_zero_are_landed_on(dtype):
    """Times that the dtype itself could not tell apart are counted from the start."""
    times = 1.7e9 + np.arange(7.0)
    result = solve_ivp(
        decay, (1.7e9, 1.7e9 + 6), [1.0, 0.0], t_eval=times, args=(RATES,), dtype=dtype,
        rtol=1e-5, atol=1e-7,
    )  # fmt: skip
    np.testing.assert_array_equal(result.t, times)
    expected = np.exp(-np.outer(RATES, times - 1.7e9))
    np.testing.assert_allclose(result.y[:, 0], expected, atol=1e-4)


@pytest.mark.parametrize(("step", "apart"), [(1e-5, 2.05e-5), (3e-7, 1e-6), (1e-8, 5e-7)])
def test_steps_between_output_times_add_up_to_them(step, apart):
    """What rounding of times far from zero may explain at one output does not add up over many."""
    start = 1.7e9
    times = start + apart * np.arange(1, 1001)
    stops = lay_out_stops((start, times[-1]), times, step, np.dtype(float))
    steps = np.diff(stops.counts, prepend=0)
    taken = np.cumsum((steps - 1) * step + stops.fields[3])
    rounding = 4 * np.spacing(start)
    np.testing.assert_allclose(taken, times - start, rtol=1e-9, atol=rounding)


def test_late_times_closer_than_numbers_of_float32():
    """Steps end at times that, from the start, differ by less than float32 can tell."""
    times = np.array([9999.9999, 9999.99995, 10000.0])
    w = np.array([200.0])
    result = solve_ivp(
        lambda t, y, w: [0.0 * w], (0, 1e4), [1.0], t_eval=times, args=(w,), dtype="float32"
    )
    assert result.success.all()
    stops = lay_out_stops((0.0, 1e4), times, None, np.dtype("float32"))
    assert len(set(stops.fields[0])) == 1  # what would be merged
    assert np.all(np.diff(stops.fields[1]) > 0)  # what keeps them apart


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"t_span": (1e9, 1e9 + 1)}, "the right-hand side reads the time"),
        ({"t_span": (0.0, 1e39)}, "float32 holds numbers up to"),
        ({"t_span": (0.0, 1e-60)}, "cannot tell apart"),
        ({"t_eval": [0.3, float(np.nextafter(0.3, 1))]}, "cannot tell apart"),
        ({"y0": [1e39]}, "contains 1e+39, which is infinite in float32"),
        ({"y0": [1e-60]}, "contains 1e-60, which is zero in float32"),
        ({"args": (1e39,)}, "contains 1e+39, which is infinite in float32"),
        ({"args": (np.array([1.0, 1e-60]),)}, "contains 1e-60, which is zero in float32"),
        ({"max_step": 1e-60}, "contains 1e-60, which is zero in float32"),
        ({"first_step": 1e-60}, "contains 1e-60, which is zero in float32"),
    ],
)
@pytest.mark.parametrize("before", [False, True], ids=["first", "repeated"])
def test_what_float32_cannot_hold_is_named(change, message, before):
    """A number that float32 rounds away is refused, by a solver's first and by a later solve."""
    given = {"t_span": (0.0, 1.0), "y0": [1.0], "args": (1.0,)} | change
    own = {k: given.pop(k) for k in ("max_step", "first_step", "atol") if k in given}
    solver = Solver(lambda t, y, k: [k * t - y[0]], dtype="float32", save=None, **own)
    if before and not own:
        swept = isinstance(given["args"][0], np.ndarray)
        args = (np.array([1.0, 2.0]),) if swept else (1.0,)
        solver.solve((0.0, 1.0), [1.0], given.get("t_eval") and [0.2, 0.7], args=args)
    with pytest.raises(InvalidProblem, match=re.escape(message)):
        solver.solve(**given)


@pytest.mark.parametrize("backend", ["cpu", "python"])
@pytest.mark.parametrize("method", ["tsit5", "dop853"])
def test_a_clock_that_stands_still_ends_at_once(method, backend):
    """Steps below what the clock can tell from nothing end the run with their own status."""
    result = solve_ivp(decay, (0, 1), [1.0, 0.0], args=(1.0,), method=method, max_step=1e-310,
                       backend=backend, max_steps=50)  # fmt: skip
    assert result.status == RunStatus.CLOCK_STANDS_STILL
    assert result.n_steps < 5


def test_output_times_use_up_no_steps():
    """A dense table of a smooth solution does not run out of steps."""
    times = np.linspace(0, 1, 2001)
    result = solve_ivp(decay, (0, 1), [1.0, 0.0], args=(RATES,), t_eval=times, max_steps=20)
    assert result.success.all()


@pytest.mark.parametrize("backend", ["cpu", "python"])
@pytest.mark.parametrize("options", [{}, {"linear_solver": "bicgstab"}])
def test_full_counters_are_added_to_the_results(monkeypatch, backend, options):
    """Counts of iterations go on where a counter of 32 bits would wrap."""
    counts = []
    for full in (2**30, 7):
        monkeypatch.setattr(loop, "FULL_COUNTER", full)
        result = solve_ivp(decay, (0, 5), [1.0, 0.0], args=(RATES,), method="kvaerno5",
                           backend=backend, fastmath=False, **options)  # fmt: skip
        counts.append([result.n_newton, result.n_linear, result.n_steps])
        assert result.n_newton.min() > 20
    np.testing.assert_array_equal(counts[0], counts[1])


def test_counts_are_wide_enough():
    """What is reported, and what follows from it, cannot wrap at 2**31."""
    result = solve_ivp(decay, (0, 1), [1.0, 0.0], args=(RATES,), method="kvaerno5")
    for name in ("n_steps", "n_rejected", "nfev", "njev", "nlu", "n_newton", "n_linear"):
        assert getattr(result, name).dtype == np.int64
    with pytest.raises(InvalidProblem, match="must not exceed 2147483646"):
        solve_ivp(decay, (0, 1), [1.0, 0.0], args=(RATES,), max_steps=2**31)


def test_fast_math_keeps_what_rounding_took_on_cuda():
    """In the PTX of a float32 kernel the sum, and the difference that its error is, both stand."""
    solver = Solver(decay, dtype="float32", save="final", backend="cpu", method="tsit5")
    solver.prepare([1.0, 0.0], args=(1.0,))
    ptx = solver.kernel.resources((9, 0)).ptx
    operation = re.compile(r"(add|sub)[.\w]*\.f32\s+(%f\d+), (%f\d+), (%f\d+);")
    made = {out: (name, a, b) for name, out, a, b in operation.findall(ptx)}
    taken_back = [
        out
        for out, (name, a, b) in made.items()
        if name == "sub" and made.get(a, ("",))[0] == "add" and b in made[a][1:]
    ]
    assert any(name == "sub" and b in taken_back for name, _, b in made.values()), (
        "no compensated sum in the kernel"
    )
