"""The answer as values: where every buffer lives, what was proven, and what it adds up to."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

import numpy as np
from attrs import field, frozen

from cubie_planner.basics import Status, round_up
from cubie_planner.declarations.buffers import Interval, Lifetime
from cubie_planner.declarations.limits import Limits
from cubie_planner.declarations.places import TILE, Location, Place
from cubie_planner.declarations.problem import Problem

COST, SHARED, PRIVATE, IN_GLOBAL, MOVES = (
    *("cost", "shared_bytes", "local_and_persistent_bytes", "global_bytes", "moves"),
)
"""Names of the levels, in the order in which they matter; tiles come after the slices, pools
after global memory."""


def level_of(place: Place) -> str:
    """Return the name of the level that counts the bytes of an arena."""
    return PRIVATE if place is Location.LOCAL_PERSISTENT else f"{place}_bytes"


def byte_levels(problem: Problem) -> tuple[str, ...]:
    """Return the levels that count bytes, in order: those of places that a buffer may be in."""
    used = {place for b in problem.buffers if b.size_bytes for place in b.locations}
    runs = problem.has_runs
    others = [place for place in (Location.GLOBAL, *problem.pools.values()) if place in used]
    return (
        *((SHARED,) if runs else ()),
        *((level_of(TILE),) if TILE in used else ()),
        *((PRIVATE,) if runs else ()),
        *map(level_of, others),
    )


@frozen
class Level:
    """One objective, in the order in which they matter.

    Attributes
    ----------
    name : str
        What is minimised.
    value, bound : int
        What the plan reaches, and the proven lower bound given the levels before.
    status : Status
    """

    name: str
    value: int
    bound: int

    @property
    def status(self) -> Status:
        """OPTIMAL exactly when the value meets the bound."""
        return Status.OPTIMAL if self.value <= self.bound else Status.FEASIBLE

    @property
    def gap(self) -> float:
        """Relative distance between value and bound, 0 when proven."""
        return (self.value - self.bound) / self.value if self.value > self.bound else 0.0


@frozen
class Prices:
    """What the first objective, the cost, charges.

    Attributes
    ----------
    places : mapping of str to mapping of Location or Pool to int
        Price of every place in which a buffer that needs bytes may be.
    unit : str
        What a price counts, in words.
    cap : int or None
        Shared bytes per run above which a plan costs `surcharge` besides; None for no cap.
    surcharge : int
    """

    places: Mapping[str, Mapping[Place, int]]
    unit: str = ""
    cap: int | None = None
    surcharge: int = 0

    @property
    def mean_anything(self) -> bool:
        """False where every choice is free: the cost is then no objective."""
        return any(price for prices in self.places.values() for price in prices.values())


@frozen
class Placement:
    """Where one buffer lives.

    Attributes
    ----------
    location : Location or Pool
    offset : int or None
        Bytes from the start of the run's shared slice, of the block's shared memory for a tile,
        of the persistent arena, of a pool, or of the run's part of global memory; None for a
        local array (a child inside one has `parent_offset`), and for a buffer that needs no bytes.
    parent : str or None
        The alias parent it lies in, when it does.
    parent_offset : int or None
        Bytes from the start of that parent.
    lifetime : intervals or None
        None means always alive.
    reason : str
        Why it lives there, in words.
    """

    name: str
    location: Place
    offset: int | None
    size_bytes: int
    n_elements: int
    dtype: np.dtype
    parent: str | None = None
    parent_offset: int | None = None
    lifetime: Lifetime | None = None
    pin: Place | None = None
    reason: str = ""

    @property
    def end(self) -> int | None:
        """First byte after it, where it has an offset."""
        return None if self.offset is None else self.offset + self.size_bytes


@frozen
class Peak:
    """The program points at which most bytes of shared memory, or of its tiles, are alive.

    Attributes
    ----------
    interval : (start, end) or None
        The first such range of points; None when every buffer is always alive.
    buffers : tuple of str
        The buffers alive there.
    live_bytes : int
        Bytes they cover, shared bytes of aliases counted once.
    """

    interval: Interval | None
    buffers: tuple[str, ...]
    live_bytes: int


@frozen
class Answer:
    """A placement for every buffer of a problem, and what follows from that alone.

    Attributes
    ----------
    problem : Problem
        What was asked; a plan carries it so that it can be verified on its own.
    placements : mapping of str to Placement
        In the order in which the buffers were declared.
    levels : tuple of Level
        The objectives in order, each with what was proven.
    digest : str
        Digest of the problem this plan answers.
    note : str
        What the cost rule of "auto" expects, in words.
    prices : Prices
        What the level ``cost`` adds up.
    from_file : bool
        True for a plan that was read: its bounds are what the file claims, and were not
        proven by this process. Nothing that plans are compared by.
    """

    problem: Problem
    placements: Mapping[str, Placement]
    levels: tuple[Level, ...] = ()
    digest: str = ""
    note: str = ""
    prices: Prices = Prices({})
    from_file: bool = field(default=False, eq=False, kw_only=True)

    @property
    def limits(self) -> Limits:
        """The limits the plan was made for."""
        return self.problem.limits

    @property
    def status(self) -> Status:
        """OPTIMAL when there are levels and every one is proven, else FEASIBLE."""
        proven = all(level.status is Status.OPTIMAL for level in self.levels)
        return Status.OPTIMAL if proven and self.levels else Status.FEASIBLE

    @cached_property
    def shared_bytes_per_run(self) -> int:
        """Bytes of one run's shared slice, before padding."""
        return self._arena_bytes(Location.SHARED)

    @cached_property
    def shared_alignment(self) -> int:
        """Widest alignment of what is shared."""
        by_name = self.problem.by_name
        return max((by_name[p.name].alignment for p in self.shared), default=1)

    @cached_property
    def run_stride_bytes(self) -> int:
        """Distance between the shared slices of consecutive runs."""
        return self.limits.stride(self.shared_bytes_per_run, self.shared_alignment)

    @cached_property
    def shared_bytes_per_block(self) -> int:
        """Shared memory one block asks for: its tiles, and the slices of its runs above them."""
        run, unit = self.shared_bytes_per_run, self.shared_alignment
        return self.limits.block_bytes(run, unit, self.tile_bytes)

    @cached_property
    def tile_bytes(self) -> int:
        """Bytes of shared memory that the threads of a block use together."""
        return self._arena_bytes(TILE)

    @cached_property
    def slices_start_bytes(self) -> int:
        """First byte of the slices in the block's shared memory."""
        if not self.shared_bytes_per_run:
            return self.tile_bytes
        return self.limits.slices_start(self.tile_bytes, self.shared_alignment)

    @cached_property
    def pool_bytes(self) -> Mapping[str, int]:
        """Bytes of every pool, by name, for what has one copy of it."""
        return {name: self._arena_bytes(pool) for name, pool in self.problem.pools.items()}

    @cached_property
    def persistent_bytes(self) -> int:
        """Bytes of the arena that survives across calls, per run."""
        return self._arena_bytes(Location.LOCAL_PERSISTENT)

    @cached_property
    def global_bytes(self) -> int:
        """Bytes of global memory that a launch brings for each run."""
        return self._arena_bytes(Location.GLOBAL)

    @cached_property
    def local_bytes(self) -> int:
        """Bytes of all local arrays per run; children inside one count once."""
        return sum(
            p.size_bytes
            for p in self.placements.values()
            if p.location is Location.LOCAL and p.parent is None
        )

    @cached_property
    def shared_bytes_without_reuse(self) -> int:
        """Shared bytes per run if neither lifetimes nor optional aliases were used."""
        return self.bytes_without_reuse(Location.SHARED)

    def bytes_without_reuse(self, place: Place) -> int:
        """Return the bytes of an arena if neither lifetimes nor optional aliases were used."""
        by_name = self.problem.by_name
        held = self.placed_in(place)
        return self.stacked_bytes(p for p in held if not by_name[p.name].alias_required)

    def stacked_bytes(self, placements: Iterable[Placement]) -> int:
        """Return the bytes that placements take one above the other, widest alignment first."""
        by_name = self.problem.by_name
        end = 0
        for placement in sorted(placements, key=lambda p: -by_name[p.name].alignment):
            end = round_up(end, by_name[placement.name].alignment) + placement.size_bytes
        return end

    def ancestors(self, name: str) -> Iterator[str]:
        """Yield what a buffer lies in, from its parent to the outermost."""
        parent = self.placements[name].parent
        while parent is not None:
            yield parent
            parent = self.placements[parent].parent

    @cached_property
    def shared(self) -> tuple[Placement, ...]:
        """The placements that occupy slices of shared memory."""
        return self.placed_in(Location.SHARED)

    def placed_in(self, place: Place) -> tuple[Placement, ...]:
        """Return the placements that occupy bytes of a place."""
        return tuple(
            p for p in self.placements.values() if p.location == place and p.size_bytes > 0
        )

    @cached_property
    def peak(self) -> Peak:
        """The program points at which most bytes of slices of shared memory are alive."""
        return self.peak_of(Location.SHARED)

    def peak_of(self, place: Place) -> Peak:
        """Return the program points at which most bytes of an arena are alive."""
        held = self.placed_in(place)
        begin: dict[int, list[Placement]] = {}
        end: dict[int, list[Placement]] = {}
        for placement in held:
            for start, stop in placement.lifetime or ():
                begin.setdefault(start, []).append(placement)
                end.setdefault(stop, []).append(placement)
        live = {p.name: p for p in held if p.lifetime is None}
        best = Peak(None, tuple(live), _covered_bytes([*live.values()]))
        total = sum(p.size_bytes for p in live.values())
        for start, stop in itertools.pairwise(sorted(begin.keys() | end.keys())):
            for placement in end.get(start, ()):
                del live[placement.name]
                total -= placement.size_bytes
            for placement in begin.get(start, ()):
                live[placement.name] = placement
                total += placement.size_bytes
            # Nested buffers cover no bytes of their own: never more than the sum of sizes.
            if total > best.live_bytes or best.interval is None:
                covered = _covered_bytes([*live.values()])
                if covered > best.live_bytes or best.interval is None:
                    names = tuple(p.name for p in held if p.name in live)
                    best = Peak((start, stop), names, covered)
        return best

    def _arena_bytes(self, place: Place) -> int:
        ends = (p.end or 0 for p in self.placements.values() if p.location == place)
        return max(ends, default=0)

    @property
    def totals(self) -> dict[str, int]:
        """What the placements add up to, in bytes."""
        return {
            "shared_bytes_per_run": self.shared_bytes_per_run,
            "run_stride_bytes": self.run_stride_bytes,
            "shared_bytes_per_block": self.shared_bytes_per_block,
            "local_bytes": self.local_bytes,
            "persistent_bytes": self.persistent_bytes,
            # Files of plans without any stay what they were.
            **({"global_bytes": self.global_bytes} if self.global_bytes else {}),
            **({"tile_bytes": self.tile_bytes} if self.tile_bytes else {}),
            **{f"{name}_bytes": used for name, used in self.pool_bytes.items()},
        }


def _covered_bytes(placements: list[Placement]) -> int:
    """Bytes covered by at least one placement."""
    covered = top = 0
    for placement in sorted(placements, key=lambda p: p.offset or 0):
        start, end = placement.offset or 0, placement.end or 0
        covered += max(0, end - max(start, top))
        top = max(top, end)
    return covered
