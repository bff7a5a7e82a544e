"""Sparse factorisation and triangular solves in loops over tables that all runs share.

Entries lie as `cubie.solvers.lu_source.FactorLayout` says where blocks share nothing: those of a
block one after another, imaginary parts behind them. What is factorised is the negative of the
matrix, J - shift * eigenvalue * M, so that the Jacobian's entries are used as they lie; what is
kept of a pivot is the reciprocal of the matrix's own. L, and with it every rounded number, is
that of straight-line text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from cubie.backend import Backend, absolute, quotient, select
from cubie.solvers.dense_tail import build_tail, build_tail_solves
from cubie.solvers.lu_source import LARGE, LESS, FactorLayout
from cubie.solvers.lu_tables import Lists, LUTables
from cubie.solvers.partial_elimination import build_list_of_right, build_mending


class _Place(NamedTuple):
    """Where a block's factors are."""

    at: int  # the first real part
    below: int  # the first imaginary part
    offset: int  # the first unknown
    n: int  # unknowns, of real parts
    n_tail: int  # pivots at the end that are a dense matrix
    tail_at: int  # its slot


class _List(NamedTuple):
    """`Lists` as device functions."""

    start: Callable
    values: tuple[Callable, ...]


def build_table_factorise(
    backend: Backend, layout: FactorLayout, tables: LUTables, mends: bool = False
) -> Callable:
    """Return ``factorise(shift, lu, eps, one) -> ok`` of all blocks.

    With `mends` a pivot that is none is replaced by what it lost its digits from, or by one; then
    the factors end with no dense matrix.
    """
    assert not (mends and layout.elimination.n_tail)
    chain = None
    # The first block's place holds the Jacobian of all: it comes last.
    for number in reversed(range(len(layout.blocks.eigenvalues))):
        is_complex = layout.blocks.eigenvalues[number].imag != 0.0
        assemble = _assembly(backend, layout, number)
        make = _complex_elimination if is_complex else _real_elimination
        block = _then(assemble, make(backend, tables, _place(layout, number), mends))
        chain = block if chain is None else _both(chain, backend.device(block, inline=False))
        chain = backend.one_copy(chain)
    return chain  # type: ignore[return-value]  # one eigenvalue at least


def build_table_solves(backend: Backend, layout: FactorLayout, tables: LUTables) -> list[Callable]:
    """Return ``solve(lu, rhs, rhs_at, x, x_at)`` of each block; it may work in place."""
    solves = []
    for number, eigenvalue in enumerate(layout.blocks.eigenvalues):
        make = _complex_solve if eigenvalue.imag else _real_solve
        place = _place(layout, number)
        solve = make(backend, tables, place)
        solves.append(backend.one_copy(solve))
    return solves


def _place(layout: FactorLayout, number: int) -> _Place:
    assert not layout.shares
    at = layout.place(number, 0, 0)
    elimination = layout.elimination
    n, n_tail = elimination.n, elimination.n_tail
    tail_at = elimination.tail_at if n_tail else 0
    below = at + elimination.n_slots
    return _Place(at, below, layout.blocks.offsets[number], n, n_tail, tail_at)


def _listed(backend: Backend, lists: Lists) -> _List:
    return _List(backend.table(lists.starts), tuple(map(backend.table, lists.values)))


