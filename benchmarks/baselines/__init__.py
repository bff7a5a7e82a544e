"""What a person writes by hand in numba: the bar for generated code.

Scalar loops integrate one run after the other; lane loops integrate a group of
runs in lockstep, each with a step size of its own, in one inner loop that the
compiler turns into vector instructions. Both use the step-size control, error
norm, first step, powers and fast-math flags of the generated code.
"""

from __future__ import annotations

from benchmarks.baselines import lorenz96, lorenz_adaptive, lorenz_fixed
from benchmarks.baselines.tuning import Baseline
from benchmarks.specs import LORENZ, Work


def make(work: Work, kind: str) -> Baseline:
    """Return the baseline of a work, of kind "scalar" or "lanes"."""
    if work.problem is not LORENZ:
        return lorenz96.make(work, kind)
    return (lorenz_fixed if work.fixed_steps else lorenz_adaptive).make(work, kind)
