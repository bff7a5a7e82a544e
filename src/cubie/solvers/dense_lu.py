"""Factorisation in loops, for matrices with so many entries that straight-line text would be long.

Matrices lie by columns: entry (i, j) of a block is at ``at + j * n + i``; imaginary parts follow
as a matrix of their own. The reciprocal of a pivot stands in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from cubie.backend import Backend
from cubie.solvers.contract import Blocks
from cubie.solvers.dense_elimination import complex_elimination, none_before, real_elimination
from cubie.solvers.elimination import Position


def dense_starts(blocks: Blocks) -> tuple[int, ...]:
    """Return where each block's factors start, and after the last one the size of them all."""
    starts = [0]
    for eigenvalue in blocks.eigenvalues:
        starts.append(starts[-1] + blocks.n_states**2 * (2 if eigenvalue.imag else 1))
    return tuple(starts)


def build_dense_factorise(
    backend: Backend,
    blocks: Blocks,
    pattern: tuple[Position, ...],
    mass: Mapping[Position, float],
) -> Callable:
    """Return ``factorise(shift, lu, eps, one) -> ok``; `lu` begins with the Jacobian's entries.

    Parameters
    ----------
    pattern : positions
        Of the Jacobian's entries, by columns.
    """
    n, numbers = blocks.n_states, range(len(blocks.eigenvalues))
    spread = backend.device(_spread(backend, n, pattern), inline=False)
    add_mass = backend.device(_add_mass(backend, n, mass), inline=False)
    chain = None
    # The first block's place holds the Jacobian of all: it comes last.
    for k in reversed(numbers):
        at, eigenvalue = dense_starts(blocks)[k], blocks.eigenvalues[k]
        make = _complex_factorise if eigenvalue.imag else _real_factorise
        block = backend.device(make(backend, n, at, eigenvalue, add_mass), inline=False)
        chain = block if chain is None else backend.device(_then(chain, block))
    blocks_in_turn: Callable = chain  # type: ignore[assignment]  # one eigenvalue at least

    def factorise(shift, lu, eps, one):
        spread(lu, one - one)
        return blocks_in_turn(shift, lu, eps, one)

    return backend.device(factorise)


def _spread(backend: Backend, n: int, pattern: tuple[Position, ...]) -> Callable:
    """Return ``spread(lu, zero)``: the Jacobian's entries, in its first ones, to their places.

    From the last entry to the first: by columns, no entry moves to a smaller place, so that none
    is overwritten before it has moved.
    """
    filled = np.array([column * n + row for row, column in pattern], np.int64)
    is_empty = np.ones(n * n, bool)
    is_empty[filled] = False
    empty = np.flatnonzero(is_empty)
    n_filled, n_empty = len(filled), len(empty)
    if not n_empty:
        return _negate(n_filled)
    place, empty_place = backend.table(filled), backend.table(empty)

    def spread(lu, zero):
        for step in range(n_filled):
            number = n_filled - 1 - step
            lu[place(number)] = -lu[number]
        for number in range(n_empty):
            lu[empty_place(number)] = zero

    return spread


def _negate(size: int) -> Callable:
    """Return ``spread(lu, zero)`` of a full matrix, whose entries are at their places."""

    def spread(lu, zero):
        for number in range(size):
            lu[number] = -lu[number]

    return spread


def _add_mass(backend: Backend, n: int, mass: Mapping[Position, float]) -> Callable:
    """Return ``add_mass(factor, lu, at)``, where a block's entries start at `at`."""
    entries = sorted(mass.items())
    n_entries = len(entries)
    place = backend.table(np.array([column * n + row for (row, column), _ in entries], np.int64))
    value = backend.table(np.array([value for _, value in entries], backend.dtype))

    def add_mass(factor, lu, at):
        for k in range(n_entries):
            lu[at + place(k)] = lu[at + place(k)] + factor * value(k)

    return add_mass


def _real_factorise(backend: Backend, n: int, at: int, eigenvalue, add_mass: Callable) -> Callable:
    factor = backend.constant(eigenvalue.real)
    size = n * n
    eliminate = backend.device(real_elimination(backend, n, at, backend.device(none_before)))

    def factorise(shift, lu, eps, one):
        for place in range(size):
            lu[at + place] = lu[place]
        add_mass(shift * factor, lu, at)
        return eliminate(lu, shift == shift, eps, one)

    return factorise


def _complex_factorise(
    backend: Backend, n: int, at: int, eigenvalue: complex, add_mass: Callable
) -> Callable:
    real, imaginary = backend.constant(eigenvalue.real), backend.constant(eigenvalue.imag)
    size = n * n
    below = at + size  # where the imaginary parts are
    before = backend.device(none_before)
    eliminate = backend.device(complex_elimination(backend, n, at, below, before))

    def factorise(shift, lu, eps, one):
        for place in range(size):
            lu[at + place] = lu[place]
            lu[below + place] = one - one
        add_mass(shift * real, lu, at)
        add_mass(shift * imaginary, lu, below)
        return eliminate(lu, shift == shift, eps, one)

    return factorise


def _then(before: Callable, after: Callable) -> Callable:
    def both(shift, lu, eps, one):
        ok = before(shift, lu, eps, one)
        return ok & after(shift, lu, eps, one)

    return both
