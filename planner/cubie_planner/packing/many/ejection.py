"""Ejection: below a lower ceiling, what finds no room pushes out what is the least to lose.

Bodies above the ceiling wait, the most important first. One that fits nowhere goes where those
in its way weigh the least, and they wait in its place; each time a body fits nowhere it gets
heavier, so that the same ones do not push each other out for ever (guided ejection search,
Nagata and Bräysy 2009, for routes of vehicles). One source, compiled by numba or run by the
interpreter; integers only, counted in entries that are looked at.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from cubie_planner.packing.many import first_fit
from cubie_planner.packing.many.first_fit import meet

HELD = 1 << 42
"""Weight of bodies that stay where they are: more than all that is pushed out together."""


class Listed(NamedTuple):
    """Placed bodies in the order of a key (where they begin, or end), and when they live.

    `start` and `end` are copies in that order: reading them one after the other is what makes
    looking at all of them fast.
    """

    body: Any
    start: Any
    end: Any


class Ranked(NamedTuple):
    """Bodies in the order in which they are placed.

    `body` and `weight` are by rank, the place in that order; `rank` is by body. By the weight a
    body gets heavier whenever it fits nowhere.
    """

    body: Any
    rank: Any
    weight: Any


class State(NamedTuple):
    """What is placed where, and what waits; integers by body.

    `offsets`, `tops` and `weight` (what pushing a body out costs, `HELD` where it must stay)
    count for what is placed, which is listed `by_low` and `by_top`; `heap` has the ranks of what
    waits. `kept` are the offsets when the most of the first ranks were placed at once, -1 for
    what waited then. `low` and `high` are scratch: who lives together with the body in hand.
    """

    offsets: Any
    tops: Any
    weight: Any
    by_low: Listed
    by_top: Listed
    heap: Any
    kept: Any
    low: Any
    high: Any


def place_of(listed, key, count, u):
    """Return how many of the `count` that are listed have a lower key than `u`."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if key[listed.body[middle]] < key[u]:
            low = middle + 1
        else:
            high = middle
    return low


def list_body(listed, key, count, t, u):
    """Insert a body into the `count` that are listed."""
    low = place_of(listed, key, count, u)
    for a in range(count, low, -1):
        listed.body[a] = listed.body[a - 1]
    for a in range(count, low, -1):
        listed.start[a] = listed.start[a - 1]
    for a in range(count, low, -1):
        listed.end[a] = listed.end[a - 1]
    listed.body[low], listed.start[low], listed.end[low] = u, t.start[u], t.end[u]


def unlist_body(listed, key, count, u):
    """Remove a body from the `count` that are listed."""
    low = place_of(listed, key, count, u)
    while listed.body[low] != u:
        low += 1
    for a in range(low, count - 1):
        listed.body[a] = listed.body[a + 1]
    for a in range(low, count - 1):
        listed.start[a] = listed.start[a + 1]
    for a in range(low, count - 1):
        listed.end[a] = listed.end[a + 1]


def alive_with(t, u, listed, count, found):
    """Write the listed bodies that live together with `u`, in their order; return how many."""
    start, end = t.start[u], t.end[u]
    n = 0
    for a in range(count):
        found[n] = listed.body[a]
        n += (listed.start[a] < end) & (listed.end[a] > start)
    if len(t.span_lo) == len(t.size):
        return n
    kept = 0
    for a in range(n):
        if meet(t, u, found[a]):
            found[kept] = found[a]
            kept += 1
    return kept


def aligned(t, u, spot):
    """Return the lowest offset that a body may have, not below `spot`."""
    modulus, residue = t.modulus[u], t.residue[u]
    return residue + (spot - residue + modulus - 1) // modulus * modulus


def first_gap(t, u, offsets, low, n):
    """Return the lowest offset of `u` beside `n` bodies by offset."""
    spot = aligned(t, u, 0)
    for a in range(n):
        k = low[a]
        if offsets[k] - spot >= t.size[u]:
            break
        if offsets[k] + t.size[k] > spot:
            spot = aligned(t, u, offsets[k] + t.size[k])
    return spot


