"""Runs of the exact search: orders, rules, growing node limits, the compiled program.

A single run either answers soon or is lost in a bad corner, so many short runs are made:
every rule for the section to work on with every static order in turn, with node limits that
grow from round to round. Once all orders had their turn they are shaken, by a generator with
a fixed seed, and the failures counted so far steer the weighted rule elsewhere. Nothing
depends on a clock: the same problem takes the same steps everywhere.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from cubie_planner.packing.items import Items
from cubie_planner.packing.search import branching as core
from cubie_planner.packing.search import moves, propagation
from cubie_planner.packing.search import state as words
from cubie_planner.packing.search.tables import tables
from cubie_planner.packing.sections import Sections

RULES = (words.URGENT, words.TIGHTEST, words.WEIGHTED, words.FEWEST)
"""Which section to work on; mixed, since each solves instances that the others do not."""

GROWTH = 1.25
"""Of the node limit from round to round; a round is one order with every rule."""

GROWTH_WITHIN = 1.35
"""The same where one capacity is all that is asked: fewer, longer runs solve more."""

SOURCES = (words, moves, propagation, core)
"""The modules of the search that numba compiles."""

SHAKES = (0.0, 0.1, 0.3, 0.6)
"""How far, relative to the number of items, orders are shaken; one per round, in turn."""


@frozen
class Outcome:
    """What a search found out about one capacity: `solved` is None if it ran out of nodes."""

    solved: bool | None
    offsets: list[int] | None = None


@define(eq=False)
class Search:
    """Exact search on one problem; keeps count of the nodes spent and of where it failed.

    Attributes
    ----------
    compiled : bool
        Run the program compiled by numba instead of by the interpreter. It takes the
        same steps.
    growth : float
        Of the node limit from round to round.
    nodes : int
        Items tried so far.
    """

    items: Items
    sections: Sections
    compiled: bool
    growth: float = GROWTH
    nodes: int = 0
    _tables: words.Tables = field(init=False)
    _weights: list = field(init=False)
    _trail_room: int = field(init=False)
    _schedules: dict[int, Iterator[tuple[int, list[int], int]]] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        self._tables = tables(self.items, self.sections)
        if self.compiled:
            self._tables = words.Tables(*map(_array, self._tables))
        self._weights = [1] * len(self.sections.members)
        self._trail_room = 64 * len(self.items) + 4096

    def run(self, capacity: int, node_limit: int) -> Outcome:
        """Look for a packing within `capacity`, trying at most `node_limit` items.

        Asked again about the same capacity, it goes on with the orders not yet tried.
        """
        limits = [capacity - load for load in self.sections.loads(self.items.sizes)]
        if min(limits) < 0 or any(
            pin + size > capacity
            for pin, size in zip(self.items.pins, self.items.sizes, strict=True)
        ):
            return Outcome(False)
        stop = self.nodes + node_limit
        for rule, rank, allowance in self._schedules.setdefault(capacity, self._schedule()):
            allowance = min(allowance, stop - self.nodes)
            if allowance <= 0:
                return Outcome(None)
            state = self._state(capacity, limits, rank)
            outcome = self._once(state, allowance, rule)
            while outcome == words.OUT_OF_TRAIL:
                self._trail_room *= 2
                state = self._state(capacity, limits, rank)
                outcome = self._once(state, allowance, rule)
            self._weights = list(map(int, state.weight))
            if outcome == words.SOLVED:
                return Outcome(True, list(map(int, state.base)))
            if outcome == words.REFUTED:
                return Outcome(False)
        return Outcome(None)

    def _once(self, state: words.State, allowance: int, rule: int) -> int:
        program = _program() if self.compiled else core.search
        outcome, nodes = program(self._tables, state, allowance, rule)
        self.nodes += int(nodes)
        return int(outcome)

    def _schedule(self) -> Iterator[tuple[int, list[int], int]]:
        """Yield rule, rank of every item, node limit, for ever."""
        count = len(self.items)
        allowance = 2.0 * count + 50
        generator = random.Random(count)
        orders = list(_orders(self.items, self.sections))
        turn = 0
        while True:
            order = orders[turn % len(orders)]
            shake = SHAKES[turn // len(orders) % len(SHAKES)] * count
            for rule in RULES:
                position = {i: k + shake * generator.random() for k, i in enumerate(order)}
                rank = [0] * count
                for k, i in enumerate(sorted(order, key=position.__getitem__)):
                    rank[i] = k
                yield rule, rank, int(allowance)
            allowance *= self.growth
            turn += 1

    def _state(self, capacity: int, limits: list[int], rank: list[int]) -> words.State:
        """Return the state before the first choice."""
        items = self.items
        count = len(items)
        base = [max(pin, 0) for pin in items.pins]
        last = [
            pin if pin >= 0 else capacity - size
            for pin, size in zip(items.pins, items.sizes, strict=True)
        ]
        neighbours = [
            int(self._tables.near[begin]) if begin < end else i
            for i, (begin, end) in enumerate(itertools.pairwise(self._tables.near_ptr))
        ]
        firsts = [together[0] for together in self.sections.members]
        crossing = [0] * len(limits)
        for lo, hi in zip(self._tables.hull_lo, self._tables.hull_hi, strict=True):
            for cut in range(lo, hi - 1):
                crossing[cut] += 1
        state = words.State(
            rank=rank,
            weight=list(self._weights),
            base=base,
            low=list(base),
            last=last,
            active=[int(parent < 0) for parent in items.parents],
            placed=[0] * count,
            postponed=[0] * count,
            limit=list(limits),
            crossing=crossing,
            watch1=firsts,
            watch2=list(firsts),
            reaching=neighbours,
            carrier=list(neighbours),
            segment=list(range(count)),
            order=[0] * count,
            trail_slot=[0] * self._trail_room,
            trail_value=[0] * self._trail_room,
            noted=[0] * (4 * count),
            cursor=[0] * 4,
            frame=[0] * (words.FRAME_WORDS * (count + 2)),
            part=[0] * (words.PART_WORDS * (count * 2 + len(limits) + 2)),
        )
        return words.State(*map(_array, state)) if self.compiled else state


def _orders(items: Items, sections: Sections) -> Iterator[list[int]]:
    """Yield static orders by lifetime (W), area (A), largest load of its sections (T)."""
    total, width = sections.crowding(items.sizes), items.durations()
    area = [w * size for w, size in zip(width, items.sizes, strict=True)]
    for keys in ((width, area, total), (total, area, width), (total, width, area)):
        yield sorted(range(len(items)), key=lambda i, keys=keys: (*(-k[i] for k in keys), i))


def _array(values):
    import numpy as np

    return np.array(values, dtype=np.int64)


@cache
def _program():
    """Compile the search, or load it from numba's cache.

    The search allocates nothing, so counting references is switched off: done per array
    and call, it would take five times as long as the search itself. The cache notices by
    itself a change of the file and of what a function captures, so that captures what the
    other files say.
    """
    import numba
    from numba.extending import register_jitable

    for function in (*core.HELPERS, core.search):
        register_jitable(_nrt=False)(function)
    sources = _digest_of_sources()

    def program(tables, state, node_limit, rule):
        _ = sources
        return core.search(tables, state, node_limit, rule)

    options: dict[str, Any] = {"cache": True, "_nrt": False}
    return numba.njit(**options)(program)


def _digest_of_sources() -> int:
    """Return a number that differs when any file of the compiled search does."""
    digest = hashlib.sha256()
    for module in SOURCES:
        digest.update(Path(str(module.__file__)).read_bytes())
    return int.from_bytes(digest.digest()[:7], "big")
