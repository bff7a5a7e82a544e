"""Launches on a device: what is copied, in how many portions, and what happens when it fails.

The device is pretended (`tests.cubie.pretended`): it does nothing before somebody waits for it,
counts what it is asked, and fails when it is told to.
"""

import gc

import numpy as np
import pytest

from cubie import (
    CubieError,
    DeviceLost,
    DeviceOutOfMemory,
    InvalidOption,
    InvalidProblem,
    LaunchTimedOut,
    LaunchTooLarge,
    Solver,
)
from cubie.backend.device import exchange
from cubie.backend.device.driver import Fault
from cubie.backend.device.sizing import RUNS_OF_SCHEDULERS
from cubie.backend.device.transfers import Segment, pieces_of
from tests.cubie.pretended import MIB, OnPretended, PretendedPython, pretend

N_RUNS = 1000
RHO = np.linspace(0.0, 21.0, N_RUNS)
SPAN, Y0 = (0.0, 0.5), [1.0, 0.0, 0.0]
TIMES = np.linspace(0.0, 0.5, 6)
OUTPUTS = ("y", "status", "n_steps", "n_rejected", "t_reached", "nfev")
F64 = {"method": "tsit5", "rtol": 1e-4, "atol": 1e-6, "fastmath": False}
F32 = {**F64, "dtype": "float32"}


def lorenz(t, y, rho):
    return [10.0 * (y[1] - y[0]), y[0] * (rho - y[2]) - y[1], y[0] * y[1] - 8.0 / 3.0 * y[2]]


def same(found, expected, names=OUTPUTS):
    """Compare results bit for bit."""
    for name in names:
        one, other = (np.asarray(getattr(result, name)) for result in (found, expected))
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other, err_msg=name)


@pytest.fixture(scope="module")
def on_host():
    """Results of the same code in the memory of the host."""
    solver = Solver(lorenz, backend="cpu", lanes=8, **F64)
    return {
        "final": solver.solve(SPAN, Y0, args=(RHO,)),
        "times": solver.solve(SPAN, Y0, TIMES, args=(RHO,)),
        "steps": solver.solve(SPAN, Y0, args=(RHO,), save="steps"),
        "one": solver.solve(SPAN, Y0, args=(28.0,)),
    }


# ---- what is copied -------------------------------------------------------------------


def test_outputs_are_not_copied_up_and_come_down_once(monkeypatch):
    """Of a final Lorenz state in single precision: 36 bytes a run down, its parameter up."""
    driver = pretend(monkeypatch)
    solver = Solver(lorenz, **F32)
    for _ in range(2):
        driver.moved.clear()
        result = solver.solve(SPAN, Y0, args=(RHO,))
        assert result.success.all()
        run_bytes = 3 * 4 + 4 + 2 * 8 + 4  # states, the time reached, two counts, the status
        assert run_bytes * N_RUNS <= driver.moved["down"] <= run_bytes * N_RUNS + 1024
        assert 4 * N_RUNS <= driver.moved["up"] <= 4 * N_RUNS + 2048
        assert (driver.moved["copy_up"], driver.moved["copy_down"]) == (1, 1)
        assert driver.moved["launch"] == 1


def test_memory_is_kept_from_solve_to_solve(monkeypatch):
    """The second solve allocates nothing; a larger one grows what there is."""
    driver = pretend(monkeypatch)
    solver = Solver(lorenz, **F32)
    solver.solve(SPAN, Y0, args=(RHO,))
    assert driver.moved["allocate"] == 2
    held = driver.allocated_bytes
    assert held == 2 * MIB
    solver.solve(SPAN, Y0, args=(RHO[::-1].copy(),))
    assert driver.moved["allocate"] == 2
    solver.solve(SPAN, Y0, args=(np.resize(RHO, 60 * N_RUNS),))
    assert driver.moved["allocate"] == 3
    assert driver.allocated_bytes > held


