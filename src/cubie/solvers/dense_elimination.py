"""Elimination of a dense matrix in panels: several pivots go through a column at once.

Each entry is reduced by the same products in the same order as by one pivot after the other; it is
read and written once for a whole panel. Entries lie as `cubie.solvers.dense_lu` says.
"""

from __future__ import annotations

from collections.abc import Callable

from cubie.backend import Backend, absolute, select
from cubie.solvers.lu_source import LARGE, LESS

# Pivots whose products are subtracted together from the columns behind them.
PANEL = 4
# Pivots, of several panels, that columns behind them are reduced by while they are in a cache.
BLOCK = 16


def none_before(lu, k, terms):
    return terms


def real_elimination(backend: Backend, n: int, at: int, before: Callable) -> Callable:
    """Return ``eliminate(lu, ok, eps, one) -> ok`` of a matrix that starts at `at`.

    ``before(lu, k, terms)`` adds to the size of a pivot that of what it was reduced by before.
    """
    pivot_column = backend.device(_real_pivot(n, at, before), inline=False)
    triangle = backend.device(_real_triangle(n, at))
    reductions = _real_reductions(n, at, triangle)
    reduce_one, reduce_two = (backend.device(each, inline=False) for each in reductions)
    return _in_panels(n, pivot_column, reduce_one, reduce_two)


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


def complex_elimination(
    backend: Backend, n: int, at: int, below: int, before: Callable
) -> Callable:
    """Return ``eliminate(lu, ok, eps, one) -> ok`` of a matrix whose imaginary parts are `below`.

    `before` is as for `real_elimination`.
    """
    less = backend.device(less_a_product(at, below))
    pivot_column = backend.device(_complex_pivot(backend, n, at, below, before, less), inline=False)
    triangle = backend.device(_complex_triangle(n, at, below, less))
    reductions = _complex_reductions(n, at, below, triangle, less)
    reduce_one, reduce_two = (backend.device(each, inline=False) for each in reductions)
    return _in_panels(n, pivot_column, reduce_one, reduce_two)


def less_a_product(at: int, below: int) -> Callable:
    """Return ``less(lu, re, im, entry, a, b)``: re + i im less (a + i b) times an entry."""

    def less(lu, re, im, entry, a, b):
        c, d = lu[at + entry], lu[below + entry]
        return re - (a * c - b * d), im - (a * d + b * c)

    return less


def _complex_pivot(
    backend: Backend, n: int, at: int, below: int, before: Callable, less: Callable
) -> Callable:
    """Return the elimination by pivot k within the columns before `behind`."""
    large, smaller = backend.constant(LARGE), backend.constant(LESS)

    def pivot_column(lu, k, behind, eps, one):
        diagonal = k * n + k
        re, im = lu[at + diagonal], lu[below + diagonal]
        found = absolute(re) + absolute(im)
        terms = before(lu, k, found)
        for m in range(k):
            left, right = m * n + k, k * n + m
            terms = terms + (absolute(lu[at + left]) + absolute(lu[below + left])) * (
                absolute(lu[at + right]) + absolute(lu[below + right])
            )
        ok = found > eps * terms
        scale = select(found > large, smaller, one)
        re, im = re * scale, im * scale
        scale = scale / (re * re + im * im)
        ok = ok & (scale > one - one)
        re, im = re * scale, -im * scale
        lu[at + diagonal] = re
        lu[below + diagonal] = im
        for i in range(k + 1, n):
            a, b = lu[at + k * n + i], lu[below + k * n + i]
            lu[at + k * n + i] = a * re - b * im
            lu[below + k * n + i] = a * im + b * re
        for j in range(k + 1, behind):
            a, b = lu[at + j * n + k], lu[below + j * n + k]
            for i in range(k + 1, n):
                here = j * n + i
                re, im = less(lu, lu[at + here], lu[below + here], k * n + i, a, b)
                lu[at + here] = re
                lu[below + here] = im
        return ok

    return pivot_column


