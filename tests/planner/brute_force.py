"""An oracle for tiny problems: try everything, share no code with the planner.

Enumerates locations, alias parents and byte offsets directly from the declarations.
Affordable up to about six buffers of a few bytes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from cubie_planner import Buffer, Location, Pool, Problem
from cubie_planner.declarations.places import TILE

SHARED, LOCAL, PERSISTENT = Location.SHARED, Location.LOCAL, Location.LOCAL_PERSISTENT
GLOBAL = Location.GLOBAL
ORDER = {
    "local": (LOCAL, PERSISTENT, SHARED, GLOBAL),
    "shared": (SHARED, LOCAL, PERSISTENT, GLOBAL),
    "global": (GLOBAL, LOCAL, PERSISTENT, SHARED),
}
Place = Location | Pool
Costs = dict[str, dict[Place, int]]
Score = tuple[int, ...]


def costs_of(problem: Problem) -> Costs:
    """Return where each buffer that needs bytes may be, and what that costs without a device."""
    assert problem.limits.compute_capability is None, "prices on a device need its cost model"
    sized = [b for b in problem.buffers if b.size_bytes]
    if isinstance(problem.policy, str) and problem.policy in ORDER:
        return {b.name: _costs_by_policy(problem, b) for b in sized}
    return {b.name: _costs_by_auto(problem, b) for b in sized}


def _costs_by_policy(problem: Problem, buffer: Buffer) -> dict[Location, int]:
    """One for a buffer that is not where the policy puts it first; a view has no say."""
    order = [*ORDER[problem.policy], TILE, *sorted(_pools(problem), key=lambda p: (p.cost, p.name))]
    first = next(place for place in order if place in buffer.locations)
    if buffer.pin is not None:
        return {buffer.pin: 0 if buffer.alias_required or buffer.pin is first else 1}
    if buffer.alias_required:
        return dict.fromkeys(buffer.locations, 0)
    away = {place for other in _tied_to(problem, buffer) for place in _insisted_by(other)}
    return {first: 0} | dict.fromkeys(away & buffer.locations - {first}, 1)


def _tied_to(problem: Problem, buffer: Buffer) -> list[Buffer]:
    """Return the buffers that must go along: views with bytes and all their candidates."""
    found: list[str] = []
    waiting = [buffer.name]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.append(name)
        for view in problem.buffers:
            if view.alias_required and view.size_bytes:
                together = {view.name, *(alias.parent for alias in view.aliases)}
                waiting += together if name in together else ()
    return [problem.by_name[name] for name in found] if len(found) > 1 else []


def _insisted_by(buffer: Buffer) -> set[Location]:
    """Return the places that a buffer's pin, or what it allows at all, limits the others to."""
    if buffer.pin is not None:
        return {buffer.pin}
    somewhere = buffer.locations >= {SHARED, LOCAL, PERSISTENT}
    few = len(buffer.locations) == 1 or (buffer.alias_required and not somewhere)
    return set(buffer.locations) if few else set()


def _costs_by_auto(problem: Problem, buffer: Buffer) -> dict[Location, int]:
    """Two for shared memory, and one for the arena where an array of its own would do."""
    allowed = set(buffer.locations)
    if buffer.pin is not None:
        allowed = {buffer.pin}
    elif not isinstance(problem.policy, str) and buffer.name in problem.policy:
        named = problem.policy[buffer.name]
        allowed = {PERSISTENT if named is LOCAL and LOCAL not in allowed else named}
    costs = {
        LOCAL: 0,
        PERSISTENT: 1 if LOCAL in buffer.locations else 0,
        SHARED: 0 if buffer.alias_required else 2,
        GLOBAL: 0 if buffer.alias_required else 3,
    }
    for pool in (TILE, *_pools(problem)):
        costs[pool] = 0 if buffer.alias_required else round(2 * pool.cost)
    return {place: costs[place] for place in allowed}


def _pools(problem: Problem) -> list[Pool]:
    """Return the pools that are no tiles, by name."""
    named = {p for b in problem.buffers for p in b.locations if isinstance(p, Pool)}
    return sorted(named - {TILE}, key=lambda pool: pool.name)


def _arenas(problem: Problem) -> list[Place]:
    """Return the arenas in the order in which their bytes matter."""
    tiles = [TILE] if any(TILE in b.locations for b in problem.buffers) else []
    return [SHARED, *tiles, PERSISTENT, GLOBAL, *_pools(problem)]


def optimum(problem: Problem) -> Score | None:
    """Return the best (cost, bytes shared, of tiles, local and persistent, global, of each pool,
    moves), or None; without tiles or pools these are left out.
    """
    costs = costs_of(problem)
    sized = [b for b in problem.buffers if b.size_bytes]
    best: Score | None = None
    for places in itertools.product(*(costs[b.name] for b in sized)):
        where = dict(zip((b.name for b in sized), places, strict=True))
        cost = sum(costs[name][place] for name, place in where.items())
        if best is not None and cost > best[0]:
            continue
        for parents in _parent_choices(sized, where):
            score = _score(problem, sized, where, parents, cost, best)
            if score is not None and (best is None or score < best):
                best = score
    return best


def _parent_choices(sized: list[Buffer], where: dict[str, Location]) -> Iterator[dict]:
    names = {b.name: b for b in sized}
    options = []
    for child in sized:
        fitting = [
            (alias.parent, alias.offset)
            for alias in child.aliases
            if alias.parent in names
            and where[alias.parent] == where[child.name]
            and (alias.offset or 0) + child.size_bytes <= names[alias.parent].size_bytes
            and not (where[child.name] is LOCAL and names[alias.parent].alignment < child.alignment)
            and not (where[child.name] is LOCAL and alias.across_frames)
        ]
        options.append(fitting if child.alias_required else [None, *fitting])
    for picks in itertools.product(*options):
        yield {b.name: pick for b, pick in zip(sized, picks, strict=True) if pick is not None}


