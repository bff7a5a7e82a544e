"""What a singular mass matrix leaves free: M y keeps its value where the state jumps, and where the
equations hold no derivative they must hold without one.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from cubie.systems.consistency import NEGLIGIBLE, algebraic_combinations
from cubie.systems.differential_index import unpaired
from cubie.systems.mass import MassEntries

# Entries of projectors, whose size is at most one, that are rounding.
ROUNDING = 1e-13

Mass = tuple[tuple[float, ...], ...]


@lru_cache(maxsize=64)
def null_projectors(mass: Mass) -> tuple[MassEntries, MassEntries]:
    """Return two orthogonal projectors (n, n), as entries that are not zero.

    The first maps a right-hand side onto its algebraic part: that of all z with z M = 0. The second
    maps a change of the state onto the part that M does not see: that of all y with M y = 0.
    """
    matrix = np.array(mass)
    # Rows scaled as in `algebraic_combinations`; that leaves the null space as it is.
    largest = np.abs(matrix).max(axis=1, keepdims=True)
    largest[largest == 0.0] = 1.0
    left, sizes, right = np.linalg.svd(matrix / largest)
    null = sizes <= NEGLIGIBLE * sizes.max()
    rows = (left[:, null] / largest).T
    rows = rows / np.abs(rows).max(axis=1, keepdims=True)
    return _entries(np.linalg.pinv(rows) @ rows), _entries(right[null].T @ right[null])


def _entries(projector: np.ndarray) -> MassEntries:
    whole = np.abs(projector - 1.0) <= ROUNDING
    cleaned = np.where(whole, 1.0, np.where(np.abs(projector) <= ROUNDING, 0.0, projector))
    rows, columns = np.nonzero(cleaned)
    places = zip(rows.tolist(), columns.tolist(), strict=True)
    return {(i, j): float(cleaned[i, j]) for i, j in places}


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