def _complex_reductions(
    n: int, at: int, below: int, triangle: Callable, less: Callable
) -> tuple[Callable, Callable]:
    """Return the elimination of a panel's four pivots from one column behind it, and from two."""

    def reduce_one(lu, first, j):
        a, b, c, d = first * n, (first + 1) * n, (first + 2) * n, (first + 3) * n
        left = j * n
        p, q, r, s, pi, qi, ri, si = triangle(lu, first, left)
        for i in range(first + PANEL, n):
            re, im = less(lu, lu[at + left + i], lu[below + left + i], a + i, p, pi)
            re, im = less(lu, re, im, b + i, q, qi)
            re, im = less(lu, re, im, c + i, r, ri)
            re, im = less(lu, re, im, d + i, s, si)
            lu[at + left + i] = re
            lu[below + left + i] = im

    def reduce_two(lu, first, j):
        a, b, c, d = first * n, (first + 1) * n, (first + 2) * n, (first + 3) * n
        left, right = j * n, (j + 1) * n
        p, q, r, s, pi, qi, ri, si = triangle(lu, first, left)
        u, v, w, z, ui, vi, wi, zi = triangle(lu, first, right)
        for i in range(first + PANEL, n):
            re, im = less(lu, lu[at + left + i], lu[below + left + i], a + i, p, pi)
            x, y = less(lu, lu[at + right + i], lu[below + right + i], a + i, u, ui)
            re, im = less(lu, re, im, b + i, q, qi)
            x, y = less(lu, x, y, b + i, v, vi)
            re, im = less(lu, re, im, c + i, r, ri)
            x, y = less(lu, x, y, c + i, w, wi)
            re, im = less(lu, re, im, d + i, s, si)
            x, y = less(lu, x, y, d + i, z, zi)
            lu[at + left + i] = re
            lu[below + left + i] = im
            lu[at + right + i] = x
            lu[below + right + i] = y

    return reduce_one, reduce_two


def _complex_triangle(n: int, at: int, below: int, less: Callable) -> Callable:
    """Return the four entries of U that a column has in a panel's rows, imaginary parts last."""

    def triangle(lu, first, column):
        a, b = first * n + first, (first + 1) * n + first
        c = (first + 2) * n + first
        row = column + first
        u, ui = lu[at + row], lu[below + row]
        v, vi = less(lu, lu[at + row + 1], lu[below + row + 1], a + 1, u, ui)
        w, wi = less(lu, lu[at + row + 2], lu[below + row + 2], a + 2, u, ui)
        w, wi = less(lu, w, wi, b + 2, v, vi)
        z, zi = less(lu, lu[at + row + 3], lu[below + row + 3], a + 3, u, ui)
        z, zi = less(lu, z, zi, b + 3, v, vi)
        z, zi = less(lu, z, zi, c + 3, w, wi)
        lu[at + row + 1], lu[at + row + 2], lu[at + row + 3] = v, w, z
        lu[below + row + 1], lu[below + row + 2], lu[below + row + 3] = vi, wi, zi
        return u, v, w, z, ui, vi, wi, zi

    return triangle


def _in_panels(
    n: int, pivot_column: Callable, reduce_one: Callable, reduce_two: Callable
) -> Callable:
    """Return ``eliminate(lu, ok, eps, one) -> ok``: panel after panel, two columns at a time.

    Several panels make a block. Columns behind it are reduced by all of them, one after the other,
    while they are in a cache: a large matrix goes through memory once for a block.
    """

    def eliminate(lu, ok, eps, one):
        for block in range((n + BLOCK - 1) // BLOCK):
            begin = block * BLOCK
            end = min(begin + BLOCK, n)
            n_panels = (end - begin + PANEL - 1) // PANEL
            for panel in range(n_panels):
                first = begin + panel * PANEL
                behind = min(first + PANEL, n)
                for k in range(first, behind):
                    ok = ok & pivot_column(lu, k, behind, eps, one)
                # Only behind a whole panel there are columns left.
                n_pairs = (end - behind) // 2
                for pair in range(n_pairs):
                    reduce_two(lu, first, behind + 2 * pair)
                for j in range(behind + 2 * n_pairs, end):
                    reduce_one(lu, first, j)
            n_pairs = (n - end) // 2
            for pair in range(n_pairs):
                for panel in range(n_panels):
                    reduce_two(lu, begin + panel * PANEL, end + 2 * pair)
            for j in range(end + 2 * n_pairs, n):
                for panel in range(n_panels):
                    reduce_one(lu, begin + panel * PANEL, j)
        return ok

    return eliminate
