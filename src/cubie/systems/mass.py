"""Constant mass matrices: M y' = f(t, y), M possibly singular."""

from __future__ import annotations

from typing import Any

import numpy as np

from cubie.errors import InvalidOption

MassEntries = dict[tuple[int, int], float]


def mass_entries(n_states: int, matrix: Any = None) -> MassEntries:
    """Return {(row, column): value} of the entries of a mass matrix that are not zero.

    Parameters
    ----------
    n_states : int
    matrix : array_like (n, n) or (n,), optional
        A vector is a diagonal; None is the identity.

    Raises
    ------
    InvalidOption
        For another shape, or values that are not finite.
    """
    if matrix is None:
        return {(i, i): 1.0 for i in range(n_states)}
    array = np.asarray(matrix, dtype=float)
    if array.ndim == 1:
        array = np.diag(array)
    if array.shape != (n_states, n_states):
        shape = f"an array of shape {np.shape(matrix)}"
        allowed = (f"({n_states}, {n_states})", f"({n_states},)")
        raise InvalidOption("mass_matrix", shape, allowed)
    if not np.isfinite(array).all():
        raise InvalidOption("mass_matrix", "a matrix with inf or nan", advice="Give finite values.")
    rows, columns = np.nonzero(array)
    return {(int(r), int(c)): float(array[r, c]) for r, c in zip(rows, columns, strict=True)}
