"""numbalsoda: LSODA and DOP853 called from a parallel numba loop."""

from __future__ import annotations

import numba
import numpy as np
from numba import cfunc, njit, prange
from numbalsoda import dop853, lsoda, lsoda_sig

from benchmarks.contender import Unavailable
from benchmarks.specs import LORENZ96, Work

SOLVERS = {"lsoda": lsoda, "dop853": dop853}
# Van der Pol's slow phases take more than the default of 10,000 steps.
MAX_STEPS = 1_000_000
N_LORENZ96 = len(LORENZ96.y0)


@cfunc(lsoda_sig)
def _lorenz(t, y, dy, p):
    dy[0] = 10.0 * (y[1] - y[0])
    dy[1] = y[0] * (p[0] - y[2]) - y[1]
    dy[2] = y[0] * y[1] - 8.0 / 3.0 * y[2]


@cfunc(lsoda_sig)
def _lorenz96(t, y, dy, p):
    n = N_LORENZ96
    for i in range(n):
        ahead = y[i + 1] if i + 1 < n else y[0]
        behind = y[i - 1] if i > 0 else y[n - 1]
        farther = y[i - 2] if i > 1 else y[n + i - 2]
        dy[i] = (ahead - farther) * behind - y[i] + p[0]


@cfunc(lsoda_sig)
def _robertson(t, y, dy, p):
    slow, fast, back = p[0] * y[0], 3e7 * y[1] * y[1], 1e4 * y[1] * y[2]
    dy[0] = -slow + back
    dy[1] = slow - back - fast
    dy[2] = fast


@cfunc(lsoda_sig)
def _van_der_pol(t, y, dy, p):
    dy[0] = y[1]
    dy[1] = p[0] * (1.0 - y[0] * y[0]) * y[1] - y[0]


SYSTEMS = {
    "lorenz": _lorenz,
    "lorenz96": _lorenz96,
    "robertson": _robertson,
    "van_der_pol": _van_der_pol,
}


class NumbalsodaRunner:
    """Threads take every so many-th run, so that long runs are shared out."""

    def __init__(self, work: Work, solver):
        rhs = SYSTEMS[work.problem.name]
        self._parameters = work.parameters
        self._out = np.empty((work.n_runs, len(work.y0)))
        address, y0, span = rhs.address, work.y0, np.array([0.0, work.t_end])
        rtol, atol, threads = work.rtol, work.atol, numba.get_num_threads()

        @njit(parallel=True)
        def run(parameters, out):
            for thread in prange(threads):
                for i in range(thread, parameters.size, threads):
                    parameter = np.array([parameters[i]])
                    solution, _ = solver(
                        address, y0, span, parameter, rtol=rtol, atol=atol, mxstep=MAX_STEPS
                    )
                    out[i] = solution[-1]

        self._run = run

    def __call__(self) -> None:
        self._run(self._parameters, self._out)

    def final_states(self) -> np.ndarray:
        return self._out


def make(work: Work, option: str) -> NumbalsodaRunner:
    if work.fixed_steps:
        raise Unavailable("has no fixed steps")
    if work.dtype != "float64":
        raise Unavailable("computes in float64 only")
    return NumbalsodaRunner(work, SOLVERS[option])
