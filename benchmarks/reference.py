"""Reference solutions of sampled runs: SciPy's DOP853 at 1e-12."""

from __future__ import annotations

import numpy as np
from scipy.integrate import solve_ivp

from benchmarks.specs import Work

SAMPLE = 20
TOLERANCE = 1e-12


def sample_of(work: Work) -> list[int]:
    """Return the indices of the runs that are compared, evenly over the sweep."""
    return list(range(0, work.n_runs, max(1, work.n_runs // SAMPLE)))


def reference(work: Work) -> np.ndarray:
    """Return final states (sample, n), for the parameters as the work's dtype holds them."""
    parameters = work.parameters[sample_of(work)].astype(float)
    return np.array([_end(work, parameter) for parameter in parameters])


def _end(work: Work, parameter: float) -> np.ndarray:
    solution = solve_ivp(
        work.problem.fun,
        (0.0, work.t_end),
        work.y0.astype(float),
        method="DOP853",
        rtol=TOLERANCE,
        atol=TOLERANCE,
        args=(parameter,),
    )
    return solution.y[:, -1]


def median_error(states, exact: np.ndarray) -> float:
    """Return the median over runs of the largest error of a component, relative to 1 + |y|.

    Runs a contender did not solve (NaN) do not count; the median is robust against
    runs next to a separatrix, whose error says nothing of the method.
    """
    errors = np.max(np.abs(np.asarray(states) - exact) / (1.0 + np.abs(exact)), axis=1)
    return float(np.nanmedian(errors))
