"""From bodies to offsets: orders in turn, the largest bodies exactly, failures earlier, ejection.

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
from cubie_planner.packing.many.orders import ALWAYS, crowded_size, fills, orders
from cubie_planner.packing.many.ways import WAYS, Ejection

SolveFew = Callable[[Items, int | None, int], tuple[Sequence[int] | None, int]]
"""Packs a few items within a capacity, or as low as possible, and within some nodes: returns
offsets, or None, and the nodes."""

HOPELESS = 20_000_000_000
"""A pass that would look at more entries than this is not made: half a minute or more."""

LARGEST = ((2, 500), (4, 500), (0, 500), (4, 1000), (2, 250))
"""How crowded the size is by which bodies are the largest, and how many are packed exactly."""

MOST_EXACT = 1500
"""So many bodies are packed exactly at most, those that are fixed included."""

NODES_PER_ITEM = (4, 32)
"""What the exact search may try for each of those, in the first round and in the second."""

ENTRIES_PER_ITEM = 40
"""What a node of the exact search takes for each item, in entries of first fit."""

ENTRIES_PER_PAIR = 300
"""What the start of the exact search takes for each pair that lives together."""

ENDLESS = 1 << 61

KEPT = 3
"""So many of the lowest packings are kept, to be lifted."""

ENTRIES_PER_BODY = 32
"""What it takes to sort an order anew, for each body, in entries of first fit."""

CHANCES = 12
"""So many shares drawn by chance may bring nothing in a row."""

LIFTED_SHARE = 8
"""Of the work that is left, what lifting one packing takes at most: one in so many."""

LIFTS = 5
"""Passes in which what ended above the bound comes earlier, that may bring nothing in a row."""

IN_VAIN = 2
"""If so many of those bring nothing, the others are left for the second round."""

UNTIL_EJECTED = 0.9
"""Of the work, what may be done when ejection ends; the rest is for what comes after it."""

EJECTION_TIMES = 3
"""Of what was done before, how many times as much ejection takes at most."""

EJECTION_SHARE = 5
"""Of the work that is left, what one ejection takes at most: one in so many."""

CEILINGS = (2, 4)
"""How far ceilings are below the lowest packing: one in so many of what it is too high. The next
is for when every way to eject has failed by the one before."""

NEAR = 0.005
"""A packing that is within this share of what is enough gets less work, in proportion."""

LEAST_SHARE = 1 / 16
"""Of the work, what the nearest get."""

SHARES = (0.5, 0.75, 0.9)
"""To which share of its place in the order that moves."""


@define(eq=False)
class _Found:
    """A packing by first fit, and the order that it was made in."""

    offsets: np.ndarray
    order: np.ndarray
    height: int


CLASHING = _Found(np.zeros(0, np.int64), np.zeros(0, np.int64), CLASH)
"""Stands for a packing where fixed bodies overlap."""


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
    return None if search.best is None else list(map(int, search.best.offsets))


class _Search:
    """One search: what it works on, and the lowest packings so far."""

    def __init__(self, bodies: Bodies, enough: int, work: int, few: SolveFew):
        self.bodies, self.enough, self.work, self.few = bodies, enough, work, few
        self.allowed = work
        self.fit = FirstFit(bodies.tables)
        self.lowest: list[_Found] = []
        self.fixed = np.flatnonzero(bodies.fixed >= 0).astype(np.int64)
        self.chance = np.random.RandomState(0)  # the same numbers in every version of NumPy
        self.start = np.where(bodies.fixed >= 0, bodies.fixed, 0)

    def run(self) -> None:
        """Try orders and pack the largest bodies exactly, in two rounds; in between, eject."""
        for index, order in enumerate(orders(self.bodies)):
            if self.is_over and index >= ALWAYS:
                return
            if self.attempt(order) is CLASHING or self.is_low_enough:
                return
        first, second = NODES_PER_ITEM
        by_orders = self.best
        for index, (crowded, count) in enumerate(LARGEST):
            is_vain = index >= IN_VAIN and self.best is by_orders
            if not self.is_over and not is_vain:
                self.with_largest(crowded, count, first)
        so_far = self.fit.work
        self.allowed = min(int(self.work * UNTIL_EJECTED), so_far * (1 + EJECTION_TIMES))
        self.eject()
        self.allowed = self.work
        for crowded, count in LARGEST:
            if not self.is_over:
                lowest = self.with_largest(crowded, count, second)
                if lowest is not None:
                    self.lift_both_ways(lowest)
        self.lift_lowest(self.left // (2 * KEPT))

    def eject(self) -> None:
        """Bring the lowest packing below one ceiling after the other.

        Where one way fails another may not: the next is tried. Where all have failed in a row they
        are tried again with a ceiling that is less low.
        """
        ways = [Ejection(self.bodies, way) for way in WAYS]
        turn = failed = 0
        while self.lowest and not self.is_over and failed < len(CEILINGS) * len(ways):
            best = self.lowest[0]
            part = (best.height - self.enough) // CEILINGS[failed // len(ways)]
            ceiling = best.height - max(part, 1)
            budget = max(self.left // EJECTION_SHARE, len(self.bodies))
            offsets, work = ways[turn % len(ways)](best.offsets, ceiling, budget)
            self.fit.work += work
            found = self.filled(offsets)
            if found.height < best.height:
                self.keep(found)
            has_failed = found.height > ceiling
            turn += has_failed
            failed = failed + 1 if has_failed else 0

    def filled(self, offsets: np.ndarray) -> _Found:
        """Place what has no place (-1) by first fit, in two orders; return the lower packing."""
        bodies = self.bodies
        waiting = np.flatnonzero(offsets < 0)
        # What is fixed leads every order: whoever lifts this one relies on it.
        placed = np.lexsort((offsets, bodies.fixed < 0))
        placed = placed[offsets[placed] >= 0].astype(np.int64)
        found = []
        for first in (bodies.size, bodies.size * np.sqrt(bodies.life)):
            waiting = waiting[np.argsort(-first[waiting], kind="stable")]
            order, filled = np.concatenate([placed, waiting]), offsets.copy()
            height = self.fit(order, filled, 0, ENDLESS, len(placed))
            found.append(_Found(filled, order, height))
        return min(found, key=lambda f: f.height)

    def lift_lowest(self, budget: int) -> None:
        """Lift each of the lowest packings by chance, with so much work for each."""
        for found in tuple(self.lowest):
            self.lift(found, budget, by_chance=True)

    @property
    def best(self) -> _Found | None:
        """The lowest packing so far."""
        return self.lowest[0] if self.lowest else None

    @property
    def left(self) -> int:
        """Work that is left; the nearer to what is enough, the less there is altogether."""
        allowed = self.allowed
        if self.lowest:
            gap = self.lowest[0].height / self.enough - 1
            allowed = int(allowed * min(1.0, max(gap / NEAR, LEAST_SHARE)))
        return max(allowed - self.fit.work, 0)

    @property
    def is_low_enough(self) -> bool:
        """Whether a packing is low enough."""
        return bool(self.lowest) and self.lowest[0].height <= self.enough

    @property
    def is_over(self) -> bool:
        """Whether the work is done, or a packing is low enough."""
        return not self.left or self.is_low_enough

    def attempt(self, order: np.ndarray) -> _Found | None:
        """Make one pass; None if it is not among the lowest, `CLASHING` if fixed bodies clash."""
        order = np.concatenate([self.fixed, order[self.bodies.fixed[order] < 0]])
        offsets = self.start.copy()
        ceiling = self.lowest[-1].height - 1 if len(self.lowest) == KEPT else ENDLESS
        height = self.fit(order, offsets, len(self.fixed), ceiling)
        if height == CLASH:
            return CLASHING
        return self.keep(_Found(offsets, order, height)) if height <= ceiling else None

    def keep(self, found: _Found, instead_of: _Found | None = None) -> _Found:
        """Keep a packing if it is among the lowest, in the place of the one it was made from."""
        others = [other for other in self.lowest if other is not instead_of]
        if all(found.height != other.height for other in others):
            self.lowest = sorted([*others, found], key=lambda f: f.height)[:KEPT]
        return found

    def with_largest(self, crowded: int, count: int, nodes_per_item: int) -> _Found | None:
        """Pack the largest bodies exactly, and fill up what they leave in a few orders.

        Placed by their offsets they end no higher than where they were packed. Returns the lowest
        of these packings, if it is among the lowest of all.
        """
        bodies, weight = self.bodies, crowded_size(self.bodies, crowded)
        whole = np.array([body.residue == 0 for body in bodies.given])
        candidates = np.flatnonzero(whole & (bodies.fixed < 0))
        largest = candidates[np.argsort(-weight[candidates], kind="stable")][:count]
        chosen = np.concatenate([self.fixed, largest])
        if not 0 < len(chosen) <= MOST_EXACT or not all(whole[self.fixed]):
            return None
        # The lower they lie the more room is above them; but any place that is low enough is right.
        for capacity in (None, self.enough):
            offsets = self.exactly(chosen, capacity, nodes_per_item)
            if offsets is not None and max(bodies.size[chosen] + offsets) <= self.enough:
                break
        else:
            return None
        chosen = chosen[np.argsort(offsets, kind="stable")]
        others = np.ones(len(bodies), bool)
        others[chosen] = False
        lowest: _Found | None = None
        for order in fills(bodies, weight):
            if self.is_over:
                return None
            found = self.attempt(np.concatenate([chosen, order[others[order]]]))
            if found is not None and (lowest is None or found.height < lowest.height):
                lowest = found
        return lowest

    def lift_both_ways(self, found: _Found) -> None:
        """Lift a packing by shares that are the same for all; by chance if it is the lowest."""
        found = self.lift(found, self.left // LIFTED_SHARE)
        if found is self.best:
            self.lift(found, self.left // LIFTED_SHARE, by_chance=True)

    def exactly(
        self, chosen: np.ndarray, capacity: int | None, nodes_per_item: int
    ) -> Sequence[int] | None:
        """Return offsets of a few bodies by the exact search, as far as the work allows."""
        bodies = self.bodies
        count = len(chosen)
        ended = np.searchsorted(np.sort(bodies.end[chosen]), bodies.start[chosen], "right")
        self.fit.work += ENTRIES_PER_PAIR * (count * (count - 1) // 2 - int(ended.sum()))
        given = [bodies.given[i] for i in chosen]
        none = [-1] * count
        items = Items(
            [body.size for body in given],
            [body.modulus for body in given],
            [body.spans for body in given],
            [body.fixed for body in given],
            none,
            none,
        )
        limit = min(nodes_per_item * count, self.left // (ENTRIES_PER_ITEM * count))
        found, nodes = self.few(items, capacity, limit)
        self.fit.work += nodes * ENTRIES_PER_ITEM * count
        return found

    def lift(self, found: _Found, budget: int, by_chance: bool = False) -> _Found:
        """Place what ended too high earlier, pass after pass, beginning with an order.

        A body moves to a share of its place in the order: at the very front it would take the
        room of what is larger. After a few passes that bring nothing the lowest of them is gone
        on with, by another share; or by shares of its own for every body, until the work is done.
        """
        until = self.fit.work + budget
        index = 0
        while not self.is_over and self.fit.work < until:
            if by_chance and index < CHANCES:
                shares = self.chance.random_sample(len(self.bodies))
            elif not by_chance and index < len(SHARES):
                shares = np.full(len(self.bodies), SHARES[index])
            else:
                break
            better = self._lifted(found, shares)
            index = 0 if better is not None and index else index + (better is None)
            found = better or found
        return found

    def _lifted(self, found: _Found, shares: np.ndarray) -> _Found | None:
        """Make some passes; return the first that is lower, or None."""
        order, offsets = found.order, found.offsets
        held = len(self.fixed)
        for _ in range(LIFTS):
            if self.is_over:
                return None
            self.fit.work += ENTRIES_PER_BODY * len(order)
            rank = np.arange(1.0, len(order) + 1)
            is_high = offsets[order] + self.bodies.size[order] > self.enough
            rank[is_high] *= shares[order[is_high]]
            rank[:held] = 0
            moved = order[np.argsort(rank, kind="stable")]
            differs = moved != order
            if not differs.any():
                return None
            order, offsets = moved, offsets.copy()
            height = self.fit(order, offsets, held, ENDLESS, int(np.argmax(differs)))
            if height < found.height:
                return self.keep(_Found(offsets, order, height), found)
        return None
