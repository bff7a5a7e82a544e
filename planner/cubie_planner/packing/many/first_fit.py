"""First fit of very many bodies: each, in a given order, to its lowest free offset.

One source, compiled by numba or run by the interpreter. Placed bodies are listed by offset,
so that looking ends where the next one begins above the room that was found: neither all
pairs that live together are kept, nor are all looked at.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from cubie_planner.packing.many.bodies import Tables

CLASH = -1
"""The height where bodies that are held overlap."""


def meet(t, u, k):
    """Return whether two bodies whose hulls meet are alive at the same time."""
    x, y = t.span_ptr[u], t.span_ptr[k]
    x_end, y_end = t.span_ptr[u + 1], t.span_ptr[k + 1]
    if x_end - x == 1 and y_end - y == 1:
        return True
    while x < x_end and y < y_end:
        if t.span_hi[x] <= t.span_lo[y]:
            x += 1
        elif t.span_hi[y] <= t.span_lo[x]:
            y += 1
        else:
            return True
    return False


def insert(t, b, u, offsets, listed, count):
    """List a body in a bucket that holds `count` of them; return the entries this took."""
    lo = t.bucket_ptr[b]
    a = lo + count
    hi = a
    while lo < hi:
        middle = (lo + hi) // 2
        if offsets[listed[middle]] < offsets[u]:
            lo = middle + 1
        else:
            hi = middle
    moved = a - lo
    while a > lo:
        listed[a] = listed[a - 1]
        a -= 1
    listed[lo] = u
    return 1 + moved // 8


def first_fit(t, order, held, known, offsets, ceiling, listed, count, cursor):
    """Place bodies one after the other; return (height, entries looked at).

    Parameters
    ----------
    t : Tables
    order : int array (n_order,), read
        Bodies; the first `held` of them stay where `offsets` has them. So do the first `known`,
        of which a pass before this one has found that they do not overlap.
    offsets : int array (n_bodies,), read and written
    ceiling : int
        It stops once something ends above that; the height is then larger.
    listed : int array (entries of all buckets,), scratch
        Per bucket: what is placed there, by offset.
    count, cursor : int array (n_buckets,), scratch

    Returns
    -------
    height : int
        Highest end; `CLASH` if bodies that are held overlap.
    work : int
    """
    height = 0
    work = 0
    for b in range(len(count)):
        count[b] = 0
    for q in range(len(order)):
        u = order[q]
        size, modulus, residue = t.size[u], t.modulus[u], t.residue[u]
        start, end = t.start[u], t.end[u]
        first, last = start // t.width, (end - 1) // t.width
        spot = offsets[u] if q < held or q < known else residue
        for b in range(first, last + 1):
            cursor[b] = t.bucket_ptr[b]
        # Buckets are gone through in turn until none of them moves the body any more.
        still_to_ask = last - first + 1 if q >= known else 0
        b = first
        while still_to_ask > 0:
            still_to_ask -= 1
            a = cursor[b]
            stop = t.bucket_ptr[b] + count[b]
            while a < stop:
                k = listed[a]
                if offsets[k] >= spot + size:
                    break
                work += 1
                a += 1
                above = offsets[k] + t.size[k]
                if above <= spot or t.start[k] >= end or t.end[k] <= start:
                    continue
                if meet(t, u, k):
                    if q < held:
                        return -1, work
                    spot = residue + (above - residue + modulus - 1) // modulus * modulus
                    still_to_ask = last - first
            cursor[b] = a
            b = b + 1 if b < last else first
        offsets[u] = spot
        if spot + size > height:
            height = spot + size
            if height > ceiling:
                return height, work
        for b in range(first, last + 1):
            work += insert(t, b, u, offsets, listed, count[b])
            count[b] += 1
    return height, work


class FirstFit:
    """First fit, compiled, on one set of bodies; keeps count of the entries looked at."""

    def __init__(self, tables: Tables):
        self.tables = tables
        self.work = 0
        buckets = len(tables.bucket_ptr) - 1
        self._scratch = (
            np.zeros(tables.bucket_ptr[-1], np.int64),
            np.zeros(buckets, np.int64),
            np.zeros(buckets, np.int64),
        )

    def __call__(
        self,
        order: np.ndarray,
        offsets: np.ndarray,
        held: int = 0,
        ceiling: int = 1 << 61,
        known: int = 0,
    ) -> int:
        """Write the offsets of all bodies in `order`; return the height, or `CLASH`."""
        height, work = _program()(self.tables, order, held, known, offsets, ceiling, *self._scratch)
        self.work += int(work)
        return int(height)


@cache
def _program():
    """Compile first fit, or load it from numba's cache, which notices a change of this file."""
    import numba
    from numba.extending import register_jitable

    for function in (meet, insert):
        register_jitable(_nrt=False)(function)
    options: dict[str, Any] = {"cache": True, "_nrt": False}
    return numba.njit(**options)(first_fit)