def _assembly(backend: Backend, layout: FactorLayout, number: int) -> Callable:
    """Return ``assemble(shift, lu, zero)``: J - shift * eigenvalue * M, before elimination."""
    eigenvalue = layout.blocks.eigenvalues[number]
    n_jacobian, n_slots = layout.n_jacobian, layout.elimination.n_slots
    at, below, *_ = _place(layout, number)
    moved = np.array(layout.elimination.moved, np.int64).reshape(-1, 2)
    n_moved, moved_from = len(moved), backend.table(np.ascontiguousarray(moved[:, 0]))
    moved_to = backend.table(np.ascontiguousarray(moved[:, 1]))
    masses = {layout.elimination.slots[place]: value for place, value in layout.mass.items()}
    slot_of = backend.table(np.array(list(masses), np.int64))
    values = np.array(list(masses.values()))
    n_masses = len(masses)
    real_mass = backend.table((eigenvalue.real * values).astype(backend.dtype))
    imaginary_mass = backend.table((eigenvalue.imag * values).astype(backend.dtype))

    def assemble_real(shift, lu, zero):
        if at > 0:
            for slot in range(n_jacobian):
                lu[at + slot] = lu[slot]
        for slot in range(n_jacobian, n_slots):
            lu[at + slot] = zero
        for k in range(n_moved):
            lu[at + moved_to(k)] = lu[moved_from(k)]
        for k in range(n_masses):
            slot = at + slot_of(k)
            lu[slot] = lu[slot] - shift * real_mass(k)

    assemble_real = backend.device(assemble_real, inline=False)
    if eigenvalue.imag == 0.0:
        return assemble_real

    def assemble(shift, lu, zero):
        assemble_real(shift, lu, zero)
        for slot in range(n_slots):
            lu[below + slot] = zero
        for k in range(n_masses):
            lu[below + slot_of(k)] = -(shift * imaginary_mass(k))

    return backend.device(assemble, inline=False)


def _real_elimination(
    backend: Backend, tables: LUTables, place: _Place, mends: bool = False
) -> Callable:
    at, n_sparse = place.at, place.n - place.n_tail
    list_of, (mend, instead) = build_list_of_right(backend, tables), build_mending(backend, mends)
    diagonal_slot, target = backend.table(tables.diagonal), backend.table(tables.targets)
    loss_start, (loss_left, loss_right) = _listed(backend, tables.losses)
    below_start, (below_slot,) = _listed(backend, tables.below)
    right_start, (right_slot,) = _listed(backend, tables.right)

    def losses(lu, k, terms):
        for p in range(loss_start(k), loss_start(k + 1)):
            left, right = lu[at + loss_left(p)], lu[at + loss_right(p)]
            terms = terms + absolute(left) * absolute(right)
        return terms

    losses = backend.device(losses)

    def eliminate(lu, ok, eps, one):
        product = 0
        for k in range(n_sparse):
            diagonal = at + diagonal_slot(k)
            pivot = lu[diagonal]
            # What the pivot lost to cancellation: of a singular matrix all of it.
            terms = losses(lu, k, absolute(pivot))
            ok = ok & (absolute(pivot) > eps * terms)
            pivot = mend(pivot, absolute(pivot), terms, eps, instead(terms, one))
            inverse = quotient(one, pivot)
            # With a reciprocal of nothing changes would be nothing, and pass for small ones.
            ok = ok & (absolute(inverse) > one - one)
            lu[diagonal] = -inverse
            for p in range(below_start(k), below_start(k + 1)):
                left_at = at + below_slot(p)
                left = lu[left_at] * inverse
                lu[left_at] = left
                row = list_of(k, p)
                for q in range(right_start(row), right_start(row + 1)):
                    where = at + target(product)
                    lu[where] = lu[where] - lu[at + right_slot(q)] * left
                    product = product + 1
        return ok

    return _with_tail(backend, place, None, eliminate, losses)


def _with_tail(backend: Backend, place: _Place, below, eliminate: Callable, losses) -> Callable:
    """Return the elimination, and that of the dense matrix at the end."""
    eliminate = backend.device(eliminate, inline=False)
    if not place.n_tail:
        return eliminate
    n_sparse, tail_at = place.n - place.n_tail, place.tail_at

    def losses_of_tail(lu, k, terms):
        return losses(lu, n_sparse + k, terms)

    of_tail = backend.device(losses_of_tail)
    tail_below = None if below is None else below + tail_at
    tail = build_tail(backend, place.n_tail, place.at + tail_at, tail_below, of_tail)

    def both(lu, ok, eps, one):
        return tail(lu, eliminate(lu, ok, eps, one), eps, one)

    return backend.device(both)


