"""Where a buffer may live: the places every kernel has, and pools of memory beside them."""

import math
import numbers
import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from attrs import field, frozen

from cubie_planner.basics import PlannerError, is_integer, nearest_hint
from cubie_planner.declarations.byte_counts import as_bytes, told

MAX_POOL_BYTES = 2**50
POOL_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class PoolError(PlannerError, ValueError):
    """A pool was declared with values that cannot mean anything.

    Attributes
    ----------
    pool : str
        Its name, or what was given in its place.
    """

    def __init__(self, pool: str, message: str):
        super().__init__(f"pool `{pool}`: {message}")
        self.pool = pool


class Scope(StrEnum):
    """What has one copy of a buffer: each thread (or run), a block, a cluster, the grid."""

    THREAD = "thread"
    BLOCK = "block"
    CLUSTER = "cluster"
    GRID = "grid"


class Location(StrEnum):
    """Where a buffer of a thread lives.

    ``SHARED``: a slice of the block's shared memory. ``LOCAL``: an array of its own
    in registers or the thread's stack. ``LOCAL_PERSISTENT``: a slice of one
    thread-local arena that survives across calls. ``GLOBAL``: a slice of memory that a
    launch brings for every thread, which survives as well; elements of neighbouring threads
    lie side by side.
    """

    SHARED = "shared"
    LOCAL = "local"
    LOCAL_PERSISTENT = "local_persistent"
    GLOBAL = "global"

    @classmethod
    def parse(cls, text: "str | Location") -> "Location":
        """Return the member named by `text`; a typo is answered with the nearest word."""
        if isinstance(text, cls):
            return text
        words = [member.value for member in cls]
        if isinstance(text, str) and text in words:
            return cls(text)
        raise _unknown(text, words)

    @property
    def scope(self) -> Scope:
        """Each thread has its own."""
        return Scope.THREAD


def _unknown(text: object, words: list[str]) -> ValueError:
    return ValueError(
        f"location {text!r} is unknown{nearest_hint(text, words)}; "
        f"allowed: {', '.join(repr(word) for word in words)}"
    )


def _scope(value: Any) -> Scope:
    return Scope(value) if value in list(Scope) else value  # refused where the pool has its name


@frozen(cache_hash=True)
class Pool:
    """A piece of memory beside the places that every kernel has: it holds many buffers.

    Name it among the `locations` of the buffers that may be there. The kernel brings the memory
    and hands it to the allocators: a row of a scratch array, an array on the stack that is small
    enough for the L1 cache, the shared memory of another block of the cluster.

    Parameters
    ----------
    name : str
        Letters, digits and underscores.
    capacity_bytes : int, str or None
        What one thread, block, cluster or grid, by `scope`, has of it; None means no limit.
    scope : Scope or str
        What has one copy of each buffer in it.
    cost : float
        What an access costs there, in accesses to shared memory. "auto" weighs it; without a
        device each buffer there counts ``round(2 * cost)`` points.
    alignment : int
        Power of two that its first byte is a multiple of: no buffer in it may ask for more.
    """

    name: str
    capacity_bytes: int | None = field(default=None, converter=as_bytes)
    scope: Scope = field(default=Scope.THREAD, converter=_scope)
    cost: float = 4.0
    alignment: int = 256

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.name, str) or not POOL_NAME.fullmatch(self.name):
            raise PoolError(
                str(self.name),
                "the name must be of letters, digits and underscores, first a letter",
            )
        if self.name in RESERVED:
            raise PoolError(self.name, "the name has a meaning of its own; take another")
        most = self.capacity_bytes
        if most is not None and (not is_integer(most) or not 0 <= most <= MAX_POOL_BYTES):
            raise PoolError(
                self.name,
                f"capacity_bytes must be from 0 to {MAX_POOL_BYTES}, or None for no limit; "
                f"{told(most)}",
            )
        if not isinstance(self.scope, Scope):
            raise PoolError(
                self.name,
                f"scope must be one of {', '.join(map(repr, map(str, Scope)))}, got {self.scope!r}",
            )
        cost = self.cost
        if not isinstance(cost, numbers.Real) or isinstance(cost, bool) or not 0 <= cost <= 2**20:
            raise PoolError(self.name, f"cost must be a number from 0 to 2**20, got {cost!r}")
        unit = self.alignment
        if not is_integer(unit) or not 0 < unit <= 4096 or unit & (unit - 1):
            raise PoolError(
                self.name, f"alignment must be a power of two from 1 to 4096, got {unit!r}"
            )

    def __str__(self) -> str:
        return self.name

    def __lt__(self, other: object) -> bool:
        return str(self) < str(other)

    def __gt__(self, other: object) -> bool:
        return str(self) > str(other)


RESERVED: frozenset[str] = frozenset()  # until the planner's own pool has its name
TILE = Pool("tile", None, Scope.BLOCK, cost=1.0, alignment=1024)
"""The part of a block's shared memory that all its threads use together; slices follow it."""
RESERVED = frozenset({*Location, "tile", "cost", "moves", "max_shared", "local_and_persistent"})

Place = Location | Pool
"""Where a buffer may live."""

ARENAS = (Location.SHARED, Location.LOCAL_PERSISTENT, Location.GLOBAL)
"""The places of a thread that have offsets: many buffers in one range of bytes. Pools have, too."""

OWN_PLACES: frozenset[Place] = frozenset(
    {Location.SHARED, Location.LOCAL, Location.LOCAL_PERSISTENT}
)
"""What a kernel has by itself; global memory is handed to it."""


def parse_place(value: str | Place) -> Place:
    """Return the place that a word or a pool names."""
    if isinstance(value, Location | Pool):
        return value
    words = [*map(str, Location), TILE.name]
    if isinstance(value, str) and value in words:
        return TILE if value == TILE.name else Location(value)
    raise _unknown(value, words)


def has_offsets(place: Place) -> bool:
    """Return whether buffers there have offsets: everywhere but in arrays of their own."""
    return place is not Location.LOCAL


def rank(place: Place) -> tuple[int, str]:
    """Return what places are sorted by: the thread's own first, then tiles, then pools by name."""
    if isinstance(place, Location):
        return list(Location).index(place), ""
    return len(Location) + (place != TILE), place.name


def in_order(places: Iterable[Place]) -> list[Place]:
    """Return places in the order in which they are told."""
    return sorted(places, key=rank)


def words(places: Iterable[Place]) -> str:
    """Return the names of places, in order."""
    return ", ".join(map(str, in_order(places)))


def first_choice(order: Iterable[Place], allowed: Iterable[Place]) -> Place:
    """Return the first of `order` that is allowed, else tiles, else the cheapest pool."""
    allowed = set(allowed)
    for place in (*order, TILE):
        if place in allowed:
            return place
    return min(allowed, key=lambda place: (getattr(place, "cost", math.inf), str(place)))
