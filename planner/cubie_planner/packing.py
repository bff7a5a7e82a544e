"""Offset packing with everything settled but the offsets: as low as possible, with proof.

What is packed are *items*: sizes with alignments and lifetimes, some pinned to an offset,
some nested in a parent. Greedy packing comes first; when it meets the load bound it is
proven. Otherwise the exact search decides (`packing_core`), within a number of nodes and
never by a clock. Up to `INTERPRETED_ITEMS` items the interpreter runs it, so that planning
a kernel pays neither for importing numba nor for compiling; above, numba does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from attrs import define, field, frozen

from cubie_planner.packing_greedy import Skyline, greedy
from cubie_planner.packing_nesting import Simplified, families, simplify
from cubie_planner.packing_search import Search
from cubie_planner.packing_sections import Items, Sections, Spans
from cubie_planner.plan import Status

INTERPRETED_ITEMS = 60
"""Up to so many items the search is interpreted: a node takes about 0.2 ms."""

PROBED_ITEMS = 128
"""Up to so many items a short interpreted search comes before the compiled one."""

NODE_LIMIT = 200_000
"""Default for compiled searches: a few seconds."""

INTERPRETED_NODE_LIMIT = 5_000
"""Default for interpreted searches: about a second."""

FAMILY_NODE_LIMIT = 500
"""For the question whether nested items fit into their parents at all."""

OVERLAP_LIMIT = 2_000_000
"""Problems with more pairs of items alive together than this are only packed greedily."""

MAX_ITEMS = 1_000_000
MAX_TOTAL = 2**50


class PackingError(ValueError):
    """A packing problem was described with values that cannot mean anything.

    Attributes
    ----------
    item : int or None
        Index of the item concerned.
    """

    def __init__(self, message: str, item: int | None = None):
        where = "" if item is None else f"item {item}: "
        super().__init__(where + message)
        self.item = item


def _integers(values: Iterable[int]) -> tuple[int, ...]:
    return tuple(int(value) if hasattr(value, "__index__") else value for value in values)


def _spans(lifetimes: Iterable) -> tuple[Spans | None, ...]:
    return tuple(
        None if spans is None else tuple((int(start), int(end)) for start, end in spans)
        for spans in lifetimes
    )


@frozen
class PackingProblem:
    """Items to be packed.

    Parameters
    ----------
    sizes : sequence of int
        Bytes, 0 or more. An item of no bytes may be anywhere, its offset means nothing.
    alignments : sequence of int
        Powers of two; offsets must be multiples.
    lifetimes : sequence of (sequence of (start, end)) or None
        Half-open intervals, sorted and disjoint; None for always alive.
    fixed_offsets : sequence of int, optional
        Pinned offset, or -1 for free.
    parents : sequence of int, optional
        Index of the item inside whose bytes an item must lie, or -1. An item and its
        ancestors may be alive together; all other pairs must not overlap while they are.
    parent_offsets : sequence of int, optional
        Fixed distance from the start of the parent, or -1 for anywhere inside.

    Raises
    ------
    PackingError
    """

    sizes: Sequence[int] = field(converter=_integers)
    alignments: Sequence[int] = field(converter=_integers)
    lifetimes: Sequence[Spans | None] = field(converter=_spans)
    fixed_offsets: Sequence[int] = field(default=(), converter=_integers)
    parents: Sequence[int] = field(default=(), converter=_integers)
    parent_offsets: Sequence[int] = field(default=(), converter=_integers)

    def __attrs_post_init__(self) -> None:
        count = len(self.sizes)
        if count > MAX_ITEMS:
            raise PackingError(f"{count} items were given; at most {MAX_ITEMS} are supported")
        for name in ("fixed_offsets", "parents", "parent_offsets"):
            if not getattr(self, name):
                object.__setattr__(self, name, (-1,) * count)
        for name in ("alignments", "lifetimes", "fixed_offsets", "parents", "parent_offsets"):
            if len(getattr(self, name)) != count:
                raise PackingError(
                    f"{name} has {len(getattr(self, name))} entries for {count} sizes"
                )
        for item in range(count):
            self._check_numbers(item)
            self._check_lifetime(item)
        if sum(self.sizes) + sum(self.alignments) + max(self.fixed_offsets, default=0) > MAX_TOTAL:
            raise PackingError(f"sizes, alignments and offsets add up to more than {MAX_TOTAL}")
        _check_ancestry(self.parents)

    def _check_numbers(self, item: int) -> None:
        size, alignment = self.sizes[item], self.alignments[item]
        if not isinstance(size, int) or size < 0:
            raise PackingError(f"size must be an integer >= 0, got {size!r}", item)
        if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
            raise PackingError(f"alignment must be a power of two, got {alignment!r}", item)
        for name in ("fixed_offsets", "parent_offsets"):
            value = getattr(self, name)[item]
            if not isinstance(value, int) or value < -1:
                raise PackingError(f"{name} must be >= 0, or -1 for free, got {value!r}", item)
        parent = self.parents[item]
        if not isinstance(parent, int) or not -1 <= parent < len(self.sizes):
            raise PackingError(
                f"parent must be an index below {len(self.sizes)} or -1, got {parent!r}", item
            )
        if self.parent_offsets[item] >= 0 and parent < 0:
            raise PackingError("an offset inside the parent was given, but no parent", item)

    def _check_lifetime(self, item: int) -> None:
        spans = self.lifetimes[item]
        if spans is None:
            return
        previous = None
        for span in spans:
            if span[0] >= span[1]:
                raise PackingError(f"interval {span} is not (start, end) with start < end", item)
            if previous is not None and span[0] < previous:
                raise PackingError(f"intervals must be sorted and disjoint, got {spans}", item)
            previous = span[1]
        if not spans:
            raise PackingError("a lifetime needs an interval; give None for always alive", item)

    def items(self) -> Items:
        """Return the items with every lifetime spelled out; empty ones ask for nothing."""
        given = [spans for spans in self.lifetimes if spans is not None]
        start = min((spans[0][0] for spans in given), default=0)
        end = max((spans[-1][1] for spans in given), default=1)
        return Items(
            list(self.sizes),
            list(self.alignments),
            [((start, end),) if spans is None else spans for spans in self.lifetimes],
            self._if_any_bytes(self.fixed_offsets),
            self._if_any_bytes(self.parents),
            self._if_any_bytes(self.parent_offsets),
        )

    def _if_any_bytes(self, values: Sequence[int]) -> list[int]:
        return [value if size else -1 for value, size in zip(values, self.sizes, strict=True)]


def _check_ancestry(parents: Sequence[int]) -> None:
    """Refuse items that are their own ancestors."""
    clear = [parent < 0 for parent in parents]
    for item in range(len(parents)):
        path = []
        while not clear[item]:
            clear[item] = True
            path.append(item)
            item = parents[item]
        if item in path:
            raise PackingError("is its own ancestor", item)


@frozen
class PackingResult:
    """What is known about a packing problem.

    Attributes
    ----------
    offsets : tuple of int or None
        One per item; None if no packing (within the capacity) is known.
    height : int or None
        Highest end; None without offsets.
    lower_bound : int
        No packing is lower; proven.
    status : Status
        OPTIMAL: `height` equals `lower_bound`. FEASIBLE: a packing, maybe not the lowest.
        INFEASIBLE: proven that there is none (within the capacity). UNKNOWN: the node
        limit was reached without a packing.
    nodes : int
        Items tried by the exact search.
    engine : str
        What found the packing: "greedy", "search", "skyline", or "" if there is none.
    """

    offsets: tuple[int, ...] | None
    height: int | None
    lower_bound: int
    status: Status
    nodes: int = 0
    engine: str = ""

    @property
    def gap(self) -> float | None:
        """Distance of the height from the bound, relative to the height."""
        if self.height is None:
            return None
        return (self.height - self.lower_bound) / self.height if self.height else 0.0


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
        Items the exact search may try. By default `INTERPRETED_NODE_LIMIT` or
        `NODE_LIMIT`, by the number of items.

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
        offsets, bound = Skyline(simplified.items).pack()
        if capacity is not None and bound > capacity:
            return task.result(None, bound, "", infeasible=True)
        return task.result(offsets, bound, "skyline")
    return _exact(task)


@define(eq=False)
class _Task:
    """What was asked, after simplification, and the nodes spent on it."""

    simplified: Simplified
    count: int
    capacity: int | None
    node_limit: int | None
    nodes: int

    def result(
        self, offsets: Sequence[int] | None, bound: int, engine: str, infeasible: bool = False
    ) -> PackingResult:
        """Return the result with all items, and the status that bound and height prove."""
        if offsets is None:
            status = Status.INFEASIBLE if infeasible else Status.UNKNOWN
            return PackingResult(None, None, bound, status, self.nodes)
        sizes = self.simplified.items.sizes
        height = max((o + s for o, s in zip(offsets, sizes, strict=True)), default=0)
        if self.capacity is not None and height > self.capacity:
            return PackingResult(None, None, bound, Status.UNKNOWN, self.nodes)
        status = Status.OPTIMAL if height <= bound else Status.FEASIBLE
        full = tuple(self.simplified.expand(offsets, self.count))
        return PackingResult(full, height, bound, status, self.nodes, engine)


def _exact(task: _Task) -> PackingResult:
    """Pack greedily, then search where that leaves something open."""
    items = task.simplified.items
    sections = Sections.of(items)
    for load, parent in zip(sections.loads(items.sizes), sections.inside, strict=True):
        if parent >= 0 and load > items.sizes[parent]:
            return task.result(None, 0, "", infeasible=True)
    unit = _granularity(items)
    bound = -(-sections.lower_bound(items) // unit) * unit
    capacity = task.capacity
    if capacity is not None and bound > capacity:
        return task.result(None, bound, "", infeasible=True)
    offsets = greedy(items, sections, bound if capacity is None else capacity)
    height = _height(items, offsets)
    if height is not None and height <= (bound if capacity is None else capacity):
        return task.result(offsets, bound, "greedy")
    if offsets is None and _has_broken_family(items):
        return task.result(None, bound, "", infeasible=True)
    solved: bool | None = None
    engine = "greedy"
    for compiled, limit in _stages(len(items), task.node_limit):
        search = Search(items, sections, compiled)
        if capacity is not None or offsets is None:
            outcome = search.run(_enough(items) if capacity is None else capacity, limit)
            solved = outcome.solved
            offsets, engine = outcome.offsets, "search"
        if capacity is None and offsets is not None:
            better, bound = _minimise(search, offsets, bound, unit, limit)
            engine = engine if better is offsets else "search"
            offsets = better
            solved = True if bound == _height(items, offsets) else None
        task.nodes += search.nodes
        if solved is not None:
            break
    if solved is False and capacity is not None:
        bound = max(bound, capacity + 1)
    return task.result(offsets, bound, engine, infeasible=solved is False)


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
    full = NODE_LIMIT if node_limit is None else node_limit
    if count > PROBED_ITEMS:
        return [(True, full)]
    probe = min(3 * count, full)
    return [(False, probe), (True, full - probe)]


def _minimise(
    search: Search, offsets: list[int], bound: int, unit: int, limit: int
) -> tuple[list[int], int]:
    """Lower the packing and raise the bound until they meet or the nodes are spent.

    The bound itself is tried first: mostly it can be reached. Then the capacities between
    are halved; those that stay open are tried again with more nodes.
    """
    items = search.items
    height = _height(items, offsets) or 0
    allowance = max(limit // 8, 4 * len(items))
    open_from = bound
    target = bound
    while bound < height and search.nodes < limit:
        outcome = search.run(target, min(allowance, limit - search.nodes))
        if outcome.offsets is not None:
            offsets = outcome.offsets
            height = _height(items, offsets) or 0
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


def _height(items: Items, offsets: Sequence[int] | None) -> int | None:
    if offsets is None:
        return None
    return max(o + s for o, s in zip(offsets, items.sizes, strict=True))


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
