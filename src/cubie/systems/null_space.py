"""What a singular mass matrix leaves free: M y keeps its value where the state jumps, and where the
equations hold no derivative they must hold without one.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from cubie.systems.consistency import NEGLIGIBLE, algebraic_combinations
from cubie.systems.differential_index import unpaired
from cubie.systems.mass import MassEntries

# Entries of orthogonal projectors, whose size is at most one, that are rounding.
ROUNDING = 1e-13

Mass = tuple[tuple[float, ...], ...]


@lru_cache(maxsize=64)
def null_projectors(mass: Mass) -> tuple[MassEntries, MassEntries]:
    """Return two projectors (n, n), as entries that are not zero.

    The first maps a right-hand side onto its algebraic part: Q M = 0, and z Q = z where z M = 0.
    The second maps a change of the state onto the part that M does not see: M P = 0, and P y = y
    where M y = 0.
    """
    matrix = np.array(mass)
    # Rows scaled as in `algebraic_combinations`; that leaves the null space as it is.
    largest = np.abs(matrix).max(axis=1, keepdims=True)
    largest[largest == 0.0] = 1.0
    left, sizes, right = np.linalg.svd(matrix / largest)
    null = sizes <= NEGLIGIBLE * sizes.max()
    onto_algebraic = largest * _cleaned(left[:, null] @ left[:, null].T) / largest.T
    return _entries(onto_algebraic), _entries(_cleaned(right[null].T @ right[null]))


def _cleaned(projector: np.ndarray) -> np.ndarray:
    whole = np.abs(projector - 1.0) <= ROUNDING
    return np.where(whole, 1.0, np.where(np.abs(projector) <= ROUNDING, 0.0, projector))


def _entries(projector: np.ndarray) -> MassEntries:
    rows, columns = np.nonzero(projector)
    places = zip(rows.tolist(), columns.tolist(), strict=True)
    return {(i, j): float(projector[i, j]) for i, j in places}


def may_have_index_one(mass: Mass, pattern: tuple[tuple[int, int], ...]) -> bool:
    """Tell whether algebraic equations may determine the states without a derivative.

    Parameters
    ----------
    mass : rows of numbers
        Singular.
    pattern : positions
        Of the Jacobian's entries that may differ from zero.
    """
    rows = algebraic_combinations(mass) != 0.0
    columns = algebraic_combinations(tuple(zip(*mass, strict=True))) != 0.0
    may_differ = np.zeros((len(mass), len(mass)), bool)
    for i, j in pattern:
        may_differ[i, j] = True
    return unpaired((rows.astype(int) @ may_differ @ columns.T.astype(int)) > 0) is None