def test_memory_is_given_back(monkeypatch):
    """By `close`, and when nothing refers to the device's kernels any more."""
    driver = pretend(monkeypatch)
    solver = Solver(lorenz, **F32)
    solver.solve(SPAN, Y0, args=(RHO,))
    solver.close()
    assert driver.allocated_bytes == 0
    solver.solve(SPAN, Y0, args=(RHO,))
    assert driver.allocated_bytes > 0
    del driver.workspaces
    monkeypatch.undo()
    del solver
    gc.collect()
    assert driver.allocated_bytes == 0


def test_kept_memory_is_bounded(monkeypatch):
    """What is more than a quarter of the device's memory goes back after the solve."""
    driver = pretend(monkeypatch)
    driver.pretend(total_bytes=8 * MIB)
    solver = Solver(lorenz, **F32)
    solver.solve(SPAN, Y0, args=(np.resize(RHO, 60 * N_RUNS),))
    assert driver.allocated_bytes <= 2 * MIB


@pytest.mark.parametrize("kind", ["final", "times", "steps", "one"])
def test_results_are_those_of_the_host(monkeypatch, on_host, kind):
    """Bit for bit, whatever is saved; work on the device is done as late as it may be."""
    driver = pretend(monkeypatch)
    solver = Solver(lorenz, **F64)
    times = TIMES if kind == "times" else None
    options = {"save": "steps"} if kind == "steps" else {}
    args = (28.0,) if kind == "one" else (RHO,)
    for _ in range(2):  # again in memory that holds what came before
        same(solver.solve(SPAN, Y0, times, args=args, **options), on_host[kind])
    assert driver.moved["launch"] >= 2


def test_points_that_a_run_does_not_reach_are_nan(monkeypatch):
    """Though nothing of the outputs is copied up."""
    driver = pretend(monkeypatch)
    rates = np.array([0.1, 50.0, 0.2])
    solver = Solver(lambda t, y, rate: [rate * y[0] * y[0]], **F64)
    for _ in range(2):
        result = solver.solve((0.0, 1.0), [1.0], [0.0, 0.5, 1.0], args=(rates,))
        assert list(result.success) == [True, False, True]
        assert np.isnan(result.y[1, 0, 1:]).all()
        assert np.isfinite(result.y[[0, 2]]).all()
    assert driver.moved["filled"] > 0


def test_a_single_run_copies_only_the_points_it_has(monkeypatch):
    """There is room for a thousand."""
    driver = pretend(monkeypatch)
    result = Solver(lorenz, **F64).solve(SPAN, Y0, args=(28.0,))
    assert driver.moved["down"] < 1024 + 4 * 8 * result.t.size


def test_time_on_the_device_is_told_apart(monkeypatch):
    """By its own clock, as `kernel_seconds`; `solve_seconds` is the whole."""
    driver = pretend(monkeypatch)
    driver.seconds_of_launch = lambda n_runs: 0.125
    result = Solver(lorenz, **F64).solve(SPAN, Y0, args=(RHO,))
    assert result.kernel_seconds == 0.125
    assert result.solve_seconds > 0


# ---- portions -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["final", "times", "steps"])
def test_portions_give_what_one_launch_gives(monkeypatch, on_host, kind):
    """On a device that holds a few hundred runs at a time, bit for bit."""
    driver = pretend(monkeypatch)
    driver.pretend(total_bytes=30_000 if kind == "final" else 100_000)
    solver = Solver(lorenz, **F64)
    options = {"save": "steps"} if kind == "steps" else {}
    result = solver.solve(SPAN, Y0, TIMES if kind == "times" else None, args=(RHO,), **options)
    same(result, on_host[kind])
    assert len(driver.launched) > 3
    assert driver.allocated_bytes <= driver.facts.total_bytes


def test_a_card_of_one_gibibyte_solves_what_takes_more(monkeypatch):
    """A batch whose outputs alone exceed the card's free memory, with other programs on it."""
    n_runs = 50_000
    args = (np.resize(RHO, n_runs),)
    times = np.linspace(0.0, 0.5, 41)
    expected = Solver(lorenz, backend="cpu", lanes=8, **F64).solve(SPAN, Y0, times, args=args)
    driver = pretend(monkeypatch)
    driver.pretend(total_bytes=2**30)
    driver.others_bytes = 2**30 - 32 * MIB
    result = Solver(lorenz, **F64).solve(SPAN, Y0, times, args=args)
    same(result, expected)
    assert result.y.nbytes > 32 * MIB
    assert len(driver.launched) > 1
    assert sum(driver.launched) == n_runs


