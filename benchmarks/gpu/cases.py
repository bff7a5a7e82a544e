"""What is timed on a GPU: frozen specs, and the tiny ones that a simulated GPU does instead."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen

from benchmarks.registry import by_name
from benchmarks.specs import LORENZ, Problem, Work, lorenz96
from cubie.tableaus import ERKTableau, get_tableau

TIMES = 5  # solves that are timed, after one that compiles


@frozen
class Timing:
    """A work in several sizes.

    Attributes
    ----------
    name : str
    work : Work
        Its number of runs is that of no size.
    sizes : tuple of int
        Numbers of runs.
    simulated_sizes : tuple of int
        Instead of those without a GPU.
    """

    name: str
    work: Work
    sizes: tuple[int, ...] = (262_144, 8_388_608)
    simulated_sizes: tuple[int, ...] = (8, 16)


def solver_options(work: Work) -> dict[str, Any]:
    """Return the options of `cubie.Solver` for a work; fixed steps are not judged."""
    options = {**work.solver_options(), "backend": "cuda"}
    return options | ({"step_controller": "fixed"} if work.fixed_steps else {})


_ONE_UNIT: dict[str, Any] = {"n_runs": 0, "t_end": 1.0, "dtype": "float32"}

LORENZ_TIMINGS = by_name(
    Timing("fixed", Work("lorenz-fixed", LORENZ, **_ONE_UNIT, fixed_steps=1000)),
    Timing("adaptive", Work("lorenz-adaptive", LORENZ, **_ONE_UNIT, rtol=1e-5, atol=1e-5)),
)
SIMULATED_STEPS = 5

PLACEMENTS = ("local", "shared", "auto")
BLOCK_SIZES = (64, 128, 32, 256)
SIMULATED_BLOCK_SIZES = (32, 64)
SWEEP_TIMES = 3
STEPS = {True: 50, False: 20}  # of explicit methods, and of those with systems to solve
FIRST_STEP = 1e-3
# Of the most runs that the card can hold at once: the last wave then weighs little.
WAVES = 4


@frozen
class SweepCase:
    """A kernel that is timed with its buffers in several places, in blocks of several sizes.

    Attributes
    ----------
    method : str
    states : int
        Of Lorenz' ring of 1996.
    dtype : {"float32", "float64"}
    steps : int
        Fixed steps of every run: no run waits for another.
    """

    method: str
    states: int
    dtype: str
    steps: int

    @property
    def name(self) -> str:
        """The method, the states and the dtype, such as "tsit5-40-float32"."""
        return f"{self.method}-{self.states}-{self.dtype}"

    def work(self, runs: int) -> Work:
        """Return the work with so many runs."""
        y0 = tuple(8.0 + 2.0 * np.sin(np.arange(float(self.states))))
        problem = Problem("lorenz96", lorenz96, y0, (7.0, 9.0))
        return Work(
            self.name,
            problem,
            runs,
            t_end=self.steps * FIRST_STEP,
            dtype=self.dtype,
            fixed_steps=self.steps,
            method=self.method,
        )


def sweep_case(name: str, simulated: bool) -> SweepCase:
    """Return the case of a name such as "tsit5-40-float32"; a simulated one takes few steps."""
    method, states, dtype = name.split("-")
    steps = SIMULATED_STEPS if simulated else STEPS[isinstance(get_tableau(method), ERKTableau)]
    return SweepCase(method, int(states), dtype, steps)


SIMULATED_RUNS = 4
