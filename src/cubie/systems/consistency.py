"""Whether runs of a differential-algebraic system start where its algebraic equations hold.

Where M of M y' = f(t, y) is singular, some combinations of the equations hold no derivative: they
must hold at the start too. A start that misses them is repaired in silence by some methods, and
makes others fail at a step of any size; either way the user should be told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache

import numpy as np
from attrs import frozen

from cubie.backend import SPECIAL, table
from cubie.systems.drivers.calls import plain_rhs
from cubie.systems.drivers.pieces import Pieces
from cubie.systems.system import System
from cubie.systems.tracing.arithmetic import NUMPY_NAMES

# A residual is one of an inconsistent start if it is so many times what it changes by where
# states move within their tolerances.
MARGIN = 100.0
# Units of rounding of the terms of an equation that its residual may be off by.
ROUNDINGS = 1000.0
# Runs that are looked at where the equations are no text that works on arrays.
MOST_CALLED = 100
# Of the singular values of the mass matrix, which are taken for zero.
NEGLIGIBLE = 1e-12


@frozen
class Inconsistency:
    """The run whose start misses an algebraic equation by most.

    Attributes
    ----------
    n_runs : int
        How many runs miss one.
    run, equation : int
        Of the worst; the equation of the largest part in a combination.
    residual, allowed : float
        What is left of it, and what tolerances explain.
    """

    n_runs: int
    run: int
    equation: int
    residual: float
    allowed: float

    @property
    def note(self) -> str:
        """A sentence for the user, with what to do."""
        return (
            f"The start is inconsistent in {self.n_runs} of the runs: in run {self.run} the "
            f"algebraic equation {self.equation} leaves {self.residual:.3g}, where the tolerances "
            f"explain {self.allowed:.3g}. Some methods step onto the equations, others fail at "
            "once; solve them for y0 first, for example with scipy.optimize.root."
        )


def inconsistency(
    system: System,
    t: float | np.ndarray,
    states: np.ndarray,
    parameters: np.ndarray,
    rtol: np.ndarray,
    atol: np.ndarray,
    drivers: Sequence[Pieces] = (),
) -> Inconsistency | None:
    """Look at the start of all runs; None where all algebraic equations hold, or there are none.

    Parameters
    ----------
    system : System
    t : float or ndarray (N,)
    states : ndarray (n, N)
    parameters : ndarray (m, N)
    rtol, atol : ndarray (1,) or (n,), or (N, 1) or (N, n)
    drivers : sequence of Pieces
        What the right-hand side calls; nothing is said where runs have samples, or starts, of their
        own.
    """
    combinations = algebraic_combinations(system.mass)
    if not combinations.size or any(pieces.columns > 1 for pieces in drivers):
        return None
    if drivers and np.ndim(t):
        return None
    evaluate = evaluator(system, drivers)
    states, parameters = states.astype(float), parameters.astype(float)
    some = np.arange(states.shape[1])
    if system.kind != "traced":
        # Called once for each run: a few of many.
        some = np.unique(np.linspace(0, states.shape[1] - 1, MOST_CALLED).astype(int))
        states, parameters, t = states[:, some], parameters[:, some], times_of(t, some)
    with np.errstate(all="ignore"):
        slopes = evaluate(t, states, parameters)
        residual = np.abs(combinations @ slopes)
        allowed = ROUNDINGS * np.finfo(float).eps * (np.abs(combinations) @ np.abs(slopes))
        # Most starts are consistent but for rounding: what tolerances explain is another matter.
        left = np.flatnonzero((residual > allowed).any(axis=0))
        if not left.size:
            return None
        some, residual, allowed = some[left], residual[:, left], allowed[:, left]
        t = times_of(t, left)
        slopes, states, parameters = slopes[:, left], states[:, left], parameters[:, left]
        rtol, atol = (one.reshape(-1, 1) if one.ndim == 1 else one[some].T for one in (rtol, atol))
        tolerance = atol + rtol * np.abs(states)
        for j in range(len(states)):
            moved = states.copy()
            moved[j] += np.broadcast_to(tolerance, states.shape)[j]
            change = np.abs(combinations @ (evaluate(t, moved, parameters) - slopes))
            allowed += MARGIN * np.nan_to_num(change)
        excess = np.where(np.isfinite(residual), residual - allowed, 0.0)
    missed = (excess > 0.0).any(axis=0)
    if not missed.any():
        return None
    row, run = np.unravel_index(np.argmax(excess), excess.shape)
    equation = int(np.argmax(np.abs(combinations[row])))
    leaves, explained = float(residual[row, run]), float(allowed[row, run])
    return Inconsistency(int(missed.sum()), int(some[run]), equation, leaves, explained)


def times_of(t: float | np.ndarray, runs: np.ndarray) -> float | np.ndarray:
    """Return the times of some runs, which all runs may share."""
    return t[runs] if isinstance(t, np.ndarray) else t


@lru_cache(maxsize=64)
def algebraic_combinations(mass: tuple[tuple[float, ...], ...] | None) -> np.ndarray:
    """Return the combinations of equations that hold no derivative, (k, n): a basis of z M = 0."""
    if mass is None:
        return np.zeros((0, 0))
    matrix = np.array(mass)
    # Rows scaled: entries may be capacitances of picofarads beside ones.
    largest = np.abs(matrix).max(axis=1, keepdims=True)
    largest[largest == 0.0] = 1.0
    empty = np.flatnonzero(~matrix.any(axis=1))
    rest = np.flatnonzero(matrix.any(axis=1))
    basis = [np.eye(len(matrix))[i] for i in empty]
    if rest.size:
        left, sizes, _ = np.linalg.svd((matrix / largest)[rest])
        sizes = np.append(sizes, np.zeros(len(rest) - len(sizes)))
        for vector in left.T[sizes <= NEGLIGIBLE * sizes.max()]:
            full = np.zeros(len(matrix))
            full[rest] = vector / largest[rest, 0]
            basis.append(full / np.abs(full).max())
    return np.array(basis).reshape(len(basis), len(matrix))


def evaluator(system: System, drivers: Sequence[Pieces] = ()) -> Callable:
    """Return ``evaluate(t, states, parameters) -> slopes``, of shapes (n, N), (m, N), (n, N)."""
    if system.kind == "traced":
        rhs = plain_rhs(of_arrays(system.source), lambda k, order, x: drivers[k](x, order)[0])

        def all_runs(t, states, parameters):
            slopes = np.empty((system.n_outputs, *states.shape[1:]))
            rhs(t, states, parameters, slopes, 0)
            return slopes

        return all_runs

    def run_by_run(t, states, parameters):
        slopes = np.full(states.shape, np.nan)
        for run in range(states.shape[1]):
            with suppress(Exception):  # a run that cannot start says so by its status
                start = t if np.ndim(t) == 0 else t[run]
                system.rhs(start, states[:, run], parameters[:, run], slopes[:, run], 0)
        return slopes

    return run_by_run


@lru_cache(maxsize=16)
def of_arrays(source: str) -> dict:
    """Return a generated module's namespace, for arrays with one entry a run."""
    skipped = ("from cubie.backend", "import math")
    lines = source.splitlines(keepends=True)
    text = "".join("\n" if line.startswith(skipped) else line for line in lines)
    namespace = {
        "math": _ArrayMath(),
        "select": np.where,
        "minimum": lambda a, b: np.where(a < b, a, b),
        "maximum": lambda a, b: np.where(a > b, a, b),
        "table": table,
    }
    namespace |= {name: np.vectorize(function) for name, function in SPECIAL.items()}
    exec(compile(text, "<generated by cubie>", "exec"), namespace)
    return namespace


class _ArrayMath:
    """Functions of `math` on arrays."""

    def __getattr__(self, name):
        function = getattr(np, NUMPY_NAMES.get(name) or name, None)
        return np.vectorize(SPECIAL[name]) if function is None else function
