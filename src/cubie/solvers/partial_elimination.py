"""What eliminating a part of a matrix does otherwise: it drops products, and mends pivots."""

from __future__ import annotations

from collections.abc import Callable

from cubie.backend import Backend, select
from cubie.solvers.lu_source import LARGE
from cubie.solvers.lu_tables import LUTables


def build_list_of_right(backend: Backend, tables: LUTables) -> Callable:
    """Return ``list_of(pivot, entry)``: which list of `right` an entry below the pivot is for."""

    def of_pivot(pivot, entry):
        return pivot

    def of_entry(pivot, entry):
        return entry

    return backend.device(of_pivot if tables.complete else of_entry)


def build_mending(backend: Backend, mends: bool) -> tuple[Callable, Callable]:
    """Return ``mend(value, size, terms, eps, instead)`` and ``instead(terms, one)``.

    The first is a part of a pivot, or of what replaces it: `size` is that of the pivot, `terms` of
    what it is a difference of. What replaces it is negative, as pivots of ``J - shift * M`` are for
    damping and a step forward in time.
    """
    tiny = backend.constant(1.0 / LARGE)

    def as_it_is(value, size, terms, eps, instead):
        return value

    def itself(terms, one):
        return terms

    def mended(value, size, terms, eps, instead):
        return select(size > eps * terms, value, instead)

    def replacement(terms, one):
        return -select(terms > tiny, terms, one)

    if mends:
        return backend.device(mended), backend.device(replacement)
    return backend.device(as_it_is), backend.device(itself)