def test_inputs_of_each_run_are_divided(monkeypatch):
    """Starts, parameters, breakpoints and samples of inputs go with their runs."""
    from cubie import Interpolant

    y0 = np.random.default_rng(1).normal(size=(N_RUNS, 2))
    samples = np.random.default_rng(2).normal(size=(N_RUNS, 5))
    u = Interpolant(np.linspace(0.0, 0.5, 5), samples)
    breakpoints = np.linspace(0.1, 0.4, N_RUNS)[:, None]
    options = {**F64, "breakpoints": breakpoints}

    def driven(t, y, u, rate):
        return [-rate * y[0] + u(t), y[0] - y[1]]

    expected = Solver(driven, backend="cpu", lanes=8, **options).solve(SPAN, y0, args=(u, RHO))
    driver = pretend(monkeypatch)
    driver.pretend(total_bytes=200_000)
    same(Solver(driven, **options).solve(SPAN, y0, args=(u, RHO)), expected)
    assert len(driver.launched) > 3


def test_launches_are_short_where_a_display_waits(monkeypatch, on_host):
    """A watchdog ends what takes seconds: the batch is divided by what launches took."""
    driver = pretend(monkeypatch, has_watchdog=True, threads_per_multiprocessor=64)
    driver.seconds_of_launch = lambda n_runs: n_runs * 1e-3
    result = Solver(lorenz, **F64).solve(SPAN, Y0, args=(RHO,))
    same(result, on_host["final"])
    assert driver.launched[0] == 64
    assert max(driver.launched) <= 250  # a quarter of a second
    assert result.kernel_seconds == pytest.approx(1.0)


def test_launches_of_few_runs_are_not_divided_in_vain(monkeypatch, on_host):
    """A run that takes long by itself takes as long with others beside it."""
    driver = pretend(monkeypatch, has_watchdog=True, threads_per_multiprocessor=256)
    driver.seconds_of_launch = lambda n_runs: 1.0
    same(Solver(lorenz, **F64).solve(SPAN, Y0, args=(RHO,)), on_host["final"])
    assert min(driver.launched[:-1]) == driver.facts.multiprocessors * RUNS_OF_SCHEDULERS


