"""The last pivots of a sparse matrix as a dense one: elimination and substitution in plain loops.

What is left of a network, or of a plane, is nearly full long before it ends. There loops need no
tables, and several pivots go through a column at once. Entries lie by columns in the last slots of
a block (`Elimination.with_tail`); each is reduced by the same products in the same order as over
tables, and those of structural zeros change nothing. Signs are those of `cubie.solvers.table_lu`:
of U the negative is kept, and of a pivot the reciprocal.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cubie.backend import Backend
from cubie.solvers.dense_elimination import complex_elimination, real_elimination


def build_tail(backend: Backend, n: int, at: int, below: int | None, losses: Callable) -> Callable:
    """Return ``eliminate(lu, ok, eps, one) -> ok`` of the last `n` pivots.

    Parameters
    ----------
    n : int
    at, below : int
        Where real parts start, and imaginary ones; None for a real block.
    losses : callable
        ``losses(lu, k, terms)`` adds what pivots before the last `n` reduced pivot k of these by.
    """
    if below is None:
        eliminate = backend.device(real_elimination(backend, n, at, losses), inline=False)
    else:
        make = complex_elimination(backend, n, at, below, losses)
        eliminate = backend.device(make, inline=False)
    starts = at, (at if below is None else below)
    n_parts = 1 if below is None else 2

    def eliminate_last(lu, ok, eps, one):
        ok = eliminate(lu, ok, eps, one)
        for part in range(n_parts):
            for k in range(n):
                diagonal = starts[part] + k * n + k
                lu[diagonal] = -lu[diagonal]
        return ok

    return backend.device(eliminate_last)


def build_tail_solves(
    backend: Backend, n: int, at: int, below: int | None, unknowns: np.ndarray, n_states: int
) -> tuple[Callable, Callable]:
    """Return ``forward(lu, x, first)`` and ``backward(lu, x, first)`` of the last `n` unknowns.

    Parameters
    ----------
    unknowns : ndarray of int, (n,)
        Which they are.
    n_states : int
        Imaginary parts of unknowns come so many places behind the real ones.
    """
    unknown = backend.table(unknowns)
    make = (
        _real_passes(n, at, unknown)
        if below is None
        else (_complex_passes(n, at, below, unknown, n_states))
    )
    forward, backward = (backend.device(each, inline=False) for each in make)
    return forward, backward


def _real_passes(n: int, at: int, unknown: Callable) -> tuple[Callable, Callable]:
    def forward(lu, x, first):
        for j in range(n):
            known, column = x[first + unknown(j)], at + j * n
            for i in range(j + 1, n):
                where = first + unknown(i)
                x[where] = x[where] - lu[column + i] * known

    def backward(lu, x, first):
        for step in range(n):
            j = n - 1 - step
            column, where = at + j * n, first + unknown(j)
            known = lu[column + j] * x[where]
            x[where] = known
            for i in range(j):
                where = first + unknown(i)
                x[where] = x[where] + lu[column + i] * known

    return forward, backward


def _complex_passes(
    n: int, at: int, below: int, unknown: Callable, n_states: int
) -> tuple[Callable, Callable]:
    def forward(lu, x, first):
        for j in range(n):
            where, column = first + unknown(j), j * n
            c, d = x[where], x[where + n_states]
            for i in range(j + 1, n):
                where = first + unknown(i)
                a, b = lu[at + column + i], lu[below + column + i]
                x[where] = x[where] - (a * c - b * d)
                x[where + n_states] = x[where + n_states] - (a * d + b * c)

    def backward(lu, x, first):
        for step in range(n):
            j = n - 1 - step
            column, where = j * n, first + unknown(j)
            a, b = lu[at + column + j], lu[below + column + j]
            re, im = x[where], x[where + n_states]
            c, d = a * re - b * im, a * im + b * re
            x[where], x[where + n_states] = c, d
            for i in range(j):
                where = first + unknown(i)
                a, b = lu[at + column + i], lu[below + column + i]
                x[where] = x[where] + (a * c - b * d)
                x[where + n_states] = x[where + n_states] + (a * d + b * c)

    return forward, backward
