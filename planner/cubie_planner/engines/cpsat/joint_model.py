"""The CP-SAT model: locations, offsets and aliases decided together.

One function per family of constraints, in `constraints`. What is decided, per buffer `b`:

- ``place[b][L]``: it lives in location L;
- ``nest[b][p]``: it lies inside the candidate parent `p`;
- ``offset[b]``: its first byte, a multiple of its alignment; in an arena an absolute
  offset, for local buffers an offset on a virtual line on which every outermost local
  array has a fixed range of its own.

The same model serves optimisation (one objective after the other) and explanation
(no objective; every pin, policy and limit can be assumed or not).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from attrs import frozen

from cubie_planner.basics import Status
from cubie_planner.declarations.buffers import Location
from cubie_planner.engines.cpsat.constraints import (
    add_capacity,
    add_containment,
    add_ends,
    add_heights,
    add_load_rows,
    add_locations,
    add_nested_disjoint,
    add_nesting,
    add_no_overlap,
    add_offsets,
    local_bases,
)
from cubie_planner.engines.cpsat.solver import Answer, Literal, SatModel, Terms, negated
from cubie_planner.engines.draft import Draft
from cubie_planner.engines.nesting import reachable
from cubie_planner.engines.task import Task
from cubie_planner.plans.plan import COST, MOVES, PRIVATE, SHARED


@frozen
class Demand:
    """Something the model can be asked to assume: the key of a clash's member.

    Attributes
    ----------
    kind : {"pin", "allowed", "offset", "view", "limit"}
        That a buffer is where its pin or the policy puts it; in a place that it allows;
        at its offset; inside one of its parents; that the limit holds.
    name : str
        The buffer, or ``max_shared``.
    """

    kind: str
    name: str


@frozen
class Outcome:
    """Result of one solve: its status, a proven bound, and the solution with its value, if any.

    The draft of a model without offsets has none either.
    """

    status: Status
    bound: int
    value: int
    draft: Draft | None


class JointModel:
    """The model of a task.

    Parameters
    ----------
    task : Task
    relaxable : bool
        True: pins, policies, views and the limit hold only where assumed.
    load_rows : bool
        False leaves out rows that are implied, but make the model far stronger.
    offsets : bool
        False relaxes the model: locations and parents under the load rows alone.
    tied : collection of str
        Of a relaxable model: the buffers that may follow one another to any place; by
        default the views and their parents.
    """

    def __init__(
        self,
        task: Task,
        relaxable: bool = False,
        load_rows: bool = True,
        offsets: bool = True,
        tied: Collection[str] = (),
    ):
        self.task = task
        self.relaxable = relaxable
        self.sat = SatModel()
        self.demands: dict[Demand, Literal] = {}
        self.place: dict[str, dict[Location, Literal]] = {}
        self.nest: dict[str, dict[str, Literal]] = {}
        self.offset: dict[str, int] = {}
        self.height: dict[Location, int] = {}
        self._top: dict[tuple[str, Location], Literal] = {}
        self._inside: dict[tuple[str, str, Location], Literal] = {}
        self.stacked: list[tuple[Literal, str, str]] = []
        self.within: dict[tuple[str, str], list[Literal]] = {}
        self.reach = reachable(task.buffers)
        self.tied = set(tied)
        if relaxable and not tied:
            views = [b for b in task.buffers if b.alias_required]
            self.tied = {b.name for b in views} | {a.parent for b in views for a in b.aliases}
        add_locations(self)
        add_nesting(self)
        add_heights(self)
        if offsets:
            add_offsets(self)
            add_ends(self)
            add_containment(self)
            add_no_overlap(self)
            add_nested_disjoint(self)
        if load_rows or not offsets:
            add_load_rows(self)
        add_capacity(self)

    def demand(self, kind: str, name: str) -> list[Literal]:
        """Return the literals under which a demand holds: none when it always does."""
        if not self.relaxable:
            return []
        key = Demand(kind, name)
        if key not in self.demands:
            self.demands[key] = self.sat.boolean()
        return [self.demands[key]]

    def top(self, name: str, place: Location) -> Literal:
        """Return the literal: `name` lives in `place` and inside no other buffer."""
        here = self.place[name][place]
        inside = list(self.nest[name].values())
        if not inside:
            return here
        key = (name, place)
        if key not in self._top:
            top = self._top[key] = self.sat.boolean()
            self.sat.any_of([top, *inside], [here])
            self.sat.implies(top, here)
            for literal in inside:
                self.sat.implies(top, negated(literal))
        return self._top[key]

    def inside(self, name: str, parent: str, place: Location) -> Literal:
        """Return a literal that is true when `name` lies inside `parent` in `place`."""
        here, nested = self.place[name][place], self.nest[name][parent]
        if here == self.sat.true:
            return nested
        key = (name, parent, place)
        if key not in self._inside:
            both = self._inside[key] = self.sat.boolean()
            self.sat.any_of([both], [here, nested])
        return self._inside[key]

    def objective(self, level: str) -> Terms:
        """Return the expression a level minimises."""
        if level == COST:
            return [
                (cost, self.place[name][place])
                for name, domain in self.task.domains.items()
                for place, cost in domain.items()
            ]
        if level == MOVES:
            return [(1, literal) for literal in moved_literals(self)]
        place = Location.SHARED if level == SHARED else Location.LOCAL_PERSISTENT
        terms = [(1, self.height[p]) for p in (place,) if p in self.height]
        if level == PRIVATE:
            locals_ = self.task.may_be(Location.LOCAL)
            terms += [(b.size_bytes, self.top(b.name, Location.LOCAL)) for b in locals_]
        return terms

    def solve(self, objective: Terms | None, effort: float) -> Outcome:
        """Minimise `objective` (None: find any solution) within a deterministic effort."""
        answer = self.sat.solve(effort, objective)
        draft = self._read(answer) if answer.values else None
        return Outcome(answer.status, answer.bound, answer.value, draft)

    def clash(self, assumed: Iterable[Demand], effort: float) -> tuple[Status, list[Demand]]:
        """Assume demands; return the status and, when infeasible, some that clash."""
        assumed = list(assumed)
        answer = self.sat.solve(effort, assumed=[self.demands[key] for key in assumed])
        return answer.status, [key for key in assumed if self.demands[key] in answer.core]

    def hint(self, draft: Draft) -> None:
        """Give the solver a full solution to start from."""
        self.sat.clear_hints()
        base = local_bases(self.task)
        starts: dict[str, int] = {}
        for name, places in self.place.items():
            where = draft.locations[name]
            for place, literal in places.items():
                self.sat.hint(literal, place is where)
            for parent, literal in self.nest[name].items():
                self.sat.hint(literal, draft.parents.get(name) == parent)
            start = draft.offsets[name]
            if where is Location.LOCAL:
                start += base.get(outermost(draft, name), 0)
            starts[name] = start
            self.sat.hint(self.offset[name], start // self.task.by_name[name].alignment)
        for (name, place), literal in self._top.items():
            here = draft.locations[name] is place and name not in draft.parents
            self.sat.hint(literal, here)
        ends = {name: start + self.task.by_name[name].size_bytes for name, start in starts.items()}
        for literal, lower, upper in self.stacked:
            self.sat.hint(literal, ends[lower] <= starts[upper])
        for place, height in self.height.items():
            there = [ends[name] for name, where in draft.locations.items() if where is place]
            self.sat.hint(height, max(there, default=0))

    def _read(self, answer: Answer) -> Draft:
        locations, parents, offsets = {}, {}, {}
        for name, places in self.place.items():
            locations[name] = next(p for p, literal in places.items() if answer.holds(literal))
            for parent, literal in self.nest[name].items():
                if answer.holds(literal):
                    parents[name] = parent
            if name in self.offset:
                unit = self.task.by_name[name].alignment
                offsets[name] = unit * answer.values[self.offset[name]]
        draft = Draft(locations, offsets, parents)
        if not offsets:
            return draft
        base = local_bases(self.task)
        for name, where in locations.items():
            if where is Location.LOCAL:
                offsets[name] -= base.get(outermost(draft, name), 0)
        return draft


def outermost(draft: Draft, name: str) -> str:
    """Return the buffer that `name` finally lies in."""
    while name in draft.parents:
        name = draft.parents[name]
    return name


def moved_literals(m: JointModel) -> list[Literal]:
    """Return, per buffer of the previous plan, a literal that is true when it moved."""
    moved = []
    for name, (where, start) in m.task.problem.previous.items():
        if name not in m.place:
            continue
        literal = m.sat.boolean()
        moved.append(literal)
        here = m.place[name].get(where)
        unit = m.task.by_name[name].alignment
        if here is None or (start is not None and start % unit):
            m.sat.any_of([literal])
            continue
        m.sat.any_of([literal, here])
        if start is not None:
            at = start // unit
            m.sat.linear([(1, m.offset[name])], at, at, [negated(literal)])
    return moved
