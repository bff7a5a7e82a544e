"""The way through code that is usual: of several, the one that does the work and is shortest.

A route is a walk from the head of a loop round to it again, or through a whole function. Of all
such routes that one is taken which passes the most instructions that are asked for, then the
fewest that are not on the usual way, then the fewest. Loops inside are gone round as often as
their counters say, or as is assumed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping

from attrs import define, field, frozen

from cubie_planner.assembler.blocks import Block, Flow
from cubie_planner.assembler.calls import Function
from cubie_planner.assembler.disassembly import UnreadableCode
from cubie_planner.assembler.loops import reverse_postorder
from cubie_planner.assembler.trips import Trips
from cubie_planner.assembler.walks import Walk

# Instructions asked for (negative), aside, and all: of two routes the lesser is taken.
Weight = tuple[int, int, int]
# Of all loops, or of each, by the function that it is in and its head.
AssumedTrips = int | Callable[[Flow, int], int]


@frozen
class Repeated:
    """A loop whose trips are not known, on a route.

    Attributes
    ----------
    head : int
        Block that it begins with.
    entered : int
        How often the route enters it.
    trips : int
        How often its head is passed each time, as was assumed.
    compares_reals : bool
        Whether it ends by a comparison of floating-point numbers; see `Trips`.
    blocks : Counter of Block
        What one round executes.
    """

    head: int
    entered: int
    trips: int
    compares_reals: bool
    blocks: Counter[Block] = field(repr=False)


@frozen
class Route:
    """Blocks with how often a route executes them, and the loops that were assumed upon."""

    blocks: Counter[Block] = field(repr=False)
    repeated: tuple[Repeated, ...]
    may_end_sooner: bool
    weight: Weight


@define(eq=False)
class _Region:
    """Best ways from the head of a loop, or from the entry, to the end of each block in it."""

    head: int
    trips: int
    found: Trips
    inner: dict[int, _Region]
    # By block: the weight of the best way to its end, its own and inner loops' included.
    weight: dict[int, Weight] = field(factory=dict)
    # By block, or head of an inner loop: the block before it on the best way.
    before: dict[int, int | None] = field(factory=dict)
    # The inner loop that a block lies in, if any.
    lies_in: dict[int, int] = field(factory=dict)
    latch: int | None = None

    @property
    def round_weight(self) -> Weight:
        assert self.latch is not None
        return self.weight[self.latch]

    def gather(self, last: int, times: int, found: Counter[int]) -> None:
        """Count the blocks on the best way to the end of a block."""
        at: int | None = last
        while at is not None:
            loop = self.lies_in.get(at)
            if loop is None:
                found[at] += times
            else:
                self.inner[loop].gather_whole(at, times, found)
                at = loop
            at = self.before[at]

    def gather_whole(self, last: int, times: int, found: Counter[int]) -> None:
        """Count the blocks of all rounds of a loop that is left behind a block."""
        if self.trips > 1 and self.latch is not None:
            self.gather(self.latch, times * (self.trips - 1), found)
        self.gather(last, times, found)

    def regions(self) -> Iterator[_Region]:
        for region in self.inner.values():
            yield region
            yield from region.regions()


@define(eq=False)
class _WalkedRegion(_Region):
    """A nest of loops whose only way is known; it is one round, and left behind one block."""

    passes: Mapping[int, int] = field(factory=dict)

    def gather_whole(self, last: int, times: int, found: Counter[int]) -> None:
        for number, passed in self.passes.items():
            found[number] += passed * times

    @classmethod
    def of(cls, head: int, walk: Walk, weight_of) -> _WalkedRegion:
        total: Weight = (0, 0, 0)
        for number, passed in walk.passes.items():
            total = plus(total, weight_of(number), passed)
        told = Trips(walk.passes[head])
        return cls(head, 1, told, {}, weight={walk.last: total}, passes=walk.passes)


def route(
    function: Function,
    weight_of: Callable[[int], Weight],
    around: int | None,
    assumed_trips: AssumedTrips,
) -> Route:
    """Return the usual way round a loop, or through the function where `around` is None.

    Parameters
    ----------
    function : Function
    weight_of : callable
        Of a block: instructions asked for (negative), aside, all.
    around : int or None
        Head of the loop.
    assumed_trips : int, or callable
        How often the head of a loop is passed whose trips are not known; or
        ``assumed_trips(flow, head)``, which tells it of each.

    Raises
    ------
    UnreadableCode
        Where no way leads round the loop, or to an end.
    """
    flow = function.flow
    region = _solve(function, weight_of, around, assumed_trips)
    last = region.latch if around is not None else _best_end(flow, region)
    if last is None:
        raise UnreadableCode("No way leads through the code.", flow.code.name)
    numbers: Counter[int] = Counter()
    region.gather(last, 1, numbers)
    repeated, sooner = [], False
    for inner in region.regions():
        if numbers[inner.head]:
            sooner = sooner or inner.found.may_end_sooner
            if inner.found.count is None and inner.latch is not None:
                repeated.append(_repeated(flow, inner, numbers[inner.head]))
    return Route(_blocks(flow, numbers), tuple(repeated), sooner, region.weight[last])


def _repeated(flow: Flow, region: _Region, passed: int) -> Repeated:
    once: Counter[int] = Counter()
    assert region.latch is not None
    region.gather(region.latch, 1, once)
    return Repeated(
        head=region.head,
        entered=passed // region.trips,
        trips=region.trips,
        compares_reals=region.found.compares_reals,
        blocks=_blocks(flow, once),
    )


def _blocks(flow: Flow, numbers: Mapping[int, int]) -> Counter[Block]:
    return Counter({flow.blocks[number]: times for number, times in numbers.items() if times})


def _best_end(flow: Flow, region: _Region) -> int | None:
    ends = [number for number in region.weight if not flow.following[number]]
    return min(ends, key=lambda number: region.weight[number], default=None)


def plus(one: Weight, other: Weight, times: int = 1) -> Weight:
    """Return the weight of two ways, of which the other is gone several times."""
    return tuple(a + b * times for a, b in zip(one, other, strict=True))  # pyright: ignore


def _solve(function: Function, weight_of, head: int | None, assumed: AssumedTrips) -> _Region:
    """Find the best ways of a loop, those of the loops in it first."""
    flow, loops = function.flow, function.loops
    inside = loops[head].blocks if head is not None else flow.blocks.keys()
    inner = {
        other: _WalkedRegion.of(other, function.walks[other], weight_of)
        if other in function.walks
        else _solve(function, weight_of, other, assumed)
        for other, loop in loops.items()
        if loop.outer == head and other in inside and other != head
    }
    found = Trips(1) if head is None else function.trips[head]
    count = found.count
    if count is None:
        assert head is not None, "a function as a whole is gone through once"
        count = assumed if isinstance(assumed, int) else assumed(flow, head)
    region = _Region(
        head=flow.entry if head is None else head,
        trips=count,
        found=found,
        inner=inner,
        lies_in={number: other for other in inner for number in loops[other].blocks},
    )
    _walk(flow, region, inside, weight_of, back_to=head)
    return region


def _walk(
    flow: Flow, region: _Region, inside: Collection[int], weight_of, back_to: int | None
) -> None:
    """Go through the blocks of a region in order; each inner loop is one step."""
    arrived: dict[int, Weight] = {region.head: (0, 0, 0)}
    region.before[region.head] = None
    for node in _order(flow, region, inside, back_to):
        if node not in arrived:
            continue
        inner = region.inner.get(node)
        for number, weight in _ends(inner, node, weight_of):
            region.weight[number] = total = plus(arrived[node], weight)
            for other in flow.following[number]:
                if other == back_to:
                    if region.latch is None or total < region.round_weight:
                        region.latch = number
                    continue
                if other not in inside or (inner and region.lies_in.get(other) == node):
                    continue
                # A loop is entered at its head alone.
                place = region.lies_in.get(other, other)
                if place not in arrived or total < arrived[place]:
                    arrived[place] = total
                    region.before[place] = number


def _ends(inner: _Region | None, node: int, weight_of) -> list[tuple[int, Weight]]:
    """Return the blocks from which a node is left, each with the weight of the way to its end."""
    if inner is None:
        return [(node, weight_of(node))]
    rounds = inner.trips - 1
    if rounds and inner.latch is None:
        rounds = 0  # it cannot be gone round
    base: Weight = (0, 0, 0)
    before = plus(base, inner.round_weight, rounds) if rounds else base
    return [(number, plus(before, weight)) for number, weight in inner.weight.items()]


def _order(flow: Flow, region: _Region, inside: Collection[int], back_to: int | None) -> list[int]:
    """Return the nodes of a region, each before those that it leads to."""
    node_of: dict[int, int] = {number: region.lies_in.get(number, number) for number in inside}
    edges: dict[int, set[int]] = {node: set() for node in node_of.values()}
    for number, node in node_of.items():
        for other in flow.following[number]:
            if other in inside and other != back_to and node_of[other] != node:
                edges[node].add(node_of[other])
    return reverse_postorder(region.head, {node: tuple(to) for node, to in edges.items()})
