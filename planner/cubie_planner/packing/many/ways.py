"""Ways to eject: which bodies come first, and what pushing them out weighs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cubie_planner.packing.many.bodies import Bodies
from cubie_planner.packing.many.ejection import HELD, Listed, Ranked, State, program_of_ejection
from cubie_planner.packing.many.orders import crowded_size

HEAVIEST = 1 << 20
"""What the heaviest body weighs at first."""

PER_ENTRY = 5
"""So many entries are looked at in the time that one of first fit takes."""


class Way(NamedTuple):
    """In which order bodies are placed, and what they weigh; both by roots, which round alike.

    Attributes
    ----------
    crowded : int
        How crowded the size is (`crowded_size`) by which they are placed, and weigh.
    long_first : bool
        The size counts times the fourth root of the life.
    by_area : bool
        They weigh the root of size times life, not of the size alone.
    """

    crowded: int
    long_first: bool
    by_area: bool


WAYS = (Way(4, True, True), Way(0, False, True), Way(4, False, False), Way(0, True, True))
"""What turned out best on graphs of activations. Each fails somewhere, seldom all at once: the
first two care for the peak and for everything."""


class Ejection:
    """Ejection, compiled, on one set of bodies and in one way."""

    def __init__(self, bodies: Bodies, way: Way):
        self.bodies = bodies
        size, life = crowded_size(bodies, way.crowded), bodies.life.astype(float)
        importance = size * np.sqrt(np.sqrt(life)) if way.long_first else size
        weight = np.sqrt(size * life if way.by_area else size)
        weight = np.maximum(weight * (HEAVIEST / weight.max()), 1).astype(np.int64)
        self._weight = np.where(bodies.fixed >= 0, HELD, weight)
        body = np.lexsort((-importance, bodies.fixed < 0)).astype(np.int64)
        self._ranked = Ranked(body, np.argsort(body).astype(np.int64), self._weight[body])

    def __call__(self, offsets: np.ndarray, ceiling: int, work: int) -> tuple[np.ndarray, int]:
        """Bring a packing below a ceiling.

        Parameters
        ----------
        offsets : int array (n_bodies,), read
            What ends above the ceiling is placed anew, and all that comes later in the order.
        ceiling : int
        work : int
            In entries of first fit.

        Returns
        -------
        offsets : int array (n_bodies,)
            -1 where no place was found.
        work : int
        """
        bodies, rank = self.bodies, self._ranked.rank
        count = len(bodies)
        tops = offsets + bodies.size
        stays = rank < rank[tops > ceiling].min(initial=count)
        placed = np.flatnonzero(stays)
        waiting = np.sort(rank[~stays])
        state = State(
            offsets.copy(),
            tops,
            self._weight.copy(),
            self._listed(placed, offsets),
            self._listed(placed, tops),
            np.concatenate([waiting, np.zeros(count + 1 - len(waiting), np.int64)]),
            np.full(count, -1, np.int64),
            np.zeros(count + 1, np.int64),
            np.zeros(count + 1, np.int64),
        )
        counts = len(placed), len(waiting)
        limit = work * PER_ENTRY
        spent = program_of_ejection()(bodies.tables, self._ranked, state, *counts, ceiling, limit)
        return state.kept, int(spent) // PER_ENTRY

    def _listed(self, chosen: np.ndarray, key: np.ndarray) -> Listed:
        chosen = chosen[np.argsort(key[chosen], kind="stable")]
        arrays = (chosen, self.bodies.start[chosen], self.bodies.end[chosen])
        found = np.zeros((3, len(self.bodies) + 1), np.int32)
        for place, values in zip(found, arrays, strict=True):
            place[: len(chosen)] = values
        return Listed(*found)