def _complex_elimination(
    backend: Backend, tables: LUTables, place: _Place, mends: bool = False
) -> Callable:
    at, below, n_sparse = place.at, place.below, place.n - place.n_tail
    list_of, (mend, instead) = build_list_of_right(backend, tables), build_mending(backend, mends)
    large, smaller = backend.constant(LARGE), backend.constant(LESS)
    diagonal_slot, target = backend.table(tables.diagonal), backend.table(tables.targets)
    loss_start, (loss_left, loss_right) = _listed(backend, tables.losses)
    below_start, (below_slot,) = _listed(backend, tables.below)
    right_start, (right_slot,) = _listed(backend, tables.right)

    def loss(lu, p):
        left, right = loss_left(p), loss_right(p)
        return (absolute(lu[at + left]) + absolute(lu[below + left])) * (
            absolute(lu[at + right]) + absolute(lu[below + right])
        )

    loss = backend.device(loss)

    def losses(lu, k, terms):
        for p in range(loss_start(k), loss_start(k + 1)):
            terms = terms + loss(lu, p)
        return terms

    losses = backend.device(losses)

    def reciprocal(re, im, one):
        less = select(absolute(re) + absolute(im) > large, smaller, one)
        re, im = re * less, im * less
        size = quotient(less, re * re + im * im)
        return re * size, -im * size, size

    reciprocal = backend.device(reciprocal)

    def eliminate(lu, ok, eps, one):
        product = 0
        for k in range(n_sparse):
            diagonal = diagonal_slot(k)
            re, im = lu[at + diagonal], lu[below + diagonal]
            found = absolute(re) + absolute(im)
            terms = losses(lu, k, found)
            ok = ok & (found > eps * terms)
            re = mend(re, found, terms, eps, instead(terms, one))
            im = mend(im, found, terms, eps, found * (one - one))
            re, im, size = reciprocal(re, im, one)
            ok = ok & (absolute(size) > one - one)
            lu[at + diagonal], lu[below + diagonal] = -re, -im
            for p in range(below_start(k), below_start(k + 1)):
                slot = below_slot(p)
                a, b = lu[at + slot], lu[below + slot]
                c, d = a * re - b * im, a * im + b * re
                lu[at + slot], lu[below + slot] = c, d
                row = list_of(k, p)
                for q in range(right_start(row), right_start(row + 1)):
                    slot, where = right_slot(q), target(product)
                    a, b = lu[at + slot], lu[below + slot]
                    lu[at + where] = lu[at + where] - (a * c - b * d)
                    lu[below + where] = lu[below + where] - (a * d + b * c)
                    product = product + 1
        return ok

    return _with_tail(backend, place, below, eliminate, losses)


def _substitution(
    backend: Backend, tables: LUTables, place: _Place, n_parts: int, passes: tuple
) -> Callable:
    """Return `solve` by passes forward and backward, of the unknowns' parts.

    The right-hand side of each pivot comes where its unknown will be.
    """
    n, offset = place.n, place.offset
    forward, backward = (backend.device(each, inline=False) for each in passes)
    if place.n_tail:
        forward, backward = _passes_with_tail(backend, tables, place, n_parts, forward, backward)
    exchanges = np.concatenate([tables.exchanges + part * n for part in range(n_parts)])
    n_elements, n_exchanges = n_parts * n, len(exchanges)
    here = backend.table(np.ascontiguousarray(exchanges[:, 0]))
    there = backend.table(np.ascontiguousarray(exchanges[:, 1]))

    def solve_in_place(lu, rhs, rhs_at, x, x_at):
        forward(lu, rhs, rhs_at + offset, x, x_at + offset)
        backward(lu, x, x_at + offset)

    def solve_exchanged(lu, rhs, rhs_at, x, x_at):
        first = x_at + offset
        for i in range(n_elements):
            x[first + i] = rhs[rhs_at + offset + i]
        for k in range(n_exchanges):
            a, b = first + here(k), first + there(k)
            kept = x[a]
            x[a] = x[b]
            x[b] = kept
        forward(lu, x, first, x, first)
        backward(lu, x, first)

    return solve_exchanged if n_exchanges else solve_in_place


