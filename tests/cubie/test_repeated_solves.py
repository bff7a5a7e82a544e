"""A solver that is used again finds what it prepared before, and nothing that no longer holds."""

import numpy as np
import pytest

from cubie import InvalidProblem, RunStatus, Solver
from cubie.backend.cpu import CPUKernel
from tests.oracle.problems import LORENZ

RHO = np.linspace(15.0, 35.0, 40)


def decay(t, y, rate):
    return [-rate * y[0]]


def end(solver, rate=2.0, t_end=1.0, **changes):
    """Return the final state of one batch of two equal runs."""
    rates = np.full(2, rate)
    return solver.solve((0.0, t_end), [1.0], args=(rates,), **changes)


def test_numbers_of_a_run_are_never_remembered():
    """Another end, initial state or argument gives another result."""
    solver = Solver(decay, backend="python", rtol=1e-8, atol=1e-10)
    for rate, t_end in ((2.0, 1.0), (3.0, 1.0), (3.0, 2.0), (2.0, 1.0)):
        result = end(solver, rate, t_end)
        np.testing.assert_allclose(result.y[:, 0, -1], np.exp(-rate * t_end), rtol=1e-6)
        assert result.t[-1] == t_end


def test_a_change_of_settings_takes_effect_at_once():
    """For one call, or by `update` for all that follow; what is wrong is refused again."""
    solver = Solver(decay, backend="python", rtol=1e-3)
    coarse = end(solver).n_steps[0]
    assert end(solver, rtol=1e-9).n_steps[0] > coarse
    assert end(solver).n_steps[0] == coarse
    solver.update(rtol=1e-9)
    assert end(solver).n_steps[0] > coarse
    solver.update(rtol=-1.0)
    for _ in range(2):
        with pytest.raises(InvalidProblem, match="rtol"):
            end(solver)
    solver.update(rtol=1e-3, max_steps=2)
    assert end(solver).status.tolist() == [RunStatus.TOO_MANY_STEPS] * 2


def test_data_choose_the_dtype_anew_each_time():
    """float32 data select float32 in compiled code as well, and float64 data float64."""
    solver = Solver(decay, backend="cpu", rtol=1e-4, atol=1e-6)
    for dtype in (np.float32, np.float64, np.float32):
        result = solver.solve((0.0, 1.0), np.array([1.0], dtype), args=(np.full(2, 2.0),))
        assert result.y.dtype == dtype
        assert solver.kernel.backend.dtype == dtype
        np.testing.assert_allclose(result.y[:, 0, -1], np.exp(-2.0), rtol=1e-3)


def test_threads_by_the_work_of_the_latest_batch(monkeypatch):
    """A batch that took long is given more threads, a small one a single thread; never more
    than there are groups of runs."""
    monkeypatch.setattr("cubie.backend.cpu.n_threads", lambda: 4)
    solver = Solver(LORENZ.fun, backend="cpu", rtol=1e-6, atol=1e-8, lanes=4, fastmath=False)
    args = (10.0, RHO, 8.0 / 3.0)
    first = solver.solve((0.0, 1.0), [1.0, 0.0, 0.0], args=args)
    kernel = solver.kernel.compiled
    assert isinstance(kernel, CPUKernel)
    kernel._group_seconds = 1.0
    assert kernel._workers(40) == 4
    assert kernel._workers(8) == 2
    again = solver.solve((0.0, 1.0), [1.0, 0.0, 0.0], args=args)
    np.testing.assert_array_equal(again.y, first.y)
    kernel._group_seconds = 1e-9
    assert kernel._workers(40) == 1
