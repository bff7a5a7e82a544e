"""SciPy's solvers, one run after the other, on a sample of the runs."""

from __future__ import annotations

import numpy as np
from scipy.integrate import solve_ivp

from benchmarks.contender import Unavailable
from benchmarks.specs import Work

SAMPLE = 20


class SciPyRunner:
    """`scale` tells by how much the sample's time is to be multiplied."""

    def __init__(self, work: Work, method: str):
        self._work, self._method = work, method
        every = max(1, work.n_runs // SAMPLE)
        self.sample = np.arange(0, work.n_runs, every)
        self.scale = work.n_runs / len(self.sample)
        self._parameters = work.parameters[self.sample].astype(float)
        self._final = np.empty((len(self.sample), len(work.y0)))

    def __call__(self) -> None:
        work = self._work
        for row, parameter in zip(self._final, self._parameters, strict=True):
            solution = solve_ivp(
                work.problem.fun,
                (0.0, work.t_end),
                work.y0,
                method=self._method,
                t_eval=(work.t_end,),
                rtol=work.rtol,
                atol=work.atol,
                args=(parameter,),
            )
            row[:] = solution.y[:, -1]

    def final_states(self) -> np.ndarray:
        full = np.full((self._work.n_runs, self._final.shape[1]), np.nan)
        full[self.sample] = self._final
        return full


def make(work: Work, option: str) -> SciPyRunner:
    if work.fixed_steps:
        raise Unavailable("has no fixed steps")
    if work.dtype != "float64":
        raise Unavailable("computes in float64 only")
    return SciPyRunner(work, option)
