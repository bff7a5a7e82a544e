"""From bodies to offsets: orders in turn, the largest bodies exactly, then the failures first.

Everything is counted in entries that first fit looks at, never in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from attrs import define

from cubie_planner.packing.items import Items
from cubie_planner.packing.many.bodies import Bodies, Body
from cubie_planner.packing.many.first_fit import CLASH, FirstFit
from cubie_planner.packing.many.one_pass import in_one_pass
from cubie_planner.packing.many.orders import ALWAYS, fills, orders, weights

SolveFew = Callable[[Items, int], tuple[Sequence[int] | None, int]]
"""Packs a few items exactly, within some nodes: returns offsets, or None, and the nodes."""

HOPELESS = 20_000_000_000
"""A pass that would look at more entries than this is not made: half a minute or more."""

LARGEST = ((True, 500), (False, 500), (True, 1000), (False, 1000), (True, 250))
"""How many of the largest bodies are packed exactly, and whether by crowded size."""

MOST_EXACT = 1500
"""So many bodies are packed exactly at most, those that are fixed included."""

NODES_PER_ITEM = (4, 32)
"""What the exact search may try for each of those, in the first round and in the second."""

ENTRIES_PER_ITEM = 40
"""What a node of the exact search takes for each item, in entries of first fit."""

LIFTS = 20
"""Passes in which what ended above the bound comes first, that may bring nothing in a row."""


@define(eq=False)
class _Best:
    """The lowest packing so far."""

    offsets: np.ndarray | None = None
    order: np.ndarray | None = None
    held: int = 0
    height: int = 1 << 61


def pack_many(given: Sequence[Body], enough: int, work: int, few: SolveFew) -> list[int] | None:
    """Pack bodies as low as the work allows.

    Parameters
    ----------
    given : sequence of Body
    enough : int
        The first packing that is no higher is returned.
    work : int
        Entries of first fit to look at. The orders by size and by time are tried in any
        case, unless one pass would take too long (`HOPELESS`) and time is passed over once.
    few : callable

    Returns
    -------
    list of int or None
        Offsets; None if fixed bodies overlap.
    """
    bodies = Bodies.of(given)
    if bodies.entries > HOPELESS:
        return in_one_pass(given)
    search = _Search(bodies, max(enough, bodies.bound), work, few)
    search.run()
    best = search.best.offsets
    return None if best is None else list(map(int, best))


class _Search:
    """One search: what it works on, and the best so far."""

    def __init__(self, bodies: Bodies, enough: int, work: int, few: SolveFew):
        self.bodies, self.enough, self.work, self.few = bodies, enough, work, few
        self.fit = FirstFit(bodies.tables)
        self.best = _Best()
        self.settled: set[tuple[bool, int]] = set()
        self.fixed = np.flatnonzero(bodies.fixed >= 0).astype(np.int64)
        self.start = np.where(bodies.fixed >= 0, bodies.fixed, 0)

    def run(self) -> None:
        """Try orders, then the exact search on the largest, then lifts, until enough."""
        for index, order in enumerate(orders(self.bodies)):
            if self.is_over and index >= ALWAYS:
                return
            if not self.attempt(order) or self.best.height <= self.enough:
                return
        for round_number, nodes_per_item in enumerate(NODES_PER_ITEM):
            for crowded, count in LARGEST:
                if not self.is_over and (crowded, count) not in self.settled:
                    self.with_largest(crowded, count, nodes_per_item)
            if not round_number:
                self.lift()

    @property
    def is_over(self) -> bool:
        """Whether the work is done, or a packing is low enough."""
        return self.fit.work >= self.work or self.best.height <= self.enough

    def attempt(
        self, order: np.ndarray, held: Sequence[int] = (), places: np.ndarray | None = None
    ) -> bool:
        """Make one pass, with `held` bodies where `places` has them; False if those clash."""
        offsets = (self.start if places is None else places).copy()
        stay = self.fixed if places is None else np.array(held, np.int64)
        moving = np.ones(len(order), bool)
        moving[stay] = False
        full = np.concatenate([stay, order[moving[order]]])
        height = self.fit(full, offsets, len(stay), self.best.height - 1)
        if height == CLASH:
            return False
        if height < self.best.height:
            self.best = _Best(offsets, full, len(stay), height)
        return True

    def with_largest(self, crowded: bool, count: int, nodes_per_item: int) -> None:
        """Pack the largest bodies exactly, and fill up what they leave in a few orders."""
        bodies, weight = self.bodies, weights(self.bodies)[crowded]
        whole = np.array([body.residue == 0 for body in bodies.given])
        candidates = np.flatnonzero(whole & (bodies.fixed < 0))
        largest = candidates[np.argsort(-weight[candidates], kind="stable")][:count]
        chosen = [*map(int, self.fixed), *map(int, largest)]
        if len(chosen) > MOST_EXACT or not chosen or not all(whole[self.fixed]):
            return
        given = [bodies.given[i] for i in chosen]
        items = Items(
            [body.size for body in given],
            [body.modulus for body in given],
            [body.spans for body in given],
            [body.fixed for body in given],
            [-1] * len(given),
            [-1] * len(given),
        )
        per_node = ENTRIES_PER_ITEM * len(given)
        limit = min(nodes_per_item * len(given), (self.work - self.fit.work) // per_node)
        found, nodes = self.few(items, limit)
        self.fit.work += nodes * per_node
        if nodes < limit:
            self.settled.add((crowded, count))
        if found is None:
            return
        places = np.zeros(len(bodies), np.int64)
        places[chosen] = found
        for order in fills(bodies, weight):
            self.attempt(order, chosen, places)
            if self.is_over:
                return

    def lift(self) -> None:
        """Place what ended above the bound first, pass after pass, beginning with the best."""
        if self.best.order is None or self.best.offsets is None:
            return
        order, held = self.best.order, len(self.fixed)
        order = np.concatenate([self.fixed, order[self.bodies.fixed[order] < 0]])
        offsets = self.best.offsets
        fruitless = 0
        while fruitless < LIFTS and not self.is_over:
            high = offsets[order] + self.bodies.size[order] > self.enough
            high[:held] = False
            low = ~high
            low[:held] = False
            order = np.concatenate([order[:held], order[high], order[low]])
            offsets = self.start.copy()
            height = self.fit(order, offsets, held)
            fruitless += 1
            if height < self.best.height:
                fruitless = 0
                self.best = _Best(offsets.copy(), order, held, height)