def _score(problem, sized, where, parents, cost, best) -> Score | None:
    score = [cost]
    heights = {}
    if not _local_possible(problem, sized, where, parents):
        return None
    own = sum(b.size_bytes for b in sized if where[b.name] is LOCAL and b.name not in parents)
    for place in _arenas(problem):
        fits = _fits(problem, sized, where, place, heights)
        height = heights[place] = _lowest(problem, sized, where, parents, place, fits)
        if height is None:
            return None
        score.append(height + (own if place is PERSISTENT else 0))
        most = problem.limits.max_local_bytes
        if place is PERSISTENT and most is not None and score[-1] > most:
            return None
        if best is not None and tuple(score) > best[: len(score)]:
            return None
    moves = 0
    if problem.previous:
        for place, height in heights.items():
            moves += min(_all_moves(problem, sized, where, parents, place, height))
        moves += sum(
            problem.previous[b.name][0] is not LOCAL
            for b in sized
            if where[b.name] is LOCAL and b.name in problem.previous
        )
    return (*score, moves)


def _fits(problem, sized, where, place, heights) -> Callable[[int], bool] | None:
    """Return what says whether an arena may have a height, beside the slices for tiles."""
    if place is SHARED:
        return _capacity(problem, sized, where, 0)
    if place == TILE:  # every height of tiles leaves so much for the slices, which are lowest
        return lambda height: _capacity(problem, sized, where, height)(heights[SHARED])
    most = getattr(place, "capacity_bytes", None)
    return None if most is None else lambda height: height <= most


def _capacity(problem, sized, where, tiles) -> Callable[[int], bool]:
    limit = problem.limits.max_shared_bytes
    widest = max([1, *(b.alignment for b in sized if where[b.name] is SHARED)])
    unit = max(4, widest)

    def fits(height: int) -> bool:
        if limit is None:
            return True
        if height == 0:
            return tiles <= limit
        start = (tiles + widest - 1) // widest * widest
        if problem.limits.block_size == 1:  # no neighbour: nothing to align, nothing to pad
            return start + height <= limit
        slots = (height + unit - 1) // unit
        if problem.limits.pad_banks and slots % 2 == 0:
            slots += 1
        return start + slots * unit * problem.limits.block_size <= limit

    return fits


def _lowest(problem, sized, where, parents, place, fits) -> int | None:
    members = [b for b in sized if where[b.name] == place]
    top = sum(b.size_bytes + b.alignment for b in members)
    top += max((b.offset + b.size_bytes for b in members if b.offset is not None), default=0)
    for height in range(top + 1):
        if fits is not None and not fits(height):
            return None
        if next(_packings(members, parents, height), None) is not None:
            return height
    return None


def _local_possible(problem, sized, where, parents) -> bool:
    """Whether the children of each local array fit inside it."""
    local = [b for b in sized if where[b.name] is LOCAL]
    for root in local:
        if root.name in parents:
            continue
        inside = [b for b in local if _root(parents, b.name) == root.name]
        if next(_packings(inside, parents, root.size_bytes, root.name), None) is None:
            return False
    return True


def _root(parents, name):
    while name in parents:
        name = parents[name][0]
    return name


def _all_moves(problem, sized, where, parents, place, height) -> Iterator[int]:
    members = [b for b in sized if where[b.name] == place]
    for offsets in _packings(members, parents, height):
        yield sum(
            problem.previous[name] != (place, offset)
            for name, offset in offsets.items()
            if name in problem.previous
        )


def _packings(members, parents, height, at_zero=None) -> Iterator[dict[str, int]]:
    """Yield every set of offsets below `height` that breaks no rule."""
    order = sorted(members, key=lambda b: (_depth(parents, b.name), -b.size_bytes))

    def extend(index: int, offsets: dict[str, int]) -> Iterator[dict[str, int]]:
        if index == len(order):
            yield dict(offsets)
            return
        buffer = order[index]
        for offset in _positions(buffer, parents, offsets, height, at_zero, members):
            meets = any(
                offset < offsets[other.name] + other.size_bytes
                and offsets[other.name] < offset + buffer.size_bytes
                and _together(buffer, other)
                and not _related(parents, buffer.name, other.name)
                for other in order[:index]
            )
            if not meets:
                offsets[buffer.name] = offset
                yield from extend(index + 1, offsets)
                del offsets[buffer.name]

    yield from extend(0, {})


def _positions(buffer, parents, offsets, height, at_zero, members) -> list[int]:
    if buffer.name == at_zero:
        return [0]
    low, high = 0, height - buffer.size_bytes
    if buffer.name in parents:
        parent, fixed = parents[buffer.name]
        start = offsets[parent]
        size = next(b.size_bytes for b in members if b.name == parent)
        low = start if fixed is None else start + fixed
        high = min(high, start + size - buffer.size_bytes if fixed is None else low)
    return [
        offset
        for offset in range(low, high + 1)
        if offset % buffer.alignment == 0 and buffer.offset in (None, offset)
    ]


def _depth(parents, name) -> int:
    return 1 + _depth(parents, parents[name][0]) if name in parents else 0


def _related(parents, first, second) -> bool:
    def chain(name):
        while name in parents:
            name = parents[name][0]
            yield name

    return first in chain(second) or second in chain(first)


def _together(first, second) -> bool:
    if first.persistent or second.persistent or first.lifetime is None or second.lifetime is None:
        return True
    return any(a < d and c < b for a, b in first.lifetime for c, d in second.lifetime)
