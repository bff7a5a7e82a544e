"""The systems of the suite "sensitivities", in words of an array library: NumPy's or JAX's.

Both have 20 states and as many inputs as are asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

N_STATES = 20
N_REACTIONS = 100
N_RUNS = 32


class Case(NamedTuple):
    """A system with P inputs.

    Attributes
    ----------
    name : str
    t_end : float
    y0 : ndarray (20,)
    parameters : ndarray (n_runs, P)
    rtol, atol : float
    """

    name: str
    t_end: float
    y0: np.ndarray
    parameters: np.ndarray
    rtol: float = 1e-6
    atol: float = 1e-9


def case(name: str, n_inputs: int, n_runs: int = N_RUNS) -> Case:
    """Return a system of `NAMES` with its runs."""
    drawn = np.random.RandomState(7).uniform(-1.0, 1.0, (n_runs, N_REACTIONS))[:, :n_inputs]
    if name == "forced ring":
        y0 = 1.0 + np.sin(np.arange(N_STATES))
        return Case(name, 2.0, y0, 0.5 * drawn)
    y0 = 0.5 + 0.5 * np.cos(np.arange(N_STATES)) ** 2
    return Case(name, 10.0, y0, rates()[:n_inputs] * 1.2**drawn)


def forced_ring(xp: Any, n_inputs: int) -> Callable:
    """Return Lorenz's 96th model, forced by harmonics whose amplitudes are the inputs."""

    def fun(t, y, p):
        amplitudes = [p[k] * xp.cos(float(k // N_STATES) * t) for k in range(n_inputs)]
        rows = []
        for i in range(N_STATES):
            row = (y[(i + 1) % N_STATES] - y[i - 2]) * y[i - 1] - y[i] + 8.0
            for k in range(i, n_inputs, N_STATES):
                row = row + amplitudes[k]
            rows.append(row)
        return rows

    return fun


def reactions() -> np.ndarray:
    """Return of each of 100 reactions which two species meet, and which two they turn to."""
    drawn, found = np.random.RandomState(3), []
    while len(found) < N_REACTIONS:
        found.append(drawn.choice(N_STATES, 4, replace=False))
    return np.array(found)


def rates() -> np.ndarray:
    """Return the rates of the reactions, which span seven decades."""
    return 10.0 ** np.random.RandomState(5).uniform(-3.0, 4.0, N_REACTIONS)


def network(xp: Any, n_inputs: int) -> Callable:
    """Return mass action of reactions of two species; the first rates are inputs."""
    who, known = reactions(), rates()

    def fun(t, y, p):
        rows = [0.0 * y[i] for i in range(N_STATES)]
        for k, (a, b, c, d) in enumerate(who):
            flow = (p[k] if k < n_inputs else float(known[k])) * y[a] * y[b]
            for i in (a, b):
                rows[i] = rows[i] - flow
            for i in (c, d):
                rows[i] = rows[i] + flow
        return rows

    return fun


SYSTEMS = {"forced ring": forced_ring, "reactions": network}
NAMES = tuple(SYSTEMS)
STIFF = ("reactions",)
