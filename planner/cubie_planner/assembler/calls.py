"""A kernel and the functions that it calls, each with its control flow and its loops.

What is called is no part of the code that calls it: a loop that calls a function executes what
that does, and a loop in a function lies in the loops that call it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from functools import cached_property

from attrs import field, frozen

from cubie_planner.assembler.blocks import Block, Flow, flow_of
from cubie_planner.assembler.cells import kinds_written
from cubie_planner.assembler.disassembly import UnreadableCode
from cubie_planner.assembler.instructions import Code
from cubie_planner.assembler.loops import Loop, innermost, loops_of
from cubie_planner.assembler.registers import written
from cubie_planner.assembler.slow_cases import is_own, slow_blocks
from cubie_planner.assembler.tables import NO_TABLES, Tables
from cubie_planner.assembler.trips import Trips, trips_of
from cubie_planner.assembler.walks import Walk, walks_of


@frozen
class Place:
    """A loop, by the label of its function and the block that it begins with."""

    function: str
    head: int


@frozen(eq=False)
class Function:
    """The code that a label begins.

    Attributes
    ----------
    flow : Flow
    overwritten : mapping of str to set of str
        Registers and kinds of memory that a called function writes, by its label.
    tables : Tables
    """

    flow: Flow = field(repr=False)
    overwritten: Mapping[str, Set[str]] = field(repr=False)
    tables: Tables = field(default=NO_TABLES, repr=False)

    @cached_property
    def loops(self) -> dict[int, Loop]:
        """Loops by the block that they begin with, inner ones first."""
        return loops_of(self.flow)

    @cached_property
    def trips(self) -> dict[int, Trips]:
        return trips_of(self.flow, self.loops, self.overwritten, self.tables)

    @cached_property
    def walks(self) -> dict[int, Walk]:
        """What nests of loops pass whose trips differ from round to round, by their heads."""
        return walks_of(self.flow, self.loops, self.trips, self.overwritten, self.slow, self.tables)

    def is_open_ended(self, head: int) -> bool:
        """Tell whether the rounds of a loop depend on data."""
        return self.trips[head].count is None and not any(
            head in self.loops[outer].blocks for outer in self.walks
        )

    @cached_property
    def slow(self) -> frozenset[int]:
        """Blocks for slow cases."""
        return slow_blocks(self.flow, self.loops)


@frozen(eq=False)
class Functions:
    """A kernel and what it calls, by label; the kernel's own is its name.

    Attributes
    ----------
    kernel : str
    by_label : mapping of str to Function
        Callers before those that they call first.
    """

    kernel: str
    by_label: Mapping[str, Function] = field(repr=False)

    @classmethod
    def of(cls, codes: Mapping[str, Code], kernel: Code, tables: Tables = NO_TABLES) -> Functions:
        """Follow the calls of a kernel.

        Raises
        ------
        UnreadableCode
            Where a function calls itself, by way of others or not.
        """
        flows = {kernel.name: flow_of(kernel)}
        waiting = [(kernel, flows[kernel.name])]
        for code, flow in waiting:
            for label in sorted(_called(flow)):
                place = next((c for c in (code, *codes.values()) if label in c.labels), None)
                if place is not None and label not in flows:
                    flows[label] = flow_of(place, place.labels[label])
                    waiting.append((place, flows[label]))
        overwritten = _overwritten(flows)
        return cls(
            kernel.name,
            {label: Function(flow, overwritten, tables) for label, flow in flows.items()},
        )

    def __getitem__(self, label: str) -> Function:
        return self.by_label[label]

    def loop(self, place: Place) -> Loop:
        return self[place.function].loops[place.head]

    def is_open_ended(self, place: Place) -> bool:
        """Tell whether the rounds of a loop depend on data."""
        return self[place.function].is_open_ended(place.head)

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """All loops but those of the compiler's own functions, by function."""
        return tuple(
            Place(label, head)
            for label, function in self.by_label.items()
            if not is_own(label)
            for head in function.loops
        )

    @property
    def all_blocks(self) -> list[Block]:
        """All blocks but those of the compiler's own functions."""
        own = [function for label, function in self.by_label.items() if not is_own(label)]
        return [block for function in own for block in function.flow.blocks.values()]

    def called(self, label: str, numbers: Iterable[int]) -> Counter[str]:
        """Return how often some blocks of a function call others that are known."""
        calls = self[label].flow.calls
        return Counter(
            other for number in numbers for other in calls[number] if other in self.by_label
        )

    def blocks(self, place: Place) -> list[Block]:
        """Return the blocks of a loop, and of all functions that are called in it."""
        flow = self[place.function].flow
        own = self.loop(place).blocks
        found = [flow.blocks[number] for number in own]
        for label in self._reached(self.called(place.function, own)):
            found += self[label].flow.blocks.values()
        return found

    def _reached(self, labels: Iterable[str]) -> list[str]:
        """Return functions and what they call, each once."""
        found = list(dict.fromkeys(labels))
        for label in found:
            further = self.called(label, self[label].flow.blocks)
            found += [other for other in further if other not in found]
        return found

    def inside(self, place: Place | None) -> list[Place]:
        """Return the loops directly inside another one, or in none; of called functions, too."""
        label = self.kernel if place is None else place.function
        head = None if place is None else place.head
        return list(dict.fromkeys(self._directly(label, head)))

    def _directly(self, label: str, head: int | None) -> Iterator[Place]:
        function = self[label]
        yield from (
            Place(label, loop.head) for loop in function.loops.values() if loop.outer == head
        )
        around = function.flow.blocks.keys() if head is None else function.loops[head].blocks
        for number in around:
            loop = innermost(function.loops, number)
            if function.flow.calls[number] and (loop.head if loop else None) == head:
                for other in self.called(label, [number]):
                    if not is_own(other):
                        yield from self._directly(other, None)


def _called(flow: Flow) -> set[str]:
    return {label for labels in flow.calls.values() for label in labels}


def _callers_first(callees: Mapping[str, Set[str]]) -> list[str]:
    """Return functions, each before those that it calls."""
    found: list[str] = []
    while len(found) < len(callees):
        left = callees.keys() - set(found)
        ready = [label for label in left if not any(label in callees[other] for other in left)]
        if not ready:
            label = min(left)
            raise UnreadableCode(
                f"{label!r}, or what it calls, may call itself: how often cannot be told from the "
                "code.",
                label,
            )
        found += sorted(ready)
    return found


def _overwritten(flows: Mapping[str, Flow]) -> dict[str, frozenset[str]]:
    """Return what a call of each function may write, its own calls included.

    Functions that call some whose code is not here are left out: they may write anything.
    """
    callees = {label: _called(flow) for label, flow in flows.items()}
    every: dict[str, frozenset[str]] = {}
    for label in reversed(_callers_first(callees)):
        if callees[label] <= every.keys():
            own = frozenset(_written(flows[label]))
            every[label] = own.union(*(every[other] for other in callees[label]))
    return every


def _written(flow: Flow) -> Iterator[str]:
    for block in flow.blocks.values():
        for instruction in block.instructions:
            yield from written(instruction)
            yield from kinds_written(instruction)
