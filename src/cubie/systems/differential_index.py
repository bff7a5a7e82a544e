"""Whether algebraic equations determine the states that have no derivative, as index 1 asks.

Where M of M y' = f(t, y) is singular and they do not, as with a pendulum of given length, there are
hidden equations that a start must satisfy too, and that nobody wrote down. Methods are made for
index 1: beyond, some jump onto the hidden equations and some fail at a step of any size.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from cubie.systems.consistency import algebraic_combinations, evaluator, times_of
from cubie.systems.drivers.pieces import Pieces
from cubie.systems.system import System

# Runs that are looked at: what one equation depends on is seldom another in another run.
MOST_RUNS = 4
# How far states are moved, relative to one and their size: an equation depends on a state only
# where none of these leaves it exactly as it was.
MOVES = (1e-3, -1e-3, 0.5, -0.5)

_DETERMINED = lru_cache(maxsize=64)(lambda mass: set())


def note_on_index(
    system: System,
    t: float | np.ndarray,
    states: np.ndarray,
    parameters: np.ndarray,
    drivers: Sequence[Pieces] = (),
) -> str | None:
    """Return a sentence for the user where the index is surely above 1, else None.

    It is where no pairing of algebraic equations with directions in which M is zero exists such
    that each equation depends on its direction. Only exact independence counts, so that a state
    of little influence is never taken for one of none.

    Parameters
    ----------
    system : System
    t : float or ndarray (N,)
    states : ndarray (n, N)
    parameters : ndarray (m, N)
    drivers : sequence of Pieces
        What the right-hand side calls; nothing is said where runs have samples, or starts, of their
        own.
    """
    if system.mass is None or any(pieces.columns > 1 for pieces in drivers):
        return None
    if drivers and np.ndim(t):
        return None
    combinations = algebraic_combinations(system.mass)
    determined = _DETERMINED(system.mass)
    if not combinations.size or system.digest in determined:
        return None
    some = np.unique(np.linspace(0, states.shape[1] - 1, MOST_RUNS).astype(int))
    states, parameters = states[:, some].astype(float), parameters[:, some].astype(float)
    t = times_of(t, some)
    directions = algebraic_combinations(tuple(zip(*system.mass, strict=True)))
    evaluate = evaluator(system, drivers)
    depends = np.zeros((len(combinations), len(directions)), bool)
    with np.errstate(all="ignore"):
        before = combinations @ evaluate(t, states, parameters)
        for j, direction in enumerate(directions):
            for move in MOVES:
                moved = states + move * direction[:, None] * (1.0 + np.abs(states))
                after = combinations @ evaluate(t, moved, parameters)
                depends[:, j] |= (after != before).any(axis=1)  # nan may depend on anything
    left_over = unpaired(depends)
    if left_over is None:
        determined.add(system.digest)
        return None
    equation = int(np.argmax(np.abs(combinations[left_over])))
    return (
        f"The algebraic equations do not determine the states without a derivative (equation "
        f"{equation} is one too many for those that it holds): their index is above 1, which "
        "methods here are not made for. Some jump to values that satisfy equations hidden in "
        "them, whatever y0 has, and some fail at once; differentiate that equation with respect "
        "to time, and insert the others, until a state without a derivative appears in it."
    )


def unpaired(depends: np.ndarray) -> int | None:
    """Return a row that is left over when rows are paired with columns they depend on, or None."""
    partner: dict[int, int] = {}

    def pairs(row: int, seen: set[int]) -> bool:
        for column in np.flatnonzero(depends[row]).tolist():
            if column in seen:
                continue
            seen.add(column)
            if column not in partner or pairs(partner[column], seen):
                partner[column] = row
                return True
        return False

    return next((row for row in range(len(depends)) if not pairs(row, set())), None)
