"""Offset packing with everything settled but the offsets: as low as possible, with proof.

What is packed are *items*: sizes with alignments and lifetimes, some pinned to an offset,
some nested in a parent. Greedy packing comes first; when it meets the load bound it is
proven. Otherwise the exact search decides (`search.branching`), within a number of nodes and
never by a clock. Up to `INTERPRETED_ITEMS` items the interpreter runs it, so that planning
a kernel pays neither for importing numba nor for compiling; above, numba does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import frozen

from cubie_planner.basics import Status, round_up
from cubie_planner.packing.greedy import build_blocks, greedy
from cubie_planner.packing.interiors import Simplified, families, simplify
from cubie_planner.packing.items import Items, Spans, family_near, union
from cubie_planner.packing.problem import PackingError, PackingProblem, PackingResult
from cubie_planner.packing.search.runs import GROWTH, GROWTH_WITHIN, Search
from cubie_planner.packing.sections import Sections

if TYPE_CHECKING:
    from cubie_planner.packing.many.bodies import Body

INTERPRETED_ITEMS = 60
"""Up to so many items the search is interpreted: a node takes about 0.2 ms."""

PROBED_ITEMS = 128
"""Up to so many items a short interpreted search comes before the compiled one."""

NODE_LIMIT = 200_000
WORK_LIMIT = 60_000_000
"""Default for compiled searches, in nodes and in nodes times items: a few seconds."""

INTERPRETED_NODE_LIMIT = 5_000
"""Default for interpreted searches: about a second."""

SEARCHED_ITEMS = 2_000
"""A node looks at every section, so that more items than this are only packed by first fit."""

FAMILY_NODE_LIMIT = 500
"""For the question whether nested items fit into their parents at all."""

OVERLAP_LIMIT = 2_000_000
"""Problems with more pairs of items alive together than this are only packed by first fit."""

MANY = 1500
"""Above so many items first fit is compiled, and tries many orders (`packing.many`)."""

WORK = 2_000_000_000
WORK_PER_NODE = 10_000
"""What first fit of many items may look at by default, and for each node it is allowed."""


def pack(
    problem: PackingProblem, capacity: int | None = None, node_limit: int | None = None
) -> PackingResult:
    """Find offsets: any within `capacity`, or with None the lowest.

    Parameters
    ----------
    problem : PackingProblem
    capacity : int or None
        Highest end allowed; the first packing found within it is returned.
    node_limit : int or None
        Items the exact search may try; by default by the number of items, so that it
        takes seconds.

    Returns
    -------
    PackingResult
        The same for the same problem and limits, on every machine.
    """
    if capacity is not None and capacity < 0:
        raise PackingError(f"capacity must be >= 0 or None, got {capacity!r}")
    if node_limit is not None and node_limit < 0:
        raise PackingError(f"node_limit must be >= 0 or None, got {node_limit!r}")
    items = problem.items()
    result = _pack(items, capacity, node_limit)
    if result.offsets is None:
        return result
    return PackingResult(
        tuple(result.offsets),
        result.height,
        result.lower_bound,
        result.status,
        result.nodes,
        result.engine,
    )


def _pack(items: Items, capacity: int | None, node_limit: int | None) -> PackingResult:
    spent = 0

    def solve_inside(inner: Items, room: int) -> tuple[bool | None, list[int] | None]:
        nonlocal spent
        found = _pack(inner, room, node_limit)
        spent += found.nodes
        if found.offsets is not None:
            return True, list(found.offsets)
        return (False if found.status is Status.INFEASIBLE else None), None

    simplified = simplify(items, solve_inside)
    if simplified is None:
        return PackingResult(None, None, 0, Status.INFEASIBLE, spent)
    task = _Task(simplified, len(items), capacity, node_limit, spent)
    if not len(simplified.items):
        return task.result([], 0, "greedy")
    if _overlaps(simplified.items.spans) > OVERLAP_LIMIT:
        return _by_first_fit(task)
    return _exact(task)


def pack_bodies(
    bodies: Sequence[Body], enough: int = 0, node_limit: int | None = None
) -> list[int] | None:
    """Pack very many bodies: by first fit in many orders, the largest of them exactly.

    Parameters
    ----------
    bodies : sequence of Body
    enough : int
        The first packing that is no higher is returned.
    node_limit : int or None
        As in `pack`; the work of a node is `WORK_PER_NODE` entries of first fit.

    Returns
    -------
    list of int or None
        Offsets; no higher than by size, the largest first, unless the bodies are so many that
        one pass over time is all there is time for. None if fixed bodies overlap.
    """
    from cubie_planner.packing.many.portfolio import pack_many

    work = WORK if node_limit is None else WORK_PER_NODE * node_limit
    return pack_many(bodies, enough, work, _few)


def _few(items: Items, capacity: int | None, node_limit: int) -> tuple[Sequence[int] | None, int]:
    found = _pack(items, capacity, node_limit)
    return found.offsets, found.nodes


def _by_first_fit(task: _Task) -> PackingResult:
    """Pack by first fit alone; the bound is the load of what lies in nothing else."""
    from cubie_planner.packing.many.bodies import Bodies, Body

    items = task.simplified.items
    outermost = [
        Body(size, spans, fixed=max(pin, -1))
        for size, spans, pin, parent in zip(
            items.sizes, items.spans, items.pins, items.parents, strict=True
        )
        if parent < 0
    ]
    bound = Bodies.of(outermost).bound
    if task.capacity is not None and bound > task.capacity:
        return task.infeasible(bound)
    enough = bound if task.capacity is None else task.capacity
    return task.result(_first_fit(items, enough, task.node_limit), bound, "first fit")


def _first_fit(items: Items, enough: int, node_limit: int | None) -> list[int] | None:
    """Pack items, those nested in one another as rigid bodies; None where that finds no room."""
    from cubie_planner.packing.many.bodies import Body

    blocks = build_blocks(items, family_near(items))
    if blocks is None:
        return None
    bodies = [
        Body(
            block.length(items),
            union(items.spans[i] for i, _ in block.pieces),
            block.unit,
            fixed=block.pin,
        )
        for block in blocks
    ]
    bases = pack_bodies(bodies, enough, node_limit)
    if bases is None:
        return None
    offsets = [0] * len(items)
    for block, base in zip(blocks, bases, strict=True):
        for item, distance in block.pieces:
            offsets[item] = base + distance
    return offsets


@frozen(eq=False)
class _Task:
    """What was asked, after simplification, and the nodes that took."""

    simplified: Simplified
    count: int
    capacity: int | None
    node_limit: int | None
    nodes: int

    def infeasible(self, bound: int, nodes: int = 0) -> PackingResult:
        """Return that there is no packing; proven, with `nodes` further nodes."""
        return PackingResult(None, None, bound, Status.INFEASIBLE, self.nodes + nodes)

    def result(
        self, offsets: Sequence[int] | None, bound: int, engine: str, nodes: int = 0
    ) -> PackingResult:
        """Return the result with all items, and the status that bound and height prove."""
        nodes += self.nodes
        if offsets is None:
            return PackingResult(None, None, bound, Status.UNKNOWN, nodes)
        height = _height(self.simplified.items, offsets)
        if self.capacity is not None and height > self.capacity:
            return PackingResult(None, None, bound, Status.UNKNOWN, nodes)
        status = Status.OPTIMAL if height <= bound else Status.FEASIBLE
        full = tuple(self.simplified.expand(offsets, self.count))
        return PackingResult(full, height, bound, status, nodes, engine)


def _exact(task: _Task) -> PackingResult:
    """Pack greedily, then search where that leaves something open."""
    items = task.simplified.items
    sections = Sections.of(items)
    if _is_overfull(items, sections):
        return task.infeasible(0)
    unit = _granularity(items)
    bound = round_up(sections.lower_bound(items), unit)
    enough = bound if task.capacity is None else task.capacity
    if bound > enough:
        return task.infeasible(bound)
    many = len(items) > MANY
    engine = "first fit" if many else "greedy"
    if many:
        offsets = _first_fit(items, enough, task.node_limit)
    else:
        offsets = greedy(items, sections, enough)
    if offsets is not None and _height(items, offsets) <= enough:
        return task.result(offsets, bound, engine)
    if offsets is None and _has_broken_family(items):
        return task.infeasible(bound)
    return _searched(task, sections, _Found(offsets, bound, engine), unit)


def _is_overfull(items: Items, sections: Sections) -> bool:
    """Return whether more lies inside a parent at once than it has room for."""
    loads = zip(sections.loads(items.sizes), sections.inside, strict=True)
    return any(parent >= 0 and load > items.sizes[parent] for load, parent in loads)


@frozen(eq=False)
class _Found:
    """What is known so far; `solved` is None while the question is open."""

    offsets: list[int] | None
    bound: int
    engine: str
    solved: bool | None = None


def _searched(task: _Task, sections: Sections, found: _Found, unit: int) -> PackingResult:
    """Search, interpreted or compiled or first one and then the other, until it is settled."""
    items = task.simplified.items
    nodes = 0
    for compiled, limit in _stages(len(items), task.node_limit):
        growth = GROWTH if task.capacity is None else GROWTH_WITHIN
        search = Search(items, sections, compiled, growth)
        found = _stage(search, task.capacity, found, unit, limit)
        nodes += search.nodes
        if found.solved is not None:
            break
    bound = found.bound
    if found.solved is False and task.capacity is not None:
        bound = max(bound, task.capacity + 1)
    if found.offsets is None and found.solved is False:
        return task.infeasible(bound, nodes)
    return task.result(found.offsets, bound, found.engine, nodes)


def _stage(search: Search, capacity: int | None, found: _Found, unit: int, limit: int) -> _Found:
    """Find any packing where that is asked or none is known, and lower it where that is asked."""
    items = search.items
    if capacity is not None or found.offsets is None:
        outcome = search.run(_enough(items) if capacity is None else capacity, limit)
        found = _Found(outcome.offsets, found.bound, "search", outcome.solved)
    if capacity is not None or found.offsets is None:
        return found
    better, bound = _minimise(search, found.offsets, found.bound, unit, limit)
    engine = found.engine if better is found.offsets else "search"
    solved = True if bound == _height(items, better) else None
    return _Found(better, bound, engine, solved)


def _has_broken_family(items: Items) -> bool:
    """Return whether it is proven that some nested items do not fit into their parents."""

    def refuted(family: Items) -> bool:
        search = Search(family, Sections.of(family), compiled=False)
        return search.run(_enough(family), FAMILY_NODE_LIMIT).solved is False

    return any(all(refuted(way) for way in ways) for ways in families(items))


def _stages(count: int, node_limit: int | None) -> list[tuple[bool, int]]:
    """Return the runs of the search to make: (compiled, node limit)."""
    if count <= INTERPRETED_ITEMS:
        return [(False, INTERPRETED_NODE_LIMIT if node_limit is None else node_limit)]
    if count > SEARCHED_ITEMS:
        return []
    full = node_limit
    if full is None:
        full = min(NODE_LIMIT, max(2 * count, WORK_LIMIT // count))
    if count > PROBED_ITEMS:
        return [(True, full)]
    probe = min(3 * count, full)
    return [(False, probe), (True, full - probe)]


def _minimise(
    search: Search, offsets: list[int], bound: int, unit: int, limit: int
) -> tuple[list[int], int]:
    """Lower the packing and raise the bound until they meet or the nodes are spent.

    The bound itself is tried first, with the most nodes: mostly it can be reached. Then
    the capacities between are halved; those that stay open are gone on with later.
    """
    items = search.items
    height = _height(items, offsets)
    allowance = max(min(limit, NODE_LIMIT) // 32, 4 * len(items))
    open_from = bound
    target = bound
    while bound < height and search.nodes < limit:
        share = allowance * (4 if target == bound else 1)
        outcome = search.run(target, min(share, limit - search.nodes))
        if outcome.offsets is not None:
            offsets = outcome.offsets
            height = _height(items, offsets)
        elif outcome.solved is False:
            bound = target + unit
            open_from = max(open_from, bound)
        else:
            open_from = target + unit
        if open_from >= height:
            allowance *= 2
            open_from = target = bound
        else:
            target = open_from + (height - unit - open_from) // (2 * unit) * unit
    return offsets, min(bound, height)


def _height(items: Items, offsets: Sequence[int]) -> int:
    return max((o + s for o, s in zip(offsets, items.sizes, strict=True)), default=0)


def _granularity(items: Items) -> int:
    """Return a number of which all offsets of some lowest packing are multiples."""
    unit = math.gcd(
        *items.sizes, *(p for p in items.pins if p > 0), *(s for s in items.subs if s > 0)
    )
    for alignment in items.alignments:
        if unit % alignment:
            unit = math.gcd(unit, alignment)
    return unit


def _enough(items: Items) -> int:
    """Return a capacity within which everything fits if it fits at all.

    Everything that no pin holds can be stacked above everything that some pin holds.
    """
    top = 0
    for item, pin in enumerate(items.pins):
        if pin >= 0:
            root = item
            while items.parents[root] >= 0:
                root = items.parents[root]
            top = max(top, pin + items.sizes[root])
    return top + sum(items.sizes) + sum(items.alignments)


def _overlaps(spans: Sequence[Spans]) -> int:
    """Return how many pairs of intervals begin while the other is alive."""
    events = sorted(
        event for intervals in spans for s, e in intervals for event in ((s, 1), (e, 0))
    )
    live = pairs = 0
    for _, starts in events:
        if starts:
            pairs += live
            live += 1
        else:
            live -= 1
    return pairs
