"""Usual ways through a kernel, those through the functions that it calls included."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

from attrs import define, evolve, field

from cubie_planner.assembler.blocks import Block
from cubie_planner.assembler.calls import Functions, Place
from cubie_planner.assembler.disassembly import UnreadableCode
from cubie_planner.assembler.instructions import Instruction
from cubie_planner.assembler.routes import AssumedTrips, Repeated, Route, Weight, plus, route


@define(eq=False)
class Ways:
    """Finds routes on which a call weighs what the usual way through the function does.

    Attributes
    ----------
    functions : Functions
    weight_of : callable
        ``weight_of(label, number) -> Weight`` of a block, its calls aside.
    assumed_trips : int, or callable
        How often the head of a loop is passed whose trips are not known; see `route`.
    """

    functions: Functions
    weight_of: Callable[[str, int], Weight]
    assumed_trips: AssumedTrips
    _through: dict[str, Route] = field(factory=dict, init=False)

    def around(self, place: Place | None) -> Route:
        """Return the usual way round a loop, or through the kernel; calls are counted in.

        Raises
        ------
        UnreadableCode
            Where it calls what the code does not hold, or a loop is entered at several places.
        """
        if place is None:
            return self._with_calls(self.functions.kernel, self._route(self.functions.kernel, None))
        return self._with_calls(place.function, self._route(place.function, place.head))

    def _route(self, label: str, head: int | None) -> Route:
        function, weigh = self.functions[label], partial(self._weight, label)
        return route(function, weigh, head, self.assumed_trips)

    def _weight(self, label: str, number: int) -> Weight:
        total = self.weight_of(label, number)
        if number not in self.functions[label].slow:
            for other, times in self.functions.called(label, [number]).items():
                total = plus(total, self._whole(other).weight, times)
        return total

    def _whole(self, label: str) -> Route:
        if label not in self._through:
            self._through[label] = self._route(label, None)
        return self._through[label]

    def _with_calls(self, label: str, found: Route) -> Route:
        """Return a route with the blocks of the functions that it calls."""
        repeated = [
            evolve(loop, blocks=self._with_called_blocks(label, loop.blocks))
            for loop in found.repeated
        ]
        sooner = found.may_end_sooner
        for other, times in self._calls(label, found.blocks).items():
            inner = self._with_calls(other, self._whole(other))
            repeated += [_entered(loop, times) for loop in inner.repeated]
            sooner = sooner or inner.may_end_sooner
        blocks = self._with_called_blocks(label, found.blocks)
        return Route(blocks, tuple(repeated), sooner, found.weight)

    def _with_called_blocks(self, label: str, blocks: Counter[Block]) -> Counter[Block]:
        every = Counter(blocks)
        for other, times in self._calls(label, blocks).items():
            inner = self._with_called_blocks(other, self._whole(other).blocks)
            for block, count in inner.items():
                every[block] += count * times
        return every

    def _calls(self, label: str, blocks: Counter[Block]) -> Counter[str]:
        calls = self.functions[label].flow.calls
        found: Counter[str] = Counter()
        for block, times in blocks.items():
            for other in calls[block.first]:
                if other not in self.functions.by_label:
                    raise UnreadableCode(
                        f"The usual way calls {other!r}, which the code does not hold.", other
                    )
                found[other] += times
        return found


def _entered(loop: Repeated, times: int) -> Repeated:
    return evolve(loop, entered=loop.entered * times)


def weigher(
    functions: Functions,
    wanted: Callable[[Instruction], bool],
    avoided: Callable[[Instruction], bool],
) -> Callable[[str, int], Weight]:
    """Return what a block weighs for `Ways`: instructions wanted, those avoided, and all."""
    found: dict[tuple[str, int], Weight] = {}

    def weight(label: str, number: int) -> Weight:
        where = label, number
        if where not in found:
            function = functions[label]
            instructions = function.flow.blocks[number].instructions
            size = len(instructions)
            if number in function.slow:
                found[where] = (0, size, size)
            else:
                through = sum(map(wanted, instructions))
                found[where] = (-through, sum(map(avoided, instructions)), size)
        return found[where]

    return weight
