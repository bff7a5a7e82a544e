"""What the joint model decides: its variables, which every family of constraints is handed.

Per buffer `b`:

- ``place[b][L]``: it lives in location L;
- ``nest[b][p]``: it lies inside the candidate parent `p`;
- ``offset[b]``: its first byte, a multiple of its alignment; in an arena an absolute
  offset, for local buffers an offset on a virtual line on which every outermost local
  array has a fixed range of its own.
"""

from __future__ import annotations

from collections.abc import Collection

from attrs import frozen

from cubie_planner.declarations.places import Place
from cubie_planner.engines.cpsat.solver import Literal, SatModel, negated
from cubie_planner.engines.nesting import reachable
from cubie_planner.engines.task import Task


@frozen
class Demand:
    """Something the model can be asked to assume: the key of a clash's member.

    Attributes
    ----------
    kind : {"pin", "allowed", "offset", "view", "limit", "capacity"}
        That a buffer is where its pin or the policy puts it; in a place that it allows;
        at its offset; inside one of its parents; that the limit, or a pool's capacity, holds.
    name : str
        The buffer, ``max_shared``, or the pool.
    """

    kind: str
    name: str


class Variables:
    """Variables and what is known of them, filled in by the families of constraints.

    Attributes
    ----------
    task : Task
    relaxable : bool
        True: pins, policies, views and the limit hold only where assumed.
    sat : SatModel
        Takes the rows.
    demands : dict of Demand to literal
        What can be assumed.
    place, nest, offset, height : dict
        As above, and the height of each arena.
    tops : dict of (name, place) to literal
        What `top` made.
    stacked : list of (literal, lower, upper)
        Literals under which one buffer lies below another.
    within : dict of (child, ancestor) to list of literal
        See `constraints.inside_literals`.
    reach : mapping of str to set of str
        Per buffer those that it may lie inside, directly or through others.
    tied : set of str
        Of a relaxable model: the buffers that may follow one another to any place.
    """

    def __init__(self, task: Task, relaxable: bool = False, tied: Collection[str] = ()):
        self.task = task
        self.relaxable = relaxable
        self.sat = SatModel()
        self.demands: dict[Demand, Literal] = {}
        self.place: dict[str, dict[Place, Literal]] = {}
        self.nest: dict[str, dict[str, Literal]] = {}
        self.offset: dict[str, int] = {}
        self.height: dict[Place, int] = {}
        self.tops: dict[tuple[str, Place], Literal] = {}
        self._inside: dict[tuple[str, str, Place], Literal] = {}
        self.stacked: list[tuple[Literal, str, str]] = []
        self.within: dict[tuple[str, str], list[Literal]] = {}
        self.reach = reachable(task.buffers)
        self.tied = set(tied)
        if relaxable and not tied:
            views = [b for b in task.buffers if b.alias_required]
            self.tied = {b.name for b in views} | {a.parent for b in views for a in b.aliases}

    def demand(self, kind: str, name: str) -> list[Literal]:
        """Return the literals under which a demand holds: none when it always does."""
        if not self.relaxable:
            return []
        key = Demand(kind, name)
        if key not in self.demands:
            self.demands[key] = self.sat.boolean()
        return [self.demands[key]]

    def top(self, name: str, place: Place) -> Literal:
        """Return the literal: `name` lives in `place` and inside no other buffer."""
        here = self.place[name][place]
        inside = list(self.nest[name].values())
        if not inside:
            return here
        key = (name, place)
        if key not in self.tops:
            top = self.tops[key] = self.sat.boolean()
            self.sat.any_of([top, *inside], [here])
            self.sat.implies(top, here)
            for literal in inside:
                self.sat.implies(top, negated(literal))
        return self.tops[key]

    def inside(self, name: str, parent: str, place: Place) -> Literal:
        """Return a literal that is true when `name` lies inside `parent` in `place`."""
        here, nested = self.place[name][place], self.nest[name][parent]
        if here == self.sat.true:
            return nested
        key = (name, parent, place)
        if key not in self._inside:
            both = self._inside[key] = self.sat.boolean()
            self.sat.any_of([both], [here, nested])
        return self._inside[key]
