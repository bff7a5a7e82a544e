"""What only a GPU can show: launches, results against the CPU target, large shared memory.

Run with ``python -m pytest -m gpu``; skipped where there is no GPU.
"""

import numpy as np
import pytest

from cubie import NoDevice, Solver, UntracedWarning, solve_ivp
from cubie.backend.machine import cuda_is_available, cuda_is_simulated

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        cuda_is_simulated() or not cuda_is_available(), reason="needs an NVIDIA GPU"
    ),
]

RHO = np.linspace(0.0, 21.0, 1003)
TOLERANCES = {"rtol": 1e-8, "atol": 1e-10, "fastmath": False}


def lorenz(t, y, rho):
    return [10.0 * (y[1] - y[0]), y[0] * (rho - y[2]) - y[1], y[0] * y[1] - 8.0 / 3.0 * y[2]]


def lorenz96(t, y, force):
    n = len(y)
    return [(y[(i + 1) % n] - y[i - 2]) * y[i - 1] - y[i] + force for i in range(n)]


@pytest.fixture(scope="module")
def on_cpu():
    return solve_ivp(lorenz, (0, 2), [1, 0, 0], args=(RHO,), backend="cpu", **TOLERANCES)


@pytest.mark.parametrize("locations", ["local", "shared", "auto"])
def test_gpu_agrees_with_the_cpu_to_the_tolerance(on_cpu, locations):
    """A launched kernel gives the CPU target's states, wherever its buffers live."""
    options = {**TOLERANCES, "backend": "cuda", "locations": locations}
    result = solve_ivp(lorenz, (0, 2), [1, 0, 0], args=(RHO,), **options)
    assert result.success.all()
    np.testing.assert_allclose(result.y, on_cpu.y, rtol=1e-6, atol=1e-8)


def test_placements_change_no_step_on_the_gpu():
    """The same steps are taken with all buffers local and all shared."""
    solver = Solver(lorenz, backend="cuda", **TOLERANCES)
    local, shared = (
        solver.solve((0, 2), [1, 0, 0], args=(RHO,), locations=where)
        for where in ("local", "shared")
    )
    np.testing.assert_array_equal(local.n_steps, shared.n_steps)
    np.testing.assert_allclose(local.y, shared.y, rtol=1e-12, atol=1e-12)


def test_save_times_land_on_the_gpu(on_cpu):
    """Saved points of every run are there, and the last one is the end."""
    times = np.linspace(0, 2, 11)
    result = solve_ivp(lorenz, (0, 2), [1, 0, 0], "tsit5", times, args=(RHO,), backend="cuda")
    assert result.y.shape == (len(RHO), 3, 11)
    assert np.isfinite(result.y).all()


