"""Factorisation in loops, for matrices with so many entries that straight-line text would be long.

Matrices lie by columns: entry (i, j) of a block is at ``at + j * n + i``; imaginary parts follow
as a matrix of their own. The reciprocal of a pivot stands in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cubie.backend import Backend, absolute, select
from cubie.solvers.contract import Blocks
from cubie.solvers.elimination import Position
from cubie.solvers.lu_source import LARGE, LESS
from cubie.systems.generated import load_module


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
    module = load_module(_write_assembly(n, pattern, mass))
    spread = backend.straight_line(module.spread, inline=False)
    add_mass = backend.straight_line(module.add_mass, inline=False)
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


def _write_assembly(n: int, pattern: tuple[Position, ...], mass: Mapping[Position, float]) -> str:
    """Return the module with ``spread(lu, zero)`` and ``add_mass(factor, lu, at)``.

    From the last entry to the first: by columns, no entry moves to a smaller place, so that none
    is overwritten before it has moved.
    """
    number = {column * n + row: k for k, (row, column) in enumerate(pattern)}
    spread = [
        f"lu[{place}] = " + (f"-lu[{number[place]}]" if place in number else "zero")
        for place in reversed(range(n * n))
    ]
    add = [
        f"lu[at + {c * n + r}] = lu[at + {c * n + r}] + factor * {value!r}"
        for (r, c), value in sorted(mass.items())
    ]
    return (
        f'"""Assembly of dense {n} x {n} matrices.\n\nWritten by cubie: changes are overwritten.\n'
        f'"""\n\n\ndef spread(lu, zero):\n{_lines(spread)}\n\n'
        f"def add_mass(factor, lu, at):\n{_lines(add)}"
    )


def _lines(lines: list[str]) -> str:
    return "".join(f"    {line}\n" for line in lines) or "    pass\n"


def _real_factorise(backend: Backend, n: int, at: int, eigenvalue, add_mass: Callable) -> Callable:
    factor = backend.constant(eigenvalue.real)
    size = n * n

    def factorise(shift, lu, eps, one):
        for place in range(size):
            lu[at + place] = lu[place]
        add_mass(shift * factor, lu, at)
        ok = shift == shift
        for k in range(n):
            diagonal = at + k * n + k
            pivot = lu[diagonal]
            # What the pivot lost to cancellation: of a singular matrix all of it.
            terms = absolute(pivot)
            for m in range(k):
                terms = terms + absolute(lu[at + m * n + k] * lu[at + k * n + m])
            ok = ok & (absolute(pivot) > eps * terms)
            inverse = one / pivot
            # With a reciprocal of nothing changes would be nothing, and pass for small ones.
            ok = ok & (absolute(inverse) > one - one)
            lu[diagonal] = inverse
            for i in range(k + 1, n):
                lu[at + k * n + i] = lu[at + k * n + i] * inverse
            for j in range(k + 1, n):
                upper = lu[at + j * n + k]
                for i in range(k + 1, n):
                    lu[at + j * n + i] = lu[at + j * n + i] - lu[at + k * n + i] * upper
        return ok

    return factorise


def _complex_factorise(
    backend: Backend, n: int, at: int, eigenvalue: complex, add_mass: Callable
) -> Callable:
    real, imaginary = backend.constant(eigenvalue.real), backend.constant(eigenvalue.imag)
    large, smaller = backend.constant(LARGE), backend.constant(LESS)
    size = n * n
    below = at + size  # where the imaginary parts are

    def factorise(shift, lu, eps, one):
        for place in range(size):
            lu[at + place] = lu[place]
            lu[below + place] = one - one
        add_mass(shift * real, lu, at)
        add_mass(shift * imaginary, lu, below)
        ok = shift == shift
        for k in range(n):
            diagonal = k * n + k
            re, im = lu[at + diagonal], lu[below + diagonal]
            terms = absolute(re) + absolute(im)
            found = terms
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

    return factorise


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
