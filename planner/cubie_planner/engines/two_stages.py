"""Two stages: choose locations and parents under the load rows, then pack exactly.

The first stage is a small model without offsets; what it reaches is a bound for every
level. The second stage packs each place with the exact search. Where a choice is proven
impossible it is cut off, and the first stage runs again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from cubie_planner.basics import Status
from cubie_planner.declarations.buffers import Buffer
from cubie_planner.declarations.places import TILE, Location, Place
from cubie_planner.engines.cpsat.joint_model import JointModel
from cubie_planner.engines.cpsat.solver import negated
from cubie_planner.engines.cpsat.variables import Variables
from cubie_planner.engines.draft import Claim, Draft
from cubie_planner.engines.nesting import nest, nestings
from cubie_planner.engines.task import Task, nodes_of
from cubie_planner.packing.packer import INTERPRETED_ITEMS, pack
from cubie_planner.packing.problem import PackingProblem, PackingResult
from cubie_planner.plans.answer import COST, MOVES, level_of

ROUNDS = 8
"""How many choices are tried before the joint model takes over."""


@frozen
class Packed:
    """All places packed with locations and parents settled, and what that proves."""

    draft: Draft
    claims: list[Claim]


@frozen
class Impossible:
    """Places that cannot hold what a choice puts there together; proven or just not found."""

    places: tuple[Place, ...]
    proven: bool


def staged(task: Task, effort: float) -> tuple[Status, Draft | None, list[Claim]]:
    """Return a draft and what is proven on the way.

    INFEASIBLE when even the relaxed problem has no solution.
    """
    claims: list[Claim] = []
    cuts: list[tuple[Draft, tuple[Place, ...]]] = []
    for _ in range(ROUNDS):
        model = JointModel(task, offsets=False)
        for choice, places in cuts:
            add_cut(model.variables, choice, places)
        status, choice, proven = _choose(model, effort)
        claims += proven
        if choice is None:
            return status, None, claims
        found = realise(task, choice.locations, choice.parents, effort)
        if isinstance(found, Packed):
            claims += found.claims
            best = found.draft if task.fits else _renested(task, found.draft, claims, effort)
            return Status.FEASIBLE, best, claims
        if not found.proven:
            break
        cuts.append((choice, found.places))
    return Status.UNKNOWN, None, claims


def _choose(model: JointModel, effort: float) -> tuple[Status, Draft | None, list[Claim]]:
    """Optimise the relaxed model level by level; every level gives a bound."""
    claims: list[Claim] = []
    given: dict[str, int] = {}
    choice: Draft | None = None
    for level in model.task.levels():
        if level == MOVES:
            break
        objective = model.objective(level)
        outcome = model.solve(objective, effort)
        if outcome.draft is None:
            return outcome.status, choice, claims
        extra = model.task.extra if level == COST else 0
        claims.append(Claim(level, outcome.bound + extra, dict(given)))
        choice, given[level] = outcome.draft, outcome.value + extra
        model.variables.sat.linear(objective, None, outcome.value)
    return Status.FEASIBLE, choice, claims


def _renested(task: Task, draft: Draft, claims: list[Claim], effort: float) -> Draft:
    """Try other parents in the same locations while something is left open."""
    best = draft
    tried = [dict(draft.parents)]
    for rule in nestings(task.buffers, task.live.masks):
        if best.proven(task, claims):
            break
        parents: dict[str, str] = {}
        for place in task.places:
            members = [b for b in task.buffers if draft.locations[b.name] == place]
            nested = nest(members, task.live.masks, rule, place is Location.LOCAL)
            parents |= {} if nested is None else nested[1]
        if parents in tried:
            continue
        tried.append(parents)
        if any(b.alias_required and b.name not in parents for b in task.buffers):
            continue
        level = level_of(_first_arena(task))
        lower = best.values(task).get(level, 0) - 1
        open_above = lower >= best.bounds(task, claims).get(level, 0)
        ceiling = lower if open_above else None
        found = realise(task, draft.locations, parents, effort / 4, ceiling)
        if isinstance(found, Packed) and found.draft.better_than(best, task):
            best = found.draft
    return best


def add_cut(v: Variables, choice: Draft, places: Sequence[Place]) -> None:
    """Forbid to put at least these buffers into `places`, in these parents.

    A wider buffer added to shared memory may change the padding, and so allow more.
    """
    ways_out = []
    for place in places:
        members = [b for b in v.task.buffers if choice.locations[b.name] == place]
        widest = max((b.alignment for b in members), default=0)
        for buffer in v.task.buffers:
            here = v.place[buffer.name].get(place)
            if buffer in members:
                chosen = choice.parents.get(buffer.name)
                for parent, literal in v.nest[buffer.name].items():
                    ways_out.append(negated(literal) if parent == chosen else literal)
                if here is not None and here != v.sat.true:
                    ways_out.append(negated(here))
            elif here is not None and buffer.alignment > widest:
                ways_out.append(here)
    v.sat.any_of(ways_out)


def realise(
    task: Task,
    locations: Mapping[str, Place],
    parents: Mapping[str, str],
    effort: float,
    ceiling: int | None = None,
) -> Packed | Impossible:
    """Pack every place with locations and parents settled.

    With a `ceiling` any packing of the first arena within it is taken, not the lowest.
    """
    offsets: dict[str, int] = {}
    claims: list[Claim] = []
    tile_bytes = tile_bound = 0
    for place in task.places:
        members = [b for b in task.buffers if locations[b.name] == place]
        if place is Location.LOCAL:
            done = _pack_local(members, parents, offsets, effort)
            if done is not None:
                return Impossible((place,), done is Status.INFEASIBLE)
            continue
        room = task.room(place, locations, tile_bytes)
        sought = ceiling if place == _first_arena(task) else None
        sought = room if task.any_height_fits(place) else sought
        result = _pack(members, parents, sought, effort)
        if room is not None and result.offsets and (result.height or 0) > room:
            result = _pack(members, parents, room, effort)
        if result.offsets is None:
            # What tiles leave for slices is the most only where they are as low as can be.
            beside = place is Location.SHARED and tile_bytes > 0
            proven = result.status is Status.INFEASIBLE
            proven &= not beside or tile_bytes == tile_bound
            return Impossible((TILE, place) if beside else (place,), proven)
        if place == TILE:
            tile_bytes, tile_bound = result.height or 0, result.lower_bound
        offsets.update(zip((b.name for b in members), result.offsets, strict=True))
        if place in (Location.SHARED, TILE) and sought is None and _settled(task, place):
            cost = task.extra
            cost += sum(task.domains[name][where] for name, where in locations.items())
            claims.append(Claim(level_of(place), result.lower_bound, {COST: cost}))
    draft = Draft(locations, offsets, dict(parents))
    if not draft.has_local_room(task):
        return Impossible((Location.LOCAL, Location.LOCAL_PERSISTENT), False)
    return Packed(draft, claims)


def _first_arena(task: Task) -> Place:
    """Return the arena whose bytes matter first: slices of shared memory, or tiles without any."""
    return Location.SHARED if task.problem.has_runs else TILE


def _settled(task: Task, place: Place) -> bool:
    """Return whether every plan has the same buffers in `place`, in the same parents."""
    return all(
        len(task.domains[b.name]) == 1 and len(b.aliases) == b.alias_required
        for b in task.may_be(place)
    )


def _pack(
    members: Sequence[Buffer], parents: Mapping[str, str], capacity: int | None, effort: float
) -> PackingResult:
    index = {b.name: i for i, b in enumerate(members)}
    hosts = [parents.get(b.name) for b in members]
    problem = PackingProblem(
        [b.size_bytes for b in members],
        [b.alignment for b in members],
        [None if b.always_alive else b.lifetime for b in members],
        [-1 if b.offset is None else b.offset for b in members],
        [-1 if host is None else index[host] for host in hosts],
        [_sub_offset(b, host) for b, host in zip(members, hosts, strict=True)],
    )
    nodes = nodes_of(effort, few=len(members) <= INTERPRETED_ITEMS)
    return pack(problem, capacity, max(nodes, 20))


def _sub_offset(child: Buffer, host: str | None) -> int:
    fixed = next((a.offset for a in child.aliases if a.parent == host), None)
    return -1 if fixed is None else fixed


def _pack_local(
    members: Sequence[Buffer],
    parents: Mapping[str, str],
    offsets: dict[str, int],
    effort: float,
) -> Status | None:
    """Pack what lies inside each local array; return why not when one cannot hold its own."""
    families: dict[str, list[Buffer]] = {}
    for buffer in members:
        root = buffer.name
        while root in parents:
            root = parents[root]
        families.setdefault(root, []).append(buffer)
    for root, family in families.items():
        if len(family) == 1:
            offsets[root] = 0
            continue
        size = next(b.size_bytes for b in family if b.name == root)
        result = _pack(family, parents, size, effort)
        if result.offsets is None:
            return result.status
        offsets.update(zip((b.name for b in family), result.offsets, strict=True))
    return None
