"""Is what a plan says of itself true? Values, prices and bounds, derived anew.

Part of the checker: it shares no code with what makes plans. Values follow from the
placements, so they are recomputed. A bound says that no plan does better: that is the
work of the search, and only what is cheap of it is proven again here.

Every buffer costs at least the price of its cheapest place. Where that is all a plan
costs, no plan of that cost has a buffer elsewhere; so what is cheapest in one place only
must be there, and the bytes of it that live together bound the height of that place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set

from attrs import frozen

from cubie_planner.basics import Status
from cubie_planner.declarations.buffers import Buffer
from cubie_planner.declarations.places import TILE, Location, Place, Scope, words
from cubie_planner.declarations.problem import Problem
from cubie_planner.plans.answer import COST, MOVES, PRIVATE, SHARED, Answer, Level

MOST_PRICE = 2**52
ORDER = {
    "local": (Location.LOCAL, Location.LOCAL_PERSISTENT, Location.SHARED, Location.GLOBAL),
    "shared": (Location.SHARED, Location.LOCAL, Location.LOCAL_PERSISTENT, Location.GLOBAL),
    "global": (Location.GLOBAL, Location.LOCAL, Location.LOCAL_PERSISTENT, Location.SHARED),
}

Wrong = tuple[str, str]
"""Name of a rule, and how it is broken."""


def wrong_claims(problem: Problem, plan: Answer, tied: Iterable[str]) -> Iterator[Wrong]:
    """Yield what the prices and levels of `plan` state that does not follow from it.

    Parameters
    ----------
    tied : collection of str
        Buffers that a required alias ties to the place of another.
    """
    yield from _wrong_prices(problem, plan, set(tied))
    values = level_values(problem, plan)
    stated = [level.name for level in plan.levels]
    if stated != list(values):
        yield "levels", f"the levels are {', '.join(values)}, not {', '.join(stated) or 'none'}"
        return
    for level in plan.levels:
        if level.value != values[level.name]:
            told = f"{level.name} is {values[level.name]}, not {level.value}"
            yield "claims", f"{told}: it does not agree with the placements"
        if not 0 <= level.bound <= level.value:
            told = f"the bound {level.bound} of {level.name} is not within 0 and {level.value}"
            yield "claims", f"{told}: it does not agree with the placements"


def level_values(problem: Problem, plan: Answer) -> dict[str, int]:
    """Return what the placements reach at every level that the problem has, in order."""
    ends: dict[str, int] = {}
    local = moves = 0
    previous = problem.previous
    for placement in plan.placements.values():
        if not placement.size_bytes:
            continue
        where = str(placement.location)
        if placement.location is not Location.LOCAL:
            end = (placement.offset or 0) + placement.size_bytes
            ends[where] = max(ends.get(where, 0), end)
        elif placement.parent is None:
            local += placement.size_bytes
        if placement.name in previous:
            moves += previous[placement.name] != (placement.location, placement.offset)
    shared = ends.get("shared", 0)
    values = {COST: _cost(plan, shared)} if plan.prices.mean_anything else {}
    sized = [b for b in problem.buffers if b.size_bytes]
    of_threads = not sized or any(b.scope is Scope.THREAD for b in sized)
    allowed = {str(place) for b in sized for place in b.locations}
    if of_threads:
        values[SHARED] = shared
    if "tile" in allowed:
        values["tile_bytes"] = ends.get("tile", 0)
    if of_threads:
        values[PRIVATE] = local + ends.get("local_persistent", 0)
    for name in ("global", *sorted(allowed - {*Location, "tile"})):
        if name in allowed:
            values[f"{name}_bytes"] = ends.get(name, 0)
    return values | ({MOVES: moves} if previous else {})


def preferred(policy: str, buffer: Buffer) -> Place:
    """Return the place that a policy puts a buffer in: its first, else a tile, else a pool.

    Among pools the one of least cost, and of equal ones the first by name.
    """
    for place in (*ORDER[policy], TILE):
        if place in buffer.locations:
            return place
    pools = sorted((getattr(p, "cost", 0.0), str(p), p) for p in buffer.locations)
    return pools[0][2]


def _cost(plan: Answer, shared_bytes: int) -> int:
    """Return the summed prices of the places, and the surcharge above the cap."""
    prices, placements = plan.prices, plan.placements
    cost = sum(places.get(placements[n].location, 0) for n, places in prices.places.items())
    return cost + (prices.surcharge if prices.cap is not None and shared_bytes > prices.cap else 0)


# --- prices ---------------------------------------------------------------------------


def _wrong_prices(problem: Problem, plan: Answer, tied: set[str]) -> Iterator[Wrong]:
    """Yield prices for other buffers or places than there are, or of no meaning."""
    prices = plan.prices
    if not prices.places:
        return
    named = problem.policy if isinstance(problem.policy, str) and problem.policy in ORDER else ""
    sized = [b for b in problem.buffers if b.size_bytes]
    if len(sized) != len(prices.places) or any(b.name not in prices.places for b in sized):
        odd = min(set(prices.places) ^ {b.name for b in sized})
        yield "prices", f"the prices are not those of the buffers: see `{odd}`"
        return
    for buffer in sized:
        name, places = buffer.name, prices.places[buffer.name]
        first = preferred(named, buffer) if named else None
        free = first is not None and name in tied
        allowed = _allowed(problem, buffer, None if free else first)
        fits = places.keys() == allowed or (free and places.keys() <= allowed)
        if not fits or plan.placements[name].location not in places:
            yield "prices", f"`{name}` has prices for {words(places)}, not {words(allowed)}"
        for place, price in places.items():
            away = place != first and not buffer.alias_required
            if not 0 <= price <= MOST_PRICE or (first is not None and price != away):
                yield "prices", f"`{name}` does not cost {price} in {place}"
    if prices.surcharge < 0 or (prices.surcharge and named):
        yield "prices", f"there is no surcharge of {prices.surcharge}"


def _allowed(problem: Problem, buffer: Buffer, first: Place | None) -> Set[Place]:
    """Return where pin, policy and declaration let a buffer be.

    `first` is where "local" or "shared" put it; None where that is open.
    """
    if buffer.pin is not None:
        return {buffer.pin}
    if isinstance(problem.policy, Mapping) and buffer.name in problem.policy:
        return {buffer.resolve(problem.policy[buffer.name])}
    return buffer.locations if first is None else {first}


# --- bounds ---------------------------------------------------------------------------


@frozen
class Finding:
    """One level of an accepted plan: what was verified of it, and what is claimed.

    Attributes
    ----------
    level : Level
        Its value, which was recomputed, and the bound that is claimed.
    proven : int
        The bound that was proven again, from the problem alone.
    """

    level: Level
    proven: int

    @property
    def status(self) -> Status:
        """OPTIMAL where it is verified that no plan does better."""
        return Status.OPTIMAL if self.proven >= self.level.value else Status.FEASIBLE

    def __str__(self) -> str:
        level = self.level
        told = f"{level.name.replace('_', ' ')}: {level.value}"
        if self.status is Status.OPTIMAL:
            return f"{told}, verified to be the least"
        claim = "the least" if level.bound == level.value else f"at least {level.bound}"
        return f"{told}, claimed to be {claim}; at least {self.proven} was verified"


def findings(problem: Problem, plan: Answer) -> tuple[Finding, ...]:
    """Return, per level of an accepted plan, the lower bound that is cheap to prove.

    A bound holds for plans that are as good as this one at the levels before.
    """
    cheapest = {name: _cheapest(prices) for name, prices in plan.prices.places.items()}
    least = sum(_least_prices(problem, plan))
    if plan.prices.cap is not None and _forced_load(problem, plan) > plan.prices.cap:
        least += plan.prices.surcharge
    if least < level_values(problem, plan).get(
        COST, 0
    ):  # a dearer plan may put a buffer anywhere it may be
        cheapest = {name: set(prices) for name, prices in plan.prices.places.items()}
    surely: dict[Place, list[Buffer]] = {place: [] for place in problem.places}
    for buffer in problem.buffers:
        places = cheapest.get(buffer.name, set(buffer.locations))
        if buffer.size_bytes and len(places) == 1:
            surely[next(iter(places))].append(buffer)
    own = sum(b.size_bytes for b in surely[Location.LOCAL] if not b.aliases)
    bounds = {f"{place}_bytes": _height(held) for place, held in surely.items()}
    bounds |= {COST: least, PRIVATE: own + bounds["local_persistent_bytes"], MOVES: 0}
    return tuple(Finding(level, min(bounds[level.name], level.value)) for level in plan.levels)


def _cheapest(prices: Mapping[Place, int]) -> set[Place]:
    return {place for place, price in prices.items() if price == min(prices.values())}


def _least_prices(problem: Problem, plan: Answer) -> Iterator[int]:
    """Yield the least price of each buffer, or of a buffer with the views that follow it."""
    prices = plan.prices.places
    host = {
        b.name: b.aliases[0].parent
        for b in problem.buffers
        if b.name in prices and b.alias_required and len(b.aliases) == 1
    }
    summed = {name: dict(places) for name, places in prices.items() if name not in host}
    roots: dict[str, str] = {}
    for name in host:
        path = [name]
        while path[-1] in host and path[-1] not in roots:
            path.append(host[path[-1]])
        root = roots.get(path[-1], path[-1])
        roots.update(dict.fromkeys(path, root))
        if root not in summed:  # its host needs no bytes, so that it cannot lie there
            continue
        common = summed[root].keys() & prices[name].keys()
        summed[root] = {place: summed[root][place] + prices[name][place] for place in common}
    for places in summed.values():
        yield min(places.values(), default=0)


def _forced_load(problem: Problem, plan: Answer) -> int:
    forced = [
        b
        for b in problem.buffers
        if b.size_bytes and set(plan.prices.places.get(b.name, ())) == {Location.SHARED}
    ]
    return _height(forced)


def _height(buffers: Iterable[Buffer]) -> int:
    """Return bytes that no arrangement of an arena can do without: those alive at once.

    Buffers that may lie inside others count nothing.
    """
    always = top = 0
    events: list[tuple[int, int]] = []
    for buffer in buffers:
        top = max(top, buffer.size_bytes + (buffer.offset or 0))
        if buffer.aliases:
            continue
        if buffer.always_alive or buffer.lifetime is None:
            always += buffer.size_bytes
            continue
        for start, end in buffer.lifetime:
            events += ((start, buffer.size_bytes), (end, -buffer.size_bytes))
    load = peak = 0
    for _, change in sorted(events):  # at one point ends come first: ranges are half-open
        load += change
        peak = max(peak, load)
    return max(top, always + peak)
