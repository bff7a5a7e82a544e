"""The work that is timed: frozen specs, the same for us, the baselines and the peers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from attrs import field, frozen
from attrs.validators import in_, instance_of

from benchmarks.registry import by_name


def lorenz(t, y, rho):
    """Lorenz' system with sigma = 10, beta = 8/3."""
    return [10.0 * (y[1] - y[0]), y[0] * (rho - y[2]) - y[1], y[0] * y[1] - 8.0 / 3.0 * y[2]]


def lorenz96(t, y, forcing):
    """Lorenz' ring of 1996; the number of states is that of the initial state."""
    n = len(y)
    return [(y[(i + 1) % n] - y[i - 2]) * y[i - 1] - y[i] + forcing for i in range(n)]


@frozen
class Problem:
    """A system swept along one parameter.

    Attributes
    ----------
    name : str
    fun : callable
        ``fun(t, y, parameter)``, an ordinary SciPy right-hand side.
    y0 : tuple of float
        The same for every run.
    sweep : (float, float)
        First and last value of the parameter; the runs divide what lies between evenly.
    """

    name: str
    fun: Callable
    y0: tuple[float, ...]
    sweep: tuple[float, float]


LORENZ = Problem("lorenz", lorenz, (1.0, 0.0, 0.0), (0.0, 21.0))
LORENZ96 = Problem("lorenz96", lorenz96, tuple(8.0 + 2.0 * np.sin(np.arange(40.0))), (7.0, 9.0))


@frozen
class Work:
    """One batch to solve: final states only.

    Attributes
    ----------
    name : str
    problem : Problem
    n_runs : int
    t_end : float
    dtype : {"float64", "float32"}
    rtol, atol : float
        Tolerances of adaptive work.
    fixed_steps : int
        Steps of fixed-step work; 0 for adaptive work.
    method : str
        What we and the baselines use; a peer takes its closest.
    """

    name: str
    problem: Problem
    n_runs: int = field(validator=instance_of(int))
    t_end: float
    dtype: str = field(default="float64", validator=in_(("float64", "float32")))
    rtol: float = 1e-6
    atol: float = 1e-8
    fixed_steps: int = 0
    method: str = "tsit5"

    @property
    def y0(self) -> np.ndarray:
        """The initial state (n,), in the dtype of the work."""
        return np.array(self.problem.y0, dtype=self.dtype)

    @property
    def parameters(self) -> np.ndarray:
        """The swept parameter (n_runs,), in the dtype of the work."""
        return np.linspace(*self.problem.sweep, self.n_runs).astype(self.dtype)

    @property
    def step_size(self) -> float:
        """Size of the fixed steps."""
        return self.t_end / self.fixed_steps

    def solver_options(self) -> dict[str, Any]:
        """Return the keyword arguments of `cubie.Solver` for this work."""
        options: dict[str, Any] = {"method": self.method, "dtype": self.dtype}
        if self.fixed_steps:
            return options | {"first_step": self.step_size}
        return options | {"rtol": self.rtol, "atol": self.atol}


def _lorenz(name: str, n_runs: int, **changes: Any) -> Work:
    return Work(name, LORENZ, n_runs, t_end=10.0, **changes)


_SINGLE = {"dtype": "float32", "rtol": 1e-3, "atol": 1e-6}

WORKS = by_name(
    _lorenz("W1", 10_000),
    _lorenz("W1-100", 100),
    _lorenz("W1-f32", 10_000, **_SINGLE),
    _lorenz("W1-f32-100", 100, **_SINGLE),
    _lorenz("W2", 1000, fixed_steps=10_000, method="rk4"),
    Work("W5", LORENZ96, 1000, t_end=2.0),
)
