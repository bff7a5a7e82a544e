"""heyoka: its adaptive Taylor method in SIMD batches, one thread per core."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import heyoka
import numpy as np

from benchmarks.contender import Unavailable
from benchmarks.specs import LORENZ, Work


def _equations(work: Work):
    n = len(work.y0)
    y = heyoka.make_vars(*[f"y{i}" for i in range(n)])
    p = heyoka.par[0]
    if work.problem is LORENZ:
        a, b, c = y
        return [(a, 10.0 * (b - a)), (b, a * (p - c) - b), (c, a * b - 8.0 / 3.0 * c)]
    return [(y[i], (y[(i + 1) % n] - y[i - 2]) * y[i - 1] - y[i] + p) for i in range(n)]


class HeyokaRunner:
    """Each thread integrates its share of the batches with an integrator of its own."""

    def __init__(self, work: Work):
        real = np.dtype(work.dtype).type
        width = heyoka.recommended_simd_size(real)
        n = len(work.y0)
        groups = -(-work.n_runs // width)
        parameters = np.resize(work.parameters, groups * width)
        parameters[work.n_runs :] = work.parameters[-1]
        self._parameters = parameters.reshape(groups, width)
        self._start = np.repeat(work.y0[:, None], width, axis=1)
        self._final = np.empty((groups, n, width), dtype=real)
        self._t_end, self._n_runs, self._zeros = (
            real(work.t_end),
            work.n_runs,
            np.zeros(width, real),
        )
        integrator = heyoka.taylor_adaptive_batch(
            _equations(work),
            self._start,
            tol=real(work.rtol),
            pars=self._parameters[:1],
            fp_type=real,
            compact_mode=n > 10,
        )
        threads = len(os.sched_getaffinity(0))
        self._integrators = [integrator] + [integrator.__copy__() for _ in range(threads - 1)]
        self._pool = ThreadPoolExecutor(threads)

    def _share(self, thread: int) -> None:
        integrator = self._integrators[thread]
        for group in range(thread, len(self._final), len(self._integrators)):
            integrator.set_time(self._zeros)
            integrator.state[:] = self._start
            integrator.pars[:] = self._parameters[group]
            integrator.propagate_until(self._t_end)
            self._final[group] = integrator.state

    def __call__(self) -> None:
        list(self._pool.map(self._share, range(len(self._integrators))))

    def final_states(self) -> np.ndarray:
        n = self._final.shape[1]
        return self._final.transpose(0, 2, 1).reshape(-1, n)[: self._n_runs]


def make(work: Work, option: str) -> HeyokaRunner:
    if work.fixed_steps:
        raise Unavailable("has no Runge-Kutta method")
    return HeyokaRunner(work)
