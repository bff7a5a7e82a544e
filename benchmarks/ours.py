"""Contender: this package on its CPU target."""

from __future__ import annotations

import numpy as np

import cubie
from benchmarks.contender import Unavailable
from benchmarks.specs import Work


class OurRunner:
    """Solve with a `Solver` that is kept, or with `solve_ivp` each time.

    `kernel_seconds` is the part of the latest call that the compiled kernel took.

    Raises
    ------
    Unavailable
        For another method where the work is steps of a given one.
    """

    def __init__(self, work: Work, entry: str):
        self._work = work
        self._parameters = work.parameters
        self._options = {**work.solver_options(), "backend": "cpu"}
        if entry == "scalar":
            self._options["lanes"] = 1
        if entry == "vern7":
            if work.fixed_steps:
                raise Unavailable(f"the work is steps of {work.method}")
            self._options["method"] = entry
        self._solver = None
        if entry != "solve_ivp":
            self._solver = cubie.Solver(work.problem.fun, **self._options)
        self._result = None

    def __call__(self) -> None:
        work, arguments = self._work, (self._parameters,)
        span = (0.0, work.t_end)
        if self._solver is None:
            self._result = cubie.solve_ivp(
                work.problem.fun, span, work.y0, args=arguments, **self._options
            )
        else:
            self._result = self._solver.solve(span, work.y0, args=arguments)

    @property
    def kernel_seconds(self) -> float:
        return self._result.solve_seconds

    def final_states(self) -> np.ndarray:
        return self._result.y[:, :, -1]

    def steps(self) -> int:
        """Return attempted steps of all runs of the latest call."""
        return int(self._result.n_steps.sum() + self._result.n_rejected.sum())


def make(work: Work, entry: str) -> OurRunner:
    """Return a runner.

    `entry` is "solver", "scalar" (one lane), "vern7" (a method of higher order) or "solve_ivp".
    """
    return OurRunner(work, entry)