def _passes_with_tail(
    backend: Backend, tables: LUTables, place: _Place, n_parts: int, before, after
) -> tuple[Callable, Callable]:
    """Return the passes, between which those of the dense matrix at the end are."""
    n_tail, tail_at = place.n_tail, place.tail_at
    below = place.below + tail_at if n_parts == 2 else None
    unknowns = np.ascontiguousarray(tables.unknowns[place.n - n_tail :])
    forward_last, backward_last = build_tail_solves(
        backend, n_tail, place.at + tail_at, below, unknowns, place.n
    )

    def forward(lu, rhs, rhs_at, x, first):
        before(lu, rhs, rhs_at, x, first)
        forward_last(lu, x, first)

    def backward(lu, x, first):
        backward_last(lu, x, first)
        after(lu, x, first)

    return backend.device(forward), backend.device(backward)


def _real_solve(backend: Backend, tables: LUTables, place: _Place) -> Callable:
    at, n, n_sparse = place.at, place.n, place.n - place.n_tail
    diagonal_slot, unknown = backend.table(tables.diagonal), backend.table(tables.unknowns)
    before_start, (before_slot, before_unknown) = _listed(backend, tables.before)
    after_start, (after_slot, after_unknown) = _listed(backend, tables.after)

    def forward(lu, rhs, rhs_at, x, first):
        for i in range(n):
            row = unknown(i)
            value = rhs[rhs_at + row]
            for p in range(before_start(i), before_start(i + 1)):
                value = value - lu[at + before_slot(p)] * x[first + before_unknown(p)]
            x[first + row] = value

    def backward(lu, x, first):
        for step in range(n_sparse):
            i = n_sparse - 1 - step
            where = first + unknown(i)
            value = x[where]
            # Of U the negative is kept, and of pivots the reciprocals.
            for p in range(after_start(i), after_start(i + 1)):
                value = value + lu[at + after_slot(p)] * x[first + after_unknown(p)]
            x[where] = lu[at + diagonal_slot(i)] * value

    return _substitution(backend, tables, place, 1, (forward, backward))


def _complex_solve(backend: Backend, tables: LUTables, place: _Place) -> Callable:
    at, below, n, n_sparse = place.at, place.below, place.n, place.n - place.n_tail
    diagonal_slot, unknown = backend.table(tables.diagonal), backend.table(tables.unknowns)
    before_start, (before_slot, before_unknown) = _listed(backend, tables.before)
    after_start, (after_slot, after_unknown) = _listed(backend, tables.after)

    def forward(lu, rhs, rhs_at, x, first):
        second = first + n
        for i in range(n):
            row = unknown(i)
            re, im = rhs[rhs_at + row], rhs[rhs_at + n + row]
            for p in range(before_start(i), before_start(i + 1)):
                slot, column = before_slot(p), before_unknown(p)
                a, b, c, d = lu[at + slot], lu[below + slot], x[first + column], x[second + column]
                re, im = re - (a * c - b * d), im - (a * d + b * c)
            x[first + row], x[second + row] = re, im

    def backward(lu, x, first):
        second = first + n
        for step in range(n_sparse):
            i = n_sparse - 1 - step
            row, slot = unknown(i), diagonal_slot(i)
            re, im = x[first + row], x[second + row]
            for p in range(after_start(i), after_start(i + 1)):
                entry, column = after_slot(p), after_unknown(p)
                a, b = lu[at + entry], lu[below + entry]
                c, d = x[first + column], x[second + column]
                re, im = re + (a * c - b * d), im + (a * d + b * c)
            a, b = lu[at + slot], lu[below + slot]
            x[first + row], x[second + row] = a * re - b * im, a * im + b * re

    return _substitution(backend, tables, place, 2, (forward, backward))


def _then(assemble: Callable, eliminate: Callable) -> Callable:
    def factorise(shift, lu, eps, one):
        assemble(shift, lu, one - one)
        return eliminate(lu, shift == shift, eps, one)

    return factorise


def _both(before: Callable, after: Callable) -> Callable:
    def both(shift, lu, eps, one):
        ok = before(shift, lu, eps, one)
        return ok & after(shift, lu, eps, one)

    return both
