"""Factorisation in loops, for matrices with so many entries that straight-line text would be long.

Matrices lie by columns: entry (i, j) of a block is at ``at + j * n + i``; imaginary parts follow
as a matrix of their own. The reciprocal of a pivot stands in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from cubie.backend import Backend, absolute, select
from cubie.solvers.contract import Blocks
from cubie.solvers.elimination import Position
from cubie.solvers.lu_source import LARGE, LESS

# Pivots whose products are subtracted together from the columns behind them.
PANEL = 4


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
    empty = np.setdiff1d(np.arange(n * n), filled)
    n_filled, n_empty = len(filled), len(empty)
    place, empty_place = backend.table(filled), backend.table(empty)

    def spread(lu, zero):
        for step in range(n_filled):
            number = n_filled - 1 - step
            lu[place(number)] = -lu[number]
        for number in range(n_empty):
            lu[empty_place(number)] = zero

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
    eliminate = backend.device(real_elimination(backend, n, at, backend.device(_none_before)))

    def factorise(shift, lu, eps, one):
        for place in range(size):
            lu[at + place] = lu[place]
        add_mass(shift * factor, lu, at)
        return eliminate(lu, shift == shift, eps, one)

    return factorise


def _none_before(lu, k, terms):
    return terms


def real_elimination(backend: Backend, n: int, at: int, before: Callable) -> Callable:
    """Return ``eliminate(lu, ok, eps, one) -> ok`` of a matrix that starts at `at`.

    ``before(lu, k, terms)`` adds to the size of a pivot that of what it was reduced by before.
    """
    pivot_column = backend.device(_real_pivot(n, at, before), inline=False)
    triangle = backend.device(_real_triangle(n, at))
    reductions = _real_reductions(n, at, triangle)
    reduce_one, reduce_two = (backend.device(each, inline=False) for each in reductions)

    def eliminate(lu, ok, eps, one):
        for panel in range((n + PANEL - 1) // PANEL):
            first = panel * PANEL
            behind = min(first + PANEL, n)
            for k in range(first, behind):
                ok = ok & pivot_column(lu, k, behind, eps, one)
            # Only behind a whole panel there are columns left.
            n_pairs = (n - behind) // 2
            for pair in range(n_pairs):
                reduce_two(lu, first, behind + 2 * pair)
            for j in range(behind + 2 * n_pairs, n):
                reduce_one(lu, first, j)
        return ok

    return eliminate


def _real_pivot(n: int, at: int, before: Callable) -> Callable:
    """Return the elimination by pivot k within the columns before `behind`."""

    def pivot_column(lu, k, behind, eps, one):
        diagonal = at + k * n + k
        pivot = lu[diagonal]
        # What the pivot lost to cancellation: of a singular matrix all of it.
        terms = before(lu, k, absolute(pivot))
        for m in range(k):
            terms = terms + absolute(lu[at + m * n + k] * lu[at + k * n + m])
        ok = absolute(pivot) > eps * terms
        inverse = one / pivot
        # With a reciprocal of nothing changes would be nothing, and pass for small ones.
        ok = ok & (absolute(inverse) > one - one)
        lu[diagonal] = inverse
        for i in range(k + 1, n):
            lu[at + k * n + i] = lu[at + k * n + i] * inverse
        for j in range(k + 1, behind):
            upper = lu[at + j * n + k]
            for i in range(k + 1, n):
                lu[at + j * n + i] = lu[at + j * n + i] - lu[at + k * n + i] * upper
        return ok

    return pivot_column


def _real_reductions(n: int, at: int, triangle: Callable) -> tuple[Callable, Callable]:
    """Return the elimination of a panel's four pivots from one column behind it, and from two.

    A column is read and written once instead of four times, and the panel once for two columns.
    """

    def reduce_one(lu, first, j):
        a, b = at + first * n, at + (first + 1) * n
        c, d = at + (first + 2) * n, at + (first + 3) * n
        left = at + j * n
        p, q, r, s = triangle(lu, first, left)
        for i in range(first + PANEL, n):
            entry = lu[left + i] - lu[a + i] * p - lu[b + i] * q
            lu[left + i] = entry - lu[c + i] * r - lu[d + i] * s

    def reduce_two(lu, first, j):
        a, b = at + first * n, at + (first + 1) * n
        c, d = at + (first + 2) * n, at + (first + 3) * n
        left, right = at + j * n, at + (j + 1) * n
        p, q, r, s = triangle(lu, first, left)
        u, v, w, z = triangle(lu, first, right)
        for i in range(first + PANEL, n):
            e, f, g, h = lu[a + i], lu[b + i], lu[c + i], lu[d + i]
            lu[left + i] = lu[left + i] - e * p - f * q - g * r - h * s
            lu[right + i] = lu[right + i] - e * u - f * v - g * w - h * z

    return reduce_one, reduce_two


def _real_triangle(n: int, at: int) -> Callable:
    """Return the four entries of U that a column has in the rows of a panel."""

    def triangle(lu, first, column):
        a, b = at + first * n + first, at + (first + 1) * n + first
        c = at + (first + 2) * n + first
        row = column + first
        u = lu[row]
        v = lu[row + 1] - lu[a + 1] * u
        w = lu[row + 2] - lu[a + 2] * u - lu[b + 2] * v
        z = lu[row + 3] - lu[a + 3] * u - lu[b + 3] * v - lu[c + 3] * w
        lu[row + 1], lu[row + 2], lu[row + 3] = v, w, z
        return u, v, w, z

    return triangle


def _complex_factorise(
    backend: Backend, n: int, at: int, eigenvalue: complex, add_mass: Callable
) -> Callable:
    real, imaginary = backend.constant(eigenvalue.real), backend.constant(eigenvalue.imag)
    size = n * n
    below = at + size  # where the imaginary parts are
    none_before = backend.device(_none_before)
    eliminate = backend.device(complex_elimination(backend, n, at, below, none_before))

    def factorise(shift, lu, eps, one):
        for place in range(size):
            lu[at + place] = lu[place]
            lu[below + place] = one - one
        add_mass(shift * real, lu, at)
        add_mass(shift * imaginary, lu, below)
        return eliminate(lu, shift == shift, eps, one)

    return factorise


def complex_elimination(
    backend: Backend, n: int, at: int, below: int, before: Callable
) -> Callable:
    """Return ``eliminate(lu, ok, eps, one) -> ok`` of a matrix whose imaginary parts are `below`.

    `before` is as for `real_elimination`.
    """
    large, smaller = backend.constant(LARGE), backend.constant(LESS)

    def eliminate(lu, ok, eps, one):
        for k in range(n):
            diagonal = k * n + k
            re, im = lu[at + diagonal], lu[below + diagonal]
            found = absolute(re) + absolute(im)
            terms = before(lu, k, found)
            for m in range(k):
                left, right = m * n + k, k * n + m
                terms = terms + (absolute(lu[at + left]) + absolute(lu[below + left])) * (
                    absolute(lu[at + right]) + absolute(lu[below + right])
                )
            ok = ok & (found > eps * terms)
            less = select(found > large, smaller, one)
            re, im = re * less, im * less
            scale = less / (re * re + im * im)
            ok = ok & (scale > one - one)
            re, im = re * scale, -im * scale
            lu[at + diagonal] = re
            lu[below + diagonal] = im
            for i in range(k + 1, n):
                a, b = lu[at + k * n + i], lu[below + k * n + i]
                lu[at + k * n + i] = a * re - b * im
                lu[below + k * n + i] = a * im + b * re
            for j in range(k + 1, n):
                a, b = lu[at + j * n + k], lu[below + j * n + k]
                for i in range(k + 1, n):
                    c, d = lu[at + k * n + i], lu[below + k * n + i]
                    lu[at + j * n + i] = lu[at + j * n + i] - (a * c - b * d)
                    lu[below + j * n + i] = lu[below + j * n + i] - (a * d + b * c)
        return ok

    return eliminate


def build_dense_solves(backend: Backend, blocks: Blocks) -> list[Callable]:
    """Return ``solve(lu, rhs, rhs_at, x, x_at)`` for each block; it may work in place."""
    solves = []
    starts = dense_starts(blocks)
    for k, eigenvalue in enumerate(blocks.eigenvalues):
        make = _complex_solve if eigenvalue.imag else _real_solve
        function = make(blocks.n_states, starts[k], blocks.offsets[k])
        solves.append(backend.device(function, inline=False))
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


def _then(before: Callable, after: Callable) -> Callable:
    def both(shift, lu, eps, one):
        ok = before(shift, lu, eps, one)
        return ok & after(shift, lu, eps, one)

    return both
