"""The CP-SAT model: locations, offsets and aliases decided together.

`variables` says what is decided, `constraints` has one function per family of constraints.
The same model serves optimisation (one objective after the other) and explanation
(no objective; every pin, policy and limit can be assumed or not).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from attrs import frozen

from cubie_planner.basics import Status
from cubie_planner.declarations.places import Location
from cubie_planner.engines.cpsat.constraints import (
    add_capacity,
    add_containment,
    add_ends,
    add_heights,
    add_load_rows,
    add_local_capacity,
    add_locations,
    add_nested_disjoint,
    add_nesting,
    add_no_overlap,
    add_offsets,
    local_bases,
    moved_literals,
)
from cubie_planner.engines.cpsat.solver import SatAnswer, Terms
from cubie_planner.engines.cpsat.variables import Demand, Variables
from cubie_planner.engines.draft import Draft
from cubie_planner.engines.task import Task
from cubie_planner.plans.answer import COST, MOVES, PRIVATE, level_of


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

    Attributes
    ----------
    variables : Variables
        What is decided, with the rows about it.
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
        self.variables = v = Variables(task, relaxable, tied)
        add_locations(v)
        add_nesting(v)
        add_heights(v)
        if offsets:
            add_offsets(v)
            add_ends(v)
            add_containment(v)
            add_no_overlap(v)
            add_nested_disjoint(v)
        if load_rows or not offsets:
            add_load_rows(v)
        add_capacity(v)
        add_local_capacity(v)

    def objective(self, level: str) -> Terms:
        """Return the expression a level minimises."""
        v = self.variables
        if level == COST:
            return [
                (cost, v.place[name][place])
                for name, domain in v.task.domains.items()
                for place, cost in domain.items()
            ]
        if level == MOVES:
            return [(1, literal) for literal in moved_literals(v)]
        terms = [(1, height) for place, height in v.height.items() if level_of(place) == level]
        if level == PRIVATE:
            locals_ = v.task.may_be(Location.LOCAL)
            terms += [(b.size_bytes, v.top(b.name, Location.LOCAL)) for b in locals_]
        return terms

    def solve(self, objective: Terms | None, effort: float) -> Outcome:
        """Minimise `objective` (None: find any solution) within a deterministic effort."""
        v = self.variables
        answer = v.sat.solve(effort, objective)
        draft = self._read(answer) if answer.values else None
        return Outcome(answer.status, answer.bound, answer.value, draft)

    def clash(self, assumed: Iterable[Demand], effort: float) -> tuple[Status, list[Demand]]:
        """Assume demands; return the status and, when infeasible, some that clash."""
        v = self.variables
        assumed = list(assumed)
        answer = v.sat.solve(effort, assumed=[v.demands[key] for key in assumed])
        return answer.status, [key for key in assumed if v.demands[key] in answer.core]

    def hint(self, draft: Draft) -> None:
        """Give the solver a full solution to start from."""
        v = self.variables
        v.sat.clear_hints()
        base = local_bases(v.task)
        starts: dict[str, int] = {}
        for name, places in v.place.items():
            where = draft.locations[name]
            for place, literal in places.items():
                v.sat.hint(literal, place == where)
            for parent, literal in v.nest[name].items():
                v.sat.hint(literal, draft.parents.get(name) == parent)
            start = draft.offsets[name]
            if where is Location.LOCAL:
                start += base.get(draft.outermost(name), 0)
            starts[name] = start
            v.sat.hint(v.offset[name], start // v.task.by_name[name].alignment)
        for (name, place), literal in v.tops.items():
            here = draft.locations[name] == place and name not in draft.parents
            v.sat.hint(literal, here)
        ends = {name: start + v.task.by_name[name].size_bytes for name, start in starts.items()}
        for literal, lower, upper in v.stacked:
            v.sat.hint(literal, ends[lower] <= starts[upper])
        for place, height in v.height.items():
            there = [ends[name] for name, where in draft.locations.items() if where == place]
            v.sat.hint(height, max(there, default=0))

    def _read(self, answer: SatAnswer) -> Draft:
        v = self.variables
        locations, parents, offsets = {}, {}, {}
        for name, places in v.place.items():
            locations[name] = next(p for p, literal in places.items() if answer.holds(literal))
            for parent, literal in v.nest[name].items():
                if answer.holds(literal):
                    parents[name] = parent
            if name in v.offset:
                unit = v.task.by_name[name].alignment
                offsets[name] = unit * answer.values[v.offset[name]]
        draft = Draft(locations, offsets, parents)
        if not offsets:
            return draft
        base = local_bases(v.task)
        for name, where in locations.items():
            if where is Location.LOCAL:
                offsets[name] -= base.get(draft.outermost(name), 0)
        return draft
