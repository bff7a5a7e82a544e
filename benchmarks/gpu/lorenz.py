"""Step ``lorenz``: Lorenz' system in single precision by Tsit5, as peers publish it."""

from __future__ import annotations

import argparse

import numpy as np
from attrs import evolve

from benchmarks.gpu.cases import LORENZ_TIMINGS, SIMULATED_STEPS, TIMES, Timing, solver_options
from benchmarks.gpu.device import sm_clock_mhz
from benchmarks.gpu.rows import Rows, run_as_step
from benchmarks.gpu.timing import time_solves
from benchmarks.specs import Work
from cubie import Solver, solve_ivp

SAMPLE = 16  # runs that are compared
REFERENCE = {"method": "dop853", "rtol": 1e-10, "atol": 1e-12, "backend": "python"}


def main(rows: Rows, options: argparse.Namespace) -> None:
    """Time one of the cases in all its sizes, the smallest first."""
    timing = LORENZ_TIMINGS[options.part]
    solver = Solver(timing.work.problem.fun, **solver_options(_scaled(timing, rows.simulated)))
    for runs in timing.simulated_sizes if rows.simulated else timing.sizes:
        work = evolve(_scaled(timing, rows.simulated), n_runs=runs)
        rows.add("lorenz", **measure(solver, timing.name, work, 1 if rows.simulated else TIMES))


def _scaled(timing: Timing, simulated: bool) -> Work:
    """Return the work; a simulated one of fixed steps takes fewer of the same size."""
    work = timing.work
    if not (simulated and work.fixed_steps):
        return work
    return evolve(work, t_end=SIMULATED_STEPS * work.step_size, fixed_steps=SIMULATED_STEPS)


def measure(solver: Solver, case: str, work: Work, repeats: int) -> dict:
    """Solve a work again and again; return a row."""
    span, y0, parameters = (0.0, work.t_end), work.y0, work.parameters
    timed = time_solves(lambda: solver.solve(span, y0, args=(parameters,)), repeats)
    result = timed.result
    attempts = result.n_steps.mean(dtype=float) + result.n_rejected.mean(dtype=float)
    return {
        "case": case,
        "method": work.method,
        "dtype": work.dtype,
        "runs": work.n_runs,
        "t_end": work.t_end,
        "steps": result.n_steps.mean(dtype=float),
        "attempts": attempts,
        "most_attempts": int((result.n_steps + result.n_rejected).max()),
        "block_size": solver.kernel.config.block_size,
        **timed.row(),
        "succeeded": int(np.count_nonzero(result.success)),
        "error": error_of(result, work),
        "clock_mhz": sm_clock_mhz(),
    }


def error_of(result, work: Work) -> float | None:
    """Return the median over some runs of the largest error, relative to 1 + abs(y).

    None where too many of them failed to tell.
    """
    sample = np.linspace(0, work.n_runs - 1, min(SAMPLE, work.n_runs)).astype(int)
    parameters = work.parameters[sample].astype(float)
    exact = solve_ivp(
        work.problem.fun, (0.0, work.t_end), work.y0.astype(float), args=(parameters,), **REFERENCE
    ).y[:, :, -1]
    errors = np.abs(result.y[sample, :, -1] - exact) / (1.0 + np.abs(exact))
    median = float(np.median(errors.max(axis=1)))
    return median if np.isfinite(median) else None


if __name__ == "__main__":
    run_as_step(main, __doc__ or "")
