"""What every engine works on: a problem made ready to solve."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from cubie_planner.declarations.buffers import Buffer
from cubie_planner.declarations.lifetimes import Liveness, liveness
from cubie_planner.declarations.places import TILE, Location, Place, Pool
from cubie_planner.declarations.problem import Problem
from cubie_planner.engines.allowed_locations import BY_POLICY, Domain, domains
from cubie_planner.plans.answer import COST, MOVES, Prices, byte_levels

if TYPE_CHECKING:
    from cubie_planner.gpu.objective import Objective

LIMIT = "max_shared"

LARGE = 1500
"""Above so many buffers places are packed as `engines.large` does, and nothing else runs."""

INTERPRETED_NODES = 10_000
COMPILED_NODES = 1_000_000
"""Nodes of the exact packing search per unit of effort: each a few seconds."""

ENDLESS_NODES = 2**50
"""What an infinite effort comes to."""


def nodes_of(effort: float, few: bool = False) -> int:
    """Return how many nodes of the exact packing search an effort pays for."""
    nodes = effort * (INTERPRETED_NODES if few else COMPILED_NODES)
    return int(min(nodes, ENDLESS_NODES))


@frozen
class Switches:
    """Parts of the search that can be turned off; no combination changes what is optimal.

    Attributes
    ----------
    first_fit : bool
        Start from a first-fit draft, and finish there when it is proven.
    exact_packing : bool
        Ask the exact packing search where locations and aliases are settled.
    load_rows : bool
        State the load of every section in the joint model.
    hints : bool
        Give the joint model the best draft as a start.
    """

    first_fit: bool = True
    exact_packing: bool = True
    load_rows: bool = True
    hints: bool = True


ALL_ON = Switches()


@frozen
class Task:
    """A problem made ready to solve.

    Attributes
    ----------
    problem : Problem
    buffers : tuple of Buffer
        Those that need bytes, in declared order.
    domains : mapping of str to Domain
    unit : str
        What the prices count.
    cap : int or None
        Shared bytes per run that no draft may exceed; gives way to pins.
    best_cap, cap_with_pins : int or None
        Shared bytes per run above which "auto" expects to lose, and what that gives way to.
    surcharge : int
        What a plan above `best_cap` costs besides.
    recommended : mapping of str to Location or Pool
        Locations to try first, where "auto" has an opinion.
    note : str
        What "auto" expects, in words.
    local_cap : int or None
        Bytes per run that local and persistent arrays may have together.
    fits : bool
        The first draft within the limits will do; nothing is lowered further.
    """

    problem: Problem
    buffers: tuple[Buffer, ...]
    domains: Mapping[str, Domain]
    unit: str = BY_POLICY
    cap: int | None = None
    best_cap: int | None = None
    cap_with_pins: int | None = None
    surcharge: int = 0
    recommended: Mapping[str, Place] = field(factory=dict)
    note: str = ""
    fits: bool = False
    local_cap: int | None = None

    @classmethod
    def of(cls, problem: Problem, objective: Objective | None = None) -> Task:
        """Prepare `problem`; the objective of "auto" is made here if none is given."""
        buffers = tuple(b for b in problem.buffers if b.size_bytes)
        if objective is None and not problem.names_a_place:
            from cubie_planner.gpu.objective import objective as make_objective

            objective = make_objective(problem)
        prepared = cls(problem, buffers, domains(problem, objective))
        if objective is None or problem.names_a_place:
            return prepared
        return evolve(
            prepared,
            unit=objective.unit,
            cap=objective.max_shared_bytes_per_run,
            best_cap=objective.max_shared_bytes_per_run,
            cap_with_pins=objective.cap_with_pins,
            surcharge=objective.surcharge,
            recommended={b.name: objective.recommended[b.name] for b in buffers},
            note=objective.reason,
        )

    @property
    def prices(self) -> Prices:
        """What the level ``cost`` adds up."""
        return Prices(self.domains, self.unit, self.best_cap, self.surcharge)

    @property
    def extra(self) -> int:
        """What every plan of the task costs besides: nothing, or the surcharge of no cap."""
        given_up = self.best_cap is not None and self.cap != self.best_cap
        return self.surcharge if given_up else 0

    def with_wider_cap(self) -> Task:
        """Return the task of which the cap has given way once more; the present one is refuted."""
        wider = self.cap_with_pins if self.cap == self.best_cap else None
        if wider is not None and self.cap is not None and wider <= self.cap:
            wider = None
        return evolve(self, cap=wider)

    @property
    def is_large(self) -> bool:
        """Whether only `engines.large` runs: no exact engine could hold the task."""
        return len(self.buffers) > LARGE

    @cached_property
    def live(self) -> Liveness:
        """Lifetimes as bit masks; too big to ask for in a large task."""
        return liveness(self.buffers)

    @cached_property
    def by_name(self) -> Mapping[str, Buffer]:
        """Buffers that need bytes, by name."""
        return {b.name: b for b in self.buffers}

    @cached_property
    def groups(self) -> tuple[tuple[tuple[Buffer, ...], Domain], ...]:
        """Buffers tied together by views with a single candidate, with summed prices.

        The members of a group live in one place; its first member is not such a view.
        An empty domain means that the members allow no common place.
        """
        root: dict[str, str] = {}
        members: dict[str, list[Buffer]] = {}
        for buffer in self.buffers:
            path = [buffer.name]
            while path[-1] not in root and (host := self._only_host(path[-1])) is not None:
                path.append(host)
            top = root.get(path[-1], path[-1])
            root.update(dict.fromkeys(path, top))
            members.setdefault(top, [])
        for buffer in self.buffers:
            at = 0 if root[buffer.name] == buffer.name else len(members[root[buffer.name]])
            members[root[buffer.name]].insert(at, buffer)
        found = []
        for group in members.values():
            common = set.intersection(*(set(self.domains[b.name]) for b in group))
            sums = {
                p: sum(self.domains[b.name][p] for b in group) for p in self.places if p in common
            }
            found.append((tuple(group), sums))
        return tuple(found)

    def _only_host(self, name: str) -> str | None:
        buffer = self.by_name[name]
        if not buffer.alias_required:
            return None
        found = [alias.parent for alias in buffer.aliases if alias.parent in self.by_name]
        return found[0] if len(found) == 1 else None

    @cached_property
    def has_cost(self) -> bool:
        """True when some place costs something, so that the first level means anything."""
        return any(cost for domain in self.domains.values() for cost in domain.values())

    @property
    def places(self) -> tuple[Place, ...]:
        """Every place, tiles first: what is above them in shared memory depends on their bytes."""
        return self.problem.places

    @property
    def arenas(self) -> tuple[Place, ...]:
        """The places that have offsets."""
        return self.problem.arenas

    def may_be(self, place: Place) -> list[Buffer]:
        """Return the buffers that may live in `place`."""
        return [b for b in self.buffers if place in self.domains[b.name]]

    def any_height_fits(self, place: Place) -> bool:
        """Return whether an arena that fits will do, however high; tiles leave room for slices."""
        return self.fits and not (place == TILE and self.problem.has_runs)

    def room(self, place: Place, locations: Mapping[str, Place], tile_bytes: int = 0) -> int | None:
        """Return the bytes that an arena may have, given where buffers live; None for no limit."""
        if place is Location.SHARED:
            shared = (b for b in self.buffers if locations[b.name] is Location.SHARED)
            return self.capacity(max((b.alignment for b in shared), default=1), tile_bytes)
        if place == TILE:
            return self.problem.limits.max_shared_bytes
        return place.capacity_bytes if isinstance(place, Pool) else None

    def capacity(self, alignment: int, tile_bytes: int = 0) -> int | None:
        """Return the shared bytes a run may use when `alignment` is the widest there."""
        limits = [self.problem.limits.run_capacity(alignment, tile_bytes), self.cap]
        return min((limit for limit in limits if limit is not None), default=None)

    def levels(self) -> tuple[str, ...]:
        """Return the names of the objectives, in order."""
        first = (COST,) if self.has_cost else ()
        last = (MOVES,) if self.problem.previous else ()
        return (*first, *byte_levels(self.problem), *last)
