"""Threads that take further runs: they leave the loop over steps in the middle of a run.

On a GPU that depends on the other threads of a warp. Here it is thrown, for the interpreter, which
poisons what no buffer owns: whatever a thread leaves, it must find when it comes back.
"""

import random

import numpy as np
import pytest

from cubie import Solver
from cubie.backend.bundles import Memory
from cubie.backend.interpreted.python import PythonBackend, PythonKernel, Space
from tests.cubie.test_launch import F64, lorenz, same

RUNS, THREADS = 9, 4
RHO = np.linspace(15.0, 35.0, RUNS)
SPAN, TIMES = (0.0, 0.3), [0.0, 0.1, 0.11, 0.3]


class Thread:
    """What a thread keeps of its queue."""

    def __init__(self, run):
        self.run, self.steps, self.thrown = run, 0, random.Random(run)


class LeavingKernel(PythonKernel):
    """A few threads for all runs, one after the other."""

    def __call__(self, n_runs, inputs, outputs, block_size):
        with np.errstate(all="ignore"):
            for thread in range(min(THREADS, n_runs)):
                shared = Space.poisoned(self._memory.shared_stride)
                persistent = Space.poisoned(self._memory.persistent_bytes)
                in_global = Space.poisoned(self._memory.global_bytes)
                memory = Memory(shared, persistent, in_global)
                self._loop(memory, Thread(thread), n_runs, inputs, outputs)


class LeavingBackend(PythonBackend):
    """Threads go on for a step, and then as long as chance wills."""

    left, runs_go_unjudged = 0, True

    def first_runs(self):
        return lambda thread: thread.run

    def more_runs(self):
        def more(thread, free, run, n_runs):
            thread.steps = 0
            return run + THREADS if free else run

        return more

    def keep_going(self, together=False):
        def going(thread, active, beyond):
            thread.steps += 1
            leaves = thread.steps > 1 and thread.thrown.random() < 0.4
            LeavingBackend.left += bool(active) and leaves
            return bool(active) and not leaves

        return going

    def kernel(self, make_loop, memory, digest, *registers):
        return LeavingKernel(make_loop(), memory)


@pytest.mark.parametrize("kind", ["final", "times", "steps"])
@pytest.mark.parametrize("method", ["tsit5", "rk4", "rodas5p", "kvaerno5", "radau_iia_5"])
def test_runs_that_are_left_and_taken_up_again_are_what_they_are(monkeypatch, method, kind):
    """The same bits as in one go, whatever method and whatever is saved."""
    options = {**F64, "method": method, "backend": "python"}
    if method == "rk4":
        options["first_step"] = 0.02
    arguments = (SPAN, [1.0, 0.0, 0.0], TIMES if kind == "times" else None)
    more = {"save": "steps"} if kind == "steps" else {}
    expected = Solver(lorenz, **options).solve(*arguments, args=(RHO,), **more)
    monkeypatch.setattr(
        "cubie.settings.make_backend",
        lambda name, dtype, fastmath, *args, **options: LeavingBackend(dtype, fastmath),
    )
    LeavingBackend.left = 0
    found = Solver(lorenz, **options).solve(*arguments, args=(RHO,), **more)
    # Fixed steps up to the end, which nobody looks at, may be one attempt.
    assert LeavingBackend.left > 0 or method == "rk4"
    same(found, expected)


def test_a_run_that_failed_stays_failed(monkeypatch):
    """Its thread goes on with others; nothing is attempted for it any more."""
    options = {**F64, "backend": "python", "max_steps": 12}
    rates = np.array([0.1, 50.0, 0.2, 0.3, 60.0, 0.1, 0.2, 70.0, 0.3])

    def growth(t, y, rate):
        return [rate * y[0] * y[0]]

    expected = Solver(growth, **options).solve((0.0, 1.0), [1.0], args=(rates,))
    assert set(expected.status) > {0}
    monkeypatch.setattr(
        "cubie.settings.make_backend",
        lambda name, dtype, fastmath, *args, **options: LeavingBackend(dtype, fastmath),
    )
    same(Solver(growth, **options).solve((0.0, 1.0), [1.0], args=(rates,)), expected)