def least_in_the_way(t, u, state, ceiling, n):
    """Return the offset where what is in the way of `u` weighs the least; -1 if nowhere.

    Above an end or below a beginning of the `n` bodies in `state.low` and `state.high`: between
    those what is in the way is the same. What begins below the top of `u` less what ends at its
    offset or before is in the way.
    """
    offsets, tops, weight, low, high = (
        state.offsets,
        state.tops,
        state.weight,
        state.low,
        state.high,
    )
    best, least = -1, HELD
    size = t.size[u]
    for above in (True, False):
        begun, ended = 0, 0
        i, j = 0, 0
        for a in range(n + 1):
            if above:
                spot = aligned(t, u, tops[high[a - 1]] if a else 0)
            else:
                spot = (offsets[low[a]] if a < n else ceiling) - size
                spot -= (spot - t.residue[u]) % t.modulus[u]
            if spot < 0:
                continue
            if spot + size > ceiling:
                break
            while i < n and tops[high[i]] <= spot:
                ended += weight[high[i]]
                i += 1
            while j < n and offsets[low[j]] < spot + size:
                begun += weight[low[j]]
                j += 1
            if begun - ended < least:
                best, least = spot, begun - ended
    return best


def push(heap, count, rank):
    """Insert a rank into a heap of `count`."""
    i = count
    while i > 0 and heap[(i - 1) // 2] > rank:
        heap[i] = heap[(i - 1) // 2]
        i = (i - 1) // 2
    heap[i] = rank


def pop(heap, count):
    """Return the lowest of `count` ranks, and close the gap that it leaves in the heap."""
    lowest, last = heap[0], heap[count - 1]
    i = 0
    while 2 * i + 1 < count - 1:
        child = 2 * i + 1
        if child + 1 < count - 1 and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= last:
            break
        heap[i] = heap[child]
        i = child
    heap[i] = last
    return lowest


def keep(state, placed):
    """Keep the offsets of what is placed, and -1 for what is not."""
    state.kept[:] = -1
    for a in range(placed):
        k = state.by_low.body[a]
        state.kept[k] = state.offsets[k]


def put(t, state, placed, u, spot):
    """Place a body beside the `placed` ones."""
    state.offsets[u], state.tops[u] = spot, spot + t.size[u]
    list_body(state.by_low, state.offsets, placed, t, u)
    list_body(state.by_top, state.tops, placed, t, u)


def push_out(t, rank, state, placed, waiting, n, spot, top):
    """Let those of the first `n` in `state.low` wait that reach between two offsets.

    Returns how many are placed then, and how many wait.
    """
    for a in range(n):
        k = state.low[a]
        if state.offsets[k] >= top:
            break
        if state.tops[k] > spot:
            unlist_body(state.by_low, state.offsets, placed, k)
            unlist_body(state.by_top, state.tops, placed, k)
            placed -= 1
            push(state.heap, waiting, rank[k])
            waiting += 1
    return placed, waiting


def eject(t, ranked, state, placed, waiting, ceiling, work):
    """Place what waits below a ceiling, pushing out others; return the entries looked at.

    Parameters
    ----------
    t : Tables
    ranked : Ranked
    state : State
        Of which `placed` bodies are placed, and `waiting` wait.
    ceiling : int
        Nothing is placed so that it ends above that.
    work : int
        It ends after so many entries.
    """
    spent = 0
    furthest = -1
    offsets, low, high = state.offsets, state.low, state.high
    while waiting > 0 and spent < work:
        r = pop(state.heap, waiting)
        waiting -= 1
        u = ranked.body[r]
        n = alive_with(t, u, state.by_low, placed, low)
        spent += placed + 2 * n
        spot = first_gap(t, u, offsets, low, n)
        if spot + t.size[u] > ceiling:
            if r > furthest:
                furthest = r
                keep(state, placed)
                spent += len(offsets) // 2
            alive_with(t, u, state.by_top, placed, high)
            spent += placed + 8 * n
            spot = least_in_the_way(t, u, state, ceiling, n)
            if spot < 0:
                return spent
            state.weight[u] += ranked.weight[r]
            before = placed
            placed, waiting = push_out(
                t, ranked.rank, state, placed, waiting, n, spot, spot + t.size[u]
            )
            spent += (before - placed) * (placed // 4)
        put(t, state, placed, u, spot)
        placed += 1
        spent += placed // 4
    if waiting == 0 or state.heap[0] > furthest:
        keep(state, placed)
    return spent


@cache
def program_of_ejection():
    """Compile ejection, or load it from numba's cache.

    That notices a change of this file; of the one other file by what the program captures.
    """
    import numba
    from numba.extending import register_jitable

    parts = (meet, place_of, list_body, unlist_body, alive_with, aligned, first_gap)
    for function in (*parts, least_in_the_way, push, pop, keep, put, push_out, eject):
        register_jitable(_nrt=False)(function)
    source = Path(str(first_fit.__file__)).read_bytes()
    captured = int.from_bytes(hashlib.sha256(source).digest()[:7], "big")

    def program(t, ranked, state, placed, waiting, ceiling, work):
        _ = captured
        return eject(t, ranked, state, placed, waiting, ceiling, work)

    options: dict[str, Any] = {"cache": True, "_nrt": False}
    return numba.njit(**options)(program)
