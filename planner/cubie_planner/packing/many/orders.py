"""Orders for first fit that turned out best on graphs of activations.

Bodies of about the same size that come one after the other in time fill each other's places,
as intervals are coloured; larger ones come first, since smaller ones fill what they leave. What
lives where memory is crowded is placed before what has room to spare. Logarithms and powers
are left out: their last bit is not the same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cubie_planner.packing.many.bodies import Bodies

ALWAYS = 4
"""Orders that are always tried: no answer is above the greedy by size."""

CROWD_CLASSES = 100
"""Levels of crowding that are told apart, from none to the peak."""

DOUBLINGS = (4, 2, 1)
"""Widths of the classes of size: 16, 4 and 2 times the smallest one."""

SHARPER = (4, 3, 5)
"""How often the share of the peak is squared in orders that care for little but the peak."""


def orders(bodies: Bodies) -> Iterator[np.ndarray]:
    """Yield orders of all bodies; the first `ALWAYS` are by size and by time."""
    size, life, start, end = bodies.size, bodies.life, bodies.start, bodies.end
    yield _sorted(-size)
    yield _sorted(-size, -life)
    yield _sorted(-size, start)
    yield _sorted(start, -size)
    crowd = bodies.crowding * CROWD_CLASSES // max(int(bodies.load.max()), 1)
    plain, crowded = crowded_size(bodies, 0), crowded_size(bodies, 2)
    for doublings in DOUBLINGS:
        exponent = -(np.frexp(plain)[1] // doublings)
        for inner in (start, -life, -end):
            yield _sorted(exponent, inner, -size)
        exponent = -(np.frexp(crowded)[1] // doublings)
        for inner in (-life, start):
            yield _sorted(exponent, inner, -size)
    yield _sorted(-crowd, -life, -size)
    yield _sorted(-crowd, -(np.frexp(plain)[1] // 2), -life, -size)
    yield _sorted(-plain * np.sqrt(np.sqrt(life)), -size)
    yield _sorted(-life, -size)
    yield _sorted(-plain * life, -size)
    for power in SHARPER:
        exponent = -np.frexp(crowded_size(bodies, power))[1]
        for inner in (start, -end):
            yield _sorted(exponent, inner, -size)


def crowded_size(bodies: Bodies, doublings: int) -> np.ndarray:
    """Return the size of every body where memory is crowded, less elsewhere.

    By the share of the peak that is alive then, squared so many times; by none it is the size.
    Where the load has a sharp peak, what lives a few per cent below it has room to spare.
    """
    share = bodies.crowding / max(int(bodies.load.max()), 1)
    for _ in range(doublings):
        share = share * share
    return bodies.size * share if doublings else bodies.size.astype(float)


def fills(bodies: Bodies, weight: np.ndarray) -> Iterator[np.ndarray]:
    """Yield orders in which to fill up what the largest bodies leave, by classes of weight."""
    for doublings in (2, 1):
        exponent = -(np.frexp(weight)[1] // doublings)
        for inner in (-bodies.life, bodies.start):
            yield _sorted(exponent, inner, -bodies.size)


def _sorted(*keys: np.ndarray) -> np.ndarray:
    """Return bodies by the first key, then the next; what is equal stays as given."""
    return np.lexsort(keys[::-1]).astype(np.int64)
