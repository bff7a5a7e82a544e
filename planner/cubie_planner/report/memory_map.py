"""The memory map as geometry: which rectangles there are, and where their names go.

Program points go across and bytes go up, in the half-open ranges that lifetimes have.
What draws the map (`picture`, `svg`) decides only how it looks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from cubie_planner.basics import round_up
from cubie_planner.declarations.buffers import Interval
from cubie_planner.declarations.places import TILE, Location, Place, Scope
from cubie_planner.plans.answer import Placement
from cubie_planner.plans.plan import Plan


@frozen
class Tile:
    """One rectangle of the map: a placement during one interval.

    Attributes
    ----------
    start, end : int
        Bytes from the bottom of the arena.
    depth : int
        How many parents it lies in.
    label_points, label_bytes : (start, end)
        The part for its name: the whole of it, or the larger of what its children leave
        free below or above, and before or after.
    """

    name: str
    interval: Interval
    start: int
    end: int
    depth: int
    label_points: Interval
    label_bytes: Interval


@frozen
class Arena:
    """The map of one location.

    Attributes
    ----------
    tiles : tuple of Tile
        Parents before the children that are drawn over them.
    interval : (start, end)
        Program points from the first to the last.
    height_bytes : int
        Bytes per run, or per block.
    title : str
    """

    location: Place
    tiles: tuple[Tile, ...]
    interval: Interval
    height_bytes: int
    title: str


def arenas(plan: Plan, phases: Mapping[str, Interval] | None = None) -> list[Arena]:
    """Return the maps of all places that hold anything, shared memory first.

    All reach over the same program points: those of lifetimes, and of `phases`.
    """
    members = [p for p in plan.placements.values() if p.size_bytes]
    spans = [span for p in members for span in p.lifetime or ()] + list((phases or {}).values())
    points = [point for span in spans for point in span]
    whole = (min(points, default=0), max(points, default=1))
    own = (Location.SHARED, Location.LOCAL_PERSISTENT, Location.LOCAL, Location.GLOBAL)
    order: tuple[Place, ...] = (TILE, *own, *plan.problem.pools.values())
    return [_arena(plan, place, whole) for place in order if tiles(plan, place, whole)]


def _arena(plan: Plan, place: Place, whole: Interval) -> Arena:
    drawn = tiles(plan, place, whole)
    top = max(tile.end for tile in drawn)
    return Arena(place, tuple(drawn), whole, top, _title(plan, place, top))


def _title(plan: Plan, place: Place, top: int) -> str:
    if place is Location.LOCAL:
        return f"local: {top} B per run, arrays of their own drawn one above the other"
    title = f"{place}: {top} B per {unit_of(place)}"
    whole = plan.bytes_without_reuse(place) if place in (Location.SHARED, TILE) else 0
    return f"{title}, {whole} B without reuse" if top < whole else title


def unit_of(place: Place) -> str:
    """Return what has one copy of a place, in words: a thread is a run."""
    return "run" if place.scope is Scope.THREAD else str(place.scope)


def tiles(plan: Plan, place: Place, whole: Interval) -> list[Tile]:
    """Return the rectangles of one arena; what is always alive reaches over `whole`.

    A child inside a parent has a greater depth, and comes after it.
    """
    members = plan.placed_in(place)
    starts = _starts(members, place)
    children: dict[str, list[Placement]] = {}
    for placement in members:
        children.setdefault(placement.parent or "", []).append(placement)
    found = []
    for placement in members:
        start = starts[placement.name]
        depth = sum(1 for _ in plan.ancestors(placement.name))
        inside = children.get(placement.name, [])
        end = start + placement.size_bytes
        for span in placement.lifetime or (whole,):
            covered = [
                (part, (starts[p.name], starts[p.name] + p.size_bytes))
                for p in inside
                for part in p.lifetime or (whole,)
                if part[0] < span[1] and span[0] < part[1]
            ]
            free = _free_part(span, (start, end), covered)
            found.append(Tile(placement.name, span, start, end, depth, *free))
    return sorted(found, key=lambda tile: tile.depth)


def _starts(members: Sequence[Placement], place: Place) -> dict[str, int]:
    """Return where each buffer is drawn; local arrays have no offset and are stacked."""
    if place is not Location.LOCAL:
        return {p.name: p.offset or 0 for p in members}
    starts: dict[str, int] = {}
    top = 0
    for placement in members:
        if placement.parent is None:
            starts[placement.name] = top
            top += placement.size_bytes
    waiting = [p for p in members if p.parent is not None]
    while waiting:
        placement = waiting.pop(0)
        if placement.parent in starts:
            starts[placement.name] = starts[placement.parent] + (placement.parent_offset or 0)
        else:
            waiting.append(placement)
    return starts


def _free_part(
    points: Interval, held: Interval, covered: Sequence[tuple[Interval, Interval]]
) -> tuple[Interval, Interval]:
    """Return the larger part of a rectangle that the rectangles in `covered` leave free."""
    points_free = _widest_free(points, [across for across, _ in covered])
    bytes_free = _widest_free(held, [up for _, up in covered])
    across = (points_free[1] - points_free[0]) / (points[1] - points[0])
    up = (bytes_free[1] - bytes_free[0]) / (held[1] - held[0])
    if not across and not up:
        return points, held
    return (points_free, held) if across > up else (points, bytes_free)


def _widest_free(whole: Interval, covered: Iterable[Interval]) -> Interval:
    """Return the widest part of `whole` outside `covered`; empty if there is none."""
    start, end = whole
    widest, low = (start, start), start
    for first, last in [*sorted(covered), (end, end)]:
        if first - low > widest[1] - widest[0]:
            widest = (low, first)
        low = max(low, last)
    return widest


def short(name: str) -> str:
    """Return the last part of a buffer's name."""
    return name.rsplit(".", 1)[-1]


def component(name: str) -> str:
    """Return the path of the component that owns a buffer; empty where there is none."""
    return name.rpartition(".")[0]


def ticks(first: float, last: float, most: int = 8) -> list[int]:
    """Return round numbers, at most about `most`, from `first` to `last`."""
    span = max(1.0, last - first)
    step = 1
    while span / step > most:
        step = _next_round(step)
    return list(range(round_up(int(first), step), int(last) + 1, step))


def _next_round(step: int) -> int:
    """Return the number after `step` in 1, 2, 5, 10, 20, 50, 100 ..."""
    leading = int(str(step)[0])
    return step // leading * {1: 2, 2: 5, 5: 10}[leading]
