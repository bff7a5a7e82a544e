"""Substitution with the factors of a dense matrix, column after column.

Several columns at once gain nothing: what takes time is reading the factors, once.
"""

from __future__ import annotations

from collections.abc import Callable

from cubie.backend import Backend
from cubie.solvers.contract import Blocks
from cubie.solvers.dense_lu import dense_starts


def build_dense_solves(backend: Backend, blocks: Blocks) -> list[Callable]:
    """Return ``solve(lu, rhs, rhs_at, x, x_at)`` for each block; it may work in place."""
    solves = []
    starts = dense_starts(blocks)
    for k, eigenvalue in enumerate(blocks.eigenvalues):
        make = _complex_solve if eigenvalue.imag else _real_solve
        function = make(blocks.n_states, starts[k], blocks.offsets[k])
        # Copied into every stage, it makes 80 states compile for half a minute instead of 20 s.
        solves.append(backend.one_copy(function, in_memory=True))
    return solves


def _real_solve(n: int, at: int, offset: int) -> Callable:
    def solve(lu, rhs, rhs_at, x, x_at):
        first = x_at + offset
        for i in range(n):
            x[first + i] = rhs[rhs_at + offset + i]
        for j in range(n):
            known = x[first + j]
            for i in range(j + 1, n):
                x[first + i] = x[first + i] - lu[at + j * n + i] * known
        for step in range(n):
            j = n - 1 - step
            known = x[first + j] * lu[at + j * n + j]
            x[first + j] = known
            for i in range(j):
                x[first + i] = x[first + i] - lu[at + j * n + i] * known

    return solve


def _complex_solve(n: int, at: int, offset: int) -> Callable:
    below = at + n * n

    def solve(lu, rhs, rhs_at, x, x_at):
        re, im = x_at + offset, x_at + offset + n
        for i in range(2 * n):
            x[re + i] = rhs[rhs_at + offset + i]
        for j in range(n):
            a, b = x[re + j], x[im + j]
            for i in range(j + 1, n):
                c, d = lu[at + j * n + i], lu[below + j * n + i]
                x[re + i] = x[re + i] - (a * c - b * d)
                x[im + i] = x[im + i] - (a * d + b * c)
        for step in range(n):
            j = n - 1 - step
            c, d = lu[at + j * n + j], lu[below + j * n + j]
            a, b = x[re + j] * c - x[im + j] * d, x[re + j] * d + x[im + j] * c
            x[re + j] = a
            x[im + j] = b
            for i in range(j):
                c, d = lu[at + j * n + i], lu[below + j * n + i]
                x[re + i] = x[re + i] - (a * c - b * d)
                x[im + i] = x[im + i] - (a * d + b * c)

    return solve
