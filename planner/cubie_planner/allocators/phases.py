"""Which bytes hold nothing where a phase begins: what poisoning overwrites."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from attrs import field, frozen

from cubie_planner.allocators.recipes import AllocatorError, Recipe
from cubie_planner.basics import is_integer
from cubie_planner.declarations.buffers import Interval
from cubie_planner.declarations.places import TILE, Location, Place, Pool, Scope
from cubie_planner.plans.plan import Plan


@frozen(eq=False)
class Phases:
    """The lifetimes of a plan, as what may be overwritten between two program points.

    Attributes
    ----------
    plan : Plan
    recipes : mapping of str to Recipe
    poison : bool
        Whether the simulator overwrites what holds nothing.
    """

    plan: Plan
    recipes: Mapping[str, Recipe] = field(repr=False)
    poison: bool = False

    @cached_property
    def has_block_arrays(self) -> bool:
        """Whether threads of a block use arrays together, so that phases need a barrier."""
        held = [p.location for p in self.plan.placements.values() if p.size_bytes]
        pools = any(isinstance(place, Pool) and place.scope is Scope.BLOCK for place in held)
        return pools or (self.plan.limits.block_size == 1 and Location.SHARED in held)

    @cached_property
    def sizes(self) -> dict[Place, int]:
        """Bytes of every arena."""
        plan = self.plan
        return {
            place: max((p.end or 0 for p in plan.placed_in(place)), default=0)
            for place in plan.problem.arenas
        }

    def point_of(self, point: int | Interval) -> int:
        """Return a program point, given as one or as the interval of a phase."""
        first = point[0] if isinstance(point, tuple | list) and len(point) == 2 else point
        if isinstance(first, int | np.integer) and is_integer(first):
            return int(first)
        raise AllocatorError(
            f"a phase is told by a program point or an interval of them, got {point!r}"
        )

    def dead(self, place: Place, before: int | None, now: int) -> list[Interval]:
        """Return the bytes of an arena that hold nothing when `now` follows `before`.

        What lives on from one to the other keeps its bytes; back to an earlier point, as a loop
        goes, that is all that is alive at both. At the start, where nothing was before, only what
        is always alive may hold something, in memory that was there already.
        """
        kept = []
        for placement in self.plan.placed_in(place):
            spans = placement.lifetime
            if spans is None:
                fresh = before is None and place in (TILE, Location.SHARED)
                alive = not fresh
            else:
                alive = before is not None and _lives_on(spans, before, now)
            if alive and placement.offset is not None:
                kept.append((placement.offset, placement.offset + placement.size_bytes))
        return _outside(kept, self.sizes.get(place, 0))


def _lives_on(spans: Sequence[Interval], before: int, now: int) -> bool:
    held = [[start <= point < end for start, end in spans] for point in (before, now)]
    if now < before:
        return any(held[0]) and any(held[1])
    return any(first and second for first, second in zip(*held, strict=True))


def _outside(kept: Sequence[Interval], size: int) -> list[Interval]:
    """Return the ranges below `size` that no range in `kept` covers."""
    found, low = [], 0
    for start, end in [*sorted(kept), (size, size)]:
        if start > low:
            found.append((low, start))
        low = max(low, end)
    return found
