"""numbalsoda: LSODA called from a parallel numba loop."""

from __future__ import annotations

import numpy as np
from numba import cfunc, get_num_threads, njit, prange
from numbalsoda import lsoda_sig

from benchmarks.peers.numbalsoda_peer import SOLVERS
from benchmarks.specs import Work
from benchmarks.stiff_specs import ROBERTSON


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


class NumbalsodaRunner:
    """Threads take every so many-th run, so that long runs are shared out."""

    def __init__(self, work: Work, solver):
        rhs = _robertson if work.problem == ROBERTSON else _van_der_pol
        self._parameters = work.parameters
        self._out = np.empty((work.n_runs, len(work.y0)))
        address, y0, span = rhs.address, work.y0, np.array([0.0, work.t_end])
        rtol, atol, threads = work.rtol, work.atol, get_num_threads()

        @njit(parallel=True)
        def run(parameters, out):
            for thread in prange(threads):
                for i in range(thread, parameters.size, threads):
                    parameter = np.array([parameters[i]])
                    solution, _ = solver(
                        address, y0, span, parameter, rtol=rtol, atol=atol, mxstep=1_000_000
                    )
                    out[i] = solution[-1]

        self._run = run

    def __call__(self) -> None:
        self._run(self._parameters, self._out)

    def final_states(self) -> np.ndarray:
        return self._out


def make(work: Work, option: str) -> NumbalsodaRunner:
    return NumbalsodaRunner(work, SOLVERS[option])
