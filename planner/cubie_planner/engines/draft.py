"""What every engine returns: a draft of the plan, and what was proven on the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import field, frozen

from cubie_planner.declarations.places import Location, Place
from cubie_planner.engines.task import Task
from cubie_planner.plans.answer import COST, MOVES, PRIVATE, level_of


@frozen
class Claim:
    """Something proven: no plan has less than `bound` at `level`.

    Attributes
    ----------
    level : str
    bound : int
    given : mapping of str to int
        The claim is about plans that do not exceed these values of earlier levels.
    """

    level: str
    bound: int
    given: Mapping[str, int] = field(factory=dict)


@frozen
class Draft:
    """Locations, offsets and parents: a plan in the making.

    Attributes
    ----------
    locations : mapping of str to Location or Pool
    offsets : mapping of str to int
        Absolute in an arena; relative to the outermost parent for local buffers.
    parents : mapping of str to str
    """

    locations: Mapping[str, Place]
    offsets: Mapping[str, int]
    parents: Mapping[str, str]

    def values(self, task: Task) -> dict[str, int]:
        """Return what the draft reaches at every level."""
        ends = dict.fromkeys(task.arenas, 0)
        local = 0
        for buffer in task.buffers:
            where = self.locations[buffer.name]
            if where in ends:
                ends[where] = max(ends[where], self.offsets[buffer.name] + buffer.size_bytes)
            elif buffer.name not in self.parents:
                local += buffer.size_bytes
        cost = sum(task.domains[name][where] for name, where in self.locations.items())
        if task.best_cap is not None and ends[Location.SHARED] > task.best_cap:
            cost += task.surcharge
        values = {COST: cost, **{level_of(place): end for place, end in ends.items()}}
        values[PRIVATE] += local
        values[MOVES] = self.moves(task)
        return values

    def has_local_room(self, task: Task) -> bool:
        """Return whether local and persistent arrays keep within the task's cap of them."""
        return task.local_cap is None or self.values(task)[PRIVATE] <= task.local_cap

    def outermost(self, name: str) -> str:
        """Return the buffer that `name` finally lies in."""
        while name in self.parents:
            name = self.parents[name]
        return name

    def moves(self, task: Task) -> int:
        """Return how many buffers are elsewhere than in the previous plan."""
        previous = task.problem.previous
        return sum(
            previous[name] != (where, None if where is Location.LOCAL else self.offsets[name])
            for name, where in self.locations.items()
            if name in previous
        )

    def bounds(self, task: Task, claims: Iterable[Claim]) -> dict[str, int]:
        """Return the best proven bound per level, given what the draft reaches before it."""
        values = self.values(task)
        bounds = dict.fromkeys(task.levels(), 0)
        for claim in claims:
            holds = all(values[level] <= value for level, value in claim.given.items())
            if holds and claim.level in bounds:
                bounds[claim.level] = max(bounds[claim.level], claim.bound)
        return {level: min(bound, values[level]) for level, bound in bounds.items()}

    def proven(self, task: Task, claims: Iterable[Claim]) -> bool:
        """Return whether every level is proven optimal."""
        values = self.values(task)
        return all(values[level] == bound for level, bound in self.bounds(task, claims).items())

    def better_than(self, other: Draft | None, task: Task) -> bool:
        """Return whether this draft comes first in the order of the levels."""
        if other is None:
            return True
        mine, theirs = self.values(task), other.values(task)
        return [mine[n] for n in task.levels()] < [theirs[n] for n in task.levels()]
