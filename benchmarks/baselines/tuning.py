"""A baseline is the fastest of several variants of one hand-written loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median

import numpy as np

from benchmarks.specs import Work

# A variant is called so often, and for so long, and judged by its median.
TRIALS = 9
TRIAL_SECONDS = 0.3


class Baseline:
    """Hand-written loops for one work, tuned when made.

    Parameters
    ----------
    work : Work
    variants : mapping of str to callable
        ``run(parameters, out)`` by name (a group width, a way to take powers);
        `out` is (n + 1, n_runs): the final states, then attempted steps.

    Attributes
    ----------
    chosen : str
        The variant with the smallest median time.
    trials : dict
        The median time of each variant, in seconds.
    """

    def __init__(self, work: Work, variants: Mapping[str, Callable]):
        self._parameters = work.parameters
        self._out = np.empty((len(work.y0) + 1, work.n_runs), dtype=work.dtype)
        self._variants = dict(variants)
        self.trials = {name: self._median_seconds(run) for name, run in variants.items()}
        self.chosen = min(self.trials, key=self.trials.__getitem__)

    def _median_seconds(self, run: Callable) -> float:
        run(self._parameters, self._out)
        times: list[float] = []
        begin = time.perf_counter()
        while len(times) < TRIALS or time.perf_counter() - begin < TRIAL_SECONDS:
            start = time.perf_counter()
            run(self._parameters, self._out)
            times.append(time.perf_counter() - start)
        return median(times)

    def __call__(self) -> None:
        self._variants[self.chosen](self._parameters, self._out)

    def final_states(self) -> np.ndarray:
        """Return the final states (n_runs, n) of the latest call."""
        return self._out[:-1].T

    def steps(self) -> int:
        """Return attempted steps of all runs of the latest call."""
        return int(self._out[-1].sum(dtype=np.float64))
