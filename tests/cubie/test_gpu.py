"""What only a GPU can show: launches, results against the CPU target, large shared memory.

Run with ``python -m pytest -m gpu``; skipped where there is no GPU.
"""

import numpy as np
import pytest

from cubie import Solver, solve_ivp
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


def test_one_bad_run_harms_no_other_on_the_gpu():
    """A run that blows up ends with its own status; the others succeed."""

    def growth(t, y, rate):
        return [rate * y[0] * y[0]]

    rates = np.array([0.1, 0.2, 50.0, 0.3])
    result = solve_ivp(growth, (0, 1), [1.0], args=(rates,), backend="cuda")
    assert list(result.success) == [True, True, False, True]