def test_more_than_48_kib_of_dynamic_shared_memory_is_granted():
    """A block that asks for more than the default limit launches and solves."""
    y0 = 8.0 + 2.0 * np.sin(np.arange(40))
    force = np.linspace(7, 9, 100)
    options = {"args": (force,), "backend": "cuda", "rtol": 1e-6, "atol": 1e-8}
    result = solve_ivp(lorenz96, (0, 1), y0, locations="shared", block_size=24, **options)
    assert result.plan.shared_bytes_per_block > 48 * 1024
    local = solve_ivp(lorenz96, (0, 1), y0, locations="local", **options)
    np.testing.assert_allclose(result.y, local.y, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", ["tsit5", "rk4", "kvaerno5", "bdf"])
def test_launches_that_end_in_the_middle_of_runs(method, monkeypatch):
    """What one leaves the next one finds: the same bits after many launches as after one."""
    options = {**TOLERANCES, "backend": "cuda", "method": method, "fastmath": False}
    if method == "rk4":
        options |= {"first_step": 1e-3, "locations": "shared"}
    monkeypatch.setattr("cubie.backend.device.slices.LAUNCH_SECONDS", 1e-9)
    results = []
    for attempts in (2**28, 1):
        monkeypatch.setattr("cubie.backend.device.slices.FIRST_ATTEMPTS", attempts)
        solver = Solver(lorenz, time_slices=True, **options)
        results.append(solver.solve((0, 2), [1, 0, 0], args=(RHO,)))
    whole, found = results
    np.testing.assert_array_equal(found.n_steps, whole.n_steps)
    np.testing.assert_array_equal(found.y, whole.y)
    usual = Solver(lorenz, **options).solve((0, 2), [1, 0, 0], args=(RHO,))
    np.testing.assert_array_equal(found.status, usual.status)
    np.testing.assert_allclose(found.y, usual.y, rtol=1e-6, atol=1e-8)


def test_one_bad_run_harms_no_other_on_the_gpu():
    """A run that blows up ends with its own status; the others succeed."""

    def growth(t, y, rate):
        return [rate * y[0] * y[0]]

    rates = np.array([0.1, 0.2, 50.0, 0.3])
    result = solve_ivp(growth, (0, 1), [1.0], args=(rates,), backend="cuda")
    assert list(result.success) == [True, True, False, True]


# ---- every family, dtype and kind of output -----------------------------------------

METHODS = ("tsit5", "dop853", "rk4", "rodas5p", "kvaerno5", "radau_iia_5")


def robertson(t, y, k):
    a, b, c = k * y[0], 1e4 * y[1] * y[2], 3e7 * y[1] * y[1]
    return [b - a, a - b - c, c]


def oscillator(t, y, mu):
    return [y[1], mu * (1.0 - y[0] * y[0]) * y[1] - y[0]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("method", METHODS)
def test_each_family_agrees_with_the_cpu(method, dtype):
    """Explicit, Rosenbrock, diagonally and fully implicit methods, in both precisions."""
    options = {"dtype": dtype, "rtol": 1e-4, "atol": 1e-6, "fastmath": False}
    if method == "rk4":
        options["first_step"] = 0.01
    mu = np.linspace(0.5, 5.0, 300)
    solver = Solver(oscillator, method=method, **options)
    found, expected = (
        solver.solve((0, 3), [2.0, 0.0], args=(mu,), backend=backend) for backend in ("cuda", "cpu")
    )
    assert found.success.all()
    assert found.y.dtype == expected.y.dtype
    np.testing.assert_allclose(found.y, expected.y, rtol=5e-3, atol=5e-3)


def test_a_stiff_system_is_solved():
    """Robertson's, to a time at which only an implicit method gets along."""
    k = np.logspace(-2, -1, 100)
    options = {"method": "rodas5p", "rtol": 1e-6, "atol": 1e-9}
    found, expected = (
        solve_ivp(robertson, (0, 1e3), [1.0, 0, 0], args=(k,), backend=backend, **options)
        for backend in ("cuda", "cpu")
    )
    assert found.success.all()
    np.testing.assert_allclose(found.y, expected.y, rtol=1e-4, atol=1e-8)


def test_every_step_is_saved():
    """Of a batch and of one run, with as many points as steps were taken."""
    options = {"backend": "cuda", "save": "steps", **TOLERANCES}
    batch = solve_ivp(lorenz, (0, 2), [1, 0, 0], args=(RHO[:50],), **options)
    assert [len(t) for t in batch.t] == list(batch.n_steps + 1)
    one = solve_ivp(lorenz, (0, 2), [1, 0, 0], args=(float(RHO[7]),), **options)
    np.testing.assert_array_equal(one.y, batch.y[7])


def test_points_that_are_not_reached_are_nan():
    """The device writes them; nothing of the outputs is copied there."""

    def growth(t, y, rate):
        return [rate * y[0] * y[0]]

    rates = np.array([0.1, 50.0, 0.3])
    result = solve_ivp(growth, (0, 1), [1.0], "tsit5", [0, 0.5, 1], args=(rates,), backend="cuda")
    assert np.isnan(result.y[1, 0, 1:]).all()
    assert np.isfinite(result.y[[0, 2]]).all()


def test_a_function_compiled_as_it_stands():
    """With a loop that tracing cannot follow."""

    def collatz(t, y, k):
        n, steps = int(k), 0
        while n > 1:
            n = n // 2 if n % 2 == 0 else 3 * n + 1
            steps += 1
        return (-y[0] * steps,)

    k = np.arange(1.0, 50.0)
    with pytest.warns(UntracedWarning):
        found = solve_ivp(collatz, (0, 0.1), [1.0], args=(k,), backend="cuda")
    expected = solve_ivp(collatz, (0, 0.1), [1.0], args=(k,), backend="cpu", lanes=1)
    np.testing.assert_allclose(found.y, expected.y, rtol=1e-3)


# ---- launches -----------------------------------------------------------------------


def test_a_large_batch_is_solved_in_portions():
    """More than the 64 MiB from which on copies go on while kernels work; alike to the last bit."""
    n_runs = 2_000_000
    rho = np.linspace(0, 21, n_runs, dtype=np.float32)
    y0 = np.array([1, 0, 0], np.float32)
    options = {"method": "rk4", "first_step": 0.05, "backend": "cuda"}
    solver = Solver(lorenz, **options)
    whole = solver.solve((0, 0.5), y0, args=(rho,))
    assert whole.success.all()
    for part in (slice(0, 1000), slice(n_runs // 2, n_runs // 2 + 1000), slice(-1000, None)):
        alone = solver.solve((0, 0.5), y0, args=(rho[part],))
        np.testing.assert_array_equal(whole.y[part], alone.y)


def test_time_on_the_device_is_less_than_all_of_it():
    """Both are measured, and repeated solves do not compile."""
    solver = Solver(lorenz, backend="cuda", **TOLERANCES)
    for _ in range(3):
        result = solver.solve((0, 2), [1, 0, 0], args=(RHO,))
        assert 0 < result.kernel_seconds <= result.solve_seconds


def test_threads_that_take_further_runs_change_no_result():
    """Runs as differ most, many more than work at once."""
    rho = np.random.default_rng(0).permutation(np.linspace(0, 21, 300_000))
    solver = Solver(lorenz, backend="cuda", **TOLERANCES)
    plain = solver.solve((0, 2), [1, 0, 0], args=(rho,))
    refilled = solver.solve((0, 2), [1, 0, 0], args=(rho,), refill=True)
    np.testing.assert_array_equal(refilled.status, 0)
    np.testing.assert_array_equal(plain.n_steps, refilled.n_steps)
    np.testing.assert_allclose(plain.y, refilled.y, rtol=1e-12, atol=1e-12)


def test_results_stay_on_the_device_and_begin_the_next_solve():
    """Half way, and on from there without a copy."""
    solver = Solver(lorenz, backend="cuda", **TOLERANCES)
    half = solver.solve((0, 1), [1, 0, 0], args=(RHO,), on_device=True)
    assert half.success.all()
    there = solver.solve((1, 2), half.y.point(-1), args=(RHO,))
    here = solver.solve((1, 2), half.y.to_host()[..., -1], args=(RHO,))
    np.testing.assert_array_equal(there.y, here.y)


def test_numba_takes_a_result_without_a_copy():
    """By the array interface, at the same address."""
    from numba import cuda

    result = solve_ivp(lorenz, (0, 1), [1, 0, 0], args=(RHO,), backend="cuda", on_device=True)
    taken = cuda.as_cuda_array(result.y)
    assert taken.__cuda_array_interface__["data"] == result.y.__cuda_array_interface__["data"]
    np.testing.assert_array_equal(taken.copy_to_host(), result.y.to_host())
    parameters = cuda.to_device(RHO)
    again = solve_ivp(lorenz, (0, 1), [1, 0, 0], args=(parameters,), backend="cuda")
    np.testing.assert_array_equal(again.y, result.y.to_host())


def test_kernels_are_found_on_disk():
    """A second solver of the same loads what the first one compiled."""

    def decay(t, y, k):
        return [-k * y[0], -0.71 * y[1]]

    for from_cache in (False, True):
        solver = Solver(decay, backend="cuda")
        assert solver.solve((0, 1), [1.0, 1.0], args=(RHO,)).success.all()
        assert solver.kernel.compiled.compiled_from_cache == from_cache
        solver.close()


def test_another_device_than_the_one_that_is_there_is_not_solved_on():
    """It is planned and compiled for, and the error says which one is there."""
    from cubie.backend.cuda.driver import device_number, facts_of

    facts = facts_of(device_number())
    other = "V100" if facts.capability != (7, 0) else "H100"
    solver = Solver(lorenz, device=other)
    with pytest.raises(NoDevice, match="and here is"):
        solver.solve((0, 1), [1, 0, 0], args=(RHO,))
    assert solver.plan.limits.card.startswith(other)
