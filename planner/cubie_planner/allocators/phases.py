"""Which bytes hold nothing where a phase begins: what poisoning overwrites."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from attrs import field, frozen

from cubie_planner.allocators.recipes import AllocatorError, Recipe, pool_alignments
from cubie_planner.basics import is_integer
from cubie_planner.declarations.buffers import Interval
from cubie_planner.declarations.places import TILE, Location, Place, Pool, Scope
from cubie_planner.declarations.timeline import PhaseInterval
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
    begun : set of int
        Points where a simulated kernel began a phase since `begun` was emptied.
    """

    plan: Plan
    recipes: Mapping[str, Recipe] = field(repr=False)
    poison: bool = False
    begun: set[int] = field(factory=set, repr=False)

    @cached_property
    def pool_alignment(self) -> dict[str, int]:
        """What the first byte of each pool's memory has to be a multiple of."""
        return pool_alignments(self.plan, self.recipes)

    @cached_property
    def end(self) -> int:
        """The first program point at and after which no buffer lives by its lifetime."""
        lives = [p.lifetime for p in self.plan.placements.values() if p.lifetime]
        return max((end for spans in lives for _, end in spans), default=0)

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
        is_interval = isinstance(point, tuple | list)
        held: tuple[Any, ...] = tuple(point) if is_interval else (point,)
        is_told = len(held) == (2 if is_interval else 1)
        if not is_told or not all(isinstance(n, int | np.integer) and is_integer(n) for n in held):
            raise AllocatorError(
                f"a phase is told by a program point or an interval of them, got {point!r}"
            )
        first, last = int(held[0]), int(held[-1])
        if first < 0 or (is_interval and last <= first):
            raise AllocatorError(
                f"no phase begins at {point!r}: program points are counted from 0, and an interval "
                "of them is (start, end) with start < end"
            )
        # A timeline may go on after the last life: its intervals are phases, whatever lives there.
        after = max(self.end, 1)
        if not isinstance(point, PhaseInterval) and (last if is_interval else first + 1) > after:
            raise AllocatorError(
                f"no phase begins at {'' if is_interval else 'point '}{point!r}: the last program "
                f"point at which a buffer lives by its lifetime is {after - 1}. A phase that goes "
                "on after it is told by what `Timeline.point` or `Recorded.point` returns, which "
                "is known to exist; what it reads has to live then"
            )
        return first

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