def test_pieces_hold_every_byte_once():
    """Whatever the shapes: rows, parts of rows, and small arrays together."""
    rng = np.random.default_rng(0)
    whole = rng.integers(0, 255, 10_000).astype(np.uint8)
    arrays = [whole[:1], whole[10:3000], whole.reshape(50, 200)[:, 3:150], whole[:0], whole[:700]]
    segments, at = [], 0
    for array in arrays:
        segments.append(Segment(at, array))
        at += -(-array.nbytes // 64) * 64
    for most in (64, 150, 1000, 4096, 100_000):
        found = np.zeros(at, np.uint8)
        times = np.zeros(at, int)
        for piece in pieces_of(segments, most):
            assert piece.n_bytes <= most
            for offset, rows in piece.rows:
                assert piece.start <= offset
                assert offset + rows.nbytes <= piece.start + piece.n_bytes
                found[offset : offset + rows.nbytes] = rows.reshape(-1)
                times[offset : offset + rows.nbytes] += 1
        for offset, array in segments:
            part = slice(offset, offset + array.nbytes)
            np.testing.assert_array_equal(found[part], array.reshape(-1))
            assert (times[part] == 1).all()


# ---- faults ------------------------------------------------------------------------


def solved_with(monkeypatch, method, fault, after=0, times=1):
    driver = pretend(monkeypatch)
    solver = Solver(lorenz, **F64)
    driver.fail(method, fault, after, times)
    return driver, solver


@pytest.mark.parametrize("method", ["allocate", "launch", "allocate_staging"])
@pytest.mark.parametrize("after", [0, 1])
def test_out_of_memory_is_answered_by_smaller_portions(monkeypatch, on_host, method, after):
    """Another program may take the memory between a look at it and its use."""
    driver, solver = solved_with(monkeypatch, method, Fault.OUT_OF_MEMORY, after, times=2)
    same(solver.solve(SPAN, Y0, args=(RHO,)), on_host["final"])
    # A block is asked for twice, the second time without what it would grow by.
    divided = method == "allocate_staging" or (method, after) == ("launch", 0)
    assert driver.launched[-1] == (N_RUNS / 2 if divided else N_RUNS)


def test_too_little_memory_for_a_single_run_is_told(monkeypatch):
    """With what is needed, what there is, and what to do."""
    driver = pretend(monkeypatch)
    driver.others_bytes = driver.facts.total_bytes - 100
    with pytest.raises(DeviceOutOfMemory, match=r"A single run .* pretended, which has 100 B") as e:
        Solver(lorenz, **F64).solve(SPAN, Y0, args=(RHO,))
    assert e.value.free_bytes == 100
    assert e.value.n_bytes > 100
    assert isinstance(e.value, MemoryError)
    driver.others_bytes = 0
    assert Solver(lorenz, **F64).solve(SPAN, Y0, args=(RHO,)).success.all()


@pytest.mark.parametrize(
    ("fault", "error", "told"),
    [
        (
            Fault.TIMEOUT,
            LaunchTimedOut,
            "watchdog ended.*`time_slices=True`.*`t_span`.*another one",
        ),
        (Fault.LOST, DeviceLost, "pretended was lost while it solved.*start another one"),
        (Fault.TOO_LARGE, LaunchTooLarge, "64 runs .* cannot be launched.*smaller block_size"),
        (Fault.OTHER, CubieError, "reports PRETENDED_OTHER"),
    ],
)
@pytest.mark.parametrize("method", ["launch", "copy_up", "copy_down", "wait"])
def test_each_fault_is_an_error_that_says_what_to_do(monkeypatch, fault, error, told, method):
    """Wherever the driver reports it; with what the driver called it."""
    _, solver = solved_with(monkeypatch, method, fault)
    with pytest.raises(error, match=told) as caught:
        solver.solve(SPAN, Y0, args=(RHO,))
    assert f"PRETENDED_{fault.name}" in str(caught.value)
    assert solver.solve(SPAN, Y0, args=(RHO,)).success.all()  # of a device that came back


def test_an_interrupted_solve_keeps_the_portions_that_are_over(monkeypatch, on_host):
    """Ctrl-C between two portions: runs that are not over say so."""
    driver = pretend(monkeypatch)
    driver.pretend(total_bytes=20_000)
    launch, count = driver.launch, []

    def interrupted(*args):
        count.append(1)
        if len(count) == 5:
            raise KeyboardInterrupt
        return launch(*args)

    driver.launch = interrupted
    with pytest.raises(KeyboardInterrupt) as caught:
        Solver(lorenz, **F64).solve(SPAN, Y0, args=(RHO,))
    result = caught.value.result
    over = np.flatnonzero(result.status == 0)
    assert 0 < len(over) < N_RUNS
    np.testing.assert_array_equal(result.y[over], on_host["final"].y[over])
    assert np.isnan(result.y[len(over) :]).all()


# ---- arrays on the device -------------------------------------------------------------


@pytest.fixture
def few(monkeypatch):
    """A device that takes arrays however they lie; a few runs."""
    driver = pretend(monkeypatch, PretendedPython)
    return driver, Solver(lorenz, **F64)


RUNS = 7
STARTS = np.random.default_rng(3).normal(size=(RUNS, 3))


@pytest.mark.parametrize("layout", ["C", "F", "strided"])
def test_starts_on_the_device_are_used_where_they_lie(few, layout):
    """Whatever their strides; nothing of them is copied."""
    driver, solver = few
    starts = np.asarray(STARTS, order="F" if layout == "F" else "C")
    if layout == "strided":
        wide = np.zeros((2 * RUNS, 5))
        wide[::2, 1:4] = starts
        starts = wide[::2, 1:4]
    expected = solver.solve(SPAN, STARTS, args=(RHO[:RUNS],))
    up = driver.moved["up"]
    found = solver.solve(SPAN, OnPretended(starts), args=(RHO[:RUNS],))
    same(found, expected)
    assert driver.moved["up"] - up == up - STARTS.nbytes - (-STARTS.nbytes % 64) + 64 * 0


@pytest.mark.parametrize("total_bytes", [2**30, 1400])
def test_parameters_on_the_device_are_used_where_they_lie(few, total_bytes):
    """Beside those of the host, in portions as in one launch."""
    driver, _ = few

    def rhs(t, y, a, b, c):
        return [a * y[0] - b[0] * y[1], c["k"] * y[1] + b[1]]

    solver = Solver(rhs, **F64)
    a, k = RHO[:RUNS] / 30, np.linspace(-1.0, 0.0, RUNS)
    b = np.random.default_rng(4).normal(size=(RUNS, 2))
    y0 = np.random.default_rng(5).normal(size=(RUNS, 2))
    expected = solver.solve(SPAN, y0, args=(a, b, {"k": k}))
    driver.launched.clear()
    driver.pretend(total_bytes=total_bytes)
    solver.close()
    args = (OnPretended(a), OnPretended(np.asfortranarray(b)), {"k": k})
    same(solver.solve(SPAN, OnPretended(y0), args=args), expected)
    args = (a, OnPretended(b[::1]), {"k": OnPretended(k)})
    same(solver.solve(SPAN, y0, args=args), expected)
    assert (len(driver.launched) > 2) == (total_bytes == 1400)


def test_nothing_stands_in_for_what_lies_on_the_device(few):
    """Beside parameters of the host, which are copied, those of the device take no bytes."""
    driver, _ = few
    solver = Solver(lambda t, y, a, b: [a * y[0] - b * y[1], b * y[0]], **F64)
    a, b, y0 = RHO[:40] / 30, np.linspace(0, 1, 40), [1.0, 0.5]
    expected, up = solver.solve(SPAN, y0, args=(a, b)), []
    for args in ((a, b), (a, OnPretended(b)), (OnPretended(a), OnPretended(b))):
        driver.moved.clear()
        same(solver.solve(SPAN, y0, args=args), expected)
        up.append(driver.moved["up"])
    assert up[0] > up[1] > up[2]


def test_starts_that_are_one_array_seen_often_are_like_others(monkeypatch):
    """A broadcast start, and then one of each run, of the same shape."""
    pretend(monkeypatch)
    solver = Solver(lorenz, **F64)
    rho = RHO[:RUNS]
    for start in (np.broadcast_to(np.array(Y0), (RUNS, 3)), STARTS, np.tile(Y0, (RUNS, 1))):
        alone = [solver.solve(SPAN, start[i], args=(rho[i],)).y[:, -1] for i in range(RUNS)]
        for _ in range(2):
            found = solver.solve(SPAN, start, args=(rho,))
            np.testing.assert_array_equal(found.y[:, :, -1], alone)


def test_arrays_come_by_dlpack_too(few):
    """From a library that has no other protocol."""
    driver, solver = few
    device = exchange.DeviceArray(
        driver, STARTS.ctypes.data, STARTS.shape, STARTS.dtype, STARTS.strides, STARTS
    )

    class OnlyDLPack:
        def __dlpack__(self, **options):
            return device.__dlpack__(**options)

        def __dlpack_device__(self):
            return device.__dlpack_device__()

    expected = solver.solve(SPAN, STARTS, args=(RHO[:RUNS],))
    same(solver.solve(SPAN, OnlyDLPack(), args=(RHO[:RUNS],)), expected)


@pytest.mark.parametrize("times", [None, TIMES])
def test_results_can_stay_on_the_device(few, times):
    """`y` has the shape of the host's and others' protocols; the rest is copied when asked for."""
    driver, solver = few
    observed = {"observables": lambda t, y, rho: {"a": y[0] + y[1], "b": y[2]}}
    expected = solver.solve(SPAN, STARTS, times, args=(RHO[:RUNS],), **observed)
    down = driver.moved["down"]
    result = solver.solve(SPAN, STARTS, times, args=(RHO[:RUNS],), on_device=True, **observed)
    assert driver.moved["down"] == down
    assert result.y.shape == expected.y.shape
    np.testing.assert_array_equal(result.y.to_host(), expected.y)
    for name in ("a", "b"):
        one = result.observables[name]
        np.testing.assert_array_equal(one.to_host(), expected.observables[name])
    down = driver.moved["down"]
    same(result, expected, OUTPUTS[1:])
    assert driver.moved["down"] - down < 60 * RUNS + 1024
    further = solver.solve(SPAN, result.y.point(-1), args=(RHO[:RUNS],))
    same(further, solver.solve(SPAN, expected.y[..., -1], args=(RHO[:RUNS],)))
    with pytest.raises(IndexError, match="There is no point 9"):
        result.y.point(9)


def test_memory_of_a_result_lives_as_long_as_what_refers_to_it(few):
    """Later solves do not write to it; it goes with the last array."""
    driver, solver = few
    first = solver.solve(SPAN, STARTS, args=(RHO[:RUNS],), on_device=True)
    y = first.y
    kept = y.to_host()
    solver.solve(SPAN, 2 * STARTS, args=(RHO[:RUNS],), on_device=True)
    np.testing.assert_array_equal(y.to_host(), kept)
    capsule = y.__dlpack__()
    del first, y
    solver.close()
    gc.collect()
    assert driver.allocated_bytes > 0
    del capsule
    gc.collect()
    assert driver.allocated_bytes == 0


def test_what_cannot_be_done_with_arrays_on_the_device_is_refused(few):
    """Each by name, with what to do."""
    _, solver = few
    starts, rho = OnPretended(STARTS), OnPretended(RHO[:RUNS])
    cases = [
        ({"save": "steps"}, starts, (rho,), "`y0` lies on a device, and runs saved at every"),
        ({}, OnPretended(STARTS.astype("f4")), (rho,), r"args\[0\].*runs are float32"),
        ({"dtype": "float32"}, starts, (1.0,), "`y0` .* holds float64, and runs are float32"),
        ({}, OnPretended(STARTS[0]), (rho,), "`y0` has shape .* it must be .n_runs, n_states"),
        ({}, OnPretended(np.arange(6).reshape(2, 3)), (1.0,), "holds int64: give floats"),
    ]
    for options, y0, args, told in cases:
        with pytest.raises(InvalidProblem, match=told):
            solver.solve(SPAN, y0, args=args, **options)
    with pytest.raises(InvalidOption, match=r"`on_device` is True.*give `t_eval`"):
        solver.solve(SPAN, STARTS, args=(1.0,), save="steps", on_device=True)


def test_the_host_takes_no_arrays_of_a_device_and_leaves_none_there():
    """Targets that work in the memory of the host say so."""
    solver = Solver(lorenz, backend="python", **F64)
    with pytest.raises(InvalidProblem, match="backend='python' works in the memory of the host"):
        solver.solve(SPAN, OnPretended(STARTS), args=(1.0,))
    with pytest.raises(InvalidOption, match=r"`on_device` is True.*in the memory of the host"):
        solver.solve(SPAN, STARTS, args=(1.0,), on_device=True)


def test_what_serves_all_runs_is_no_array_of_a_device(few):
    """A vector that a function takes whole: stand-ins for its numbers would be wrong."""
    with pytest.raises(InvalidProblem, match=r"args\[0\]` has shape \(2,\) .* a number for each"):
        Solver(lambda t, y, k: [k[0] * y[0] + k[1]], **F64).solve(
            SPAN, STARTS[:, :1], args=(OnPretended(RHO[:2]),)
        )


def test_equations_take_arrays_of_a_device_by_name(few):
    """As they take those of the host."""
    solver = Solver("dx = -k*x", **F64)
    expected = solver.solve(SPAN, {"x": 1.0}, args={"k": RHO[:RUNS]})
    same(solver.solve(SPAN, {"x": 1.0}, args={"k": OnPretended(RHO[:RUNS])}), expected)
